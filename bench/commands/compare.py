"""``bench compare``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import click

from bench.cli import confidence_option, path_option


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--baseline", metavar="LABEL", help="The run that the others are compared with. Default: the first.")
@click.option("--all-pairs", is_flag=True, help="Compare every run with every other one.")
@click.option("--metrics", metavar="NAME,…", help="Metrics or columns to compare. Default: all that the runs share.")
@click.option(
    "--columns",
    type=click.Choice(["default", "full"]),
    default="default",
    help="full: also RadFact precision and recall.",
)
@click.option("--draws", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True, help="Paired resamples.")
@click.option("--trials", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True, help="Random swaps.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of both.")
@confidence_option("Level of the intervals; a corrected p below 1 - LEVEL is marked.")
@click.option(
    "--cluster",
    type=click.Choice(["group", "case"]),
    default="group",
    show_default=True,
    help="Resample and swap patients, or single cases.",
)
@click.option("--worst", metavar="COLUMN", help="List the cases where a run falls furthest behind by this column.")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="How many of them.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON on standard output.")
@path_option("--out", "-o", help="Write the comparison to FILE.csv or FILE.json.")
def compare(
    runs: tuple[Path, ...],
    baseline: str | None,
    all_pairs: bool,
    metrics: str | None,
    columns: str,
    draws: int,
    trials: int,
    seed: int,
    confidence: float,
    cluster: Literal["group", "case"],
    worst: str | None,
    top: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Compare finished runs, or the runs below folders: is the difference more than chance?

    \b
    bench compare runs/demo-test-1234                       all of a folder with its first run
    bench compare OURS THEIRS --worst RG-L --top 5          and the five reports that lose most
    bench compare OURS THEIRS MORE --all-pairs -o all.csv

    Every column is compared on the cases that are OK in all the runs given. Intervals come from a paired bootstrap,
    p-values from it and from approximate randomization, over patients, corrected by Holm's method for the number of
    comparisons that have one. A column without a value in a run is not compared with it; a line below says why.
    """
    from rich.console import Console

    from bench import comparison_tables as tables
    from bench.compare import Settings, read_runs
    from bench.compare import compare as compare_runs
    from bench.run_folder import is_credentialed

    settings = Settings(draws, trials, seed, confidence, cluster, all_pairs)
    read = read_runs(runs, baseline)
    messages = Console(stderr=True)
    if any(is_credentialed(run.run) for run in read):
        os.umask(0o077)
        messages.print("Credentialed data: what is shown and written here must not be shared.", markup=False)
    compared = compare_runs(read, settings, metrics=metrics, full=columns == "full")
    tables.check_request(compared, worst, out)
    if as_json:
        click.echo(json.dumps(tables.as_json(compared, worst, top), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        tables.print_compared(Console(), compared)
        if worst is not None:
            tables.print_worst(Console(), compared, worst, top)
    if out is not None:
        written = tables.write(out, compared, worst)
        messages.print(f"Written: {', '.join(map(str, written))}", markup=False, highlight=False)
