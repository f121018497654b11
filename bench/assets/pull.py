"""Fetching what a configuration needs: all of it is tried, then what failed is told."""

from __future__ import annotations

from collections.abc import Callable

from bench import hub
from bench.assets import wheels
from bench.assets.needs import Need, Needs
from bench.assets.state import State, look, name_of
from bench.context import RunContext
from bench.contracts import Asset, HubFiles, LocalFile, ServerModel, WorkerScript
from bench.errors import BenchError, Unavailable
from bench.workers import environment


def pull(find: Callable[[], Needs], context: RunContext, *, with_wheels: bool) -> list[State]:
    """Fetch what is missing of what `find` tells; asked again once something came, since an archive may name more.

    Raises BenchError at the end, with every asset that could not be had and why.
    """
    tried: dict[Asset, Need] = {}
    failed: dict[str, Unavailable] = {}
    while True:
        found = find()
        todo = [need for need in found.needs if need.asset not in tried]
        if not todo:
            break
        for need in todo:
            tried[need.asset] = need
            try:
                _fetch(need.asset, context, with_wheels)
            except Unavailable as err:
                failed[name_of(need.asset)] = err
    failed |= {part: err for part, err in found.untold.items() if part not in failed}
    if failed:
        raise BenchError(failures(f"{len(failed)} of what is needed could not be had", failed))
    return [look(need, context) for need in tried.values()]


def failures(title: str, failed: dict[str, Unavailable]) -> str:
    """Return a message that lists what failed, why, and what to do."""
    said = {
        name: err.reason if err.reason.startswith(name) else f"{name}: {err.reason}" for name, err in failed.items()
    }
    lines = [f"  {said[name]}\n    {err.remedy}" for name, err in failed.items()]
    return "\n".join([f"{title}:", *lines])


def _fetch(asset: Asset, context: RunContext, with_wheels: bool) -> None:
    if isinstance(asset, HubFiles):
        if hub.cached_snapshot(asset) is None:
            folder = hub.fetch_snapshot(asset, context, "the part's option")
            context.console.print(f"{name_of(asset)}: {folder}", markup=False, highlight=False, soft_wrap=True)
    elif isinstance(asset, WorkerScript):
        python = environment.uv_python(asset.script, context)
        context.console.print(f"{name_of(asset)}: {python}", markup=False, highlight=False, soft_wrap=True)
        if with_wheels:
            wheels.collect(asset.script, context)
    elif isinstance(asset, LocalFile) and not asset.path.is_file():
        raise Unavailable(f"no file {asset.path}", "copy it there: it is named by its path, and nobody fetches it")
    elif isinstance(asset, ServerModel):
        context.console.print(f"to be run where the server is: {asset.command}", markup=False, highlight=False)
