"""Findings sections by a language model, from an image's features, the indication and earlier reports (B.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.contracts import LLM, NoAnswer, Prior, Question, Sampling
from bench.errors import BenchError
from systems.sae_rad.compose import ActiveFeature, Draft
from systems.sae_rad.prompting import Malformed, Template, ask, line, lines, missing
from systems.sae_rad.sentences import split

MOST_PRIORS = 3
"""Earlier reports a prompt holds at most (B.5)."""
_LABEL = re.compile(r"[\s*_#]*findings(?: section)?[\s*_]*:[\s*_]*", re.I)
_ITEM = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s+\S")
_FEATURE = re.compile(r"\bfeatur(?:e|es|ed|ing)\b", re.I)
_TAG = re.compile(r"<\s*/?\s*[a-z]", re.I)
_ANSWER = re.compile(r"\b(?:the|this|my|your) answer\b", re.I)
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"))


class LLMComposer:
    """Asks a language model to write the findings section that an image's features, and their context, call for.

    indication, priors: whether the indication is told, and how many earlier reports at most (0 to 3), latest first.
    A case without an indication or an earlier report is asked about as if that context were switched off.
    """

    def __init__(
        self,
        llm: LLM,
        template: Template,
        sampling: Sampling,
        *,
        indication: bool,
        priors: int,
        max_sentences: int,
    ) -> None:
        self.llm, self._template, self._sampling = llm, template, sampling
        self._indication, self._priors, self._max_sentences = indication, priors, max_sentences
        for name, told in (("indication", indication), ("priors", priors > 0)):
            if told and name not in template.placeholders:
                raise BenchError(
                    f"{template.source}: has no placeholder {{{name}}}, so {name} cannot be told; add it, or leave "
                    f"{name} out of compose.context"
                )

    def questions(self, drafts: Sequence[Draft]) -> list[Question]:
        """Return what `compose` asks: a question for each draft, those without a described feature left out."""
        return [self._question(draft) for draft in drafts if _askable(draft)]

    def missing(self, drafts: Sequence[Draft]) -> int:
        """Return how many calls `compose` would make, each question answered at once."""
        return missing(self.llm, self.questions(drafts), self._read)

    def compose(self, drafts: Sequence[Draft]) -> list[str | NoAnswer]:
        """Return one findings section a draft, or why there is none.

        "" without asking where a draft has features and none of them a description: what came back could not rest on
        the image. A draft without any feature is asked about, from its context alone. Raises ServerLost where the
        server went away: what was answered until then is kept.
        """
        answers = iter(ask(self.llm, self.questions(drafts), self._read, "reports"))
        return [next(answers) if _askable(draft) else "" for draft in drafts]

    def _question(self, draft: Draft) -> Question:
        case = draft.case
        values = {
            "features": _features([active for active in draft.features if active.description.strip()]),
            "indication": line(case.indication or "") if self._indication else "",
            "priors": _reports([prior for prior in case.priors if prior.text.strip()][: self._priors]),
            "sentences": str(self._max_sentences),
        }
        return Question(self._template.fill(values), sampling=self._sampling)

    def _read(self, question: Question, text: str) -> str:
        report = read(text, self._max_sentences)
        if any(turn.role == "assistant" and _bare(turn.content) == report for turn in question.messages):
            raise Malformed("it repeats an example: report on the radiograph that was asked about")
        return report


def _askable(draft: Draft) -> bool:
    return not draft.features or any(active.description.strip() for active in draft.features)


# ------------------------------------------------------------------ what is told


def _features(features: Sequence[ActiveFeature]) -> str:
    return "\n".join(
        f"<feature {k}>\nFeature number {k}. Relative importance score {score(active.importance)}:\n"
        f"{line(active.description)}\n</feature {k}>"
        for k, active in enumerate(features, 1)
    )


def score(importance: float) -> str:
    """Return an importance in (0, 1] as a prompt shows it: two decimals, and never 0, which would mean not there."""
    return f"{max(importance, 0.01):.2f}"


def _reports(priors: Sequence[Prior]) -> str:
    return "\n".join(
        f"<past_report>\nReport number {k}. This report was written {age(prior.minutes_before)} before the current "
        f"chest x-ray.\n{lines(prior.text)}\n</past_report>"
        for k, prior in enumerate(priors, 1)
    )


def age(minutes: int) -> str:
    """Return a time in years of 365 days, days, hours and minutes, all whole numbers.

    >>> age(3868)
    '0 years, 2 days, 16 hours and 28 minutes'
    """
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    return f"{_of(years, 'year')}, {_of(days, 'day')}, {_of(hours, 'hour')} and {_of(minutes, 'minute')}"


def _of(n: int, unit: str) -> str:
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"


# ------------------------------------------------------------------ what comes back


def read(text: str, max_sentences: int) -> str:
    """Return the findings section that an answer is, as one paragraph, without a heading or quotation marks around it.

    Raises Malformed where it is none: nothing is said, there is an introduction, a list or a tag, it has more than
    `max_sentences` sentences, the word "feature" occurs, or it speaks of itself as an answer.
    """
    bare = _bare(text)
    paragraph = " ".join(bare.split())
    if why := _fault(bare, paragraph, max_sentences):
        raise Malformed(why)
    return paragraph


def _bare(text: str) -> str:
    bare = _LABEL.sub("", text.strip(), count=1) if _LABEL.match(text.strip()) else text.strip()
    for start, end in _QUOTES:
        if len(bare) > 1 and bare.startswith(start) and bare.endswith(end):
            return bare[1:-1].strip()
    return bare


def _fault(bare: str, paragraph: str, max_sentences: int) -> str | None:
    """Return what is wrong with an answer, in words for the model."""
    found = split(paragraph)
    rows = [row for row in bare.splitlines() if row.strip()]
    if not found:
        return "there are no findings in it"
    if len(rows) > 1 and rows[0].rstrip(" *_").endswith(":"):
        return "it starts with an introduction: give the findings and nothing else"
    if sum(bool(_ITEM.match(row)) for row in rows) > 1:
        return "it is a list: write one continuous paragraph"
    if _TAG.search(paragraph):
        return "it has a tag in angle brackets: write plain sentences"
    if _FEATURE.search(paragraph):
        return 'it uses the word "feature": describe what is seen in the radiograph instead'
    if _ANSWER.search(paragraph):  # small models repeat what they are told is wrong
        return "it speaks of an answer: write what is seen in the radiograph"
    if len(found) > max_sentences:
        return f"it has {len(found)} sentences: write {max_sentences} at most"
    return None
