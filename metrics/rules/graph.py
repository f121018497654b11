"""RadGraph-like entities and relations of what was read.

The shape and the label names are those of the package radgraph with radgraph-xl (Delbrouck et al. 2024,
https://aclanthology.org/2024.findings-acl.765); the scheme is RadGraph's (Jain et al. 2021,
https://arxiv.org/abs/2106.14463): anatomies and observations, mostly of one word; "modify" from a qualifier to its
head, "located_at" from an observation to an anatomy, "suggestive_of" from one observation to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from metrics.rules.reading import Sentence
from metrics.rules.scope import ABSENT, PRESENT, SUPPOSED, UNCERTAIN
from metrics.rules.tables import Match
from metrics.rules.words import bag

_LABELS = {
    PRESENT: "Observation::definitely present",
    ABSENT: "Observation::definitely absent",
    UNCERTAIN: "Observation::uncertain",
}
_ANATOMY = "Anatomy::definitely present"
_ANATOMIC_WORDS = bag(
    "pleural pulmonary lung cardiac rib vascular osseous bony skeletal interstitial alveolar airspace parenchymal "
    "mediastinal hilar aortic vertebral spinal costophrenic hemidiaphragm diaphragm diaphragmatic lobe heart lobar "
    "bronchial bronchovascular venous cardiopulmonary intrathoracic thoracic cardiomediastinal coronary arterial "
    "clavicle clavicular sternal sternum subpulmonic fissure intraperitoneal subdiaphragmatic subcutaneous tissue "
    "pericardial septal peribronchial disc disk endplate joint vertebra body node lymph marking mediastinum hilum "
    "aorta vasculature air-space volume"
)
_SILENT = bag("of the a an in on and or to with at from")
_PARTS = frozenset({",", ";", "and", "or", "with", "."})
_SUGGEST = bag(
    "represent reflect suggest represents reflects suggesting representing reflecting suspicious concerning worrisome "
    "consistent compatible keeping indicate likely suggestive"
)


@dataclass
class _Entity:
    start: int
    end: int
    """Token indices in the sentence, the last one included."""
    word: int
    """Index of its first word."""
    anatomy: bool
    head: bool
    status: str
    match: Match
    relations: list[tuple[str, _Entity]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Node:
    """An entity within its sentence; relations count nodes from 0."""

    tokens: str
    label: str
    start: int
    end: int
    relations: tuple[tuple[str, int], ...]


@lru_cache(maxsize=1 << 16)
def nodes(sentence: Sentence) -> tuple[Node, ...]:
    """Return the entities of a sentence."""
    found = list(_entities(sentence))
    _relate(found, sentence)
    place = {id(entity): index for index, entity in enumerate(found)}
    return tuple(
        Node(
            " ".join(sentence.words.tokens[e.start : e.end + 1]),
            _ANATOMY if e.anatomy else _LABELS[e.status],
            e.start,
            e.end,
            tuple((name, place[id(other)]) for name, other in e.relations),
        )
        for e in found
    )


def _entities(sentence: Sentence) -> Iterator[_Entity]:
    for m in sentence.matches:
        roles = m.roles
        if sentence.status[m.end - 1] == SUPPOSED:
            continue
        if "finding" in roles:
            yield from _split(sentence, m)
        elif roles.get("anatomy") == "study":
            continue
        elif "anatomy" in roles:
            yield from _words_of(sentence, m, True)
        elif "state" in roles:
            qualifier = {"grade", "change", "kind"} & roles.keys() and m.start not in sentence.predicates
            yield _whole(sentence, m, not qualifier)
        elif {"side", "grade", "change", "kind"} & roles.keys():
            yield _whole(sentence, m, False)


def _whole(sentence: Sentence, m: Match, head: bool) -> _Entity:
    at = sentence.words.at
    return _Entity(at[m.start], at[m.end - 1], m.start, "side" in m.roles, head, sentence.status[m.end - 1], m)


def _words_of(sentence: Sentence, m: Match, anatomy: bool) -> Iterator[_Entity]:
    """Yield each word of an anatomy phrase; the last is its head."""
    kept = [i for i in range(m.start, m.end) if sentence.words.lemmas[i] not in _SILENT]
    for i in kept:
        at = sentence.words.at[i]
        yield _Entity(at, at, i, anatomy, i == kept[-1], sentence.status[i], m)


def _split(sentence: Sentence, m: Match) -> Iterator[_Entity]:
    """Yield the words of a finding's phrase: anatomies, modifiers and, last of the observations, the head."""
    lemmas = sentence.words.lemmas
    kept = [i for i in range(m.start, m.end) if lemmas[i] not in _SILENT]
    anatomic = [i for i in kept if lemmas[i] in _ANATOMIC_WORDS]
    others = [i for i in kept if i not in anatomic] or [anatomic.pop()]
    for i in kept:
        at = sentence.words.at[i]
        is_anatomy = i in anatomic
        yield _Entity(at, at, i, is_anatomy, is_anatomy or i == others[-1], sentence.status[m.end - 1], m)


# ------------------------------------------------------------------ relations


def _relate(found: Sequence[_Entity], sentence: Sentence) -> None:
    for index, entity in enumerate(found):
        if entity.anatomy:
            _relate_anatomy(entity, index, found)
        elif entity.head:
            _locate(entity, index, found, sentence)
            _suggest(entity, index, found, sentence)
        else:
            _modify(entity, index, found)


def _relate_anatomy(entity: _Entity, index: int, found: Sequence[_Entity]) -> None:
    """An adjective of place ("left", "lower") modifies the anatomy that follows it directly."""
    after = found[index + 1] if index + 1 < len(found) else None
    if after is not None and after.anatomy and after.word - entity.word <= 2 and (not entity.head or _side(entity)):
        entity.relations.append(("modify", after))
    elif _side(entity):
        target = _near(index, found, lambda other: other.head and other is not entity)
        if target is not None:
            entity.relations.append(("modify", target))


def _side(entity: _Entity) -> bool:
    return "side" in entity.match.roles and "anatomy" not in entity.match.roles


def _near(index: int, found: Sequence[_Entity], fits: Callable[[_Entity], bool]) -> _Entity | None:
    """Return the next entity that fits, else the one before."""
    for other in [*found[index + 1 : index + 4], *reversed(found[max(0, index - 3) : index])]:
        if fits(other):
            return other
    return None


def _modify(entity: _Entity, index: int, found: Sequence[_Entity]) -> None:
    target = _near(index, found, lambda other: not other.anatomy and other.head)
    target = target or _near(index, found, lambda other: other.anatomy and other.head)
    if target is not None:
        entity.relations.append(("modify", target))


def _locate(entity: _Entity, index: int, found: Sequence[_Entity], sentence: Sentence) -> None:
    """An observation is located at the anatomies around it, as far as the next observations."""
    for other in _own_anatomy(entity, index, found, sentence):
        entity.relations.append(("located_at", other))


def _own_anatomy(entity: _Entity, index: int, found: Sequence[_Entity], sentence: Sentence) -> list[_Entity]:
    before: list[_Entity] = []
    for other in reversed(found[:index]):
        if not other.anatomy and other.head and other.match is not entity.match:
            break
        if other.anatomy and other.head and not _side(other):
            if "finding" in entity.match.roles and not _reaches(other, entity, sentence):
                break
            before.append(other)
            if "finding" in entity.match.roles and other.match is not entity.match:
                break
    after: list[_Entity] = []
    for other in found[index + 1 :]:
        if not other.anatomy and other.head and other.match is not entity.match:
            break
        if other.anatomy and other.head and not _side(other):
            after.append(other)
    if after and not _reaches(entity, after[0], sentence):
        after = []
    return [*before[::-1], *after[:1]]


def _reaches(first: _Entity, second: _Entity, sentence: Sentence) -> bool:
    """Tell whether nothing between an observation and an anatomy begins a phrase of its own."""
    between = sentence.words.lemmas[first.word + 1 : second.word]
    return not any(word in _PARTS or word in _SUGGEST for word in between)


def _suggest(entity: _Entity, index: int, found: Sequence[_Entity], sentence: Sentence) -> None:
    """A head before "may represent" suggests the first head after it."""
    lemmas = sentence.words.lemmas
    for other in found[index + 1 :]:
        if not other.anatomy and other.head and other.match is not entity.match:
            if set(lemmas[entity.word : other.word]) & _SUGGEST:
                entity.relations.append(("suggestive_of", other))
            return


# ------------------------------------------------------------------ the text's graph


def graph(read: Sequence[Sentence]) -> dict[str, Any]:
    """Return {"text", "entities"} of a text's sentences, with token indices of the whole text."""
    tokens: list[str] = []
    entities: dict[str, Any] = {}
    for sentence in read:
        offset, first = len(tokens), len(entities) + 1
        tokens += sentence.words.tokens
        for node in nodes(sentence):
            entities[str(len(entities) + 1)] = {
                "tokens": node.tokens,
                "label": node.label,
                "start_ix": node.start + offset,
                "end_ix": node.end + offset,
                "relations": [[name, str(first + other)] for name, other in node.relations],
            }
    return {"text": " ".join(tokens), "entities": entities}
