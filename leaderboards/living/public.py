"""What of an entry may be published: a fixed list, so that what is not on it stays here.

Scores with their counts and recipes, names, package versions, options that a plugin's own class limits to known words,
and numbers about the system that tables show. No text of a case, no id, no path of a machine, no note.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench import compare, machine, registry
from bench.config import PARTS
from bench.errors import BenchError
from leaderboards import tables
from leaderboards.living.entries import is_credentialed

SUMMARY = ("cases_digest", "dataset_fingerprint", "fingerprint")
"""Hashes of summary.json; its counts are `COUNTS`."""
COUNTS = (
    "n_cases",
    "n_groups",
    "n_reports_failed",
    "n_reports_empty",
    "n_contaminated",
    "n_missing_as_empty",
    "n_problems",
)
NUMBERS = ("value", "ci_low", "ci_high", "n", "n_undefined", "n_failed", "scale", "decimals")
MOST = 1e300
"""Numbers from here on are none, NaN and infinity too."""
_HASH = re.compile(r"[0-9A-Za-z:_.-]{1,80}")
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,40}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_PATH = re.compile(r"(?:(?<![\w.])(?:~\w*|\.{1,2})?/|[A-Za-z]:[\\/]|\\\\)[^\s|;,'\"()]+")
_FILE = re.compile(
    r"[\w.+~@-]+(?:[\\/][\w.+~@-]+)+\.(?:gguf|pth?|safetensors|bin|json|jsonl|ya?ml|py|csv|txt|zip|gz)\b[\w:]*"
)


def without_paths(text: str) -> str:
    """Return a text with paths of files replaced by their hashes: what differed still differs."""
    return _FILE.sub(_hashed, _PATH.sub(_hashed, text))


def _hashed(match: re.Match[str]) -> str:
    path, _, attribute = match[0].rpartition(".py:")
    if path and attribute.isidentifier():
        return f"{Path(path).name}.py:{attribute}"
    return f"file-{hashlib.sha256(match[0].encode()).hexdigest()[:8]}"


def name_of(spec: Any) -> str:
    """Return a plugin's name without the folders of its file."""
    return without_paths(Path(spec).name if isinstance(spec, str) and ".py:" in spec else str(spec))


def summary(run: compare.Run) -> dict[str, Any]:
    """Return what of summary.json may be published, in its own form."""
    told = run.summary
    found: dict[str, Any] = {"label": name_of(told["label"]), "system": name_of(told.get("system", ""))}
    found |= {"dataset": name_of(told["dataset"]), "split": name_of(told["split"])}
    found |= {key: told[key] for key in SUMMARY if isinstance(told.get(key), str) and _HASH.fullmatch(told[key])}
    found |= {key: told[key] for key in COUNTS if _is_count(told.get(key))}
    found["stand_ins"] = [without_paths(str(part)) for part in told.get("stand_ins", ())]
    found["credentialed"] = is_credentialed(run.run, told)
    found["run"] = _resampling(told.get("run"))
    private = found["credentialed"]
    found["scores"] = {name_of(key): score(one, private=private) for key, one in told["scores"].items()}
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a JSON value is a number that can be shown; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def _resampling(given: Any) -> dict[str, Any]:
    options = given if isinstance(given, Mapping) else {}
    found = {key: options[key] for key in ("bootstrap", "confidence", "seed") if is_number(options.get(key))}
    cluster = options.get("cluster")
    found = {"bootstrap": 0, "confidence": 0.95, "seed": 0, **found}
    return {**found, "cluster": cluster if cluster in ("group", "case") else "group"}


def score(told: Mapping[str, Any], *, private: bool) -> dict[str, Any]:
    """Return what of a score may be published; why there is none in our own words where the data are `private`."""
    found: dict[str, Any] = {key: told[key] if is_number(told.get(key)) else None for key in NUMBERS}
    found |= {key: int(found[key] or 0) for key in ("n", "n_undefined", "n_failed", "decimals")}
    found["scale"] = 100.0 if found["scale"] is None else found["scale"]
    found["higher_is_better"] = told.get("higher_is_better") is not False
    found["heading"] = without_paths(str(told.get("heading", "")))
    found["signature"] = without_paths(str(told.get("signature", "")))
    found["remedy"] = ""
    if found["value"] is not None:
        found["reason"] = ""
    elif private:
        found["reason"] = _why_none(found)
    else:
        found["reason"] = without_paths(str(told.get("reason", "")).partition("\n")[0])
    return found


def _why_none(told: Mapping[str, Any]) -> str:
    if told["n"] or told["n_undefined"]:
        counts = f"{told['n']} cases scored, {told['n_undefined']} undefined, {told['n_failed']} without a verdict"
        return f"no score: {counts}"
    return "the metric could not work where the run was scored"


def facts(told: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of facts.json that a table of ours shows."""
    known = {column.fact for name in tables.names() for column in tables.definition(name).columns if column.fact}
    return {key: value for key, value in told.items() if key in known and is_number(value)}


def about(run: compare.Run) -> dict[str, Any]:
    """Return what of run.json may be published, in its own form."""
    told = run.run
    found: dict[str, Any] = {"label": name_of(run.summary["label"]), "config": config(run)}
    found["credentialed"] = is_credentialed(told, run.summary)
    created = str(told.get("created", ""))[:10]
    found["created"] = created if _DATE.fullmatch(created) else ""
    found["versions"] = versions(told.get("versions"))
    device = told.get("machine", {}).get("device") if isinstance(told.get("machine"), Mapping) else None
    found["machine"] = {"device": device} if isinstance(device, str) and re.fullmatch(r"[a-z]+(:\d+)?", device) else {}
    return found


def versions(told: Any) -> dict[str, str]:
    """Return package → version of the packages that may move a number."""
    known = {"cxr-report-bench", "python", *machine.PACKAGES}
    given = told if isinstance(told, Mapping) else {}
    return {key: text for key, text in given.items() if key in known and _VERSION.fullmatch(str(text))}


# ------------------------------------------------------------------ options


def config(run: compare.Run) -> dict[str, Any]:
    """Return the resolved configuration, of each plugin the options that its class limits to known words or numbers."""
    told = run.run["config"]
    found: dict[str, Any] = {}
    if isinstance(given := told.get("dataset"), Mapping):
        found["dataset"] = options("dataset", str(given.get("use", "")), given)
        found["dataset"]["split"] = name_of(run.summary["split"])
    kinds: dict[str, registry.Kind] = {"systems": "system", "metrics": "metric"}
    kinds |= {name: name.removesuffix("s") for name in PARTS}  # type: ignore[misc]
    for section, kind in kinds.items():
        parts = told.get(section)
        if not isinstance(parts, Mapping):
            continue
        found[section] = {
            name_of(label): options(kind, str(one.get("use", label)), one)
            for label, one in parts.items()
            if isinstance(one, Mapping)
        }
    return found


def options(kind: registry.Kind, use: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plugin's name and the options that may be published; of a plugin of a file only its name."""
    shown: dict[str, Any] = {"use": name_of(use)}
    if ".py" in use:
        return shown
    try:
        model = getattr(registry.find(kind, use).plugin, "Options", None)
    except BenchError:
        return shown
    return {**shown, **dict(_known(model, given))} if model is not None else shown


def _known(model: type[BaseModel], given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options whose value is a number, a truth value, the default, or one of the words the field allows."""
    for name, field in model.model_fields.items():
        if name not in given:
            continue
        value, inner = given[name], field.annotation
        if isinstance(value, Mapping):
            if inspect.isclass(inner) and issubclass(inner, BaseModel):
                yield name, dict(_known(inner, value))
        elif value is None or isinstance(value, bool) or is_number(value) or _is_word(value, field):
            yield name, value


def _is_word(value: Any, field: FieldInfo) -> bool:
    """Tell whether a text is the default, a word that the field allows, or the name of something installed."""
    return isinstance(value, str) and (value == field.default or value in _words(field.annotation) or _is_plugin(value))


def _words(annotation: Any) -> set[Any]:
    """Return the words that Literal types in an annotation allow."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {word for part in get_args(annotation) for word in _words(part)}


def _is_plugin(value: str) -> bool:
    """Tell whether a text names something installed: a plugin, or a chat model of an installed backend."""
    kinds: tuple[registry.Kind, ...] = ("encoder", "annotator", "llm", "system", "metric", "dataset")
    if any(value in registry.table(one) for one in kinds):
        return True
    backend, mark, model = value.partition("/")
    if not mark or backend not in registry.table("llm") or model.endswith(".gguf"):
        return False
    return bool(re.fullmatch(r"[\w.:+-]{1,60}", model))
