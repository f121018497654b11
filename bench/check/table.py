"""Checks on the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.check.outcome import Checked
from bench.errors import BenchError

STYLES: Mapping[str, str] = {"ok": "green", "failed": "bold red", "warning": "yellow", "unavailable": "yellow"}


def print_checked(console: Console, checked: Checked) -> None:
    """Print a line a check; below a rule, what was seen."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("check", "result", "what is asked, and what was seen"):
        table.add_column(heading, no_wrap=heading != "what is asked, and what was seen")
    for outcome in checked.outcomes:
        said = Text(outcome.rule, overflow="fold")
        if outcome.note:
            said.append(f"\n{outcome.note}", style="" if outcome.status != "ok" else "dim")
        table.add_row(outcome.name, Text(outcome.status, style=STYLES.get(outcome.status, "")), said)
    console.print(table)
    console.print(f"{checked.kind} {checked.spec}: {counts(checked)}", markup=False, highlight=False)


def counts(checked: Checked) -> str:
    """Return how many checks ended how: "19 ok, 1 failed, 1 not tried"."""
    statuses = [outcome.status for outcome in checked.outcomes]
    return ", ".join(f"{statuses.count(status)} {status}" for status in _ORDER if status in statuses)


_ORDER = ("ok", "warning", "failed", "unavailable", "not tried")


def as_json(checked: Checked) -> dict[str, Any]:
    """Return the checks as JSON-able values."""
    outcomes = [asdict(outcome) for outcome in checked.outcomes]
    return {"kind": checked.kind, "spec": checked.spec, "ok": checked.ok, "checks": outcomes}


def refuse(checked: Checked) -> None:
    """Raise BenchError where a rule is broken, or could not be checked."""
    who = f"{checked.kind} {checked.spec!r}"
    if checked.failed:
        raise BenchError(f"{who} does not keep its contract: {', '.join(o.name for o in checked.failed)} failed")
    if checked.unavailable:
        raise BenchError(f"{who} {checked.unavailable[0].note}")
