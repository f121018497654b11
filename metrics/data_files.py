"""The language tables that come with the package (folder ``data``, built by ``data/build.py``)."""

from __future__ import annotations

import gzip
from importlib.resources import files

from bench.errors import BenchError


def lines(name: str) -> list[str]:
    """Return the lines of ``data/<name>.txt.gz``. Raises BenchError where the installation lacks or damaged it."""
    path = files("metrics") / "data" / f"{name}.txt.gz"
    try:
        return gzip.decompress(path.read_bytes()).decode("utf-8").rstrip("\n").split("\n")
    except (OSError, EOFError, ValueError) as err:
        raise BenchError(f"{path}: cannot be read ({err}): reinstall the package cxr-report-bench") from err
