"""F1 over the findings that SRR-BERT sees in report and reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from bench.contracts import FAILED, OK, Column, Context, Floats, Mark, Pair, SmallTable, Stats, Unannotated
from bench.errors import BenchError
from bench.options import Options
from metrics.srr_bert.labels import LABELS, Variant

Side = Literal["candidate", "reference"]


class SRRBertF1Options(Options):
    """Options of SRR-BERT F1."""

    variant: Variant = "leaves-with-statuses"
    """Which model's labels are compared: 54 findings or 24 groups of them, with or without present, uncertain and
    absent. RadEval reports leaves-with-statuses."""
    average: Literal["weighted", "macro", "micro"] = "weighted"
    """How the labels' scores become one: weighted by how often the references have them (RadEval), alike, or of the
    counts summed over labels."""
    annotator: str | None = None
    """Annotator that labels the sentences, by a label of `annotators`; None: the variant's own, srr-bert-<variant>."""


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole of any shape; 0 for 0/0, as scikit-learn with zero_division=0."""
    found: Floats = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    return found


def scores(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Return precision, recall and F1 of counts of one shape, stacked before it: [3, …]."""
    return np.stack([ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn)])


class SRRBertF1:
    """SRR-BERT F1, precision and recall: findings of the sentences, united over the report, against the reference's.

    Equal to scikit-learn's classification report on the united labels. A text's labels are those that any of its
    sentences has, so that one finding may be both present and absent. Statistics: tp, fp, fn of each label, and 1.
    """

    Options = SRRBertF1Options
    group = "clinical"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("SRR-BERT-P", "SRR-P"),
        Column("SRR-BERT-R", "SRR-R"),
        Column("SRR-BERT-F1", "SRR-F1"),
    )

    def __init__(self, options: SRRBertF1Options, context: Context) -> None:
        self.options = options
        self.labels = LABELS[options.variant]
        self._place = {label: place for place, label in enumerate(self.labels)}
        self._name = options.annotator or f"srr-bert-{options.variant}"
        self.annotator = context.annotator(self._name)

    def signature(self) -> str:
        """Return annotator with weights, variant, average and the rule for 0/0. Raises Unavailable."""
        o = self.options
        return f"srr-bert|annotator:{self.annotator.fingerprint()}|{o.variant}|{o.average}|zero-division:0|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return tp, fp, fn of each label and 1, [n_pairs, 3 n_labels + 1]; FAILED where a side is not labelled."""
        found = self.annotator.annotate([p.candidate for p in pairs] + [p.reference for p in pairs])
        values = np.zeros((len(pairs), 3 * len(self.labels) + 1))
        status = np.full((len(pairs), len(self.columns)), OK, np.int8)
        for row, (said, true) in enumerate(zip(found[: len(pairs)], found[len(pairs) :], strict=True)):
            if isinstance(said, Unannotated) or isinstance(true, Unannotated):
                status[row] = FAILED
            else:
                candidate, reference = self._vector(said), self._vector(true)
                hit = candidate * reference
                values[row] = [*hit, *(candidate - hit), *(reference - hit), 1.0]
        return Stats(values, status)

    def finish(self, totals: Floats) -> Floats:
        """Return precision, recall, F1, [..., 3 n_labels + 1] → [..., 3]; NaN where no pair was counted."""
        tp, fp, fn = self._counts(totals)
        if self.options.average == "micro":
            made = scores(tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1))
        elif self.options.average == "macro":
            made = scores(tp, fp, fn).mean(axis=-1)
        else:
            support = tp + fn
            made = ratio((scores(tp, fp, fn) * support).sum(axis=-1), np.stack([support.sum(axis=-1)] * 3))
        return np.where(totals[..., -1:] > 0, np.moveaxis(made, 0, -1), np.nan)

    def tables(self, totals: Floats) -> Sequence[SmallTable]:
        """Return counts and scores of each label that either side has. totals: [3 n_labels + 1]."""
        tp, fp, fn = self._counts(totals)
        made = scores(tp, fp, fn)
        rows = tuple(
            (
                label,
                *(f"{n[i]:.0f}" for n in (tp, fp, fn)),
                *(f"{100 * s[i]:.1f}" for s in made),
                f"{tp[i] + fn[i]:.0f}",
            )
            for i, label in enumerate(self.labels)
            if tp[i] + fp[i] + fn[i] > 0
        )
        return [SmallTable("labels", ("label", "tp", "fp", "fn", "precision", "recall", "F1", "support"), rows)]

    # -------------------------------------------------------------- explaining

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """Mark the sentences that have findings the other side has too, or has not, and list the labels."""
        texts: dict[Side, str] = {"candidate": pair.candidate, "reference": pair.reference}
        made = dict(zip(texts, self.annotator.annotate(list(texts.values())), strict=True))
        if failed := tuple((side, one.why) for side, one in made.items() if isinstance(one, Unannotated)):
            return [SmallTable("Findings", ("side", "not labelled"), failed)]
        united = {side: self._united(one) for side, one in made.items()}
        shared = united["candidate"] & united["reference"]
        marks = [mark for side, text in texts.items() for mark in _marks(side, text, self._read(made[side]), shared)]
        return [*marks, SmallTable("Findings", ("finding", "counts as", "sentences"), tuple(self._rows(made, united)))]

    def _rows(self, made: Mapping[Side, Any], united: Mapping[Side, set[str]]) -> Iterator[tuple[str, ...]]:
        for label in self.labels:
            sides = [side for side in made if label in united[side]]
            if sides:
                words = "hit" if len(sides) == 2 else "extra" if sides == ["candidate"] else "missed"
                where = [
                    f"{side}: {one['sentence']}"
                    for side in sides
                    for one in self._read(made[side])
                    if label in one["labels"]
                ]
                yield label, words, " · ".join(where)

    # -------------------------------------------------------------- annotations

    def _read(self, annotation: Any) -> Sequence[Mapping[str, Any]]:
        if not isinstance(annotation, Mapping) or "srr" not in annotation:
            raise BenchError(f"annotator {self._name!r} finds no SRR-BERT labels: use srr-bert-{self.options.variant}")
        found: Sequence[Mapping[str, Any]] = annotation["srr"]
        return found

    def _united(self, annotation: Any) -> set[str]:
        labels = {label for one in self._read(annotation) for label in one["labels"]}
        if strange := sorted(labels - self._place.keys()):
            raise BenchError(
                f"annotator {self._name!r} gives the label {strange[0]!r}, which {self.options.variant} has not: set "
                "the metric's option variant to the annotator's"
            )
        return labels

    def _vector(self, annotation: Any) -> Floats:
        vector = np.zeros(len(self.labels))
        vector[[self._place[label] for label in self._united(annotation)]] = 1
        return vector

    def _counts(self, totals: Floats) -> tuple[Floats, Floats, Floats]:
        n = len(self.labels)
        return totals[..., :n], totals[..., n : 2 * n], totals[..., 2 * n : 3 * n]


def _marks(side: Side, text: str, read: Sequence[Mapping[str, Any]], shared: set[str]) -> Iterator[Mark]:
    """Yield a mark for each sentence with labels that stands in the text as it was read."""
    end = 0
    for one in read:
        start = text.find(one["sentence"].rstrip("."), end)
        if start < 0 or not one["labels"]:
            continue
        end = start + len(one["sentence"].rstrip("."))
        hits = [label in shared for label in one["labels"]]
        kind = "match" if all(hits) else "mixed" if any(hits) else "other"
        if end > start:
            yield Mark(side, start, end, kind, ", ".join(one["labels"]))
