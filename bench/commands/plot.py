"""``bench plot``: pictures of finished runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from bench.cli import confidence_option, path_option

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.plots.picture import Numbers
    from bench.plots.runs import Scored

    _FloatType = click.ParamType[float]
else:
    _FloatType = click.ParamType  # not generic before click 8.2

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
WIDTHS = {"single": 89.0, "double": 183.0}


class Width(_FloatType):
    """Millimetres, or "single" or "double" for one or two columns of a page."""

    name = "MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return millimetres."""
        if value in WIDTHS:
            return WIDTHS[value]
        try:
            width = float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither single, double nor a number of millimetres", param, ctx)
        if not 60 <= width <= 1000:
            self.fail(f"{value} is not within 60 and 1000 mm", param, ctx)
        return width


def _shared(command: CommandT) -> CommandT:
    """Add what every kind takes."""
    for add in reversed(
        (
            click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path)),
            path_option("--out", "-o", required=True, metavar="FILE", help="Write to FILE.png, .pdf, .svg or .csv."),
            path_option("--data", metavar="FILE", help="The drawn numbers as CSV. Default: beside --out, as .csv."),
            click.option(
                "--width",
                type=Width(),
                default="single",
                show_default=True,
                help="Millimetres; single: 89, double: 183. Text has its size whatever the width.",
            ),
        )
    ):
        command = add(command)
    return command


def _metrics(command: CommandT) -> CommandT:
    """Add the choice of columns."""
    full = click.option(
        "--columns",
        type=click.Choice(["default", "full"]),
        default="default",
        help="full: also RadFact precision and recall.",
    )
    names = click.option("--metrics", metavar="NAME,…", help="Metrics or columns to draw. Default: all.")
    return names(full(command))


_baseline = click.option(
    "--baseline", metavar="LABEL", help="The run that the others are seen against. Default: the first."
)
_seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the resamples.")
_confidence = confidence_option("Level of the intervals.")


def _draws(default: int) -> Callable[[CommandT], CommandT]:
    return click.option(
        "--draws", type=click.IntRange(0, 1_000_000), default=default, show_default=True, help="Resamples of patients."
    )


@click.group()
def plot() -> None:
    """Draw finished runs, for a paper: PNG, PDF or SVG, with the drawn numbers as CSV beside it.

    \b
    bench plot forest runs/demo-test-1234 --out scores.pdf
    bench plot radar OURS THEIRS --out radar.svg
    bench plot correlation OURS --out correlation.png
    bench plot length OURS THEIRS --metric RG-L --out length.pdf --width double
    """


@plot.command()
@_shared
@_metrics
@_baseline
@click.option("--differences", is_flag=True, help="Draw each run minus the baseline, as bench compare measures it.")
@_draws(10_000)
@click.option("--trials", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True, help="Random swaps.")
@_confidence
@_seed
def forest(
    runs: tuple[Path, ...],
    out: Path,
    data: Path | None,
    width: float,
    metrics: str | None,
    columns: str,
    baseline: str | None,
    differences: bool,
    draws: int,
    trials: int,
    confidence: float,
    seed: int,
) -> None:
    """Scores with their intervals: a panel a column, a row a run.

    Runs on different cases stand in blocks of their own; a score made by another recipe than the first of its block is
    hollow and named below. --draws, --trials, --confidence and --seed are for --differences: the intervals of scores
    are those that the runs have.
    """
    from bench.compare import Settings
    from bench.plots import forest as kind

    if not differences:
        _refuse("draws", "trials", "confidence", "seed")
    file, read = _begin(runs, out, data)
    if differences:
        settings = Settings(draws, trials, seed, confidence)
        found = kind.differences(read, settings, baseline=baseline, metrics=metrics, full=columns == "full")
    else:
        found = kind.of_runs(read, baseline=baseline, metrics=metrics, full=columns == "full")
    _end(out, file, found.numbers, lambda: kind.draw(found, width), found.title, found.texts(), found.notes)


@plot.command()
@_shared
@_metrics
@_baseline
@click.option(
    "--scale",
    type=click.Choice(["own", "common"]),
    default="own",
    show_default=True,
    help="Each axis has its own numbers, or all have the same.",
)
def radar(
    runs: tuple[Path, ...],
    out: Path,
    data: Path | None,
    width: float,
    metrics: str | None,
    columns: str,
    baseline: str | None,
    scale: Literal["own", "common"],
) -> None:
    """Scores as a radar: an axis a column, a line a run, intervals as bands.

    Each axis is linear and begins at 0 (below it where a score is), its numbers stand at its end, and outwards is
    better. More than four runs are drawn side by side, each with the first. Runs on other cases, or scored otherwise,
    are refused.
    """
    from bench.plots import radar as kind

    file, read = _begin(runs, out, data)
    found = kind.of_runs(read, baseline=baseline, metrics=metrics, full=columns == "full", scale=scale)
    _end(out, file, found.numbers, lambda: kind.draw(found, width), found.title, found.texts(), found.notes)


@plot.command()
@_shared
@_metrics
@click.option(
    "--coefficient",
    type=click.Choice(["spearman", "kendall"]),
    default="spearman",
    show_default=True,
    help="Spearman's ρ or Kendall's τ_b.",
)
@_draws(1000)
@_confidence
@_seed
def correlation(
    runs: tuple[Path, ...],
    out: Path,
    data: Path | None,
    width: float,
    metrics: str | None,
    columns: str,
    coefficient: Literal["spearman", "kendall"],
    draws: int,
    confidence: float,
    seed: int,
) -> None:
    """How far columns order the same reports alike: rank correlation over cases, as a heat map.

    The reports of several runs are put together. Columns that are lower-is-better are turned, so that a positive
    number means agreement. Where all cases have the same value the correlation is undefined, and drawn as such.
    """
    from bench.plots import correlation as kind

    file, read = _begin(runs, out, data)
    found = kind.of_runs(
        read,
        coefficient=coefficient,
        metrics=metrics,
        full=columns == "full",
        draws=draws,
        confidence=confidence,
        seed=seed,
    )
    _end(out, file, found.numbers, lambda: kind.draw(found, width), found.title, found.texts(), found.notes)


@plot.command()
@_shared
@click.option("--metric", required=True, metavar="COLUMN", help="The column whose values of single cases are drawn.")
@click.option(
    "--of",
    "side",
    type=click.Choice(["report", "reference"]),
    default="report",
    show_default=True,
    help="Whose length.",
)
@click.option("--points/--no-points", default=True, show_default=True, help="Draw every case, or the means alone.")
@click.option("--bins", type=click.IntRange(1, 100), default=6, show_default=True, help="Most means along the length.")
@_draws(1000)
@_confidence
@_seed
def length(
    runs: tuple[Path, ...],
    out: Path,
    data: Path | None,
    width: float,
    metric: str,
    side: Literal["report", "reference"],
    points: bool,
    bins: int,
    draws: int,
    confidence: float,
    seed: int,
) -> None:
    """A column's value of each case against the words of its report, or of its reference.

    A picture a run, with the means of cases of neighbouring lengths (about as many cases each) and their intervals.
    Points and their numbers carry no id and stand in no order of the cases; --no-points leaves them out.
    """
    from bench.plots import length as kind

    file, read = _begin(runs, out, data)
    settings: dict[str, Any] = {"bins": bins, "draws": draws, "confidence": confidence, "seed": seed}
    found = kind.of_runs(read, metric, side=side, points=points, **settings)
    _end(out, file, found.numbers, lambda: kind.draw(found, width), found.title, found.texts(), found.notes)


# ------------------------------------------------------------------ around each kind


def _refuse(*names: str) -> None:
    """Raise UsageError where an option was given that only differences have."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name} is for --differences: the intervals of scores are those that the runs have", context
            )


def _begin(runs: Sequence[Path], out: Path, data: Path | None) -> tuple[Path | None, list[Scored]]:
    """Check the files, then read the runs; credentialed ones make what is written private."""
    from bench.plots import picture
    from bench.plots import runs as reading

    file = picture.check_files(out, data)
    if out.suffix.lower() != ".csv":
        picture.need_matplotlib("bench plot")
    read = reading.read(runs)
    if reading.credentialed(run.run for run in read):
        os.umask(0o077)
        click.echo("Credentialed data: pictures and numbers are written private to this user.", err=True)
    return file, read


def _end(
    out: Path,
    data: Path | None,
    numbers: Numbers,
    draw: Callable[[], Figure],
    title: str,
    texts: Sequence[str],
    notes: Sequence[str],
) -> None:
    """Write the files and tell which, with what stands below the picture."""
    from bench.plots import picture

    written = picture.write(out, data, numbers, draw, title)
    if out.suffix.lower() != ".csv":
        notes = [*notes, *picture.lacking([*texts, *notes])]
    for note in notes:
        click.echo(note.encode("utf-8", "replace").decode(), err=True)
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)
