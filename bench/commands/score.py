"""``bench score``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench.cli import path_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--metrics", metavar="all|nlg|clinical|every|NAME,…", help="Default: those of the configuration, else all."
)
@path_option("--references", help="File of the references, where FILE holds the predictions only.")
@click.option(
    "--missing",
    type=click.Choice(["error", "empty"]),
    default="error",
    help="Ids without a prediction: an error that lists them, or scored as empty predictions.",
)
@path_option("--out", "-o", help="Folder of the run. Default: runs/score-<file>-<hash>.")
@path_option("--config", "-c", help="Configuration file whose metrics are used. Default: ./bench.yaml, else paper.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one key, e.g. metrics.bleu-4.smooth=exp."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of resampling. Default: 0.")
@click.option("--label", help="Name of the row. Default: the file's name.")
@click.option("--public", is_flag=True, help="The texts are public: a judge on another machine may see them.")
@click.option("--strict", is_flag=True, help="A metric without a value is an error.")
@click.option(
    "--columns",
    type=click.Choice(["default", "full"]),
    default="default",
    help="full: also RadFact precision and recall.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
def score(
    file: Path,
    metrics: str | None,
    references: Path | None,
    missing: str,
    out: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    seed: int | None,
    label: str | None,
    public: bool,
    strict: bool,
    columns: str,
    as_json: bool,
) -> None:
    """Score existing predictions: CSV, TSV, JSON, JSONL or Parquet, recognised by their columns.

    \b
    id, candidate, reference [, group]        one file
    example_id, prediction, target            RadFact's
    study_id, report                          CXR-Report-Metric's, with --references FILE
    id, text                                  a run's reports.jsonl, with --references FILE
    {study: {section_findings, model_prediction …}}   ReXrank's JSON
    """
    from rich.console import Console

    from bench import score_file, show
    from bench.config import Choices, load_scoring
    from bench.predictions import read_pairs

    settings = load_scoring(config, Choices(metrics=metrics, seed=seed, assignments=assignments))
    table = read_pairs(file, references=references, missing=missing)
    messages = Console(stderr=True)
    for note in (f"{file}: {len(table.pairs)} pairs, read as {table.format}", *table.notes):
        messages.print(note, markup=False, highlight=False)
    scored = score_file.score(
        table, settings, out=out, label=label or file.stem, strict=strict, public=public, console=messages
    )
    if as_json:
        click.echo(json.dumps({"folder": str(scored.folder), **scored.summary}, indent=2))
    else:
        show.print_scores(Console(), [scored.summary], full=columns == "full")
        messages.print(f"Statistics and signatures: {scored.folder}", markup=False, highlight=False)
