"""The annotator ``chexbert-embedding``: the vector that CheXbert's heads read of a report, for RadCliQ's SembScore."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from bench.contracts import Context, Floats, Unannotated
from bench.errors import BenchError
from bench.options import Options
from metrics.chexbert.annotator import CheXbert, unreadable

VERSION = 1
"""Raised with every change of the code that moves a vector."""


class CheXbertEmbeddingOptions(Options):
    """Options of `CheXbertEmbedding`."""

    annotator: str = Field("chexbert", min_length=1)
    """Annotator CheXbert whose network is used: one checkpoint, configured and loaded once."""


class CheXbertEmbedding:
    """The last hidden state of CheXbert's [CLS] token, what its 14 heads read of a report.

    The same as ``bert_encoder`` of CXR-Report-Metric on the same weights. {"embedding": …} holds base64 of float32,
    little-endian: 4 kB a report in the cache, where JSON's digits would take four times that.
    """

    Options = CheXbertEmbeddingOptions

    def __init__(self, options: CheXbertEmbeddingOptions, context: Context) -> None:
        found = context.annotator(options.annotator)
        inner = getattr(found, "annotator", found)  # behind the cache
        if not isinstance(inner, CheXbert):
            raise BenchError(
                f"annotator chexbert-embedding: {options.annotator!r} is no CheXbert: set annotator to the label of one"
            )
        self._chexbert = inner
        self.chunk = inner.chunk

    def fingerprint(self) -> str:
        """Return CheXbert's, and this code's version."""
        return f"embedding-{VERSION}-{self._chexbert.fingerprint()}"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return {"embedding": base64} of each text, an `Unannotated` where one failed."""
        found: list[Any] = [unreadable(text) for text in texts]
        readable = [place for place, fault in enumerate(found) if fault is None]
        if readable:
            rows = self._chexbert.hidden([texts[place] for place in readable])
            for place, row in zip(readable, rows, strict=True):
                found[place] = _annotation(row)
        return found


def _annotation(row: Sequence[float]) -> Any:
    vector = np.array(row, "<f4")
    if not np.isfinite(vector).all():
        return Unannotated("the network's answer is not finite")
    return {"embedding": base64.b64encode(vector.tobytes()).decode()}


def vector_of(annotation: Any, annotator: str) -> Floats:
    """Return the vector [dim] of an annotation. Raises BenchError where it holds none."""
    try:
        if not isinstance(annotation, Mapping):
            raise TypeError
        found = np.frombuffer(base64.b64decode(annotation["embedding"], validate=True), "<f4")
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise BenchError(f"annotator {annotator!r} gives no embedding: use chexbert-embedding") from None
    return found.astype(np.float64)
