"""Sentences of findings sections: splitting, tidying, and what a sentence asserts or denies, on which side.

Everything here works on surface words: a *term* is a stemmed content word, written with a leading "!" where the
sentence denies it ("No left effusion" → ``!left !effusion``). Terms serve for similarity; `claims` and `contradict`
compare what two sentences say of the same finding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

NOT = "!"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATION = re.compile(r"\b(?:dr|mr|mrs|ms|no|vs|approx|e\.g|i\.e|cf|ca|fig|st|[A-Za-z])\.$", re.I)
_LONGEST_ABBREVIATION = len("approx.")
_NUMBER = re.compile(r"\s*\d+\.")
_STOP = re.compile(r"[.!?]+(?=\s|$|[A-Z][a-z])")
_BULLET = re.compile(r"^\s*(?:\(?\d{1,2}[.)]|[-*•])\s+")


def split(text: str) -> list[str]:
    """Return the sentences of a report, in order, white space collapsed; list numbers and bullets are left out."""
    text = " ".join(text.split())
    found, start = [], 0
    for stop in _STOP.finditer(text):
        if stop.group() == "." and _goes_on(text, start, stop.end()):
            continue
        found.append(text[start : stop.end()])
        start = stop.end()
    found.append(text[start:])
    return [clean for piece in found if (clean := _BULLET.sub("", piece).strip(" .")) and re.search(r"\w", clean)]


def _goes_on(text: str, start: int, end: int) -> bool:
    """Tell whether the dot before `end` ends an abbreviation, or the number of a list, and no sentence."""
    near = max(start, end - _LONGEST_ABBREVIATION)  # not all since `start`, which many dots in a row leave far behind
    return bool(_ABBREVIATION.search(text, near, end) or _NUMBER.fullmatch(text, start, end))


def tidy(sentence: str) -> str:
    """Return a sentence with a capital first letter, one end stop and no stray blanks; "" stays ""."""
    text = re.sub(r"\s+([,.;:])", r"\1", " ".join(sentence.split())).strip(" .,;:")
    return text[:1].upper() + text[1:] + "." if text else ""


# ------------------------------------------------------------------ what only makes sense beside an earlier image

_CHANGE = re.compile(
    r"\b(?:unchanged|stable|again|persist\w*|interval\w*|previous\w*|prior|compar\w+|changed?|since|new|newly|"
    r"increas\w+|decreas\w+|improv\w+|worsen\w*|progress\w*|resol\w+|remov\w+|withdrawn|no longer|remains?|"
    r"redemonstrat\w+|now|similar)\b",
    re.I,
)
_SOMEWHAT = r"(?:(?:also|slightly|mildly|markedly|somewhat|further|significantly|not significantly|substantially)\s+)*"
_SINCE = r"(?:\s+(?:from|since|to|with|as|when|in|than|compared|comparison)\b[^.;]*)?$"
_REMARKS = tuple(
    (re.compile(pattern, re.I), to)
    for pattern, to in (
        (r"^(?:as |when |in )?(?:compar\w+|relative)\b[^,]*,\s*", ""),
        (r"^since [^,]*,\s*", ""),
        (r",?\s*(?:as |when )?compared\b[^.;]*$", ""),
        (r",?\s+(?:since|from) (?:the )?(?:prior|previous|last|before)\b[^.;]*$", ""),
        (r"^again (?:noted|seen|demonstrated|identified|visuali[sz]ed)?\s*(?:is|are) (?:an? |the )?", ""),
        (r"\bagain\s+(?=noted|seen|\w+ed\b)", ""),
        (r"^(?:there (?:is|are|has been) )?no (?:(?:significant|interval|appreciable|relevant) )*change in (?:the )?",
         ""),
        (
            r"^(?:there (?:is|are|has been) )?(?:(?:significant|slight|mild|interval) )*(?:increase|decrease|worsening|"
            r"improvement|progression|reduction|development|appearance|placement|insertion) (?:of|in) (?:an? |the )?",
            "",
        ),
        (r"^(there (?:is|are)) now\b", r"\1"),
        (r"^(there (?:is|are)) (?:an? )?(?:new|interval development of) (?:an? )?", r"\1 "),
        (r"^now (?:an? )?", ""),
        (r"^(?:newly placed|new|unchanged|stable|persistent|similar) (?:appearing )?(?!in\b|from\b)", ""),
        (rf"\s+(?:has|have) {_SOMEWHAT}(?:(?:in|de)creased|worsened|improved|progressed|enlarged|diminished|developed|"
         rf"appeared){_SINCE}", ""),
        (rf",\s*{_SOMEWHAT}(?:(?:in|de)creased|worse|greater|improved|less|larger|smaller){_SINCE}", ""),
        (
            r",?\s+(?:(?:is|are|which (?:is|are)|seen|noted|and|but|appears?|remains?|essentially|grossly|largely|"
            r"overall)\s+)*(?:unchanged|stable|(?:not significantly |un)changed|similar|without significant change)"
            rf"(?:\s+in (?:size|appearance|extent|position|configuration))?{_SINCE}",
            "",
        ),
    )
)  # fmt: skip
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|appears?|shows?|demonstrates?)\b", re.I)
_ARTICLE = re.compile(r"^(?:the|an?) ", re.I)
_TECHNIQUE = re.compile(
    r"\b(?:views?|radiographs?|projections?|examination|obtained|submitted|provided|study|positioning)\b", re.I
)
_REMOVED = re.compile(r"XXXX|_{2,}|\[\*\*")
_DATE = re.compile(r"\b\d{1,2}[/-]\d{1,2}(?:[/-]\d{2,4})?\b|\b\d{1,2}:\d{2}\b|\b(?:19|20)\d{2}\b")


def without_change(sentence: str) -> str:
    """Return a sentence less its remark on earlier images, where what is left still says something.

    >>> without_change("Biapical pleural thickening, unchanged from prior")
    'Biapical pleural thickening'
    """
    bare = sentence
    for pattern, to in _REMARKS:
        bare = pattern.sub(to, bare).strip(" ,")
    bare = re.sub(r"(?:,?\s+(?:that|which|and|but))+$", "", bare)
    if bare != sentence and not _VERB.search(bare):
        bare = _ARTICLE.sub("", bare)
    return bare if claims(bare).asserted else sentence


def blemish(sentence: str) -> float:
    """Return a factor in (0, 1]: below 1 where a sentence is a poor description of an image.

    That is, where it speaks of earlier images, of dates or of the technique, has words removed, or is very long.
    """
    factor = 1.0
    if _CHANGE.search(sentence):
        factor *= 0.5
    if _DATE.search(sentence):
        factor *= 0.5
    if _TECHNIQUE.search(sentence):
        factor *= 0.1
    removed = len(_REMOVED.findall(sentence))
    factor *= 0.4**removed
    words = len(sentence.split())
    return factor * min(1.0, 24 / max(words, 1))


# ------------------------------------------------------------------ terms

_PHRASES = tuple(
    (re.compile(rf"\b(?:{pattern})\b"), f" {to} ")
    for pattern, to in (
        (r"within (?:the )?normal (?:limits?|range)|unremarkable|normally|not enlarged", "normal"),
        (r"heart and lungs", "heart lungs"),
        (r"well[- ](?:aerated|expanded|inflated)", "clear"),
        (r"(?:chest|thoracostomy|pleural) tubes?|(?:pleural )?(?:drains?|drainage|pigtail)(?: catheters?)?",
         "chesttube"),
        (r"endotracheal|et(?= tube)|ett|intubated", "endotracheal"),
        (r"(?:naso|oro)gastric|enteric|feeding|ng|og|dobb?hoff", "enteric"),
        (r"internal jugular|ij", "jugular"),
        (r"pac(?:emaker|er|ing)(?: device)?s?", "pacemaker"),
        (r"sternal(?= wires)", "sternotomy"),
        (r"(?:pleural )?fluid|effusions?", "effusion"),
        (r"hyper ?-?(?:inflat|expan|aerat|luc)\w+", "hyperinflation"),
        (r"(?:reduced|diminished|decreased|small) lung volumes?", "low lung volume"),
        (r"(?:shallow|poor|limited) (?:inspirat\w+(?: effort)?)|inspiration is (?:shallow|poor|limited)|"
         r"hypo ?-?(?:inflat|expan|aerat)\w+", "low volume"),
        (r"tortuo\w+|unfold\w+|ectasia|ectatic", "tortuous"),
        (r"calcif\w+", "calcified"),
        (r"(?:dextro|levo)scoliosis|scolio\w+", "scoliosis"),
        (r"elevat\w+|raised|eventrat\w+", "elevated"),
        (r"infectio\w+", "infection"),
        (r"cardio ?mediastin\w+", "heart mediastinum"),
        (r"mediastinal|hilar and mediastinal", "mediastinum"),
        (r"cardiac (?:silhouette|shadow|contours?|size|outline)|heart size|cardiac", "heart"),
        (r"enlarge\w* (?:of (?:the )?)?heart|cardiomegal\w+", "cardiomegaly"),
        (r"heart (?:silhouette |size )?(?:is |appears |remains )?((?:\w+ly )?(?:mild |moderate |severe )?)enlarge\w*",
         r"\1 cardiomegaly"),
        (r"enlarge\w*", "enlarged"),
        (r"free of|clear of|negative for|absence of|absent|rather than|(?:resolution|removal|clearing) of", "without"),
        (r"air ?space", "airspace"),
        (r"pneumothora(?:x|ces)", "pneumothorax"),
        (r"opaci(?:fication|fications|ties|ty)|densit(?:y|ies)", "opacity"),
        (r"oedema", "edema"),
        (r"osseous|bony|skeletal|skeleton|bones", "bone"),
        (r"both lungs", "bilateral lungs"),
        (r"bibasilar|bibasal|both (?:lung )?bases", "bilateral base"),
        (r"biapical", "bilateral apex"),
        (r"basilar|basal|bases", "base"),
        (r"apices|apical", "apex"),
        (r"right[- ]sided", "right"),
        (r"left[- ]sided", "left"),
        (r"bilaterally|both", "bilateral"),
        (r"vascul\w*", "vascular"),
    )
)  # fmt: skip
_STOP_WORDS = _words(
    "a an and are area areas appear appears as at be been both by can could evidence either for from has have if in "
    "into is it its limits may might of on or other otherwise over seen seem seems shown sign signs size that the "
    "their there these this those to visible visualized visualised was were which with within would noted "
    "identified present demonstrated demonstrate demonstrates demonstrating evident appreciated observed detected "
    "found suggest suggesting suggests definite specifically xxxx view views image images frontal lateral "
    "radiograph study chest exam examination also any again remain remains remaining remainder elsewhere grossly "
    "clearly convincing reflect reflects represent represents likely probably possibly possible probable most "
    "concerning suspicious worrisome compatible consistent keeping approximately about measure measures measuring "
    "patient detected difficult exclude excluded resolved removed cleared withdrawn longer"
)
_CUES = _words("no not without neither nor never")
_SCOPE_END = re.compile(r"[;:]|\b(?:but|however|although|though|except|aside|besides|while|whereas)\b|"
                        r",?\s*\band (?=(?:the|there|a|an)\b)|,\s*(?=(?:the|there)\b)")  # fmt: skip
_DENIED_BEFORE = re.compile(
    r"\b(?:is|are|was|were) (?:not (?:seen|identified|visuali[sz]ed|present|evident|appreciated|demonstrated|noted|"
    r"detected|observed|shown)|no longer)\b|\bha(?:s|ve) (?:been )?(?:resolved|removed|cleared|withdrawn)\b"
)
_NOT_A_DENIAL = re.compile(r"\bnot (?:be )?(?:entirely |completely )?(?:excluded|ruled out)\b|\bcannot\b|\bno longer\b"
                           r"(?= (?:enlarged|elevated))|\bno (?:significant |interval )*change\b")  # fmt: skip
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|\d+(?:\.\d+)?")


@lru_cache(maxsize=200_000)
def terms(sentence: str) -> tuple[str, ...]:
    """Return the content terms of a sentence in order, with repeats; a denied term is written "!term"."""
    text = _NOT_A_DENIAL.sub(" ", sentence.lower())
    for pattern, to in _PHRASES:
        text = " ".join(pattern.sub(to, text).split())
    return tuple(term for clause in _SCOPE_END.split(text) for term in _clause_terms(" ".join(clause.split())))


def _clause_terms(clause: str) -> list[str]:
    denied, found = False, []
    all_denied = bool(_DENIED_BEFORE.search(clause))
    for word in (part for token in _WORD.findall(clause) for part in token.split("-")):
        if word in _CUES:
            denied = True
        elif word not in _STOP_WORDS:
            found.append((NOT if denied or all_denied else "") + stem(word))
    return found


def stem(word: str) -> str:
    """Return a word without its ending: "effusions" → "effusion", "densities" → "density", "mildly" → "mild"."""
    if word.endswith("ly") and word[:-2] in _MODIFIERS:
        return word[:-2]
    if len(word) <= 3 or word.endswith(("ss", "us", "is", "ax")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


def positive(words: tuple[str, ...]) -> frozenset[str]:
    """Return the terms that are asserted."""
    return frozenset(word for word in words if not word.startswith(NOT))


def negated(words: tuple[str, ...]) -> frozenset[str]:
    """Return the terms that are denied, without their mark."""
    return frozenset(word[len(NOT) :] for word in words if word.startswith(NOT))


# ------------------------------------------------------------------ claims

SIDES = frozenset({"left", "right"})
_SIDED = {"left": frozenset({"left"}), "right": frozenset({"right"}), "bilateral": SIDES}
_PLACES = _words(
    "lung lobe lower upper middle mid base apex zone field hemithorax chest pleural pulmonary mediastinum hilar hilum "
    "lobar costophrenic angle rib thoracic spine vertebral heart bone structure soft tissue vascular airspace "
    "diaphragm hemidiaphragm aortic aorta abdomen tip region side wall contour silhouette basilar lingula "
    "retrocardiac perihilar interstitial space surface process disease abnormality thorax segment superior inferior "
    "anterior posterior level"
)
_MODIFIERS = _words(
    "small large tiny trace mild moderate severe marked minimal slight "
    "focal diffuse patchy acute chronic old new displaced overt significant gross tension "
    "increased decreased subtle borderline suspected frank confluent "
    "discrete active definite obvious normal clear intact unchanged stable left right bilateral sized low high "
    "large-sized mild-to-moderate appearance position"
)
_FINDINGS = _words(
    "effusion pneumothorax edema cardiomegaly consolidation opacity infiltrate pneumonia infection atelectasis nodule "
    "mass lesion fracture emphysema hyperinflation fibrosis scarring thickening congestion hernia scoliosis kyphosis "
    "tortuous calcified granuloma sternotomy pacemaker defibrillator endotracheal tracheostomy enteric picc port "
    "jugular subclavian catheter chesttube clip elevated volume osteophyte degenerative spondylosis widened blunting "
    "bronchiectasis cavity pneumomediastinum pneumoperitoneum adenopathy lymphadenopathy stent valve stimulator"
)
_VAGUE = _words("opacity volume catheter infection blunting emphysema")
"""Findings that only describe another one where a sentence names it ("opacity … reflects atelectasis")."""
_NARROWING = _words("large acute displaced overt significant tension increased new gross frank")
_AIRSPACE = _words("opacity consolidation infiltrate pneumonia edema atelectasis mass nodule")
_IMPLIED = (
    (frozenset({"lung", "clear"}), _AIRSPACE),
    (frozenset({"heart", "normal"}), frozenset({"cardiomegaly", "enlarged"})),
    (frozenset({"mediastinum", "normal"}), frozenset({"widened", "widening"})),
    (frozenset({"bone", "normal"}), frozenset({"fracture"})),
    (frozenset({"bone", "intact"}), frozenset({"fracture"})),
    (frozenset({"pleural", "clear"}), frozenset({"effusion", "pneumothorax"})),
    (frozenset({"costophrenic", "clear"}), frozenset({"effusion"})),
    (frozenset({"costophrenic", "sharp"}), frozenset({"effusion", "blunting", "blunted"})),
    (frozenset({"volume", "normal"}), frozenset({"low"})),
)


@dataclass(frozen=True, slots=True)
class Claims:
    """What one sentence says: findings it asserts and denies, the sides it names, and normality it implies.

    Findings are the words of a short list. In a sentence that has none of them and calls nothing normal, they are all
    words that name neither a place nor a degree.
    """

    asserted: frozenset[str]
    denied: frozenset[str]
    implied: frozenset[str]
    """Findings that a statement of normality rules out ("The lungs are clear": no opacity …)."""
    words: frozenset[str]
    """All asserted terms, places and modifiers included."""
    narrowed: frozenset[tuple[str, str]]
    """Denied findings with a modifier that narrows the denial: "No large effusion" does not rule out a small one."""
    sides: frozenset[str]


@lru_cache(maxsize=200_000)
def claims(sentence: str) -> Claims:
    """Return what a sentence says of findings."""
    words = terms(sentence)
    yes, no = positive(words), negated(words)
    sides = frozenset[str]().union(*(_SIDED[word] for word in (yes | no) & _SIDED.keys()))
    implied = frozenset[str]().union(*(ruled_out for needed, ruled_out in _IMPLIED if needed <= yes))
    known = _FINDINGS
    if not (yes | no) & _FINDINGS and not implied:
        known = (yes | no) - _PLACES - _MODIFIERS
    return Claims(_telling(yes & known), _telling(no & known), implied - yes, yes, _narrowed(words), sides)


def _telling(findings: frozenset[str]) -> frozenset[str]:
    return findings - _VAGUE or findings


def _narrowed(words: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Pair each narrowing modifier of a denial with the finding that follows it."""
    pairs, waiting = set(), set[str]()
    for word in (word[len(NOT) :] for word in words if word.startswith(NOT)):
        if word in _NARROWING:
            waiting.add(word)
        elif word not in _PLACES | _MODIFIERS:
            pairs |= {(word, modifier) for modifier in waiting}
            waiting = set()
    return frozenset(pairs)


def contradict(one: str, two: str) -> frozenset[str]:
    """Return the findings that one sentence asserts and the other denies; empty where the two can both be true.

    Statements about different sides do not contradict, nor does a narrowed denial ("No large effusion") an assertion
    that does not carry the same modifier.
    """
    a, b = claims(one), claims(two)
    if a.sides and b.sides and not a.sides & b.sides:
        return frozenset()
    return _denied_by(a, b) | _denied_by(b, a)


def _denied_by(said: Claims, other: Claims) -> frozenset[str]:
    spared = {finding for finding, modifier in other.narrowed if modifier not in said.words}
    low = {"low"} & other.implied & said.words
    return (said.asserted & ((other.denied - spared) | other.implied)) | low


def covers(known: Sequence[str], sentence: str) -> bool:
    """Return whether the sentences already say of every finding (and side) what `sentence` says.

    One that only calls something normal is covered where all it rules out is denied; one without any claim by a
    sentence that has all of its terms.
    """
    new, old = claims(sentence), [claims(text) for text in known]
    if not new.asserted and not new.denied | new.implied:
        return any(frozenset(terms(sentence)) <= frozenset(terms(text)) for text in known)
    ruled_out = new.denied if new.asserted or new.denied else new.implied
    return ruled_out <= denied_by(known) and all(_asserted(word, new.sides, old) for word in new.asserted)


def widens(known: Sequence[str], sentence: str) -> bool:
    """Return whether a sentence asserts on both sides what another asserts on one: only one of the two can be meant."""
    new, old = claims(sentence), map(claims, known)
    return any(bool(c.asserted) and c.asserted == new.asserted and bool(c.sides) and c.sides < new.sides for c in old)


def denied_by(known: Sequence[str]) -> frozenset[str]:
    """Return the findings that sentences deny or rule out."""
    return frozenset[str]().union(*(c.denied | c.implied for c in map(claims, known)))


def _asserted(word: str, sides: frozenset[str], known: Sequence[Claims]) -> bool:
    saying = [c for c in known if word in c.asserted]
    if not saying:
        return False
    named = frozenset[str]().union(*(c.sides for c in saying))
    return not sides or sides <= named


# ------------------------------------------------------------------ lists of denials

_DENIAL_LIST = re.compile(
    r"^(?P<head>(?:there (?:is|are) )?no (?:evidence of |evidence for |sign of |signs of )?)(?P<list>[^;:]*?)"
    r"(?P<tail> (?:is|are) (?:seen|identified|noted|present|visuali[sz]ed|evident|demonstrated|appreciated))?$",
    re.I,
)
_ITEM = re.compile(r",\s*(?:or|and|nor)\s+|,\s*|\s+(?:or|nor|and)\s+")


def drop_denials(sentence: str, findings: frozenset[str]) -> str | None:
    """Return a list of denials without those of `findings`, or None where it is no such list or nothing is left.

    >>> drop_denials("No focal consolidation, pleural effusion, or pneumothorax", frozenset({"effusion"}))
    'No focal consolidation or pneumothorax'
    """
    match = _DENIAL_LIST.match(sentence.strip(" ."))
    if match is None:
        return None
    items = [item for item in _ITEM.split(match["list"]) if item]
    kept = [item for item in items if not findings & frozenset(terms(item))]
    if not kept or len(kept) == len(items):
        return None
    return f"{match['head']}{_enumerate(kept)}{match['tail'] or ''}"


def _enumerate(items: list[str]) -> str:
    if len(items) <= 2:
        return " or ".join(items)
    return f"{', '.join(items[:-1])}, or {items[-1]}"
