"""Tensors on disk as safetensors files: replaced in one step, loaded without running code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import BenchError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Replace `path` in one step; equal tensors and JSON-able `about` give equal bytes.

    Raises BenchError where it cannot be written (a full disk); the old file stays.
    """
    metadata = {"about": json.dumps(about, sort_keys=True)}  # one entry: safetensors writes several in a random order
    part = path.with_name(f".{path.name}.part")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as err:
        part.unlink(missing_ok=True)
        raise BenchError(f"{path}: cannot be written: {err}; make room or move the cache (BENCH_CACHE)") from err


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `write_tensors` was given, tensors on the CPU. Raises BenchError where `path` is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as err:
        raise BenchError(f"{path}: cannot be read ({err}); delete the folder {path.parent}, and train again") from err
