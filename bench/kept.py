"""Answers that cost something to make (annotations, a judge's verdicts), kept in one SQLite file for all runs."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import StorageFault

BUSY_S = 60.0
"""How long a process waits for another one's write."""
_ASKED_AT_ONCE = 500
_DAMAGED: Any = object()


class Kept:
    """Key → JSON value by namespace, in write-ahead mode, so that processes and threads share one file.

    The file is readable by its owner only: what is kept of a report is as confidential as the report. A killed process
    loses nothing that `put` took; a power cut may lose the last of it, and leaves the file whole.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._local = threading.local()

    def get(self, namespace: str, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that are kept; a damaged row counts as not kept."""
        found: dict[str, Any] = {}
        for part in _parts(keys):
            marks = ",".join("?" * len(part))
            rows = self._run(
                f"SELECT key, value FROM kept WHERE namespace = ? AND key IN ({marks})", (namespace, *part)
            )
            found.update((key, _read(value)) for key, value in rows)
        return {key: value for key, value in found.items() if value is not _DAMAGED}

    def put(self, namespace: str, values: Mapping[str, Any]) -> None:
        """Keep values, in one transaction; a key that is kept already takes the new value."""
        rows = [(namespace, key, json.dumps(value, allow_nan=False)) for key, value in values.items()]
        try:
            with self._connection() as connection:
                connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)
        except sqlite3.Error as err:
            raise self._fault(err) from None

    def delete(self, namespace: str, keys: Sequence[str]) -> None:
        """Forget keys; those that are not kept are passed over."""
        try:
            with self._connection() as connection:
                connection.executemany(
                    "DELETE FROM kept WHERE namespace = ? AND key = ?", ((namespace, k) for k in keys)
                )
        except sqlite3.Error as err:
            raise self._fault(err) from None

    def _run(self, statement: str, values: Iterable[str]) -> list[tuple[str, str]]:
        try:
            return self._connection().execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as err:
            raise self._fault(err) from None

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; a forked child opens its own."""
        known = getattr(self._local, "connection", None)
        if known is None or self._local.process != os.getpid():
            known = self._open()
            self._local.connection, self._local.process = known, os.getpid()
        connection: sqlite3.Connection = known
        return connection

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file.touch(mode=0o600)
        connection = sqlite3.connect(self.file, timeout=BUSY_S)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # no wait for the disk after each answer
        connection.execute(
            "CREATE TABLE IF NOT EXISTS kept (namespace TEXT, key TEXT, value TEXT, PRIMARY KEY (namespace, key)) "
            "WITHOUT ROWID"
        )
        return connection

    def _fault(self, err: sqlite3.Error) -> StorageFault:
        return StorageFault(
            f"{self.file}: {err}. Free the disk, or end the process that holds it; where the file is damaged, delete "
            "it (what it kept is then made again)"
        )


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return _DAMAGED


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        yield keys[start : start + _ASKED_AT_ONCE]
