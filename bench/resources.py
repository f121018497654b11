"""What a run took: ``resources.json``, the one file of a run in which two runs of the same thing differ.

It holds

- ``devices``: what the reports were made on;
- ``seconds_per_report``: the mean over the ``n_timed`` reports that came, images to encode left out. What a system does
  for many cases at once falls to the report that it comes before, so only the mean tells;
- ``encoding``: encoder → seconds an image, whoever encoded it; null where that was on another device;
- ``measured``: what the system measured of itself (`System.measured`);
- ``llm``: what questions to chat models took while reports were made, those of ``bench score`` and of metrics left out;
  ``cost_usd`` is null where the prices of a model elsewhere are not given. A model on this machine costs its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import machine, store
from bench.context import RunContext
from bench.contracts import Report
from bench.errors import BenchError
from bench.run_folder import REPORTING, USAGE

FILE = "resources.json"
_COUNTS = ("calls", "cached", "input_tokens", "output_tokens")


def note(folder: Path, context: RunContext, measured: Mapping[str, float | str] | None) -> None:
    """Add what the process that makes reports knows: its device, encoders, and what the system measured."""
    known = read(folder)
    known["devices"] = list(dict.fromkeys([*known.get("devices", ()), machine.device_name(context.device)]))
    known["encoding"] = _first_known(context.seconds_per_image(), known.get("encoding", {}))
    if measured is not None:
        known["measured"] = dict(measured)
    store.write_json(folder / FILE, known)


def checked(measured: Any) -> dict[str, float | str]:
    """Return what a system measured of itself. Raises TypeError where that is no mapping to numbers and texts."""
    if not isinstance(measured, Mapping):
        raise TypeError(f"measured() must give a mapping, not {type(measured).__name__}")
    for name, value in measured.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not isinstance(name, str) or not (number or isinstance(value, str)):
            raise TypeError(f"measured() gives {name!r}: {value!r}; finite numbers and texts are wanted")
    return dict(measured)


def finish(folder: Path, shards: Sequence[Path], reports: Iterable[Report]) -> None:
    """Add what the reports and the questions of the run, its shards' included, took."""
    known = read(folder)
    for shard in shards:
        other = read(shard)
        known["devices"] = list(dict.fromkeys([*known.get("devices", ()), *other.get("devices", ())]))
        known = {**other, **known, "encoding": _first_known(known.get("encoding", {}), other.get("encoding", {}))}
    seconds = [report.seconds for report in reports if report.error is None and report.seconds is not None]
    known |= {"n_timed": len(seconds), "seconds_per_report": sum(seconds) / len(seconds) if seconds else None}
    if asked := [line for at in (folder, *shards) for line in _asked(at)]:
        known["llm"] = _together(asked)
    store.write_json(folder / FILE, known)


def _first_known(first: Mapping[str, float | None], then: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: then.get(name) if first.get(name) is None else first[name] for name in {**first, **then}}


def read(folder: Path) -> dict[str, Any]:
    """Return what is kept in a folder by now; nothing where there is no such file."""
    if not (folder / FILE).exists():
        return {}
    found = store.read_json(folder / FILE)
    if not isinstance(found, dict):
        raise BenchError(f"{folder / FILE}: a JSON object was expected; delete the file")
    return found


def _asked(folder: Path) -> list[Mapping[str, Any]]:
    """Return the lines of usage.jsonl on what was asked while reports were made."""
    return [line for line in store.read_lines(folder / USAGE) if line.get("for") == REPORTING]


def _together(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts: dict[str, Any] = {name: sum(line.get(name) or 0 for line in lines) for name in _COUNTS}
    costs = [line.get("cost_usd") for line in lines if line.get("calls") and not _free(line)]
    counts["cost_usd"] = None if None in costs else float(sum(cost for cost in costs if cost is not None))
    return counts


def _free(line: Mapping[str, Any]) -> bool:
    """Tell whether a model ran on this machine and has no price: what it takes is the device's time."""
    return bool(line.get("local")) and line.get("cost_usd") is None
