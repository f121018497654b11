"""Step 1: a report becomes statements of one finding each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from bench.contracts import LLM, Annotator, NoAnswer, Sampling, Unannotated
from bench.errors import BenchError
from bench.llm.schema import encodable
from metrics.radfact.asking import ask
from metrics.radfact.prompting import Malformed, Task
from metrics.radfact.texts import covered, fold, letters

LEAST_COVERED = 0.9
"""Share of a report's letters and digits that the sentences of an answer must hold: less means that some were passed
over, and findings with them. Not 1: headings and numbering may go."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A statement, and the part of the report that makes it."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class NoPhrases:
    """Why a report could not be split."""

    kind: str
    why: str


Split = tuple[Phrase, ...] | NoPhrases


class PhraseSource(Protocol):
    """What splits reports."""

    def fingerprint(self) -> str:
        """Return what identifies it."""
        ...

    def split(self, texts: Sequence[str], repeat: int = 0) -> list[Split]:
        """Return the statements of each text, in their order; a text of white space has none."""
        ...


class _Sentence(BaseModel):
    orig: str
    new: list[str]


class _Parsed(BaseModel):
    sentence_list: list[_Sentence]


def read_phrases(data: Any, report: str) -> tuple[Phrase, ...]:
    """Return the statements of an answer about `report`. Raises Malformed.

    Each `orig` must stand in the report (letters and digits compared, so that case, spacing and punctuation may
    differ), no entry may come more often than its sentence, and together they must hold nine tenths of the report.
    """
    try:
        sentences = _Parsed.model_validate(data).sentence_list
    except ValidationError as err:
        raise Malformed(_first(err)) from None
    entries = Counter((letters(sentence.orig), *map(fold, sentence.new)) for sentence in sentences)
    whole = letters(report)
    said = {orig: whole.count(orig) for orig in {entry[0] for entry in entries}}
    for sentence in sentences:
        orig = letters(sentence.orig)
        if not said[orig] or (not orig and any(map(letters, sentence.new))):
            raise Malformed(f'"orig" must be copied from the report, word for word; this is not in it: {sentence.orig}')
        if entries[orig, *map(fold, sentence.new)] > said[orig]:
            raise Malformed(f"a sentence is listed more often than the report says it: {sentence.orig}")
    if covered((sentence.orig for sentence in sentences), report) < LEAST_COVERED:
        raise Malformed(
            "sentences of the report are missing: list every one, with an empty list where it states nothing"
        )
    return tuple(
        Phrase(text.strip(), sentence.orig.strip()) for sentence in sentences for text in sentence.new if letters(text)
    )


def _first(err: ValidationError) -> str:
    first = err.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the answer'}: {first['msg']}"


class LLMPhrases:
    """A chat model as the splitter: one question a different text."""

    def __init__(self, llm: LLM, task: Task, sampling: Sampling) -> None:
        self.llm, self._task, self._sampling = llm, task, sampling

    def fingerprint(self) -> str:
        """Return model and prompt. Raises Unavailable where the model cannot be reached."""
        return f"{self.llm.fingerprint()}/{self._task.digest()}"

    def split(self, texts: Sequence[str], repeat: int = 0) -> list[Split]:
        """Return each text's statements. Raises ServerLost."""
        asked = [text for text in dict.fromkeys(texts) if letters(text)]
        answers = ask(
            self.llm,
            self._task,
            self._sampling,
            asked,
            lambda i, data: read_phrases(data, asked[i]),
            "RadFact: statements",
            repeat,
        )
        found: dict[str, Split] = {
            text: NoPhrases(answer.kind, answer.why) if isinstance(answer, NoAnswer) else answer[0]
            for text, answer in zip(asked, answers, strict=True)
        }
        return [found.get(text, ()) for text in texts]


class AnnotatorPhrases:
    """A registered annotator, whose annotations have `phrases`, as the splitter."""

    def __init__(self, spec: str, annotator: Annotator) -> None:
        self._spec, self._annotator = spec, annotator

    def fingerprint(self) -> str:
        """Return the annotator's fingerprint."""
        return self._annotator.fingerprint()

    def split(self, texts: Sequence[str], repeat: int = 0) -> list[Split]:  # noqa: ARG002 (annotators do not waver)
        """Return each text's statements."""
        asked = [text for text in dict.fromkeys(texts) if letters(text)]
        annotations = self._annotator.annotate(asked) if asked else []
        found = {text: self._phrases(made) for text, made in zip(asked, annotations, strict=True)}
        return [found.get(text, ()) for text in texts]

    def _phrases(self, annotation: Any) -> Split:
        if isinstance(annotation, Unannotated):
            return NoPhrases("unannotated", annotation.why)
        if not isinstance(annotation, Mapping) or "phrases" not in annotation:
            raise BenchError(
                f"radfact: annotator {self._spec!r} lists no phrases: choose one that does (rules), or leave the "
                "option out and let the judge split the reports"
            )
        texts = map(encodable, annotation["phrases"])
        return tuple(Phrase(text, text) for text in texts if letters(text))
