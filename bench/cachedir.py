"""Where shared artefacts (embeddings, trained SAEs, the demo's images) are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the cache folder: ``$BENCH_CACHE``, else ``$XDG_CACHE_HOME/cxr-report-bench``, else under ``~/.cache``."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "cxr-report-bench"
