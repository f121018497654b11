"""``bench init``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from bench import store
from bench.errors import BenchError


@click.command()
@click.option("--force", is_flag=True, help="Replace an existing bench.yaml.")
def init(force: bool) -> None:
    """Write a commented bench.yaml for MIMIC-CXR into this folder."""
    target = Path("bench.yaml")
    if target.exists() and not force:
        raise BenchError(f"{target} exists; --force replaces it")
    store.write_text(target, files("configs").joinpath("paper.yaml").read_text(encoding="utf-8"))
    click.echo(f"Wrote {target}. Set MIMIC_CXR_JPG and MIMIC_CXR_REPORTS, then: bench doctor, bench run --dry-run")
