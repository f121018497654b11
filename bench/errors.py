"""Errors that reach the user as one clear message and exit code 2, without a traceback."""

from __future__ import annotations


class BenchError(Exception):
    """Something the user can mend: the message says what was wrong, where (file, row, key) and what to do."""


class Unavailable(BenchError):
    """A part that cannot work here and now (weights missing, no server, package not installed).

    A metric that raises it is shown as "–" with `reason` and `remedy` below the table; the others still run.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}\n  {remedy}")
        self.reason = reason
        self.remedy = remedy


class StorageFault(BenchError):
    """A cache cannot be read or written (a full disk, a damaged file): nothing goes on without it."""


class ServerLost(BenchError):
    """A server that answered before has gone away; what was answered is kept, and the same command continues."""


def missing_package(what: str, package: str, extra: str) -> Unavailable:
    """Return the error for a plugin whose optional package is not installed."""
    return Unavailable(f"{what} needs the package {package}", f"pip install 'cxr-report-bench[{extra}]'")
