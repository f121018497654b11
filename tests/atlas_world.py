"""A small demo run for the tests of the atlas, and pages as they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from systems.sae_rad.cli_atlas import atlas

SMALL = (
    "dataset.images=120",
    "dataset.test_images=8",
    "systems.sae-rad.sae.expansion=1",
    "systems.sae-rad.sae.steps=120",
    "run.bootstrap=0",
)
VOID = frozenset({"meta", "link", "img", "input", "br"})


@dataclass(frozen=True)
class Place:
    """Where the demo's cache and run are."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "runs" / "sae-rad"

    @contextmanager
    def here(self) -> Iterator[None]:
        """Work in the place, with its cache."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.root)
            patch.setenv("BENCH_CACHE", str(self.root / "cache"))
            mask = os.umask(0o022)
            try:
                yield
            finally:
                os.umask(mask)

    def atlas(self, out: Path | str, *arguments: object, run: Path | None = None) -> str:
        """Call the command, with the run's configuration where no run is given; return what it says."""
        source = [run] if run else [part for assignment in SMALL for part in ("--set", assignment)]
        given = [str(a) for a in (*source, "--out", out, *arguments)]
        said = StringIO()
        with self.here(), redirect_stderr(said):
            atlas.main(given, standalone_mode=False)
        return said.getvalue()


def make_run(root: Path) -> Place:
    """Let sae-rad report on the small demo."""
    place = Place(root)
    settings = [part for assignment in SMALL for part in ("--set", assignment)]
    with place.here(), redirect_stderr(StringIO()), pytest.raises(SystemExit) as stop:
        main(["run", "--system", "sae-rad", "--metrics", "radfact,rouge-l,chexbert-f1", "--out", "runs", *settings])
    assert not stop.value.code
    return place


@dataclass
class Page(HTMLParser):
    """An HTML page, taken apart."""

    file: Path
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    by_tag: dict[str, list[str]] = field(default_factory=dict)
    """Tag → the text of each of its elements."""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, int]] = []
        self.feed(self.file.read_text(encoding="utf-8"))
        self.close()
        assert not self._open, f"{self.file}: {self._open} are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, len(self.text)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, start = self._open.pop()
        assert opened == tag, f"{self.file}: <{opened}> is closed by </{tag}>"
        self.by_tag.setdefault(tag, []).append(self.text[start:])

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """Return the attributes of the elements of a tag that have some value (a class among others)."""
        return [
            attributes
            for name, attributes in self.tags
            if name == tag and all(value in (attributes.get(key) or "").split() for key, value in wanted.items())
        ]

    def links(self) -> list[str]:
        """Return every address the page names."""
        found = [attributes.get(key) for _, attributes in self.tags for key in ("href", "src")]
        return [address for address in found if address]


def table_of(file: Path) -> dict[str, Any]:
    """Return the value that a data script hands to the pages."""
    text = file.read_text(encoding="ascii")
    prefix = "window.atlasTable = "
    assert text.startswith(prefix)
    assert text.endswith(";\n")
    value: dict[str, Any] = json.loads(text[len(prefix) : -2])
    return value


def column(table: dict[str, Any], key: str) -> list[Any]:
    """Return a column's data."""
    return next(list(c["data"]) for c in table["columns"] if c["key"] == key)


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))
