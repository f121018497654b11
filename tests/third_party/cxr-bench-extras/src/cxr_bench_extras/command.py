"""``bench extras``."""

import click


@click.command()
def extras() -> None:
    """Say what this package brings."""
    click.echo("first-sentences, length-ratio")
