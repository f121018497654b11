"""``bench sae-rad atlas``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from systems.sae_rad.opened import options

if TYPE_CHECKING:
    from systems.sae_rad.atlas.build import Made
    from systems.sae_rad.atlas.finished import FinishedRun


def _count(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """Return how many features get a page; None for all."""
    if value == "all":
        return None
    if not (value.isdecimal() and len(value) < 10 and int(value)):
        raise click.BadParameter(f"{value!r} is neither all nor a number from 1 to 999,999,999", context, parameter)
    return int(value)


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("atlas"), help="Folder. Default: atlas.")
@click.option("--features", callback=_count, default="all", metavar="all|N", help="All features, or the N most active.")
@click.option("--images", type=click.IntRange(1, 200), default=16, help="Images in a gallery. Default: 16.")
@click.option("--image-size", type=click.IntRange(64, 4096), default=512, help="Longer side of an image. Default: 512.")
@click.option("--split", help="Held-out split shown beside the training images. Default: test.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of bench sae-rad evaluate. Default: where it writes, if there is one.",
)
@click.option(
    "--explain",
    multiple=True,
    metavar="METRIC",
    help="Metric of the run whose marks are drawn on reports. May be repeated. Default: radfact, and CheXbert's table.",
)
@click.option(
    "--labels",
    metavar="ANNOTATOR|none",
    help="What labels the training reports. Default: the annotator of the configuration's chexbert-f1.",
)
@click.option(
    "--public", is_flag=True, help="Leave out images, reports, and the descriptions written from them: to be shared."
)
@options
def atlas(
    run: Path | None,
    out: Path,
    features: int | None,
    images: int,
    image_size: int,
    split: str | None,
    scores: Path | None,
    explain: tuple[str, ...],
    labels: str | None,
    public: bool,
    config: Path | None,
    assignments: Sequence[str],
    label: str | None,
    dataset: str | None,
    seed: int | None,
) -> None:
    """Write a folder of HTML pages on features, and on the reports of a finished RUN, that any browser opens.

    Without --config and --set a RUN is read with its own configuration. The same command continues an atlas that was
    stopped.
    """
    from bench.run import refuse_file
    from bench.store import locked
    from systems.sae_rad import opened as opening
    from systems.sae_rad.atlas.build import Choices, make
    from systems.sae_rad.atlas.finished import find_run
    from systems.sae_rad.atlas.site import check_folder

    refuse_file(out)
    check_folder(out, public=public)
    finished = find_run(run, label) if run is not None else None
    own = finished is not None and config is None and not assignments and dataset is None and seed is None
    with _configuration(finished if own else None, config) as source:
        settings, entry = opening.select(source, assignments, label or _label(finished), dataset, seed)
    with opening.opened(settings, entry) as opened, locked(out):
        choices = Choices(
            out=out,
            features=features,
            images=images,
            side=image_size,
            split=split,
            scores=opening.folder(settings, entry, scores),
            scores_required=scores is not None,
            run=finished,
            explain=explain,
            labels=labels,
            public=public,
        )
        _say(make(opened, choices))


def _label(finished: FinishedRun | None) -> str | None:
    return None if finished is None else str(finished.recorded["label"])


@contextmanager
def _configuration(finished: FinishedRun | None, given: Path | None) -> Iterator[Path | None]:
    """Yield the configuration file: the one given, else the run's own, written out."""
    if finished is None:
        yield given
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "run.json"
        file.write_text(json.dumps(finished.recorded["config"]), encoding="utf-8")  # JSON is YAML
        yield file


def _say(made: Made) -> None:
    reports = f", {made.n_reports:,} reports" if made.n_reports else ""
    click.echo(f"{made.index}: {made.n_features:,} features{reports}; {made.n_written:,} pages written", err=True)
    if made.unreadable:
        image, why = next(iter(made.unreadable.items()))
        click.echo(f"{len(made.unreadable):,} images could not be shown, e.g. {image}: {why}", err=True)
    if made.undescribed:
        click.echo(f"{made.undescribed:,} features have no description; the same command asks again", err=True)
