"""``bench check``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.check import Checked


@click.group()
def check() -> None:
    """Check whether a plugin keeps its contract, rule by rule.

    \b
    bench check system ./mine.py:Reader
    bench check metric my-metric --set case=lower
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both kinds have in common."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON on standard output."),
        click.option("--seed", type=click.IntRange(min=0), help="Seed of the run. Default: 0."),
        click.option(
            "--config", "-c", help="Configuration file, or the embedded demo or paper. Default: the demo's settings."
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set an option of the plugin (KEY) or a key of the configuration (run.device=cpu). May be repeated.",
        ),
    ):
        command = option(command)
    return command


@check.command("system")
@click.argument("spec")
@_options
@click.option("--dataset", help="Dataset by name. Default: the embedded demo with few images.")
@click.option("--split", help="Split to report on. Default: test.")
@click.option("--limit", type=click.IntRange(min=2), default=6, show_default=True, help="Report on N cases.")
def check_system(spec: str, as_json: bool, **settings: Any) -> None:
    """Check a system: by name, by label of a configuration, or ./file.py:Class.

    It is built, prepared and asked for the same reports in several ways: again, in another order, one by one, by a new
    instance, by another process, with other options. Exit code 2 where a rule is broken.
    """
    from bench.check import check_system as run

    _show(run(spec, **settings), as_json)


@check.command("metric")
@click.argument("spec")
@_options
def check_metric(spec: str, as_json: bool, **settings: Any) -> None:
    """Check a metric: by name, by label of a configuration, or ./file.py:Class.

    It observes invented findings in several ways: again, in another order, one by one, in another process; and texts
    that are empty, strange or very long. Exit code 2 where a rule is broken.
    """
    from bench.check import check_metric as run

    _show(run(spec, **settings), as_json)


def _show(checked: Checked, as_json: bool) -> None:
    from rich.console import Console

    from bench.check import table

    if as_json:
        click.echo(json.dumps(table.as_json(checked), indent=2, ensure_ascii=False))
    else:
        table.print_checked(Console(), checked)
    table.refuse(checked)
