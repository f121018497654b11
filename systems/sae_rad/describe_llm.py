"""Descriptions by a language model, from the reports of the most activating images (Abdulaal et al. 2024, B.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.contracts import LLM, NoAnswer, Question, Sampling
from systems.sae_rad.describe import Description, TopReports
from systems.sae_rad.prompting import Malformed, Template, ask, line, missing

LONGEST = 600
"""Characters of a description; the paper's two have 116 and 163."""
FORM = (
    "the last line, and no other, must be an asterisk followed at once by the explanation, like: "
    "*This feature represents ..."
)
_MARKED = re.compile(r"\*[^*\s].*")
_LEAD_IN = re.compile(r"^this (?:feature|neuron) (?:represents|detects|responds to|corresponds to)\b[\s:]*", re.I)
_WORD = re.compile(r"[^\W\d_]{2}")


class LLMDescriber:
    """Asks a language model what the reports of a feature's most activating images have in common.

    The description is the answer's last line, behind the asterisk it starts with; the reasoning is what stands above.
    """

    def __init__(self, llm: LLM, template: Template, sampling: Sampling) -> None:
        self.llm, self._template, self._sampling = llm, template, sampling

    def questions(self, features: Sequence[TopReports]) -> list[Question]:
        """Return what `describe` asks: a question for each feature that has reports."""
        return [self._question(top) for top in features if top.reports]

    def missing(self, features: Sequence[TopReports]) -> int:
        """Return how many calls `describe` would make, each question answered at once."""
        return missing(self.llm, self.questions(features), read)

    def describe(self, features: Sequence[TopReports]) -> list[Description | NoAnswer]:
        """Return one description a feature, or why there is none; "" without asking where it has no reports.

        Raises ServerLost where the server went away: what was answered until then is kept.
        """
        answers = iter(ask(self.llm, self.questions(features), read, "descriptions"))
        return [next(answers) if top.reports else Description("") for top in features]

    def _question(self, top: TopReports) -> Question:
        reports = (f"Report number {k}: {line(report)}" for k, report in enumerate(top.reports, 1))
        return Question(self._template.fill({"reports": "\n\n".join(reports)}), sampling=self._sampling)


def read(question: Question, text: str) -> Description:
    """Return the description that ends an answer, and the reasoning above it.

    The last line that is not blank is the description: it starts with one asterisk, and goes on at once ("* " would be
    an item of a list, "**" bold type). Raises Malformed where it is missing or another line starts so, and where it
    says nothing, is too long, holds further asterisks, or stands in the question itself.
    """
    rows = text.strip().splitlines()
    marked = [row for row in rows if _MARKED.fullmatch(row.strip())]
    if not marked or marked[-1] is not rows[-1]:
        raise Malformed(f"text follows the line with the asterisk: {FORM}" if marked else FORM)
    if len(marked) > 1:
        raise Malformed(f"{len(marked)} lines start with an asterisk, so which is meant is not clear: {FORM}")
    said = " ".join(rows[-1].strip()[1:].removesuffix("*").split())
    if not _WORD.search(statement(said)):
        raise Malformed("the line with the asterisk says nothing: it must hold the explanation")
    if "*" in said:
        raise Malformed("the last line must have one asterisk only, at its start")
    if len(said) > LONGEST:
        raise Malformed(f"the explanation has {len(said)} characters: put it in fewer words, {LONGEST} at most")
    if any(f"*{said}" in message.content for message in question.messages):
        raise Malformed("the last line only repeats the question: it must say what these reports have in common")
    return Description(said, "\n".join(rows[:-1]).strip())


def statement(description: str) -> str:
    """Return a description without the words that lead it in.

    >>> statement("This feature represents the absence of pneumothorax.")
    'the absence of pneumothorax.'
    """
    return _LEAD_IN.sub("", " ".join(description.split()), count=1)
