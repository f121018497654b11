"""Finds plugins by entry point, by ``prefix:argument``, or in a Python file; built-in ones are declared the same way.

A spec is one of

- ``nearest-neighbour`` – an entry point of the kind's group (``bench.systems``, ``bench.metrics`` …);
- ``hf:microsoft/rad-dino``, ``hf/rouge`` – an entry point whose class names, in its attribute ``argument``, the option
  that the rest fills;
- ``./mine.py:MySystem`` – an attribute of a file.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from bench.errors import BenchError

Kind = Literal["system", "metric", "dataset", "encoder", "annotator", "llm", "command"]
KINDS: tuple[Kind, ...] = ("system", "metric", "dataset", "encoder", "annotator", "llm", "command")


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin found for a spec, not yet built."""

    kind: Kind
    spec: str
    name: str
    """Entry-point name, or the attribute's name for a file."""
    plugin: Any
    preset: Mapping[str, Any] = field(default_factory=dict)
    """Options that the spec itself fills."""
    source: str = ""
    """Distribution and version, or the file and its hash: part of what a run records."""

    @property
    def identity(self) -> str:
        """The name, unique among what is installed; for a file's attribute with the hash of the file."""
        _, mark, digest = self.source.rpartition("sha256:")
        return f"{self.name}@{digest}" if mark else self.name


@cache
def table(kind: Kind) -> Mapping[str, EntryPoint]:
    """Return entry-point name → entry point of a kind. Two packages that claim one name are an error."""
    names: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=f"bench.{kind}s"), key=lambda p: p.name):
        other = names.get(point.name)
        if other is not None and other.value != point.value:
            raise BenchError(
                f"Two packages register a {kind} named {point.name!r}: {_origin(other)} and {_origin(point)}. "
                "Uninstall one of them."
            )
        names[point.name] = point
    return names


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def miss(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with the near misses and what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"No {kind} named {name!r}.{hint} Known: {', '.join(known) or 'none'}."


def find(kind: Kind, spec: str) -> Found:
    """Import and return the plugin that `spec` names; the modules of the others are left alone."""
    path, _, attribute = spec.rpartition(":")
    if path.endswith(".py"):
        return _from_file(kind, spec, Path(path), attribute)
    names = table(kind)
    if spec.endswith(".py") and spec.partition(":")[0] not in names:
        raise BenchError(f"{kind} {spec!r}: name the class too, {spec}:ClassName")
    if spec in names:
        point = names[spec]
        return Found(kind, spec, spec, _import(point, kind), source=_origin(point))
    for mark in (":", "/"):
        name, found, rest = spec.partition(mark)
        if found and name in names:
            plugin = _import(names[name], kind)
            option = getattr(plugin, "argument", None)
            if option and rest:
                return Found(kind, spec, name, plugin, {option: rest}, _origin(names[name]))
    raise BenchError(miss(kind, spec, names))


def _import(point: EntryPoint, kind: Kind) -> Any:
    try:
        return point.load()
    except Exception as err:
        raise BenchError(
            f"The {kind} {point.name!r} of {_origin(point)} cannot be imported: {type(err).__name__}: {err}"
        ) from err


def _from_file(kind: Kind, spec: str, path: Path, attribute: str) -> Found:
    if not path.is_file():
        raise BenchError(f"{kind} {spec!r}: no file {path}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    module_name = f"bench_plugin_{path.stem}_{digest}"
    module = sys.modules.get(module_name)
    if module is None:
        origin = importlib.util.spec_from_file_location(module_name, path)
        assert origin is not None
        assert origin.loader is not None
        module = importlib.util.module_from_spec(origin)
        sys.modules[module_name] = module
        try:
            origin.loader.exec_module(module)
        except Exception as err:
            del sys.modules[module_name]
            raise BenchError(f"{kind} {spec!r}: {path} cannot be imported: {type(err).__name__}: {err}") from err
    if not hasattr(module, attribute):
        classes = [n for n, v in vars(module).items() if inspect.isclass(v) and hasattr(v, "Options")]
        raise BenchError(miss(f"{kind} in {path}", attribute, classes))
    return Found(kind, spec, attribute, getattr(module, attribute), source=f"{path.name} sha256:{digest}")


def as_label(name: str) -> str:
    """Return a name as a label: letters, digits and . _ + - (it names a folder)."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "unnamed"


def default_label(found: Found) -> str:
    """Return the label of a plugin that no configuration labels: its name, and what its spec fills in."""
    filled = (Path(str(value)).name.removesuffix(".py") for value in found.preset.values())
    return "/".join([found.name, *map(as_label, filled)])


def help_line(plugin: Any) -> str:
    """Return the first line of a plugin's docstring."""
    return (inspect.getdoc(plugin) or "").partition("\n")[0]


def options_of(found: Found, given: Mapping[str, Any], where: str) -> BaseModel:
    """Check `given` against the plugin's options.

    Raises BenchError naming `where` and the key of every option that is unknown, missing or out of range.
    """
    model: type[BaseModel] | None = getattr(found.plugin, "Options", None)
    if model is None:
        raise BenchError(f"{where}: {found.spec!r} is no plugin: its class has no attribute Options")
    try:
        return model.model_validate({**found.preset, **given})
    except ValidationError as err:
        raise BenchError(explain_validation(err, where, model)) from None


def explain_validation(err: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return one line a fault: the key's whole path, what was wrong, and the near misses of an unknown key."""
    return "\n".join(_explain_fault(fault, where, model) for fault in err.errors())


def _explain_fault(fault: Any, where: str, model: type[BaseModel]) -> str:
    location = [str(part) for part in fault["loc"]]
    key = ".".join([where, *location])
    if fault["type"] == "extra_forbidden":
        known = _fields(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        return f"{key}: unknown key.{hint} Known here: {', '.join(known) or 'none'}."
    if fault["type"] == "missing":
        return f"{key}: a value is required"
    if fault["type"] in ("tuple_type", "list_type"):  # Python's word for it is not that of a YAML file
        example = f", e.g. [{fault['input']}]" if isinstance(fault["input"], str | int | float) else ""
        return f"{key}: a list is wanted{example} (given: {fault['input']!r})"
    return f"{key}: {fault['msg'].removeprefix('Value error, ')} (given: {fault['input']!r})"


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the field names of the (nested) model at `path`."""
    for part in path:
        info = model.model_fields.get(part)
        inner = info.annotation if info is not None else None
        if not (inspect.isclass(inner) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return sorted(model.model_fields)
