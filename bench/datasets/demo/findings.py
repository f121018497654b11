"""What the demo's radiographs can show, how findings go together, and how they change from study to study."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

VERSION = 1
"""Raised with every change of drawing, reports or layout: part of the fingerprint and of every random stream."""

Side = Literal["", "left", "right", "bilateral"]
Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One true finding of a study."""

    code: str
    """A key of `CATALOGUE`."""
    side: str = ""
    """The patient's side: "left", "right", "bilateral", or "" where the finding has none."""
    severity: str = ""
    """A grade or kind out of the catalogue, or ""."""
    zone: str = ""
    """"upper", "mid" or "lower" lung zone, or ""."""
    size: int = 0
    """Millimetres: width of a nodule or mass, distance of an endotracheal tube from the carina; 0 for others."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Return the signs of the horizontal image axis concerned: -1 is image left, the patient's right."""
        return {"left": (1,), "right": (-1,), "bilateral": (-1, 1)}.get(self.side, (1,))


@dataclass(frozen=True, slots=True)
class Kind:
    """What values a finding can take, with their odds, and how it behaves over time."""

    sides: Mapping[str, float] = field(default_factory=dict)
    severities: Mapping[str, float] = field(default_factory=dict)
    zones: Mapping[str, float] = field(default_factory=dict)
    course: Literal["acute", "fixed", "device"] = "acute"
    """Acute findings come, go and change grade; fixed ones stay; devices are taken out but have no grade."""
    graded: bool = False
    """True where `severities` are ordered grades, mildest first."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Severity → least and greatest size in mm, for findings that are measured."""


_LR = {"left": 0.5, "right": 0.5}
_ZONES = {"upper": 0.22, "mid": 0.23, "lower": 0.55}

CATALOGUE: Mapping[str, Kind] = {
    "endotracheal_tube": Kind(
        severities={"standard": 0.8, "low": 0.2}, course="device", sizes={"standard": (32, 58), "low": (5, 14)}
    ),
    "nasogastric_tube": Kind(course="device"),
    "central_line": Kind({"right": 0.8, "left": 0.2}, course="device"),
    "picc": Kind({"right": 0.65, "left": 0.35}, course="device"),
    "chest_tube": Kind(_LR, course="device"),
    "pacemaker": Kind({"left": 0.85, "right": 0.15}, course="fixed"),
    "sternotomy": Kind(course="fixed"),
    "low_lung_volumes": Kind(),
    "hyperinflation": Kind(course="fixed"),
    "consolidation": Kind({"left": 0.4, "right": 0.45, "bilateral": 0.15}, zones=_ZONES),
    "atelectasis": Kind({"left": 0.35, "right": 0.25, "bilateral": 0.4}, {"linear": 0.5, "patchy": 0.5}),
    "edema": Kind(severities={"mild": 0.45, "moderate": 0.35, "severe": 0.2}, graded=True),
    "nodule": Kind(_LR, zones={"upper": 0.4, "mid": 0.35, "lower": 0.25}, course="fixed", sizes={"": (9, 15)}),
    "mass": Kind(_LR, zones={"upper": 0.5, "mid": 0.3, "lower": 0.2}, course="fixed", sizes={"": (34, 58)}),
    "effusion": Kind(
        {"left": 0.4, "right": 0.4, "bilateral": 0.2}, {"small": 0.5, "moderate": 0.3, "large": 0.2}, graded=True
    ),
    "pneumothorax": Kind(_LR, {"small": 0.5, "moderate": 0.3, "large": 0.2}, graded=True),
    "elevated_hemidiaphragm": Kind({"right": 0.6, "left": 0.4}, course="fixed"),
    "cardiomegaly": Kind(severities={"mild": 0.45, "moderate": 0.35, "severe": 0.2}, course="fixed", graded=True),
    "aortic_tortuosity": Kind(course="fixed"),
    "aortic_calcification": Kind(course="fixed"),
    "rib_fracture": Kind(_LR, course="fixed"),
    "scoliosis": Kind({"right": 0.6, "left": 0.4}, {"mild": 0.6, "moderate": 0.4}, course="fixed"),
}
"""Every finding the demo knows, in the order that truth files list them."""

_SCENARIOS: tuple[tuple[float, Mapping[str, float]], ...] = (
    (0.42, {}),
    (  # heart failure
        0.15,
        {
            "cardiomegaly": 0.9,
            "edema": 0.7,
            "effusion": 0.6,
            "pacemaker": 0.3,
            "sternotomy": 0.2,
            "aortic_calcification": 0.15,
        },
    ),
    (0.12, {"consolidation": 1.0, "effusion": 0.3, "picc": 0.15, "atelectasis": 0.1}),  # pneumonia
    (  # intensive care
        0.13,
        {
            "endotracheal_tube": 0.85,
            "nasogastric_tube": 0.75,
            "central_line": 0.6,
            "atelectasis": 0.4,
            "effusion": 0.4,
            "edema": 0.3,
            "consolidation": 0.25,
            "low_lung_volumes": 0.25,
        },
    ),
    (0.07, {"hyperinflation": 1.0, "nodule": 0.2, "pneumothorax": 0.12, "aortic_calcification": 0.2}),  # smokers
    (  # after heart surgery
        0.07,
        {
            "sternotomy": 0.85,
            "chest_tube": 0.55,
            "pneumothorax": 0.4,
            "effusion": 0.45,
            "atelectasis": 0.45,
            "central_line": 0.3,
            "pacemaker": 0.1,
        },
    ),
    (0.06, {"rib_fracture": 0.9, "pneumothorax": 0.5, "chest_tube": 0.4, "atelectasis": 0.2}),  # trauma
    (0.08, {"mass": 0.6, "nodule": 0.5, "effusion": 0.3, "picc": 0.35, "elevated_hemidiaphragm": 0.12}),  # tumour
    (  # old age
        0.08,
        {"scoliosis": 0.45, "aortic_tortuosity": 0.55, "aortic_calcification": 0.45, "cardiomegaly": 0.25},
    ),
    (0.06, {"low_lung_volumes": 0.7, "atelectasis": 0.7, "elevated_hemidiaphragm": 0.4}),  # shallow breath
)
"""Odds of a clinical picture, and of each finding in it."""

_EXCLUSIVE = (("hyperinflation", "low_lung_volumes"), ("hyperinflation", "elevated_hemidiaphragm"))
_MOST = 7


def possible(names: Collection[str]) -> bool:
    """Tell whether findings can stand together in one chest (a chest tube needs something to drain)."""
    if any(a in names and b in names for a, b in _EXCLUSIVE) or len(names) > _MOST:
        return False
    return "chest_tube" not in names or "pneumothorax" in names or "effusion" in names


def draw_names(rng: np.random.Generator) -> Names:
    """Draw the findings of a patient's first study: a clinical picture, then its findings."""
    odds = np.array([weight for weight, _ in _SCENARIOS])
    table = _SCENARIOS[int(rng.choice(len(odds), p=odds / odds.sum()))][1]
    while True:
        names = frozenset(code for code, chance in table.items() if rng.random() < chance)
        if possible(names):
            return names


def _draw(odds: Mapping[str, float], rng: np.random.Generator) -> str:
    if not odds:
        return ""
    weights = np.array(list(odds.values()))
    return list(odds)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def draw_finding(code: str, names: Names, rng: np.random.Generator) -> Finding:
    """Draw side, severity and zone of one finding; heart failure makes effusions bilateral more often."""
    kind = CATALOGUE[code]
    sides = kind.sides
    if code == "effusion" and names & {"edema", "cardiomegaly"}:
        sides = {"bilateral": 0.6, "right": 0.25, "left": 0.15}
    severity = _draw(kind.severities, rng)
    low, high = kind.sizes.get(severity, (0, 0))
    return Finding(code, _draw(sides, rng), severity, _draw(kind.zones, rng), int(rng.integers(low, high + 1)))


def settle(findings: Mapping[str, Finding], new: Collection[str]) -> tuple[Finding, ...]:
    """Return findings in catalogue order, the sides of `new` ones made to agree with the rest.

    A chest tube lies where there is something to drain, and pneumonia where its effusion is.
    """
    settled = dict(findings)
    drained = settled.get("pneumothorax") or settled.get("effusion")
    if "chest_tube" in settled and "chest_tube" in new and drained and drained.side != "bilateral":
        settled["chest_tube"] = replace(settled["chest_tube"], side=drained.side)
    pneumonia, fluid = settled.get("consolidation"), settled.get("effusion")
    if pneumonia and fluid and "consolidation" in new and "bilateral" not in (pneumonia.side, fluid.side):
        settled["consolidation"] = replace(pneumonia, side=fluid.side)
    return tuple(settled[code] for code in CATALOGUE if code in settled)


def draw_findings(names: Names, rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw sides, severities and zones for a set of findings."""
    return settle({code: draw_finding(code, names, rng) for code in CATALOGUE if code in names}, names)


def names_of(findings: Collection[Finding]) -> Names:
    """Return the combination that novelty is judged by: the codes alone, so any side or grade of them is covered."""
    return frozenset(finding.code for finding in findings)


# ------------------------------------------------------------------ over time

_SLOW = frozenset({"scoliosis", "hyperinflation", "aortic_calcification", "aortic_tortuosity", "mass"})
"""Findings that do not appear from one week to the next."""

Change = Literal["", "new", "worse", "better", "same"]


def _step(finding: Finding, rng: np.random.Generator) -> Finding | None:
    kind = CATALOGUE[finding.code]
    if kind.course == "fixed":
        return finding
    if rng.random() < (0.3 if kind.course == "device" else 0.22):
        return None
    if not kind.graded:
        return finding
    grades = list(kind.severities)
    at = grades.index(finding.severity) + int(rng.choice([-1, 0, 1], p=[0.35, 0.4, 0.25]))
    return replace(finding, severity=grades[min(max(at, 0), len(grades) - 1)])


def evolve(
    findings: tuple[Finding, ...], allowed: Callable[[Names], bool], rng: np.random.Generator
) -> tuple[Finding, ...]:
    """Return the findings of a follow-up: some gone, some of another grade, sometimes one more.

    Where chance finds no combination that is possible and `allowed` in 30 draws, the combination stays as it was.
    """
    for _ in range(30):
        later = {f.code: f for earlier in findings if (f := _step(earlier, rng))}
        if rng.random() < 0.35:
            for code in sorted(draw_names(rng) - later.keys() - _SLOW)[:2]:
                later[code] = draw_finding(code, frozenset(later), rng)
        if possible(later) and allowed(frozenset(later)):
            return settle(later, later.keys() - names_of(findings))
    return findings


def change(finding: Finding, earlier: Collection[Finding]) -> Change:
    """Say how a finding compares with the study before (by grade, else "same")."""
    before = {f.code: f for f in earlier}.get(finding.code)
    if before is None or (before.side, before.zone) != (finding.side, finding.zone):
        return "new"
    kind = CATALOGUE[finding.code]
    if not kind.graded or before.severity == finding.severity:
        return "same"
    grades = list(kind.severities)
    return "worse" if grades.index(finding.severity) > grades.index(before.severity) else "better"
