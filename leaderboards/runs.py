"""Finished runs below a folder, read from run.json, summary.json, facts.json, resources.json and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench import store
from bench.errors import BenchError


class _Read(BaseModel):
    """Base of what is read: keys that other parts of the project use pass, NaN and infinity do not."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


ReadT = TypeVar("ReadT", bound=_Read)


class Score(_Read):
    """One entry of summary.json's scores."""

    value: float | None
    """None: not measured; `reason` and `remedy` say why."""
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    n_undefined: int = 0
    n_failed: int = 0
    signature: str = ""
    reason: str = ""
    remedy: str = ""
    heading: str = ""
    scale: float | None = None
    decimals: int | None = None
    higher_is_better: bool | None = None


class Resampling(_Read):
    """How the intervals of a run were made."""

    bootstrap: int = 0
    confidence: float = 0.95
    cluster: str = "group"


class Summary(_Read):
    """A run's summary.json."""

    system: str
    label: str = ""
    dataset: str
    split: str
    n_cases: int
    n_groups: int | None = None
    n_reports_failed: int = 0
    n_problems: int = 0
    n_missing_as_empty: int = 0
    dataset_fingerprint: str = ""
    cases_digest: str = ""
    stand_ins: tuple[str, ...] = ()
    run: Resampling = Resampling()
    scores: Mapping[str, Score]


class About(_Read):
    """What is taken of a run's run.json."""

    label: str = ""
    population: str = ""
    stand_ins: tuple[str, ...] = ()
    config: Mapping[str, Any] = {}


class Asked(_Read):
    """What a run's questions to chat models took while reports were made."""

    calls: int = 0
    cached: int = 0
    cost_usd: float | None = None
    """None: prices are not known."""


class Measured(_Read):
    """What a system measured of itself."""

    train_seconds: float | None = None
    trained_on: str = ""


class Resources(_Read):
    """A run's resources.json: what it took."""

    devices: tuple[str, ...] = ()
    n_timed: int = 0
    seconds_per_report: float | None = None
    encoding: Mapping[str, float | None] = {}
    measured: Measured = Measured()
    llm: Asked | None = None


class Facts(_Read):
    """A run's facts.json: a flat object of numbers."""

    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    folder: str
    """Below the folder searched, with forward slashes; "." is that folder itself."""
    label: str
    summary: Summary
    facts: Mapping[str, float]
    options: Mapping[str, Any]
    """The system's resolved options, from run.json."""
    population: str
    stand_ins: tuple[str, ...]
    resources: Resources | None = None
    """None for a run that was made before times were kept."""

    @property
    def cases(self) -> tuple[str, str, int, int, str, str]:
        """Identity of what was reported on; only runs that share it stand in one group."""
        s = self.summary
        return (s.dataset, s.split, s.n_cases, s.n_groups or 0, s.dataset_fingerprint, s.cases_digest)

    @property
    def learnt_from(self) -> str:
        """What facts depend on besides the system, as far as it is known; only where it is the same are they compared.

        The encoder, whether it is a stand-in, and the number of training images.
        """
        name, n_train = self.options.get("encoder"), self.facts.get("n_train")
        parts = [f"encoder {name}"] if isinstance(name, str) else []
        parts += [] if n_train is None else [f"{n_train:,.0f} training images"]
        return "; ".join([*parts, *(part for part in self.stand_ins if part.startswith("encoder "))])

    def fact(self, key: str, option: str) -> float | None:
        """Return a number of facts.json; where it is not there, the option at the dotted path `option`."""
        if key in self.facts:
            return self.facts[key]
        value = _at(self.options, *option.split("."))
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run folder that gives no row, and why."""

    folder: str
    why: str


def find(root: Path) -> tuple[list[Run], list[Skipped]]:
    """Read all runs at or below `root`, in the order of their folders. Raises BenchError where it is no folder."""
    if not root.is_dir():
        raise BenchError(f"{root}: no such folder; give the folder of the runs with --runs")
    runs: list[Run] = []
    skipped: list[Skipped] = []
    for folder, finished in sorted(_folders(root)):
        name = folder.relative_to(root).as_posix()
        if not finished:
            skipped.append(Skipped(name, "not finished (no done.json); the command that began it continues it"))
            continue
        try:
            runs.append(_read(folder, name))
        except (BenchError, OSError) as err:
            skipped.append(Skipped(name, str(err)))
    return runs, skipped


def _folders(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield (run folder, whether it is finished). Links are followed, each real folder once."""
    seen: set[str] = set()
    inside: set[Path] = set()
    unfinished: list[Path] = []
    for name, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(name)
        folder = Path(name)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        if "done.json" in files:
            folders.clear()
            yield folder, True
        elif "run.json" in files:
            unfinished.append(folder)
        else:
            continue
        inside.update(folder.parents)
    yield from ((folder, False) for folder in unfinished if folder not in inside)


def _read(folder: Path, name: str) -> Run:
    summary = _parse(Summary, folder / "summary.json")
    about = _parse(About, folder / "run.json")
    facts, resources = folder / "facts.json", folder / "resources.json"
    label = summary.label or about.label or summary.system
    return Run(
        folder=name,
        label=label,
        summary=summary,
        facts=_facts(facts) if facts.exists() else {},
        options=_mapping(_at(about.config, "systems", label)),
        population=about.population or _population(_mapping(_at(about.config, "dataset"))),
        stand_ins=tuple(dict.fromkeys((*summary.stand_ins, *about.stand_ins))),
        resources=_parse(Resources, resources) if resources.exists() else None,
    )


def _parse(kind: type[ReadT], file: Path, wrap: str = "") -> ReadT:
    """Read a JSON file as `kind`. Raises BenchError naming file and key."""
    value = store.read_json(file)
    try:
        return kind.model_validate({wrap: value} if wrap else value)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != wrap) or "the file"
        raise BenchError(f"{file}: {where}: {first['msg']}") from None


def _facts(file: Path) -> Mapping[str, float]:
    return _parse(Facts, file, wrap="values").values


def _population(dataset: Mapping[str, Any]) -> str:
    """Return what a dataset's options say of the unit and the population of cases."""
    return ", ".join(f"{key} {dataset[key]}" for key in ("unit", "population") if isinstance(dataset.get(key), str))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(value: Any, *path: str) -> Any:
    """Return what stands at a path of nested mappings, or None."""
    for key in path:
        value = _mapping(value).get(key)
    return value
