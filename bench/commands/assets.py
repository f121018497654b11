"""``bench assets``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands.run import choices, config_options

if TYPE_CHECKING:
    from rich.console import Console

    from bench.assets.needs import Needs, NeedsContext


@click.group()
def assets() -> None:
    """What a configuration needs from a network: listed, fetched, carried to a machine without one."""


def _configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a configuration, systems and metrics as for ``bench run``."""
    command = config_options(command)
    command = click.option(
        "--metrics", metavar="all|nlg|clinical|every|NAME,…", help="Default: those of the configuration, else all."
    )(command)
    return click.option(
        "--system",
        "systems",
        metavar="NAME[,NAME…]",
        help="Systems, by label or name. Default: all of the configuration.",
    )(command)


def _opened(config: Path | None, chosen: dict[str, Any], console: Console) -> tuple[NeedsContext, Callable[[], Needs]]:
    """Return a context and what tells the needs; the dataset is not looked at."""
    from bench.assets import needs
    from bench.config import load_without_dataset

    settings = load_without_dataset(config, choices(**chosen))
    console.print(f"Configuration: {settings.scoring.source}", markup=False, highlight=False)
    context = needs.NeedsContext(settings.scoring.parts, console)
    return context, lambda: needs.find(settings, context)


@assets.command("list")
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON on standard output.")
def list_(config: Path | None, as_json: bool, **chosen: Any) -> None:
    """List weights, environments and models that the configuration needs, who needs them, and whether they are here.

    The dataset need not be here, and no network is asked.
    """
    from rich.console import Console

    from bench.assets import state, table

    messages = Console(stderr=True)
    context, find = _opened(config, chosen, messages)
    found = find()
    states = state.look_at_all(found.needs, context)
    if as_json:
        untold = {part: {"reason": err.reason, "remedy": err.remedy} for part, err in found.untold.items()}
        click.echo(json.dumps({"assets": [one.as_json() for one in states], "untold": untold}, indent=2))
    else:
        table.print_states(Console(), states, found)


@assets.command()
@_configured
@click.option("--wheels", "with_wheels", is_flag=True, help="Also the wheels of the environments, for `export`.")
def pull(config: Path | None, with_wheels: bool, **chosen: Any) -> None:
    """Fetch what is missing: weights into the hub's cache (HF_HOME), and the workers' environments.

    All of it is tried; what could not be had is told at the end. A stopped command goes on where it was.
    """
    from rich.console import Console

    from bench.assets import table
    from bench.assets.pull import pull as fetch

    messages = Console(stderr=True)
    context, find = _opened(config, chosen, messages)
    table.print_states(Console(), fetch(find, context, with_wheels=with_wheels), None)


@assets.command()
@click.argument("file", type=click.Path(path_type=Path))
@_configured
@click.option("--partial", is_flag=True, help="Leave out what is not here, and say so.")
def export(file: Path, config: Path | None, partial: bool, **chosen: Any) -> None:
    """Write everything that is here into one archive, FILE (a tar), with the wheels of the environments.

    Wheels that are not collected yet are collected first, from the package index.
    """
    from rich.console import Console

    from bench.assets import archive, state, table

    messages = Console(stderr=True)
    context, find = _opened(config, chosen, messages)
    found = find()
    states = state.look_at_all(found.needs, context)
    table.print_written(Console(), file, archive.export(states, found.untold, file, context, partial=partial))


@assets.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_(file: Path) -> None:
    """Check an archive of `export`, then put weights and wheels where the bench finds them. No network is asked."""
    from rich.console import Console

    from bench import cachedir
    from bench.assets import table, unpack
    from bench.context import RunContext

    root = cachedir.cache_root()
    context = RunContext(workdir=root / "assets", cache_root=root, console=Console(stderr=True))
    table.print_brought(Console(), file, unpack.bring(file, context))
