"""The files by which a run folder is opened and finished, whoever fills it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine, store
from bench.cachedir import cache_root
from bench.config import PARTS, digest
from bench.context import RunContext
from bench.contracts import Evidence, Report
from bench.errors import BenchError

SHOWN = 5
RESULTS = (
    "cases.jsonl",
    "reports.jsonl",
    "shards",
    "stats",
    "facts.json",
    "resources.json",
    "summary.json",
    "done.json",
)
"""What a run writes after its run.json."""
USAGE = "usage.jsonl"
REPORTING, SCORING = "reports", "scores"
"""What chat models are asked for, as lines of usage.jsonl name it."""
DETAILS, OTHER_DETAILS = "details.json", "details-other.jsonl"


def open_run(
    folder: Path, same: Mapping[str, Any], device: str, free: Collection[str] = (), /, **more: Any
) -> dict[str, list[str]]:
    """Write run.json, or check that what is there is the same run; return what else changed since, by what it is.

    `same` is what makes two runs the same one, but for the dotted keys `free`, which say how it is done and not what;
    `more` is recorded beside it, and so is what else changed (`continued`). Raises BenchError naming the keys that
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
        return {}
    before = store.read_json(file)
    if more.get("credentialed") and not before.get("credentialed"):
        before = {**before, "credentialed": True}
        store.write_json(file, before)
    changed = differences({key: before.get(key) for key in same}, same)
    otherwise = [line for line in changed if line.partition(": ")[0] in free]
    if differ := [line for line in changed if line not in otherwise]:
        raise BenchError(
            f"{folder}: holds another run; these differ: {'; '.join(differ[:SHOWN])}. "
            "Choose another --out, or delete the folder."
        )
    found = {
        "package versions": differences(before.get("versions", {}), machine.versions()),
        "machine": differences(_computing(before.get("machine", {})), _computing(machine.describe(device))),
        "settings": otherwise,
    }
    found = {what: lines for what, lines in found.items() if lines}
    _record_continued(file, before, found)
    return found


def _computing(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a machine's description tells what computes; kernels differ from node to node."""
    return {key: described[key] for key in ("machine", "device", "gpu") if key in described}


def _record_continued(file: Path, before: Mapping[str, Any], changed: Mapping[str, list[str]]) -> None:
    """Add to run.json what is otherwise than when the run began, once however many calls have it so."""
    told = list(before.get("continued", ()))
    if changed and all(changed != {k: v for k, v in one.items() if k != "since"} for one in told):
        told.append({"since": datetime.now(UTC).isoformat(timespec="seconds"), **changed})
        store.write_json(file, {**before, "continued": told})


def keep_details(folder: Path, details: Mapping[str, Any], source: str) -> list[str]:
    """Keep what a system tells of how its reports are made; return what differs from what it told first.

    The first are in details.json. Each other one is a line of details-other.jsonl, with its `source` and when it came.
    `notes`, a list of what happened on the way, make no difference: they are joined to those kept. Raises TypeError or
    ValueError where the details are no JSON object.
    """
    told: dict[str, Any] = json.loads(json.dumps(dict(details), allow_nan=False))
    file, others = folder / DETAILS, folder / OTHER_DETAILS
    first = store.read_json(file) if file.exists() else told
    if _how(told) == _how(first):
        store.write_json(file, _with_notes(first, told))
        return []
    kept = store.read_lines(others)
    same = next((line for line in kept if _how(line.get("details") or {}) == _how(told)), None)
    if same is None:
        same = {"from": source, "since": datetime.now(UTC).isoformat(timespec="seconds"), "details": told}
        kept.append(same)
    same["details"] = _with_notes(same["details"], told)
    store.write_text(others, "".join(map(store.json_line, kept)))
    return differences(_how(first), _how(told))


def _how(details: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in details.items() if key != "notes"}


def _with_notes(details: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    notes = [*(details.get("notes") or ()), *(told.get("notes") or ())]
    return {**details, "notes": sorted(set(map(str, notes)))} if notes else dict(details)


def details_of(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (source, details) of all that a run's system told of how its reports are made; "" is the first's."""
    if not (folder / DETAILS).exists():
        return []
    others = [(str(line.get("from")), line.get("details") or {}) for line in store.read_lines(folder / OTHER_DETAILS)]
    return [("", store.read_json(folder / DETAILS)), *others]


def report_from_line(line: Mapping[str, Any], file: Path) -> Report:
    """Return the report of a line of reports.jsonl."""
    try:
        if not isinstance(line["text"], str) or not isinstance(line["id"], str):
            raise TypeError("id and text are strings")
        evidence = tuple(Evidence(**item) for item in line.get("evidence", ()))
        return Report(line["id"], line["text"], evidence, line.get("error"), line.get("seconds"))
    except (KeyError, TypeError) as err:
        raise BenchError(f"{file}: a line is no report ({err}); delete it to ask the case again") from None


def some(ids: Sequence[str]) -> str:
    """Return the first few of `ids`, and how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


def is_credentialed(recorded: Mapping[str, Any]) -> bool:
    """Return whether a run's data are credentialed by its run.json: only what says that they are not is public."""
    return recorded.get("credentialed") is not False


def context_of(folder: Path, recorded: Mapping[str, Any], made: type[RunContext] = RunContext) -> RunContext:
    """Return a context that builds the parts of a run again, as its run.json records them.

    It knows what the run knew of its data: text of a credentialed dataset is kept from a remote model here too.
    """
    config = recorded.get("config", {})
    context = made(
        workdir=folder / "work",
        cache_root=cache_root(),
        parts={name: config.get(name) or {} for name in PARTS},
        attested=tuple(config.get("run", {}).get("attest_zero_retention", ())),
    )
    context.credentialed = is_credentialed(recorded)
    return context


def finish(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json, then done.json, by which leaderboards find a run."""
    store.write_json(folder / "summary.json", summary)
    store.write_json(folder / "done.json", {"summary_digest": digest(summary)})


def write_usage(folder: Path, context: RunContext, purpose: str = SCORING) -> None:
    """Append what questions to chat models took since the last call (calls, tokens, cost) to usage.jsonl."""
    lines = []
    for record in context.llms_used():
        spec, usage = record["spec"], record["usage"]
        taken = _taken(usage, context.usage_written.get(spec, {}))
        context.usage_written[spec] = usage
        if any(taken.values()):
            lines.append(
                {
                    "until": datetime.now(UTC).isoformat(timespec="seconds"),
                    "llm": spec,
                    "for": purpose,
                    "local": record["local"],
                    **taken,
                }
            )
    if lines:
        with store.Appender(folder / USAGE) as file:
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
