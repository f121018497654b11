"""Wheels of worker environments that were imported for a machine without a network."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from bench.cachedir import cache_root


def wheelhouse(script: Path) -> Path | None:
    """Return the folder of the wheels imported for a worker script, or None where there is none."""
    from bench.workers.environment import metadata

    folder = cache_root() / "wheels" / sha256(metadata(script).encode()).hexdigest()[:16]
    return folder if folder.is_dir() else None
