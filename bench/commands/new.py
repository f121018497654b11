"""``bench new``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import path_option

if TYPE_CHECKING:
    from bench.scaffold.write import Sort


@click.group()
def new() -> None:
    """Write a new plugin package that passes its own tests.

    \b
    bench new system my-reader
    bench new system my-model --worker    its model runs in an environment of its own
    bench new metric my-metric
    """


@new.command("system")
@click.argument("name")
@click.option("--worker", is_flag=True, help="The model runs in a process and an environment of its own.")
@path_option("--out", "-o", help="Folder of the package. Default: its name, here.")
def new_system(name: str, worker: bool, out: Path | None) -> None:
    """Write the package of a system: something that writes findings."""
    _write("worker" if worker else "system", name, out)


@new.command("metric")
@click.argument("name")
@path_option("--out", "-o", help="Folder of the package. Default: its name, here.")
def new_metric(name: str, out: Path | None) -> None:
    """Write the package of a metric: something that scores findings."""
    _write("metric", name, out)


def _write(sort: Sort, name: str, out: Path | None) -> None:
    from bench.scaffold import write

    written = write(sort, name, out)
    kind = "metric" if sort == "metric" else "system"
    for file in written.files:
        click.echo(f"  {written.folder / file}")
    folder = shlex.quote(str(written.folder))
    click.echo(f'Next: cd {folder} && pip install -e ".[dev]" && pytest && bench check {kind} {written.names.name}')
