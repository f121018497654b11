"""The names of a new plugin: distribution, module, class."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from bench import registry
from bench.errors import BenchError

_PEP_508 = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")
OWN = ("bench", "systems", "metrics", "leaderboards", "configs", "tests", "bench_worker")
"""Top-level names that this package, its plugins' tests and its workers use."""


@dataclass(frozen=True, slots=True)
class Names:
    """What one plugin is called, in the places where it has a name."""

    name: str
    """Distribution and entry point, normalised as PEP 503 asks: "my-reader"."""
    module: str
    """Import package: "my_reader"."""
    class_name: str
    """"MyReader"."""
    heading: str
    """Heading of a table's column: "My reader"."""


def names_of(kind: registry.Kind, given: str, taken: frozenset[str]) -> Names:
    """Return the names that follow from one. `taken`: identifiers that the class must not be called.

    Raises BenchError where the name cannot name a package and a module, or is in use.
    """
    if not _PEP_508.fullmatch(given):
        raise BenchError(
            f"{given!r}: a name begins with a letter, ends with a letter or digit, and has letters, digits and - _ . "
            "between them, e.g. my-reader"
        )
    name = re.sub(r"[-_.]+", "-", given).lower()
    module = name.replace("-", "_")
    _refuse_registered(kind, name)
    _refuse_module(name, module)
    class_name = "".join(part[:1].upper() + part[1:] for part in name.split("-"))
    if class_name in taken or f"{class_name}Options" in taken or keyword.iskeyword(class_name):
        class_name += kind.capitalize()
    return Names(name, module, class_name, name.replace("-", " ").capitalize())


def _refuse_registered(kind: registry.Kind, name: str) -> None:
    point = registry.table(kind).get(name)
    if point is not None:
        origin = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        raise BenchError(f"A {kind} named {name!r} is registered already, by {origin}: choose another name")


def _refuse_module(name: str, module: str) -> None:
    if keyword.iskeyword(module):
        raise BenchError(f"{name!r}: {module!r} is a word of Python's and no module can be called that")
    if module in OWN or module in sys.stdlib_module_names or _importable(module):
        raise BenchError(f"{name!r}: a module {module!r} is there already (Python's, or of a package installed here)")
    if _installed(name):
        raise BenchError(f"{name!r}: a package of that name is installed already: choose another name")


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
