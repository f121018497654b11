"""What a run records of the machine and the packages it ran on."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench import __version__
from bench.errors import BenchError, missing_package

PACKAGES = (
    "anthropic",
    "evaluate",
    "nltk",
    "numpy",
    "ollama",
    "openai",
    "pandas",
    "pillow",
    "radgraph",
    "rapidfuzz",
    "sacrebleu",
    "safetensors",
    "torch",
    "transformers",
    "xllamacpp",
)
"""Packages whose version may move a number."""


def versions() -> dict[str, str]:
    """Return package → version of what is installed, read from metadata: nothing is imported."""
    found = {"cxr-report-bench": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe(device: str) -> dict[str, Any]:
    """Return platform, processor and device of this machine, without its name."""
    facts: dict[str, Any] = {"platform": platform.platform(), "machine": platform.machine(), "device": device}
    if device.startswith("cuda") and "torch" in sys.modules:
        facts["gpu"] = sys.modules["torch"].cuda.get_device_name(device)
    return facts


def device_name(device: str) -> str:
    """Return what to call a device beside a price: "NVIDIA A40", or "cpu x86_64, 8 threads"."""
    described = describe(device)
    if "gpu" in described:
        return str(described["gpu"])
    torch = sys.modules.get("torch")
    threads = f", {torch.get_num_threads()} threads" if torch is not None and device == "cpu" else ""
    return f"{device} {described['machine']}{threads}"


def resolve_device(wanted: str) -> str:
    """Return `wanted`, or for "auto" the best there is. Raises BenchError where the device is not to be had."""
    if wanted == "cpu":
        return wanted
    try:
        import torch
    except ImportError:
        if wanted == "auto":
            return "cpu"
        raise missing_package(f"run.device {wanted!r}", "torch", "sae") from None
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError) as err:
        raise BenchError(f"run.device: {wanted!r} cannot be used: {str(err).splitlines()[0]}") from None
    return wanted
