"""``bench sweep``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from bench.cli import path_option
from bench.commands.run import choices

if TYPE_CHECKING:
    from bench.sweep import Sweep

LEADERBOARD = "leaderboard"
"""The command that prints tables; a plugin's, found like any other."""


@click.command()
@click.argument("file", required=False)
@click.option("--only", metavar="LABEL[,LABEL…]", help="Members to run. Default: all.")
@click.option(
    "--base", metavar="demo|paper|FILE", help="Configuration that the sweep is laid over, instead of its own."
)
@click.option("--metrics", metavar="all|nlg|clinical|every|NAME,…", help="Default: those of the base.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set one key, e.g. run.bootstrap=0 or, for all members, 'systems.*.sae.steps=500'. May be repeated.",
)
@click.option("--dataset", help="Dataset by name (bench list datasets).")
@click.option("--split", help="Split to report on. Default: the sweep's, else test.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of systems, of the draw of --limit, of resampling.")
@click.option("--limit", type=click.IntRange(min=1), help="Report on N cases only, drawn with the seed.")
@path_option("--out", "-o", help="Folder of the runs. Default: runs/<name of the sweep>-<hash of its configuration>.")
@click.option("--strict", is_flag=True, help="A metric without a value is a failure of the member.")
@click.option("--allow-failed", is_flag=True, help="Score cases without a report as empty reports, counted and shown.")
@click.option("--dry-run", is_flag=True, help="Resolve every member and print counts, disk and hours; run nothing.")
def sweep(
    file: str | None,
    only: str | None,
    base: str | None,
    out: Path | None,
    strict: bool,
    allow_failed: bool,
    dry_run: bool,
    **chosen: Any,
) -> None:
    """Run variants of a system on the same cases, and print the tables that compare them.

    FILE is a sweep file, or the name of one inside the package; without it these are listed. The same command continues
    a sweep that was stopped, and repeats nothing that was done. A member that fails does not stop the others.
    """
    if file is None:
        _list()
        return
    from rich.console import Console

    from bench import run as runner
    from bench import sweep as library

    what = library.load(file, base, choices(**chosen), only)
    check_tables(what)
    out = out or what.default_out
    runner.refuse_file(out)
    messages = Console(stderr=True)
    messages.print(f"Sweep: {what.config.source}. Runs: {out}", markup=False, highlight=False)
    context = runner.make_context(what.config, out, messages)
    if dry_run:
        library.print_plan(Console(), what, out, context)
        return
    result = library.run(what, out, context, strict=strict, allow_failed=allow_failed)
    if result.outcomes:
        _print(what, out, [outcome.summary for outcome in result.outcomes])
    result.check(len(what.members))


def _list() -> None:
    from bench.sweep import names

    for name, title in names().items():
        click.echo(f"{name:<14}{title}".rstrip())


def _print(what: Sweep, out: Path, summaries: Sequence[Any]) -> None:
    """Print the scores and the sweep's tables."""
    from rich.console import Console

    from bench import show

    show.print_scores(Console(), summaries)
    for name in what.tables:
        click.echo()
        _leaderboard(name, out)
    click.echo(f"\nRuns: {out}. A table again, or in another format: bench leaderboard NAME --runs {out}", err=True)


def check_tables(what: Sweep) -> None:
    """Raise BenchError where a table cannot be printed: better now than hours later."""
    from bench.errors import BenchError

    for name in what.tables:
        with TemporaryDirectory() as empty, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                _leaderboard(name, Path(empty))
            except (BenchError, click.ClickException) as err:
                raise BenchError(f"{what.config.source}: sweep.tables: {err}") from None


def _leaderboard(name: str, runs: Path) -> None:
    from bench import registry

    command: click.Command = registry.find("command", LEADERBOARD).plugin
    command.main(args=["--runs", str(runs), "--", name], prog_name=f"bench {LEADERBOARD}", standalone_mode=False)
