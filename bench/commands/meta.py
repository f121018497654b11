"""``bench meta``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from bench.cli import confidence_option, path_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--metrics", metavar="all|nlg|clinical|every|NAME,…", help="Default: those of the configuration, else all."
)
@click.option(
    "--errors",
    metavar="total|significant|insignificant|COLUMN",
    help="Which errors count. Default: total, or what the file has.",
)
@click.option("--by-category", is_flag=True, help="Also each category of errors alone.")
@click.option(
    "--pairs",
    type=click.Choice(["all", "reference"]),
    default="all",
    show_default=True,
    help="Compare all pairs of candidates, or those of one reference only.",
)
@click.option("--baseline", metavar="COLUMN", help="Test the other columns' agreement against this column's.")
@click.option("--draws", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True, help="Resamples.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of resampling.")
@confidence_option("Level of the intervals; a corrected p below 1 - LEVEL is marked.")
@path_option("--config", "-c", help="Configuration file whose metrics are used. Default: ./bench.yaml, else paper.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one key, e.g. metrics.bleu-4.smooth=exp."
)
@path_option("--folder", help="Folder that keeps the metrics' statistics. Default: meta/score-<file>-<hash>.")
@click.option("--public", is_flag=True, help="The texts are public: a judge on another machine may see them.")
@click.option("--strict", is_flag=True, help="A metric without a value is an error.")
@path_option("--values", help="Write each candidate's counts and values, without texts, to FILE.csv.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON on standard output.")
@path_option("--out", "-o", help="Write the tables to FILE.csv, FILE.json or FILE.md.")
def meta(
    file: Path,
    metrics: str | None,
    errors: str | None,
    by_category: bool,
    pairs: Literal["all", "reference"],
    baseline: str | None,
    draws: int,
    seed: int,
    confidence: float,
    config: Path | None,
    assignments: tuple[str, ...],
    folder: Path | None,
    public: bool,
    strict: bool,
    values: Path | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Tell how well metrics agree with the errors that radiologists counted in reports.

    \b
    FILE is ReXVal's folder, RadEvalExpert's CSV, or a table of your own with the columns
    reference, candidate, errors and/or significant_errors [, errors/CATEGORY …, group, id, rater]

    Kendall's τ_b, Spearman's ρ and pairwise accuracy between each metric's value of each candidate and the number of
    errors, with intervals from resampling references; and the same among the radiologists. Metrics are scored, and
    their statistics kept, as by bench score.
    """
    from rich.console import Console

    from bench.config import Choices, load_scoring
    from bench.meta import evaluate, tables
    from bench.meta.agreement import Settings, measure

    tables.check_out(out)
    tables.check_out(values, endings=(".csv",))
    scoring = load_scoring(config, Choices(metrics=metrics, assignments=assignments))
    messages = Console(stderr=True)
    ratings = evaluate.read(file, errors, messages)
    severity = ratings.choose(errors)
    targets = tables.categories(ratings, severity, by_category)
    scored, columns = evaluate.score(
        ratings, scoring, file=file, out=folder, strict=strict, public=public, console=messages
    )
    settings = Settings(draws, seed, confidence, pairs == "reference")
    measured = measure(ratings, columns, targets, settings, baseline)
    about = evaluate.about(file, ratings, scored)
    written = tables.write(out, measured, columns, about) if out is not None else []
    if values is not None:
        tables.write_values(values, ratings, columns)
        written.append(values)
    if as_json:
        found = tables.as_json(measured, columns, about)
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        tables.print_measured(Console(), measured, columns, evaluate.notes_of(scored))
    lines = [f"Written: {', '.join(map(str, written))}"] * bool(written)
    for line in [*lines, f"Statistics and signatures: {scored.folder}"]:
        messages.print(line, markup=False, highlight=False)
