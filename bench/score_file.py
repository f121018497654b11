"""Scoring predictions that exist already; the result is a run folder like any other."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import cachedir, machine, registry, scoring, store
from bench.config import ScoringConfig, digest
from bench.context import RunContext
from bench.contracts import Report
from bench.predictions import PairsTable
from bench.run import Outcome, refuse_null
from bench.run_folder import finish, llms, open_run


def score(
    table: PairsTable,
    config: ScoringConfig,
    *,
    out: Path | None,
    label: str,
    strict: bool,
    public: bool,
    console: Console,
    home: Path = Path("runs"),
) -> Outcome:
    """Score all pairs with the configured metrics and write a run folder (`out`, or one in `home` named by content).

    A file does not say whether its texts are credentialed: unless `public` the run is readable by its owner only, and
    no remote model sees the texts.
    """
    label = registry.as_label(label)
    identity = _identity(table, config, label)
    folder = out or home / f"score-{label}-{digest(identity)}"
    with store.locked(folder):
        context = RunContext(
            workdir=folder / "work",
            cache_root=cachedir.cache_root(),
            device=machine.resolve_device(config.run.device),
            seed=config.run.seed,
            parts=config.parts,
            console=console,
            attested=config.run.attest_zero_retention,
        )
        if not public:
            os.umask(0o077)
            context.hold("the texts of a file may be credentialed (--public says that they are not)")
        scoring.check_metrics(config.metrics, context, strict=strict)
        about = {"credentialed": not public, "read_as": table.format, "notes": list(table.notes)}
        open_run(folder, identity, context.device, **about)
        _write_pairs(table, folder)
        scores = scoring.run_metrics(config.metrics, table.pairs, folder, context, config.run)
        summary = {
            **{key: identity[key] for key in ("label", "system", "fingerprint", "dataset", "split", "n_cases")},
            "n_groups": len({pair.group for pair in table.pairs}),
            "n_reports_failed": 0,
            "n_missing_as_empty": table.n_missing,
            "stand_ins": list(context.stand_ins),
            "llms": llms(context),
            "run": config.run.model_dump(mode="json"),
            "scores": scores,
        }
        finish(folder, summary)
    outcome = Outcome(folder, summary)
    if strict:
        refuse_null([outcome])
    return outcome


def _identity(table: PairsTable, config: ScoringConfig, label: str) -> dict[str, Any]:
    texts = [[pair.id, pair.group, pair.candidate, pair.reference] for pair in table.pairs]
    references = digest([[pair.id, pair.reference] for pair in table.pairs])
    return {
        "label": label,
        "system": "predictions",
        "fingerprint": digest(texts),
        "config": dict(config.resolved),
        "dataset": f"file:{references}",
        "split": "all",
        "n_cases": len(table.pairs),
    }


def _write_pairs(table: PairsTable, folder: Path) -> None:
    cases: list[dict[str, Any]] = [
        {"id": pair.id, "group": pair.group, "images": [], "indication": None, "reference": pair.reference}
        for pair in table.pairs
    ]
    reports = [asdict(Report(pair.id, pair.candidate)) for pair in table.pairs]
    store.write_text(folder / "cases.jsonl", "".join(map(store.json_line, cases)))
    store.write_text(folder / "reports.jsonl", "".join(map(store.json_line, reports)))
