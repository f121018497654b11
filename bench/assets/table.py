"""Assets as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.assets.needs import Needs
from bench.assets.state import State
from bench.assets.unpack import Brought

KINDS = {"hub": "hub", "worker": "environment", "file": "file", "server": "server"}


def print_states(console: Console, states: Sequence[State], found: Needs | None) -> None:
    """Print a line an asset: what, for whom, how large, where; `found` has what could not be told."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("kind", "asset", "needed by", "size", "where"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=heading in ("kind", "size"))
    for state in states:
        size = "" if state.size is None else size_of(state.size)
        cells = (KINDS[state.kind], state.name, "\n".join(state.need.by), size, _where(state))
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    if states:
        console.print(table)
    else:
        console.print("Nothing is needed from a network.")
    for part, err in (found.untold if found else {}).items():
        console.print(f"{part}: what it needs cannot be told: {err}", markup=False, highlight=False)
    missing = [state for state in states if state.missing]
    if missing:
        console.print(f"{len(missing)} of {len(states)} missing: bench assets pull fetches them.", markup=False)


def _where(state: State) -> str:
    place = str(state.where) if state.where else "missing" if state.missing else ""
    has_wheels = (
        ["its wheels are here" if state.where else "built from its wheels when first used"] if state.wheels else []
    )
    note = [state.note] if state.note and (state.where is None or state.kind != "hub") else []
    return "\n".join([*([place] if place else []), *has_wheels, *note])


def size_of(size: int) -> str:
    """Return bytes as "1.37 GB" or "12 MB"."""
    if size >= 1e9:
        return f"{size / 1e9:,.2f} GB"
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def print_written(console: Console, file: Path, manifest: Mapping[str, Any]) -> None:
    """Print what an archive holds, and what it does not."""
    total = sum(entry["size"] for entry in manifest["files"])
    _say(console, f"{file}: {len(manifest['files']):,} files, {size_of(total)}, of {_count(manifest)} assets")
    _print_left(console, manifest)


def print_brought(console: Console, file: Path, brought: Brought) -> None:
    """Print what an import did."""
    _say(console, f"{file}: {brought.new:,} files put in place, {brought.known:,} here already; all checksums hold")
    for note in brought.notes:
        _say(console, note)
    _print_left(console, brought.manifest)
    _say(console, "Set HF_HUB_OFFLINE=1, so that nothing waits for a network.")


def _print_left(console: Console, manifest: Mapping[str, Any]) -> None:
    for name in manifest["missing"]:
        _say(console, f"not in the archive: {name}")
    for asset in manifest["assets"]:
        if asset["kind"] == "server":
            _say(console, f"not in the archive, a server holds it: {asset['command']}")
        elif asset["kind"] == "file":
            _say(console, f"not in the archive, carry it by hand: {asset['path']}")


def _count(manifest: Mapping[str, Any]) -> int:
    return sum(asset["kind"] in ("hub", "worker") for asset in manifest["assets"])


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
