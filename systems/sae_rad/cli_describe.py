"""``bench sae-rad describe``: what features stand for, in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "--out",
    type=click.Path(path_type=Path),
    help="Folder; a file in one not named like the default is replaced. Default: features/<dataset>-<system>-<hash>.",
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
    those that `bench run` and `bench sae-rad atlas` use. In the folder that is named by the system's hash the lines of
    other features stay.
    """
    from bench.errors import BenchError

    if sum((every, bool(features), split is not None)) > 1:
        raise BenchError("--all, --feature and --split exclude each other: name one")
    settings, entry = opened.select(config, assignments, label, dataset, seed)
    file = opened.folder(settings, entry, out) / FILE
    same = file.parent.name == opened.folder(settings, entry, None).name
    if same and not dry_run:
        _kept(file)  # a damaged file is told before anything is trained or asked
    with opened.opened(settings, entry, prepare=not dry_run) as found:
        if dry_run:
            _print_plan(_plan(found, every, features, split or settings.split))
            return
        wanted = _wanted(found, every, features, split or settings.split)
        described = found.system.describe(wanted)
        _write(file, _lines(found, wanted, described), _kept(file) if same else {})
        click.echo(f"{_summary(found, described)}: {file}", err=True)


def _wanted(found: Opened, every: bool, features: Sequence[int], split: str) -> list[int]:
    """Return the features to describe, in ascending order."""
    import numpy as np

    from bench.errors import BenchError

    system = found.system
    if features:
        if unknown := [feature for feature in features if feature >= system.dictionary.m]:
            raise BenchError(f"--feature {unknown[0]}: the features are 0 to {system.dictionary.m - 1:,}")
        if dead := [feature for feature in features if not system.top.counts[feature]]:
            raise BenchError(f"feature {dead[0]} is dead: no training image activates it, and nothing describes it")
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


def _kept(file: Path) -> dict[int, dict[str, Any]]:
    """Return feature → line of a file that is there. Raises BenchError, naming file and line, where it is damaged."""
    from bench.errors import BenchError
    from bench.store import json_line, read_lines

    lines = read_lines(file)
    if file.exists() and not (b"\n" + file.read_bytes()).endswith(b"\n"):
        raise BenchError(f"{file}, line {len(lines) + 1}: has no end of line; mend or delete the line")
    for number, line in enumerate(lines, 1):
        if type(line.get("feature")) is not int or line["feature"] < 0:
            raise BenchError(f"{file}, line {number}: feature: the number of a feature was expected; delete the line")
        try:
            json_line(line)
        except ValueError as err:  # NaN, which Python reads and JSON has not
            raise BenchError(f"{file}, line {number}: not valid JSON ({err}); mend or delete the line") from None
    return {line["feature"]: line for line in lines}


def _write(file: Path, lines: Sequence[dict[str, Any]], kept: Mapping[int, dict[str, Any]]) -> None:
    """Write the lines over those `kept` of the same features, in ascending order of feature."""
    from bench.store import json_line, write_text

    merged = {**kept, **{line["feature"]: line for line in lines}}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(json_line(merged[feature]) for feature in sorted(merged)))


def _summary(found: Opened, described: Mapping[int, Description | NoAnswer]) -> str:
    """Return how many features have a description, and how many have none for which reason."""
    from bench.contracts import NoAnswer

    dead = sum(not found.system.top.counts[feature] for feature in described)
    failed = sum(isinstance(one, NoAnswer) for one in described.values())
    told = sum(not isinstance(one, NoAnswer) and bool(one.text) for one in described.values())
    reasons = {
        "active on no training image": dead,
        "without an answer": failed,
        "whose reports have nothing in common": len(described) - told - dead - failed,
    }
    parts = [f"{told:,} described", *(f"{n:,} {reason}" for reason, n in reasons.items() if n)]
    return f"{len(described):,} features: {', '.join(parts)}"


def _lines(
    found: Opened, wanted: Sequence[int], described: Mapping[int, Description | NoAnswer]
) -> list[dict[str, Any]]:
    return [_feature_line(found, feature, described[feature]) for feature in wanted]


def _feature_line(found: Opened, feature: int, one: Description | NoAnswer) -> dict[str, Any]:
    from bench.contracts import NoAnswer

    system = found.system
    rows, activations = system.top.of(feature)
    why = None if len(rows) else "active on no training image"
    return {
        "feature": feature,
        "description": "" if isinstance(one, NoAnswer) else one.text,
        "reasoning": "" if isinstance(one, NoAnswer) else one.reasoning,
        "error": f"{one.kind}: {one.why}" if isinstance(one, NoAnswer) else why,
        "train_count": int(system.top.counts[feature]),
        "max_activation": float(activations[0]) if len(activations) else 0.0,
        "top_cases": [system.train_cases[row].id for row in rows],
    }
