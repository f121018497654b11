"""What checking an entry found, kept in ``FOLDER/checked.json``."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench import store
from bench.errors import BenchError

FILE = "checked.json"
State = Literal["verified", "differs", "recipe", "unable", "unasked", "nothing"]
"""Of a column: the same again; otherwise; scored by another recipe here; it cannot be scored here; it was not asked
for; the entry has no value of it."""
MARKS: Mapping[State, str] = {
    "verified": "✓",
    "differs": "✗",
    "recipe": "≠",
    "unable": "?",
    "unasked": "·",
    "nothing": "–",
}
"""Each in one character."""
GRAVEST: tuple[State, ...] = ("differs", "recipe", "unable", "unasked", "verified", "nothing")
WORDS: Mapping[State, str] = {
    "verified": "verified",
    "differs": "DIFFERS",
    "recipe": "other recipe",
    "unable": "not verified here",
    "unasked": "not asked",
    "nothing": "no value",
}
Overall = Literal["verified", "partly", "failed", "unchecked"]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ColumnCheck(_Kept):
    """What became of one column."""

    state: State
    detail: str = ""
    """What differs and by how much, or why it could not be verified."""
    entry: float | None = None
    """The value in the entry's summary.json."""
    here: float | None = None
    """The value that scoring again gave."""


class MetricCheck(_Kept):
    """What became of one metric's columns: when, and by which versions."""

    when: str
    versions: Mapping[str, str]
    device: str
    columns: Mapping[str, ColumnCheck]


class EntryCheck(_Kept):
    """What checking found of one entry. It counts for these contents of its files alone."""

    digest: str
    when: str
    faults: tuple[str, ...] = ()
    """What its files say and is not so, whatever the scores."""
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, MetricCheck] = {}

    def columns(self) -> dict[str, ColumnCheck]:
        """Return column → what became of it."""
        return {key: one for metric in self.metrics.values() for key, one in metric.columns.items()}

    @property
    def overall(self) -> Overall:
        """Failed where anything differs; verified where all that has a value is; else partly, or unchecked."""
        states = {one.state for one in self.columns().values()} - {"nothing"}
        if self.faults or "differs" in states:
            return "failed"
        if "verified" not in states:
            return "unchecked"
        return "verified" if states == {"verified"} else "partly"


class Checked(_Kept):
    """All of checked.json."""

    format: Literal[1] = 1
    entries: Mapping[str, EntryCheck] = {}

    def of(self, name: str, digest: str) -> EntryCheck | None:
        """Return what was found of an entry, None where it was not checked or its files were changed since."""
        found = self.entries.get(name)
        return found if found is not None and found.digest == digest else None


def read(folder: Path) -> Checked:
    """Return what was checked so far; nothing where there is no checked.json. Raises BenchError where it is damaged."""
    file = folder / FILE
    if not file.exists():
        return Checked()
    try:
        return Checked.model_validate(store.read_json(file))
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BenchError(f"{file}: {where}: {first['msg']}; delete the file and check again") from None


def keep(folder: Path, name: str, check: EntryCheck, there: Collection[str], *, private: bool) -> None:
    """Put what was found of an entry into checked.json; entries that are not `there` any more go.

    Where another process checked other metrics of the same files meanwhile, both count.
    """
    with store.locked(folder, wait=True):
        kept = read(folder)
        if (old := kept.of(name, check.digest)) is not None:
            check = check.model_copy(update={"metrics": _later(check.metrics, old.metrics)})
        entries = {one: found for one, found in kept.entries.items() if one in there}
        _write(folder, Checked(entries=dict(sorted({**entries, name: check}.items()))), private=private)


def _later(new: Mapping[str, MetricCheck], old: Mapping[str, MetricCheck]) -> dict[str, MetricCheck]:
    """Return of each metric what was found last by scoring it; only that has versions."""
    won = {k: one for k, one in new.items() if k not in old or (one.versions and one.when >= old[k].when)}
    return {**old, **won}


def _write(folder: Path, checked: Checked, *, private: bool) -> None:
    """Replace checked.json in one step; readable by its owner only where an entry's data is credentialed."""
    before = os.umask(0o077)
    try:
        if not private:
            os.umask(before)
        store.write_json(folder / FILE, checked.model_dump(mode="json"))
    finally:
        os.umask(before)
