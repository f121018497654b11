"""``bench sae-rad describe``: what features stand for, in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from systems.sae_rad import opened

if TYPE_CHECKING:
    from bench.contracts import NoAnswer, PlanLine
    from systems.sae_rad.describe import Description
    from systems.sae_rad.opened import Opened

FILE = "descriptions.jsonl"


@click.command()
@click.option("--all", "every", is_flag=True, help="Every feature that any training image activates.")
@click.option("--feature", "features", type=click.IntRange(min=0), multiple=True, metavar="N", help="May be repeated.")
@click.option("--split", help="Features active on the cases of this split. Default: the configuration's split.")
@click.option("--dry-run", is_flag=True, help="Print calls, tokens and cost; ask and train nothing.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Default: features/<dataset>-<system>-<hash>."
)
@opened.options
def describe(
    every: bool,
    features: Sequence[int],
    split: str | None,
    dry_run: bool,
    out: Path | None,
    config: Path | None,
    assignments: Sequence[str],
    label: str | None,
    dataset: str | None,
    seed: int | None,
) -> None:
    """Describe features from the reports of the training images that activate them most.

    What a language model has answered is kept, and never asked again: the same command continues. The descriptions are
    those that `bench run` and `bench sae-rad atlas` use.
    """
    from bench.errors import BenchError

    if sum((every, bool(features), split is not None)) > 1:
        raise BenchError("--all, --feature and --split exclude each other: name one")
    settings, entry = opened.select(config, assignments, label, dataset, seed)
    with opened.opened(settings, entry, prepare=not dry_run) as found:
        if dry_run:
            _print_plan(_plan(found, every, features, split or settings.split))
            return
        wanted = _wanted(found, every, features, split or settings.split)
        folder = opened.folder(settings, entry, out)
        _write(found, folder / FILE, wanted, found.system.describe(wanted))


def _wanted(found: Opened, every: bool, features: Sequence[int], split: str) -> list[int]:
    """Return the features to describe, in ascending order."""
    import numpy as np

    from bench.errors import BenchError

    system = found.system
    if features:
        if unknown := [feature for feature in features if feature >= system.dictionary.m]:
            raise BenchError(f"--feature {unknown[0]}: the features are 0 to {system.dictionary.m - 1:,}")
        return sorted(set(features))
    if every:
        return [int(feature) for feature in np.flatnonzero(system.top.counts)]
    cases = found.cases(split)
    active, readable = system.active(cases)
    asked = (system.features_of(case, *active.row(k)) for k, case in enumerate(cases) if readable[k])
    return sorted({feature for important in asked for feature, _ in important})


def _plan(found: Opened, every: bool, features: Sequence[int], split: str) -> list[PlanLine]:
    """Return what describing takes: exact where the autoencoder is trained and the cases are encoded, else a bound."""
    from bench.contracts import PlanLine
    from systems.sae_rad import planning

    system = found.system
    cases = [] if every or features else found.cases(split)
    if not system.known(found.train, cases):
        return planning.described_at_most(system, found.train, len(set(features)) or None)
    system.prepare(found.train)
    wanted = _wanted(found, every, features, split)
    lines = planning.describing(system, [system.top_reports(feature) for feature in wanted])
    return [PlanLine("features to describe", len(wanted), "features"), *lines]


def _print_plan(lines: Sequence[PlanLine]) -> None:
    for line in lines:
        click.echo(f"{line.what}: {line.amount:,.6g} {line.unit}")
    click.echo("Dry run: nothing was asked or trained.")


def _write(found: Opened, file: Path, wanted: Sequence[int], described: Mapping[int, Description | NoAnswer]) -> None:
    from bench.contracts import NoAnswer
    from bench.store import json_line, write_text

    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(map(json_line, _lines(found, wanted, described))))
    missing = sum(isinstance(one, NoAnswer) or not one.text for one in described.values())
    click.echo(f"{len(wanted):,} features, {missing:,} of them without a description: {file}", err=True)


def _lines(
    found: Opened, wanted: Sequence[int], described: Mapping[int, Description | NoAnswer]
) -> Iterator[dict[str, Any]]:
    from bench.contracts import NoAnswer

    system = found.system
    for feature in wanted:
        rows, activations = system.top.of(feature)
        one = described[feature]
        yield {
            "feature": feature,
            "description": "" if isinstance(one, NoAnswer) else one.text,
            "reasoning": "" if isinstance(one, NoAnswer) else one.reasoning,
            "error": f"{one.kind}: {one.why}" if isinstance(one, NoAnswer) else None,
            "train_count": int(system.top.counts[feature]),
            "max_activation": float(activations[0]) if len(activations) else 0.0,
            "top_cases": [system.train_cases[row].id for row in rows],
        }
