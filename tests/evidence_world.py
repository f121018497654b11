"""A dataset that knows what is on its images: a finding is a direction of embeddings and a sentence of reports."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Case, Count, Embeddings, Image, Problem
from bench.options import Options

SENTENCES = {
    "effusion": "There is a small left pleural effusion.",
    "cardiomegaly": "The heart is moderately enlarged.",
    "pneumothorax": "There is a right apical pneumothorax.",
    "hyperinflation": "The lungs are hyperinflated.",
    "pacemaker": "A left chest wall pacemaker is in place.",
    "scoliosis": "There is scoliosis of the thoracic spine.",
}


AXES = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
"""The direction of each finding; none is one of the encoder's own dimensions."""


class KnownOptions(Options):
    folder: Path
    n: int = 160
    tell: bool = True
    sides: bool = False
    broken: int = 1
    """Images of each split that cannot be read."""


class Known:
    """Cases of planted findings, in files that `vector_encoder.VectorEncoder` reads."""

    Options = KnownOptions
    credentialed = False

    def __init__(self, options: KnownOptions, context: Any) -> None:
        self.options = options
        if options.tell:
            self.findings = self._findings
        self.truth: dict[str, dict[str, frozenset[str]]] = {}
        for seed, split in enumerate(self.splits()):
            self.truth[split] = self._written(split, np.random.default_rng(seed))

    def _written(self, split: str, rng: np.random.Generator) -> dict[str, frozenset[str]]:
        found = {}
        self.options.folder.mkdir(parents=True, exist_ok=True)
        for k in range(self.options.n):
            shown = rng.random(6) < 0.25
            numbers = (shown * rng.uniform(0.7, 1.3, 6) + 0.01 * rng.normal(size=6)) @ AXES
            text = "broken" if k < self.options.broken else " ".join(f"{x:.6f}" for x in numbers)
            file = self.options.folder / f"{split}{k}.txt"
            if not file.exists():
                file.write_text(text)
            found[f"{split}{k}"] = frozenset(name for name, there in zip(SENTENCES, shown, strict=True) if there)
        return found

    def fingerprint(self) -> str:
        return f"known-{self.options.n}-{self.options.broken}"

    def splits(self) -> Sequence[str]:
        return ("train", "validate", "test", "test-more")

    def cases(self, split: str) -> Sequence[Case]:
        files = {key: Image(self.options.folder / f"{key}.txt", "AP") for key in self.truth[split]}
        return [Case(key, f"{split} patient {k // 2}", (image,)) for k, (key, image) in enumerate(files.items())]

    def references(self, split: str) -> Mapping[str, str]:
        texts = {key: [SENTENCES[name] for name in SENTENCES if name in on] for key, on in self.truth[split].items()}
        return {key: " ".join(["No rib fracture.", *said]) for key, said in texts.items()}

    def _findings(self, split: str) -> Mapping[str, frozenset[str]]:
        if not self.options.sides:
            return self.truth[split]
        return {key: on | {f"{name}/left" for name in on} for key, on in self.truth[split].items()}

    def problems(self) -> Sequence[Problem]:
        return []

    def census(self) -> Sequence[Count]:
        return []


class Noise:
    """An encoder that sees nothing: random embeddings by the file's name; it reads other files than `VectorEncoder`."""

    Options = Options
    dim = 6

    def __init__(self, options: Options, context: Any) -> None:
        pass

    def fingerprint(self) -> str:
        return "noise"

    def encode(self, images: Sequence[Path]) -> Embeddings:
        return np.array([self._drawn(path.stem) for path in images], np.float32).reshape(-1, self.dim)

    def _drawn(self, name: str) -> np.ndarray:
        if name.endswith("7"):
            return np.full(self.dim, np.nan)
        return np.random.default_rng(zlib.crc32(name.encode())).normal(size=self.dim)

    def why_unreadable(self, image: Path) -> str | None:
        return "a seven" if image.stem.endswith("7") else None
