"""Annotators whose model runs in a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from bench.config import digest
from bench.contracts import Context, Unannotated
from bench.workers.crew import Packed, Task
from bench.workers.options import ScriptOptions, WorkerOptions
from bench.workers.plugin import InWorker
from bench.workers.worker import Worker


class WorkerAnnotator(InWorker):
    """An annotator that runs in an environment of its own."""

    def __init__(self, options: WorkerOptions, context: Context) -> None:
        super().__init__(options, context)
        self._worker: Worker[str] = Worker("annotate", self.worker_script(), options, self.weights(), context, _pack)

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return one annotation a text, an `Unannotated` in the place of a text that failed alone."""
        made: list[Any] = [None] * len(texts)
        for answered in self._worker.answers([Task(str(i), text) for i, text in enumerate(texts)], keep=True):
            message = answered.message
            failed = "error" in message
            made[int(answered.id)] = Unannotated(str(message["error"])) if failed else message.get("annotation")
        return made


@contextmanager
def _pack(lane: str, tasks: Sequence[Task[str]]) -> Iterator[Packed]:  # noqa: ARG001
    yield Packed([{"id": task.id, "text": task.item} for task in tasks], {})


class ModelAnnotator(WorkerAnnotator):
    """An annotator of published weights, whose fingerprint finds them and tells at which commit they are.

    So a metric that signs with it says at once where it cannot work here: nothing is fetched and no process is started
    for that, since the weights may be large, and a dry run signs too.
    """

    def fingerprint(self) -> str:
        """Return what identifies script, options and weights. Raises Unavailable where it cannot work here."""
        return self._fingerprint

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return one annotation a text; a string that is no Unicode text (a lone surrogate) fails here, unasked."""
        readable = [text for text in texts if _is_text(text)]
        made = iter(super().annotate(readable) if readable else [])
        return [
            next(made) if _is_text(text) else Unannotated("not a text: it holds half a character") for text in texts
        ]

    @cached_property
    def _fingerprint(self) -> str:
        folders = self._worker.find()
        commits = {option: folders[option].name for option, one in self.weights().items() if one.local is None}
        return f"{self.script.parent.name}-{digest({'worker': self._worker.identity(), 'commits': commits})}"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class ScriptAnnotator(WorkerAnnotator):
    """A worker script of your own: worker:./labels.py, run in the environment that it asks for."""

    Options = ScriptOptions
    argument = "script"
