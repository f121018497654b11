"""The sections of a MIMIC-CXR report, by the corpus's own rules.

The rules and tables (header form, names, spellings, studies with hand-made exceptions) are those of the corpus's
authors: MIT-LCP/mimic-cxr, ``txt/section_parser.py`` and ``txt/create_section_files.py``. In short:

- A header begins an indented line (one blank or more): capitals, blanks and ``()/,-`` up to a colon that a blank or
  the end of line follows. What stands directly below a header without text of its own belongs to it.
- Names are normalised by a table of variants and typing errors, then by the main names they contain, then by words
  that title a description of the images ("CHEST, PA AND LATERAL").
- Empty findings and impressions do not count, and of several sections of a name the **last** counts.
- Where neither is left, what follows the first blank line of the last section is the report ("last paragraph").
- 23 studies keep their report under another name, 31 have it between two given characters (8 of them: nowhere). The
  official script gives those one unnamed text; here it is their last paragraph.

Two choices are ours: a text without any header and without a blank line is its own last paragraph, and a report whose
only text stands under COMPARISON has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

RULES = "mimic-sections-1"
"""Name of this version of the rules; part of fingerprints and cache keys."""

Tier = Literal["findings", "impression", "last paragraph"]
TIERS: tuple[Tier, ...] = ("findings", "impression", "last paragraph")
"""Where a reference comes from, best first."""

Span = tuple[int, int]

_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BLANK_LINE = "\n \n"
_TITLE = re.compile(r"\s*(?:FINAL (?:REPORT|ADDENDUM)|WET READ)\s*")

_VARIANTS: Mapping[str, str] = {
    "impression": "conclusion|findings and impression|findings/impression|findings/ impression|ndication|impresson|"
    "imprression|imoression|impressoin|imprssion|impresion|imperssion|mpression|impession",
    "findings": "chest, two views|finding|findins|findindgs|findgings|findngs|findnings|finidngs|reference findings",
    "comparison": "comparisons|reference exam|comparison exam|comparison film|comparision|comparsion|comparrison|"
    "comparisions",
    "indication": "reason for examination|reason for exam|clinical indication|idication",
    "history": "clinical history|clinical information|patient history|pfi",
    "examination": "exam|type of examination",
    "recommendations": "recommendation(s)|recommendation",
    "wet read": "wetread",
}
_KNOWN = frozenset({*_VARIANTS, "preamble", "technique", "notification", "addendum", "date", "comment"})
_CANONICAL = {name: name for name in _KNOWN} | {v: name for name, vs in _VARIANTS.items() for v in vs.split("|")}
_MAIN = ("impression", "findings", "history", "comparison", "addendum")
_DESCRIPTION = re.compile(
    "chest|portable|pa and lateral|lateral and pa|ap and lateral|lateral and ap|frontal and|two views|frontal view|"
    "pa view|ap view|one view|lateral view|bone window|frontal upright|frontal semi-upright|ribs|pa and lat"
)

_ELSEWHERE_BY_NAME: Mapping[str, str] = {
    "recommendations": "50913680 59768032 59067458 59087630 58157373 56482935 58375018",
    "examination": "59363654 53356173 50743547 59215320 55157853",
    "technique": "59279892 53202765 50808053",
    "indication": "57936451 50058765 51966317 55124749 54365831 54654948",
    "note": "56451190",
    "history": "51491012",
}
BODY_UNDER: Mapping[str, str] = {s: name for name, studies in _ELSEWHERE_BY_NAME.items() for s in studies.split()}
"""Study id → name of the section that holds the whole report."""

BODY_AT: Mapping[str, Span] = {
    "50525523": (201, 349),
    "57564132": (233, 554),
    "59982525": (313, 717),
    "53488209": (149, 475),
    "54875119": (234, 988),
    "50196495": (59, 399),
    "56579911": (59, 218),
    "52648681": (292, 631),
    "59889364": (172, 453),
    "53514462": (73, 377),
    "59505494": (59, 450),
    "53182247": (59, 412),
    "51410602": (47, 320),
    "56412866": (522, 822),
    "54986978": (59, 306),
    "59003148": (262, 505),
    "57150433": (61, 394),
    "56760320": (219, 457),
    "59562049": (158, 348),
    "52674888": (145, 296),
    "55258338": (192, 568),
    "59330497": (140, 655),
    "52119491": (179, 454),
    **dict.fromkeys(
        ("58235663", "50798377", "54168089", "53071062", "56724958", "54231141", "53607029", "52035334"), (0, 0)
    ),
}
"""Study id → first and past-last character of the whole report; (0, 0) where it says nothing."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a report as it stands: canonical name, text, and where the text starts."""

    name: str
    text: str
    start: int

    @property
    def span(self) -> Span:
        """First and past-last character of the text in the report."""
        return self.start, self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class ReportSections:
    """The sections that matter of one report, whitespace runs collapsed to single blanks; None where there is none.

    At most one of findings/impression and last_paragraph is there: the last paragraph counts where both others lack.
    """

    findings: str | None = None
    impression: str | None = None
    last_paragraph: str | None = None
    indication: str | None = None
    history: str | None = None
    technique: str | None = None
    comparison: str | None = None

    @property
    def tier(self) -> Tier | None:
        """Where the reference comes from; None where the report says nothing of the images."""
        texts = (self.findings, self.impression, self.last_paragraph)
        return next((tier for tier, text in zip(TIERS, texts, strict=True) if text), None)

    @property
    def reference(self) -> str | None:
        """The findings, else the impression, else the last paragraph."""
        return self.findings or self.impression or self.last_paragraph


def canonical_name(header: str) -> str:
    """Return the name of a section from its header ("FINDGINGS" → "findings"); unknown ones in lower case."""
    name = header.lower().strip()
    if name in _CANONICAL:
        return _CANONICAL[name]
    if main := next((main for main in _MAIN if main in name), None):
        return main
    return "findings" if _DESCRIPTION.search(name) else name


def split_sections(text: str) -> list[Section]:
    """Split a report into its sections, the text before the first header ("preamble") included.

    Without any header the list holds one section "full report". Empty findings and impressions are left out. Where
    neither is left, a further section "last_paragraph" is split off the last one at its first blank line.
    """
    sections = [s for s in _raw_sections(text) if s.name not in ("findings", "impression") or s.text.strip()]
    if not any(s.name in ("findings", "impression") for s in sections):
        sections[-1:] = _with_last_paragraph(sections[-1])
    return sections


def _raw_sections(text: str) -> list[Section]:
    header = _HEADER.search(text)
    if header is None:
        return [Section("full report", text, 0)]
    sections = [Section("preamble", text[: header.start(1)], 0)]
    while header is not None:
        start = header.end()
        following = _HEADER.search(text, start)  # a header takes its end of line with it: none follows right below it
        end = len(text) if following is None else following.start()
        sections.append(Section(canonical_name(header[1]), text[start:end], start))
        header = following
    return sections


def _with_last_paragraph(section: Section) -> list[Section]:
    head, blank_line, tail = section.text.partition(_BLANK_LINE)
    if not blank_line:
        return [section]
    start = section.start + len(head) + len(blank_line)
    return [Section(section.name, head, section.start), Section("last_paragraph", tail, start)]


def section_spans(text: str, study_id: str | None = None) -> dict[str, Span]:
    """Return name → span of the sections that matter; `study_id` (with or without its "s") finds the exceptions.

    Names are those of ReportSections' fields. A span whose text is blank is left out, and so is one that overlaps the
    exceptional body, since that would give the reference away.
    """
    text = _unix(text)
    last = {section.name: section for section in split_sections(text)}  # of a name, the last counts
    study = (study_id or "").removeprefix("s")
    if study in BODY_AT or study in BODY_UNDER:
        spans = _exceptional(last, study)
    else:
        spans = {name: section.span for name, section in last.items() if name in _FIELDS}
        spans |= _lone_paragraph(last)
    return {name: span for name, span in spans.items() if text[slice(*span)].strip()}


_FIELDS = frozenset(ReportSections.__dataclass_fields__)


def _exceptional(last: Mapping[str, Section], study: str) -> dict[str, Span]:
    """Spans of a study with a hand-made exception: its body, and what stands apart from it."""
    under = last.get(BODY_UNDER.get(study, ""))
    start, end = under.span if under else BODY_AT.get(study, (0, 0))
    context = {name: last[name].span for name in ("indication", "history", "technique", "comparison") if name in last}
    apart = {name: (a, b) for name, (a, b) in context.items() if b <= start or a >= end}
    return {"last_paragraph": (start, end), **apart}


def _lone_paragraph(last: Mapping[str, Section]) -> dict[str, Span]:
    """A report of one headerless paragraph: that paragraph, without the document's title."""
    if "last_paragraph" in last or "full report" not in last:
        return {}
    section = last["full report"]
    title = _TITLE.match(section.text)
    return {"last_paragraph": (title.end() if title else 0, len(section.text))}


def sections_at(text: str, spans: Mapping[str, Span]) -> ReportSections:
    """Return the sections of a report at known spans (of `section_spans`)."""
    text = _unix(text)
    return ReportSections(**{name: " ".join(text[start:end].split()) for name, (start, end) in spans.items()})


def read_report(text: str, study_id: str | None = None) -> ReportSections:
    """Return the sections of a report by the official rules; `study_id` finds the hand-made exceptions."""
    return sections_at(text, section_spans(text, study_id))


def _unix(text: str) -> str:
    """Line ends as the rules expect them."""
    return text.replace("\r\n", "\n") if "\r" in text else text
