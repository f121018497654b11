"""A folder of pages: taken for them alone, written file by file, gone on with after a kill."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config import digest
from bench.errors import BenchError
from bench.store import read_json, write_json


def written(file: Path) -> bool:
    """Return whether a file is there and holds anything: an empty one is what a power cut left."""
    try:
        return file.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that holds pages of one sort."""

    path: Path
    what: str
    """What the pages are, with its article: "an atlas"."""
    state: str
    """Name of the file by which such a folder is known."""
    ours: Collection[str]
    """Names of everything it may hold, `state` among them."""

    def check(self) -> dict[str, Any]:
        """Return the state, {} where there is none yet. Raises BenchError where the folder holds anything else."""
        if self.path.exists() and not self.path.is_dir():
            raise BenchError(f"{self.path}: is no folder: choose another --out")
        there = [p.name for p in self.path.iterdir() if not p.name.startswith(".")] if self.path.exists() else []
        if links := [name for name in there if (self.path / name).is_symlink()]:
            raise BenchError(
                f"{self.path}: {links[0]} is a link to elsewhere: choose another --out, or remove the link"
            )
        known = (self.path / self.state).exists()
        if strangers := sorted(name for name in there if name not in self.ours or not known):
            no = f"no {self.what.partition(' ')[2]}"
            raise BenchError(f"{self.path}: holds {', '.join(strangers[:3])}, and is {no}: choose another --out")
        return read_json(self.path / self.state) if known else {}

    def claim(self, *, private: bool, **facts: Any) -> None:
        """Take the folder, for the owner's eyes alone where `private`. Raises BenchError as `check` does."""
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        if private:
            self.path.chmod(stat.S_IRWXU)
        if not self.there(self.state):
            write_json(self.path / self.state, {"complete": False, **facts})

    def there(self, name: str) -> bool:
        """Return whether a file has been written."""
        return written(self.path / name)

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place in one step, without waiting for the disk: it can always be made again."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        try:
            part.write_bytes(content)
            os.replace(part, file)
        except OSError as err:
            part.unlink(missing_ok=True)
            raise OSError(err.errno, err.strerror, str(file)) from err

    def begin(self, recipe: Mapping[str, Any], facts: Mapping[str, Any], made: Collection[str]) -> None:
        """Mark the pages as under way. The folders `made` are removed where another recipe filled them."""
        before = read_json(self.path / self.state) if self.there(self.state) else {}
        if before.get("digest") != digest(recipe):
            for name in made:
                if (self.path / name).exists():
                    shutil.rmtree(self.path / name)  # an error ends the command: a page left would pass as right
        self._state(recipe, facts, complete=False)

    def finish(self, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Mark the pages as complete; done last."""
        self._state(recipe, facts, complete=True)

    def _state(self, recipe: Mapping[str, Any], facts: Mapping[str, Any], *, complete: bool) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        state = {"digest": digest(recipe), "complete": complete, "written": now, "recipe": dict(recipe), **facts}
        write_json(self.path / self.state, state)


def html_bytes(page: str) -> bytes:
    """Return a page as bytes; a lone surrogate, which has no UTF-8, as a reference to it."""
    return page.encode("utf-8", "xmlcharrefreplace")
