"""``bench sae-rad evaluate``: do features mean something, and are their descriptions true?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bench.cli import path_option
from systems.sae_rad import opened

if TYPE_CHECKING:
    from rich.console import Console

    from bench.contracts import PlanLine
    from systems.sae_rad.evidence.evaluate import Evaluation

SHOWN: Sequence[tuple[str, str, int]] = (
    ("alive", "alive features", 0),
    ("L0_train", "active, training", 1),
    ("L0", "active, held out", 1),
    ("matched_50", "features, F1 ≥ .5", 0),
    ("findings_matched_50", "findings, F1 ≥ .5", 0),
    ("best_f1", "best F1", 3),
    ("one_to_one_f1", "one-to-one F1", 3),
    ("best_f1_at_threshold", "F1 at a threshold", 3),
    ("auroc_findings", "AUROC, findings", 3),
    ("auroc_labels", "AUROC, labels", 3),
    ("monosemanticity", "monosemanticity", 3),
    ("monosemanticity_across", "across patients", 3),
    ("absorption", "absorbed", 3),
    ("missed", "missed", 3),
    ("detection", "detection", 3),
    ("fuzzing", "fuzzing", 3),
)
"""Name in evaluation.json, name in the table, decimals."""
HEADINGS = {
    "random-directions": "random\ndirec-\ntions",
    "untrained-sae": "un-\ntrained\nSAE",
    "dense-neurons": "dense\nneurons",
    "untrained-encoder": "un-\ntrained\nencoder",
}
"""Of controls whose name is too wide for a table within eighty columns."""


@click.command()
@opened.options
@click.option(
    "--split", "splits", multiple=True, help="Held-out split; may be repeated. Default: all but train and validate."
)
@click.option("--annotator", help="Annotator of the reports' labels. Default: that of the configured CheXbert metric.")
@click.option(
    "--uncertain",
    type=click.Choice(["positive", "negative", "skip"]),
    default="positive",
    show_default=True,
    help="What an uncertain label counts as; skip leaves the image out of that label's scores.",
)
@click.option(
    "--encoder", metavar="SPEC", help="Encoder to compare images in, for monosemanticity. Default: not measured."
)
@click.option(
    "--judge", metavar="SPEC", help="Judge of descriptions: similarity, or llm:BACKEND/MODEL. Default: not measured."
)
@click.option(
    "--features",
    default="100",
    show_default=True,
    metavar="N|I,J,…",
    help="Features to describe and judge: the N active on most held-out images, or those numbers.",
)
@click.option(
    "--controls",
    metavar="NAME,…",
    help="random-directions, untrained-sae, neurons, dense-neurons, untrained-encoder, shuffled; all, or none. "
    "Default: all but untrained-encoder.",
)
@click.option(
    "--untrained-encoder",
    default="untrained",
    show_default=True,
    metavar="SPEC",
    help="Encoder of the control untrained-encoder; all images are encoded with it.",
)
@click.option(
    "--permutations", type=click.IntRange(min=1), default=20, show_default=True, help="Shuffles of the labels."
)
@click.option("--sides", is_flag=True, help="Findings by side, where the dataset tells sides.")
@click.option("--dry-run", is_flag=True, help="Print what describing and judging take; encode, train and ask nothing.")
@path_option("--out", "-o", help="Output folder. Default: features/<dataset>-<label>-<12 hex>.")
def evaluate(
    config: Path | None,
    assignments: Sequence[str],
    label: str | None,
    dataset: str | None,
    seed: int | None,
    splits: tuple[str, ...],
    annotator: str | None,
    uncertain: Literal["positive", "negative", "skip"],
    encoder: str | None,
    judge: str | None,
    features: str,
    controls: str | None,
    untrained_encoder: str,
    permutations: int,
    sides: bool,
    dry_run: bool,
    out: Path | None,
) -> None:
    """Measure on held-out images what features stand for, beside controls that stand for nothing.

    Writes features.jsonl, a line a feature, and evaluation.json, the aggregates with their recipe; docs/features.md
    says what each score is. What a judge answered is kept: the same command continues.
    """
    from rich.console import Console

    from systems.sae_rad.evidence import evaluate as evidence

    options = evidence.Options(
        splits=splits,
        annotator=annotator,
        uncertain=uncertain,
        encoder=encoder,
        judge=None if judge in (None, "none") else judge,
        features=_features(features),
        controls=_controls(controls, evidence.CONTROLS, evidence.DEFAULT_CONTROLS),
        untrained_encoder=untrained_encoder,
        permutations=permutations,
        sides=sides,
    )
    settings, entry = opened.select(config, assignments, label, dataset, seed)
    folder = opened.folder(settings, entry, out)
    with opened.opened(settings, entry, prepare=not dry_run) as found:
        if dry_run:
            _print_plan(evidence.plan(found, options))
            return
        done = evidence.evaluate(found, options, folder)
    print_evaluation(Console(), done)


def _print_plan(lines: Sequence[PlanLine]) -> None:
    for line in lines:
        click.echo(f"{line.what}: {line.amount:,.6g} {line.unit}")
    click.echo("Dry run: nothing was encoded, trained or asked.")


def _features(given: str) -> int | tuple[int, ...]:
    from bench.errors import BenchError

    parts = [part.strip() for part in given.removesuffix(",").split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise BenchError(f"--features {given!r}: write how many (100), or which, with commas (17, or 3,17,204)")
    numbers = tuple(dict.fromkeys(int(part) for part in parts))
    if numbers == (0,) and "," not in given:
        raise BenchError("--features 0: at least one is described and judged; feature number 0 is written 0, (a comma)")
    return numbers if "," in given else numbers[0]


def _controls(given: str | None, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    chosen = {None: default, "all": known, "none": ()}.get(given)
    if chosen is None:
        assert given is not None
        chosen = [name.strip() for name in given.split(",")]
    return tuple(dict.fromkeys(chosen))


def print_evaluation(console: Console, done: Evaluation) -> None:
    """Print the aggregates, a column a system; scores that were measured for none are left out."""
    from rich.table import Table

    table = Table(title="features on held-out images", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    shown_rows = {name: row for name, row in done.rows.items() if "alive" in row}
    for name in shown_rows:
        table.add_column(HEADINGS.get(name, name), justify="right")
    for key, shown, decimals in SHOWN:
        values = [_value(row, key) for row in shown_rows.values()]
        if any(value is not None for value in values):
            table.add_row(shown, *(_shown(value, decimals) for value in values))
    console.print(table)
    for what, why in done.unmeasured.items():
        console.print(f"{what}: not measured: {why}", markup=False, highlight=False)
    console.print(f"Written: {done.folder}/features.jsonl, evaluation.json", markup=False, highlight=False)


def _value(row: Mapping[str, Any], key: str) -> float | None:
    found = row.get(key)
    return None if found is None else found["value"]


def _shown(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"
