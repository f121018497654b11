"""What is denied, left open or only supposed in a sentence.

The idea is NegEx's and ConText's (Chapman et al. 2001, https://doi.org/10.1006/jbin.2001.1029; Harkema et al. 2009,
https://doi.org/10.1016/j.jbi.2009.05.002): phrases reach forward or backward over the words of their clause, longer
phrases that only look like them ("no change in") come first, and some words end a reach. Added here: lists. A reach
goes on over "," and "and" as long as what follows can be a further member of the list, and ends where it is a clause
of its own ("no effusion and the heart is enlarged").
"""

from __future__ import annotations

from collections.abc import Sequence

from metrics.rules.tables import Lexicon, Match, load
from metrics.rules.words import bag

PRESENT, ABSENT, UNCERTAIN, SUPPOSED = "present", "absent", "uncertain", "supposed"
_STATUS = {"neg": ABSENT, "unc": UNCERTAIN, "hyp": SUPPOSED}
_HARD = frozenset(";:?.")
_JOINS = frozenset({",", "and", "or", "nor", "/", "&", "with", "("})
_OPENERS = bag("there the this it these a an however now")
_AFTERWARDS = bag(
    "be been now subsequently completely entirely essentially since also is are has have had was were which that in"
)


_VERSUS = frozenset({"versus", "vs"})
_ABBREVIATED = frozenset({"vs", "dr"})
"""Words whose full stop ends no clause."""
_NUMBERS = bag("multiple several numerous many two three four five six seven eight nine ten few both")
_PUT = frozenset({"position", "place", "situ", "positioned"})
_IN = bag("in at within over along above below near overlying projecting")
_NOTED = frozenset({"noted", "seen", "present"})
_WIDE = frozenset({"lung", "pleura", "chest", "study", "heart", "cardiomediastinum"})
"""Anatomy too wide to tell one member of a list from the others: "no effusion, pneumothorax in the chest"."""
_GONE = frozenset({"resolution", "clearing"})
_EXCEPT = bag("other except apart aside besides")
_UNLIKELY = frozenset({"unlikely", "less"})
_LINKS = frozenset({"represent", "representing", "is", "are", "of", "reflect", "reflecting", "for"})
_AUXILIARIES = frozenset({"is", "are", "has", "have", "been", "was", "were", "be", "completely", "now", "largely"})


class Scopes:
    """The statuses of one sentence's words."""

    def __init__(self, lemmas: Sequence[str], matches: Sequence[Match]) -> None:
        self.lemmas, self.n = lemmas, len(lemmas)
        self.lexicon: Lexicon = load()
        self.starts = {m.start: m for m in matches}
        self.matches = matches
        self.status = [PRESENT] * self.n
        self.unlikely: set[int] = set()
        """Words that are left open, but hardly."""
        self.triggers = [m for m in matches if "trigger" in m.roles]
        for m in self.triggers:
            self._forward(m)
        for m in self.triggers:
            self._except(m)
        for m in self.triggers:
            self._backward(m)

    def _kind(self, at: int) -> str:
        found = self.starts.get(at)
        return found.roles.get("trigger", "") if found else ""

    def _hard(self, at: int) -> bool:
        if self.lemmas[at] not in _HARD:
            return False
        if at and self.lemmas[at] == "." and self.lemmas[at - 1] in _ABBREVIATED:
            return False
        around = [*self.lemmas[max(at - 1, 0) : at], *self.lemmas[at + 1 : at + 2]]
        return not (self.lemmas[at] == "." and len(around) == 2 and all(w[0].isdigit() for w in around))

    # -------------------------------------------------------------- forward

    def _forward(self, trigger: Match) -> None:
        kind = trigger.roles["trigger"]
        if not kind.endswith(">") or self._also_backward(trigger):
            return
        status = UNCERTAIN if self._to_be_gone(trigger) else _STATUS[kind[:3]]
        end = self._reach(trigger.end, kind)
        for at in range(trigger.start, end):
            if not (kind == "unc>" and self.status[at] == ABSENT):
                self._set(at, status, trigger)

    def _set(self, at: int, status: str, trigger: Match) -> None:
        self.status[at] = status
        if status == UNCERTAIN and not _UNLIKELY.isdisjoint(self.lemmas[trigger.start : trigger.end]):
            self.unlikely.add(at)

    def _to_be_gone(self, trigger: Match) -> bool:
        """Tell whether something is only asked to be gone: "follow up to ensure resolution of the pneumonia"."""
        asked = SUPPOSED in self.status[max(trigger.start - 1, 0) : trigger.start + 1]
        return asked and not _GONE.isdisjoint(self.lemmas[trigger.start : trigger.end])

    def _except(self, trigger: Match) -> None:
        """Take back a denial that has an exception of its own kind: "no pneumothorax other than a tiny apical one"."""
        if trigger.roles["trigger"] != "stop" or self.lemmas[trigger.start] not in _EXCEPT:
            return
        if "one" in self.lemmas[trigger.end : self._segment(trigger.end)]:
            for at in range(self._segment_before(trigger.start), trigger.start):
                self.status[at] = PRESENT

    def _also_backward(self, trigger: Match) -> bool:
        """Tell whether a phrase of both tables ("suspected") stands at the end of its clause, and so looks back."""
        if "post" not in trigger.roles:
            return False
        if trigger.start and self.lemmas[trigger.start - 1] in _AUXILIARIES:
            return True
        end = trigger.end
        return end >= self.n or self.lemmas[end] in (",", "and", "but") or self._hard(end)

    def _reach(self, start: int, kind: str) -> int:
        verb, first = False, True
        for at in range(start, self.n):
            word, other = self.lemmas[at], self._kind(at)
            if self._hard(at) or other == "stop" or (other == "cause" and self.lemmas[at - 1] == ","):
                return at
            if other == "after" and kind != "hyp>":
                return at
            if kind == "unc>" and word == "," and at == start:  # "small, if any, effusion"
                continue
            if at > start and other in ("neg>", "hyp>") and not (kind == "neg>" and other == "hyp>"):
                return at
            if other == "unc>" and kind == "neg>" and at > start and self.lemmas[at - 1] in (",", "and"):
                return at
            if word in (",", "and", "with", "&", "("):
                if self._new_clause(at, kind, verb, first):
                    return at
                first = False
            verb = verb or word in self.lexicon.verbs
        return self.n

    def _segment(self, start: int) -> int:
        """Return where the words that belong together from `start` on end."""
        at = start
        while at < self.n and self.lemmas[at] not in _JOINS and not self._hard(at) and self._kind(at) != "stop":
            at += 1
        return at

    def _new_clause(self, join: int, kind: str, verb: bool, alone: bool) -> bool:
        """Tell whether a clause of its own begins after a join; `alone`: whether it is the first one of the reach."""
        word, start = self.lemmas[join], join + 1
        if start < self.n and self.lemmas[start] in ("or", "nor"):
            return False
        if start < self.n and self.lemmas[start] == "and":
            word, start = "and", start + 1
        end = self._segment(start)
        if start >= end:
            return start >= self.n
        if verb and word != "with":
            return True
        first = self.starts.get(start)
        roles = first.roles if first else {}
        if word == "with":
            return bool({"grade", "side", "change"} & roles.keys()) or self.lemmas[start] in _OPENERS
        if own := self._verb(start, end):
            return not self._closes(own, end) or (alone and word == "," and self._are_present(start, own, end))
        if self.lemmas[start] in _OPENERS or "change" in roles or self._kind(start).startswith("unc"):
            return True
        more = self._or_ahead(end)
        if ("grade" in roles or "side" in roles) and not more:
            return True
        if any(m.roles.get("state") == "normal" for at, m in self.starts.items() if start <= at < end):
            return True
        return word == "," and not more and (kind != "neg>" or self._stands_alone(start, end, alone))

    def _are_present(self, start: int, verb: int, end: int) -> bool:
        """Tell whether a member says of itself that it is there: "no edema, small effusions are present"."""
        first = self.starts.get(start)
        counted = (first is not None and bool({"grade", "side"} & first.roles.keys())) or self._counted(start)
        return "present" in self.lemmas[verb:end] and (counted or self.lemmas[verb] == "are")

    def _counted(self, at: int) -> bool:
        first = self.starts.get(at)
        return self.lemmas[at] in _NUMBERS or (first is not None and first.roles.get("kind") == "multifocal")

    def _stands_alone(self, start: int, end: int, alone: bool) -> bool:
        """Tell whether a member after a comma asserts: by number, position or state, and a last one by its place."""
        if self._counted(start) or not _PUT.isdisjoint(self.lemmas[start:end]):
            return True
        inner = [m for m in self.matches if start <= m.start < end]
        heads = [i for role in ("finding", "anatomy") for i, m in enumerate(inner) if role in m.roles]
        if not heads:
            return False
        named = heads[0]
        head, after = inner[named], inner[named + 1 :]
        if any({"change", "state"} & m.roles.keys() and "anatomy" not in m.roles for m in after):
            return True
        if "finding" not in head.roles or not (end >= self.n or self._hard(end)):
            return False
        if self.lemmas[end - 1] in _NOTED and end - 1 >= head.end:
            return alone and (self.lemmas[end - 1] == "noted" or not self._often_denied(head.roles["finding"]))
        placed = [m for m in after if "anatomy" in m.roles and m.roles["anatomy"] not in _WIDE]
        return bool(placed) and not _IN.isdisjoint(self.lemmas[head.end : placed[0].start])

    def _often_denied(self, finding: str) -> bool:
        return not {"acute", "effusion"}.isdisjoint(self.lexicon.concepts[finding].above)

    def _verb(self, start: int, end: int) -> int | None:
        return next((at for at in range(start, end) if self.lemmas[at] in self.lexicon.verbs), None)

    def _closes(self, verb: int, end: int) -> bool:
        """Tell whether a verb only closes a list: "effusion is seen"."""
        rest = [w for w in self.lemmas[verb:end] if w not in self.lexicon.closers]
        return all(
            w in ("there", "been", "be", "also", "clearly", "definitely", "on", "this", "exam") for w in rest
        ) and (end - verb > 1)

    def _or_ahead(self, start: int) -> bool:
        for at in range(start, self.n):
            if self._hard(at) or self._kind(at) == "stop" or self.lemmas[at] in self.lexicon.verbs:
                return False
            if self.lemmas[at] in ("or", "nor"):
                return True
        return False

    # -------------------------------------------------------------- backward

    def _backward(self, trigger: Match) -> None:
        kind = trigger.roles["trigger"]
        if self.lemmas[trigger.start] in _VERSUS or self.lemmas[trigger.start : trigger.end] == ("if", "any"):
            before = trigger.start - 1 if self.lemmas[max(trigger.start - 1, 0)] == "," else trigger.start
            self._mark(self._segment_before(before), before, "unc<", trigger)
            return
        if self.lemmas[trigger.start] == "removal" and kind == "neg<":  # "after chest tube removal"
            before = next((m.start for m in self.matches if m.end == trigger.start), trigger.start)
            self._mark(before, trigger.start, kind, trigger)
            return
        if not kind.endswith("<"):
            if not self._also_backward(trigger):
                return
            kind = trigger.roles["post"]
        self._mark(self._back(trigger.start), trigger.end, kind, trigger)

    def _mark(self, start: int, end: int, kind: str, trigger: Match) -> None:
        for at in range(start, end):
            if self.status[at] != SUPPOSED:
                self._set(at, _STATUS[kind[:3]], trigger)

    def _segment_before(self, end: int) -> int:
        """Return where the words that belong together up to `end` begin."""
        at = end
        while at and self.lemmas[at - 1] not in _JOINS and not self._hard(at - 1) and self.lemmas[at - 1] not in _LINKS:
            at -= 1
        return at

    def _back(self, end: int) -> int:
        at = end - 2 if self.lemmas[max(end - 1, 0)] == ":" else end - 1  # "Pneumothorax: none"
        while at >= 0 and self.lemmas[at] in _AFTERWARDS:
            at -= 1
        while at >= 0:
            word = self.lemmas[at]
            covering = self._covering(at)
            if self._hard(at) or (covering and covering.roles.get("trigger") not in ("pseudo", "after", None)):
                return at + 1
            if word in (",", "and", "with") and (word == "with" or self._clause_before(at)):
                return at + 1
            at -= 1
        return 0

    def _covering(self, at: int) -> Match | None:
        return next((m for m in self.triggers if m.start <= at < m.end), None)

    def _clause_before(self, join: int) -> bool:
        at = join - 1
        while at >= 0 and not self._hard(at):
            if self.lemmas[at] in self.lexicon.verbs:
                return True
            at -= 1
        return False
