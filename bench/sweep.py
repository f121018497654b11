"""``bench sweep``: variants of a configuration's systems, run one after the other on the same cases.

A sweep file is YAML with the sections of a configuration and two more: ``base`` names the configuration that it is laid
over, ``sweep`` holds what concerns the sweep itself. Under ``systems`` stand its *members*: each label's options are
laid over those of the base's system of the same plugin, or of the one that ``from`` names. What members share
(embeddings, trained models, answers of language models) is made once: it lies in the caches, under what it depends on.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from bench import plan, registry, scoring, shards
from bench import run as runner
from bench.config import (
    EMBEDDED,
    SECTIONS,
    Choices,
    Config,
    Entry,
    base,
    checked,
    embedded,
    parse_yaml,
    read_yaml,
    sections,
)
from bench.context import RunContext
from bench.errors import BenchError, StorageFault
from bench.options import Options
from bench.run_folder import write_usage


class SweepOptions(Options):
    """The section ``sweep``."""

    title: str = ""
    """One line for the list of sweeps."""
    tables: tuple[str, ...] = ()
    """Leaderboards (bench leaderboard NAME) printed at the end."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A checked sweep."""

    name: str
    """Of the file, without its suffix."""
    tables: Sequence[str]
    config: Config
    """Every member as a system."""
    members: Sequence[Entry]
    """The members asked for."""

    @property
    def chosen(self) -> Config:
        """The configuration with the members asked for only."""
        return replace(self.config, systems=self.members)

    @property
    def default_out(self) -> Path:
        """runs/<name>-<12 hex>, the same whichever members are asked for."""
        return Path("runs") / f"{registry.as_label(self.name)}-{self.config.digest()}"


# ------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class _Written:
    """A sweep file as it stands."""

    name: str
    source: str
    folder: Path | None
    """What relative paths are relative to; None for a sweep inside the package."""
    base: str | None
    options: SweepOptions
    sections: Mapping[str, Any]


@cache
def names() -> Mapping[str, str]:
    """Return name → title of the sweeps inside the package, by name."""
    return {name: _embedded(name).options.title for name in _stems()}


def _stems() -> list[str]:
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def _folder() -> Traversable:
    return files("configs") / "ablations"


def load(spec: str, base_config: str | None = None, choices: Choices | None = None, only: str | None = None) -> Sweep:
    """Read the file `spec`, or the sweep of that name inside the package, lay it over its base, choose and check.

    `base_config` takes the place of the file's base; `only` names the members asked for, "a,b". Every fault is a
    BenchError that names the key.
    """
    written = _from_file(Path(spec)) if Path(spec).is_file() or _is_path(spec) else _embedded(spec)
    below, raw = _base(written, base_config)
    merged = {name: laid_over(raw.get(name), written.sections.get(name)) or {} for name in SECTIONS}
    merged["systems"] = _members(written, below, raw.get("systems", {}))
    config = checked(f"{written.source} over {below}", merged, choices or Choices())
    _refuse_alike([entry.label for entry in config.systems])
    return Sweep(written.name, written.options.tables, config, _only(config, only))


def _is_path(spec: str) -> bool:
    return spec.endswith((".yaml", ".yml")) or Path(spec).name != spec


def _embedded(name: str) -> _Written:
    file = _folder() / f"{name}.yaml"
    if not file.is_file():
        raise BenchError(f"{registry.miss('sweep', name, _stems())} A file is named by its path, ./{name}.yaml.")
    source = f"configs/ablations/{name}.yaml"
    return _written(name, f"{source} (embedded)", None, parse_yaml(file.read_text(encoding="utf-8"), source))


def _from_file(path: Path) -> _Written:
    return _written(path.stem, str(path), path.parent, read_yaml(path))


def _written(name: str, source: str, folder: Path | None, raw: Any) -> _Written:
    if not isinstance(raw, dict):
        raise BenchError(f"{source}: a sweep is a mapping with base, sweep, and the sections {', '.join(SECTIONS)}")
    below = raw.get("base")
    if below is not None and not isinstance(below, str):
        raise BenchError(f"{source}: base: {' or '.join(EMBEDDED)}, or the path of a configuration, not {below!r}")
    rest = {key: value for key, value in raw.items() if key != "base"}
    found = sections(rest, source, ("base", "sweep", *SECTIONS))
    try:
        options = SweepOptions.model_validate(found.pop("sweep", {}))
    except ValidationError as err:
        raise BenchError(f"{source}: {registry.explain_validation(err, 'sweep', SweepOptions)}") from None
    return _Written(name, source, folder, below, options, found)


def _base(written: _Written, given: str | None) -> tuple[str, dict[str, Any]]:
    """Return (source, sections) of the base: the one `given`, else the file's own."""
    if given is not None:
        return base(Path(given))
    if written.base is None:
        raise BenchError(f"{written.source}: base: name {', '.join(EMBEDDED)} or a configuration file, or pass --base")
    if written.base in EMBEDDED:
        return f"configs/{written.base}.yaml (embedded)", embedded(f"{written.base}.yaml")
    path = (written.folder or Path()) / written.base
    if not path.is_file():
        known = " or ".join(EMBEDDED)
        raise BenchError(f"{written.source}: base: no file {path}; name {known}, or a path relative to this file")
    return base(path)


# ------------------------------------------------------------------ one over the other


def laid_over(below: Any, above: Any) -> Any:
    """Return `above` over `below`: mappings key by key, all else replaced; None above a mapping leaves it.

    Where `use` names another plugin, the options below are not its own: nothing of them stays.
    """
    if isinstance(below, Mapping) and above is None:
        return copy.deepcopy(below)
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)) or _other_plugin(below, above):
        return copy.deepcopy(above)
    both = {key: laid_over(below.get(key), value) for key, value in above.items()}
    return {**copy.deepcopy(dict(below)), **both}


def _other_plugin(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "use" in above and "use" in below and above["use"] != below["use"]


def _members(written: _Written, below: str, systems: Mapping[str, Any]) -> dict[str, Any]:
    """Return label → options of the members, each over the options of a system of the base."""
    given = written.sections.get("systems")
    if not given:
        raise BenchError(f"{written.source}: systems: a sweep names at least one, as label: {{use: NAME, …}}")
    members = {}
    for label, own in given.items():
        where = f"{written.source}: systems.{label}"
        if own is not None and not isinstance(own, Mapping):
            raise BenchError(f"{where}: must be a mapping of options, not {own!r}")
        if str(label) in members:  # 1 and "1"
            raise BenchError(f"{where}: the label is given twice")
        members[str(label)] = _member(where, str(label), own or {}, below, systems)
    return members


def _member(where: str, label: str, own: Mapping[str, Any], below: str, systems: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a member over the system that `from` names, else over the one of its plugin; over nothing where none is."""
    name = None if own.get("from") is None else str(own["from"])
    if name is not None and name not in systems:
        raise BenchError(f"{where}.from: {registry.miss(f'system in the base ({below})', name, systems)}")
    use = str(own.get("use", label if name is None else _use(name, systems[name])))
    source = _of_plugin(where, use, below, systems) if name is None else name
    given = systems.get(source or "") or {}
    if not isinstance(given, Mapping):
        raise BenchError(f"{below}: systems.{source}: must be a mapping of options, not {given!r}")
    options = {key: value for key, value in given.items() if key != "use"}
    try:
        registry.find("system", use)
    except BenchError as err:
        raise BenchError(f"{where}: {err}") from None
    return {**laid_over(options, {key: value for key, value in own.items() if key != "from"}), "use": use}


def _of_plugin(where: str, use: str, below: str, systems: Mapping[str, Any]) -> str | None:
    """Return the label of the base's system of a plugin: the plugin's name, else the only one; None where none is."""
    alike = [label for label, options in systems.items() if _use(label, options) == use]
    if use in alike or len(alike) < 2:
        return use if use in alike else next(iter(alike), None)
    raise BenchError(
        f"{where}: the base ({below}) has several systems {use!r}: name one with from: {' or '.join(alike)}"
    )


def _use(label: str, options: Any) -> str:
    return str(options.get("use", label)) if isinstance(options, Mapping) else label


def _refuse_alike(labels: Sequence[str]) -> None:
    """Raise BenchError where two labels name one folder on disks that do not tell capitals apart."""
    seen: dict[str, str] = {}
    for label in labels:
        if (other := seen.setdefault(label.casefold(), label)) != label:
            raise BenchError(f"systems: the labels {other!r} and {label!r} differ in capitals only: rename one")


def _only(config: Config, only: str | None) -> Sequence[Entry]:
    if only is None:
        return config.systems
    wanted = [label.strip() for label in only.split(",")]
    labels = [entry.label for entry in config.systems]
    for label in wanted:
        if label not in labels:
            raise BenchError(f"--only: {registry.miss('member', label, labels)}")
    return [entry for entry in config.systems if entry.label in wanted]


# ------------------------------------------------------------------ running


DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""Faults of a disk: no other member could be written either, after hours of work for it."""


@dataclass(slots=True)
class Result:
    """What became of the members."""

    outcomes: list[runner.Outcome] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Label → why."""

    def check(self, n_members: int) -> None:
        """Raise BenchError that says which members failed and why, where any did."""
        if not self.failed:
            return
        by_reason: dict[str, list[str]] = {}
        for label, why in self.failed.items():
            by_reason.setdefault(why, []).append(label)
        lines = [f"{', '.join(labels)}: {why}" for why, labels in by_reason.items()]
        raise BenchError(
            "\n".join([f"{len(self.failed)} of {n_members} members of the sweep failed.", *lines])
            + "\nThe others are finished; the same command tries these again and repeats nothing that was done."
        )


def run(sweep: Sweep, out: Path, context: RunContext, *, strict: bool, allow_failed: bool) -> Result:
    """Run the members one after the other; where one fails, go on with the next.

    What is finished or half done in `out` is continued, not repeated. Raises BenchError where no member can run: the
    dataset or a metric is at fault, or a cache cannot be written.
    """
    config = sweep.chosen
    split = runner.open_split(config, runner.open_dataset(config, context), context)
    scoring.check_metrics(config.metrics, context, strict=strict)
    train = runner.DatasetTraining(split.dataset, frozenset(case.id for case in split.cases))
    result = Result()
    for number, entry in enumerate(config.systems, start=1):
        context.console.print(f"{entry.label} ({number} of {len(config.systems)})", markup=False, highlight=False)
        folder = out / entry.label
        one = runner.OneRun(config, entry, folder, split, train, context.for_run(folder / "work"))
        try:
            result.outcomes.append(_run_member(one, strict=strict, allow_failed=allow_failed))
        except StorageFault:
            raise
        except (BenchError, OSError) as err:
            if isinstance(err, OSError) and err.errno in DISK:
                raise
            result.failed[entry.label] = str(err)
            context.console.print(f"{entry.label} failed: {err}", markup=False, highlight=False)
    return result


def _run_member(one: runner.OneRun, *, strict: bool, allow_failed: bool) -> runner.Outcome:
    with shards.whole(one.folder):
        try:
            outcome = one.run(allow_failed=allow_failed)
        finally:
            write_usage(one.folder, one.context)
    if strict:
        runner.refuse_null([outcome])
    return outcome


def print_plan(console: Console, sweep: Sweep, out: Path, context: RunContext) -> None:
    """Print what the members take. Raises BenchError where a member cannot work here."""
    plan.print_plan(console, sweep.chosen, out, context)
