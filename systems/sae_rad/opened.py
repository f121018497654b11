"""A prepared sae-rad system for the commands of ``bench sae-rad``: chosen, built, its features read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.config import Config, Entry
    from bench.context import RunContext
    from bench.contracts import Case, Dataset
    from bench.run import DatasetTraining
    from systems.sae_rad.system import SAERad

FOLDER = Path("features")
"""Where commands write what they find about features, unless told otherwise."""


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a sae-rad system of a configuration; `select` takes their values."""
    added = [
        click.option(
            "--config",
            "-c",
            type=click.Path(path_type=Path),
            help="Configuration file, or the embedded demo or paper. Default: ./bench.yaml, else demo.",
        ),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration."
        ),
        click.option("--system", "label", help="Label of the sae-rad system. Needed where there are several."),
        click.option("--dataset", help="Dataset by name (bench list datasets)."),
        click.option("--seed", type=click.IntRange(min=0), help="Seed of training and sampling. Default: 0."),
    ]
    for option in reversed(added):
        command = option(command)
    return command


def entries(settings: Config) -> list[Entry]:
    """Return the sae-rad systems of a configuration that have features, controls among them.

    Raises BenchError where there is none.
    """
    from bench import registry
    from bench.errors import BenchError
    from systems.sae_rad.system import SAERad

    plugins = [(entry, registry.find("system", entry.use).plugin) for entry in settings.systems]
    found = [entry for entry, plugin in plugins if isinstance(plugin, type) and issubclass(plugin, SAERad)]
    if not found:
        labels = ", ".join(entry.label for entry in settings.systems)
        raise BenchError(f"{settings.source}: none of the systems {labels} is a sae-rad; pass --system sae-rad")
    return _with_features(found, settings.source)


def select(
    config: Path | None, assignments: Sequence[str], label: str | None, dataset: str | None, seed: int | None
) -> tuple[Config, Entry]:
    """Return the configuration and its one sae-rad system with features.

    Raises BenchError where it is not clear which, or where none has any.
    """
    from bench.config import Choices, load
    from bench.errors import BenchError

    settings = load(config, Choices(systems=label, dataset=dataset, seed=seed, assignments=assignments))
    found = entries(settings)
    if len(found) > 1:
        labels = ", ".join(entry.label for entry in found)
        raise BenchError(f"{settings.source}: has several sae-rad systems: choose one with --system: {labels}")
    return settings, found[0]


def _with_features(found: list[Entry], source: str) -> list[Entry]:
    """Return the systems that have features. Raises BenchError where none is left."""
    from bench import registry
    from bench.errors import BenchError
    from systems.sae_rad.controls import NoFeatures

    having = [entry for entry in found if not issubclass(registry.find("system", entry.use).plugin, NoFeatures)]
    if not having:
        labels = ", ".join(repr(entry.label) for entry in found)
        raise BenchError(f"{source}: system {labels} composes reports without features: there are none to look at")
    return having


def folder(settings: Config, entry: Entry, given: Path | None) -> Path:
    """Return the output folder: `given`, else features/<dataset>-<label>-<12 hex of what the features depend on>.

    Raises BenchError where `given` is a file, or lies below one.
    """
    from bench.config import digest
    from bench.run import refuse_file

    if given is not None:
        refuse_file(given)
        return given
    resolved = settings.resolved
    data = {key: value for key, value in resolved["dataset"].items() if key != "split"}
    parts = [data, resolved["systems"][entry.label], resolved["run"]["seed"]]
    name = "-".join([Path(settings.dataset.use).name, entry.label.replace("/", "-"), digest(parts)])
    return FOLDER / name.replace(":", "-")


@dataclass(frozen=True)
class Opened:
    """A prepared system with its data."""

    settings: Config
    entry: Entry
    context: RunContext
    dataset: Dataset
    train: DatasetTraining
    system: SAERad

    def cases(self, split: str) -> Sequence[Case]:
        """Return the cases of a split. Raises BenchError, with the near misses, where there is none of that name."""
        from bench.errors import BenchError
        from bench.registry import miss

        if split not in self.dataset.splits():
            raise BenchError(f"--split: {miss('split', split, self.dataset.splits())}")
        return self.dataset.cases(split)

    def references(self, split: str) -> Mapping[str, str]:
        """Return case id → findings of a split."""
        return self.dataset.references(split)

    def held_out(self) -> list[str]:
        """Return the dataset's splits but for the training split."""
        return [split for split in self.dataset.splits() if split != "train"]


@contextmanager
def opened(settings: Config, entry: Entry, *, prepare: bool = True) -> Iterator[Opened]:
    """Open the dataset, build the system, and train it or load it; its work folder is gone afterwards."""
    from bench.run import DatasetTraining, make_context, open_dataset

    with TemporaryDirectory() as workdir:
        context = make_context(settings, Path(workdir))
        dataset = open_dataset(settings, context)
        train = DatasetTraining(dataset, frozenset())
        system = context.build("system", entry.use, entry.options, f"systems.{entry.label}")
        if prepare:
            system.prepare(train)
        if context.problems:
            context.console.print(
                f"{len(context.problems):,} images or reports could not be used; bench doctor lists them", markup=False
            )
        yield Opened(settings, entry, context, dataset, train, system)
