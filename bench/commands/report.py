"""``bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bench.cli import path_option


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@path_option("--out", "-o", help="Folder of the pages. Default: page, in the run's folder or beside the runs.")
@click.option("--baseline", metavar="LABEL", help="The run that stands first, to which others differ.")
@click.option(
    "--images",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="Small copies of the images inside the pages, or none.",
)
@click.option("--side", type=click.IntRange(64, 4096), default=512, show_default=True, help="Longest side of a copy.")
@click.option(
    "--explain",
    metavar="LABEL,…|all|none",
    default="all",
    show_default=True,
    help="Metrics that mark the texts. all: those that are computed here as they were when the run was scored.",
)
@click.option("--cases", type=click.IntRange(min=1), help="Pages for so many cases, the worst of the first run.")
@click.option("--worst", metavar="COLUMN", help="By which column they are worst (100 pages without --cases).")
@click.option("--draws", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True, help="Paired resamples.")
@click.option("--trials", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True, help="Random swaps.")
@click.option("--again", is_flag=True, help="Write every page anew, also those that are there.")
def report(
    runs: tuple[Path, ...],
    out: Path | None,
    baseline: str | None,
    images: Literal["auto", "none"],
    side: int,
    explain: str,
    cases: int | None,
    worst: str | None,
    draws: int,
    trials: int,
    again: bool,
) -> None:
    """Write HTML pages for looking through what went wrong in finished runs.

    \b
    bench report runs/demo-test-1234/sae-rad           one run
    bench report OURS THEIRS                           side by side; differences are to the first
    bench report OURS --worst RadFact --cases 200      pages for its two hundred worst cases

    The first page has scores, distributions, tables and a list of cases to sort, filter and search; each case has a
    page with its images, reference and reports, what the metrics say of them, and the system's evidence. Pages need no
    server and fetch nothing. No chat model is asked: what a judge said is shown where its answers are kept. A stopped
    command is continued by the same one.
    """
    from rich.console import Console

    from bench.compare import Settings
    from bench.pages.build import Choices, make

    messages = Console(stderr=True)
    settings = Settings(draws=draws, trials=trials)
    choices = Choices(out, baseline, images, side, explain, cases, worst, again, settings)
    made = make(runs, choices, messages)
    for note in made.notes:
        messages.print(note, markup=False, highlight=False)
    if made.n_unreadable:
        messages.print(f"{made.n_unreadable} images cannot be shown; their places say why.", markup=False)
    kept = f" ({made.n_pages - made.n_written} were there)" if made.n_written < made.n_pages else ""
    messages.print(f"{made.n_pages} of {made.n_cases} cases have a page{kept}.", markup=False, highlight=False)
    click.echo(made.index)
