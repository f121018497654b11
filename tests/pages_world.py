"""A small run with all that a run page must stand: hostile texts, marks of every sort, images that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from bench.cli import main
from bench.contracts import (
    FAILED,
    OK,
    UNDEFINED,
    Case,
    Column,
    Count,
    Evidence,
    Image,
    Mark,
    Pair,
    Problem,
    Report,
    SmallTable,
    Stats,
    TrainingSet,
)
from bench.errors import Unavailable
from bench.options import Options

HERE = Path(__file__)
HOSTILE = (
    "</p></script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>",
    "\"quoted\" & 'quoted' {{ 7 * 7 }} {% raw %} <!-- <b>",
    "\u202eright to left \u05d0\u05d1\u05d2 \u2028 line\r\nends\rhere\x0b",
    "a NUL \0 and a lone \ud800 surrogate, \U0001f600 beside it",
)
N = 12


class WorldOptions(Options):
    credentialed: bool = False
    n: int = N


class World:
    """Cases of which the first four are hostile; the images of two cannot be read."""

    Options = WorldOptions

    def __init__(self, options: WorldOptions, context: Any) -> None:
        self.options, self.credentialed = options, options.credentialed

    def fingerprint(self) -> str:
        return f"pages-world-{self.options.n}"

    def splits(self) -> Sequence[str]:
        return ("train", "test")

    def cases(self, split: str) -> Sequence[Case]:
        return [self._case(split, i) for i in range(self.options.n)]

    def _case(self, split: str, i: int) -> Case:
        folder = Path("images").absolute()
        images = [Image(folder / f"{i}.png", "PA")] if i != 7 else [Image(folder / "damaged.png", "PA")]
        if i == 1:
            images.append(Image(folder / "0.png", "AP", "prior"))
        name = f"{split}</a>{i:03d}" if i == 0 else f"{split}{i:03d}"
        return Case(name, f"p{i // 2}", tuple(images), indication=HOSTILE[i] if i < 4 else None)

    def references(self, split: str) -> Mapping[str, str]:
        return {case.id: self._reference(i) for i, case in enumerate(self.cases(split))}

    def _reference(self, i: int) -> str:
        return f"{HOSTILE[i]} clear lungs" if i < 4 else f"clear lungs number {i} and no effusion"

    def problems(self) -> Sequence[Problem]:
        return []

    def census(self) -> Sequence[Count]:
        return []


class SpeakerOptions(Options):
    words: int = 3
    """How many clear words each report has."""


class Speaker:
    """Repeats hostile texts; gives no report of case 5 and an empty one of case 6."""

    Options = SpeakerOptions

    def __init__(self, options: SpeakerOptions, context: Any) -> None:
        self.options = options

    def fingerprint(self) -> str:
        return f"speaker-{self.options.words}"

    def prepare(self, train: TrainingSet) -> None:
        pass

    def generate(self, cases: Sequence[Case]) -> Iterable[Report]:
        for case in cases:
            i = int(case.id[-3:])
            if i == 5:
                yield Report(case.id, "", error="the <model> gave up")
                continue
            clear = " ".join(["clear"] * (self.options.words + i % 4))
            text = "" if i == 6 else f"{HOSTILE[i]} {clear}" if i < 4 else f"{clear} lungs"
            evidence = (
                Evidence("feature", "12", 4.0, HOSTILE[i % 4]),
                Evidence("feature", "7", 1.0, "lungs"),
                Evidence("note", "a <note>", None, "told"),
            )
            yield Report(case.id, text, evidence)

    def facts(self) -> Mapping[str, float]:
        return {}


class TellerOptions(Options):
    recipe: str = "a"


class Teller:
    """The share of clear words; its marks overlap, nest, are empty and lie beside the text."""

    Options = TellerOptions
    columns = (Column("Clear", "Clear"), Column("Cost", "Cost", scale=1.0, decimals=2, higher_is_better=False))

    def __init__(self, options: TellerOptions, context: Any) -> None:
        self.options = options

    def signature(self) -> str:
        other = "|changed" if Path("changed").exists() else ""
        return f"teller|recipe:{self.options.recipe}{other}"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        values, status = np.zeros((len(pairs), 3)), np.full((len(pairs), 2), OK, np.int8)
        for row, pair in enumerate(pairs):
            i = int(pair.id[-3:])
            if i in (8, 9):
                status[row] = UNDEFINED if i == 8 else FAILED
                continue
            words = pair.candidate.split()
            values[row] = words.count("clear"), len(words) + 1, 1
        return Stats(values, status)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        clear, words, n = np.moveaxis(totals, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([clear / words, words / n], axis=-1)

    def explain(self, pair: Pair) -> list[Any]:
        n = len(pair.candidate)
        if int(pair.id[-3:]) == 10:
            raise ZeroDivisionError("a bug of the <metric>")
        return [
            Mark("candidate", -5, 4, "match", "begins before the text"),
            Mark("candidate", 2, n + 9, "strange <kind>", pair.candidate),
            Mark("candidate", 3, 3, "match", "empty"),
            Mark("candidate", n + 1, n + 4, "match", "beside"),
            Mark("reference", 0, 5, "missed"),
            Mark("reference", 1, 3, "exact", "within"),
            SmallTable(f"Counts {HOSTILE[0]}", ("what", "n"), (("clear", str(n)), (HOSTILE[1], "–"))),
        ]

    def tables(self, totals: np.ndarray) -> list[SmallTable]:
        return [SmallTable("labels", ("label", "n"), (("<clear>", f"{totals[0]:.0f}"), ("other, more", "1")))]


class Fallen(Teller):
    """Scores, but has nothing to explain with any more."""

    columns = (Column("Fallen", "Fallen"), Column("Fallen-2", "Fallen 2"))

    def explain(self, pair: Pair) -> list[Any]:
        with Path("asked").open("a") as log:
            log.write(f"{pair.id}\n")
        raise Unavailable("its weights are gone", "fetch them")


@dataclass(frozen=True)
class Place:
    """Where runs are made."""

    root: Path

    @contextmanager
    def here(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.root)
            patch.setenv("BENCH_CACHE", str(self.root / "cache"))
            patch.setenv("COLUMNS", "200")
            mask = os.umask(0o022)
            try:
                yield
            finally:
                os.umask(mask)

    def call(self, *arguments: object) -> tuple[int, str, str]:
        """Call the command line here; return code, output and messages."""
        out, err = StringIO(), StringIO()
        with self.here(), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return int(stop.value.code or 0), out.getvalue(), err.getvalue()

    def run(self, label: str, *, words: int = 3, n: int = N, credentialed: bool = False, recipe: str = "a") -> Path:
        """Let the speaker report on the world; return the run's folder."""
        (self.root / "bench.yaml").write_text(
            f"dataset: {{use: '{HERE}:World', n: {n}, credentialed: {str(credentialed).lower()}}}\n"
            f"systems: {{{label}: {{use: '{HERE}:Speaker', words: {words}}}}}\n"
            f"metrics: {{Teller: {{use: '{HERE}:Teller', recipe: {recipe}}}, Fallen: {{use: '{HERE}:Fallen'}}}}\n"
            "run: {bootstrap: 20}\n"
        )
        code, _, err = self.call("run", "--out", f"runs-{label}", "--allow-failed")
        assert code == 0, err
        return self.root / f"runs-{label}" / label


def make_place(root: Path) -> Place:
    """Draw the images."""
    (root / "images").mkdir()
    for i in range(N):
        if i != 3:  # which is missing
            shade = np.add.outer(np.arange(900), np.arange(700)) // 7
            Pillow.fromarray((shade + i).astype(np.uint8)).save(root / "images" / f"{i}.png")
    (root / "images" / "damaged.png").write_bytes(b"no picture")
    return Place(root)
