"""The files of an atlas: pages from templates, data for scripts, and the state that lets a stopped one go on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import digest
from bench.errors import BenchError
from bench.store import read_json, write_json

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATE = "atlas.json"
OURS = frozenset({STATE, "index.html", "reports.html", "features", "reports", "images", "data", "static", "state"})
"""Everything an atlas folder may hold."""


def feature_page(feature: int) -> str:
    """Return the path of a feature's page: a thousand pages a folder."""
    return f"features/{feature // 1000:03d}/{feature}.html"


def report_page(number: int) -> str:
    """Return the path of a report's page. Case ids stay out of file names: they may hold anything."""
    return f"reports/{number:05d}.html"


def title_of(name: str) -> str:
    """Return a score's name as a heading: "detection_auroc" → "Detection AUROC"."""
    words = ["AUROC" if w == "auroc" else "AP" if w == "ap" else w for w in re.split(r"[_.\s]+", name) if w]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def script_json(value: Any) -> str:
    """Return JSON that may stand inside a script: ASCII, without the characters by which one can be left."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def percent(share: float) -> str:
    """Return a share as text; small ones keep a digit that tells."""
    if share == 0:
        return "0 %"
    return f"{share:.1%}".replace("%", " %") if share >= 0.001 else "< 0.1 %"


def written(file: Path) -> bool:
    """Return whether a file is there and holds anything."""
    try:
        return file.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def check_folder(folder: Path, *, public: bool) -> None:
    """Raise BenchError where an atlas must not be written into a folder.

    That is where it holds anything else, or an atlas that is public where this one is not, or the other way round:
    what is left over must not be published by accident.
    """
    there = [p.name for p in folder.iterdir() if not p.name.startswith(".")] if folder.exists() else []
    state = folder / STATE
    if links := [name for name in there if (folder / name).is_symlink()]:
        raise BenchError(f"{folder}: {links[0]} is a link to elsewhere: choose another --out, or remove the link")
    if strangers := sorted(name for name in there if name not in OURS or not state.exists()):
        raise BenchError(f"{folder}: holds {', '.join(strangers[:3])}, and is no atlas: choose another --out")
    if state.exists() and read_json(state).get("public") != public:
        kind = "with images and texts" if public else "made with --public"
        raise BenchError(f"{folder}: holds an atlas {kind}: choose another --out")


class Site:
    """One atlas folder."""

    def __init__(self, folder: Path, shared: Mapping[str, Any]) -> None:
        self.folder, self._shared = folder, shared

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(self._shared, feature_page=feature_page, report_page=report_page, title_of=title_of)
        environment.filters.update(percent=percent)
        return environment

    # -------------------------------------------------------------- files

    def there(self, path: str) -> bool:
        """Return whether a file of the atlas has been written; an empty one, left by a power cut, was not."""
        return written(self.folder / path)

    def page(self, path: str, template: str, **values: Any) -> None:
        """Write one page; links in it start from its own folder."""
        root = "../" * path.count("/")
        html = self._environment.get_template(template).render(root=root, **values)
        self._write(path, html.encode("utf-8", "xmlcharrefreplace"))  # lone surrogates have no UTF-8

    def data(self, path: str, name: str, value: Any) -> None:
        """Write a script that hands a value to the pages' scripts: pages opened as files cannot fetch JSON."""
        self._write(path, f"window.{name} = {script_json(value)};\n".encode())

    def _write(self, path: str, content: bytes) -> None:
        """Put a file in its place in one step, without waiting for the disk: it can always be made again."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_bytes(content)
        os.replace(part, file)

    def static(self) -> None:
        """Copy style and scripts."""
        for file in sorted((HERE / "static").iterdir()):
            self._write(f"static/{file.name}", file.read_bytes())

    # -------------------------------------------------------------- state

    def claim(self, *, public: bool, private: bool) -> None:
        """Take the folder for an atlas; raises BenchError as `check_folder` does."""
        check_folder(self.folder, public=public)
        self.folder.mkdir(parents=True, exist_ok=True)
        if private:
            self.folder.chmod(stat.S_IRWXU)
        if not self.there(STATE):
            write_json(self.folder / STATE, {"complete": False, "public": public})

    def begin(self, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Mark the atlas as under way; pages that were made by another recipe are removed."""
        before = read_json(self.folder / STATE) if self.there(STATE) else {}
        wanted = digest(recipe)
        if before.get("digest") != wanted:
            for name in ("features", "reports"):
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)  # an error ends the command: a page left would pass as right
        self._state(wanted, recipe, facts, complete=False)
        (self.folder / "reports.html").unlink(missing_ok=True)
        self.static()
        self.page("index.html", "unfinished.html")

    def finish(self, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Mark the atlas as complete; written last."""
        self._state(digest(recipe), recipe, facts, complete=True)

    def _state(self, wanted: str, recipe: Mapping[str, Any], facts: Mapping[str, Any], *, complete: bool) -> None:
        made = datetime.now(UTC).isoformat(timespec="seconds")
        state = {"digest": wanted, "complete": complete, "written": made, "recipe": recipe, **facts}
        write_json(self.folder / STATE, state)


def look() -> str:
    """Return a digest of templates, style, scripts and the code that fills them."""
    found = hashlib.sha256()
    for file in sorted([*HERE.glob("*.py"), *HERE.glob("templates/*"), *HERE.glob("static/*")]):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]
