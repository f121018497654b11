"""Who is imaged when and what is found: patients, studies and images of the demo, before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

import numpy as np

from bench.datasets.demo.findings import (
    CATALOGUE,
    VERSION,
    Finding,
    Names,
    draw_findings,
    draw_names,
    evolve,
    names_of,
    possible,
)

FIRST_SUBJECT = 90_000_001
"""Real subject ids begin with 1 and study ids with 5, so the demo's cannot be taken for them."""
FIRST_STUDY = 90_000_001
NOVEL = "test-novel"
PHASES = ("train", "test", NOVEL)
"""In the order they are planned: both test splits depend on what training has."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a study."""

    dicom_id: str
    view: str
    """"AP", "PA" or "LATERAL"."""
    number: int
    """Place in the study, from 0."""


@dataclass(frozen=True, slots=True)
class Study:
    """One examination: when, of whom, what is to be seen."""

    subject: int
    id: int
    split: str
    """"train", "validate", "test" or "test-novel"."""
    number: int
    """Place in the patient's history, from 0."""
    when: datetime
    female: bool
    age: int
    findings: tuple[Finding, ...]
    earlier: tuple[Finding, ...] | None
    """Findings of the study before; None for a first study."""
    pictures: tuple[Picture, ...]

    @property
    def frontal(self) -> str:
        """Return the view of the frontal images."""
        return self.pictures[0].view

    @property
    def has_lateral(self) -> bool:
        """Tell whether a lateral view belongs to it."""
        return self.pictures[-1].view == "LATERAL"


def stream(seed: int, *keys: int) -> np.random.Generator:
    """Return the random stream of one thing to draw; streams of different keys are independent."""
    return np.random.default_rng([VERSION, seed, *keys])


def dicom_id(seed: int, study: int, number: int) -> str:
    """Return an id of five groups of eight hex digits, as MIMIC-CXR-JPG's."""
    digits = blake2b(f"demo/{VERSION}/{seed}/{study}/{number}".encode(), digest_size=20).hexdigest()
    return "-".join(digits[i : i + 8] for i in range(0, 40, 8))


def _frontals(rng: np.random.Generator) -> int:
    return 2 if rng.random() < 0.22 else 1


def _view(findings: Sequence[Finding], rng: np.random.Generator) -> str:
    bedridden = names_of(findings) & {"endotracheal_tube", "chest_tube", "nasogastric_tube"}
    return "AP" if bedridden or rng.random() < 0.35 else "PA"


def _pictures(
    seed: int, study: int, findings: Sequence[Finding], most: int, rng: np.random.Generator
) -> tuple[Picture, ...]:
    view = _view(findings, rng)
    views = [view] * min(_frontals(rng), most)
    if view == "PA" and rng.random() < 0.25:
        views.append("LATERAL")
    return tuple(Picture(dicom_id(seed, study, n), v, n) for n, v in enumerate(views))


class Planner:
    """Plans the phases in turn: `plan("train", …)` first, since the tests are made from and against it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.studies: list[Study] = []
        self._trained: list[Names] = []
        self._first: list[Names] = []

    def plan(self, phase: str, images: int) -> None:
        """Add patients until the phase has exactly `images` frontal images."""
        patient = 0
        while images > 0:
            for study in self._patient(phase, patient, images):
                self.studies.append(study)
                images -= sum(picture.view != "LATERAL" for picture in study.pictures)
            patient += 1

    def _patient(self, phase: str, patient: int, images: int) -> Iterator[Study]:
        rng = stream(self.seed, PHASES.index(phase), patient)
        subject = FIRST_SUBJECT + len({study.subject for study in self.studies})
        split = "validate" if phase == "train" and patient % 13 == 5 else phase
        when = datetime(2110, 1, 1) + timedelta(
            minutes=int(rng.integers(80 * 365 * 1440)), seconds=int(rng.integers(60))
        )
        female, age = bool(rng.random() < 0.48), int(rng.integers(22, 90))
        findings, earlier = draw_findings(self._names(phase, rng), rng), None
        for number in range(int(rng.choice([1, 2, 3, 4], p=[0.55, 0.25, 0.14, 0.06]))):
            if images <= 0:
                return
            if earlier is not None:
                findings = evolve(earlier, self._rule(phase), rng)
            if phase == "train":
                self._note(findings, first=number == 0)
            study = FIRST_STUDY + len(self.studies)
            pictures = _pictures(self.seed, study, findings, images, rng)
            yield Study(subject, study, split, number, when, female, age, findings, earlier, pictures)
            images -= sum(picture.view != "LATERAL" for picture in pictures)
            earlier = findings
            when += timedelta(minutes=int(rng.exponential(9 * 1440)) + 240)

    def _note(self, findings: Sequence[Finding], first: bool) -> None:
        self._trained.append(names_of(findings))
        if first:
            self._first.append(names_of(findings))

    def _rule(self, phase: str) -> Callable[[Names], bool]:
        trained = set(self._trained)
        if phase == "train":
            return lambda names: True  # noqa: ARG005
        if phase == "test":
            return lambda names: names in trained
        return lambda names: bool(names) and names not in trained

    def _names(self, phase: str, rng: np.random.Generator) -> Names:
        if phase == "train":
            return draw_names(rng)
        if phase == "test":
            return self._first[int(rng.integers(len(self._first)))]
        return self._novel(rng)

    def _novel(self, rng: np.random.Generator) -> Names:
        """Join two training combinations, and a finding more for every ten failures, until none has had it."""
        trained, codes = set(self._trained), list(CATALOGUE)
        for attempt in range(10_000):
            a, b = (self._trained[int(i)] for i in rng.integers(len(self._trained), size=2))
            more = {codes[int(i)] for i in rng.integers(len(codes), size=attempt // 10)}
            names = frozenset(a | b | more)
            if possible(names) and len(names) > 1 and names not in trained:
                return names
        raise AssertionError("no combination of findings is left: the catalogue has far more than any training set")


def plan(images: int, test_images: int, seed: int) -> list[Study]:
    """Return all studies: `images` frontal training images (validate included), `test_images` in each test split."""
    planner = Planner(seed)
    for phase, count in zip(PHASES, (images, test_images, test_images), strict=True):
        planner.plan(phase, count)
    return planner.studies
