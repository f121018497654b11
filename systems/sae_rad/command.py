"""``bench sae-rad``: the autoencoder by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.config import Config, Entry


@click.group("sae-rad")
def sae_rad() -> None:
    """Train SAE-Rad's sparse autoencoder without reporting on anything."""


@sae_rad.command()
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    help="Configuration file. Default: ./bench.yaml, else the embedded demo.",
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration.")
@click.option("--system", "label", help="Label of the sae-rad system to train. Default: all of the configuration.")
@click.option("--dataset", help="Dataset by name (bench list datasets).")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the training. Default: 0.")
def train(
    config: Path | None, assignments: Sequence[str], label: str | None, dataset: str | None, seed: int | None
) -> None:
    """Train the autoencoder of a configuration, or load it, and print its facts.

    `bench run` with the same configuration finds it in the cache; a stopped training goes on where it stopped.
    """
    from bench.config import Choices, load

    settings = load(config, Choices(systems=label, dataset=dataset, seed=seed, assignments=assignments))
    for entry in _entries(settings):
        _print_facts(entry.label, _train(settings, entry))


def _entries(settings: Config) -> list[Entry]:
    from bench import registry
    from bench.errors import BenchError
    from systems.sae_rad.system import SAERad

    found = [entry for entry in settings.systems if registry.find("system", entry.use).plugin is SAERad]
    if not found:
        labels = ", ".join(entry.label for entry in settings.systems)
        raise BenchError(f"{settings.source}: none of the systems {labels} is a sae-rad; pass --system sae-rad")
    return found


def _train(settings: Config, entry: Entry) -> Mapping[str, float]:
    from bench.run import DatasetTraining, make_context, open_dataset

    with TemporaryDirectory() as workdir:
        context = make_context(settings, Path(workdir))
        data = DatasetTraining(open_dataset(settings, context), frozenset())
        system = context.build("system", entry.use, entry.options, f"systems.{entry.label}")
        system.prepare(data)
        if context.problems:
            click.echo(
                f"{len(context.problems)} images or reports could not be used; bench doctor lists them", err=True
            )
        return dict(system.facts())


def _print_facts(label: str, facts: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=label, title_justify="left")
    table.add_column("fact")
    table.add_column("value", justify="right")
    for name, value in facts.items():
        table.add_row(name, f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}")
    Console().print(table)
