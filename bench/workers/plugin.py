"""What systems and annotators that run in workers share: which script, which weights, what identifies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.config import digest
from bench.contracts import Asset, Context
from bench.errors import BenchError
from bench.workers.options import ModelOptions, ScriptOptions, WorkerOptions
from bench.workers.worker import Weights, Worker


class InWorker:
    """A plugin whose model runs in an environment of its own.

    A subclass names its `Options` (a subclass of `WorkerOptions`, or of `ModelOptions` where it has weights) and its
    `script`, and may narrow the `files` it needs of the weights' repository. Where that brings code of its own
    (`remote_code`), a hub id goes with a commit in the configuration: code runs of no other.
    """

    Options: ClassVar[type[WorkerOptions]]
    script: ClassVar[Path]
    files: ClassVar[tuple[str, ...]] = ()
    remote_code: ClassVar[bool] = False
    gated: ClassVar[bool] = False
    _worker: Worker[Any]

    def __init__(self, options: WorkerOptions, context: Context) -> None:
        self.options, self._context = options, context

    def worker_script(self) -> Path:
        """Return the script: the class's own, or the one that the options name. Raises BenchError."""
        if not isinstance(self.options, ScriptOptions):
            return self.script
        script = Path(self.options.script).expanduser()
        if not script.is_file():
            raise BenchError(f"worker: script {self.options.script!r}: no such file")
        return script

    def weights(self) -> Mapping[str, Weights]:
        """Return option → weights whose folder the worker is given under it; none where the options name none."""
        if not isinstance(self.options, ModelOptions | ScriptOptions) or self.options.model is None:
            return {}
        model, revision = self.options.model, self.options.revision
        return {"model": Weights(model, revision, self.files, gated=self.gated, remote_code=self.remote_code)}

    def fingerprint(self) -> str:
        """Return what identifies script, options and weights."""
        return digest(self._worker.identity())

    def assets(self) -> Sequence[Asset]:
        """Return the weights and the environment."""
        return self._worker.assets()
