"""What `bench sae-rad evaluate` and `intervene` found about features, as the atlas shows it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store import read_json, read_lines

FEATURES_FILE, EVALUATION_FILE = "features.jsonl", "evaluation.json"
SHOWN_FILES = (FEATURES_FILE, EVALUATION_FILE, "interventions.json", "faithfulness.json")
_NOT_SCORES = frozenset({"feature", "train_count", "heldout_count", "mean_activation"})


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
class FeatureScores:
    """One feature's line of features.jsonl."""

    values: Mapping[str, float]
    labels: tuple[LabelScore, ...] = ()
    """The farthest from chance first."""
    matched: Matched | None = None

    @property
    def best(self) -> LabelScore | None:
        """The label with the highest AUROC."""
        known = [score for score in self.labels if score.auroc is not None]
        return max(known, key=lambda score: score.auroc or 0.0, default=None)


@dataclass(frozen=True)
class Scores:
    """All that an evaluation folder says; empty where there is none."""

    folder: Path | None = None
    features: Mapping[int, FeatureScores] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    """Score names, in the order of the file."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def of(self, feature: int) -> FeatureScores:
        """Return a feature's scores; none where it was not evaluated."""
        return self.features.get(feature, FeatureScores({}))


def read_scores(folder: Path | None, *, required: bool) -> Scores:
    """Read an evaluation folder. Raises BenchError where it is required and holds nothing, or a line is no scores."""
    if folder is None or not (folder / FEATURES_FILE).exists():
        if required:
            raise BenchError(f"{folder}: holds no {FEATURES_FILE}: bench sae-rad evaluate writes one")
        return Scores()
    file = folder / FEATURES_FILE
    features = dict(_feature(file, number, line) for number, line in enumerate(read_lines(file), 1))
    names = tuple(dict.fromkeys(name for scores in features.values() for name in scores.values))
    evaluation = read_json(folder / EVALUATION_FILE) if (folder / EVALUATION_FILE).exists() else {}
    return Scores(folder, features, names, evaluation, _digest(folder))


def _feature(file: Path, number: int, line: Mapping[str, Any]) -> tuple[int, FeatureScores]:
    feature = line.get("feature")
    if not isinstance(feature, int) or isinstance(feature, bool) or feature < 0:
        raise BenchError(f"{file}, line {number}: 'feature' is the number of a feature; run the evaluation again")
    labels = [_label(name, given) for name, given in _mapping(line.get("labels")).items()]
    labels.sort(key=lambda s: (-abs((0.5 if s.auroc is None else s.auroc) - 0.5), s.label))
    return feature, FeatureScores(_values(line), tuple(labels), _matched(line.get("matched")))


def _values(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a line, those of one level down as "name.key"."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if key in _NOT_SCORES | {"labels", "matched"}:
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for name in SHOWN_FILES:
        if (folder / name).exists():
            found.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return found.hexdigest()[:16]
