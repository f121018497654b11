"""Shares of a run's cases that several processes, on one machine or many, report on over one run folder.

Shard i of n has every n-th case, from the i-th on: cases are in the order of patients, and shares taken in turn are
alike in what they hold and how long they take. It is kept in ``shards/i-of-n/`` of the run folder until a run without
``--shard`` gathers all of them.

A shard's process holds the run folder together with those of other shards, and its own folder alone; a run that gathers
holds the run folder alone. So shards may work at once, but never while they are gathered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench import store
from bench.errors import BenchError

FOLDER = "shards"
REPORTS = "reports.jsonl"
_TEXT = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")
_NAME = re.compile(r"([1-9][0-9]{0,3})-of-([1-9][0-9]{0,3})")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """Share `i` of `n`, from 1 on."""

    n: int
    i: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/4". Raises BenchError."""
        match = _TEXT.fullmatch(text.strip())
        i, n = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= i <= n:
            raise BenchError(f"--shard {text!r}: write i/n, 1 ≤ i ≤ n ≤ 9999, e.g. --shard 2/4 for the second of four")
        return cls(n, i)

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"

    def share(self, cases: Sequence[T]) -> Sequence[T]:
        """Return every n-th of the cases, from the i-th on."""
        return cases[self.i - 1 :: self.n]

    def folder(self, run: Path) -> Path:
        """Return where a run folder keeps the shard."""
        return run / FOLDER / f"{self.i}-of-{self.n}"


def found(run: Path) -> dict[Shard, Path]:
    """Return shard → folder of those in a run folder, in the order of n, then i."""
    names = {folder: _NAME.fullmatch(folder.name) for folder in run.joinpath(FOLDER).glob("*-of-*")}
    shards = {Shard(int(match[2]), int(match[1])): folder for folder, match in names.items() if match}
    return {shard: shards[shard] for shard in sorted(shards) if shard.i <= shard.n}


def answered(folder: Path) -> set[str]:
    """Return the ids of the cases that have a report in ``reports.jsonl`` of a run or shard, errors left out."""
    return {str(line.get("id")) for line in store.read_lines(folder / REPORTS) if line.get("error") is None}


def answered_anywhere(run: Path) -> set[str]:
    """Return the ids of the cases that have a report in a run folder or in one of its shards."""
    return answered(run).union(*(answered(folder) for folder in found(run).values()))


# ------------------------------------------------------------------ how far they are


@dataclass(frozen=True, slots=True)
class State:
    """How far one shard is."""

    shard: Shard
    n_cases: int
    n_answered: int
    begun: bool

    @property
    def done(self) -> bool:
        """Whether all its cases are answered."""
        return self.n_answered == self.n_cases

    def record(self) -> Mapping[str, Any]:
        """Return it as JSON."""
        return {"shard": str(self.shard), "cases": self.n_cases, "answered": self.n_answered}


def states(run: Path, n: int, ids: Sequence[str]) -> list[State]:
    """Return how far the shards of a division by n are; a case counts wherever it was answered."""
    have, begun = answered_anywhere(run), found(run)
    shares = ((shard, shard.share(ids)) for shard in (Shard(n, i) for i in range(1, n + 1)))
    return [State(shard, len(share), len(have.intersection(share)), shard in begun) for shard, share in shares]


def told(states: Sequence[State]) -> str:
    """Return a line such as "shards 1/4, 3/4 done; 2/4: 312 of 851; 4/4 not begun"."""
    done = ", ".join(str(state.shard) for state in states if state.done)
    parts = [f"{done} done"] if done else []
    for state in (state for state in states if not state.done):
        far = f": {state.n_answered:,} of {state.n_cases:,}" if state.begun or state.n_answered else " not begun"
        parts.append(f"{state.shard}{far}")
    return f"{'shard' if len(states) == 1 else 'shards'} {'; '.join(parts)}"


# ------------------------------------------------------------------ who works where


@contextmanager
def whole(run: Path) -> Iterator[None]:
    """Hold a run folder for this process alone, and clear away half files of killed ones.

    Raises `store.Held` naming the shards that are being worked on.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(store.locked(run))
        except store.Held:
            if at_work := ", ".join(str(shard) for shard, folder in found(run).items() if _held(folder)):
                raise store.Held(
                    f"{run}: shard {at_work} is being worked on by another process; wait for it, then gather the "
                    "shards with this command"
                ) from None
            raise
        for part in (*run.glob(store.PARTS), *run.glob(f"{FOLDER}/*/{store.PARTS}")):
            part.unlink(missing_ok=True)
        yield


def _held(folder: Path) -> bool:
    try:
        with store.locked(folder):
            return False
    except store.Held:
        return True
