"""All evaluation of features: labels, findings, likeness, absorption, judged descriptions; and the same for controls.

`evaluate` writes two files. ``features.jsonl`` has a line a feature that any training image activates, with its scores
on held-out images; ``evaluation.json`` the aggregates of SAE-Rad and its controls, tables by finding and label, and
the recipe: all that moves a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import registry, store
from bench.contracts import Case, Floats, NoAnswer, PlanLine
from bench.errors import BenchError
from systems.readable import finite_rows
from systems.sae_rad.controls import RawNeurons, UntrainedEncoder, UntrainedSAE, _Fixed
from systems.sae_rad.evidence import labels as labelled
from systems.sae_rad.evidence import measure as measuring
from systems.sae_rad.evidence import monosemanticity
from systems.sae_rad.evidence.labels import Labels, Uncertain
from systems.sae_rad.evidence.measure import Measured, Seen, Subject, Targets, Value, Yardsticks
from systems.sae_rad.evidence.random_directions import RandomDirectionsSystem
from systems.sae_rad.options import SAERadOptions

if TYPE_CHECKING:
    from systems.sae_rad.evidence.judging import Judge, Judged
    from systems.sae_rad.opened import Opened
    from systems.sae_rad.system import SAERad

METHOD = "evidence/2"
"""Counts up when the same features and options would give other numbers."""
FEATURES, EVALUATION = "features.jsonl", "evaluation.json"
SAE_RAD, SHUFFLED = "sae-rad", "shuffled"
"""The control whose features are SAE-Rad's own, and whose labels, findings and reports are other patients'."""
FIXED: Mapping[str, type[_Fixed]] = {
    "random-directions": RandomDirectionsSystem,
    "untrained-sae": UntrainedSAE,
    "neurons": RawNeurons,
}
"""Controls with features that are not learnt, as many of them active a training image as SAE-Rad has."""
DENSE = "dense-neurons"
"""The control whose features are the encoder's own dimensions on every image. Silencing all but a few, as `neurons`
does, costs them most of what they know of a label; this is the score that SAE-Rad's features have to beat."""
DENSE_IMAGES = 50_000
"""Most training images that the features of `DENSE` are chosen on: half of them are active on any image."""
UNTRAINED_ENCODER = "untrained-encoder"
JUDGED = ("detection", "detection_auroc", "fuzzing")
CONTROLS = (*FIXED, DENSE, UNTRAINED_ENCODER, SHUFFLED)
DEFAULT_CONTROLS = (*FIXED, DENSE, SHUFFLED)


@dataclass(frozen=True)
class Options:
    """What is measured, and how."""

    splits: tuple[str, ...] = ()
    """Held-out splits, put together; (): all but train and validate."""
    annotator: str | None = None
    """Annotator of the reports; None: that of the configuration's CheXbert metric, else chexbert."""
    uncertain: Uncertain = "positive"
    encoder: str | None = None
    """Encoder in which images are compared for monosemanticity; None: not measured."""
    judge: str | None = None
    """Judge of descriptions; None: not measured."""
    features: int | tuple[int, ...] = 100
    """Features that are described and judged: the N active on most held-out images, or those named."""
    controls: tuple[str, ...] = DEFAULT_CONTROLS
    untrained_encoder: str = "untrained"
    """Encoder of the control untrained-encoder."""
    permutations: int = 20
    """Shuffles of the labels behind the row "shuffled"."""
    sides: bool = False
    """Measure findings by side ("effusion/left"), where the dataset tells sides, instead of findings as such."""

    def __post_init__(self) -> None:
        for name in self.controls:
            if name not in CONTROLS:
                raise BenchError(f"--controls: {registry.miss('control', name, CONTROLS)}")


@dataclass(frozen=True)
class Evaluation:
    """What was found, and where it was written."""

    folder: Path
    rows: Mapping[str, Mapping[str, Any]]
    """Aggregates by system, SAE-Rad first: name → {"value", "ci_low", "ci_high"}."""
    unmeasured: Mapping[str, str]
    """What was not measured, and why."""


# ------------------------------------------------------------------ images and what is known of them


@dataclass(frozen=True)
class Images:
    """The images of one side with their reports."""

    cases: Sequence[Case]
    reports: Sequence[str]

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Case id → row."""
        return {case.id: row for row, case in enumerate(self.cases)}


class _Work:
    """One evaluation under way; the system need not be prepared for what is asked of it before `train`."""

    def __init__(self, opened: Opened, options: Options) -> None:
        self.opened, self.options = opened, options
        self.context, self.seed = opened.context, opened.context.seed
        self.unmeasured: dict[str, str] = {}
        self.splits = self._splits()
        self.held_out = self._held_out()

    @cached_property
    def train(self) -> Images:
        """The training images of the prepared system."""
        return Images(self.opened.system.train_cases, self.opened.system.train_reports)

    def _splits(self) -> tuple[str, ...]:
        known = [split for split in self.opened.dataset.splits() if split not in ("train", "validate")]
        chosen = self.options.splits or tuple(known)
        if "train" in chosen:
            raise BenchError("--split: features are measured on held-out images; train is what they were learnt from")
        return tuple(dict.fromkeys(chosen))

    def _held_out(self) -> Images:
        cases = [case for split in self.splits for case in self.opened.cases(split)]
        if not cases:
            raise BenchError(f"--split {','.join(self.splits)}: there is no case to measure features on")
        references = {split: self.opened.references(split) for split in self.splits}
        reports = [references[split][case.id] for split in self.splits for case in self.opened.cases(split)]
        images = Images(cases, reports)
        if len(images.place) < len(cases):
            raise BenchError(f"--split {','.join(self.splits)}: some case is in several splits; name one of them")
        return images

    # -------------------------------------------------------------- yardsticks

    @cached_property
    def annotator(self) -> str:
        """The annotator chosen, or that of the configuration's CheXbert metric."""
        if self.options.annotator is not None:
            return self.options.annotator
        metrics = self.opened.settings.resolved.get("metrics", {}).values()
        named = [m.get("annotator") for m in metrics if m.get("use") == "chexbert-f1" and m.get("annotator")]
        return str(named[0]) if named else "chexbert"

    def yardsticks(self) -> Yardsticks:
        """Read the reports' labels, the true findings, the independent embeddings; draw the resamples."""
        run = self.opened.settings.run
        groups = [case.group for case in self.held_out.cases]
        weights = measuring.resamples(groups, run.bootstrap, self.seed)
        return Yardsticks(self._labels(), self._findings(), self._units(), weights, run.confidence)

    def _labels(self) -> Targets | None:
        annotator = self.context.annotator(self.annotator)
        train, held_out = (
            labelled.from_annotations(annotator.annotate(side.reports), self.options.uncertain)
            for side in (self.train, self.held_out)
        )
        return self._targets("labels", train, held_out)

    def _targets(self, kind: str, train: Labels, held_out: Labels) -> Targets | None:
        found = Targets.of(train, held_out)
        if not found.names:
            self.unmeasured[kind] = (
                f"no label has {measuring.LEAST} positive training images and {measuring.LEAST_HELD_OUT} held-out ones"
            )
        return found if found.names else None

    def _findings(self) -> Targets | None:
        tell = getattr(self.opened.dataset, "findings", None)
        if tell is None:
            self.unmeasured["findings"] = "the dataset does not tell what is truly on its images"
            return None
        truth = {key: found for split in ("train", *self.splits) for key, found in tell(split).items()}
        names = sorted({name for found in truth.values() for name in found if ("/" in name) == self.options.sides})
        if not names and self.options.sides:
            raise BenchError("--sides: the dataset does not tell the side of its findings; leave --sides out")
        train, held_out = (
            labelled.from_findings([truth[case.id] for case in side.cases], names)
            for side in (self.train, self.held_out)
        )
        return self._targets("findings", train, held_out)

    @property
    def independent(self) -> bool | None:
        """Whether monosemanticity is measured in another encoder than the features come from; None: in none."""
        spec, own = self.options.encoder, self.opened.system.options.encoder
        if spec is None:
            return None
        return self.context.encoder(spec).fingerprint() != self.context.encoder(own).fingerprint()

    def _units(self) -> dict[str, Floats]:
        spec = self.options.encoder
        if spec is None:
            self.unmeasured["monosemanticity"] = "no independent encoder was named: --encoder"
            return {}
        z = self.context.embeddings(spec, self.held_out.cases)
        there = finite_rows(z)
        found = {}
        for name, centred in ((measuring.LIKENESS, False), (measuring.ACROSS, True)):
            units = np.full(z.shape, np.nan)
            units[there] = monosemanticity.unit_rows(z[there], centred=centred)
            found[name] = units
        return found

    # -------------------------------------------------------------- systems

    def subject(self, system: SAERad) -> Subject:
        """Read all images with a system."""
        active, there = system.active(self.held_out.cases)
        rows = np.flatnonzero(there)
        cases = [self.held_out.cases[row] for row in rows.tolist()]
        kept = type(active)(np.concatenate([[0], np.diff(active.indptr)[there].cumsum()]), active.features,
                            active.activations)  # fmt: skip
        train = np.array([self.train.place.get(case.id, -1) for case in system.train_cases], np.int64)
        known = train >= 0
        seen = _train_active(system, known)
        train_cases = [case for case, ok in zip(system.train_cases, known, strict=True) if ok]
        z = (self.context.embeddings(system.options.encoder, side) for side in (train_cases, cases))
        sides = [
            Seen(r, a, next(z), [case.group for case in c])
            for r, a, c in ((train[known], seen, train_cases), (rows, kept, cases))
        ]
        return Subject(system.dictionary.m, system.dictionary.directions, sides[0], sides[1],
                       system.options.compose.threshold)  # fmt: skip

    def dense(self, own: Subject) -> Subject:
        """Return the encoder's own dimensions, none silenced, on the images that a system could read."""
        from systems.sae_rad.dictionary import Neurons

        neurons = Neurons.of(own.train.z, own.train.z.shape[1])
        drawn = np.sort(np.random.default_rng([self.seed, 4]).permutation(len(own.train.z))[:DENSE_IMAGES])
        train, held_out = (
            Seen(seen.rows[k], neurons.encode(seen.z[k]), seen.z[k], [seen.groups[i] for i in k.tolist()])
            for seen, k in ((own.train, drawn), (own.held_out, np.arange(len(own.held_out.z))))
        )
        return Subject(neurons.m, neurons.directions, train, held_out, 0.0)

    def control(self, name: str, own: Measured | None) -> SAERad:
        """Build the control `name`, not prepared.

        own: the activity of SAE-Rad's features, which controls that learn none imitate; None where it is not known,
        for what does not hang on it.
        """
        given = self.opened.system.options
        shared = {field: getattr(given, field) for field in SAERadOptions.model_fields}
        if name == UNTRAINED_ENCODER:
            other = {**shared, "encoder": self.options.untrained_encoder}
            return UntrainedEncoder(UntrainedEncoder.Options.model_validate(other), self.context)
        counts = np.ones(1, np.int64) if own is None else own.features["train_count"]
        active = 1.0 if own is None else own.values["L0_train"].value
        imitated = {
            "random-directions": {"counts": counts[counts > 0].tolist()},
            "untrained-sae": {"active": max(1, round(active or 1))},
            "neurons": {"active": max(1, round(active or 1))},
        }
        return FIXED[name](FIXED[name].Options.model_validate({**shared, **imitated[name]}), self.context)

    def prepared(self, name: str, own: Measured) -> SAERad:
        """Build and prepare the control `name`."""
        system = self.control(name, own)
        system.prepare(self.opened.train)
        return system

    # -------------------------------------------------------------- judging

    def selected(self, measured: Measured, *, own: bool = True) -> list[int]:
        """Return the features to describe and judge: those named, or the ones active on most held-out images.

        Of a control (`own` False), whose features bear other numbers, as many as are named.
        """
        wanted, counts = self.options.features, measured.features["heldout_count"]
        if own and not isinstance(wanted, int):
            if unknown := [feature for feature in wanted if feature >= len(counts)]:
                raise BenchError(f"--features: feature {unknown[0]} is not one of 0 to {len(counts) - 1}")
            return list(wanted)
        number = wanted if isinstance(wanted, int) else len(wanted)
        counts = np.where(measured.features["train_count"] > 0, counts, 0)  # others have no reports to be told by
        order = np.lexsort((np.arange(len(counts)), -counts))[:number]
        return sorted(int(feature) for feature in order if counts[feature])

    def judged(self, system: SAERad, subject: Subject, features: Sequence[int], judge: Judge) -> dict[int, Judged]:
        """Ask the judge about descriptions of a system's features."""
        from systems.sae_rad.evidence.judging import judge_features

        opened = replace(self.opened, system=system)
        cases, reports = self._shown(subject)
        return judge_features(opened, features, subject.held_out.active, cases, reports, judge, seed=self.seed)

    def misjudged(self, subject: Subject, features: Sequence[int], judge: Judge) -> Mapping[str, Mapping[int, Judged]]:
        """Ask the judge about descriptions that cannot be true."""
        from systems.sae_rad.evidence.judging import judge_controls

        cases, reports = self._shown(subject)
        found = judge_controls(self.opened, features, subject.held_out.active, cases, reports, judge, seed=self.seed)
        return {str(name): scores for name, scores in found.items()}

    def planned(
        self,
        name: str,
        system: SAERad,
        subject: Subject,
        features: Sequence[int],
        judge: Judge | None,
        controls: bool,
    ) -> list[PlanLine]:
        """Return what describing and judging a system's features takes."""
        from systems.sae_rad import planning
        from systems.sae_rad.evidence.judging import plan_questions

        described = planning.describing(system, [system.top_reports(feature) for feature in features])
        lines = [replace(line, what=f"{name}: {line.what}") for line in described]
        if judge is not None:
            opened = replace(self.opened, system=system)
            cases, reports = self._shown(subject)
            calls = plan_questions(
                opened, features, subject.held_out.active, cases, reports, judge, seed=self.seed, controls=controls
            )
            lines.append(PlanLine(f"{name}: questions to the judge", calls, "calls"))
        return lines

    def learning(self, name: str, system: SAERad) -> list[PlanLine]:
        """Return what encoding images and training an autoencoder take."""
        store, train = self.context.embedding_store(system.options.encoder), self.opened.train
        paths = [case.images[0].path for side in (train.cases, self.held_out.cases) for case in side if case.images]
        lines = [PlanLine("images to encode", len(store.missing(paths)), "images")]
        lines += [] if system.known(train, ()) else system._plan_features(train)
        return [replace(line, what=f"{name}: {line.what}") for line in lines]

    def foreseen(self, name: str, system: SAERad, controls: bool) -> list[PlanLine]:
        """Return bounds of the questions about a system whose features are not known yet."""
        from systems.sae_rad import planning
        from systems.sae_rad.evidence import judging

        wanted, lines = self.options.features, list[PlanLine]()
        number = wanted if isinstance(wanted, int) else len(wanted)
        if system.options.describe.by == "llm":
            calls = number * (2 if controls and self.options.judge else 1)
            lines.append(PlanLine(f"{name}: {planning.CALLS['describe']}, at most", calls, "calls"))
        if self.options.judge not in (None, "similarity"):
            _judge(self)  # a name that is no judge is told before anything is spent
            calls = number * 2 * -(-2 * judging.ITEMS // judging.PER_CALL) * (3 if controls else 1)
            lines.append(PlanLine(f"{name}: questions to the judge, at most about", calls, "calls"))
        return lines

    def _shown(self, subject: Subject) -> tuple[list[Case], list[str]]:
        rows = subject.held_out.rows.tolist()
        return [self.held_out.cases[row] for row in rows], [self.held_out.reports[row] for row in rows]


def _train_active(system: SAERad, known: NDArray[np.bool_]) -> Any:
    """Return the training activations of the rows that are known."""
    active = system.train_active
    if known.all():
        return active
    kept = known[active.rows()]
    indptr = np.concatenate([[0], np.diff(active.indptr)[known].cumsum()])
    return type(active)(indptr, active.features[kept], active.activations[kept])


# ------------------------------------------------------------------ the whole


def evaluate(opened: Opened, options: Options, folder: Path) -> Evaluation:
    """Measure a prepared system and its controls, and write both files into `folder`.

    Raises BenchError for a split, control or feature that is not there, and Unavailable where annotator, encoder or
    judge cannot work; nothing is written then. What a language model answered is kept, so that the same command
    continues.
    """
    work = _Work(opened, options)
    judge = _judge(work)
    against = work.yardsticks()
    subject = work.subject(opened.system)
    measured = measuring.measure(subject, against, work.seed)
    chosen = work.selected(measured)
    judged = work.judged(opened.system, subject, chosen, judge) if judge else {}
    rows, tables = {SAE_RAD: _row(measured, judged, against, work.seed)}, {SAE_RAD: measured.tables}
    for name, control, verdicts in _controls(work, against, subject, measured, judge):
        rows[name], tables[name] = _row(control, verdicts, against, work.seed), control.tables
    if SHUFFLED in options.controls:
        rows[SHUFFLED] = _shuffled(work, subject, against, measured)
        if judge:
            misjudged = work.misjudged(subject, chosen, judge)
            wrong = {name: _means(found, against, work.seed) for name, found in misjudged.items()}
            rows[SHUFFLED] |= wrong["shuffled reports"]
            rows["shuffled descriptions"] = wrong["shuffled descriptions"]
    lines = _lines(measured, judged, _descriptions(opened.system, chosen), against)
    evaluation = {
        "recipe": _recipe(work, judge),
        "order": list(rows),
        "rows": rows,
        "tables": tables,
        "unmeasured": work.unmeasured,
    }
    with store.locked(folder):
        store.write_text(folder / FEATURES, "".join(map(store.json_line, lines)))
        store.write_json(folder / EVALUATION, evaluation)
    return Evaluation(folder, rows, work.unmeasured)


def plan(opened: Opened, options: Options) -> list[PlanLine]:
    """Return what encoding, training, describing and judging take, system by system, for one that is not prepared.

    Nothing is encoded, trained or asked. Questions are counted where a system's images are encoded and its autoencoder
    is trained, else bounded. Calls to the judge are a bound, too, where descriptions are still to be made (a feature
    may get none), and where answers are kept already.
    """
    work, controls = _Work(opened, options), SHUFFLED in options.controls
    own = judge = None
    if opened.system.known(opened.train, work.held_out.cases):
        opened.system.prepare(opened.train)
        subject, judge = work.subject(opened.system), _judge(work)
        own = measuring.activity(subject)
        found = work.planned(SAE_RAD, opened.system, subject, work.selected(own), judge, controls)
    else:
        found = work.learning(SAE_RAD, opened.system) + work.foreseen(SAE_RAD, opened.system, controls)
    for name in options.controls:
        if name not in (SHUFFLED, DENSE):
            found += _plan_control(work, name, own, judge)
    return found


def _plan_control(work: _Work, name: str, own: Measured | None, judge: Judge | None) -> list[PlanLine]:
    system = work.control(name, own)
    known = own is not None and system.known(work.opened.train, work.held_out.cases)
    lines = work.learning(name, system) if name == UNTRAINED_ENCODER and not known else []
    if work.options.judge is None:
        return lines
    if not known:
        return lines + work.foreseen(name, system, False)
    system.prepare(work.opened.train)
    subject = work.subject(system)
    return work.planned(name, system, subject, work.selected(measuring.activity(subject), own=False), judge, False)


def _judge(work: _Work) -> Judge | None:
    if work.options.judge is None:
        work.unmeasured["detection"] = "no judge was named: --judge"
        return None
    from systems.sae_rad.evidence.judging import make_judge

    return make_judge(work.options.judge, work.opened)


def _controls(
    work: _Work, against: Yardsticks, subject: Subject, own: Measured, judge: Judge | None
) -> Iterator[tuple[str, Measured, dict[int, Judged]]]:
    """Measure the control systems one after the other; the same judge reads the descriptions of all."""
    names = [name for name in work.options.controls if name != SHUFFLED]
    with work.context.progress("controls", len(names), "controls") as bar:
        for name in names:
            bar.note(name)
            if name == DENSE:
                yield name, measuring.measure(work.dense(subject), against, work.seed), {}
            else:
                yield name, *_controlled(work, name, against, own, judge)
            bar.advance()


def _controlled(
    work: _Work, name: str, against: Yardsticks, own: Measured, judge: Judge | None
) -> tuple[Measured, dict[int, Judged]]:
    system = work.prepared(name, own)
    subject = work.subject(system)
    measured = measuring.measure(subject, against, work.seed)
    chosen = work.selected(measured, own=False) if judge else []
    return measured, work.judged(system, subject, chosen, judge) if judge else {}


def _shuffled(work: _Work, subject: Subject, against: Yardsticks, real: Measured) -> dict[str, Any]:
    """Return the aggregates that SAE-Rad's own features earn with other patients' labels and images."""
    n = work.options.permutations
    with work.context.progress("shuffled labels", n, "shuffles") as bar:
        found = []
        for permutation in range(n):
            found.append(measuring.measure_shuffled(subject, against, work.seed, permutation))
            bar.advance()
    row = measuring.chance(real.values, found, against.confidence)
    row |= {name: asdict(real.values[name]) for name in ("alive", "L0", "L0_train", "L0_alive")}
    likeness = (measuring.LIKENESS, measuring.ACROSS)
    row |= {name: asdict(real.values[f"{name}_shuffled"]) for name in likeness if name in real.values}
    return row


# ------------------------------------------------------------------ what is written


def _row(measured: Measured, judged: Mapping[int, Judged], against: Yardsticks, seed: int) -> dict[str, Any]:
    values = {name: asdict(value) for name, value in measured.values.items()}
    return values | _means(judged, against, seed)


def _means(judged: Mapping[int, Judged], against: Yardsticks, seed: int) -> dict[str, Any]:
    """Return the means over judged features with intervals that resample features, and in how many features each.

    Nothing where none was judged. A feature without a description, or without images to judge it by, has no score.
    """
    if not judged:
        return {}
    found = {"judged": asdict(Value(float(len(judged))))}
    for name in JUDGED:
        scores = np.array([value for one in judged.values() if (value := getattr(one, name)) is not None], np.float64)
        found[name] = asdict(_mean_of(scores, against, seed))
        found[f"{name}_features"] = asdict(Value(float(len(scores))))
    return found


def _mean_of(scores: Floats, against: Yardsticks, seed: int) -> Value:
    if not len(scores):
        return Value(None)
    rng, draws = np.random.default_rng([seed, 5]), 0 if against.weights is None else len(against.weights)
    means = np.array([scores[rng.integers(len(scores), size=len(scores))].mean() for _ in range(draws)])
    return Value.of(float(scores.mean()), means if len(scores) > 1 else None, against.confidence)


def _descriptions(system: SAERad, features: Sequence[int]) -> dict[int, str]:
    found = system.describe(features)
    return {feature: "" if isinstance(one, NoAnswer) else one.text for feature, one in found.items()}


def _lines(
    measured: Measured,
    judged: Mapping[int, Judged],
    descriptions: Mapping[int, str],
    against: Yardsticks,
) -> Iterator[dict[str, Any]]:
    """Yield the line of every feature that a training image activates, and of those chosen."""
    alive = np.flatnonzero(measured.features["train_count"]).tolist()
    names = {kind: targets for kind, targets in (("labels", against.labels), ("findings", against.findings)) if targets}
    for feature in sorted({*alive, *descriptions}):
        line = {"feature": feature, "description": descriptions.get(feature), **_numbers(measured, feature)}
        if feature in judged:
            line |= {name: getattr(judged[feature], name) for name in JUDGED}
        fires = bool(measured.features["heldout_count"][feature])
        line |= {kind: _against(measured, kind, names[kind], feature) if fires else {} for kind in names}
        yield line | _matched(measured, against.findings, feature)


def _numbers(measured: Measured, feature: int) -> dict[str, Any]:
    """Return counts, mean activation and scores; null where a feature has none."""
    counts = {name: int(measured.features[name][feature]) for name in ("train_count", "heldout_count")}
    scores = ("mean_activation", measuring.LIKENESS, measuring.ACROSS, "auroc_labels", "auroc_findings")
    there = {name: _number(measured.features[name][feature]) for name in scores if name in measured.features}
    return counts | there


def _against(measured: Measured, kind: str, targets: Targets, feature: int) -> dict[str, Any]:
    scores = measured.label_scores[kind]
    return {
        name: {"auroc": _number(scores.auroc[feature, k]), "ap": _number(scores.ap[feature, k]), "prevalence": share}
        for k, (name, share) in enumerate(zip(targets.names, targets.held_out.prevalence.tolist(), strict=True))
    }


def _matched(measured: Measured, findings: Targets | None, feature: int) -> dict[str, Any]:
    """Return the finding a feature was matched with on training images, and how that held out."""
    found: dict[str, Any] = {}
    for key, suffix in (("matched", ""), ("matched_at_threshold", "_at_threshold")):
        finding = int(measured.features[f"finding{suffix}"][feature]) if findings else -1
        parts = ("precision", "recall", "f1", *(["threshold"] if suffix else []))
        found[key] = None
        if findings and finding >= 0:
            numbers = {part: _number(measured.features[f"{part}{suffix}"][feature]) for part in parts}
            found[key] = {"finding": findings.names[finding], **numbers}
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _recipe(work: _Work, judge: Judge | None) -> dict[str, Any]:
    """Return all that moves a number."""
    opened, options = work.opened, work.options
    resolved = opened.settings.resolved
    spec = options.encoder
    return {
        "method": METHOD,
        "dataset": {**resolved["dataset"], "split": list(work.splits), "fingerprint": opened.dataset.fingerprint()},
        "system": {"label": opened.entry.label, **resolved["systems"][opened.entry.label]},
        "system_fingerprint": opened.system.fingerprint(),
        "seed": work.seed,
        "train_images": len(work.train.cases),
        "heldout_images": len(work.held_out.cases),
        "annotator": {"name": work.annotator, "fingerprint": work.context.annotator(work.annotator).fingerprint()},
        "uncertain": options.uncertain,
        "sides": options.sides,
        "encoder": None if spec is None else {
            "name": spec, "fingerprint": work.context.encoder(spec).fingerprint(), "independent": work.independent
        },
        "judge": None if judge is None else {"name": options.judge, "fingerprint": judge.fingerprint()},
        "features": options.features if isinstance(options.features, int) else list(options.features),
        "controls": list(options.controls),
        "untrained_encoder": options.untrained_encoder if UNTRAINED_ENCODER in options.controls else None,
        "permutations": options.permutations if SHUFFLED in options.controls else 0,
        "dense_images": DENSE_IMAGES if DENSE in options.controls else 0,
        "bootstrap": opened.settings.run.bootstrap,
        "confidence": opened.settings.run.confidence,
        "least_positives": {"train": measuring.LEAST, "heldout": measuring.LEAST_HELD_OUT},
    }  # fmt: skip
