"""Options of what runs in a worker: where and how, and which weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from bench.options import Options

Runner = Annotated[str, Field(pattern=r"^(uv|(python|apptainer|docker):.+)$")]


class WorkerOptions(Options):
    """Where and how a worker runs. None of it is meant to change what it answers, so none is in a fingerprint."""

    devices: tuple[str, ...] = Field(("auto",), min_length=1)
    """A worker process each: "auto" (the best that the worker's own torch knows), "cpu", "cuda:0" …"""
    batch_size: int = Field(1, ge=1)
    """Cases a batch at most; halved where memory runs out. Above 1, rounding may change a word."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds without an answer, while cases are under way, after which the worker is stopped and started again. The
    cases of a batch are answered together."""
    load_timeout_s: float = Field(1800.0, gt=0)
    """Seconds a worker may take to start and to load its model."""
    runner: Runner = "uv"
    """What the script runs in: "uv" builds the environment that the script asks for; "python:/path/bin/python" is one
    of your own; "apptainer:/path/image.sif" and "docker:image" are containers whose `python3` has what it needs."""
    environment: tuple[str, ...] = ()
    """Names of environment variables that the worker sees beside those that it needs to run."""


class ModelOptions(WorkerOptions):
    """Options of a worker with weights."""

    model: str
    """Folder of the weights, or an id of the Hugging Face hub."""
    revision: str | None = None
    """Branch, tag or commit of the hub's repository; None: its main branch."""


class ScriptOptions(WorkerOptions):
    """Options of a worker script that has no plugin of its own."""

    script: str
    """The script: a Python file with inline dependency metadata (PEP 723)."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """What the script's class is given as its options."""
    model: str | None = None
    """Folder of weights, or an id of the Hugging Face hub; the script finds the folder in options["model"]."""
    revision: str | None = None
    """Branch, tag or commit of the hub's repository; None: its main branch."""


def own(options: WorkerOptions) -> Mapping[str, Any]:
    """Return the options that are not about where and how the worker runs, as JSON."""
    return options.model_dump(mode="json", exclude=set(WorkerOptions.model_fields))
