"""``bench doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.commands.run import choices, config_options


@click.command()
@config_options
def doctor(config: Path | None, **chosen: Any) -> None:
    """Check installation, devices, caches, the dataset's counts, and which parts can work here."""
    from rich.console import Console

    from bench import doctor as checks
    from bench.config import load

    checks.print_checks(Console(), load(config, choices(**chosen)))
