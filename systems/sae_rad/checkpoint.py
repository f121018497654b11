"""Tensors on disk as safetensors files: replaced in one step, loaded without running code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import BenchError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Replace `path` in one step. Raises BenchError where it cannot be written (a full disk); the old file stays."""
    part = path.with_name(f".{path.name}.part")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, dict(metadata))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as err:
        part.unlink(missing_ok=True)
        raise BenchError(f"{path}: cannot be written: {err}; make room or move the cache (BENCH_CACHE)") from err


def read_metadata(path: Path) -> dict[str, str]:
    """Return a file's metadata. Raises BenchError where it is no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as err:
        raise BenchError(f"{path}: cannot be read ({err}); delete it and train again") from err


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors, on the CPU. Raises BenchError where it is no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as err:
        raise BenchError(f"{path}: cannot be read ({err}); delete it and train again") from err
