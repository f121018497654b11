"""One case, one worker: what ``bench worker try`` does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rich.console import Console

from bench import store
from bench.config import Config
from bench.contracts import Case
from bench.errors import BenchError
from bench.run import make_context
from bench.workers.system import WorkerSystem


def report_on(config: Config, case: Case) -> str:
    """Return the report of the configuration's one system; log and details stay in a folder that is told.

    Raises BenchError where the system runs in no worker, or gives no report.
    """
    os.umask(0o077)  # whether the images are credentialed is not known here
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-worker-"))
    (entry,) = config.systems
    context = make_context(config, folder, console)
    system = context.build("system", entry.use, entry.options, f"systems.{entry.label}")
    if not isinstance(system, WorkerSystem):
        raise BenchError(f"{entry.label} runs in this process, not in a worker; bench run --limit 1 tries it")
    reports = list(system.generate([case]))
    store.write_json(folder / "details.json", dict(system.details()))
    console.print(f"Log and details: {folder}", markup=False, highlight=False)
    if reports[0].error is not None:
        raise BenchError(reports[0].error)
    return "\n".join([reports[0].text, *(f"{note.label}: {note.text}" for note in reports[0].evidence)])
