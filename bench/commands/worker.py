"""``bench worker``: one worker by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli import path_option
from bench.commands.run import choices, config_options


@click.group()
def worker() -> None:
    """Workers by hand: systems that run in an environment of their own (docs/workers.md)."""


@worker.command()
def path() -> None:
    """Print the folder of bench_worker.py, for the PYTHONPATH of a script that is run without the harness.

    \b
    PYTHONPATH=$(bench worker path) uv run --script worker.py --options '{}' image.png
    """
    from bench.workers.environment import HELPER

    click.echo(HELPER.parent)


@worker.command("try")
@click.argument("system")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--indication", help="Why the examination was asked for.")
@click.option("--technique", help="How it was done.")
@click.option("--comparison", help="What it is compared with.")
@path_option("--prior-report", help="File with the text of an earlier report.")
@path_option("--prior-image", help="The earlier study's frontal image.")
@config_options
def try_system(
    system: str,
    images: tuple[Path, ...],
    indication: str | None,
    technique: str | None,
    comparison: str | None,
    prior_report: Path | None,
    prior_image: Path | None,
    config: Path | None,
    **chosen: Any,
) -> None:
    """Let SYSTEM report on IMAGES of one study, the frontal one first and laterals after it.

    The worker is started as a run starts it; the report goes to standard output, its log and what it says of itself
    (versions, device, generation settings) into the folder that is named.
    """
    from bench.config import load
    from bench.contracts import Case, Image, Prior
    from bench.store import read_text
    from bench.workers.by_hand import report_on

    settings = load(config, choices(systems=system, metrics="nlg", **chosen))
    shown = [Image(image, "LATERAL" if place else "PA") for place, image in enumerate(images)]
    if prior_image is not None:
        shown.append(Image(prior_image, "PA", role="prior"))
    priors = (Prior(read_text(prior_report), None, 0),) if prior_report is not None else ()
    case = Case("by-hand", "by-hand", tuple(shown), indication, technique, comparison, priors)
    click.echo(report_on(settings, case))
