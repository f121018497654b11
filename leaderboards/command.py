"""``bench leaderboard``: the paper's tables with the rows of finished runs, and the commands around them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from leaderboards.model import Table
    from leaderboards.significance import PairedTest

DEFAULT_RUNS = Path("runs")
PICTURES = ("png", "pdf")
SUFFIXES = {".md": "md", ".csv": "csv", ".tex": "tex", ".html": "html", ".htm": "html", ".png": "png", ".pdf": "pdf"}


COMMANDS = {
    "show": "leaderboards.command:show",
    "add": "leaderboards.living.commands:add",
    "check": "leaderboards.living.commands:check",
    "publish": "leaderboards.living.commands:publish",
    "rexrank": "leaderboards.rexrank:rexrank",
}
"""Name of a command below ``bench leaderboard`` → "module:attribute", imported when it is called."""


class Leaderboards(click.Group):
    """Commands by name; arguments that begin with none of them are those of ``show``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name that may be left out before the arguments."""
        named = bool(args) and args[0] in (*COMMANDS, *ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["show", *args])

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=Leaderboards)
def leaderboard() -> None:
    """Show a table of the SAE-Rad paper, with the rows of your runs beside the published ones.

    \b
    bench leaderboard                 the tables there are
    bench leaderboard table1          one of them; the name "show" may be left out
    bench leaderboard ./mine.yaml     a table of your own
    bench leaderboard add RUN --to BOARD, check BOARD, publish BOARD --out SITE     a leaderboard to keep
    """


@click.command()
@click.argument("name", required=False)
@click.option(
    "--runs",
    "runs_dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder with finished runs, at any depth. Default: runs.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["md", "csv", "csv-long", "tex", "html", *PICTURES]),
    help="Default: by the suffix of --out; else a drawn table on a terminal, md elsewhere. csv: a row a system; "
    "csv-long: a row a number, for data frames. png and pdf need --out.",
)
@click.option(
    "--columns",
    type=click.Choice(["default", "full"]),
    default="default",
    help="full: also RadFact precision and recall, and variants of metrics.",
)
@click.option(
    "--baseline",
    metavar="LABEL",
    help="Mark what differs significantly from this run: in pairs by patient, corrected by Holm's method.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="Swaps behind each p-value of --baseline. Default: 10,000.",
)
@click.option("--published/--no-published", default=True, help="Whether published rows are shown. Default: yes.")
@click.option("--intervals/--no-intervals", default=True, help="Whether intervals are shown. Default: yes.")
@click.option(
    "--price",
    metavar="USD",
    help='Fills the costs of table4: USD for an hour of the device, and what it is the price of: "0.80/h one A6000".',
)
@click.option("--out", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write to FILE instead.")
def show(
    name: str | None,
    runs_dir: Path | None,
    fmt: str | None,
    columns: str,
    baseline: str | None,
    trials: int | None,
    published: bool,
    intervals: bool,
    price: str | None,
    out: Path | None,
) -> None:
    """Show a table: published rows, and those of your runs beside them.

    NAME is a table that comes with the package (without it they are listed), or a YAML file that defines one.
    """
    if name is None:
        _list()
        return
    how = _destination(fmt, out)
    test = _test(baseline, trials)
    table = _build(name, runs_dir, columns, test, price, published=published, intervals=intervals)
    if out is not None:
        _write(table, how, out)
    elif fmt is None and sys.stdout.isatty():
        _draw(table)
    else:
        _print(table, how)


def _list() -> None:
    from leaderboards.tables import names

    titles = names()
    for name, title in titles.items():
        click.echo(f"{name:{max(map(len, titles))}}  {title}")


def _destination(fmt: str | None, out: Path | None) -> str:
    """Return the format to write, before anything is read. Raises BenchError where it cannot be written there."""
    from bench.errors import BenchError

    if out is None:
        if fmt in PICTURES:
            raise BenchError(f"--format {fmt}: a picture is written to a file: add --out table.{fmt}")
        return fmt or "md"
    if not out.parent.is_dir():
        raise BenchError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise BenchError(f"--out {out}: is a folder; name a file")
    known = fmt or SUFFIXES.get(out.suffix.lower())
    if known is None:
        raise BenchError(
            f"--out {out}: the suffix tells no format: name it {', '.join(SUFFIXES)}, or add --format (no picture)"
        )
    if known in PICTURES and out.suffix.lower() != f".{known}":
        raise BenchError(f"--out {out}: a picture's file ends in its format: {out.with_suffix(f'.{known}')}")
    return known


def _test(baseline: str | None, trials: int | None) -> PairedTest | None:
    from bench.errors import BenchError

    if baseline is None:
        if trials is not None:
            raise BenchError("--trials: there is nothing to test; add --baseline LABEL")
        return None
    from leaderboards.significance import TRIALS, PairedTest

    return PairedTest(baseline, trials or TRIALS)


def _build(
    name: str,
    runs_dir: Path | None,
    columns: str,
    test: PairedTest | None,
    price: str | None,
    *,
    published: bool,
    intervals: bool,
) -> Table:
    """Build the table; only a folder that was asked for has to exist."""
    from dataclasses import replace
    from typing import cast

    from leaderboards.compute import Price
    from leaderboards.notes import what_remains
    from leaderboards.tables import Columns, build

    folder = runs_dir or (DEFAULT_RUNS if DEFAULT_RUNS.is_dir() else None)
    told = None if price is None else Price.parse(price)
    shown = {"published": published, "intervals": intervals}
    table = build(name, folder, cast(Columns, columns), test=test, price=told, **shown)
    if folder is None and table.measurable:
        remains = what_remains(any(table.rows()))
        note = f"There is no folder {DEFAULT_RUNS} here: {remains}. --runs DIR names another."
        table = replace(table, notes=(note, *table.notes))
    return table


def _write(table: Table, fmt: str, out: Path) -> None:
    if fmt in PICTURES:
        from leaderboards import figures

        figures.write(table, out)
    else:
        from bench.store import write_text
        from leaderboards.renderers import render

        write_text(out, render(table, fmt))
    click.echo(f"{table.name} written to {out}", err=True)
    _tell_notes(table, fmt)


def _print(table: Table, fmt: str) -> None:
    from leaderboards.renderers import render

    click.echo(render(table, fmt), nl=False)
    _tell_notes(table, fmt)


def _tell_notes(table: Table, fmt: str) -> None:
    """Tell on standard error what CSV has no place for."""
    if fmt in ("csv", "csv-long"):
        for note in table.notes:
            click.echo(f"- {note}", err=True)


def _draw(table: Table) -> None:
    from rich.console import Console

    from leaderboards.renderers.terminal import Drawing

    Console().print(Drawing(table))
