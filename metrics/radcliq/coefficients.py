"""The numbers of RadCliQ: read from a YAML file, the package's own or a user's."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.contracts import Floats
from bench.errors import BenchError

PARTS = ("radgraph", "bertscore", "semb", "bleu")
"""The parts in the order of a matrix's columns, that of CXR-Report-Metric."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(_Strict):
    """How one part counts: weight * (value - mean) / scale."""

    mean: float
    scale: float = Field(gt=0)
    weight: float


class Parts(_Strict):
    """All four parts."""

    radgraph: Part
    bertscore: Part
    semb: Part
    bleu: Part


class Coefficients(_Strict):
    """A composite: where its numbers come from, its parts, its intercept."""

    source: str = Field(min_length=1)
    parts: Parts
    intercept: float

    @cached_property
    def _table(self) -> Floats:
        """mean, scale, weight of each part, [3, 4]."""
        rows = [(part.mean, part.scale, part.weight) for name in PARTS for part in (getattr(self.parts, name),)]
        return np.array(rows, np.float64).T

    def normalised(self, values: Floats) -> Floats:
        """Return (value - mean) / scale of parts [..., 4]."""
        mean, scale, _ = self._table
        found: Floats = (values - mean) / scale
        return found

    def contributions(self, values: Floats) -> Floats:
        """Return what each part [..., 4] adds to the score."""
        found: Floats = self.normalised(values) * self._table[2]
        return found

    def score(self, values: Floats) -> Floats:
        """Return the composite of parts, [..., 4] → [...]."""
        found: Floats = self.contributions(values).sum(axis=-1) + self.intercept
        return found

    def digest(self) -> str:
        """Return a hash of the numbers alone."""
        numbers = [*self._table.ravel().tolist(), self.intercept]
        return hashlib.sha256(repr(numbers).encode()).hexdigest()[:12]


def read(file: Path | None) -> Coefficients:
    """Return the coefficients of a file, of the package's own where it is None. Raises BenchError for another file."""
    where = files("metrics") / "radcliq" / "coefficients.yaml" if file is None else file.expanduser()
    try:
        found: Any = yaml.safe_load(where.read_text(encoding="utf-8"))
    except OSError as err:
        raise BenchError(f"{where}: coefficients cannot be read: {err.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as err:
        raise BenchError(f"{where}: not readable as YAML: {err}") from None
    try:
        return Coefficients.model_validate(found)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise BenchError(
            f"{where}: {key}: {first['msg']}. It holds source, parts ({', '.join(PARTS)}, each mean, scale and weight) "
            "and intercept; metrics/radcliq/coefficients.yaml is an example"
        ) from None
