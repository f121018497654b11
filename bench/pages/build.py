"""Making a run page: the pages of cases block by block, then the first page; a stopped command goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from bench import compare, progress, store
from bench.config import digest
from bench.errors import BenchError
from bench.pages import html
from bench.pages.case import Film, case_page, films, image_files, view
from bench.pages.explain import Explainer, choose, explainers
from bench.pages.folder import Folder, html_bytes
from bench.pages.overview import case_list, dataset_of, facts, histograms, run_notes, score_rows, signatures
from bench.pages.pictures import Copy, embedded
from bench.pages.reading import Runs, read, worst

if TYPE_CHECKING:
    from jinja2 import Environment

STATE, INDEX, CASES = "page.json", "index.html", "cases"
AT_ONCE = 16
DEFAULT_WORST = 100


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line chooses."""

    out: Path | None = None
    """None: ``page`` in the run's folder, or beside the runs where there are several."""
    baseline: str | None = None
    images: Literal["auto", "none"] = "auto"
    side: int = 512
    explain: str = "all"
    cases: int | None = None
    """Pages for this many cases; None: all, or `DEFAULT_WORST` where `worst` is given."""
    worst: str | None = None
    """The column whose worst cases get a page."""
    again: bool = False
    """Write every page anew."""
    settings: compare.Settings = field(default_factory=compare.Settings)


@dataclass(frozen=True, slots=True)
class Made:
    """What a run page came to."""

    index: Path
    n_cases: int
    n_pages: int
    n_written: int
    """Pages written by this call; the others were there."""
    n_unreadable: int
    """Images of the pages written that could not be shown."""
    notes: Sequence[str]


def make(paths: Sequence[Path], choices: Choices, console: Console) -> Made:
    """Write the page of finished runs, or what of it is missing.

    Raises BenchError where a run is unfinished or damaged, where runs are of different data, or where the folder holds
    anything else.
    """
    runs = read(paths, choices.baseline, choices.settings)
    if runs.credentialed:
        os.umask(0o077)
        console.print("Credentialed data: the pages must not be shared; their folder is private.", markup=False)
    return _Page(runs, choices, console).make()


class _Page:
    def __init__(self, runs: Runs, choices: Choices, console: Console) -> None:
        self.runs, self.choices, self.console = runs, choices, console
        self.n_unreadable = 0

    def make(self) -> Made:
        places = self._places()
        asked = choose([one.run for one in self.runs.runs], self.choices.explain)
        self.explainers: list[list[Explainer]] = [explainers(one.run, asked) for one in self.runs.runs]
        out = self.choices.out or default_out(self.runs)
        folder = Folder(out, "a run page", STATE, frozenset({STATE, INDEX, CASES}))
        folder.check()
        with store.locked(out):
            folder.claim(private=self.runs.credentialed)
            recipe = self._recipe(places)
            self._begin(folder, recipe)
            written = self._write_cases(folder, places)
            folder.write(INDEX, html_bytes(self._index(places)))
            folder.finish(recipe, {"pages": len(places)})
        return Made(out / INDEX, len(self.runs.ids), len(places), written, self.n_unreadable, self._notes())

    def _places(self) -> list[int]:
        """Return the places of the cases that get a page, in the order of the run."""
        most = self.choices.cases or (DEFAULT_WORST if self.choices.worst else None)
        if most is None:
            return list(range(len(self.runs.ids)))
        return sorted(worst(self.runs, self.choices.worst)[:most])

    def _begin(self, folder: Folder, recipe: Mapping[str, Any]) -> None:
        """Take down what another recipe made: what is left can be gone on with."""
        if self.choices.again:
            folder.begin({}, {}, (CASES,))
        folder.begin(recipe, {}, (CASES,))
        for part in (folder.path / CASES).glob(".*.part"):  # of a command that was killed
            part.unlink()
        (folder.path / INDEX).unlink(missing_ok=True)

    def _recipe(self, places: Sequence[int]) -> dict[str, Any]:
        """Return all that the pages of cases depend on: as long as it is the same, a page that is there is right."""
        return {
            "look": html.look(),
            "runs": [
                [str(one.run.folder), one.label, store.read_json(one.run.folder / "done.json").get("summary_digest")]
                for one in self.runs.runs
            ],
            "credentialed": self.runs.credentialed,
            "cases": digest(list(places)),
            "images": self.choices.images,
            "side": self.choices.side,
            "explain": [[[e.label, e.why_not, e.signature] for e in own] for own in self.explainers],
        }

    # -------------------------------------------------------------- pages of cases

    def _write_cases(self, folder: Folder, places: Sequence[int]) -> int:
        around = dict(zip(places, zip([None, *places[:-1]], [*places[1:], None], strict=True), strict=True))
        written = 0
        with (
            progress.progress(self.console, "pages of cases", len(places), "pages") as bar,
            ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool,
        ):
            for start in range(0, len(places), AT_ONCE):
                block = places[start : start + AT_ONCE]
                todo = [place for place in block if not folder.there(case_page(place + 1))]
                for place, shown in zip(todo, self._films(todo, pool), strict=True):
                    self._write_case(folder, place, shown, around[place])
                written += len(todo)
                bar.advance(len(block))
        return written

    def _write_case(
        self, folder: Folder, place: int, shown: Sequence[Film], around: tuple[int | None, int | None]
    ) -> None:
        before, after = (None if other is None else other + 1 for other in around)
        case = view(self.runs, place, self.explainers, shown, (before, after))
        folder.write(case_page(place + 1), html_bytes(self._render("case.html", self._case_policy, view=case)))

    def _films(self, places: Sequence[int], pool: ThreadPoolExecutor) -> list[list[Film]]:
        """Return the images of cases, decoded side by side."""
        cases = [self.runs.case(self.runs.ids[place]) for place in places]
        if self.choices.images == "none":
            return [[] for _ in cases]
        files = list(dict.fromkeys(file for case in cases for file, _, _ in image_files(case)))
        copies = dict(zip(files, pool.map(self._copy, files), strict=True))
        self.n_unreadable += sum(copy.src is None for copy in copies.values())
        return [films(case, copies) for case in cases]

    def _copy(self, file: Path) -> Copy:
        return embedded(file, self.choices.side)

    # -------------------------------------------------------------- the first page

    def _index(self, places: Sequence[int]) -> str:
        pages = {self.runs.ids[place]: place + 1 for place in places}
        shown = html.script_json(case_list(self.runs, pages, self.title))
        return self._render(
            "run.html",
            self._index_policy,
            facts=facts(self.runs),
            notes=self._notes(),
            rows=score_rows(self.runs),
            signatures=signatures(self.runs),
            histograms=histograms(self.runs),
            tables=self._tables(),
            intervals=self._intervals(),
            n_cases=len(self.runs.ids),
            n_pages=len(places),
            data=shown,
        )

    def _notes(self) -> list[str]:
        silent = [
            f"{who}{explainer.label} is not explained: {explainer.why_not}"
            for one, own in zip(self.runs.runs, self.explainers, strict=True)
            for explainer in own
            if explainer.why_not
            for who in [f"{one.label}: " if len(self.runs.runs) > 1 else ""]
        ]
        return [*run_notes(self.runs), *dict.fromkeys(silent)]

    def _tables(self) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """Return name → (run, table) of each run that has a table of the name."""
        names = dict.fromkeys(table.name for one in self.runs.runs for table in one.tables)
        return [
            (name, [(one, table) for one in self.runs.runs for table in one.tables if table.name == name])
            for name in names
        ]

    def _intervals(self) -> str:
        """Say how the intervals of scores and differences were made."""
        ways: dict[str, list[str]] = {}
        for one in self.runs.runs:
            run = one.run.summary.get("run") or {}
            if run.get("bootstrap"):
                unit = "patient" if run.get("cluster") == "group" else "case"
                how = f"{run['confidence'] * 100:g}%, {run['bootstrap']:,} resamples of {unit}s"
                ways.setdefault(how, []).append(one.letter)
        told = [f"{how} ({', '.join(letters)})" if len(ways) > 1 else how for how, letters in ways.items()]
        said = [f"Intervals of scores: {'; '.join(told)}."] if told else []
        if self.runs.compared is not None:
            s = self.runs.compared.settings
            said.append(
                f"Differences: on the {len(self.runs.ids):,} cases that all runs share and that are OK in each; "
                f"{s.confidence * 100:g}% intervals from {s.draws:,} paired resamples of patients, p from {s.trials:,} "
                f"swaps, corrected by Holm's method; ✱ marks p < {1 - s.confidence:.2g}."
            )
        return " ".join(said)

    # -------------------------------------------------------------- templates

    @cached_property
    def title(self) -> str:
        """The runs' names."""
        labels = [one.label for one in self.runs.runs]
        return labels[0] if len(labels) == 1 else f"{labels[0]} and {', '.join(labels[1:])}"

    @cached_property
    def _style(self) -> str:
        return html.static("base.css") + html.static("run.css")

    @cached_property
    def _index_policy(self) -> _Scripts:
        return _Scripts.of(self._style, html.static("table.js") + html.static("run.js"))

    @cached_property
    def _case_policy(self) -> _Scripts:
        return _Scripts.of(self._style, html.static("case.js"))

    @cached_property
    def _environment(self) -> Environment:
        return html.environment(
            credentialed=self.runs.credentialed,
            title=self.title,
            what=f"{dataset_of(self.runs)}, {self.runs.runs[0].run.summary['split']}",
            runs=self.runs.runs,
            several=len(self.runs.runs) > 1,
            case_page=case_page,
            with_images=self.choices.images != "none",
        )

    def _render(self, template: str, scripts: _Scripts, **values: Any) -> str:
        return self._environment.get_template(template).render(scripts=scripts, **values)


@dataclass(frozen=True, slots=True)
class _Scripts:
    """Style and script of a page, and the policy that lets in nothing else."""

    style: str
    script: str
    policy: str

    @classmethod
    def of(cls, style: str, script: str) -> _Scripts:
        policy = (
            f"default-src 'none'; img-src data:; style-src {html.hash_of(style)}; script-src {html.hash_of(script)}; "
            "base-uri 'none'; form-action 'none'"
        )
        return cls(style, script, policy)


def default_out(runs: Runs) -> Path:
    """Return where the page goes: into the run's folder, or, of several runs, into the folder that holds them all.

    Raises BenchError where there is no such folder: --out is to say it.
    """
    folders = [one.run.folder for one in runs.runs]
    if len(folders) == 1:
        return folders[0] / "page"
    above = {folder.parent for folder in folders}
    if len(above) != 1:
        raise BenchError("the runs lie in different folders: say by --out where the page goes")
    return above.pop() / "page"
