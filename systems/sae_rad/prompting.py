"""Prompts as text files: templates with placeholders and blocks, and text put into them that cannot forge their form.

The syntax is told in docs/sae-rad-prompts.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeVar

from bench.contracts import LLM, Answer, Check, Message, NoAnswer, Question
from bench.errors import BenchError

T = TypeVar("T")
Task = Literal["describe", "compose"]
Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")

FORM = 1
"""Counts up when a template with the same values gives another prompt."""


@dataclass(frozen=True)
class _Known:
    """What a task's templates may use."""

    placeholders: frozenset[str]
    needed: frozenset[str]
    blocks: frozenset[str]


_TASKS: Mapping[Task, _Known] = {
    "describe": _Known(frozenset({"reports"}), frozenset({"reports"}), frozenset()),
    "compose": _Known(
        frozenset({"features", "indication", "priors", "sentences"}),
        frozenset({"features"}),
        frozenset({"features", "indication", "priors"}),
    ),
}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_DIRECTIVE = re.compile(r"\s*\[\[(.*)\]\]\s*")
_IF = re.compile(r"if (?P<not>not )?(?P<name>\w+)")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A line of a template, and what it depends on."""

    turn: int
    role: Role
    text: str
    block: str = ""
    """Value on which the line depends; "" for one that always stands."""
    there: bool = True
    """Whether that value must be there, or must not."""

    def stands(self, values: Mapping[str, str]) -> bool:
        return not self.block or bool(values.get(self.block)) is self.there


@dataclass(frozen=True)
class Template:
    """A prompt with gaps."""

    source: str
    """The file it came from, for messages."""
    text: str
    pieces: tuple[_Piece, ...]

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of the gaps."""
        return frozenset(name for piece in self.pieces for name in _PLACEHOLDER.findall(piece.text))

    def fill(self, values: Mapping[str, str]) -> tuple[Message, ...]:
        """Return the turns of a prompt; one that nothing is left of is left out.

        A value that is missing or "" counts as not there: its blocks are left out, its gap stays empty. Values are put
        in as they are, so they must have passed `line` or `lines` before. Raises BenchError where no chat is left.
        """
        turns: dict[int, str] = {}
        for piece in self.pieces:
            if piece.stands(values):
                text = _PLACEHOLDER.sub(lambda gap: values.get(gap[1], ""), piece.text)
                turns[piece.turn] = turns.get(piece.turn, "") + text
        roles = {piece.turn: piece.role for piece in self.pieces}
        said = tuple(Message(roles[turn], text.strip()) for turn, text in turns.items() if text.strip())
        _check_turns([message.role for message in said], self.source)
        return said

    def digest(self) -> str:
        """Return 8 hex digits of the template and of how it is filled in."""
        return hashlib.sha256(f"{FORM}\n{self.text}".encode()).hexdigest()[:8]


# ------------------------------------------------------------------ reading templates


def load(task: Task, path: Path | str | None = None) -> Template:
    """Return the template of a file; without one, the template of this package.

    Raises BenchError naming the file, and the line or placeholder, where it cannot be read or lacks what it needs.
    """
    if path is None:
        name = f"{task}.txt"
        return parse(task, (files("systems.sae_rad") / "prompts" / name).read_text(encoding="utf-8"), name)
    where = f"template of {task} {str(path)!r}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BenchError(f"{where}: there is no such file") from None
    except UnicodeDecodeError as err:
        raise BenchError(f"{where}: not UTF-8 (byte {err.start}): save it as UTF-8") from None
    except (OSError, ValueError) as err:
        raise BenchError(f"{where}: cannot be read: {err}") from None
    return parse(task, text, where)


def parse(task: Task, text: str, source: str) -> Template:
    """Return the template that a text holds; `source` names it in messages."""
    known = _TASKS[task]
    template = Template(source, text, tuple(_pieces(text, source, known)))
    found = template.placeholders
    if unknown := sorted(found - known.placeholders):
        raise BenchError(f"{source}: unknown placeholder {_braced(unknown)}; known: {_braced(known.placeholders)}")
    if missing := sorted(known.needed - found):
        raise BenchError(f"{source}: has no placeholder {_braced(missing)}; put it where its text is to stand")
    template.fill(dict.fromkeys(known.placeholders, "…"))
    return template


def _check_turns(roles: Sequence[Role], source: str) -> None:
    """Raise BenchError unless user and assistant alternate, from user to user, with a system message at most before."""
    chat = roles[1:] if roles[:1] == ["system"] else roles
    if len(chat) % 2 == 0 or any(role != ROLES[1 + k % 2] for k, role in enumerate(chat)):
        raise BenchError(
            f"{source}: the turns are {', '.join(roles) or 'empty'}; a chat is a system message or none, then user and "
            "assistant in turn, and ends with the user"
        )


def _braced(names: frozenset[str] | Sequence[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def _pieces(text: str, source: str, known: _Known) -> Iterator[_Piece]:
    turn, role = 0, ROLES[1]
    block, there, opened = "", True, 0
    for number, row in enumerate(text.rstrip().split("\n"), 1):
        told = _told(row)
        condition = _IF.fullmatch(told or "")
        if told is None:
            yield _Piece(turn, role, f"{row}\n", block, there)
        elif told in ROLES and not block:
            turn, role = number, next(one for one in ROLES if one == told)
        elif told == "end" and block:
            block, there = "", True
        elif condition and not block and condition["name"] in known.blocks:
            block, there, opened = condition["name"], not condition["not"], number
        else:
            raise BenchError(f"{source}, line {number}: [[{told}]] {_why_not(told, block, known)}")
    if block:
        raise BenchError(f"{source}, line {opened}: a block without [[end]]")


def _told(line: str) -> str | None:
    """Return what a line between double brackets says, words apart by one blank; None for a line of text."""
    match = _DIRECTIVE.fullmatch(line)
    return " ".join(match[1].split()) if match else None


def _why_not(told: str, block: str, known: _Known) -> str:
    """Return why a line in double brackets cannot stand where it does."""
    if told == "end":
        return "ends no block"
    if block:
        return f"stands in the block of {block!r}: end that first, by a line [[end]]"
    blocks = [f"if {'not ' * no}{name}" for name in sorted(known.blocks) for no in (False, True)]
    return f"is not known; known: {', '.join(f'[[{one}]]' for one in (*ROLES, *blocks, *['end'][: len(blocks)]))}"


# ------------------------------------------------------------------ text put into a prompt

_TAG = re.compile(r"<(?!\s*[=.\d])")
"""A "<" that no number follows: it could open a tag of a template, or a mark of a model's chat format."""
_MARK = re.compile(r"\[(?=/?(?:[A-Z_]{3,}|gMASK)\])")
"""A "[" that opens a mark like [INST] or [/INST], by which the chat formats of Mistral and Llama 2 part turns."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def line(text: str) -> str:
    """Return a text as one line that can forge neither tags nor what starts a line."""
    return " ".join(_harmless(text).split())


def lines(text: str) -> str:
    """Return a text with its lines, which can forge no tags; blanks are squeezed, empty lines left out."""
    squeezed = (" ".join(one.split()) for one in _harmless(text).splitlines())
    return "\n".join(one for one in squeezed if one)


def _harmless(text: str) -> str:
    return _MARK.sub("⟦", _TAG.sub("‹", _CONTROL.sub(" ", text)))


# ------------------------------------------------------------------ asking


class Malformed(ValueError):
    """What is wrong with an answer, in words for the model that gave it."""


def check_of(read: Callable[[Question, str], T]) -> Check:
    """Return the check that an answer passes where `read` can read it."""

    def check(question: Question, answer: Answer) -> str | None:
        try:
            read(question, answer.text)
        except Malformed as fault:
            return str(fault)
        return None

    return check


def missing(llm: LLM, questions: Sequence[Question], read: Callable[[Question, str], T]) -> int:
    """Return how many questions `ask` would ask: a kept answer that `read` cannot read (any more) counts as none."""
    return llm.missing(questions, check_of(read)) if questions else 0


def ask(llm: LLM, questions: Sequence[Question], read: Callable[[Question, str], T], title: str) -> list[T | NoAnswer]:
    """Return what `read` makes of the answer to each question, or why there is none.

    read(question, text) raises Malformed; the model is then asked again with these words. Raises ServerLost where the
    server went away.
    """
    answers = llm.ask(questions, check_of(read), title) if questions else []
    return [_result(question, answer, read) for question, answer in zip(questions, answers, strict=True)]


def _result(question: Question, answer: Answer | NoAnswer, read: Callable[[Question, str], T]) -> T | NoAnswer:
    if isinstance(answer, NoAnswer):
        return answer
    try:
        return read(question, answer.text)
    except Malformed as fault:  # from a model that does not check
        return NoAnswer("malformed", str(fault))
