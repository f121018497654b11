"""What pictures read of finished runs: scores of summary.json, checked, and what must stand beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench import compare, registry, show
from bench.compare import Run
from bench.errors import BenchError
from bench.run_folder import is_credentialed
from bench.wording import counted


class Score(BaseModel):
    """One entry of summary.json's scores, as a picture needs it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    n_undefined: int = 0
    n_failed: int = 0
    signature: str = ""
    reason: str = ""
    remedy: str = ""
    heading: str = ""
    scale: float = 100.0
    higher_is_better: bool = True

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the interval as tables show them; None where there is none."""
        if self.value is None or self.ci_low is None or self.ci_high is None:
            return None
        return self.ci_low * self.scale, self.ci_high * self.scale

    @property
    def shown(self) -> float | None:
        """The value as tables show it."""
        return None if self.value is None else self.value * self.scale


@dataclass(frozen=True, slots=True)
class Scored:
    """A run with its scores by column key."""

    run: Run
    scores: Mapping[str, Score]
    cases: str
    """Identity of cases and references: only scores on the same ones are compared."""

    @property
    def label(self) -> str:
        """Name of the run."""
        return self.run.label

    @property
    def population(self) -> str:
        """Return "demo test: 100 cases of 48 patients"."""
        patients = len({pair.group for pair in self.run.pairs.values()})
        return f"{self.data}: {counted(len(self.run.pairs), 'case')} of {counted(patients, 'patient')}"

    @property
    def data(self) -> str:
        """Return "demo test"; a dataset of a plugin in a file without the folder, which is nobody's business."""
        return f"{Path(str(self.run.summary['dataset'])).name} {self.run.summary['split']}"


def read(paths: Sequence[Path]) -> list[Scored]:
    """Read the finished runs at or below the paths; raises BenchError where one is not finished or damaged."""
    return [_scored(run) for run in compare.read_runs(paths, least=1)]


def _scored(run: Run) -> Scored:
    scores = {}
    for key, given in run.summary["scores"].items():
        try:
            scores[key] = Score.model_validate(given)
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(map(str, (key, *first["loc"])))
            raise BenchError(
                f"{run.folder / 'summary.json'}: scores.{where}: {first['msg']}: the run is damaged; score again with "
                "the command that made it"
            ) from None
    return Scored(run, scores, cases_of(run))


def cases_of(run: Run) -> str:
    """Return what identifies the cases of a run with their references, in any order."""
    pairs = sorted((pair.id, pair.reference) for pair in run.pairs.values())
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:12]


def credentialed(runs: Iterable[Run]) -> bool:
    """Whether one of the runs is of credentialed data, or of data of which that is not known."""
    return any(is_credentialed(run.run) or run.summary.get("credentialed") for run in runs)


# ------------------------------------------------------------------ choosing


def baseline_first(runs: Sequence[Scored], baseline: str | None) -> list[Scored]:
    """Return the runs with those named `baseline` first. Raises BenchError where none is."""
    if baseline is None:
        return list(runs)
    if not any(named(run, baseline) for run in runs):
        raise BenchError(f"--baseline: {registry.miss('run', baseline, [run.label for run in runs])}")
    return sorted(runs, key=lambda run: not named(run, baseline))


def named(run: Scored, name: str) -> bool:
    """Whether a run has the name, by its label or by what tells it from others of its label."""
    return name in (run.label, run.run.summary["label"])


def columns(runs: Sequence[Scored], metrics: str | None, full: bool) -> list[str]:
    """Return the columns to draw, in the order of tables: all of the runs', or those of `metrics`.

    metrics: columns or labels of metrics, with commas between. Raises BenchError for a name that is neither, and where
    nothing is left.
    """
    present = show.column_keys([{"scores": run.scores} for run in runs], full or metrics is not None)
    if metrics is None:
        if not present:
            raise BenchError(f"{runs[0].run.folder}: summary.json holds no score to draw")
        return present
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise BenchError("--metrics: names no column; give names with commas between, or leave it out for all")
    labels = {} if set(names) <= set(present) else _labels(runs)
    chosen: dict[str, None] = {}
    for name in names:
        if name not in present and name not in labels:
            raise BenchError(f"--metrics: {registry.miss('metric or column', name, [*present, *labels])}")
        chosen.update(dict.fromkeys([name] if name in present else labels[name]))
    return list(chosen)


def _labels(runs: Sequence[Scored]) -> dict[str, list[str]]:
    """Return the columns of each metric that can be built here and has one in a run."""
    found: dict[str, dict[str, None]] = {}
    for one in runs:
        for entry, _, its in show.metrics_of(one.run.folder):
            keys = {column.key: None for column in its if column.key in one.scores}
            found.setdefault(entry.label, {}).update(keys)
    return {label: list(keys) for label, keys in found.items() if keys}


def heading(runs: Sequence[Scored], key: str) -> str:
    """Return a column's heading. Raises BenchError where runs disagree in what it is."""
    scores = [(run, run.scores[key]) for run in runs if key in run.scores]
    first, score = scores[0]
    for other, its in scores[1:]:
        if (its.scale, its.higher_is_better) != (score.scale, score.higher_is_better):
            raise BenchError(
                f"{key}: {first.label} and {other.label} have columns of this name that are shown otherwise (scale "
                f"{score.scale:g} and {its.scale:g}, higher is better: {score.higher_is_better} and "
                f"{its.higher_is_better}); draw them apart, or leave it out by --metrics"
            )
    return score.heading or key


def by_cases(runs: Sequence[Scored]) -> list[list[Scored]]:
    """Return the runs in blocks of the same cases and references, in the order of their first runs."""
    blocks: dict[str, list[Scored]] = {}
    for run in runs:
        blocks.setdefault(run.cases, []).append(run)
    return list(blocks.values())


def block_names(blocks: Sequence[Sequence[Scored]]) -> list[str]:
    """Return what each block is on; blocks that read alike are told apart by their cases."""
    names = [block[0].population for block in blocks]
    return [
        f"{name} (cases {block[0].cases})" if names.count(name) > 1 else name
        for name, block in zip(names, blocks, strict=True)
    ]


def row_names(block: Sequence[Scored]) -> list[str]:
    """Return the names of a block's runs: their own labels where these tell them apart."""
    own = [str(run.run.summary["label"]) for run in block]
    return own if len(set(own)) == len(own) else [run.label for run in block]


def check_same(runs: Sequence[Scored], keys: Sequence[str], what: str) -> None:
    """Raise BenchError where `what` would compare scores on different cases, or scored otherwise."""
    blocks = by_cases(runs)
    if len(blocks) > 1:
        names = "; ".join(
            f"{', '.join(run.label for run in block)}: {name}"
            for name, block in zip(block_names(blocks), blocks, strict=True)
        )
        raise BenchError(f"{what} compares runs on the same cases, and these are not: {names}. {_REMEDY}")
    check_recipes(runs, keys, what, f"{_REMEDY} Or leave it out by --metrics")


def check_recipes(runs: Sequence[Scored], keys: Sequence[str], what: str, remedy: str) -> None:
    """Raise BenchError where a column is not scored alike in all runs that have a value of it."""
    for key in keys:
        recipes = {run.label: run.scores[key].signature for run in runs if key in run.scores and _has(run, key)}
        classes = list(dict.fromkeys(recipes.values()))
        if len(classes) > 1:
            first = next(label for label, recipe in recipes.items() if recipe == classes[0])
            others = ", ".join(label for label, recipe in recipes.items() if recipe != classes[0])
            raise BenchError(
                f"{what}: {key}: {others} scored otherwise than {first}: "
                f"{signature_difference(classes[1], classes[0])}. {remedy}"
            )


_REMEDY = "Draw each set alone; bench plot forest keeps them apart in one figure."


def _has(run: Scored, key: str) -> bool:
    return run.scores[key].value is not None


def signature_difference(one: str, other: str) -> str:
    """Return what differs in two signatures: "case:lc instead of case:mixed"."""
    return compare.signature_difference(one, other)


# ------------------------------------------------------------------ notes


def about_intervals(runs: Sequence[Scored], keys: Sequence[str]) -> str:
    """Return "95% intervals (1,000 resamples of patients)", or that there is none.

    Raises BenchError where runs have intervals of different kinds, which must not stand side by side.
    """
    kinds: dict[tuple[float, str], list[Scored]] = {}
    draws: dict[int, None] = {}
    for run in runs:
        if any(key in run.scores and run.scores[key].interval for key in keys):
            settings = _settings(run)
            kinds.setdefault((settings["confidence"], settings["cluster"]), []).append(run)
            draws[settings["bootstrap"]] = None
    if not kinds:
        return ""
    if len(kinds) > 1:
        told = "; ".join(
            f"{', '.join(run.label for run in those)}: {confidence:.0%} over {_unit(cluster)}s"
            for (confidence, cluster), those in kinds.items()
        )
        raise BenchError(f"The runs have intervals of different kinds ({told}): draw them apart, or score again alike")
    ((confidence, cluster),) = kinds
    numbers = " or ".join(f"{n:,}" for n in draws)
    return f"{confidence * 100:g}% intervals ({numbers} resamples of {_unit(cluster)}s)"


def _settings(run: Scored) -> dict[str, Any]:
    given = run.run.summary.get("run")
    given = given if isinstance(given, Mapping) else {}
    try:
        return {
            "confidence": float(given.get("confidence", 0.95)),
            "cluster": str(given.get("cluster", "group")),
            "bootstrap": int(given.get("bootstrap", 0)),
        }
    except (TypeError, ValueError):
        raise BenchError(
            f"{run.run.folder / 'summary.json'}: run: not as a run writes it: the run is damaged"
        ) from None


def _unit(cluster: str) -> str:
    return "patient" if cluster == "group" else "case"


def missing(runs: Sequence[Scored], keys: Sequence[str]) -> list[str]:
    """Say what has no value and why, which cases do not count, and which values have no interval though others do."""
    reasons: dict[str, dict[str, list[str]]] = {}
    lines = []
    for run in runs:
        for key in keys:
            score = run.scores.get(key)
            if score is None or score.value is None:
                why = "not among the run's metrics" if score is None else score.reason or "no reason given"
                reasons.setdefault(why, {}).setdefault(run.label, []).append(key)
                continue
            total = score.n + score.n_undefined + score.n_failed
            for n, what in ((score.n_failed, "without a verdict"), (score.n_undefined, "undefined")):
                lines += [f"{run.label}: {key}: {n:,} of {counted(total, 'case')} {what}, left out"] * (n > 0)
    return [f"– {_pairs(where)}: {why}" for why, where in reasons.items()] + lines


def _pairs(where: Mapping[str, Sequence[str]]) -> str:
    """Return "BL4, RG-L of a, b"."""
    by_keys: dict[str, list[str]] = {}
    for label, keys in where.items():
        by_keys.setdefault(", ".join(keys), []).append(label)
    return "; ".join(f"{keys} of {', '.join(labels)}" for keys, labels in by_keys.items())


def origins(runs: Sequence[Run]) -> list[str]:
    """Say which reports failed or are empty, and which parts are stand-ins."""
    notes = []
    for run in runs:
        failed = run.summary.get("n_reports_failed", 0) + run.summary.get("n_missing_as_empty", 0)
        empty = run.summary.get("n_reports_empty", 0)
        notes += [f"{run.label}: {counted(failed, 'failed or missing report')} scored as empty"] * bool(failed)
        notes += [f"{run.label}: {counted(empty, 'empty report')}"] * bool(empty)
    parts = dict.fromkeys(str(part) for run in runs for part in run.summary.get("stand_ins", ()))
    return [*notes, *[f"Stand-ins: {'; '.join(parts)}"] * bool(parts)]
