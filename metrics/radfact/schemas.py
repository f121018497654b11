"""The two answers RadFact asks for, as JSON Schema. Key names are those of microsoft/RadFact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENTAILED, NOT_ENTAILED = "entailment", "not_entailment"
_TEXTS = {"type": "array", "items": {"type": "string"}}


def _record(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these keys, as strict backends want it."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


SENTENCE = _record({"orig": {"type": "string"}, "new": _TEXTS})
PHRASES = _record({"sentence_list": {"type": "array", "items": SENTENCE}})
PHRASES_WITH_ID = _record(
    {"id": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "sentence_list": {"type": "array", "items": SENTENCE}}
)
VERDICT = _record(
    {
        "phrase": {"type": "string"},
        "evidence": _TEXTS,
        "status": {"type": "string", "enum": [ENTAILED, NOT_ENTAILED]},
    }
)
