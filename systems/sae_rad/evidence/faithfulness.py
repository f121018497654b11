"""Are composed reports faithful to the features? Take one away, compose again, and look whether its sentence goes.

For a case, the report is composed as always. A feature's *sentence* is the report's sentence most like the feature's
description, if the two are alike enough (`ATTRIBUTED`). Then the report is composed anew

- without the feature (importances are a_i / max_j a_j of those left): is the sentence gone, changed or kept?
- without another of the features tested instead, drawn at random (the control): does this sentence go all the same? Of
  all that are active most are too weak to have a say, and a report stays as it is without them;
- with a feature more, drawn from those that are not active, at importance 1: does a sentence of it appear?

A sentence that another active feature says as well (`backed`) may stay in a faithful report: rates are given with and
without these.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import statistics, store
from bench.contracts import OK, UNDEFINED, Case, Floats, NoAnswer, PlanLine, Stats
from bench.errors import BenchError
from systems.sae_rad.compose import ALIKE, Draft
from systems.sae_rad.sentences import split
from systems.sae_rad.vectors import SentenceSpace

if TYPE_CHECKING:
    from systems.sae_rad.opened import Opened
    from systems.sae_rad.system import Important, SAERad

METHOD = "faithfulness/2"
"""Counts up when the same reports would give other outcomes."""
LINES, SUMMARY = "faithfulness.jsonl", "faithfulness.json"
ATTRIBUTED = 0.5
"""Cosine from which a sentence of a report counts as a feature's, and below which a sentence counts as gone."""
CASES_AT_ONCE = 16
"""Cases whose reports are asked for together; what a kill can lose."""
CONFIDENCE = 0.95

# ------------------------------------------------------------------ what is to be composed


@dataclass(frozen=True, slots=True)
class Trial:
    """One active feature to be tested on a case."""

    feature: int
    control: int | None
    """Another active feature, one that is tested as well where there is one; None where no other is active."""
    inserted: int | None
    """A feature that is not active; None where there is none."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A case with the features of its report and the trials to make; no feature where nothing is composed."""

    case: Case
    features: Important
    trials: tuple[Trial, ...]

    def described(self) -> set[int]:
        """Return the features whose descriptions the compositions need."""
        return {f for f, _ in self.features} | {t.inserted for t in self.trials if t.inserted is not None}

    def compositions(self) -> int:
        """Return how many reports the trials compose at most: fewer where a feature has no sentence in the report."""
        if not self.features:
            return 0
        alone = len(self.features) == 1  # without it the report is empty, and nothing is composed
        removed = {f for t in self.trials for f in (t.feature, t.control) if f is not None and not alone}
        inserted = {t.inserted for t in self.trials} - {None}
        return 1 + len(removed) + len(inserted)


def without(features: Important, feature: int) -> Important:
    """Return the features but for one, importances anew as shares of the highest left."""
    left = [(f, importance) for f, importance in features if f != feature]
    highest = max((importance for _, importance in left), default=1.0)
    return [(f, importance / highest) for f, importance in left]


def inserted(features: Important, feature: int) -> Important:
    """Return the features and one more of importance 1, most important first, equals by number."""
    return sorted([*features, (feature, 1.0)], key=lambda pair: (-pair[1], pair[0]))


def probes(system: SAERad, cases: Sequence[Case], *, per_case: int, seed: int) -> list[Probe]:
    """Return the trials of cases: of the `per_case` most important features of each.

    Controls are drawn from those, so that they matter as much to the report (from the two most important where one is
    tested). They and inserted features, which activate some training image, are drawn by seed, case and feature.
    """
    active, readable = system.active(cases)
    alive = np.flatnonzero(system.top.counts > 0)
    found = []
    for k, case in enumerate(cases):
        features = system.features_of(case, *active.row(k)) if readable[k] else []
        names = [feature for feature, _ in features]
        silent = np.setdiff1d(alive, names)
        rivals = names[: max(per_case, 2)]
        trials = [_trial(case, f, rivals, silent, seed) for f in names[:per_case]]
        found.append(Probe(case, features, tuple(trials)))
    return found


def _trial(case: Case, feature: int, rivals: Sequence[int], silent: Any, seed: int) -> Trial:
    key = hashlib.sha256(f"{seed}/{case.id}/{feature}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(key[:8], "big"))
    others = [f for f in rivals if f != feature]
    control = others[int(rng.integers(len(others)))] if others else None
    return Trial(feature, control, int(rng.choice(silent)) if len(silent) else None)


# ------------------------------------------------------------------ what became of a sentence


@dataclass(frozen=True, slots=True)
class Found:
    """The sentence of a report most like some others, and how like (cosine in [0, 1])."""

    sentence: str
    similarity: float


def closest(space: SentenceSpace, said: Sequence[str], sentences: Sequence[str]) -> Found:
    """Return the sentence most like one of `said`, the first of equals; ("", 0) where there is none."""
    if not said or not sentences:
        return Found("", 0.0)
    best = np.round(space.similarity(sentences, said).max(axis=1), 9)
    k = int(best.argmax())
    return Found(sentences[k], float(best[k]))


def outcome(similarity: float) -> str:
    """Return what became of a sentence, by the cosine of the most similar one in the new report.

    kept from `ALIKE` on, gone below `ATTRIBUTED`, changed between.
    """
    return "kept" if similarity >= ALIKE else "gone" if similarity < ATTRIBUTED else "changed"


@dataclass(frozen=True)
class _Task:
    """A report to compose: without a feature, or with one more."""

    removed: int | None = None
    inserted: int | None = None


class _Examination:
    """The trials of one case: which reports they need, and what these show."""

    def __init__(self, system: SAERad, probe: Probe, report: str | NoAnswer) -> None:
        self.system, self.probe, self.report = system, probe, report
        self.found = {t.feature: self._sentence(t.feature) for t in probe.trials}
        self.texts: dict[_Task, str | NoAnswer] = {}

    def _said(self, feature: int | None) -> list[str]:
        return split(self.system.description(feature)) if feature is not None else []

    def _sentence(self, feature: int) -> Found | None:
        if isinstance(self.report, NoAnswer):
            return None
        found = closest(self.system.space, self._said(feature), split(self.report))
        return found if found.similarity >= ATTRIBUTED else None

    def tasks(self) -> list[_Task]:
        """Return the reports that are needed, each once."""
        if isinstance(self.report, NoAnswer):
            return []
        return list(dict.fromkeys(task for trial in self.probe.trials for task in self._tasks(trial)))

    def _tasks(self, trial: Trial) -> Iterator[_Task]:
        if self.found[trial.feature] is not None:
            yield _Task(removed=trial.feature)
            if trial.control is not None:
                yield _Task(removed=trial.control)
        if self._to_insert(trial):
            yield _Task(inserted=trial.inserted)

    def _to_insert(self, trial: Trial) -> bool:
        """Tell whether the inserted feature has a description that the report does not say already."""
        said = self._said(trial.inserted)
        return bool(said) and closest(self.system.space, said, split(str(self.report))).similarity < ATTRIBUTED

    def draft(self, task: _Task) -> Draft:
        """Return what a report is composed from."""
        features = self.probe.features
        if task.removed is not None:
            features = without(features, task.removed)
        if task.inserted is not None:
            features = inserted(features, task.inserted)
        return self.system.draft(self.probe.case, features)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield one line a trial."""
        importance = dict(self.probe.features)
        for trial in self.probe.trials:
            found = self.found[trial.feature]
            yield {
                "case": self.probe.case.id,
                "group": self.probe.case.group,
                "feature": trial.feature,
                "importance": importance[trial.feature],
                "description": self.system.description(trial.feature),
                "sentence": found.sentence if found else None,
                "similarity": found.similarity if found else None,
                "backed": self._backed(trial.feature, found.sentence) if found else None,
                "ablated": self._fate(found, trial.feature),
                "control_feature": trial.control,
                "control": self._fate(found, trial.control),
                "inserted_feature": trial.inserted,
                "inserted": self._arrival(trial),
                "failed": self._failure(trial),
            }

    def _backed(self, feature: int, sentence: str) -> bool:
        """Tell whether another feature of the report says the same."""
        others = [s for f, _ in self.probe.features if f != feature for s in self._said(f)]
        return closest(self.system.space, [sentence], others).similarity >= ALIKE

    def _fate(self, found: Found | None, removed: int | None) -> str | None:
        text = self.texts.get(_Task(removed=removed)) if removed is not None else None
        if found is None or not isinstance(text, str):
            return None
        return outcome(closest(self.system.space, [found.sentence], split(text)).similarity)

    def _arrival(self, trial: Trial) -> str | None:
        said = self._said(trial.inserted)
        if not said or isinstance(self.report, NoAnswer):
            return None
        if not self._to_insert(trial):
            return "already"
        text = self.texts.get(_Task(inserted=trial.inserted))
        if not isinstance(text, str):
            return None
        return "appeared" if closest(self.system.space, said, split(text)).similarity >= ATTRIBUTED else "absent"

    def _failure(self, trial: Trial) -> str | None:
        """Return why a report that the trial needs was not composed."""
        needed = [] if isinstance(self.report, NoAnswer) else [self.texts[task] for task in self._tasks(trial)]
        failed = [text for text in (self.report, *needed) if isinstance(text, NoAnswer)]
        return f"{failed[0].kind}: {failed[0].why}" if failed else None


def examine(system: SAERad, block: Sequence[Probe]) -> list[list[dict[str, Any]]]:
    """Compose all reports of some cases, in two rounds, and return the lines of each case."""
    there = [probe for probe in block if probe.features]
    reports = system.compose([system.draft(probe.case, probe.features) for probe in there])
    looked = [_Examination(system, probe, report) for probe, report in zip(there, reports, strict=True)]
    tasks = [(one, task) for one in looked for task in one.tasks()]
    drafts = [one.draft(task) for one, task in tasks]
    texts = iter(system.compose([draft for draft in drafts if draft.features]))
    for (one, task), draft in zip(tasks, drafts, strict=True):
        one.texts[task] = next(texts) if draft.features else ""  # as the system reports where no feature is active
    lines = {one.probe.case.id: list(one.lines()) for one in looked}
    return [lines.get(probe.case.id) or [_nothing(probe.case)] for probe in block]


def _nothing(case: Case) -> dict[str, Any]:
    """Return the line of a case without an active feature, or whose image cannot be read."""
    return {"case": case.id, "group": case.group, "feature": None, "failed": None}


# ------------------------------------------------------------------ rates

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rate:
    """The mean of `value` over the lines that have one."""

    name: str
    meaning: str
    value: Callable[[Line], float | None]


def _if_sentence(value: Callable[[Line], float | bool]) -> Callable[[Line], float | None]:
    return lambda line: float(value(line)) if line["ablated"] is not None else None


def _controlled(line: Line) -> bool:
    return line["ablated"] is not None and line["control"] is not None


def _difference(line: Line) -> float | None:
    return float(line["ablated"] == "gone") - float(line["control"] == "gone") if _controlled(line) else None


RATES = (
    Rate("attributed", "features with a sentence in the report",
         lambda line: float(line["sentence"] is not None) if line["description"] else None),
    Rate("gone", "sentence gone without the feature", _if_sentence(lambda line: line["ablated"] == "gone")),
    Rate("changed", "sentence changed", _if_sentence(lambda line: line["ablated"] == "changed")),
    Rate("kept", "sentence kept", _if_sentence(lambda line: line["ablated"] == "kept")),
    Rate("backed", "another active feature says it too", _if_sentence(lambda line: line["backed"])),
    Rate("kept_backed", "kept, and another feature says it too",
         _if_sentence(lambda line: line["ablated"] == "kept" and line["backed"])),
    Rate("gone_unbacked", "gone, of those no other feature says",
         lambda line: float(line["ablated"] == "gone") if line["ablated"] and not line["backed"] else None),
    Rate("control_gone", "gone without another of them (control)",
         lambda line: float(line["control"] == "gone") if _controlled(line) else None),
    Rate("effect", "gone minus control", _difference),
    Rate("appeared", "a feature put in: its sentence appears",
         lambda line: float(line["inserted"] == "appeared") if line["inserted"] in ("appeared", "absent") else None),
    Rate("already", "a feature put in: was said already",
         lambda line: float(line["inserted"] == "already") if line["inserted"] else None),
)  # fmt: skip


def rates(lines: Sequence[Line], *, draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return each rate with a 95 % bootstrap interval over patients and the number of lines it rests on."""
    lines = [line for line in lines if line["feature"] is not None]
    if not lines:
        return {r.name: {"value": None, "ci_low": None, "ci_high": None, "n": 0} for r in RATES}
    found = [[r.value(line) for r in RATES] for line in lines]
    there = np.array([[value is not None for value in row] for row in found])
    values = np.array([[value or 0.0 for value in row] for row in found])
    stats = Stats(np.hstack([values, there]), np.where(there, OK, UNDEFINED).astype(np.int8))
    groups = [line["group"] for line in lines]
    scores = statistics.score(stats, groups, _means, draws=draws, confidence=CONFIDENCE, seed=seed)
    return {
        r.name: {"value": s.value, "ci_low": s.ci_low, "ci_high": s.ci_high, "n": s.n}
        for r, s in zip(RATES, scores, strict=True)
    }


def _means(totals: Floats) -> Floats:
    sums, counts = np.split(totals, 2, axis=-1)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def by_feature(lines: Sequence[Line]) -> dict[str, dict[str, int]]:
    """Return counts for each feature, by its number: tested, with a sentence, what became of it, and when inserted."""
    found: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for line in lines:
        if line["feature"] is None:
            continue
        counts = found[line["feature"]]
        counts["tested"] += 1
        counts["sentences"] += line["sentence"] is not None
        counts["backed"] += bool(line["backed"])
        if line["ablated"]:
            counts[line["ablated"]] += 1
        counts["control_gone"] += line["control"] == "gone"
        if line["inserted"]:
            found[line["inserted_feature"]]["inserted"] += 1
            found[line["inserted_feature"]][line["inserted"]] += 1
    return {str(feature): dict(found[feature]) for feature in sorted(found)}


COUNTS = ("tested", "sentences", "backed", "gone", "changed", "kept", "control_gone",
          "inserted", "appeared", "absent", "already")  # fmt: skip

# ------------------------------------------------------------------ the whole of it


def chosen(cases: Sequence[Case], limit: int | None, seed: int) -> list[Case]:
    """Return `limit` cases in an order drawn with the seed, so that a greater limit only adds cases."""
    order = np.random.default_rng(seed).permutation(len(cases))
    return [cases[k] for k in order[:limit]]


class Lines:
    """The lines of an output folder: what was measured before, and where more go."""

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        from bench.config import digest

        self.path, self.recipe = folder / LINES, digest(recipe)
        self._by_case: dict[str, dict[int | None, dict[str, Any]]] = defaultdict(dict)
        for number, line in enumerate(store.read_lines(self.path), 1):
            self._check(number, line)
            self._by_case[line["case"]][line["feature"]] = line

    def _check(self, number: int, line: Line) -> None:
        if line.get("recipe") != self.recipe:
            raise BenchError(
                f"{self.path}, line {number}: measured with another system, split, seed or number of features a case; "
                "delete the file, or choose another folder with --out"
            )

    def of(self, case: Case) -> list[dict[str, Any]]:
        """Return the lines of a case, the latest of each feature."""
        return list(self._by_case[case.id].values()) if case.id in self._by_case else []

    def done(self, case: Case) -> bool:
        """Tell whether all of a case was measured and composed."""
        lines = self.of(case)
        return bool(lines) and len(lines) == lines[0]["of"] and not any(line["failed"] for line in lines)

    def add(self, file: store.Appender, lines: Iterable[dict[str, Any]]) -> None:
        """Append the lines of one case."""
        added = list(lines)
        for line in added:
            line.update({"of": len(added), "recipe": self.recipe})
            self._by_case[line["case"]][line["feature"]] = line
        file.write(*added)


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured: a split, or part of it."""

    split: str
    per_case: int
    limit: int | None
    draws: int
    """Resamples of patients for the intervals."""

    def recipe(self, opened: Opened) -> dict[str, Any]:
        """Return what a line depends on."""
        return {
            "method": METHOD,
            "system": opened.system.fingerprint(),
            "dataset": opened.dataset.fingerprint(),
            "split": self.split,
            "per_case": self.per_case,
            "seed": opened.context.seed,
            "attributed": ATTRIBUTED,
            "kept": ALIKE,
        }


def plan(opened: Opened, folder: Path, measure: Measure) -> list[PlanLine]:
    """Return what is left to do, for a system that is not prepared; nothing is encoded, trained or asked.

    Features are counted where the autoencoder is trained and the cases are encoded; before that there are bounds.
    """
    system, lines = opened.system, Lines(folder, measure.recipe(opened))
    cases = chosen(opened.cases(measure.split), measure.limit, opened.context.seed)
    todo = [case for case in cases if not lines.done(case)]
    by_llm = system.options.compose.by == "llm"
    composed = "reports composed: questions to the language model" if by_llm else "reports composed"
    trials, describing, compositions = (_counted if system.known(opened.train, todo) else _bounds)(
        opened, todo, measure
    )
    return [
        PlanLine("cases", len(cases), "cases"),
        PlanLine("cases left to measure", len(todo), "cases"),
        *trials,
        *describing,
        PlanLine(f"{composed}, at most", compositions, "calls" if by_llm else "reports"),
    ]


_Planned = tuple[list[PlanLine], list[PlanLine], int]
"""Trials, descriptions to make, and most reports to compose."""


def _counted(opened: Opened, todo: Sequence[Case], measure: Measure) -> _Planned:
    from systems.sae_rad import planning

    system = opened.system
    system.prepare(opened.train)
    found = probes(system, todo, per_case=measure.per_case, seed=opened.context.seed)
    wanted = sorted(set[int]().union(*(probe.described() for probe in found)))
    trials = [PlanLine("features taken away", sum(len(probe.trials) for probe in found), "trials")]
    described = planning.describing(system, [system.top_reports(feature) for feature in wanted])
    return trials, described, sum(probe.compositions() for probe in found)


def _bounds(opened: Opened, todo: Sequence[Case], measure: Measure) -> _Planned:
    from systems.sae_rad import planning

    system = opened.system
    trials = [PlanLine("features taken away, at most", measure.per_case * len(todo), "trials")]
    if not system.known(opened.train, ()):
        trials = [*system._plan_features(opened.train), *trials]
    described = []
    if system.options.describe.by == "llm":
        described = [PlanLine(f"{planning.CALLS['describe']}, at most", system.most_features(), "calls")]
    return trials, described, len(todo) * (1 + max(2, measure.per_case) + measure.per_case)


def measure(opened: Opened, folder: Path, settings: Measure) -> dict[str, Any]:
    """Measure what is left to measure, a line a case and feature, and write and return the summary of all.

    Raises BenchError where the folder holds lines of another system or setting; ServerLost where a model went away:
    the same call goes on with the cases that are left.
    """
    cases = chosen(opened.cases(settings.split), settings.limit, opened.context.seed)
    recipe = settings.recipe(opened)
    with store.locked(folder):
        lines = Lines(folder, recipe)
        _fill(opened, lines, [case for case in cases if not lines.done(case)], settings.per_case)
        found = summary([line for case in cases for line in lines.of(case)], recipe, settings, opened.context.seed)
        store.write_json(folder / SUMMARY, found)
    return found


def _fill(opened: Opened, lines: Lines, todo: Sequence[Case], per_case: int) -> None:
    if not todo:
        return
    system = opened.system
    found = probes(system, todo, per_case=per_case, seed=opened.context.seed)
    system.describe(sorted(set[int]().union(*(probe.described() for probe in found))))
    with store.Appender(lines.path) as file, opened.context.progress("features taken away", len(found), "cases") as bar:
        for start in range(0, len(found), CASES_AT_ONCE):
            for measured in examine(system, found[start : start + CASES_AT_ONCE]):
                lines.add(file, measured)
                bar.advance()


def summary(lines: Sequence[Line], recipe: Mapping[str, Any], settings: Measure, seed: int) -> dict[str, Any]:
    """Return what faithfulness.json holds; failed lines are counted and left out of every rate."""
    counted = [line for line in lines if not line["failed"]]
    return {
        "recipe": dict(recipe),
        "limit": settings.limit,
        "confidence": CONFIDENCE,
        "cases": len({line["case"] for line in lines}),
        "without_features": sum(line["feature"] is None for line in counted),
        "trials": sum(line["feature"] is not None for line in lines),
        "failed": len(lines) - len(counted),
        "why_failed": dict(Counter(line["failed"] for line in lines if line["failed"]).most_common(5)),
        "rates": rates(counted, draws=settings.draws, seed=seed),
        "features": by_feature(counted),
    }
