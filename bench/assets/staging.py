"""Folders beside the place where their content goes: on the same disk, so that it is moved there in one step."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import store
from bench.errors import BenchError

PREFIX = ".staging-"
YOUNG_S = 60.0
"""Seconds within which a folder may not be locked yet by who made it."""


@contextmanager
def staging(place: Path) -> Iterator[Path]:
    """Make a folder in `place` that is gone with the block; what killed processes left there goes first."""
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f"{PREFIX}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(dir=place, prefix=PREFIX) as made, store.locked(Path(made)):
        yield Path(made)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError, BenchError):  # another removed it meanwhile; its maker is at work
        if time.time() - folder.stat().st_mtime > YOUNG_S:
            with store.locked(folder):
                shutil.rmtree(folder, ignore_errors=True)
