"""Leaderboards: the paper's tables as data, with the rows of finished runs beside the published ones.

``build(name, runs_dir, columns)`` makes a `Table`, ``render(table, fmt)`` its text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leaderboards.model import Table as Table
    from leaderboards.renderers import render as render
    from leaderboards.tables import build as build
    from leaderboards.tables import names as names

__all__ = ["Table", "build", "names", "render"]

_HOMES = {"Table": "model", "build": "tables", "names": "tables", "render": "renderers"}


def __getattr__(name: str) -> Any:
    """Import on first use: the command's help needs none of it."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"leaderboards.{_HOMES[name]}"), name)
