"""Other values of a plugin's options, to see what they move."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from bench.check.outcome import Broken
from bench.errors import StorageFault
from bench.options import Options


@dataclass(frozen=True)
class Moved:
    """What changed options did to a plugin's identity (its fingerprint or signature)."""

    moving: Mapping[str, Any]
    """Dotted option → its other value, where that changed the identity."""
    silent: Mapping[str, Any]
    """Those that left the identity as it was."""
    refused: tuple[str, ...]
    """Options for which no other value could be made up that the plugin takes."""


def moved(options: Options, fixed: Collection[str], identity: Callable[[Options], str]) -> Moved:
    """Change one option after the other, but for the `fixed` ones, and ask for the identity."""
    before = identity(options)
    moving, silent, refused = {}, {}, []
    for name, value in _fields(options, ""):
        if name in fixed:
            continue
        other = _accepted(options, name, value, identity)
        if other is None:
            refused.append(name)
        elif other[1] == before:
            silent[name] = other[0]
        else:
            moving[name] = other[0]
    return Moved(moving, silent, tuple(refused))


def with_values(options: Options, values: Mapping[str, Any]) -> Options | None:
    """Return the options with some replaced (dotted names), or None where they do not go together."""
    raw = _raw(options)
    for name, value in values.items():
        *path, last = name.split(".")
        node = raw
        for part in path:
            node = node[part]
        node[last] = value
    try:
        return type(options).model_validate(raw)
    except ValidationError:
        return None


def _accepted(options: Options, name: str, value: Any, identity: Callable[[Options], str]) -> tuple[Any, str] | None:
    """Return the first other value that the plugin takes, with the identity it gives."""
    for other in _others(_annotation(options, name), value):
        changed = with_values(options, {name: other})
        if changed is None:
            continue
        try:
            return other, identity(changed)
        except (Broken, StorageFault):
            raise
        except Exception:  # a made-up value that the plugin cannot use says nothing about the plugin
            continue
    return None


def _fields(options: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of every field, those of nested options in the place of the whole."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, BaseModel):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _annotation(options: BaseModel, name: str) -> Any:
    *path, last = name.split(".")
    for part in path:
        options = getattr(options, part)
    return type(options).model_fields[last].annotation


def _raw(options: BaseModel) -> dict[str, Any]:
    return {
        name: _raw(value) if isinstance(value := getattr(options, name), BaseModel) else value
        for name in type(options).model_fields
    }


def _others(annotation: Any, value: Any) -> Iterator[Any]:
    """Yield values of a type that differ from `value`; none for paths and containers."""
    choices = list(_choices(annotation))
    if choices:
        yield from (choice for choice in choices if choice != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield from (value * 1.5 + (value == 0), value / 2)
    elif isinstance(value, str):
        yield value + " (check)"
    elif value is None:
        yield from _of_types(annotation)


def _choices(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif not inspect.isclass(annotation):
        for part in get_args(annotation):
            yield from _choices(part)


def _of_types(annotation: Any) -> Iterator[Any]:
    for kind, value in ((bool, True), (int, 1), (float, 0.5)):
        if kind in get_args(annotation):
            yield value
