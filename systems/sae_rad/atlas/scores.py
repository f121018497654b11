"""What `bench sae-rad evaluate` and `intervene` found about features, as the atlas shows it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store import read_json, read_lines

FEATURES_FILE, EVALUATION_FILE = "features.jsonl", "evaluation.json"
INTERVENTIONS_FILE, INTERVENTIONS_SUMMARY = "interventions.jsonl", "interventions.json"
READ = (FEATURES_FILE, EVALUATION_FILE, INTERVENTIONS_FILE, INTERVENTIONS_SUMMARY)
CHOSEN = "auroc_labels"
"""Held-out AUROC of the label that was chosen on the training images."""
EFFECTS: Mapping[str, str] = {
    "reached_on": "of the way to β, reached where it was on (1 is perfect)",
    "reached_off": "of the way to β, reached where it was off (1 is perfect)",
    "share": "its share of all change (1 is perfect)",
    "side": "change of the other features, over the length of the step (0 is perfect)",
    "random.side": "the same after a step as long in a random direction (to compare with)",
    "returned_code": "of the change, taken back by setting it back (1 is perfect)",
}
"""Measures of an intervention that are shown, in plain words; a control's as "random.side"."""
_SHOWN_APART = frozenset(
    {"feature", "train_count", "heldout_count", "mean_activation", "labels", "findings", "matched",
     "matched_at_threshold", CHOSEN}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well a feature's activation on held-out images tells a label."""

    label: str
    auroc: float | None
    ap: float | None
    prevalence: float | None


@dataclass(frozen=True, slots=True)
class Matched:
    """The true finding that a feature was matched with, where the dataset knows them."""

    finding: str
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Effect:
    """One measure of what setting a feature by hand does, over images."""

    name: str
    """In plain words, with what is perfect."""
    median: float
    low: float | None
    """5th percentile."""
    high: float | None
    """95th percentile."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a feature was set by hand."""

    beta: float | None
    """What it was set to, in units of h."""
    largest: bool
    """Whether that is its largest value on a training image."""
    rows_on: int | None
    """Images it was measured on that had it on; and off."""
    rows_off: int | None
    split: str
    """Of these images; "" where the file does not say."""


@dataclass(frozen=True, slots=True)
class FeatureScores:
    """One feature's line of features.jsonl, and what an intervention on it did."""

    values: Mapping[str, float]
    labels: tuple[LabelScore, ...] = ()
    """The farthest from chance first."""
    matched: Matched | None = None
    chosen: LabelScore | None = None
    """The label chosen on the training images."""
    effects: tuple[Effect, ...] = ()
    setting: Setting | None = None
    """How the effects came about."""


@dataclass(frozen=True)
class Scores:
    """All that an evaluation folder says; empty where there is none."""

    folder: Path | None = None
    features: Mapping[int, FeatureScores] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    """Score names, in the order of the file."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    system: str = ""
    """Fingerprint of the system that was evaluated; "" where the evaluation does not say."""
    dataset: str = ""
    """Fingerprint of the dataset it was evaluated on; the same."""

    @property
    def compared(self) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
        """The aggregates as a table: measures, and a row for the system and each control."""
        rows = _mapping(self.evaluation.get("rows"))
        names = list(dict.fromkeys(name for row in rows.values() for name in _mapping(row)))
        return names, [
            (str(label), [_number(_mapping(_mapping(row).get(name)).get("value")) for name in names])
            for label, row in rows.items()
        ]

    def of(self, feature: int) -> FeatureScores:
        """Return a feature's scores; none where it was not evaluated."""
        return self.features.get(feature, FeatureScores({}))


def read_scores(folder: Path | None, *, required: bool) -> Scores:
    """Read an evaluation folder. Raises BenchError where it is required and holds nothing, or a line is no scores."""
    if folder is None or not any((folder / name).exists() for name in READ):
        if required:
            raise BenchError(f"{folder}: holds no {FEATURES_FILE}: bench sae-rad evaluate writes one")
        return Scores()
    file = folder / FEATURES_FILE
    features = dict(_feature(file, number, line) for number, line in enumerate(read_lines(file), 1))
    for feature, (effects, setting) in _interventions(folder).items():
        features[feature] = replace(features.get(feature, FeatureScores({})), effects=effects, setting=setting)
    names = tuple(dict.fromkeys(name for scores in features.values() for name in scores.values))
    evaluation = read_json(folder / EVALUATION_FILE) if (folder / EVALUATION_FILE).exists() else {}
    recipe = _mapping(evaluation.get("recipe"))
    dataset = _mapping(recipe.get("dataset")).get("fingerprint") or _intervened_on(folder)
    system = recipe.get("system_fingerprint")
    return Scores(folder, features, names, evaluation, _digest(folder), str(system or ""), str(dataset or ""))


def _intervened_on(folder: Path) -> Any:
    """Return the fingerprint of the dataset that interventions were made on; None where there were none."""
    summary = folder / INTERVENTIONS_SUMMARY
    return _mapping(read_json(summary).get("recipe")).get("dataset") if summary.exists() else None


def _feature(file: Path, number: int, line: Mapping[str, Any]) -> tuple[int, FeatureScores]:
    feature = _feature_number(file, number, line)
    labels = [_label(name, given) for name, given in _mapping(line.get("labels")).items()]
    labels.sort(key=lambda s: (-abs((0.5 if s.auroc is None else s.auroc) - 0.5), s.label))
    known = _number(line.get(CHOSEN))
    chosen = next((label for label in labels if known is not None and label.auroc == known), None)
    return feature, FeatureScores(_values(line), tuple(labels), _matched(line.get("matched")), chosen)


def _feature_number(file: Path, number: int, line: Mapping[str, Any]) -> int:
    feature = line.get("feature")
    if not isinstance(feature, int) or isinstance(feature, bool) or feature < 0:
        raise BenchError(f"{file}, line {number}: 'feature' must be the number of a feature; delete the file, and run "
                         "the command that writes it again")  # fmt: skip
    return feature


def _interventions(folder: Path) -> dict[int, tuple[tuple[Effect, ...], Setting]]:
    """Return what interventions did, by feature, as far as they were made by the recipe of the summary."""
    file, summary = folder / INTERVENTIONS_FILE, folder / INTERVENTIONS_SUMMARY
    told = read_json(summary) if summary.exists() else {}
    digest, recipe = told.get("digest"), _mapping(told.get("recipe"))
    lines = [(_feature_number(file, k, line), line) for k, line in enumerate(read_lines(file), 1)]
    ours = [(feature, line) for feature, line in lines if digest is None or line.get("recipe") == digest]
    return {feature: (_effects(line), _setting(line, recipe)) for feature, line in ours}


def _setting(line: Mapping[str, Any], recipe: Mapping[str, Any]) -> Setting:
    on, off = (_number(line.get(key)) for key in ("rows_on", "rows_off"))
    return Setting(
        _number(line.get("beta")),
        recipe.get("beta") == "max",
        None if on is None else int(on),
        None if off is None else int(off),
        str(recipe.get("split") or ""),
    )


def _effects(line: Mapping[str, Any]) -> tuple[Effect, ...]:
    found = []
    for name, text in EFFECTS.items():
        value: Any = line
        for part in name.split("."):
            value = _mapping(value).get(part)
        value = _mapping(value)
        if (median := _number(value.get("median"))) is not None:
            found.append(Effect(text, median, _number(value.get("q05")), _number(value.get("q95"))))
    return tuple(found)


def _values(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a line, those of one level down as "name.key"."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if key in _SHOWN_APART:
            continue
        inner = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {key: value}
        flat.update({k: n for k, v in inner.items() if (n := _number(v)) is not None})
    return flat


def _label(name: str, given: Any) -> LabelScore:
    given = _mapping(given)
    return LabelScore(name, *(_number(given.get(key)) for key in ("auroc", "ap", "prevalence")))


def _matched(given: Any) -> Matched | None:
    given = _mapping(given)
    if not isinstance(given.get("finding"), str):
        return None
    return Matched(given["finding"], *(_number(given.get(key)) for key in ("precision", "recall", "f1")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        return None
    return number if math.isfinite(number) else None


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for name in READ:
        if (folder / name).exists():
            found.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return found.hexdigest()[:16]
