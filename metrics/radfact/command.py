"""``bench radfact``: the judge by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import click

from bench.cli import path_option

if TYPE_CHECKING:
    from metrics.radfact.qualify import Qualification

SHOWN = 10
"""Wrong answers that are listed."""


@click.group("radfact")
def radfact() -> None:
    """Qualify a judge for RadFact before a long run."""


@radfact.command()
@path_option("--config", "-c", help="Configuration file. Default: ./bench.yaml, else the paper's.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration.")
@click.option("--metric", "label", default="radfact", show_default=True, help="Label of the metric to check.")
@click.option("--judge", help='Judge to check, "backend/model", instead of the configuration\'s; rules: the stand-in.')
@click.option("--phrases-llm", help="LLM that splits reports. Default: the configuration's, else the judge.")
@path_option("--prompts", help="Folder of a copy of microsoft/RadFact whose prompts are used.")
@click.option(
    "--repeat", type=click.IntRange(min=0), default=1, show_default=True, help="Times everything is asked again."
)
@click.option("--limit", type=click.IntRange(min=1), help="Ask N cases of each step only: a try, not a qualification.")
def check(
    config: Path | None,
    assignments: Sequence[str],
    label: str,
    judge: str | None,
    phrases_llm: str | None,
    prompts: Path | None,
    repeat: int,
    limit: int | None,
) -> None:
    """Ask a judge bundled questions with known answers, and say whether it can be used.

    Prints how many answers are right, by kind of case, how many could not count, and how often the judge agrees with
    itself. Exit code 2 where it falls short. All cases are invented: nothing of a dataset is sent.
    """
    changes = {"judge": judge, "phrases_llm": phrases_llm, "prompts": prompts}
    given = {key: value for key, value in changes.items() if value is not None}
    result = _qualify(config, assignments, label, given, repeat, limit)
    _print(result, limit)
    _refuse(result)


def _qualify(
    config: Path | None,
    assignments: Sequence[str],
    label: str,
    given: dict[str, Any],
    repeat: int,
    limit: int | None,
) -> Qualification:
    from rich.console import Console

    from bench import registry
    from bench.cachedir import cache_root
    from bench.config import Choices, load_scoring
    from bench.context import RunContext
    from bench.errors import BenchError
    from metrics.radfact import RadFact, RadFactOptions
    from metrics.radfact.qualify import qualify

    settings = load_scoring(config, Choices(metrics=label, assignments=assignments))
    entry = settings.metrics[0]
    found = registry.find("metric", entry.use)
    if found.plugin is not RadFact:
        raise BenchError(f"{settings.source}: metric {label!r} is {entry.use}, not radfact: pass --metric LABEL")
    options = registry.options_of(found, {**entry.options, **given}, f"metrics.{label}")
    with TemporaryDirectory() as workdir:
        context = RunContext(
            workdir=Path(workdir),
            cache_root=cache_root(),
            seed=settings.run.seed,
            parts=settings.parts,
            console=Console(stderr=True),
        )
        return qualify(cast(RadFactOptions, options), context, repeat, limit)


def _print(result: Qualification, limit: int | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("step", "kind of case", "right", "cases"):
        table.add_column(heading, justify="right" if heading in ("right", "cases") else "left")
    for tally in result.tallies:
        for kind, (right, n) in tally.by_kind().items():
            table.add_row(tally.title, kind, str(right), str(n))
    lines = [result.signature, *(line for tally in result.tallies for line in tally.describe())]
    lines += [f"{spec}: {counted.describe()}" for spec, counted in result.counted.items()]
    console.print(table)
    for line in lines:
        console.print(Text(line))
    wrong = [f"{tally.title}: {line}" for tally in result.tallies for line in tally.wrong]
    for line in wrong[:SHOWN]:
        console.print(Text(f"  wrong: {line}"))
    if len(wrong) > SHOWN:
        console.print(f"  and {len(wrong) - SHOWN} more wrong answers")
    if result.stand_in:
        console.print("The rules were written with these cases in view: how good they are must be seen elsewhere.")
    if limit is not None:
        console.print("Only some of the cases were asked (--limit): this does not qualify the judge.")
    elif not result.faults():
        console.print("PASS")


def _refuse(result: Qualification) -> None:
    from bench.errors import BenchError

    if faults := result.faults():
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise BenchError(f"FAIL: this judge falls short; score with another one:\n{listed}")
