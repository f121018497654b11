"""Definitions of leaderboards: those that come with the package, by name, and files of one's own, by path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bench.errors import BenchError
from bench.registry import miss
from leaderboards.model import Definition

SUFFIXES = (".yaml", ".yml")
MORE = {"more_groups": "groups", "more_notes": "notes"}
"""Keys of a definition that extends another: what is put behind the other's."""
_SAID = {
    "extra_forbidden": "no such key",
    "missing": "is missing",
    "string_type": "text is required; write a number in quotes, with the decimals that were printed",
}


@cache
def names() -> Mapping[str, str]:
    """Return name → title of the leaderboards that come with the package, by name."""
    stems = sorted(file.name.removesuffix(".yaml") for file in _data().iterdir() if file.name.endswith(".yaml"))
    return {name: definition(name).title for name in stems}


def definition(name: str) -> Definition:
    """Return the definition of a leaderboard: a name, or the path of a YAML file.

    Raises BenchError with the near misses where there is none, and with file and key where one is at fault.
    """
    if name.lower().endswith(SUFFIXES):
        return _own(Path(name))
    try:
        return _built_in(name)
    except BenchError as err:
        raise BenchError(f"{err} Or name a YAML file of your own.") from None


@cache
def _built_in(name: str) -> Definition:
    file = _data() / f"{name}.yaml"
    if not name.replace("-", "").isalnum() or not file.is_file():
        raise BenchError(miss("leaderboard", name, _stems()))
    return _checked(_extended(_raw(file.read_text(encoding="utf-8"), str(file)), str(file)), str(file))


def _own(file: Path) -> Definition:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BenchError(f"{file}: not UTF-8 text") from None
    except OSError as err:
        raise BenchError(f"{file}: {_unread(err)}; known leaderboards: {', '.join(_stems())}") from None
    raw = _raw(text, str(file))
    return _checked(_extended({"name": file.stem, **raw}, str(file)), str(file))


def _unread(err: OSError) -> str:
    if isinstance(err, FileNotFoundError):
        return "no such file"
    return "is a folder; name a file" if isinstance(err, IsADirectoryError) else str(err.strerror or err)


def _stems() -> list[str]:
    return sorted(file.name.removesuffix(".yaml") for file in _data().iterdir() if file.name.endswith(".yaml"))


def _data() -> Traversable:
    return files("leaderboards") / "data"


def _raw(text: str, file: str) -> dict[str, Any]:
    """Return the mapping that YAML text holds. Raises BenchError naming file and line."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise BenchError(f"{file}: not valid YAML: {_told(err)}") from None
    if not isinstance(raw, dict):
        raise BenchError(f"{file}: a mapping with name, title and columns is required")
    return raw


def _told(err: yaml.YAMLError) -> str:
    return " ".join(str(err).replace('in "<unicode string>", ', "").split())


def _extended(raw: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Fill in what a definition does not say from the one it extends, and put its additions behind the other's."""
    own = {key: value for key, value in raw.items() if key not in ("extends", *MORE)}
    base: dict[str, Any] = {}
    if "extends" in raw:
        if not isinstance(raw["extends"], str):
            raise BenchError(f"{file}: extends: the name of a leaderboard is required: {', '.join(_stems())}")
        try:
            base = _built_in(raw["extends"]).model_dump()
        except BenchError as err:
            raise BenchError(f"{file}: extends: {err}") from None
    if "groups" in own:
        base.pop("published_notes", None)  # they are on rows that this definition does not show
    merged = {**base, **own}
    for more, key in MORE.items():
        if more in raw:
            merged[key] = [*_list(merged.get(key, ()), f"{file}: {key}"), *_list(raw[more], f"{file}: {more}")]
    return merged


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise BenchError(f"{where}: a list is required")
    return list(value)


def _checked(raw: Mapping[str, Any], file: str) -> Definition:
    try:
        return Definition.model_validate(raw)
    except ValidationError as err:
        raise BenchError("\n  ".join(f"{file}: {_fault(one, raw)}" for one in err.errors()[:5])) from None


def _fault(error: Any, raw: Mapping[str, Any]) -> str:
    """Return "groups.0.rows.1 (mine).n: what is wrong": places counted from 0, with a row's label where it has one."""
    parts: list[str] = []
    value: Any = raw
    for part in error["loc"]:
        value = value[part] if _holds(value, part) else None
        label = value.get("label") if isinstance(value, Mapping) else None
        parts.append(f"{part} ({label})" if isinstance(part, int) and label else str(part))
    said = _SAID.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(parts)}: {said}" if parts else said


def _holds(value: Any, part: Any) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
