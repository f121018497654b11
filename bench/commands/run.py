"""``bench run``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import path_option

if TYPE_CHECKING:
    from bench.config import Choices
    from bench.run import Share


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a configuration; `choices` turns them into one."""
    options = [
        path_option(
            "--config",
            "-c",
            help="Configuration file, or the embedded demo or paper. Default: ./bench.yaml, else demo.",
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set one key of the configuration, e.g. run.bootstrap=0. May be repeated.",
        ),
        click.option("--dataset", help="Dataset by name (bench list datasets)."),
        click.option("--split", help="Split to report on. Default: test."),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            help="Seed of systems, of the draw of --limit, of resampling. Default: 0.",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Report on N cases only, drawn with the seed."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def choices(
    assignments: Sequence[str],
    dataset: str | None,
    split: str | None,
    seed: int | None,
    limit: int | None,
    systems: str | None = None,
    metrics: str | None = None,
) -> Choices:
    """Return the command line's choices."""
    from bench.config import Choices

    return Choices(systems, metrics, dataset, split, seed, limit, assignments)


@click.command()
@click.option(
    "--system",
    "systems",
    metavar="NAME[,NAME…]",
    help="Systems to run, by label or name; also ./file.py:Class. Default: all of the configuration.",
)
@click.option(
    "--metrics",
    metavar="all|nlg|clinical|every|NAME,…",
    help="Default: those of the configuration, else all (Table 1's).",
)
@config_options
@path_option("--out", "-o", help="Folder of the runs. Default: runs/<dataset>-<split>-<hash of the configuration>.")
@click.option("--strict", is_flag=True, help="A metric without a value is an error.")
@click.option("--allow-failed", is_flag=True, help="Score cases without a report as empty reports, counted and shown.")
@click.option(
    "--shard",
    "shard_text",
    metavar="I/N",
    help="Report on the I-th of N shares of the cases only, and score nothing; several may run at once, on several "
    "machines. The same command without --shard gathers the reports, asks what is missing, and scores.",
)
@click.option("--dry-run", is_flag=True, help="Resolve everything and print counts, disk and hours; run nothing.")
@click.option(
    "--columns",
    type=click.Choice(["default", "full"]),
    default="default",
    help="full: also RadFact precision and recall.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON on standard output.")
def run(
    config: Path | None,
    out: Path | None,
    strict: bool,
    allow_failed: bool,
    shard_text: str | None,
    dry_run: bool,
    columns: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Let systems report on a split, and score the reports.

    The same command continues a run that was stopped, and repeats nothing that was done.
    """
    from rich.console import Console

    from bench import plan, show
    from bench import run as runner
    from bench.config import load
    from bench.shards import Shard

    shard = None if shard_text is None else Shard.parse(shard_text)
    settings = load(config, choices(**chosen))
    out = out or runner.default_out(settings)
    runner.refuse_file(out)
    messages = Console(stderr=True)
    messages.print(f"Configuration: {settings.source}. Runs: {out}", markup=False, highlight=False)
    context = runner.make_context(settings, out, messages)
    if dry_run:
        plan.print_plan(Console(), settings, out, context, shard)
        return
    if shard is not None:
        shares = runner.run_shard(settings, out, context, shard, allow_failed=allow_failed)
        _print_shares(shares, shard_text, out, as_json=as_json)
        return
    outcomes = runner.run(settings, out, context, strict=strict, allow_failed=allow_failed)
    summaries = [outcome.summary for outcome in outcomes]
    if as_json:
        runs = [{"folder": str(outcome.folder), **outcome.summary} for outcome in outcomes]
        click.echo(json.dumps({"out": str(out), "runs": runs}, indent=2))
        return
    show.print_scores(Console(), summaries, full=columns == "full")
    messages.print(f"Reports, statistics and signatures: {out}", markup=False, highlight=False)


def _print_shares(shares: Sequence[Share], shard: str | None, out: Path, *, as_json: bool) -> None:
    """Print how far the shards of each system are."""
    if as_json:
        runs = [{"folder": str(s.folder), "label": s.label, "shards": [st.record() for st in s.states]} for s in shares]
        click.echo(json.dumps({"out": str(out), "shard": shard, "runs": runs}, indent=2))
        return
    for share in shares:
        click.echo(share.line())
