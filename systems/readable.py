"""Embeddings with gaps: which rows are there, and what to answer where an image could not be decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Case, Context, Embeddings, Report

ROWS = 8192


def finite_rows(z: Embeddings) -> NDArray[np.bool_]:
    """Return bool [n] for embeddings [n, dim]: False where the image could not be decoded (a row of NaN)."""
    found = np.zeros(len(z), bool)
    for start in range(0, len(z), ROWS):  # in parts: z may be a memory map of all training images
        found[start : start + ROWS] = np.isfinite(z[start : start + ROWS]).all(axis=1)
    return found


def unreadable(context: Context, encoder: str, case: Case) -> Report:
    """Return the report of a case whose image has no embedding: an error that names the file and the reason."""
    path = case.images[0].path
    why = context.encoder(encoder).why_unreadable(path) if path.exists() else "no such file"
    why = why or "the encoder gave no finite embedding"
    return Report(case.id, "", error=f"image file {path}: {why}")
