"""Renders the templates into a folder that appears whole, or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

from bench.errors import BenchError
from bench.scaffold.names import Names, names_of

Sort = Literal["system", "metric", "worker"]
"""What is made: a system, a metric, or a system whose model runs in a worker."""


@dataclass(frozen=True, slots=True)
class Written:
    """A package that was written."""

    folder: Path
    names: Names
    files: tuple[str, ...]
    """Below `folder`, sorted."""


def write(sort: Sort, name: str, out: Path | None = None) -> Written:
    """Write a plugin package into `out` (default: a folder of its name, here).

    Raises BenchError where the name cannot be had, or the folder is there already; nothing is left behind then.
    """
    templates = _templates(sort)
    names = names_of("metric" if sort == "metric" else "system", name, _identifiers(templates))
    folder = out if out is not None else Path(names.name)
    if folder.exists() or folder.is_symlink():
        raise BenchError(f"{folder} exists; name another folder with --out, or move it away")
    if not folder.parent.is_dir():
        raise BenchError(f"--out {folder}: there is no folder {folder.parent}")
    contents = {place: Template(text).substitute(asdict(names)) for place, text in _placed(templates, names).items()}
    _publish(contents, folder)
    return Written(folder, names, tuple(sorted(contents)))


def _templates(sort: Sort) -> dict[str, str]:
    folder = files("bench.scaffold").joinpath("templates", sort)
    return {item.name.removesuffix(".tmpl"): item.read_text(encoding="utf-8") for item in folder.iterdir()}


def _identifiers(templates: Mapping[str, str]) -> frozenset[str]:
    """Return the words of the templates: none of them may become the class's name."""
    return frozenset(word for text in templates.values() for word in re.findall(r"[A-Za-z_]\w*", text))


def _placed(templates: Mapping[str, str], names: Names) -> dict[str, str]:
    """Return path below the new folder → template."""
    places = {"test.py": f"tests/test_{names.module}.py"}
    modules = ("__init__.py", "worker.py")
    return {places.get(n, f"{names.module}/{n}" if n in modules else n): text for n, text in templates.items()}


def _publish(contents: Mapping[str, str], folder: Path) -> None:
    """Write the files beside `folder`, and let them take its place in one step."""
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for place, text in contents.items():
            (part / place).parent.mkdir(parents=True, exist_ok=True)
            (part / place).write_text(text, encoding="utf-8")
        part.chmod(0o777 & ~_umask())
        os.rename(part, folder)
    except OSError as err:
        if err.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise BenchError(f"{folder} exists; name another folder with --out, or move it away") from None
        raise OSError(err.errno, err.strerror, str(folder)) from err
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
