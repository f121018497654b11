"""Small plugins for the harness's tests, found by file: ``tests/plugins.py:TinyDataset``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import store
from bench.contracts import (
    OK,
    UNDEFINED,
    Case,
    Column,
    Count,
    Evidence,
    Image,
    Pair,
    Problem,
    Report,
    Stats,
    TrainingSet,
)
from bench.errors import Unavailable
from bench.options import Options
from bench.workers.options import WorkerOptions

WORDS = ("clear", "effusion", "opacity", "enlarged", "pacemaker", "normal")


def text(i: int) -> str:
    return " ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 4 + i % 3))


class TinyOptions(Options):
    n: int = 12
    patients: int = 4
    salt: str = ""
    leak: bool = False
    credentialed: bool = False


class TinyDataset:
    """A dozen cases that need no file."""

    Options = TinyOptions

    def __init__(self, options: TinyOptions, context: Any) -> None:
        self.options = options
        self.credentialed = options.credentialed

    def fingerprint(self) -> str:
        return f"tiny-{self.options.n}-{self.options.patients}-{self.options.salt}"

    def splits(self) -> Sequence[str]:
        return ("train", "test")

    def cases(self, split: str) -> Sequence[Case]:
        first = "test" if self.options.leak else split
        return [
            Case(f"{first}{i:03d}", f"patient{i % self.options.patients}", (Image(Path(f"{i}.png"), "PA"),))
            for i in range(self.options.n)
        ]

    def references(self, split: str) -> Mapping[str, str]:
        return {case.id: text(i) for i, case in enumerate(self.cases(split))}

    def problems(self) -> Sequence[Problem]:
        return [Problem("split.csv", "test999", "no image file")]

    def census(self) -> Sequence[Count]:
        return [Count("cases", self.options.n, 13, "a paper"), Count("patients", self.options.patients)]


class ParrotOptions(Options):
    fail: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    crash: bool = False
    stranger: bool = False
    log: Path | None = None


class Parrot:
    """Says words that depend on the case alone."""

    Options = ParrotOptions
    stand_in = "no real system"

    def __init__(self, options: ParrotOptions, context: Any) -> None:
        self.options, self.prepared = options, False

    def fingerprint(self) -> str:
        return "parrot-1"

    def prepare(self, train: TrainingSet) -> None:
        assert train.references.keys() == {case.id for case in train.cases}
        self.prepared = True

    def generate(self, cases: Sequence[Case]) -> Iterable[Report]:
        assert self.prepared
        for case in cases:
            if self.options.log is not None:
                with self.options.log.open("a") as log:
                    log.write(f"{case.id}\n")
            if self.options.crash and case.id == "test005":
                raise ZeroDivisionError("a bug of the plugin")
            if case.id in self.options.skip:
                continue
            failed = case.id in self.options.fail
            number = int(case.id[-3:])
            said = "" if failed else text(number * 2)
            yield Report(
                "stranger" if self.options.stranger else case.id,
                said,
                (Evidence("note", "words", float(len(said)), "why not"),),
                "no answer came" if failed else None,
            )

    def facts(self) -> Mapping[str, float]:
        return {"words": 3.0}


class TellingOptions(ParrotOptions, WorkerOptions):
    notes: bool = False
    """Note each case in the work folder and count them in the facts, as SAE-Rad does."""


class Telling(Parrot):
    """A parrot that tells how it speaks, and logs when it is prepared.

    With the environment variable TELLING_MEET it begins once that many processes are there.
    """

    Options = TellingOptions

    def __init__(self, options: TellingOptions, context: Any) -> None:
        super().__init__(options, context)
        self.context = context
        self.noted: list[str] = []

    def prepare(self, train: TrainingSet) -> None:
        super().prepare(train)
        if self.options.log is not None:
            with self.options.log.open("a") as log:
                log.write("prepared\n")

    def generate(self, cases: Sequence[Case]) -> Iterable[Report]:
        if meet := int(os.environ.get("TELLING_MEET", "0")):
            Path("met").mkdir(exist_ok=True)
            Path("met", str(os.getpid())).touch()
            until = time.monotonic() + 60
            while len(list(Path("met").iterdir())) < meet:
                assert time.monotonic() < until, "the others did not come"
                time.sleep(0.02)
        self.noted += [note] if (note := os.environ.get("TELLING_NOTE")) else []
        for report in super().generate(cases):
            if self.options.notes:
                with store.Appender(self.context.workdir / "notes.jsonl") as notes:
                    notes.write({"id": report.id, "words": len(report.text.split())})
            yield report

    def facts(self) -> Mapping[str, float]:
        if not self.options.notes:
            return super().facts()
        assert self.prepared
        return {"noted": float(sum(n["words"] for n in store.read_lines(self.context.workdir / "notes.jsonl")))}

    def details(self) -> Mapping[str, Any]:
        assert self.prepared
        torch = os.environ.get("TELLING_TORCH", "2.1.0")
        if torch == "none":
            return {"torch": object()}
        return {
            "python": "3.9.18",
            "versions": {"numpy": "1.26.0", "torch": torch, "transformers": "4.40.0"},
            "settings": {"num_beams": 5, "max_new_tokens": 256},
            "weights": {"model": {"model": "a/parrot", "revision": None, "commit": "0123abcd"}},
            "device": "cpu",
            "notes": list(self.noted),
        }


class WordF1Options(Options):
    missing: bool = False
    broken: bool = False
    nonfinite: bool = False


class WordF1:
    """F1 over the sets of words, micro-averaged; undefined where the reference is empty."""

    Options = WordF1Options
    columns = (Column("WordF1", "Word F1"), Column("Length", "Length", scale=1.0))
    group = "nlg"

    def __init__(self, options: WordF1Options, context: Any) -> None:
        if options.missing:
            raise Unavailable("the dictionary is not installed", "install the dictionary")
        self.options = options

    def signature(self) -> str:
        return "word-f1|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        if self.options.broken:
            raise KeyError("a bug of the metric")
        rows = []
        for pair in pairs:
            said, true = set(pair.candidate.split()), set(pair.reference.split())
            rows.append([len(said & true), len(said - true), len(true - said), len(pair.candidate.split()), 1.0])
        values = np.array(rows, float)
        if self.options.nonfinite:
            values[0, 0] = np.nan
        status = np.full((len(pairs), 2), OK, np.int8)
        status[[not p.reference for p in pairs], 0] = UNDEFINED
        return Stats(values, status)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        hit, extra, missed, words, n = np.moveaxis(totals, -1, 0)
        with np.errstate(invalid="ignore"):
            return np.stack([2 * hit / (2 * hit + extra + missed), words / n], axis=-1)

    def explain(self, pair: Pair) -> list[Any]:
        return []
