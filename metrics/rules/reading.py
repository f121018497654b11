"""From a sentence to statements: what finding, said how, where, and whether it is there.

Two roads lead to a finding: a phrase that names it ("pleural effusion"), and an anatomy with a state ("the heart is
enlarged", "enlargement of the heart"). Normal anatomy is a statement too: it denies the finding that the lexicon ties
to it, and with it everything less general.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from metrics.observations import LABELS
from metrics.rules.idioms import match
from metrics.rules.lexicon import SUPPORT, TRIVIAL
from metrics.rules.scope import ABSENT, PRESENT, SUPPOSED, UNCERTAIN, Scopes
from metrics.rules.tables import Match, load
from metrics.rules.words import Words, bag, sentences, words

_PLACELESS = frozenset({"lung", "pleura", "chest", "study", "markings", "vasculature", "heart", "cardiomediastinum"})
"""Anatomy that adds no place to a finding."""
_OWN_PLACE = {
    "tortuous_aorta": "aorta", "aortic_calcification": "aorta", "elevated_hemidiaphragm": "diaphragm",
    "hyperinflation": "diaphragm", "blunted_angle": "costophrenic", "mediastinal_widening": "mediastinum",
    "mediastinal_shift": "mediastinum", "adenopathy": "lymph_node", "calcified_node": "lymph_node",
    "degenerative": "spine", "scoliosis": "spine", "kyphosis": "spine", "bone_abnormality": "bone",
    "effusion": "costophrenic", "endotracheal_tube": "trachea", "low_volumes": "lung_volume", "osteopenia": "bone",
    "pulmonary_artery": "pulmonary_artery", "enteric_tube": "abdomen", "free_air": "diaphragm",
}  # fmt: skip
"""The place that a finding implies."""
_ADJECTIVES = bag("of in the both a upper lower visualized superior thoracic posterior anterior central")
"""Words that may stand between a state and its anatomy."""
_ELSEWHERE = {
    ("atelectasis", "spine"): "fracture", ("collapse", "spine"): "fracture", ("nodule", "abdomen"): "elsewhere",
    ("mass", "abdomen"): "elsewhere", ("malignancy", "abdomen"): "elsewhere", ("metastasis", "abdomen"): "elsewhere",
}  # fmt: skip
"""A finding and a place that make another finding of it: a vertebra's collapse is a fracture."""
_PARTS = frozenset({"tip", "end", "portion", "part", "segment"})
_LUNG_PLACES = frozenset({"upper_lung", "mid_lung", "lower_lung", "lingula"})
_WITHIN = bag("in at of within the over from to on with a both")
_WIDER = {"svc_lower": "svc", "svc_mid": "svc", "svc_upper": "svc"}
"""Place → the place that it is a part of."""
_NEGATABLE = frozenset({"normal", "clear", "unremarkable", "sharp"})
_BROKEN = {"fractured": "fractured", "broken": "fractured", "disrupted": "fractured", "intact": "intact"}
"""What is said of a device's wires."""
_COPULAS = frozenset({"is", "are", "was", "were", "be", "appear", "appears", "remain", "remains"})
_BETWEEN = bag("on the and , in side")
SUGGEST = bag(
    "represent reflect suggest suggesting representing reflecting suspicious concerning worrisome likely probably "
    "possibly be due secondary indicate favor favored"
)
"""Words between a finding and what it may be."""
_BREAKS = bag("and or with ; : . ( above below than but compared for")
_MEASURES = bag("amount area focus focu degree region evidence component appearance presence foci")
_DENIED_BY = {
    "lung_abnormality": ("Lung Opacity", "Consolidation"),
    "cardiomediastinal_enlargement": ("Enlarged Cardiomediastinum", "Cardiomegaly"),
    "pleural_abnormality": ("Pleural Effusion", "Pneumothorax"),
    "bone_abnormality": ("Fracture",),
}
"""Labels that the denial of a general finding denies."""
_RANK = {PRESENT: 2, UNCERTAIN: 1, ABSENT: 0}
_VALUE = {PRESENT: 1, UNCERTAIN: -1, ABSENT: 0}


@dataclass(frozen=True, slots=True)
class Statement:
    """One finding as a sentence states it."""

    finding: str
    """Id in the lexicon."""
    status: str
    """"present", "absent" or "uncertain"."""
    labels: tuple[str, ...]
    side: str = ""
    """"left", "right", "bilateral" or ""."""
    grade: str = ""
    """"1" slight, "2" moderate, "3" great, or ""."""
    change: str = ""
    """"same", "worse", "better", "new" or ""."""
    kinds: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    unlikely: bool = False
    """Whether an uncertain finding is held unlikely."""
    speculated: bool = False
    """Whether it only says what another finding may be: "opacity, likely atelectasis"."""
    phrase: str = field(default="", compare=False)
    """The statement as a short sentence of its own; reads back as an equal statement."""


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """What a sentence says, and what its graph is made of."""

    words: Words
    matches: tuple[Match, ...]
    status: tuple[str, ...]
    """A status for each word."""
    statements: tuple[Statement, ...]
    predicates: frozenset[int]
    """Words at which a state begins that says something of an anatomy."""


class _Reader:
    """Reads one sentence."""

    def __init__(self, sentence: str) -> None:
        self.words = words(sentence)
        self.lemmas = self.words.lemmas
        self.matches = match(self.lemmas)
        scopes = Scopes(self.lemmas, self.matches)
        self.status, self.unlikely = scopes.status, scopes.unlikely
        self.lexicon = load()
        self.predicates: set[int] = set()
        self.at: list[Match | None] = [None] * len(self.lemmas)
        for m in self.matches:
            self.at[m.start : m.end] = [m] * (m.end - m.start)

    def read(self) -> Sentence:
        found = sorted([*self._named(), *self._composed()], key=lambda pair: pair[0])
        unique = dict.fromkeys(statement for _, statement in found)
        return Sentence(self.words, tuple(self.matches), tuple(self.status), tuple(unique), frozenset(self.predicates))

    # -------------------------------------------------------------- named findings

    def _named(self) -> Iterator[tuple[int, Statement]]:
        for index, m in enumerate(self.matches):
            if "finding" in m.roles and (status := self.status[m.end - 1]) != SUPPOSED:
                finding = m.roles["finding"]
                if finding == "acute" and status == ABSENT and (subjects := self._spoken_of(index, m)):
                    yield from ((a.start, made) for a in subjects if (made := self._compose(a, "normal", a)))
                    continue
                if self._said_normal(m):
                    status = ABSENT
                for around in self._parts(m):
                    own = next(filter(None, (_ELSEWHERE.get((finding, _place(q))) for q in around)), finding)
                    labels = self.lexicon.concepts[own].labels
                    labels += (m.roles["also"],) if "also" in m.roles else ()
                    if status == ABSENT and SUPPORT in labels and self._only_part(m):
                        status = PRESENT
                    made = self._statement(own, status, labels, m, [*around, *self._wires(m, labels)])
                    yield m.start, replace(made, speculated=status == UNCERTAIN and self._speculated(index))

    def _spoken_of(self, index: int, m: Match) -> list[Match]:
        """Return the anatomies before a denial of all that is acute, but not "Chest:" as a heading."""
        return [
            a
            for a in self._before(index, m)
            if not (a.roles["anatomy"] in ("chest", "study") and self.lemmas[a.end] == ":")
        ]

    def _parts(self, m: Match) -> list[list[Match]]:
        """Return what belongs to a finding, for each half of it that has a grade or place of its own."""
        around = self._around(m)
        if halves := self._sides(m):
            return [[*around, *own] for own in halves]
        return _by_side(around)

    def _only_part(self, m: Match) -> bool:
        """Tell whether only a part of a device is denied: "the tip of the tube is not seen"."""
        before = [word for word in self.lemmas[max(m.start - 4, 0) : m.start] if word != "the"]
        return bool(before[-1:] == ["of"] and _PARTS & set(before[-2:-1])) or bool(
            _PARTS & set(self.lemmas[m.end : m.end + 1])
        )

    def _wires(self, m: Match, labels: tuple[str, ...]) -> list[Match]:
        """Return whether a device is said to be intact or broken, as a kind."""
        if SUPPORT not in labels:
            return []
        at = m.end
        while at < len(self.lemmas) and self.lemmas[at] in _COPULAS:
            at += 1
        for place in (at, m.start - 1):
            if 0 <= place < len(self.lemmas) and self.lemmas[place] in _BROKEN:
                return [Match(place, place + 1, {"kind": _BROKEN[self.lemmas[place]]})]
        return []

    def _said_normal(self, m: Match) -> bool:
        """Tell whether a finding is the subject of "normal": "vascular engorgement is within normal limits"."""
        at = m.end
        while at < len(self.lemmas) and self.lemmas[at] in _COPULAS:
            at += 1
        state = self.at[at] if m.end < at < len(self.lemmas) else None
        if state is None or state.roles.get("state") != "normal" or self.status[at] != PRESENT:
            return False
        return SUPPORT not in self.lexicon.concepts[m.roles["finding"]].labels

    def _speculated(self, index: int) -> bool:
        """Tell whether a finding before is said to suggest this one."""
        for other in reversed(self.matches[:index]):
            if "finding" in other.roles and self.status[other.end - 1] == PRESENT:
                return bool(SUGGEST & set(self.lemmas[other.end : self.matches[index].start]))
        return False

    def _sides(self, m: Match) -> list[list[Match]]:
        """Return grade and side of each half of "effusions, large on the left and small on the right"."""
        after = [q for q in self.matches if q.start >= m.end][:5]
        while after and not {"grade", "side"} & after[0].roles.keys():
            if _qualifies(after[0]) or after[0].roles.keys() & {"finding", "trigger"}:
                return []
            after = after[1:]
        four = after[:4]
        kinds = ["grade" if "grade" in q.roles else "side" if "side" in q.roles else "" for q in four]
        if kinds != ["grade", "side", "grade", "side"] or four[1].roles["side"] == four[3].roles["side"]:
            return []
        between = {w for q, r in pairwise(four) for w in self.lemmas[q.end : r.start]}
        return [four[:2], four[2:]] if between <= _BETWEEN else []

    def _around(self, m: Match) -> list[Match]:
        """Return the qualifiers and anatomies that belong to a named finding."""
        return [*self._left(m), *self._right(m)]

    def _left(self, m: Match) -> list[Match]:
        found: list[Match] = []
        at = m.start - 1
        while at >= 0:
            other = self.at[at]
            if other is not None:
                if not _qualifies(other):
                    break
                found.append(other)
                at = other.start - 1
                continue
            word = self.lemmas[at]
            if word in ("of", "in") and not self._measured(at):
                break
            if word in ("and", "or") and self._shared(at, found):
                at -= 1
                continue
            if (
                word in ("and", "or", ",", "with", ";", ":", "(", ")", ".", "to", "for", "from")
                or word in self.lexicon.verbs
            ):
                break
            at -= 1
        return found[::-1]

    def _shared(self, join: int, found: Sequence[Match]) -> bool:
        """Tell whether a place before a join belongs to the same finding: "right upper and left lower lobe"."""
        place = self.at[join - 1] if join else None
        if place is None or place.roles.get("anatomy") not in _LUNG_PLACES:
            return False
        if not (found and found[-1].start == join + 1 and {"anatomy", "side"} & found[-1].roles.keys()):
            return False
        if "text" in place.roles:
            return True
        at = place.start - 1
        while at >= 0 and (other := self.at[at]) is not None and _qualifies(other) and "finding" not in other.roles:
            at = other.start - 1
        return self.lemmas[join] == "and" and (at < 0 or self.lemmas[at] not in _WITHIN)

    def _measured(self, preposition: int) -> bool:
        """Tell whether "of" or "in" follows a change or an amount: "increase in", "small amount of"."""
        before = self.at[preposition - 1] if preposition else None
        if before is not None:
            return bool({"change", "grade"} & before.roles.keys()) and "anatomy" not in before.roles
        return preposition > 0 and self.lemmas[preposition - 1] in _MEASURES

    def _right(self, m: Match) -> list[Match]:
        found: list[Match] = []
        at, n = m.end, len(self.lemmas)
        while at < n:
            other = self.at[at]
            if other is not None:
                if not _qualifies(other) or (
                    "state" in other.roles
                    and "anatomy" not in other.roles
                    and not {"change", "grade"} & other.roles.keys()
                ):
                    if other.roles.get("trigger") in ("neg<", "unc<"):
                        at = other.end
                        continue
                    break
                found.append(other)
                at = other.end
                continue
            word = self.lemmas[at]
            if word == ",":
                after = self.at[at + 1] if at + 1 < n else None
                if after is None or not {"change", "side"} & after.roles.keys():
                    break
            elif word == ":":
                after = self.at[at + 1] if at + 1 < n else None
                if at != m.end or after is None or not {"change", "side", "grade"} & after.roles.keys():
                    break
            elif word in _BREAKS and not (word == "and" and at + 1 < n and self._continues(at + 1)):
                break
            at += 1
        return self._without_next_phrase(found, at)

    def _continues(self, at: int) -> bool:
        """Tell whether "and" joins a further place of the same finding: "in the left and right bases"."""
        end = at
        while end < len(self.lemmas) and (other := self.at[end]) is not None and _qualifies(other):
            end = other.end
        return end > at and (end == len(self.lemmas) or self.lemmas[end] in (",", ".", ";"))

    def _without_next_phrase(self, found: list[Match], end: int) -> list[Match]:
        """Leave out qualifiers that stand directly before the next finding: they are its own."""
        following = self.at[end] if end < len(self.lemmas) else None
        if following is None or not ({"finding", "state"} & following.roles.keys()):
            return found
        while found and self._adjacent(found[-1].end, end):
            end = found.pop().start
        return found

    def _adjacent(self, start: int, end: int) -> bool:
        return all(self.lemmas[at] in ("a", "an", "the", "mildly") for at in range(start, end))

    # -------------------------------------------------------------- anatomy with a state

    def _composed(self) -> Iterator[tuple[int, Statement]]:
        for index, m in enumerate(self.matches):
            state = m.roles.get("state")
            if state is None or "finding" in m.roles:
                continue
            for anatomy in self._subjects(index, m):
                if made := self._compose(anatomy, state, m):
                    self.predicates.add(m.start)
                    yield anatomy.start, made

    def _subjects(self, index: int, m: Match) -> list[Match]:
        """Return the anatomies that a state is said of: directly after it, after its "of", else before it."""
        return self._after(index, m) or self._before(index, m)

    def _states_on(self, at: int, index: int) -> bool:
        """Tell whether a further state of the same anatomy stands at a word: "tortuous and calcified aorta"."""
        other = self.at[at] if at < len(self.lemmas) else None
        if other is None or other.roles.get("state", "normal") == "normal":
            return False
        return not self._before(index, self.matches[index])

    def _after(self, index: int, m: Match) -> list[Match]:
        found: list[Match] = []
        closed = 0  # anatomies before the last "and": what follows may turn out to describe a finding
        at, n = m.end, len(self.lemmas)
        while at < n:
            other = self.at[at]
            if other is None:
                word = self.lemmas[at]
                if word in (",", "and") and found:
                    closed = len(found)
                elif word not in _ADJECTIVES and not (word in (",", "and") and self._states_on(at + 1, index)):
                    break
                at += 1
                continue
            if "finding" in other.roles:
                return found[:closed]
            if "anatomy" in other.roles:
                _add(found, other)
            elif found and (not _qualifies(other) or "state" in other.roles):
                return found
            elif not _qualifies(other) and other.roles.get("state", "normal") == "normal":
                return []
            at = other.end
        if at < n and self.lemmas[at] in self.lexicon.verbs and len(found) > 1:
            return found[:closed]  # "normal heart size and the lungs are …": the second begins the next clause
        return found

    def _before(self, index: int, m: Match) -> list[Match]:
        found: list[Match] = []
        for other in reversed(self.matches[:index]):
            if "finding" in other.roles or self._breaks(other.end, m.start, found):
                break
            if "state" in other.roles and not {"grade", "side", "change", "anatomy"} & other.roles.keys():
                break
            if other.roles.get("trigger", "pseudo") not in ("pseudo", "neg>", "unc>") and (
                self.lemmas[other.start] not in _REST
            ):
                break
            if "anatomy" in other.roles and not (found and other.end == found[-1].start):
                found.append(other)
        main = [a for a in found if a.roles["anatomy"] not in ("study", "chest")]
        return (main or found)[::-1]

    def _breaks(self, start: int, end: int, found: Sequence[Match]) -> bool:
        """Tell whether a clause ends between an anatomy and a state; the colon of "heart: enlarged" ends none."""
        between = range(start, found[-1].start if found else end)
        own = start if not found and self.lemmas[start] == ":" else -1
        return any(self.lemmas[at] in (";", ":", ".", "but", "with", "while") and at != own for at in between)

    def _compose(self, anatomy: Match, state: str, m: Match) -> Statement | None:
        where, status = anatomy.roles["anatomy"], self.status[m.end - 1]
        if status == SUPPOSED:
            return None
        around = [*self._left(anatomy), anatomy, *self._qualifiers_between(anatomy, m)]
        if state == "normal":
            region = self.lexicon.regions.get(where, "")
            if region and status == ABSENT and (head := self._not_normal(m)):
                return self._statement(region, PRESENT, self.lexicon.concepts[region].labels, head, around, anatomy)
            if not region or status != PRESENT:
                return None
            return self._normal(region, anatomy, around)
        finding = self.lexicon.abnormal.get((where, state))
        if finding is None:
            return None
        around = [q for q in around if (where, q.roles.get("state", "")) not in self.lexicon.abnormal]
        return self._statement(finding, status, self.lexicon.concepts[finding].labels, m, around, anatomy)

    def _not_normal(self, m: Match) -> Match | None:
        """Return "not clear" of "the lungs are not entirely clear"."""
        start = m.start - 1
        while start > 0 and self.lemmas[start] in ("entirely", "completely", "fully", "quite"):
            start -= 1
        negated = start >= 0 and self.lemmas[start] == "not" and self.lemmas[m.start] in _NEGATABLE
        return Match(start, m.end, m.roles) if negated else None

    def _qualifiers_between(self, anatomy: Match, m: Match) -> list[Match]:
        start, end = min(anatomy.start, m.start), max(anatomy.end, m.end)
        inner = [q for q in self.matches if start <= q.start and q.end <= end and q not in (anatomy, m)]
        found = [q for q in dict.fromkeys([*inner, *self._left(m)]) if _qualifies(q) and "anatomy" not in q.roles]
        return [q for q in found if not {"state", "kind"} <= q.roles.keys()]

    # -------------------------------------------------------------- making statements

    def _text(self, m: Match) -> str:
        if "text" in m.roles:
            return m.roles["text"]
        first, last = self.words.at[m.start], self.words.at[m.end - 1]
        text = " ".join(self.words.tokens[first : last + 1]).replace(" - ", "-").replace(" . ", ".")
        return text if text.isupper() and len(text) < 6 else text.lower()

    def _normal(self, region: str, anatomy: Match, around: Sequence[Match]) -> Statement:
        side, places = _side(around), _places(around, region)
        rest = bool(_REST & set(self.lemmas))
        said = [side, *self._said_places(around, places, anatomy), self._text(anatomy)]
        phrase = " ".join(filter(None, ["Otherwise normal" if rest else "Normal", *said]))
        labels = self.lexicon.concepts[region].labels
        if side in ("", "bilateral") and not rest and not places:
            labels = tuple(dict.fromkeys((*labels, *_DENIED_BY.get(region, ()))))
        else:
            labels = ()
        kinds = frozenset({"rest"} if rest else ())
        return Statement(region, ABSENT, labels, side, kinds=kinds, places=places, phrase=phrase + ".")

    def _said_places(self, around: Sequence[Match], places: frozenset[str], head: Match) -> list[str]:
        return list(dict.fromkeys(self._text(q) for q in around if _place(q) in places and q is not head))

    def _statement(
        self,
        finding: str,
        status: str,
        labels: tuple[str, ...],
        head: Match,
        around: Sequence[Match],
        anatomy: Match | None = None,
    ) -> Statement:
        own = [q for q in around if q is not head]
        graded = next((q for q in own if "grade" in q.roles and "anatomy" not in q.roles), None)
        changed = next((q for q in own if "change" in q.roles), None) if status != ABSENT else None
        kinds = {q.roles["kind"]: q for q in own if "kind" in q.roles and q is not changed and self._is_kind(q)}
        if status == ABSENT:
            kinds = {kind: q for kind, q in kinds.items() if kind not in TRIVIAL}
        made = Statement(
            finding,
            status,
            labels,
            _side(around),
            graded.roles["grade"] if graded else "",
            changed.roles["change"] if changed else "",
            frozenset(kinds),
            _places(around, finding),
            status == UNCERTAIN and head.end - 1 in self.unlikely,
        )
        adjectives = [self._text(q) for q in (graded, *kinds.values()) if q is not None and "distance" not in q.roles]
        return replace(made, phrase=self._phrase(made, list(dict.fromkeys(adjectives)), head, around, anatomy))

    def _is_kind(self, q: Match) -> bool:
        """Leave out lengths that are distances: "4 cm above the carina", "withdrawn by 3 cm"."""
        if "size" not in q.roles:
            return True
        by = q.start > 0 and self.lemmas[q.start - 1] == "by"
        return not by and self.lemmas[q.end : q.end + 1] not in (("above",), ("from",), ("below",))

    def _phrase(
        self, s: Statement, adjectives: list[str], head: Match, around: Sequence[Match], anatomy: Match | None
    ) -> str:
        """Return a statement in words: what was said, in a fixed order."""
        opening = ["unlikely" if s.unlikely else _OPENING[s.status], _CHANGES[s.change]]
        if anatomy is not None:
            places = self._said_places([q for q in around if q is not anatomy], s.places, anatomy)
            parts = [*opening, s.side, *places, self._text(anatomy), *adjectives, self._text(head)]
        else:
            before = [q for q in around if q.start < head.start]
            after = self._said_places([q for q in around if q.start > head.start], s.places, head)
            side_after = bool(after) and not any("side" in q.roles for q in before)
            where = ["in the", s.side if side_after else "", " and ".join(after)] if after else []
            places = [p for p in self._said_places(before, s.places, head) if p not in after]
            side = "" if side_after or any("side" in q.roles for q in before if _place(q) in s.places) else s.side
            noun = self._text(head)
            noun += " lungs" if s.finding in ("hyperinflation", "low_volumes") and noun.endswith("ed") else ""
            distance = [q.roles["distance"] for q in around if "distance" in q.roles]
            parts = [*opening, *adjectives, side, *places, noun, *distance, *where]
        phrase = " ".join(filter(None, parts)) + "."
        return phrase[0].upper() + phrase[1:]


_OPENING = {PRESENT: "", ABSENT: "no", UNCERTAIN: "possible"}
_REST = frozenset({"otherwise", "elsewhere", "remainder", "remaining", "rest"})
_CHANGES = {"": "", "same": "unchanged", "worse": "increased", "better": "decreased", "new": "new"}


def _add(found: list[Match], anatomy: Match) -> None:
    """Append an anatomy; of two in a row ("hilar vasculature") the last is the one spoken of."""
    if found and found[-1].end == anatomy.start:
        found.pop()
    found.append(anatomy)


def _qualifies(m: Match) -> bool:
    roles = m.roles
    if "finding" in roles or roles.get("trigger", "pseudo") != "pseudo":
        return False
    return bool({"anatomy", "side", "grade", "change", "kind"} & roles.keys())


def _side(around: Sequence[Match]) -> str:
    sides = {q.roles["side"] for q in around if "side" in q.roles}
    if {"left", "right"} <= sides or "bilateral" in sides:
        return "bilateral"
    return next(iter(sides), "")


def _by_side(around: list[Match]) -> list[list[Match]]:
    """Return a finding's qualifiers once, or once for each side where each has places of its own."""
    sided: dict[str, list[Match]] = {"left": [], "right": []}
    places: dict[str, set[str]] = {"left": set(), "right": set()}
    side = ""
    for q in around:
        side = q.roles.get("side", side)
        if "anatomy" in q.roles and _place(q) not in _PLACELESS and side not in sided:
            return [around]
        if side in sided and {"side", "anatomy"} & q.roles.keys():
            sided[side].append(q)
            places[side] |= {_place(q)} - _PLACELESS if "anatomy" in q.roles else set()
    if side not in sided or not all(places.values()) or places["left"] == places["right"]:
        return [around]
    both = [*sided["left"], *sided["right"]]
    order = sorted(sided.values(), key=lambda own: own[0].start)
    return [[q for q in around if q not in both or q in own] for own in order]


def _place(q: Match) -> str:
    return q.roles.get("anatomy", "")


def _places(around: Sequence[Match], finding: str) -> frozenset[str]:
    named = {_place(q) for q in around} - {""} - _PLACELESS
    named |= {_WIDER[place] for place in named & _WIDER.keys()}
    return frozenset(named - {_OWN_PLACE.get(finding, "")})


@lru_cache(maxsize=1 << 16)
def read_sentence(sentence: str) -> Sentence:
    """Return what a sentence says. Sentences of reports repeat, so they are kept."""
    return _Reader(sentence).read()


def read(text: str) -> list[Sentence]:
    """Return what a text's sentences say."""
    return [read_sentence(sentence) for sentence in sentences(text)]


def labels(statements: Sequence[Statement]) -> dict[str, int | None]:
    """Return CheXpert's 14 labels: 1 present, 0 absent, -1 uncertain, None not mentioned.

    Of several mentions a positive one wins over an uncertain one, and that over a negative one. "No Finding" is 1 where
    no finding is positive or uncertain, support devices aside, and findings outside the 14 included.
    """
    best: dict[str, str] = {}
    for s in statements:
        names = s.labels
        if s.status == ABSENT and not s.kinds and not s.side and not s.places:
            names = (*names, *_DENIED_BY.get(s.finding, ()))
        for name in names:
            if name not in best or _RANK[s.status] > _RANK[best[name]]:
                best[name] = s.status
    made: dict[str, int | None] = {name: _VALUE[best[name]] if name in best else None for name in LABELS}
    normal = all(s.status == ABSENT or SUPPORT in s.labels for s in statements)
    made["No Finding"] = 1 if normal else None
    return made
