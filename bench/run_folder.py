"""The files by which a run folder is opened and finished, whoever fills it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine, store
from bench.cachedir import cache_root
from bench.config import PARTS, digest
from bench.context import RunContext
from bench.errors import BenchError

SHOWN = 5
RESULTS = ("cases.jsonl", "reports.jsonl", "stats", "facts.json", "summary.json", "done.json")
"""What a run writes after its run.json."""


def open_run(folder: Path, same: Mapping[str, Any], device: str, **more: Any) -> list[str]:
    """Write run.json, or check that what is there is the same run; return the package versions that changed since.

    `same` is what makes two runs the same one, `more` is recorded beside it. Raises BenchError naming the keys that
    differ, and where the folder holds reports of which no run.json tells how they were made.
    """
    file = folder / "run.json"
    if not file.exists():
        if strays := [name for name in RESULTS if (folder / name).exists()]:
            raise BenchError(
                f"{folder}: holds {', '.join(strays)} but no run.json, so nothing tells how they were made. Choose "
                "another --out, or delete them; bench score FILE scores reports from elsewhere."
            )
        recorded = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": machine.versions(),
            "machine": machine.describe(device),
        }
        store.write_json(file, {**recorded, **more, **same})
        return []
    before = store.read_json(file)
    if more.get("credentialed") and not before.get("credentialed"):
        store.write_json(file, {**before, "credentialed": True})
    if changed := differences({key: before.get(key) for key in same}, same):
        raise BenchError(
            f"{folder}: holds another run; these differ: {'; '.join(changed[:SHOWN])}. "
            "Choose another --out, or delete the folder."
        )
    return differences(before.get("versions", {}), machine.versions())


def context_of(folder: Path, recorded: Mapping[str, Any]) -> RunContext:
    """Return a context that builds the parts of a run again, as its run.json records them.

    It knows what the run knew of its data: text of a credentialed dataset is kept from a remote model here too.
    """
    config = recorded.get("config", {})
    context = RunContext(
        workdir=folder / "work",
        cache_root=cache_root(),
        parts={name: config.get(name) or {} for name in PARTS},
        attested=tuple(config.get("run", {}).get("attest_zero_retention", ())),
    )
    context.credentialed = bool(recorded.get("credentialed", True))
    return context


def finish(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json, then done.json, by which leaderboards find a run."""
    store.write_json(folder / "summary.json", summary)
    store.write_json(folder / "done.json", {"summary_digest": digest(summary)})


def write_usage(folder: Path, context: RunContext) -> None:
    """Append what questions to chat models took since the last call (calls, tokens, cost) to usage.jsonl."""
    lines = []
    for record in context.llms_used():
        spec, usage = record["spec"], record["usage"]
        taken = _taken(usage, context.usage_written.get(spec, {}))
        context.usage_written[spec] = usage
        if any(taken.values()):
            lines.append({"until": datetime.now(UTC).isoformat(timespec="seconds"), "llm": spec, **taken})
    if lines:
        with store.Appender(folder / "usage.jsonl") as file:
            file.write(*lines)


def _taken(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if value is None else value - (before.get(key) or 0) for key, value in after.items()}


def llms(context: RunContext) -> list[dict[str, Any]]:
    """Return what summary.json says of the chat models asked: all but what they took, which a continued run repeats."""
    return [{key: value for key, value in record.items() if key != "usage"} for record in context.llms_used()]


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Return "key: before -> after" for each leaf that differs."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({*before, *after})
        return [
            line
            for key in keys
            for line in differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if before == after else [f"{path}: {before!r} -> {after!r}"]
