"""What a check found, and the list that checks are run into."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import ServerLost, StorageFault, Unavailable

Status = Literal["ok", "failed", "warning", "unavailable", "not tried"]
SHOWN = 60
"""Characters of a text that a message quotes."""


class Broken(Exception):
    """A rule of the contract is broken; the message says what was expected and what was seen."""


class Advice(Exception):
    """Nothing is broken, but something is worth a look."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check of a plugin."""

    name: str
    rule: str
    """What the contract asks."""
    status: Status
    note: str = ""
    """Where it is not ok: what was expected and seen, or why it was not tried."""

    def __str__(self) -> str:
        return f"{self.name}: {self.status}: {self.rule}" + (f"\n  {self.note}" if self.note else "")


@dataclass(frozen=True)
class Checked:
    """All checks of one plugin."""

    kind: str
    spec: str
    outcomes: Sequence[Outcome]

    @property
    def ok(self) -> bool:
        """Whether every check was made and none failed; a warning is no failure."""
        return not self.failed and not self.unavailable

    @property
    def failed(self) -> list[Outcome]:
        """The rules that are broken."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def unavailable(self) -> list[Outcome]:
        """What cannot be checked here, for want of weights, a server, a package."""
        return [outcome for outcome in self.outcomes if outcome.status == "unavailable"]

    def __str__(self) -> str:
        """Return what is wrong, for the message of an assertion."""
        wrong = [str(outcome) for outcome in (*self.failed, *self.unavailable)]
        left = sum(outcome.status == "not tried" for outcome in self.outcomes)
        return "\n".join([f"{self.kind} {self.spec}", *(wrong or ["ok"]), *([f"{left} not tried"] if left else [])])


class Ledger:
    """Runs checks one after the other; one that builds on another is not tried where that one did not pass."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def check(self, name: str, rule: str, work: Callable[[], str | None], needs: Sequence[str] = ()) -> bool:
        """Run one check; return whether it passed. `work` returns a note or raises.

        Any exception of the plugin is a failure; a full disk and a lost server are none of its doing and end the call.
        """
        if (before := self._first_not_passed(needs)) is not None:
            self.outcomes.append(Outcome(name, rule, "not tried", f"since {before!r} did not pass"))
            return False
        self.outcomes.append(self._outcome(name, rule, work))
        return self.passed(name)

    def passed(self, name: str) -> bool:
        """Tell whether a check was made and nothing was broken."""
        return any(o.name == name and o.status in ("ok", "warning") for o in self.outcomes)

    def _first_not_passed(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if not self.passed(name)), None)

    def _outcome(self, name: str, rule: str, work: Callable[[], str | None]) -> Outcome:
        try:
            return Outcome(name, rule, "ok", work() or "")
        except Broken as err:
            return Outcome(name, rule, "failed", str(err))
        except Advice as err:
            return Outcome(name, rule, "warning", str(err))
        except Unavailable as err:
            return Outcome(name, rule, "unavailable", f"cannot be checked here: {err.reason}\n{err.remedy}")
        except (StorageFault, ServerLost):
            raise
        except Exception as err:
            return Outcome(name, rule, "failed", told(err))


def told(err: Exception) -> str:
    """Return an exception in one line: its type, its message, and the line that raised it."""
    frames = traceback.extract_tb(err.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"it raised {type(err).__name__}: {err}{where}"


def require(condition: object, message: str) -> None:
    """Raise `Broken` with the message unless the condition holds."""
    if not condition:
        raise Broken(message)


def quoted(text: str) -> str:
    """Return a text as a message quotes it: its beginning."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def difference(expected: str, seen: str) -> str:
    """Return two texts as a message quotes them, from shortly before they differ."""
    same = next((i for i, (a, b) in enumerate(zip(expected, seen, strict=False)) if a != b), None)
    start = max(0, (min(len(expected), len(seen)) if same is None else same) - SHOWN // 3)
    left, right = ("…" * bool(start) + text[start:] for text in (expected, seen))
    return f"{quoted(left)} became {quoted(right)}"
