"""F1 over the 14 observations that an annotator finds in report and reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bench.contracts import FAILED, OK, Column, Context, Floats, Mark, Pair, SmallTable, Stats, Unannotated
from bench.errors import BenchError
from bench.options import Options
from metrics.chexbert.labels import BLANK, FIVE, NEGATIVE, POSITIVE, UNCERTAIN, Label
from metrics.observations import LABELS

Labels = Mapping[str, Label]

_FIVE = [LABELS.index(name) for name in FIVE]
_WORDS = {POSITIVE: "present", NEGATIVE: "absent", UNCERTAIN: "uncertain", BLANK: "–"}


class CheXbertF1Options(Options):
    """Options of CheXbert F1."""

    annotator: str = "chexbert"
    """What labels a report's 14 observations."""
    uncertain: Literal["positive", "negative"] = "positive"
    """What an uncertain mention counts as: positive as in f1chexbert, negative as in LLaVA-Rad's evaluation."""


class CheXpertRulesF1Options(CheXbertF1Options):
    """Options of the same F1 by rules."""

    annotator: str = "rules"
    """What labels a report's 14 observations."""


def f1(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Return F1 in [0, 1] of counts of any shape; 0 for 0/0, as scikit-learn's classification_report has it."""
    total = 2 * tp + fp + fn
    found: Floats = np.divide(2 * tp, total, out=np.zeros(total.shape), where=total > 0)
    return found


def macro(counts: Floats) -> Floats:
    """Return the mean F1 over labels, [..., 3, n_labels] → [...]."""
    tp, fp, fn = np.moveaxis(counts, -2, 0)
    found: Floats = f1(tp, fp, fn).mean(axis=-1)
    return found


def micro(counts: Floats) -> Floats:
    """Return the F1 of the counts summed over labels, [..., 3, n_labels] → [...]."""
    tp, fp, fn = np.moveaxis(counts.sum(axis=-1), -1, 0)
    return f1(tp, fp, fn)


def count(candidate: Floats, reference: Floats) -> Floats:
    """Return tp, fp, fn of each label, [..., n_labels] of 0 or 1 twice → [..., 3, n_labels]."""
    hit = candidate * reference
    return np.stack([hit, candidate - hit, reference - hit], axis=-2)


class CheXbertF1:
    """CheXbert F1, macro and micro, over 5 and 14 observations.

    Equal to scikit-learn's report on f1chexbert's labels, No Finding among the 14; a label that neither side has
    counts 0 in the macro average. A pair with a side that could not be labelled is failed. Statistics: tp, fp, fn of
    each label, and 1 for the pair.
    """

    Options: type[CheXbertF1Options] = CheXbertF1Options
    group = "clinical"
    table1 = True
    name = "chexbert-f1"
    columns: tuple[Column, ...] = (
        Column("Ma-5", "Ma-5"),
        Column("Ma-14", "Ma-14"),
        Column("Mi-5", "Mi-5"),
        Column("Mi-14", "Mi-14"),
    )

    def __init__(self, options: CheXbertF1Options, context: Context) -> None:
        self.options = options
        self.annotator = context.annotator(options.annotator)

    def signature(self) -> str:
        """Return the annotator with its weights, what uncertain counts as, and the rule for 0/0."""
        uncertain = self.options.uncertain
        return f"{self.name}|annotator:{self.annotator.fingerprint()}|uncertain:{uncertain}|zero-division:0|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return tp, fp, fn of the 14 labels and 1, [n_pairs, 43]."""
        found = self.annotator.annotate([p.candidate for p in pairs] + [p.reference for p in pairs])
        labels = [self._present(annotation) for annotation in found]
        values = np.zeros((len(pairs), 3 * len(LABELS) + 1))
        status = np.full((len(pairs), len(self.columns)), OK, np.int8)
        for row, (candidate, reference) in enumerate(zip(labels[: len(pairs)], labels[len(pairs) :], strict=True)):
            if candidate is None or reference is None:
                status[row] = FAILED
            else:
                values[row] = [*count(candidate, reference).ravel(), 1.0]
        return Stats(values, status)

    def finish(self, totals: Floats) -> Floats:
        """Return Ma-5, Ma-14, Mi-5, Mi-14, [..., 43] → [..., 4]; NaN where no pair was counted."""
        counts = _by_label(totals)
        five = counts[..., _FIVE]
        scores = np.stack([macro(five), macro(counts), micro(five), micro(counts)], axis=-1)
        return np.where(totals[..., -1:] > 0, scores, np.nan)

    def tables(self, totals: Floats) -> Sequence[SmallTable]:
        """Return the counts, precision, recall, F1 and support of each label. totals: [43]."""
        tp, fp, fn = _by_label(totals)
        rows = [
            (
                name,
                *(f"{number:.0f}" for number in (tp[i], fp[i], fn[i])),
                *(_percent(part, whole) for part, whole in ((tp[i], tp[i] + fp[i]), (tp[i], tp[i] + fn[i]))),
                f"{100 * f1(tp, fp, fn)[i]:.1f}",
                f"{tp[i] + fn[i]:.0f}",
            )
            for i, name in enumerate(LABELS)
        ]
        headings = ("label", "tp", "fp", "fn", "precision", "recall", "F1", "support")
        return [SmallTable("labels", headings, tuple(rows))]

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """List the labels of both sides and what each counts as."""
        candidate, reference = self.annotator.annotate([pair.candidate, pair.reference])
        for side, found in (("candidate", candidate), ("reference", reference)):
            if isinstance(found, Unannotated):
                return [SmallTable("Observations", ("side", "not labelled"), ((side, found.why),))]
        rows = self._rows(self._labels(candidate), self._labels(reference))
        return [SmallTable("Observations", ("label", "candidate", "reference", "counts as"), tuple(rows))]

    def _rows(self, candidate: Labels, reference: Labels) -> Iterator[tuple[str, ...]]:
        for name in LABELS:
            said, true = self._counts(candidate[name]), self._counts(reference[name])
            verdict = "hit" if said and true else "extra" if said else "missed" if true else ""
            yield name, _WORDS[candidate[name]], _WORDS[reference[name]], verdict

    def _counts(self, label: Label) -> bool:
        return label == POSITIVE or (label == UNCERTAIN and self.options.uncertain == "positive")

    def _present(self, annotation: Any) -> Floats | None:
        """Return 1 for each label that counts as present, [14]; None for a text that was not annotated."""
        if isinstance(annotation, Unannotated):
            return None
        labels = self._labels(annotation)
        return np.array([float(self._counts(labels[name])) for name in LABELS])

    def _labels(self, annotation: Any) -> Labels:
        who = f"annotator {self.options.annotator!r}"
        labels = annotation.get("labels") if isinstance(annotation, Mapping) else None
        if not isinstance(labels, Mapping):
            raise BenchError(f"{who} gives no labels: {self.name} needs one that does (chexbert, rules)")
        for name in LABELS:
            if name not in labels or labels[name] not in _WORDS:
                found = repr(labels[name]) if name in labels else "nothing"
                raise BenchError(f"{who} says {found} about {name!r}: 1, 0, -1 or None is wanted for each of the 14")
        return labels


class CheXpertRulesF1(CheXbertF1):
    """F1 over the 14 CheXpert observations as the rule-based reader finds them; stands beside chexbert-f1.

    The same arithmetic on another labeller's labels: its numbers are not to be compared with CheXbert's.
    """

    Options: type[CheXbertF1Options] = CheXpertRulesF1Options
    table1 = False
    name = "chexpert-rules-f1"
    columns: tuple[Column, ...] = tuple(Column(f"Rules-{c.key}", f"R-{c.heading}") for c in CheXbertF1.columns)


def _by_label(totals: Floats) -> Floats:
    """[..., 43] → [..., 3, 14]."""
    return totals[..., :-1].reshape(*totals.shape[:-1], 3, len(LABELS))


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"
