"""Is a feature's description true? Detection and fuzzing scores on held-out images, with the controls of both.

After Paulo et al. 2024, "Automatically Interpreting Millions of Features in Large Language Models" (arXiv 2410.13928):

- *detection*: a judge reads the description and the report of a held-out image, and says whether the image activates
  the feature;
- *fuzzing*: a judge reads the description and the report of an activating held-out image in which one sentence is
  marked, and says whether it is the marked sentence that the description speaks of. There, tokens that activate are
  marked; a feature of ours has one activation for an image, so the sentence is our reading: see `FuzzingDraw`.

Both scores are balanced accuracies in [0, 1], 0.5 for a judge that guesses. Nothing that a score is measured on was
seen by the describer: it read training reports, the items are of held-out images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.contracts import LLM, Answer, Case, Floats, NoAnswer, Question
from bench.errors import BenchError
from systems.sae_rad.describe import CAUTION, Description, TopReports
from systems.sae_rad.evidence import judge_prompts as prompts
from systems.sae_rad.features import Ints, owners
from systems.sae_rad.sentences import split, without_change
from systems.sae_rad.vectors import SentenceSpace, agreement

if TYPE_CHECKING:
    from bench.context import RunContext
    from systems.sae_rad.opened import Opened
    from systems.sae_rad.system import SAERad
    from systems.sae_rad.trained import Active

Kind = prompts.Kind
Control = Literal["shuffled descriptions", "shuffled reports"]
Bools = NDArray[np.bool_]

ITEMS = 20
"""Most activating images of a feature's items, and most silent ones."""
PER_CALL = 5
"""Reports that a language model judges in one call."""
CALIBRATED_ON = 64
"""Features whose training reports the similarity judge's thresholds are learnt from."""
UNCALIBRATED = 0.5
"""Threshold of the similarity judge where no feature is active on enough training images to learn one from."""

# ------------------------------------------------------------------ what is shown and what is said


@dataclass(frozen=True, slots=True)
class Shown:
    """A report as a judge sees it."""

    report: str
    marked: int | None = None
    """Index into `split(report)` of the marked sentence, for fuzzing."""


@dataclass(frozen=True, slots=True)
class Item:
    """A report with the answer that only we know."""

    shown: Shown
    true: bool


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a judge is asked about one description at a time."""

    kind: Kind
    description: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one report."""

    holds: bool
    score: float | None = None
    """How much so, in [0, 1], where the judge grades; `holds` for the higher scores."""


class Judge(Protocol):
    """Says which of the reports fit a description. What it says of one sheet does not depend on the others."""

    def fingerprint(self) -> str:
        """Return what identifies judge, model and prompts; raises Unavailable where it is not there."""
        ...

    def judge(self, sheets: Sequence[Sheet]) -> list[list[Verdict | NoAnswer]]:
        """Return for each sheet one verdict a report, or why there is none."""
        ...

    def calls(self, sheet: Sheet) -> int:
        """Return how many questions to a language model a sheet takes."""
        ...


# ------------------------------------------------------------------ judges


class SimilarityJudge:
    """Word overlap in place of a language model: free, the same every time, blind to what words mean.

    score = mean over the description's sentences d of max_t cos²(d, t), t the report's sentences (detection) or its
    marked one (fuzzing), cos that of `SentenceSpace`: in [0, 1]. It holds from a threshold on that was learnt, for each
    kind once, from training reports (`calibrated`).
    """

    def __init__(self, space: SentenceSpace, thresholds: Mapping[Kind, float]) -> None:
        self._space, self.thresholds = space, dict(thresholds)

    def fingerprint(self) -> str:
        """Return the method and its thresholds."""
        return "|".join(["similarity/1", *(f"{kind}:{self.thresholds[kind]:.6f}" for kind in sorted(self.thresholds))])

    def calls(self, sheet: Sheet) -> int:  # noqa: ARG002 (a judge's method)
        """Return 0."""
        return 0

    def judge(self, sheets: Sequence[Sheet]) -> list[list[Verdict | NoAnswer]]:
        """Return one graded verdict a report."""
        return [
            [Verdict(bool(s >= self.thresholds[sheet.kind]), float(s)) for s in self.scores(sheet)] for sheet in sheets
        ]

    def scores(self, sheet: Sheet) -> Floats:
        """Return float64 [n_reports] in [0, 1]; 0 where description or report has no content word."""
        said = [s for s in split(sheet.description) if self._space.vector(s)]
        parts = [_read(shown) for shown in sheet.shown]
        if not said or not any(parts):
            return np.zeros(len(parts))
        cosines = self._space.similarity(said, [s for part in parts for s in part])
        # rounded: a score that equals the threshold must not hang on the last bit of a matrix product
        best = best_of_parts(agreement(cosines), [len(part) for part in parts])
        return np.asarray(np.round(best.mean(axis=0), 9))


def _read(shown: Shown) -> list[str]:
    """Return the sentences of a report that count: all, or the marked one."""
    sentences = split(shown.report)
    return sentences if shown.marked is None else [sentences[shown.marked]]


def best_of_parts(values: Floats, sizes: Sequence[int]) -> Floats:
    """Return the maxima over consecutive columns: [rows, sum(sizes)] -> [rows, len(sizes)]; 0 for a part of size 0."""
    found = np.zeros((len(values), len(sizes)))
    there = np.asarray(sizes) > 0
    if there.any():
        starts = np.cumsum([0, *sizes[:-1]])[there]
        found[:, there] = np.maximum.reduceat(values, starts, axis=1)
    return found


class LLMJudge:
    """A language model, asked about `per_call` reports at a time; it grades nothing, so there is no AUROC."""

    def __init__(self, llm: LLM, *, per_call: int = PER_CALL) -> None:
        self._llm, self._per_call = llm, per_call

    def fingerprint(self) -> str:
        """Return model, prompts and reports a call; raises Unavailable where server or model cannot be reached."""
        return f"{self._llm.fingerprint()}|judge-prompts:{prompts.digest()}|per_call:{self._per_call}"

    def calls(self, sheet: Sheet) -> int:
        """Return the number of questions that a sheet is cut into."""
        return len(self._parts(sheet))

    def judge(self, sheets: Sequence[Sheet]) -> list[list[Verdict | NoAnswer]]:
        """Return one verdict a report; a question without an answer leaves all of its reports without a verdict."""
        parts = [(k, part) for k, sheet in enumerate(sheets) for part in self._parts(sheet)]
        asked = [_question(sheets[k], part) for k, part in parts]
        found: list[list[Verdict | NoAnswer]] = [[] for _ in sheets]
        for (k, part), answer in zip(parts, self._llm.ask(asked, title="judging descriptions"), strict=True):
            found[k] += _verdicts(answer, len(part))
        return found

    def _parts(self, sheet: Sheet) -> list[list[Shown]]:
        """Cut a sheet into questions; none shows a report twice, as one mark of a report would give away the other."""
        parts: list[list[Shown]] = []
        for shown in sheet.shown:
            if not parts or len(parts[-1]) == self._per_call or shown.report in {s.report for s in parts[-1]}:
                parts.append([])
            parts[-1].append(shown)
        return parts


def _question(sheet: Sheet, part: Sequence[Shown]) -> Question:
    reports = [prompts.marked_report(shown.report, shown.marked) for shown in part]
    return prompts.question(sheet.kind, sheet.description, reports)


def _verdicts(answer: Answer | NoAnswer, n: int) -> list[Verdict | NoAnswer]:
    if isinstance(answer, NoAnswer):
        return [answer] * n
    return [Verdict(answer.data[str(number)]) for number in range(1, n + 1)]


def make_judge(spec: str, opened: Opened, *, per_call: int = PER_CALL) -> Judge:
    """Return the judge "similarity", or "llm:" with a language model ("backend/model", or a label of `llms`).

    Raises BenchError for any other, and where credentialed text would leave the machine.
    """
    return judge_of(spec, opened.system, opened.context, per_call=per_call)


def judge_of(spec: str, system: SAERad, context: RunContext, *, per_call: int = PER_CALL) -> Judge:
    """Do as `make_judge`, for a prepared system and its context."""
    from bench import registry

    if spec == "similarity":
        return calibrated(system, seed=context.seed)
    kind, _, model = spec.partition(":")
    if kind == "llm" and model.strip():
        return LLMJudge(context.llm(model.strip()), per_call=per_call)
    message = registry.miss("judge", spec, ["similarity", "llm:<backend>/<model>"])
    hint = f" A language model is written llm:{spec}." if "/" in spec and kind != "llm" else ""
    raise BenchError(f"{message}{hint}")


# ------------------------------------------------------------------ images by feature


class ImagesByFeature:
    """Which images activate a feature (more than `above`), and which studies none of whose images does.

    Images of one study share a report, so that a study counts once: by its highest image where one of its images
    activates the feature, and as silent only where none does.
    """

    def __init__(self, active: Active, cases: Sequence[Case], reports: Sequence[str], *, above: float = 0.0) -> None:
        self.reports = reports
        self._owner = owners(cases, "study")
        self._first_of_study = np.unique(self._owner, return_index=True)[1].astype(np.int64)
        kept = active.activations > above
        features, activations = active.features[kept].astype(np.int64), active.activations[kept]
        rows = np.repeat(np.arange(len(active), dtype=np.int64), np.diff(active.indptr))[kept]
        order = np.lexsort((rows, -activations, features))
        self._features, self._rows = features[order], rows[order]

    def _of(self, feature: int) -> Ints:
        """Return the rows of the images that activate a feature, highest first, equals by row."""
        return self._rows[slice(*np.searchsorted(self._features, [feature, feature + 1]))]

    def activating(self, feature: int, without: Iterable[int] = ()) -> Ints:
        """Return the highest row of every study that activates a feature, highest first.

        without: rows whose studies are passed over.
        """
        rows = self._of(feature)
        _, first = np.unique(self._owner[rows], return_index=True)
        rows = rows[np.sort(first)]
        return rows[~np.isin(self._owner[rows], self._owner[np.fromiter(without, np.int64)])]

    def silent(self, feature: int) -> Ints:
        """Return the first row of every study none of whose images activates a feature."""
        rows = self._first_of_study
        return rows[~np.isin(self._owner[rows], self._owner[self._of(feature)])]


def spread(ordered: Ints, n: int, rng: np.random.Generator) -> Ints:
    """Return n of `ordered`, one drawn from each of n parts of (nearly) equal size; all where there are no more.

    Of rows ordered by activation it is a draw from n quantiles, as Paulo et al. draw from ten.
    """
    if len(ordered) <= n:
        return ordered
    bounds = np.linspace(0, len(ordered), n + 1).astype(np.int64)
    return ordered[[int(rng.integers(low, high)) for low, high in pairwise(bounds)]]


# ------------------------------------------------------------------ items


@dataclass(frozen=True, slots=True)
class FeatureItems:
    """All that is asked about one feature, whatever its description."""

    detection: tuple[Item, ...]
    fuzzing: tuple[Item, ...]
    """In two halves, each of which shows a report once: questions of several reports need no report twice."""

    def of(self, kind: Kind) -> tuple[Item, ...]:
        """Return the items of a kind."""
        return self.detection if kind == "detection" else self.fuzzing


def draw_items(
    images: ImagesByFeature,
    space: SentenceSpace,
    top: TopReports,
    *,
    seed: int,
    n: int = ITEMS,
    without: Iterable[int] = (),
) -> FeatureItems:
    """Draw up to n activating and n silent images of a feature, of distinct studies, and both marks of the former.

    Depends on seed and feature only, not on descriptions or on the other features. No items where either sort of image
    is missing.
    """
    rng = np.random.default_rng([seed, top.feature])
    positive = spread(images.activating(top.feature, without), n, rng)
    silent = images.silent(top.feature)
    negative = rng.permutation(silent)[:n]
    if not len(positive) or not len(negative):
        return FeatureItems((), ())
    items = [Item(Shown(images.reports[row]), k < len(positive)) for k, row in enumerate([*positive, *negative])]
    fuzzing = FuzzingDraw(space, top).items([images.reports[row] for row in positive], rng)
    return FeatureItems(tuple(items[k] for k in rng.permutation(len(items))), fuzzing)


class FuzzingDraw:
    """Marks sentences of activating reports: one that the feature's images share, and one that they do not.

    support(s) is by how many standard errors the agreement of sentence s with the reports of the feature's most
    activating *training* images exceeds what it has with any training report: the score of `Consensus`, here for
    sentences of held-out reports. Of each report, the true item marks the sentence of highest support, where that is
    positive; the false item marks another sentence, drawn from those without positive support, or, where all have
    some, the one with the least. A report with one sentence only, or with no supported one, gives no items. The
    description has no part in this.
    """

    def __init__(self, space: SentenceSpace, top: TopReports) -> None:
        self._space = space
        self._parts = [[without_change(s) for s in split(report)] for report in top.reports]
        activations = np.asarray(top.activations, np.float64)
        self._weights = activations / activations.sum() if len(activations) else activations

    def items(self, reports: Sequence[str], rng: np.random.Generator) -> tuple[Item, ...]:
        """Return the items of some reports, the two of each in different halves."""
        halves: tuple[list[Item], list[Item]] = ([], [])
        for report in reports:
            if marks := self._marks(report, rng):
                first = int(rng.integers(2))
                halves[first].append(Item(Shown(report, marks[0]), True))
                halves[1 - first].append(Item(Shown(report, marks[1]), False))
        return (*halves[0], *halves[1])

    def _marks(self, report: str, rng: np.random.Generator) -> tuple[int, int] | None:
        sentences = split(report)
        if len(sentences) < 2 or not self._parts:
            return None
        support = self.support([without_change(s) for s in sentences])
        best = int(support.argmax())
        if support[best] <= 0:
            return None
        others = np.flatnonzero(support <= 0)
        if not len(others):
            return best, int(np.where(np.arange(len(support)) == best, np.inf, support).argmin())
        return best, int(rng.choice(others))

    def support(self, sentences: Sequence[str]) -> Floats:
        """Return float64 [n_sentences], in standard errors; 0 for a sentence without content words."""
        flat = [s for part in self._parts for s in part]
        sizes = [len(part) for part in self._parts]
        cosines = self._space.similarity(sentences, flat) if flat else np.zeros((len(sentences), 0))
        agree = best_of_parts(agreement(cosines), sizes)
        mean, variance = np.array([self._space.base(s) for s in sentences]).T
        error = np.sqrt(variance * np.square(self._weights).sum() + CAUTION**2)
        return np.asarray(np.round((agree @ self._weights - mean) / error, 9))


# ------------------------------------------------------------------ calibration of the similarity judge


def calibrated(system: SAERad, *, seed: int) -> SimilarityJudge:
    """Return the similarity judge with thresholds that part training reports best.

    For up to `CALIBRATED_ON` features (drawn with the seed from those active on more training images than describe
    them) items are drawn from training images, those whose reports made the description left out, and the descriptions
    are `Consensus`'s, whatever describer the system has: calibration costs no call, and no held-out report is seen.
    """
    judge = SimilarityJudge(system.space, {"detection": 0.0, "fuzzing": 0.0})
    scores: dict[Kind, list[Floats]] = {"detection": [], "fuzzing": []}
    truth: dict[Kind, list[bool]] = {"detection": [], "fuzzing": []}
    for description, items in _training_items(system, seed):
        for kind in scores:
            shown = tuple(item.shown for item in items.of(kind))
            scores[kind].append(judge.scores(Sheet(kind, description, shown)))
            truth[kind] += [item.true for item in items.of(kind)]
    return SimilarityJudge(
        system.space,
        {
            kind: best_threshold(np.concatenate([np.zeros(0), *scores[kind]]), np.array(truth[kind], bool))
            for kind in scores
        },
    )


def _training_items(system: SAERad, seed: int) -> Iterable[tuple[str, FeatureItems]]:
    from systems.sae_rad.describe import Consensus

    describe = system.options.describe
    consensus = Consensus(system.space, sentences=describe.sentences, further=describe.further, least=describe.least)
    above = system.options.compose.threshold
    images = ImagesByFeature(system.train_active, system.train_cases, system.train_reports, above=above)
    enough = np.flatnonzero(system.top.counts > system.top.rows.shape[1])
    for feature in np.random.default_rng(seed).permutation(enough)[:CALIBRATED_ON].tolist():
        top = system.top_reports(feature)
        (made,) = consensus.describe([top])
        if isinstance(made, Description) and made.text:
            rows = system.top.of(feature)[0]
            yield made.text, draw_items(images, system.space, top, seed=seed, without=rows.tolist())


def best_threshold(scores: Floats, truth: Bools) -> float:
    """Return the threshold t of greatest balanced accuracy of `scores >= t`, midway between two scores; the lowest of
    equals. `UNCALIBRATED` where one of the classes is missing."""
    if not truth.any() or truth.all():
        return UNCALIBRATED
    values = np.unique(scores)
    found = [balanced_accuracy(scores >= value, truth) or 0.0 for value in values]
    k = int(np.argmax(np.round(found, 9)))
    return float((values[k - 1] + values[k]) / 2 if k else values[0])


# ------------------------------------------------------------------ scores


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of one feature's description, each in [0, 1]; 0.5 is chance.

    None where there was nothing to judge: no description, no held-out image that activates the feature (or none that
    does not), no supported sentence, or no verdict on one of the classes.
    """

    detection: float | None
    """Balanced accuracy."""
    detection_auroc: float | None
    """Area under the ROC curve; None also where the judge does not grade."""
    fuzzing: float | None
    """Balanced accuracy."""
    n_items: int
    """Reports shown to the judge, both tests together."""
    n_failed: int
    """Those of them without a verdict: they count neither as right nor as wrong."""


NOTHING = Judged(None, None, None, 0, 0)


def balanced_accuracy(said: Bools, truth: Bools) -> float | None:
    """Return (true positive rate + true negative rate) / 2 of verdicts bool [n]; None where a class is empty."""
    if not truth.any() or truth.all():
        return None
    return float((said[truth].mean() + (~said[~truth]).mean()) / 2)


def auroc(scores: Floats, truth: Bools) -> float | None:
    """Return the chance that a true item scores above a false one, ties half (Mann-Whitney); None for a class empty."""
    if not truth.any() or truth.all():
        return None
    difference = scores[truth][:, None] - scores[~truth][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def scored(
    items: FeatureItems, detection: Sequence[Verdict | NoAnswer], fuzzing: Sequence[Verdict | NoAnswer]
) -> Judged:
    """Return the scores of verdicts, one an item."""
    found, area, n_failed = _scores(items.detection, detection)
    marked, _, n_lost = _scores(items.fuzzing, fuzzing)
    return Judged(found, area, marked, len(detection) + len(fuzzing), n_failed + n_lost)


def _scores(items: Sequence[Item], verdicts: Sequence[Verdict | NoAnswer]) -> tuple[float | None, float | None, int]:
    """Return balanced accuracy, AUROC, and how many items have no verdict."""
    answered = [(item.true, v) for item, v in zip(items, verdicts, strict=True) if isinstance(v, Verdict)]
    truth = np.array([true for true, _ in answered], bool)
    grades = [v.score for _, v in answered if v.score is not None]
    area = auroc(np.array(grades), truth) if len(grades) == len(answered) else None
    said = np.array([v.holds for _, v in answered], bool)
    return balanced_accuracy(said, truth), area, len(items) - len(answered)


# ------------------------------------------------------------------ judging features


def judge_features(
    opened: Opened,
    features: Sequence[int],
    active: Active,
    cases: Sequence[Case],
    references: Sequence[str],
    judge: Judge,
    *,
    seed: int,
    items: int = ITEMS,
    descriptions: Mapping[int, str] | None = None,
) -> dict[int, Judged]:
    """Return the scores of each feature's description on held-out images.

    cases: the readable held-out ones (an unreadable one would pass for one that activates nothing); active: their rows;
    references: their findings. descriptions: others than the system's own, for controls; a feature that is not among
    them, or whose description is "", is not judged. What is shown of a feature is the same whatever the description.
    """
    system = opened.system
    said = described(system, features) if descriptions is None else descriptions
    drawn = _drawn(system, features, active, cases, references, seed, items)
    return _judged(judge, drawn, said)


def _drawn(
    system: SAERad,
    features: Sequence[int],
    active: Active,
    cases: Sequence[Case],
    references: Sequence[str],
    seed: int,
    n: int,
) -> dict[int, FeatureItems]:
    images = ImagesByFeature(active, cases, references, above=system.options.compose.threshold)
    return {f: draw_items(images, system.space, system.top_reports(f), seed=seed, n=n) for f in features}


def _judged(judge: Judge, drawn: Mapping[int, FeatureItems], said: Mapping[int, str]) -> dict[int, Judged]:
    todo = [feature for feature, items in drawn.items() if said.get(feature) and items.detection]
    sheets = [sheet for feature in todo for sheet in _sheets(drawn[feature], said[feature])]
    verdicts = iter(judge.judge(sheets) if sheets else [])
    found = {feature: scored(drawn[feature], next(verdicts), next(verdicts)) for feature in todo}
    return {feature: found.get(feature, NOTHING) for feature in drawn}


def _sheets(items: FeatureItems, description: str) -> tuple[Sheet, Sheet]:
    return (
        Sheet("detection", description, tuple(item.shown for item in items.detection)),
        Sheet("fuzzing", description, tuple(item.shown for item in items.fuzzing)),
    )


def described(system: SAERad, features: Iterable[int]) -> dict[int, str]:
    """Return the system's own descriptions; "" where a feature has none."""
    return _texts(system.describe(features))


def _texts(found: Mapping[int, Description | NoAnswer]) -> dict[int, str]:
    return {feature: made.text if isinstance(made, Description) else "" for feature, made in found.items()}


# ------------------------------------------------------------------ controls


def shuffled_descriptions(descriptions: Mapping[int, str], *, seed: int) -> dict[int, str]:
    """Give each feature that has a description another one's, drawn from those that read otherwise; "" where all agree.

    What is left of the scores is what any description of some feature would get.
    """
    distinct = sorted({text for text in descriptions.values() if text})
    found = {}
    for feature, own in descriptions.items():
        others = [text for text in distinct if text != own]
        rng = np.random.default_rng([seed, feature, 1])
        found[feature] = others[int(rng.integers(len(others)))] if own and others else ""
    return found


def random_reports(system: SAERad, feature: int, *, seed: int) -> TopReports:
    """Return as many random training reports as the feature has top ones, beside its activations.

    At most one an image, study or patient, as `describe.distinct` says.
    """
    top = system.top_reports(feature)
    owner = owners(system.train_cases, system.options.describe.distinct)
    rows = np.random.default_rng([seed, feature, 2]).permutation(len(owner))
    _, first = np.unique(owner[rows], return_index=True)
    chosen = rows[np.sort(first)][: len(top.reports)]
    reports = tuple(system.train_reports[row] for row in chosen.tolist())
    return TopReports(feature, reports, top.activations[: len(reports)])


def shuffled_reports(system: SAERad, features: Iterable[int], *, seed: int) -> dict[int, str]:
    """Describe each feature anew by the system's describer, from random training reports instead of its top ones.

    What is left of the scores is what the describer says of radiographs in general. Costs a call a feature where a
    language model describes.
    """
    drawn = [random_reports(system, feature, seed=seed) for feature in features]
    asked = [top for top in drawn if top.reports]
    made = dict(zip([top.feature for top in asked], system.describer.describe(asked) if asked else [], strict=True))
    return {top.feature: "" for top in drawn} | _texts(made)


def judge_controls(
    opened: Opened,
    features: Sequence[int],
    active: Active,
    cases: Sequence[Case],
    references: Sequence[str],
    judge: Judge,
    *,
    seed: int,
    items: int = ITEMS,
) -> dict[Control, dict[int, Judged]]:
    """Return the scores of `judge_features` with descriptions that cannot be true, on the same items."""
    system = opened.system
    drawn = _drawn(system, features, active, cases, references, seed, items)
    wrong = _wrong(system, described(system, features), seed)
    return {control: _judged(judge, drawn, said) for control, said in wrong.items()}


def plan_questions(
    opened: Opened,
    features: Sequence[int],
    active: Active,
    cases: Sequence[Case],
    references: Sequence[str],
    judge: Judge,
    *,
    seed: int,
    items: int = ITEMS,
    controls: bool = True,
) -> int:
    """Return how many questions `judge_features` (and `judge_controls`) ask the judge; nothing is asked.

    Exact where descriptions cost nothing; where a language model describes, every feature is taken to get a
    description, so that it is the most there can be. Descriptions themselves are not among them: the control with
    shuffled reports asks the describer once a feature more. Equal questions are asked once.
    """
    system = opened.system
    drawn = _drawn(system, features, active, cases, references, seed, items)
    costly = system.options.describe.by == "llm"
    own = dict.fromkeys(features, "unknown") if costly else described(system, features)
    said: list[Mapping[int, str]] = [own]
    if controls:
        said += [own, own] if costly else _wrong(system, own, seed).values()
    return sum(_calls(judge, drawn, texts) for texts in said)


def _wrong(system: SAERad, own: Mapping[int, str], seed: int) -> dict[Control, Mapping[int, str]]:
    """Return the descriptions of each control, for the features of `own`."""
    return {
        "shuffled descriptions": shuffled_descriptions(own, seed=seed),
        "shuffled reports": shuffled_reports(system, own, seed=seed),
    }


def _calls(judge: Judge, drawn: Mapping[int, FeatureItems], said: Mapping[int, str]) -> int:
    sheets = (_sheets(items, said[f]) for f, items in drawn.items() if said.get(f) and items.detection)
    return sum(judge.calls(sheet) for pair in sheets for sheet in pair)


def mean_scores(judged: Mapping[int, Judged]) -> dict[str, float | int | None]:
    """Return the mean of each score over the features that have it, in how many, and the counts of items."""
    found: dict[str, float | int | None] = {"features": len(judged)}
    for name in ("detection", "detection_auroc", "fuzzing"):
        values = [value for j in judged.values() if (value := getattr(j, name)) is not None]
        found[name] = sum(values) / len(values) if values else None
        found[f"{name}_features"] = len(values)
    found["items"] = sum(j.n_items for j in judged.values())
    found["failed"] = sum(j.n_failed for j in judged.values())
    return found
