"""Rules that systems and metrics share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from bench import registry
from bench.check.other import Other
from bench.check.outcome import Advice, Broken, Ledger, require
from bench.check.subject import Subject
from bench.check.vary import Moved, with_values
from bench.contracts import Asset, PlanLine
from bench.options import Options

STRANGER = "no_such_option_at_all"


def declared(ledger: Ledger, subject: Subject) -> None:
    """Check what a class declares: its options, and the line that `bench list` shows."""
    ledger.check("options", "an unknown option is refused, and options are frozen", lambda: _strict(subject.options))
    ledger.check("described", "class and options say what they are", lambda: _described(subject))


def _strict(options: Options) -> str:
    try:
        type(options).model_validate({**options.model_dump(), STRANGER: 1})
    except ValidationError:
        pass
    else:
        raise Broken(f"the option {STRANGER} was taken without a word: leave extra='forbid' as bench.options has it")
    require(options.model_config.get("frozen"), "options can be changed: leave frozen=True as bench.options has it")
    names = sorted(type(options).model_fields)
    return ", ".join(names) if names else "it has none"


def _described(subject: Subject) -> None:
    plugin, fields = subject.found.plugin, type(subject.options).model_fields
    if not (plugin.__doc__ or "").strip():
        raise Advice("the class has no docstring; its first line is what bench list shows")
    if bare := [name for name, info in fields.items() if not info.description]:
        raise Advice(f"no docstring under {', '.join(bare)}")


def light(other: Other) -> None:
    """Check that finding the plugin imported nothing heavy."""
    heavy = other.get("heavy")
    require(not heavy, f"importing it imports {', '.join(heavy)} too: import that inside the methods that use it")


def methods(plugin: Any, *names: str) -> None:
    """Check that a plugin has methods."""
    missing = [name for name in names if not callable(getattr(plugin, name, None))]
    require(not missing, f"it has no method {', '.join(missing)}")


def identity(value: Any, what: str) -> str:
    """Check a fingerprint or signature, and return it."""
    require(isinstance(value, str) and value, f"{what} must return a text that is not empty, not {value!r}")
    return str(value)


def plan(lines: Any) -> None:
    """Check the lines of a dry run."""
    for line in lines:
        require(isinstance(line, PlanLine), f"plan must return PlanLines, not {line!r}")
        require(_finite(line.amount), f"the plan's {line.what!r} has the amount {line.amount!r}")


def assets(plugin: Any) -> str:
    """Check what a plugin says it needs from a network."""
    if not hasattr(plugin, "assets"):
        return "it has none"
    for asset in plugin.assets():
        known = isinstance(asset, Asset)
        require(known, f"assets must return HubFiles, WorkerScript, ServerModel or LocalFile, not {asset!r}")
    return ""


def writable(value: Any, what: str) -> None:
    """Check that a value can be written as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise Broken(f"{what} cannot be written as JSON: {err}") from None


def numbers(facts: Any, what: str) -> Mapping[str, float]:
    """Check a mapping of names to finite numbers, and return it."""
    require(isinstance(facts, Mapping), f"{what} must be a mapping, not {type(facts).__name__}")
    for name, value in facts.items():
        require(isinstance(name, str) and _finite(value), f"{what}: {name!r} is {value!r}, no finite number")
    writable(dict(facts), what)
    return dict(facts)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def told_by_options(
    found: Moved, options: Options, changed: Callable[[Options], str | None], identity: str, result: str
) -> str:
    """Check that options which leave the identity as it was leave the result as it was.

    `changed` returns what differs in the result with other options, or None. All are changed at once, since a model
    may take minutes to load; one at a time only where that shows or allows nothing.
    """
    together = with_values(options, found.silent)
    seen = _attempt(changed, together)
    if found.silent and seen is not _SAME:
        for name, value in found.silent.items():
            seen = _attempt(changed, with_values(options, {name: value}))
            require(
                seen is _SAME or seen is _UNKNOWN,
                f"{name}: {value!r} gives other {result} and the same {identity}: {seen}",
            )
    return _summary(found)


_SAME, _UNKNOWN = object(), object()


def _attempt(changed: Callable[[Options], str | None], options: Options | None) -> Any:
    """Return what changed, or that it cannot be said: a made-up value may be one that the plugin cannot work with."""
    if options is None:
        return _UNKNOWN
    try:
        seen = changed(options)
    except Exception:
        return _UNKNOWN
    return _SAME if seen is None else seen


def _summary(found: Moved) -> str:
    said = {"told": found.moving, "moves nothing": found.silent, "no other value found for": found.refused}
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in said.items() if names) or "it has no option"


def class_of(subject: Subject) -> str:
    """Return the name that a spec gives to a plugin."""
    return registry.default_label(subject.found)


def names(values: Sequence[str]) -> str:
    """Return a few names of many."""
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")
