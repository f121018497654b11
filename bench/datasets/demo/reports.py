"""Reports that say what a study shows, in varied words, laid out as MIMIC-CXR's are."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.datasets.demo import phrases as say
from bench.datasets.demo.findings import Finding, change, names_of
from bench.datasets.demo.phrases import WORDINGS
from bench.datasets.demo.plan import Study

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
"""CheXpert's labels in the order of mimic-cxr-2.0.0-chexpert.csv."""

_SLOT = re.compile(r"\{([\w ]+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio]|ET\b|ICD\b|IJ\b|NG\b|8|11\b)")


def expand(template: str, slots: Mapping[str, str], rng: np.random.Generator) -> str:
    """Return the template with slots filled and choices made; ``{Slot}`` is ``{slot}`` with a capital."""
    text = template
    while found := _SLOT.search(text):
        name = found[1]
        value = slots[name] if name in slots else "^" + slots[name[0].lower() + name[1:]]
        text = text[: found.start()] + value + text[found.end() :]
    while found := _CHOICE.search(text):
        options = found[1].split("|")
        text = text[: found.start()] + options[int(rng.integers(len(options)))] + text[found.end() :]
    return _tidy(text)


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text.replace("^", "")).strip()
    text = re.sub(r" ([,.;])", r"\1", text).replace(" -", "-")
    return _ARTICLE.sub(r"\1n ", text)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------ one finding in words


def slots_of(finding: Finding) -> dict[str, str]:
    """Return what the templates of a finding may fill in."""
    side = finding.side
    grade = say.GRADES.get(finding.code, {}).get(finding.severity, "")
    linear = finding.severity == "linear"
    cm = f"{finding.size / 10:.1f}"
    return {
        "side": side,
        "other": "right" if side == "left" else "left",
        "grade": grade,
        "a_grade": f"A {grade}",
        "how": say.HOW.get(finding.severity, ""),
        "zoned": say.ZONES.get(finding.zone, ""),
        "place": say.PLACES.get(finding.zone, "").replace("{side}", side),
        "mm": str(finding.size),
        "cm": cm,
        "ett": f"[{cm} cm|approximately {cm} cm|{cm} cm]",
        "infection": say.INFECTION,
        "basal": "[basilar|basal|lower lobe]",
        "kind": "[linear|plate-like|subsegmental|discoid]" if linear else "[patchy|patchy|streaky]",
        "streak": "[linear|plate-like|bandlike] opacity" if linear else "[patchy|hazy|streaky] opacity",
        "streaks": "[linear|plate-like|bandlike] opacities" if linear else "[patchy|hazy|streaky] opacities",
    }


def _noun(finding: Finding, rng: np.random.Generator) -> dict[str, str]:
    """Return the slots "noun", "a noun", "is", "has" of a finding's noun phrase."""
    wording = WORDINGS[finding.code]
    options = wording.both if finding.side == "bilateral" and wording.both else wording.noun
    template = _pick(options, rng)
    plural, mass = template.startswith("~"), template.startswith("!")
    noun = expand(template.lstrip("~!"), slots_of(finding), rng)
    return {
        "noun": noun,
        "a noun": noun if plural or mass else f"a {noun}",
        "is": "are" if plural else "is",
        "has": "have" if plural else "has",
    }


def state(finding: Finding, earlier: Sequence[Finding] | None, rng: np.random.Generator) -> str:
    """Return a sentence that says a finding is there, often with how it changed since the study before."""
    wording = WORDINGS[finding.code]
    if earlier is not None and rng.random() < 0.7:
        how: str = change(finding, earlier)
        if how == "new" and wording.device:
            how = "placed"
        return _capital(expand(_pick(say.CHANGES[how], rng), _noun(finding, rng), rng))
    options = wording.seen_both if finding.side == "bilateral" and wording.seen_both else wording.seen
    return _capital(expand(_pick(options, rng), slots_of(finding), rng))


def _gone(finding: Finding, rng: np.random.Generator) -> str:
    how = "removed" if WORDINGS[finding.code].device else "gone"
    return _capital(expand(_pick(say.CHANGES[how], rng), _noun(finding, rng), rng))


# ------------------------------------------------------------------ the findings section

_TOPICS: Mapping[str, tuple[str, ...]] = {
    "devices": tuple(code for code, wording in WORDINGS.items() if wording.device),
    "lungs": ("low_lung_volumes", "hyperinflation", "consolidation", "atelectasis", "edema", "nodule", "mass"),
    "pleura": ("effusion", "pneumothorax", "elevated_hemidiaphragm"),
    "heart": ("cardiomegaly", "aortic_tortuosity", "aortic_calcification"),
    "bones": ("rib_fracture", "scoliosis"),
}
_ORDERS = (
    ("devices", "lungs", "pleura", "heart", "bones"),
    ("heart", "lungs", "pleura", "bones", "devices"),
    ("lungs", "pleura", "heart", "bones", "devices"),
    ("devices", "heart", "lungs", "pleura", "bones"),
)
_DENIED: Mapping[str, str] = {
    "Consolidation": "consolidation",
    "Pleural Effusion": "effusion",
    "Pneumothorax": "pneumothorax",
    "Edema": "edema",
}
_OPAQUE = frozenset({"consolidation", "atelectasis", "edema", "nodule", "mass", "effusion"})


@dataclass
class Draft:
    """A report under way: sentences by topic, and what they commit to."""

    study: Study
    rng: np.random.Generator
    sentences: dict[str, list[str]] = field(default_factory=lambda: {topic: [] for topic in _TOPICS})
    labels: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """Return the codes of what is there."""
        return names_of(self.study.findings)

    def chance(self, odds: float) -> bool:
        """Return True with the given odds."""
        return bool(self.rng.random() < odds)

    def say(self, topic: str, options: Sequence[str], labels: Mapping[str, float] | None = None) -> None:
        """Add a sentence to a topic; labels already committed to stay."""
        self.sentences[topic].append(_capital(expand(_pick(options, self.rng), {}, self.rng)))
        for label, value in (labels or {}).items():
            self.labels.setdefault(label, value)


def _topic(code: str) -> str:
    return next(topic for topic, codes in _TOPICS.items() if code in codes)


def _positives(draft: Draft) -> None:
    """State every finding, then what has gone since the study before."""
    for finding in draft.study.findings:
        text = state(finding, draft.study.earlier, draft.rng)
        draft.sentences[_topic(finding.code)].append(text)
        if label := WORDINGS[finding.code].label:
            draft.labels[label] = 1.0
        if finding.code == "consolidation":
            draft.labels["Lung Opacity"] = 1.0
            if re.search(r"pneumonia|infecti", text):
                draft.labels["Pneumonia"] = -1.0
    for before in draft.study.earlier or ():
        if before.code not in draft.names and draft.chance(0.8):
            draft.sentences[_topic(before.code)].append(_gone(before, draft.rng))
            if (label := WORDINGS[before.code].label) and label != "Support Devices":
                draft.labels.setdefault(label, 0.0)


def _negatives(draft: Draft) -> None:
    """Deny what is not there, now and then leaving something out."""
    absent = [label for label, code in _DENIED.items() if code not in draft.names and draft.chance(0.85)]
    if "Edema" in absent and draft.chance(0.5):
        absent.remove("Edema")
    draft.rng.shuffle(absent)
    cuts = [absent] if draft.chance(0.65) else [absent[:1], absent[1:]]
    for part in filter(None, cuts):
        things = _listed([expand(say.NEGATIVES[label], {}, draft.rng) for label in part])
        template = _pick(say.NONE_OF, draft.rng).replace("{things}", things)
        draft.say("pleura", (template,), dict.fromkeys(part, 0.0))


def _listed(things: Sequence[str]) -> str:
    if len(things) < 3:
        return " or ".join(things)
    return ", ".join(things[:-1]) + f", or {things[-1]}"


def _normals(draft: Draft) -> None:
    """Say what is unremarkable."""
    names = draft.names
    if not names & _OPAQUE and draft.chance(0.7):
        draft.say("lungs", say.LUNGS_CLEAR, {"Consolidation": 0.0})
    elif names & {"nodule", "consolidation"} and "edema" not in names and draft.chance(0.3):
        draft.say("lungs", say.LUNGS_REST)
    if "cardiomegaly" not in names:
        if not names & set(_TOPICS["heart"]) and draft.chance(0.9):
            draft.say("heart", say.HEART_NORMAL, {"Cardiomegaly": 0.0, "Enlarged Cardiomediastinum": 0.0})
        elif draft.chance(0.6):
            draft.say("heart", say.HEART_NORMAL[:1], {"Cardiomegaly": 0.0})
    elif draft.chance(0.4):
        draft.say("heart", say.MEDIASTINUM_NORMAL)
    if "rib_fracture" not in names and draft.chance(0.4):
        draft.say("bones", say.BONES_NORMAL, {"Fracture": 0.0})
    if draft.chance(0.12):
        draft.say("bones", say.ABDOMEN_NORMAL)


def _hedges(draft: Draft) -> None:
    """Leave something open that is not there."""
    if draft.labels.get("Pleural Effusion") is None and draft.chance(0.3):
        draft.say("pleura", (say.HEDGES["Pleural Effusion"],), {"Pleural Effusion": -1.0})
    if draft.names & {"atelectasis", "low_lung_volumes"} and "consolidation" not in draft.names and draft.chance(0.2):
        draft.say("lungs", (say.HEDGES["Pneumonia"],), {"Pneumonia": -1.0})
    if "cardiomegaly" in draft.names and draft.labels.get("Edema") is None and draft.chance(0.2):
        draft.say("lungs", (say.HEDGES["Edema"],), {"Edema": -1.0})


def _assemble(draft: Draft) -> str:
    """Order the sentences by one of several habits."""
    order = list(_ORDERS[int(draft.rng.integers(len(_ORDERS)))])
    if draft.chance(0.25):
        draft.rng.shuffle(order)
    view = "Portable AP" if draft.study.frontal == "AP" else "PA"
    openings = say.OPENINGS if draft.study.earlier is None else (*say.OPENINGS, say.COMPARED)
    opening = expand(_pick(openings, draft.rng), {"view": view}, draft.rng)
    return " ".join(filter(None, [opening, *(text for topic in order for text in draft.sentences[topic])]))


# ------------------------------------------------------------------ the other sections

_IMPORTANCE = (
    "pneumothorax",
    "edema",
    "consolidation",
    "mass",
    "effusion",
    "nodule",
    "cardiomegaly",
    "atelectasis",
    "rib_fracture",
    "hyperinflation",
    "elevated_hemidiaphragm",
    "endotracheal_tube",
    "central_line",
    "chest_tube",
    "picc",
    "nasogastric_tube",
    "pacemaker",
)


def _impression(draft: Draft) -> str:
    study, rng = draft.study, draft.rng
    ranked = sorted(study.findings, key=lambda f: _IMPORTANCE.index(f.code) if f.code in _IMPORTANCE else 99)
    told = [f for f in ranked if WORDINGS[f.code].impression][: int(rng.integers(1, 4))]
    lines = [_summary(finding, study.earlier, rng) for finding in told]
    if not any(not WORDINGS[f.code].device for f in told):
        pool = say.IMPRESSION_STABLE if told else say.IMPRESSION_NORMAL
        lines.append(_capital(expand(_pick(pool, rng), {}, rng)))
    if len(lines) > 1 and draft.chance(0.5):
        return "\n ".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    return " ".join(lines)


def _summary(finding: Finding, earlier: Sequence[Finding] | None, rng: np.random.Generator) -> str:
    if earlier is not None and rng.random() < 0.6:
        return state(finding, earlier, rng)
    return _capital(_noun(finding, rng)["noun"]) + "."


def _indication(draft: Draft) -> str:
    study, rng = draft.study, draft.rng
    codes = [finding.code for finding in study.findings if finding.code in say.REASONS]
    code = _pick(codes, rng) if codes and draft.chance(0.8) else ""
    reason, question = (expand(part, {}, rng) for part in say.REASONS[code].split("//"))
    letter, word = ("F", "woman") if study.female else ("M", "man")
    person = expand(f"[___{letter}|___ year old {word}|___-year-old {word}]", {}, rng)
    slots = {"person": person, "reason": reason, "question": question}
    slots |= {"Reason": _capital(reason), "Question": _capital(question)}
    return expand(_pick(say.INDICATIONS, rng), slots, rng)


def _technique(study: Study, rng: np.random.Generator) -> tuple[str, str]:
    """Return the contents of EXAMINATION and TECHNIQUE."""
    if study.has_lateral:
        return "CHEST (PA AND LAT)", expand("[Chest PA and lateral|PA and lateral views of the chest]", {}, rng)
    if study.frontal == "AP":
        return "CHEST (PORTABLE AP)", expand("[Portable AP chest|Single portable AP view of the chest]", {}, rng)
    return "CHEST (SINGLE VIEW)", expand("[Single PA view of the chest|PA chest radiograph]", {}, rng)


def _comparison(draft: Draft) -> str:
    if draft.study.earlier is None:
        return _pick(("None.", "None available.", "No prior studies."), draft.rng)
    return _pick(
        ("Chest radiograph ___.", "___.", "Radiograph from ___.", "Prior chest radiograph dated ___."), draft.rng
    )


@dataclass(frozen=True)
class WrittenReport:
    """A report, and what it commits to."""

    text: str
    labels: Mapping[str, float]
    """CheXpert label → 1 present, 0 denied, -1 left open; labels not spoken of are absent."""
    body: str
    """The findings text, under whatever header it stands."""


def write_report(study: Study, rng: np.random.Generator) -> WrittenReport:
    """Write a study's report; about 7 in 100 have only an impression, 3 no header for their text."""
    draft = Draft(study, rng)
    steps: tuple[Callable[[Draft], None], ...] = (_positives, _negatives, _normals)
    for step in steps:
        step(draft)
    if draft.chance(0.25):
        _hedges(draft)
    body = _assemble(draft)
    if not any(code not in _TOPICS["devices"] for code in draft.names):
        draft.labels["No Finding"] = 1.0
    return WrittenReport(_layout(_sections(draft, body)), draft.labels, body)


def _sections(draft: Draft, body: str) -> Iterator[tuple[str, str]]:
    """Yield (header, content); the last may have no header."""
    examination, technique = _technique(draft.study, draft.rng)
    impression = _impression(draft)
    yield "EXAMINATION", examination
    yield _pick(("INDICATION", "INDICATION", "HISTORY"), draft.rng), _indication(draft)
    if draft.chance(0.85):
        yield "TECHNIQUE", f"{technique}."
    yield "COMPARISON", _comparison(draft)
    form = draft.rng.random()
    if form < 0.03:
        yield "", body
    elif form < 0.10:
        yield "IMPRESSION", body
    else:
        yield "FINDINGS", body
        yield "IMPRESSION", impression


def _layout(sections: Iterator[tuple[str, str]]) -> str:
    """Return the text: every line begins with a blank, sections are parted by a line that is only a blank."""
    lines = [" " * 33 + "FINAL REPORT"]
    for header, content in sections:
        long = header in ("FINDINGS", "IMPRESSION", "")
        lines += (
            [f" {header}:  {content}"] if not long else [*([f" {header}: ", " "] if header else []), *_wrapped(content)]
        )
        lines.append(" ")
    return "\n".join(lines[:-1]) + "\n"


def _wrapped(content: str) -> list[str]:
    return [f" {line}" for part in content.split("\n ") for line in textwrap.wrap(part, 78, break_on_hyphens=False)]
