"""Installs a package for a test as a user would, without a network, where other processes then find it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def environment(target: Path) -> dict[str, str]:
    """Return the environment of a process that sees what is installed in `target`."""
    paths = [str(target), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    scripts = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PATH": os.pathsep.join(scripts)}


def install(package: Path, target: Path) -> None:
    """Build and install with pip. What builds it (hatchling) is in the extra dev; what it needs is there already."""
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(package.resolve())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def bench(target: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process that sees `target`."""
    command = [sys.executable, "-m", "bench.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(target))
