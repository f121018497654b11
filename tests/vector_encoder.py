"""An encoder for tests: an "image" is a text file of numbers, its embedding those numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.contracts import Context, Embeddings
from bench.options import Options


class VectorEncoder:
    """Reads embeddings from text files; anything else in a file is unreadable."""

    Options = Options
    dim = 6

    def __init__(self, options: Options, context: Context) -> None:
        self.calls: list[int] = []

    def fingerprint(self) -> str:
        return "vectors"

    def encode(self, images: Sequence[Path]) -> Embeddings:
        self.calls.append(len(images))
        return np.array([self._read(path) for path in images], np.float32).reshape(-1, self.dim)

    def why_unreadable(self, image: Path) -> str | None:
        return None if np.isfinite(self._read(image)).all() else "not a list of numbers"

    def _read(self, path: Path) -> np.ndarray:
        try:
            return np.array([float(number) for number in path.read_text().split()])
        except ValueError:
            return np.full(self.dim, np.nan)
