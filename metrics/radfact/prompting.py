"""The prompts: ours (data files of this package), or those of a copy of microsoft/RadFact, unchanged.

A prompt is a system message and worked examples as turns of a chat. Ours asks both questions in JSON. The official
entailment prompt shows YAML, so it is asked as free text and read as YAML; the official phrase prompt shows JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from bench.contracts import Answer, Message, Question, Sampling
from bench.errors import BenchError
from bench.llm.schema import encodable
from metrics.radfact import schemas

Style = Literal["json", "yaml"]
_FENCED = re.compile(r"```(?:ya?ml|json)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
T = TypeVar("T")


class Malformed(ValueError):
    """What is wrong with an answer, in words for the model that gave it."""


@dataclass(frozen=True)
class Task:
    """One kind of question: what is said before the query, and how queries and answers are written."""

    system: str
    turns: tuple[tuple[str, str], ...]
    style: Style
    schema: Mapping[str, Any] | None
    """Schema that the backend enforces; None: free text."""

    @cached_property
    def _before(self) -> tuple[Message, ...]:
        """System message and examples, shared by all questions."""
        turns = ((Message("user", query), Message("assistant", answer)) for query, answer in self.turns)
        return (Message("system", self.system), *(message for turn in turns for message in turn))

    def question(self, query: str, sampling: Sampling, repeat: int = 0) -> Question:
        """Return the question that asks `query` after the system message and the examples."""
        return Question((*self._before, Message("user", query)), self.schema, sampling, repeat)

    def write(self, value: Mapping[str, Any]) -> str:
        """Return a query or an answer as this task writes them."""
        return write(value, self.style)

    def read(self, answer: Answer) -> Any:
        """Return what an answer holds, with "?" for lone surrogates. Raises Malformed."""
        fenced = _FENCED.search(answer.text)
        text = fenced.group(1) if fenced else answer.text
        try:
            if answer.data is not None:
                return encodable(answer.data)
            return encodable(json.loads(text) if self.style == "json" else yaml.safe_load(text))
        except (ValueError, RecursionError, yaml.YAMLError) as err:
            raise Malformed(f"the answer is not valid {self.style.upper()}: {' '.join(str(err).split())}") from None

    def digest(self) -> str:
        """Return 8 hex digits of all that is said."""
        said = json.dumps([self.system, self.turns, self.style, self.schema], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Prompts:
    """The prompts of both steps and where they come from."""

    source: Literal["own", "official"]
    phrases: Task
    entailment: Task


def write(value: Mapping[str, Any], style: Style) -> str:
    """Return a mapping as JSON on one line, or as block YAML with the keys in their order."""
    if style == "json":
        return json.dumps(value, ensure_ascii=False)
    return str(yaml.dump(dict(value), sort_keys=False))


# ------------------------------------------------------------------ ours


@cache
def own() -> Prompts:
    """Return the prompts that come with this package."""
    return Prompts("own", _own_phrases(), _own_entailment())


def data_file(name: str) -> Any:
    """Return what a YAML file of this package holds, e.g. "prompts/phrases.yaml"."""
    path = files("metrics.radfact") / name
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as err:
        raise BenchError(f"{path}: cannot be read ({err}): reinstall the package cxr-report-bench") from err


def _own_phrases() -> Task:
    data = data_file("prompts/phrases.yaml")
    turns = tuple((e["report"], write({"sentence_list": e["sentences"]}, "json")) for e in data["examples"])
    return Task(_system(data, schemas.PHRASES), turns, "json", schemas.PHRASES)


def _own_entailment() -> Task:
    data = data_file("prompts/entailment.yaml")
    turns = tuple(
        (
            write({"reference": e["reference"], "hypothesis": e["hypothesis"]}, "json"),
            write(_verdict(e["hypothesis"], e["evidence"], e["holds"]), "json"),
        )
        for e in data["examples"]
    )
    return Task(_system(data, schemas.VERDICT), turns, "json", schemas.VERDICT)


def _system(data: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return str(data["system"]).replace("{schema}", json.dumps(schema)).strip()


def _verdict(phrase: str, evidence: Sequence[str], holds: bool) -> dict[str, Any]:
    status = schemas.ENTAILED if holds else schemas.NOT_ENTAILED
    return {"phrase": phrase, "evidence": list(evidence), "status": status}


# ------------------------------------------------------------------ the official repository's files

_WITHIN = (".", "src/radfact/llm_utils", "radfact/llm_utils", "llm_utils")
_STEPS = ("report_to_phrases", "nli")
_EXAMPLES = "few_shot_examples.json"
_FORMAT = "\n\nAnswer with JSON only, by this schema:\n"


class _Sentence(BaseModel):
    orig: str
    new: list[str]


class _ParsedReport(BaseModel):
    id: int | str | None = None
    sentence_list: list[_Sentence]


class _PhraseExample(BaseModel):
    findings_text: str
    parsed_report: _ParsedReport


class _Evidenced(BaseModel):
    phrase: str
    evidence: list[str]
    status: Literal["entailment", "contradiction", "neutral", "not_entailment"]


class _Sides(BaseModel):
    phrases_A: list[str]
    phrases_B: list[str]


class _EvidencedSides(BaseModel):
    phrases_A_evidenced: list[_Evidenced]
    phrases_B_evidenced: list[_Evidenced]


class _EntailmentExample(BaseModel):
    input: _Sides
    output: _EvidencedSides


def official(folder: Path) -> Prompts:
    """Return the prompts of a copy of microsoft/RadFact; `folder` is its root or its ``llm_utils``.

    Read are, in ``report_to_phrases/prompts``, ``system_message.txt`` and ``few_shot_examples.json``, and in
    ``nli/prompts``, ``system_message_ev_singlephrase.txt`` and ``few_shot_examples.json``; each is looked for in the
    subfolder ``cxr`` first. Raises BenchError where one is missing or of another form.
    """
    root = _root(folder)
    return Prompts("official", _official_phrases(root), _official_entailment(root))


def _root(given: Path) -> Path:
    folder = given.expanduser()
    for within in _WITHIN:
        if all((folder / within / step / "prompts").is_dir() for step in _STEPS):
            return folder / within
    raise BenchError(
        f"radfact: prompts: {folder} has no folders {' and '.join(f'{step}/prompts' for step in _STEPS)}: give the "
        "root of a copy of github.com/microsoft/RadFact or its src/radfact/llm_utils; leave it out for our prompts"
    )


def _official_phrases(root: Path) -> Task:
    schema = schemas.PHRASES_WITH_ID
    examples = _examples(_find(root, "report_to_phrases", _EXAMPLES), _PhraseExample)
    turns = tuple((e.findings_text, json.dumps(e.parsed_report.model_dump())) for e in examples)
    system = _text(_find(root, "report_to_phrases", "system_message.txt"))
    return Task(f"{system}{_FORMAT}{json.dumps(schema)}", turns, "json", schema)


def _official_entailment(root: Path) -> Task:
    """Return the single-phrase form of the examples: A's phrases against B's, then B's against A's.

    The examples know contradiction and neutral; both are "not_entailment" here.
    """
    turns: list[tuple[str, str]] = []
    for example in _examples(_find(root, "nli", _EXAMPLES), _EntailmentExample):
        sides, judged = example.input, example.output
        turns += [_turn(sides.phrases_B, phrase) for phrase in judged.phrases_A_evidenced]
        turns += [_turn(sides.phrases_A, phrase) for phrase in judged.phrases_B_evidenced]
    return Task(_text(_find(root, "nli", "system_message_ev_singlephrase.txt")), tuple(turns), "yaml", None)


def _turn(reference: Sequence[str], judged: _Evidenced) -> tuple[str, str]:
    query = {"reference": list(reference), "hypothesis": judged.phrase}
    answer = _verdict(judged.phrase, judged.evidence, judged.status == schemas.ENTAILED)
    return write(query, "yaml"), write(answer, "yaml")


def _find(root: Path, step: str, name: str) -> Path:
    places = (root / step / "prompts" / "cxr" / name, root / step / "prompts" / name)
    for place in places:
        if place.is_file():
            return place
    raise BenchError(f"radfact: prompts: neither {places[0]} nor {places[1]} exists: the copy of RadFact is not whole")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise BenchError(f"{path}: cannot be read as UTF-8 text: {err}") from None


def _examples(path: Path, model: type[T]) -> list[T]:
    try:
        found = TypeAdapter(list[model]).validate_json(_text(path))  # type: ignore[valid-type]
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BenchError(f"{path}: not RadFact's worked examples: {place or 'file'}: {first['msg']}") from None
    if not found:
        raise BenchError(f"{path}: holds no worked example")
    return found
