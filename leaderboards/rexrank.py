"""x."""

import click


@click.group()
def rexrank() -> None:
    """Exchange with ReXrank."""
