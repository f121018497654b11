"""One script in workers: its weights, its environment, its processes. What systems and annotators share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from bench import hub
from bench.contracts import Asset, Context, HubFiles, PlanLine, WorkerScript
from bench.errors import BenchError, Unavailable
from bench.workers import environment
from bench.workers.crew import Answered, Crew, Lane, Pack, Task, facts_of
from bench.workers.options import ScriptOptions, WorkerOptions, own
from bench.workers.process import Log, Lost, Process

T = TypeVar("T")
MOST = sys.float_info.max
MOST_NOTES, LONGEST_NOTE = 50, 500
"""Notes of a worker that are kept, and their length."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder of weights, or a repository of the hub at a revision."""

    model: str
    revision: str | None = None
    files: tuple[str, ...] = ()
    gated: bool = False
    remote_code: bool = False

    @property
    def local(self) -> Path | None:
        """The folder, where the weights are one."""
        folder = Path(os.path.expanduser(self.model))  # which, unlike Path's, knows of users that are not there
        return folder.resolve() if folder.is_dir() else None

    def check(self, option: str = "model") -> None:
        """Raise BenchError where the options cannot be meant; `option` is the one that names the weights."""
        if self.local is not None and self.revision is not None:
            raise BenchError(f"{option} {self.model!r} is a folder, which has no revision {self.revision!r}")
        if self.local is None and not hub.is_hub_id(self.model):
            raise BenchError(f"{option} {self.model!r}: no such folder")
        if self.local is None and self.remote_code and not hub.COMMIT.fullmatch(self.revision or ""):
            raise BenchError(
                f"{self.model} brings code of its own, which runs only at a commit that the configuration names, since "
                f"a branch or a tag may move: read the code at {hub.PAGE}/{self.model}/commits/main and set the option "
                f"{_revision(option)} to the 40 digits of that commit"
            )

    def wanted(self) -> HubFiles:
        """Return what is needed of the hub."""
        return HubFiles(self.model, self.revision, self.files, self.gated)

    def identity(self, context: Context) -> Any:
        """Return what identifies the weights: the content of a folder; repository and revision of the hub's."""
        if (folder := self.local) is None:
            return {"repository": self.model, "revision": self.revision}
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder)))
        return {p.relative_to(folder).as_posix(): hub.file_sha256(p, context) for p in files}

    def folder(self, context: Context, option: str) -> Path:
        """Return the folder of the weights, fetched where they are not there. Raises Unavailable."""
        return self.local or hub.snapshot(self.wanted(), context, option)

    def found(self) -> Path | None:
        """Return the folder of the weights, None where they would have to be fetched."""
        return self.local or hub.cached_snapshot(self.wanted())


def _revision(option: str) -> str:
    """Return the option beside one that names weights that says at which revision: model → revision."""
    return "revision" if option == "model" else f"{option}_revision"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


class Worker(Generic[T]):
    """The workers of one script; started on first use, one a device."""

    def __init__(
        self,
        task: Literal["write", "annotate"],
        script: Path,
        options: WorkerOptions,
        weights: Mapping[str, Weights],
        context: Context,
        pack: Pack[T],
    ) -> None:
        self._task, self.script, self.options, self._weights, self._context = task, script, options, weights, context
        self.name = environment.called(script)
        for option, one in weights.items():
            one.check(option)
        self._folders: dict[str, Path] = {}
        self.notes: dict[str, None] = {}
        self._crew = Crew([self._lane(str(i), device, pack) for i, device in enumerate(options.devices)])

    def _lane(self, name: str, device: str, pack: Pack[T]) -> Lane[T]:
        called = self.name if len(self.options.devices) == 1 else f"{self.name} on {device}"
        return Lane(name, called, partial(self._launch, name, device), partial(self._greet, device), pack)

    # -------------------------------------------------------------- before a start

    def identity(self) -> Any:
        """Return what identifies script, options and weights."""
        elsewhere = {"script", *self._weights, *map(_revision, self._weights)}
        return {
            "script": environment.script_digest(self.script),
            "options": {k: v for k, v in own(self.options).items() if k not in elsewhere},
            "weights": {option: one.identity(self._context) for option, one in self._weights.items()},
        }

    def assets(self) -> Sequence[Asset]:
        """Return what is fetched from a network."""
        hub_files = [one.wanted() for one in self._weights.values() if one.local is None]
        return [*hub_files, *([WorkerScript(self.script)] if self.options.runner == "uv" else [])]

    def plan(self) -> Sequence[PlanLine]:
        """Return what is still to be fetched or built before a start."""
        missing = [one for one in self._weights.values() if one.found() is None]
        ready = self.options.runner != "uv" or environment.built(self.script, self._context) is not None
        lines = [PlanLine(f"weights to fetch, {one.model}", 1, "repository", f"weights {one}") for one in missing]
        return lines + ([] if ready else [PlanLine("environment to build", 1, "environment", f"env {self.script}")])

    def folder(self, lane: str) -> Path:
        """Return (made if need be) the work folder of a lane."""
        kind = "worker" if self._task == "write" else f"annotator-{self.script.stem}"
        folder = self._context.workdir.resolve() / f"{kind}-{lane}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # -------------------------------------------------------------- under way

    def prepare(self) -> None:
        """Fetch, build and start, so that what cannot work is told before the first case."""
        self._find_weights()
        self._command(self._crew.lanes[0].name, self.options.devices[0])  # builds what it needs, with a bar of its own
        with self._context.progress(f"loading {self.name}", None):
            self._crew.lanes[0].ready()

    def find(self) -> Mapping[str, Path]:
        """Return option → folder of its weights; nothing is fetched, built or started.

        Raises Unavailable where they are not here, or what would build the environment is not.
        """
        if self.options.runner == "uv" and environment.built(self.script, self._context) is None:
            environment.uv_binary()
        for option, one in self._weights.items():
            if (folder := one.found()) is None:
                raise Unavailable(
                    f"{hub.named(one.wanted())} is not in the cache of the Hugging Face hub",
                    f"`bench assets pull` with the same options fetches it (docs/assets.md), or set {option} to a "
                    "folder that holds it",
                )
            self._folders[option] = folder.resolve()
        return self._folders

    def _find_weights(self) -> None:
        for option, one in self._weights.items():
            if option not in self._folders:
                self._folders[option] = one.folder(self._context, option).resolve()

    def _command(self, lane: str, device: str) -> environment.Command:
        options, weights = self.options, list(self._folders.values())
        return environment.command(
            options.runner,
            self.script,
            self.folder(lane),
            weights,
            self._context,
            options.environment,
            gpu=device != "cpu",
        )

    def _launch(self, lane: str, device: str) -> Process:
        folder = self.folder(lane)
        return Process(self.name, self._command(lane, device), folder, Log(folder / "worker.log"))

    def _greet(self, device: str, process: Process) -> dict[str, Any]:
        options = self.options
        start = {"task": self._task, "options": self._given(), "device": device, "batch_size": options.batch_size}
        try:
            return process.start(start, options.load_timeout_s)
        except Lost as lost:
            if options.runner == "uv" and (python := environment.built(self.script, self._context)) is not None:
                hint = f"remove it to have it built anew, if it is damaged: {python.parent.parent}"
                raise Lost(f"{lost}\n  Its environment ({hint})") from None
            raise

    def _given(self) -> dict[str, Any]:
        """Return the options as the worker gets them: the weights as the folder where they lie, links followed."""
        options = self.options
        given = dict(options.options) if isinstance(options, ScriptOptions) else dict(own(options))
        for option, folder in self._folders.items():
            given.pop(_revision(option), None)
            given[option] = str(folder)
        return given

    def answers(self, tasks: Sequence[Task[T]], *, keep: bool = False) -> Iterator[Answered]:
        """Yield an answer a task; the workers end with the last, unless they are kept for more."""
        self._find_weights()
        options = self.options
        yield from self._crew.answers(tasks, options.batch_size, options.timeout_s, self._note, keep=keep)

    def _note(self, text: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes[text[:LONGEST_NOTE]] = None

    def close(self) -> None:
        """End the workers."""
        self._crew.close()

    # -------------------------------------------------------------- what is known of it

    def facts(self) -> Mapping[str, float]:
        """Return the finite numbers that the worker told of its model."""
        told = facts_of(self._crew.lanes).get("facts", {})
        return {str(k): float(v) for k, v in told.items() if isinstance(v, int | float) and -MOST < v < MOST}

    def details(self) -> Mapping[str, Any]:
        """Return what a reader should know: script, weights, device, versions, how the model generates."""
        said = {k: v for k, v in facts_of(self._crew.lanes).items() if k != "facts"}
        weights = {
            option: {
                "model": one.model,
                "revision": one.revision,
                "commit": self._folders[option].name if option in self._folders and one.local is None else None,
            }
            for option, one in self._weights.items()
        }
        return {
            **environment.describe(self.options.runner, self.script),
            **json.loads(json.dumps(said), parse_constant=str),  # NaN and infinity, which are no JSON, by their names
            "batch_size": self.options.batch_size,
            "weights": weights,
            "notes": list(self.notes),
        }
