"""Progress bars with rate and time left on a terminal; a line now and then where output is a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.contracts import Ticker

QUIET_EVERY_S = 30.0


class _Bar:
    """A live bar of rich."""

    def __init__(self, bar: Progress, task: TaskID, unit: str) -> None:
        self._bar, self._task, self._unit = bar, task, unit

    def advance(self, n: int = 1) -> None:
        self._bar.advance(self._task, n)
        speed = self._bar.tasks[0].speed
        if speed:
            self._bar.update(self._task, rate=f"{_short(speed)} {self._unit}/s")

    def note(self, text: str) -> None:
        self._bar.update(self._task, note=text)


class _Lines:
    """Plain lines, at most one every `QUIET_EVERY_S` seconds and one at the end of anything that took that long."""

    def __init__(self, console: Console, title: str, total: int | None, unit: str) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self._done, self._note = 0, ""
        self._start = self._last = time.monotonic()

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= QUIET_EVERY_S:
            self._last = now
            self._print(now)

    def note(self, text: str) -> None:
        self._note = text

    def _print(self, now: float) -> None:
        rate = self._done / (now - self._start)
        left = ""
        if self._total and rate > 0:
            left = f", {_clock((self._total - self._done) / rate)} left"
        of = f" of {self._total}" if self._total else ""
        line = f"{self._title}: {self._done}{of} {self._unit} ({_short(rate)}/s{left}) {self._note}".rstrip()
        self._console.print(line, markup=False, highlight=False)


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


@contextmanager
def progress(console: Console, title: str, total: int | None, unit: str = "") -> Iterator[Ticker]:
    """Show a bar titled `title` for `total` units (None where it cannot be known) while the block runs."""
    if not console.is_terminal:
        yield _Lines(console, title, total, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, rate="", note="")
        yield _Bar(bar, task, unit or "it")
