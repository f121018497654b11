"""``bench sae-rad``: the autoencoder and its features by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from systems.sae_rad import cli_atlas, cli_describe, cli_evaluate, cli_faithfulness, cli_intervene, opened


@click.group("sae-rad")
def sae_rad() -> None:
    """Train SAE-Rad's sparse autoencoder, describe its features, and see what they mean."""


@sae_rad.command()
@opened.options
def train(
    config: Path | None, assignments: Sequence[str], label: str | None, dataset: str | None, seed: int | None
) -> None:
    """Train the autoencoders of a configuration, or load them, and print their facts.

    The images of the configuration's split are encoded, too, so that a dry run can tell the features to describe.
    `bench run` with the same configuration finds all of it in the cache; a stopped training goes on where it stopped.
    """
    from bench.config import Choices, load

    settings = load(config, Choices(systems=label, dataset=dataset, seed=seed, assignments=assignments))
    for entry in opened.entries(settings):
        with opened.opened(settings, entry) as found:
            found.context.embeddings(found.system.options.encoder, found.cases(settings.split))
            _print_facts(entry.label, dict(found.system.facts()))


def _print_facts(label: str, facts: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=label, title_justify="left")
    table.add_column("fact")
    table.add_column("value", justify="right")
    for name, value in facts.items():
        table.add_row(name, f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}")
    Console().print(table)


for command in (
    cli_describe.describe,
    cli_evaluate.evaluate,
    cli_faithfulness.faithfulness,
    cli_intervene.intervene,
    cli_atlas.atlas,
):
    sae_rad.add_command(command)
