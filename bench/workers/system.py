"""Systems whose model runs in a worker: its script, its options, its weights; the harness does the rest."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.contracts import Case, Context, Evidence, PlanLine, Report, TrainingSet
from bench.errors import BenchError
from bench.workers.crew import Packed, Task
from bench.workers.environment import IMAGES
from bench.workers.options import ScriptOptions, WorkerOptions
from bench.workers.plugin import InWorker
from bench.workers.worker import Worker


class WorkerSystem(InWorker):
    """A system that runs in an environment of its own."""

    def __init__(self, options: WorkerOptions, context: Context) -> None:
        super().__init__(options, context)
        self._worker: Worker[Case] = Worker("write", self.worker_script(), options, self.weights(), context, self._pack)

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[PlanLine]:  # noqa: ARG002
        """Return how many cases there are to write, and what is still to be fetched."""
        return [PlanLine("reports to write", len(cases), "cases"), *self._worker.plan()]

    def prepare(self, train: TrainingSet) -> None:  # noqa: ARG002 (nothing is learnt)
        """Fetch the weights, build the environment, start the worker: whatever is not there yet."""
        for copies in self._context.workdir.glob(f"worker-*/{IMAGES}"):  # of a call that was killed
            shutil.rmtree(copies, ignore_errors=True)
        self._worker.prepare()

    def generate(self, cases: Sequence[Case]) -> Iterator[Report]:
        """Yield a report a case, as the workers answer."""
        for answered in self._worker.answers([Task(case.id, case) for case in cases]):
            yield self._report(answered.id, answered.message)

    def _report(self, case_id: str, message: Mapping[str, Any]) -> Report:
        if "error" in message:
            return Report(case_id, "", error=str(message["error"]), seconds=_seconds(message))
        text, notes = message.get("text"), message.get("notes") or ()
        if not isinstance(text, str):
            raise BenchError(f"the worker {self._worker.name} answered {case_id!r} with {text!r}, which is no text")
        return Report(case_id, text, tuple(_evidence(self._worker.name, notes)), seconds=_seconds(message))

    def facts(self) -> Mapping[str, float]:
        """Return the numbers that the worker told of its model."""
        return self._worker.facts()

    def details(self) -> Mapping[str, Any]:
        """Return script, weights, device, versions of the environment, and how the model generates."""
        return self._worker.details()

    # -------------------------------------------------------------- cases on their way

    @contextmanager
    def _pack(self, lane: str, tasks: Sequence[Task[Case]]) -> Iterator[Packed]:
        """Copy the images of cases to a folder of the worker's, for as long as the cases are under way."""
        folder = self._worker.folder(lane) / IMAGES
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        failed: dict[str, str] = {}
        items = []
        try:
            for number, task in enumerate(tasks):
                try:
                    items.append(_item(task.item, folder, number))
                except _Unreadable as err:
                    failed[task.id] = str(err)
            yield Packed(items, failed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Unreadable(Exception):
    """An image that cannot be copied; the text says why."""


_SUFFIX = re.compile(r"\.[A-Za-z]{2,5}|\.[Jj][Pp]2", re.ASCII)
"""What a copy keeps of its file's name; what looks like a number may be a patient's."""


def _content(image: Path) -> bytes:
    try:
        if image.exists() and not image.is_file():  # a pipe would be waited for
            raise _Unreadable(f"{image}: the image cannot be read: no file")
        return image.read_bytes()
    except (OSError, ValueError) as err:  # ValueError: a name with a null byte
        why = err.strerror if isinstance(err, OSError) else err
        raise _Unreadable(f"{image}: the image cannot be read: {why}") from None


def _item(case: Case, folder: Path, number: int) -> dict[str, Any]:
    """Return a case as the protocol has it: no patient, no study, no path of the dataset."""
    images = []
    for place, image in enumerate(case.images):
        suffix = image.path.suffix if _SUFFIX.fullmatch(image.path.suffix) else ""
        copy = folder / f"{number}-{place}{suffix}"
        copy.write_bytes(_content(image.path))
        images.append({"path": str(copy), "view": image.view, "role": image.role})
    priors = [{"text": p.text, "findings": p.findings, "minutes_before": p.minutes_before} for p in case.priors]
    return {
        "id": case.id,
        "images": images,
        "indication": case.indication,
        "technique": case.technique,
        "comparison": case.comparison,
        "priors": priors,
    }


def _seconds(message: Mapping[str, Any]) -> float | None:
    seconds = message.get("seconds")
    return round(seconds, 4) if isinstance(seconds, float) and math.isfinite(seconds) else None


def _evidence(worker: str, notes: Any) -> Iterable[Evidence]:
    try:
        return [Evidence("note", str(label), None, str(text)) for label, text in notes]
    except (TypeError, ValueError):
        raise BenchError(f"the worker {worker}: notes are pairs of a label and a text, not {notes!r}") from None


class ScriptSystem(WorkerSystem):
    """A worker script of your own: worker:./model.py, run in the environment that it asks for."""

    Options = ScriptOptions
    argument = "script"
