"""A page in a real browser: $BENCH_CHROMIUM, else chromium or google-chrome on the PATH, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("BENCH_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@contextmanager
def launched(drive: Any) -> Iterator[Any]:
    """Start a browser by playwright's module `drive`."""
    with drive.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """A page that must stay without errors, foreign requests and horizontal scrolling."""

    def __init__(self, browser: Any, folder: Path, width: int) -> None:
        self.folder = folder
        self.page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, path: str) -> Any:
        self.page.goto((self.folder / path).as_uri())
        self.check()
        return self.page

    def check(self) -> None:
        assert self.faults == []
        foreign = [url for url in self.asked if not url.startswith((self.folder.as_uri(), "data:image/jpeg;base64,"))]
        assert foreign == []
        excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert self.page.evaluate(excess) == 0, f"{self.page.url} scrolls sideways"

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.page.locator(selector).all_inner_texts()]
