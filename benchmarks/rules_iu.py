"""How well the rule-based reader's labels agree with the indexing terms of the IU X-Ray reports (Open-i).

    python benchmarks/rules_iu.py [FOLDER] [--half odd|even|both] [--errors LABEL]

FOLDER holds ``indiana_reports.csv`` (default: $BENCH_IU_XRAY). A report is its findings and impression together, since
the terms were given to the whole report. `TAGS` says which terms stand for which of CheXpert's observations. Lexicon,
rules and `TAGS` were developed on reports of even uid; the odd ones were set aside for the figures in docs/rules.md.
The terms do not know uncertainty: an uncertain label counts as positive, and as negative in the last column.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metrics.rules import annotation

Term = tuple[str, ...]
"""A MeSH term and its qualifiers: ("Opacity", "lung", "base", "left")."""


def _is(*heads: str) -> Callable[[Term], bool]:
    return lambda term: term[0] in heads


def _with(heads: Sequence[str], *qualifiers: str) -> Callable[[Term], bool]:
    return lambda term: term[0] in heads and any(q in part for q in qualifiers for part in term[1:])


TAGS: Mapping[str, Sequence[Callable[[Term], bool]]] = {
    "Enlarged Cardiomediastinum": [_is("Mediastinum"), _with(["Shift"], "mediastinum")],
    "Cardiomegaly": [_is("Cardiomegaly"), _with(["Cardiac Shadow", "Heart"], "enlarged")],
    "Lung Opacity": [
        _is("Opacity", "Airspace Disease", "Infiltrate", "Lung Diseases, Interstitial", "Pulmonary Fibrosis"),
        _with(["Markings"], "interstitial", "prominent"),
        _with(["Density", "Cicatrix"], "lung", "lobe", "pulmonary"),
    ],
    "Lung Lesion": [
        _is("Nodule", "Mass", "Cavitation"),
        _with(["Opacity", "Density"], "round"),
    ],
    "Edema": [_is("Pulmonary Edema", "Pulmonary Congestion", "Heart Failure")],
    "Consolidation": [_is("Consolidation")],
    "Pneumonia": [_is("Pneumonia")],
    "Atelectasis": [_is("Pulmonary Atelectasis")],
    "Pneumothorax": [_is("Pneumothorax", "Hydropneumothorax", "Hemopneumothorax")],
    "Pleural Effusion": [_is("Pleural Effusion", "Hydropneumothorax", "Hemopneumothorax", "Hemothorax")],
    "Pleural Other": [_with(["Thickening"], "pleura"), _is("Pulmonary Fibrosis")],
    "Fracture": [_is("Fractures, Bone")],
    "Support Devices": [
        _is("Catheters, Indwelling", "Implanted Medical Device", "Medical Device", "Tube, Inserted", "Stents"),
        _is("Surgical Instruments", "Sutures", "Spinal Fusion"),
    ],
    "No Finding": [_is("normal", "Technical Quality of Image Unsatisfactory")],
}
"""CheXpert's observation → terms that stand for it, any of them."""


@dataclass(frozen=True)
class Report:
    """One indexed report."""

    uid: int
    text: str
    terms: frozenset[Term]

    def tagged(self, label: str) -> bool:
        """Tell whether a term stands for the label; for No Finding, every term must (devices aside)."""
        if label == "No Finding":
            allowed = [*TAGS[label], *TAGS["Support Devices"]]
            return all(any(test(term) for test in allowed) for term in self.terms)
        return any(test(term) for test in TAGS[label] for term in self.terms)


@dataclass(frozen=True)
class Agreement:
    """Counts of one label over reports."""

    both: int
    only_read: int
    only_tagged: int

    @property
    def n(self) -> int:
        """Reports that are tagged."""
        return self.both + self.only_tagged

    @property
    def precision(self) -> float:
        """Share of the labels read that are tagged; 0 where nothing is."""
        return self.both / max(self.both + self.only_read, 1)

    @property
    def recall(self) -> float:
        """Share of the tags that are read; 0 where nothing is."""
        return self.both / max(self.n, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return 2 * self.both / max(2 * self.both + self.only_read + self.only_tagged, 1)


def reports(folder: Path) -> list[Report]:
    """Read the indexed reports that have a text, in the file's order."""
    with (folder / "indiana_reports.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    made = []
    for row in rows:
        text = "\n\n".join(filter(None, (row["findings"].strip(), row["impression"].strip())))
        terms = frozenset(tuple(p.strip() for p in term.split("/")) for term in row["MeSH"].split(";"))
        if text and ("No Indexing",) not in terms:
            made.append(Report(int(row["uid"]), text, terms))
    return made


def half(given: Iterable[Report], which: str) -> list[Report]:
    """Return the reports of odd or even uid, or both."""
    return [r for r in given if which == "both" or r.uid % 2 == (which == "odd")]


def measure(given: Sequence[Report], uncertain: bool = True) -> dict[str, Agreement]:
    """Return the agreement of each label; `uncertain` says what an uncertain label counts as."""
    found = [annotation(report.text)["labels"] for report in given]
    positive = (1, -1) if uncertain else (1,)
    made = {}
    for label in TAGS:
        pairs = [(said[label] in positive, report.tagged(label)) for said, report in zip(found, given, strict=True)]
        made[label] = Agreement(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True))))
    return made


def table(given: Sequence[Report]) -> str:
    """Return the agreement as a Markdown table."""
    lines = ["| label | n | precision | recall | F1 | F1, uncertain as negative |", "|---|--:|--:|--:|--:|--:|"]
    strict = measure(given, uncertain=False)
    for label, a in measure(given).items():
        numbers = f"{a.precision:.3f} | {a.recall:.3f} | {a.f1:.3f} | {strict[label].f1:.3f}"
        lines.append(f"| {label} | {a.n} | {numbers} |")
    return "\n".join(lines)


def errors(given: Sequence[Report], label: str) -> str:
    """Return the texts on which reader and terms differ, for a look at the screen."""
    lines = []
    for report in given:
        said, tagged = annotation(report.text)["labels"][label] in (1, -1), report.tagged(label)
        if said != tagged:
            terms = "; ".join("/".join(term) for term in sorted(report.terms))
            lines.append(f"{'+' if said else '-'} {report.uid} [{terms}]\n    {' '.join(report.text.split())}")
    return "\n".join(sorted(lines))


def main() -> None:
    """Print the table, or the differences of one label."""
    parser = argparse.ArgumentParser(description="Agreement of the rule-based reader with Open-i's indexing terms.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("BENCH_IU_XRAY", ".")))
    parser.add_argument("--half", choices=("odd", "even", "both"), default="odd")
    parser.add_argument("--errors", choices=TAGS)
    options = parser.parse_args()
    given = half(reports(options.folder), options.half)
    if options.errors:
        print(errors(given, options.errors))
        return
    start = time.process_time()
    for report in given:
        annotation(report.text)
    seconds = time.process_time() - start
    print(f"{len(given)} reports ({options.half} uid), {len(given) / seconds:,.0f} a CPU second, cold\n")
    print(table(given))


if __name__ == "__main__":
    main()
