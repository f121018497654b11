"""What CheXagent is asked, which images it sees, how its answers become one report.

Shared by both workers, the options and the tests: the standard library alone, heavy packages inside the functions that
need them. Where the prompts come from: docs/chexagent.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

ANATOMIES = (
    "Airway",
    "Breathing",
    "Cardiac",
    "Diaphragm",
    "Everything else (e.g., mediastinal contours, bones, soft tissues, tubes, valves, and pacemakers)",
)
"""What the published demonstrations ask for, one after the other, to have the findings."""
INDICATION_PROMPT = 'Given the indication: "{indication}", write a structured findings section for the CXR.'
NO_INDICATION = "None"
"""What stands for an indication that a case has not: in training as in the authors' evaluation."""
DEFAULTS_8B: Mapping[str, Any] = {
    "mode": "by-anatomy",
    "anatomies": ANATOMIES,
    "anatomy_prompt": 'Describe "{anatomy}"',
    "prompt": "Write an example findings section for the CXR",
    "indication": False,
    "indication_prompt": INDICATION_PROMPT,
    "lateral": False,
    "num_beams": 5,
    "max_new_tokens": 256,
    "dtype": "auto",
    "clean": True,
}
DEFAULTS_2: Mapping[str, Any] = {
    **DEFAULTS_8B,
    "mode": "findings",
    "anatomy_prompt": 'Please provide a detailed description of "{anatomy}" in the chest X-ray',
    "prompt": "Write a structured findings section for the CXR.",
    "indication": True,
    "lateral": True,
    "num_beams": 1,
    "max_new_tokens": 512,
}
HEADING = re.compile(r"\[[^\[\]]*\]")
"""[Breathing: Lungs], as a structured report has it before each subsection."""


class CaseLike(Protocol):
    """What is read of a case."""

    @property
    def frontal(self) -> str: ...  # noqa: D102
    @property
    def lateral(self) -> str | None: ...  # noqa: D102
    @property
    def indication(self) -> str | None: ...  # noqa: D102


class Question(NamedTuple):
    """One prompt about the images of one case."""

    case: int
    label: str
    """The anatomy, or "findings"."""
    prompt: str
    images: tuple[str, ...]


def images_of(case: CaseLike, lateral: bool) -> tuple[str, ...]:
    """Return the paths of the images that are shown: the frontal one, and the lateral one where it is wanted."""
    beside = case.lateral if lateral else None
    return (case.frontal,) if beside is None else (case.frontal, beside)


def prompts_of(options: Mapping[str, Any], indication: str | None) -> list[tuple[str, str]]:
    """Return (label, prompt) of everything that is asked about one case."""
    if options["mode"] == "by-anatomy":
        return [(name, options["anatomy_prompt"].replace("{anatomy}", name)) for name in options["anatomies"]]
    if not options["indication"]:
        return [("findings", options["prompt"])]
    told = " ".join((indication or "").split()) or NO_INDICATION
    return [("findings", options["indication_prompt"].replace("{indication}", told))]


def questions_of(cases: Sequence[CaseLike], options: Mapping[str, Any]) -> list[Question]:
    """Return all that is asked about cases, case by case, each one's prompts in their order."""
    return [
        Question(number, label, prompt, images_of(case, options["lateral"]))
        for number, case in enumerate(cases)
        for label, prompt in prompts_of(options, case.indication)
    ]


def groups_of(questions: Sequence[Question]) -> list[list[int]]:
    """Return places of questions that can share a batch without padding: one prompt, and as many images each."""
    groups: dict[tuple[str, int], list[int]] = {}
    for place, question in enumerate(questions):
        groups.setdefault((question.prompt, len(question.images)), []).append(place)
    return list(groups.values())


def report_of(answers: Iterable[str], clean: bool) -> str:
    """Return the answers as one text; cleaned, without the headings and marks of a structured report."""
    texts = [cleaned(answer) if clean else answer.strip() for answer in answers]
    return " ".join(text for text in texts if text)


def cleaned(text: str) -> str:
    """Return a text without [headings] and ** marks, on one line: what the authors do before they score it."""
    return " ".join(HEADING.sub(" ", text).replace("**", "").split())


def notes_of(
    questions: Sequence[Question], answers: Sequence[str], cut: Sequence[bool], limit: int
) -> tuple[tuple[str, str], ...]:
    """Return the notes beside one case's report: the answer about each anatomy, and which were cut short."""
    parts = [(question.label, answer.strip()) for question, answer in zip(questions, answers, strict=True)]
    stopped = [question.label for question, short in zip(questions, cut, strict=True) if short]
    length = [("length", f"{', '.join(stopped)}: stopped at max_new_tokens = {limit}")] if stopped else []
    return tuple((parts if len(parts) > 1 else []) + length)


# ------------------------------------------------------------------ with packages of the workers' environments


def dtype_of(name: str, device: str, on_gpu: str) -> str:
    """Return the precision: "auto" is `on_gpu` (the published one) on a GPU, float32 on a CPU."""
    if name != "auto":
        return name
    return "float32" if device.startswith("cpu") else on_gpu
