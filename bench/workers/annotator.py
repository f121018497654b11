"""Annotators whose model runs in a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from bench.config import digest
from bench.contracts import Asset, Context, Unannotated
from bench.workers.crew import Packed, Task
from bench.workers.options import ModelOptions, ScriptOptions, WorkerOptions
from bench.workers.system import script_of, weights_of
from bench.workers.worker import Weights, Worker


class WorkerAnnotator:
    """An annotator that runs in an environment of its own: `Options` and `script` as of a `WorkerSystem`."""

    Options: ClassVar[type[WorkerOptions]]
    script: ClassVar[Path]
    files: ClassVar[tuple[str, ...]] = ()
    remote_code: ClassVar[bool] = False
    gated: ClassVar[bool] = False

    def __init__(self, options: WorkerOptions, context: Context) -> None:
        self.options = options
        script, weights = self.worker_script(), self.weights()
        self._worker: Worker[str] = Worker("annotate", script, options, weights, context, _pack)

    def worker_script(self) -> Path:
        """Return the script."""
        return self.script

    def weights(self) -> Mapping[str, Weights]:
        """Return option → weights whose folder the worker is given under it; none where the options name none."""
        if not isinstance(self.options, ModelOptions):
            return {}
        model, revision = self.options.model, self.options.revision
        return {"model": Weights(model, revision, self.files, gated=self.gated, remote_code=self.remote_code)}

    def fingerprint(self) -> str:
        """Return what identifies script, options and weights."""
        return digest(self._worker.identity())

    def assets(self) -> Sequence[Asset]:
        """Return the weights and the environment."""
        return self._worker.assets()

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


class ScriptAnnotator(WorkerAnnotator):
    """A worker script of your own: worker:./labels.py, run in the environment that it asks for."""

    Options = ScriptOptions
    argument = "script"

    def worker_script(self) -> Path:
        """Return the script that the options name."""
        return script_of(self.options)

    def weights(self) -> Mapping[str, Weights]:
        """Return the weights that the options name."""
        return weights_of(self.options)
