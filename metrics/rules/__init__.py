"""The rule-based report reader: CheXpert labels, a RadGraph-like graph and RadFact-like phrases of a text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.contracts import Context
from bench.options import Options

VERSION = 2
"""Raised with every change that moves an annotation; the fingerprint hashes the code as well."""


class RulesOptions(Options):
    """The reader has no choices: what it does is one fixed set of rules."""


class Rules:
    """Rule-based report reader: labels, graph and phrases without weights.

    One reading serves the three clinical metrics where their models are not at hand. It needs nothing but Python, reads
    thousands of reports a second and is the same for a text alone or among others.
    """

    Options = RulesOptions
    stand_in = "for CheXbert, RadGraph and the phrases of RadFact"
    chunk = 4096

    def __init__(self, options: RulesOptions, context: Context) -> None:
        """Keep nothing: tables are built on first use."""

    def fingerprint(self) -> str:
        """Return the version and a hash of the reader's code and lexicon."""
        return f"rules-{VERSION}-{_code()}"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return {"labels", "text", "entities", "phrases"} of each text."""
        return [annotation(text) for text in texts]


@lru_cache(maxsize=1)
def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def annotation(text: str) -> dict[str, Any]:
    """Return a text's labels, graph and phrases."""
    from metrics.rules import graph, reading

    sentences = reading.read(text)
    found = [statement for sentence in sentences for statement in sentence.statements]
    phrases = list(dict.fromkeys(statement.phrase for statement in found if not statement.speculated))
    return {"labels": reading.labels(found), **graph.graph(sentences), "phrases": phrases}
