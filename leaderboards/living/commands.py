"""``bench leaderboard add``, ``check`` and ``publish``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from leaderboards.living.checked import Checked, ColumnCheck, EntryCheck

run_code_option = click.option(
    "--run-code",
    metavar="FILE.py",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file of code that an entry's run.json names and that may be run here: read it first.",
)
COLORS: Mapping[str, str] = {"verified": "green", "differs": "bold red", "recipe": "yellow", "unable": "yellow"}


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--to", "folder", metavar="FOLDER", required=True, type=click.Path(path_type=Path), help="The leaderboard."
)
@click.option(
    "--as", "pattern", metavar="NAME", help="Name of the entry; may hold {label}, {dataset}, {split}, {system}."
)
@run_code_option
def add(runs: tuple[Path, ...], folder: Path, pattern: str | None, run_code: tuple[Path, ...]) -> None:
    """Copy finished runs, or those below folders, into a living leaderboard.

    \b
    bench leaderboard add runs/demo-test-1234 --to board
    bench leaderboard add runs --to board --as '{dataset}-{split}-{label}'

    What is needed to verify and to show a run is copied: its cases, reports, statistics and scores. A run that is not
    finished, is damaged, or whose statistics do not give its summary is refused, and so is a name that another run has.
    """
    from leaderboards.living import entries

    private = False
    for one in entries.add(runs, folder, pattern, run_code):
        private |= one.credentialed
        click.echo(f"{one.name}: {'added' if one.new else 'is there already'}")
        for note in one.notes:
            click.echo(f"  {note}")
    if private:
        click.echo("Credentialed data: these entries are private to this user and must not be shared.", err=True)
    click.echo(f"Verify: bench leaderboard check {folder}", err=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--rescore",
    metavar="all|nlg|LABEL,…",
    help="Metrics to score again. Default: all but those that ask a chat model.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=1e-6,
    show_default=True,
    help="Numbers that differ by less than this share count as the same.",
)
@click.option("--device", default="auto", show_default=True, help="A torch device.")
@click.option(
    "--attest-zero-retention",
    "attested",
    metavar="HOST",
    multiple=True,
    help="A host that may see credentialed texts, see run.attest_zero_retention.",
)
@run_code_option
@click.option("--strict", is_flag=True, help="Exit with 1 also where something could not be verified.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON on standard output.")
def check(
    folder: Path,
    rescore: str | None,
    tolerance: float,
    device: str,
    attested: tuple[str, ...],
    run_code: tuple[Path, ...],
    strict: bool,
    as_json: bool,
) -> int:
    """Verify each entry: score its reports again and compare with what it says.

    \b
    bench leaderboard check board
    bench leaderboard check board --rescore nlg
    bench leaderboard check board --rescore all        also what asks a chat model

    Metrics are scored as the entry's run.json configures them, where they can work here; code of a file that it names
    is run only where --run-code names the file too. Nothing in the entries is changed, and what was found is kept in
    FOLDER/checked.json. Exit code: 0, or 1 where an entry differs from what its
    reports give, 2 where the command could not work.
    """
    from rich.console import Console

    from bench import store
    from bench.progress import progress
    from leaderboards.living import checked, entries
    from leaderboards.living.verify import Settings, check_all

    found = entries.read(folder)
    private = any(map(entries.is_private, found))
    if private:
        os.umask(0o077)
    settings = Settings(rescore, tolerance, device, attested, run_code)
    console = Console(stderr=True)
    with store.locked(folder, wait=True):  # a folder that cannot be written is told before anything is scored
        before = checked.read(folder)
    results = check_all(
        found,
        before,
        settings,
        lambda total: progress(console, "scored again", total, "pairs"),
        lambda name, one: checked.keep(folder, name, one, entries.names(folder), private=private),
    )
    if as_json:
        click.echo(json.dumps(results.model_dump(mode="json"), indent=2, ensure_ascii=False))
    else:
        _print(results)
    return _exit_code(results, strict)


def _exit_code(results: Checked, strict: bool) -> int:
    overall = {one.overall for one in results.entries.values()}
    return int("failed" in overall or (strict and overall != {"verified"}))


def _print(results: Checked) -> None:
    from rich.console import Console

    console = Console()
    console.print(_matrix(results.entries))
    console.print(_legend(results.entries), style="dim", markup=False, highlight=False)
    for name, found in results.entries.items():
        for line in _lines(found):
            console.print(f"{name}: {line}", markup=False, highlight=False)
    console.print(_conclusion(results.entries), markup=False, highlight=False)


def _matrix(found: Mapping[str, EntryCheck]) -> Table:
    """Return a table with a row an entry and a column a metric."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    labels = list(dict.fromkeys(label for one in found.values() for label in one.metrics))
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("entry", overflow="fold", min_width=min(30, max(map(len, (*found, "entry")))))
    for heading in (*labels, "files"):
        table.add_column(Text(heading), overflow="fold", justify="center")
    for name, one in found.items():
        cells = [_mark(one.metrics[label].columns.values()) if label in one.metrics else "" for label in labels]
        table.add_row(Text(name), *cells, Text("✗", "bold red") if one.faults else Text("✓", "green"))
    return table


def _mark(columns: Iterable[ColumnCheck]) -> Text:
    """Return the mark of the gravest state of a metric's columns."""
    from rich.text import Text

    from leaderboards.living.checked import GRAVEST, MARKS

    states = {column.state for column in columns}
    gravest = next((state for state in GRAVEST if state in states), GRAVEST[-1])
    return Text(MARKS[gravest], COLORS.get(gravest, "dim"))


def _legend(found: Mapping[str, EntryCheck]) -> str:
    """Explain the marks that occur."""
    from leaderboards.living.checked import GRAVEST, MARKS, WORDS

    states = {column.state for one in found.values() for column in one.columns().values()}
    return "   ".join(f"{MARKS[state]} {WORDS[state]}" for state in GRAVEST if state in states)


def _lines(found: EntryCheck) -> list[str]:
    """Return what is to be said of an entry: faults, what differs, what could not be verified and why."""
    from leaderboards.living.checked import GRAVEST, WORDS

    lines = [f"FAULT: {fault}" for fault in found.faults]
    for state in GRAVEST[:3]:
        details: dict[str, list[str]] = {}
        for key, one in found.columns().items():
            if one.state == state:
                details.setdefault(one.detail, []).append(key)
        lines += [f"{', '.join(keys)}: {WORDS[state]}: {detail}" for detail, keys in details.items()]
    return [*lines, *found.notes]


def _conclusion(found: Mapping[str, EntryCheck]) -> str:
    counts = {"verified": 0, "partly": 0, "failed": 0, "unchecked": 0}
    for one in found.values():
        counts[one.overall] += 1
    words = {
        "verified": "verified",
        "partly": "verified in part",
        "failed": "not what their reports give",
        "unchecked": "of which nothing could be verified here",
    }
    told = [f"{n} {words[state]}" for state, n in counts.items() if n]
    return f"{len(found)} {'entry' if len(found) == 1 else 'entries'}: {', '.join(told)}."


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", "site", metavar="SITE", required=True, type=click.Path(path_type=Path), help="Folder of the site."
)
@click.option("--table", "tables", metavar="NAME,…", help="Tables of bench leaderboard to add as pages of their own.")
@click.option("--title", default="Leaderboard", show_default=True, help="Title of the site.")
@click.option("--texts", is_flag=True, help="Publish reports too; never those of credentialed data.")
@click.option("--unverified", is_flag=True, help="Also show entries that were not verified, marked as such.")
def publish(folder: Path, site: Path, tables: str | None, title: str, texts: bool, unverified: bool) -> None:
    """Write a living leaderboard as a static site: scores, intervals, recipes, and what was verified.

    \b
    bench leaderboard publish board --out site
    bench leaderboard publish board --out site --table table1,today --title "Our leaderboard"

    Of credentialed data only scores are published. An entry that was not checked since it was last changed is refused
    (--unverified shows it, marked); of one that differs from what its reports give no number is published. The site is
    built beside SITE and takes its place in one step; a SITE that holds anything else is refused.
    """
    from leaderboards.living.publish import Settings
    from leaderboards.living.publish import publish as publish_site

    names = tuple(name.strip() for name in tables.split(",")) if tables else ()
    for line in publish_site(folder, site, Settings(title, names, texts, unverified)):
        click.echo(line, err=True)
    click.echo(f"Published: {site}/index.html")
