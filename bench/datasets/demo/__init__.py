"""The embedded dataset: drawn radiographs and reports from a grammar, read as MIMIC-CXR-JPG is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.contracts import Case, Context, Count, Problem
from bench.datasets.demo.findings import CATALOGUE, VERSION, Finding, names_of
from bench.datasets.demo.plan import NOVEL, plan
from bench.datasets.demo.writer import ensure, read_truth
from bench.datasets.mimic_cxr import READER, MimicCXR, MimicCXROptions
from bench.datasets.sections import RULES
from bench.options import Options

__all__ = ["Demo", "DemoOptions", "Finding"]


class DemoOptions(Options):
    """How much to draw, and how to read it."""

    images: int = Field(800, ge=4)
    """Frontal training images, validation images among them."""
    test_images: int = Field(100, ge=1)
    """Frontal images in each of the splits "test" and "test-novel"."""
    seed: int = Field(0, ge=0)
    """Seed of patients, images and reports."""
    unit: Literal["image", "study"] = "image"
    """One case a frontal image, or one a study."""
    population: Literal["all", "findings"] = "all"
    """All reports that say anything, or only those with a findings section."""
    validation: Literal["train", "held-out"] = "train"
    """Whether the validation images are training data or a split "validate" of their own."""
    priors: int = Field(3, ge=0)
    """How many of the patient's latest earlier reports a case carries at most; with the latest comes that study's first
    frontal image."""


class Demo:
    """Drawn radiographs with reports from a grammar, made on first use in seconds (no download).

    The split "test" combines findings as training does; in "test-novel" every study has a combination of findings that
    no training report has.
    """

    Options = DemoOptions
    credentialed = False
    stand_in = "synthetic radiographs and reports"

    def __init__(self, options: DemoOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def fingerprint(self) -> str:
        """Return the identity of drawing, sizes, seed and reading rules; draws nothing."""
        identity = ["demo", VERSION, READER, RULES, self.options.model_dump(mode="json")]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @cached_property
    def root(self) -> Path:
        """Folder in the layout of MIMIC-CXR-JPG; drawn on first use."""
        drawn = [VERSION, self.options.images, self.options.test_images, self.options.seed]
        key = hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:16]
        target = self.context.cache("demo", key) / "mimic-cxr-jpg"
        return ensure(target, lambda: plan(*drawn[1:]), self.options.seed, self.context.progress)

    @cached_property
    def _reader(self) -> MimicCXR:
        chosen = self.options.model_dump(include={"unit", "population", "validation", "priors"})
        return MimicCXR(MimicCXROptions(root=self.root, **chosen), self.context)

    def splits(self) -> Sequence[str]:
        """Return train, validate (where held out), test and test-novel."""
        held_out = ["validate"] if self.options.validation == "held-out" else []
        return ["train", *held_out, "test", NOVEL]

    def cases(self, split: str) -> Sequence[Case]:
        """Return the cases in the order of patient, study and image."""
        return self._reader.cases(split)

    def references(self, split: str) -> Mapping[str, str]:
        """Return case id → findings, else impression, else last paragraph."""
        return self._reader.references(split)

    def problems(self) -> Sequence[Problem]:
        """Return what was left out of the splits asked for so far."""
        return self._reader.problems()

    def census(self) -> Sequence[Count]:
        """Return the reader's counts (none is published for the demo), and in how many training images findings are."""
        lines = [Count(line.name, line.found) for line in self._reader.census()]
        trained = [names_of(self.truth[case.images[0].path.stem]) for case in self.cases("train")]
        return [*lines, *(Count(f"train, {code}", sum(code in names for names in trained)) for code in CATALOGUE)]

    def findings(self, split: str) -> Mapping[str, frozenset[str]]:
        """Return case id → findings drawn on the case's first image, for measuring, not for learning.

        They are codes ("effusion"), and codes with sides ("effusion/left").
        """
        return {case.id: _named(self.truth[case.images[0].path.stem]) for case in self.cases(split)}

    @cached_property
    def truth(self) -> Mapping[str, tuple[Finding, ...]]:
        """Image (dicom_id, the stem of its file) → the findings drawn on it, () where the chest is normal.

        It is kept in `findings_truth.jsonl` below `root`, and is no part of any case: for measuring, not for learning.
        """
        return {dicom: findings for dicom, _, findings in read_truth(self.root)}


def _named(findings: Sequence[Finding]) -> frozenset[str]:
    """Return the codes of findings, and code/side where a finding has a side; a bilateral one has both."""
    sides = {"": (), "bilateral": ("left", "right")}
    sided = (f"{f.code}/{side}" for f in findings for side in sides.get(f.side, (f.side,)))
    return names_of(findings) | frozenset(sided)
