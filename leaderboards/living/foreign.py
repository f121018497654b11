"""What an entry's run.json may not do here: run code of a file unasked, or say where things run.

Who sent an entry wrote its run.json. It names metrics and their parts, and these may be files
(``./mine.py:Metric``), be run by a program, or ask a server with a key of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import compare
from bench.config import PARTS

LOCAL = frozenset(("runner", "environment", "devices", "base_url", "host", "api_key_env"))
"""Options that say where something runs and what it is given of the machine. None of them is part of a recipe, so the
defaults and the environment of who checks hold."""
SCRIPT = "script"
"""The option that names a worker's script."""
_CODE = re.compile(r"(.*\.py)(?::\w*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tamed:
    """A run of which only what may be done here is left."""

    run: compare.Run
    refused: Mapping[str, str]
    """Label of a metric that is not in `run` → the file whose code it would run."""

    def why(self, label: str) -> str:
        """Say why a metric is not built."""
        return f"its code is a file, {self.refused[label]}: read it, then --run-code {self.refused[label]} runs it"


def tame(run: compare.Run, allowed: Sequence[Path]) -> Tamed:
    """Return a run without the metrics and parts whose code is a file that is not `allowed`, and without `LOCAL`."""
    known = {path.resolve() for path in allowed}
    config = run.run["config"]
    metrics, refused = _split(config["metrics"], known)
    parts = {name: config[name] for name in PARTS if isinstance(config.get(name), Mapping)}
    whose: dict[str, str] = {}
    for name, given in parts.items():
        parts[name], left = _split(given, known)
        whose |= left
    for label, given in list(metrics.items()):
        if part := next((text for text in _texts(given) if text in whose), None):
            refused[label] = whose[part]
            del metrics[label]
    return Tamed(replace(run, run={**run.run, "config": {**config, **parts, "metrics": metrics}}), refused)


def _split(given: Mapping[str, Any], known: set[Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what may be built, and label → file of the others."""
    kept, refused = {}, {}
    for label, options in given.items():
        strange = [file for file in _files(options) if Path(file).resolve() not in known]
        if strange:
            refused[label] = strange[0]
        else:
            kept[label] = _without_places(options)
    return kept, refused


def _files(value: Any, name: str = "") -> Iterator[str]:
    """Yield the files of code that options name: a plugin's, or a worker's script, whatever it ends in."""
    if isinstance(value, Mapping | list):
        for key, part in value.items() if isinstance(value, Mapping) else ((name, part) for part in value):
            yield from _files(part, key)
    elif isinstance(value, str) and (name == SCRIPT or _CODE.fullmatch(value)):
        match = _CODE.fullmatch(value)
        yield match[1] if match else value


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a JSON value but keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_places(part) for key, part in value.items() if key not in LOCAL}
    return [_without_places(part) for part in value] if isinstance(value, list) else value
