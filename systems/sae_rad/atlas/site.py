"""The files of an atlas: pages from templates, data for scripts, and the state that lets a stopped one go on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.pages import html
from bench.pages.folder import Folder, html_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATE = "atlas.json"
OURS = frozenset({STATE, "index.html", "reports.html", "features", "reports", "images", "data", "static", "state"})
"""Everything an atlas folder may hold."""
SHARED = {"atlas.css": "base.css", "table.js": "table.js"}
"""What the atlas's own files begin with: style and script of all pages."""


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


def folder_of(path: Path) -> Folder:
    """Return a folder as that of an atlas."""
    return Folder(path, "an atlas", STATE, OURS)


def check_folder(path: Path, *, public: bool) -> None:
    """Raise BenchError where an atlas must not be written into a folder.

    That is where it holds anything else, or an atlas that is public where this one is not, or the other way round:
    what is left over must not be published by accident.
    """
    state = folder_of(path).check()
    if state and state.get("public") != public:
        kind = "with images and texts" if public else "made with --public"
        raise BenchError(f"{path}: holds an atlas {kind}: choose another --out")


class Site:
    """One atlas folder."""

    def __init__(self, folder: Path, shared: Mapping[str, Any]) -> None:
        self.folder, self._files, self._shared = folder, folder_of(folder), shared

    @cached_property
    def _environment(self) -> Environment:
        return html.environment(
            HERE / "templates",
            **self._shared,
            feature_page=feature_page,
            report_page=report_page,
            title_of=title_of,
        )

    # -------------------------------------------------------------- files

    def there(self, path: str) -> bool:
        """Return whether a file of the atlas has been written; an empty one, left by a power cut, was not."""
        return self._files.there(path)

    def page(self, path: str, template: str, **values: Any) -> None:
        """Write one page; links in it start from its own folder."""
        root = "../" * path.count("/")
        self._files.write(path, html_bytes(self._environment.get_template(template).render(root=root, **values)))

    def data(self, path: str, name: str, value: Any) -> None:
        """Write a script that hands a value to the pages' scripts: pages opened as files cannot fetch JSON."""
        self._files.write(path, f"window.{name} = {html.script_json(value)};\n".encode())

    def static(self) -> None:
        """Write style and scripts: what all pages share, and what the atlas adds."""
        for file in sorted((HERE / "static").iterdir()):
            shared = SHARED.get(file.name)
            before = html.static(shared) + "\n" if shared else ""
            self._files.write(f"static/{file.name}", before.encode() + file.read_bytes())

    # -------------------------------------------------------------- state

    def claim(self, *, public: bool, private: bool) -> None:
        """Take the folder for an atlas; raises BenchError as `check_folder` does."""
        check_folder(self.folder, public=public)
        self._files.claim(private=private, public=public)

    def begin(self, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Mark the atlas as under way; pages that were made by another recipe are removed."""
        self._files.begin(recipe, facts, ("features", "reports"))
        (self.folder / "reports.html").unlink(missing_ok=True)
        self.static()
        self.page("index.html", "unfinished.html")

    def finish(self, recipe: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Mark the atlas as complete; written last."""
        self._files.finish(recipe, facts)


def look() -> str:
    """Return a digest of templates, style, scripts and the code that fills them."""
    return html.look(HERE.glob("*.py"), HERE.glob("templates/*"), HERE.glob("static/*"))
