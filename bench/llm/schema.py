"""Checks an answer against the part of JSON Schema that questions use; any other keyword is an error, not a pass."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.errors import BenchError

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
_NOTES = {"title", "description", "default", "examples", "format", "$schema", "$id", "$defs", "definitions", "$comment"}
_KNOWN = _NOTES | {
    *("type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems", "maxItems"),
    *("uniqueItems", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum"),
    *("exclusiveMaximum", "anyOf", "oneOf", "allOf", "$ref"),
}


def read(text: str) -> Any:
    """Parse an answer's JSON, alone or inside one code fence; lone surrogates in it become "?".

    Raises ValueError (NaN and infinities are no JSON) or RecursionError.
    """
    fenced = _FENCE.fullmatch(text)
    return encodable(json.loads(fenced.group(1) if fenced else text, parse_constant=_no_constant))


def encodable(value: Any) -> Any:
    """Return a text, or parsed data, with "?" for lone surrogates (of a damaged text, or escaped), which no file or
    request can hold. Raises RecursionError where data is nested too deeply."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [encodable(one) for one in value]
    if isinstance(value, dict):
        return {encodable(key): encodable(one) for key, one in value.items()}
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def fault(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return the first thing wrong with a parsed answer and where it is, or None."""
    return next(_faults(value, schema, schema, "the answer"), None)


def check(schema: Any, where: str = "schema") -> None:
    """Raise BenchError where a schema uses a keyword that is not checked here."""
    if not isinstance(schema, Mapping):
        return
    if unknown := sorted(set(schema) - _KNOWN):
        raise BenchError(f"{where}: the JSON Schema keyword {unknown[0]!r} is not supported for answers")
    for key in ("properties", "$defs", "definitions"):
        for name, inner in schema.get(key, {}).items():
            check(inner, f"{where}.{key}.{name}")
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(key, ()):
            check(inner, f"{where}.{key}")
    for key in ("items", "additionalProperties"):
        check(schema.get(key), f"{where}.{key}")


def _faults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _faults(value, _resolve(schema["$ref"], root), root, at)
    wanted = schema.get("type")
    types = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if types and not any(_is(value, name) for name in types):
        yield f"{at} must be of type {' or '.join(types)}"
        return
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield f"{at} must be one of {', '.join(json.dumps(one) for one in schema['enum'])}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{at} must be {json.dumps(schema['const'])}"
    yield from _of_kind(value, schema, root, at)
    for inner in schema.get("allOf", ()):
        yield from _faults(value, inner, root, at)
    for key in ("anyOf", "oneOf"):
        fits = sum(next(_faults(value, inner, root, at), None) is None for inner in schema.get(key, ()))
        if key in schema and (fits == 0 or (key == "oneOf" and fits > 1)):
            yield f"{at} fits {'none' if fits == 0 else 'more than one'} of the forms allowed"


def _of_kind(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _object(value, schema, root, at)
    elif isinstance(value, list):
        yield from _array(value, schema, root, at)
    elif isinstance(value, str):
        yield from _between(len(value), schema.get("minLength"), schema.get("maxLength"), f"the length of {at}")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at} must match {schema['pattern']}"
    elif _is(value, "number"):
        yield from _between(value, schema.get("minimum"), schema.get("maximum"), at)
        if not value > schema.get("exclusiveMinimum", float("-inf")):
            yield f"{at} must be above {schema['exclusiveMinimum']}"
        if not value < schema.get("exclusiveMaximum", float("inf")):
            yield f"{at} must be below {schema['exclusiveMaximum']}"


def _object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at} lacks the key {name!r}"
    extra = schema.get("additionalProperties", True)
    for name, inner in value.items():
        if name in properties:
            yield from _faults(inner, properties[name], root, f"{at}.{name}")
        elif extra is False:
            yield f"{at} has a key too many: {name!r}"
        elif isinstance(extra, Mapping):
            yield from _faults(inner, extra, root, f"{at}.{name}")


def _array(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    yield from _between(len(value), schema.get("minItems"), schema.get("maxItems"), f"the number of items of {at}")
    if schema.get("uniqueItems") and len({json.dumps(one, sort_keys=True) for one in value}) < len(value):
        yield f"{at} names an item twice"
    if isinstance(schema.get("items"), Mapping):
        for i, one in enumerate(value):
            yield from _faults(one, schema["items"], root, f"{at}[{i}]")


def _between(number: float, low: float | None, high: float | None, what: str) -> Iterator[str]:
    if low is not None and number < low:
        yield f"{what} must be at least {low}"
    if high is not None and number > high:
        yield f"{what} must be at most {high}"


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, ()))


def _same(value: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    path: Sequence[str] = reference.removeprefix("#/").split("/") if reference != "#" else ()
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    if not reference.startswith("#") or not isinstance(found, Mapping):
        raise BenchError(f"schema: $ref {reference!r} names nothing inside the schema")
    return found
