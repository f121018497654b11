"""``bench sae-rad faithfulness``: does a report lose what a feature said when the feature is taken away?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import path_option
from systems.sae_rad import opened

if TYPE_CHECKING:
    from bench.contracts import PlanLine


@click.command()
@opened.options
@click.option("--split", help="Split whose cases are reported on. Default: the configuration's.")
@click.option("--limit", type=click.IntRange(min=1), help="Test N cases, drawn with the seed. Default: all.")
@click.option(
    "--per-case",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Features taken away from each case, most important first.",
)
@path_option("--out", help="Output folder. Default: features/<dataset>-<label>-<12 hex>.")
@click.option("--dry-run", is_flag=True, help="Print what is to be done; encode, train and compose nothing.")
def faithfulness(
    config: Path | None,
    assignments: Sequence[str],
    label: str | None,
    dataset: str | None,
    seed: int | None,
    split: str | None,
    limit: int | None,
    per_case: int,
    out: Path | None,
    dry_run: bool,
) -> None:
    """Take features away, one at a time, compose again, and see whether their sentences go.

    Beside it the controls: another feature of the image is taken away instead, and one that is not active is put in.
    Writes faithfulness.json and faithfulness.jsonl, a line a case and feature. The same command continues a stopped
    one; a greater --limit adds cases.
    """
    from systems.sae_rad.evidence import faithfulness as part

    settings, entry = opened.select(config, assignments, label, dataset, seed)
    folder = opened.folder(settings, entry, out)
    wanted = part.Measure(split or settings.split, per_case, limit, settings.run.bootstrap)
    with opened.opened(settings, entry, prepare=not dry_run) as found:
        if dry_run:
            _print_plan(part.plan(found, folder, wanted))
            return
        _print_rates(entry.label, part.measure(found, folder, wanted), folder)


def _print_plan(lines: Sequence[PlanLine]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="faithfulness: to do", title_justify="left")
    table.add_column("what")
    table.add_column("amount", justify="right")
    table.add_column("unit")
    for line in lines:
        amount = f"{line.amount:,.0f}" if float(line.amount).is_integer() else f"{line.amount:,.2f}"
        table.add_row(line.what, amount, line.unit)
    Console().print(table)


def _print_rates(label: str, summary: Mapping[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from systems.sae_rad.evidence.faithfulness import RATES

    table = Table(
        title=f"{label}: {summary['trials']:,} features taken away on {summary['cases']:,} cases", title_justify="left"
    )
    for heading in ("rate", "%", "95 % interval", "n"):
        table.add_column(heading, justify="left" if heading == "rate" else "right")
    for rate in RATES:
        found = summary["rates"][rate.name]
        table.add_row(rate.meaning, _percent(found["value"]), _interval(found), f"{found['n']:,}")
    console = Console()
    console.print(table)
    if summary["failed"]:
        why = next(iter(summary["why_failed"]))
        said = f"{summary['failed']:,} failed and count in no rate; the same command asks again. Most often: {why}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written to {folder}", markup=False, highlight=False, soft_wrap=True)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _interval(found: Mapping[str, Any]) -> str:
    return "–" if found["ci_low"] is None else f"{100 * found['ci_low']:.1f} to {100 * found['ci_high']:.1f}"
