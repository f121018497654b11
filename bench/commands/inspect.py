"""``bench list`` and ``bench show``."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path

import click

from bench import registry
from bench.errors import BenchError

LISTED = tuple(kind for kind in registry.KINDS if kind != "command")


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List the plugins: systems, metrics, datasets, encoders, annotators, llms."""
    wanted = [k for k in LISTED if kind is None or kind.rstrip("s") == k]
    if not wanted:
        raise BenchError(registry.miss("kind of plugin", kind or "", [f"{k}s" for k in LISTED]))
    rows = {k: [_row(k, name) for name in registry.table(k)] for k in wanted}
    if as_json:
        click.echo(json.dumps({f"{k}s": found for k, found in rows.items()}, indent=2, ensure_ascii=False))
        return
    for k, found in rows.items():
        click.echo(f"{k}s")
        width = max((len(row["name"]) for row in found), default=0)
        for row in found:
            click.echo(_folded(f"  {row['name']:<{width}}  ", row["help"]))
        if not found:
            click.echo("  (none installed)")


def _folded(name: str, text: str) -> str:
    """Return a line of the list; on a terminal folded below its text, in a pipe whole, for grep."""
    if not sys.stdout.isatty():
        return name + text
    columns = max(shutil.get_terminal_size().columns, len(name) + 20)
    indent = " " * len(name)
    return textwrap.fill(text, columns - 1, initial_indent=name, subsequent_indent=indent, break_on_hyphens=False)


def _row(kind: registry.Kind, name: str) -> dict[str, str]:
    try:
        found = registry.find(kind, name)
    except BenchError as err:
        return {"name": name, "help": f"(broken: {err})", "source": ""}
    argument = getattr(found.plugin, "argument", None)
    mark = "/" if kind in ("metric", "llm") else ":"
    shown = f"{name}{mark}<{argument}>" if argument else name
    return {"name": shown, "help": registry.help_line(found.plugin), "source": found.source}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--case", "case_id", help="Show one case: images, reference, report, evidence.")
@click.option(
    "--columns",
    type=click.Choice(["default", "full"]),
    default="default",
    help="full: also RadFact precision and recall.",
)
@click.option("--explain", "explained", metavar="METRIC", help="With --case: draw a metric's marks on the texts.")
def show(run: Path, case_id: str | None, columns: str, explained: str | None) -> None:
    """Show the scores of the runs at or below a folder, or one case of a run."""
    from rich.console import Console

    from bench import show as display

    if case_id is not None:
        display.print_case(Console(), run, case_id, explained)
    else:
        display.print_runs(Console(), run, full=columns == "full")
