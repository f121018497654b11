"""A run's configuration: a YAML file, the command line's choices on top, every option checked before a start."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from bench import registry, store
from bench.errors import BenchError
from bench.options import Options

SECTIONS = ("dataset", "systems", "metrics", "encoders", "annotators", "llms", "run")
EMBEDDED = ("demo", "paper")
PARTS = ("encoders", "annotators", "llms")
METRIC_GROUPS = ("all", "nlg", "clinical", "every")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*")


class RunOptions(Options):
    """The section ``run``: what concerns a run as a whole."""

    seed: int = Field(0, ge=0)
    """Seed of systems, of the draw of `limit`, and of resampling."""
    limit: int | None = Field(None, ge=1)
    """Report on this many cases only, drawn with `seed`; None: all."""
    bootstrap: int = Field(1000, ge=0, le=1_000_000)
    """Resamples behind the confidence intervals; 0: no intervals."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Level of the percentile intervals."""
    cluster: Literal["group", "case"] = "group"
    """What is resampled: patients (images of one patient are not independent) or single cases."""
    device: str = "auto"
    """A torch device, or auto: CUDA where there is one, else the CPU."""
    attest_zero_retention: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.:-]*[a-z0-9])?$")], ...] = ()
    """Hosts (api.anthropic.com …) for which you attest that your agreement with them grants what PhysioNet's notice
    "Use of MIMIC Data with LLMs and Online Services" of 2025-09-24 asks for: zero retention, no use for training and no
    human review. Credentialed text is sent to these and to no other host."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled plugin of a config."""

    label: str
    use: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; `resolved` holds every option, defaults included, and is what a run records."""

    source: str
    dataset: Entry
    split: str
    systems: Sequence[Entry]
    metrics: Sequence[Entry]
    parts: Mapping[str, Mapping[str, Mapping[str, Any]]]
    run: RunOptions
    resolved: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Return 12 hex digits of the resolved configuration."""
        return digest(self.resolved)

    def of_system(self, label: str) -> dict[str, Any]:
        """Return the resolved configuration with one system only: what the run of `label` depends on."""
        return {**self.resolved, "systems": {label: self.resolved["systems"][label]}}


@dataclass(frozen=True, slots=True)
class ScoringConfig:
    """The part of a configuration that scoring existing predictions needs."""

    source: str
    metrics: Sequence[Entry]
    parts: Mapping[str, Mapping[str, Mapping[str, Any]]]
    run: RunOptions
    resolved: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WithoutDataset:
    """The part of a configuration that can be checked where the dataset is not."""

    dataset: str
    """Its plugin's name; its options are not looked at."""
    systems: Sequence[Entry]
    scoring: ScoringConfig


def digest(value: Any) -> str:
    """Return 12 hex digits of the SHA-256 of a JSON-able value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# ------------------------------------------------------------------ reading


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key given twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:  # a key that "<<" brings along may be given again: that is what "<<" is for
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML safely. Raises BenchError, with line and column where they are known."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as err:  # a list as a key, a number without end …
        mark = getattr(err, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        raise BenchError(f"{place}: not valid YAML: {getattr(err, 'problem', None) or err}") from None


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds. Raises BenchError naming it where it cannot be read."""
    return parse_yaml(store.read_text(path), str(path))


def read_file(path: Path) -> dict[str, Any]:
    """Return the sections of a configuration file."""
    return _sections(read_yaml(path), str(path))


def embedded(name: str) -> dict[str, Any]:
    """Return the sections of a configuration shipped with the package, e.g. "demo.yaml"."""
    text = files("configs").joinpath(name).read_text(encoding="utf-8")
    return _sections(parse_yaml(text, f"configs/{name}"), f"configs/{name}")


def _sections(raw: Any, where: str) -> dict[str, Any]:
    if isinstance(raw, dict) and "sweep" in raw:
        raise BenchError(f"{where}: the section 'sweep' makes this a sweep, not a configuration: bench sweep {where}")
    return sections(raw, where, SECTIONS)


def sections(raw: Any, where: str, known: Sequence[str]) -> dict[str, Any]:
    """Return the mapping at the top of a YAML file, each section a mapping of its own; no section but `known`."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise BenchError(f"{where}: a mapping with the sections {', '.join(known)} was expected")
    for name, value in raw.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise BenchError(f"{where}: unknown section {name!r}.{hint} Sections: {', '.join(known)}.")
        if value is not None and not isinstance(value, dict):
            raise BenchError(f"{where}: {name}: must be a mapping, not {type(value).__name__}")
    return {name: value or {} for name, value in raw.items()}


def base(config: Path | None, default: str = "demo") -> tuple[str, dict[str, Any]]:
    """Return (source, sections): of `config`, else of ``./bench.yaml``, else of the embedded `default`.

    "demo" and "paper" name the embedded configurations, where there is no file of that name.
    """
    if config is not None and str(config) in EMBEDDED and not config.exists():
        return f"configs/{config}.yaml (embedded)", embedded(f"{config}.yaml")
    if config is not None and not config.exists():
        raise BenchError(f"{config}: no such file; the embedded configurations are {' and '.join(EMBEDDED)}")
    if config is not None:
        return str(config), read_file(config)
    local = Path("bench.yaml")
    if local.is_file():
        return "bench.yaml", read_file(local)
    return f"configs/{default}.yaml (embedded)", embedded(f"{default}.yaml")


# ------------------------------------------------------------------ the command line on top


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line chooses on top of a configuration file; None leaves the file's word."""

    systems: str | None = None
    metrics: str | None = None
    dataset: str | None = None
    split: str | None = None
    seed: int | None = None
    limit: int | None = None
    assignments: Sequence[str] = ()


def load(config: Path | None = None, choices: Choices | None = None) -> Config:
    """Read, choose, expand, check. Every fault is a BenchError that names the key."""
    return checked(*base(config), choices or Choices())


def checked(source: str, raw: Mapping[str, Any], choices: Choices) -> Config:
    """Choose, expand and check sections that were read or put together elsewhere."""
    raw = _chosen(raw, choices)
    return _check(source, {name: _expand(value, name) for name, value in raw.items()})


def load_scoring(config: Path | None, choices: Choices) -> ScoringConfig:
    """Read, choose, expand and check only what scoring needs: dataset and systems of the file are not looked at.

    Without a file the paper's metrics are meant, never the demo's stand-ins.
    """
    source, raw = base(config, default="paper")
    raw = _chosen(raw, choices)
    wanted = ("metrics", *PARTS, "run")
    return _check_scoring(source, {name: _expand(raw[name], name) for name in wanted})


def load_without_dataset(config: Path | None, choices: Choices) -> WithoutDataset:
    """Read, choose, expand and check all but the dataset, which may be on another machine than this one."""
    source, raw = base(config)
    raw = _chosen(raw, choices)
    dataset = raw.pop("dataset")
    expanded = {name: _expand(value, name) for name, value in raw.items()}
    systems = [_entry(label, label, options, f"systems.{label}") for label, options in expanded["systems"].items()]
    for entry in systems:
        _resolve("system", entry, f"systems.{entry.label}")
    return WithoutDataset(str(dataset.get("use", "")), systems, _check_scoring(source, expanded))


def _chosen(given: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    raw = copy.deepcopy(dict(given))
    _apply_choices(raw, choices)
    for assignment in choices.assignments:
        _assign(raw, assignment)
    return raw


def _apply_choices(raw: dict[str, Any], choices: Choices) -> None:
    for name in SECTIONS:
        raw.setdefault(name, {})
    if choices.dataset is not None and choices.dataset not in (raw["dataset"].get("use"), None):
        registry.find("dataset", choices.dataset)
        raw["dataset"] = {"use": choices.dataset}
    if choices.split is not None:
        raw["dataset"]["split"] = choices.split
    if choices.systems is not None:
        raw["systems"] = _select(raw["systems"], _names(choices.systems, "--system"), "system")
    if choices.metrics is not None:
        raw["metrics"] = _select_metrics(raw["metrics"], _names(choices.metrics, "--metrics"))
    elif not raw["metrics"]:
        raw["metrics"] = _select_metrics({}, ["all"])
    for key in ("seed", "limit"):
        if (value := getattr(choices, key)) is not None:
            raw["run"][key] = value


def _names(text: str, flag: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise BenchError(f"{flag} {text!r}: an empty name; write NAME or NAME,NAME")
    return list(dict.fromkeys(names))


def _select(given: Mapping[str, Any], names: Iterable[str], kind: registry.Kind) -> dict[str, Any]:
    """Return label → options of the names: a label of the file, else a plugin with its defaults."""
    chosen: dict[str, Any] = {}
    for name in names:
        if name in given:
            chosen[name] = given[name]
            continue
        try:
            found = registry.find(kind, name)
        except BenchError as err:
            labels = f". Labels in the configuration: {', '.join(sorted(given))}." if given else ""
            raise BenchError(f"{str(err).removesuffix('.') if labels else err}{labels}") from None
        label = registry.default_label(found)
        if label in chosen or label in given:
            raise BenchError(f"{name!r} would be labelled {label!r}, which is taken: give it a label in a config file")
        chosen[label] = {"use": name}
    return chosen


def _select_metrics(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name in names:
        if name in METRIC_GROUPS and name not in given:
            for member in _members(name):
                labels = {k: v for k, v in given.items() if (v or {}).get("use", k) == member}
                chosen.update(labels or {member: {}})
            if name == "every":
                chosen.update(given)
        else:
            chosen.update(_select(given, [name], "metric"))
    return chosen


def _members(group: str) -> list[str]:
    """Return the metrics of a group, those of Table 1 first and in its order."""
    plugins = {name: registry.find("metric", name).plugin for name in registry.table("metric")}
    table1 = [name for name in TABLE1_METRICS if name in plugins]
    others = [name for name, plugin in plugins.items() if name not in table1 and not hasattr(plugin, "argument")]
    if group == "all":
        return table1
    if group == "every":
        return table1 + others
    return [name for name in table1 + others if getattr(plugins[name], "group", None) == group]


TABLE1_METRICS = ("radfact", "bleu-4", "rouge-l", "meteor", "rger", "chexbert-f1")
"""Metrics of the paper's Table 1, in the order of its columns."""


def _assign(raw: dict[str, Any], assignment: str) -> None:
    key, equals, value = assignment.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path) or len(path) < 2:
        raise BenchError(f"--set {assignment!r}: write --set section.key=value, e.g. --set run.bootstrap=0")
    if path[0] not in SECTIONS:
        raise BenchError(f"--set {assignment!r}: {registry.miss('section', path[0], SECTIONS)}")
    labelled = path[0] in ("systems", "metrics")
    every = labelled and path[1] == "*" and len(path) > 2
    if labelled and not every and path[1] not in raw[path[0]]:
        raise BenchError(f"--set {assignment!r}: {registry.miss(path[0][:-1] + ' in this run', path[1], raw[path[0]])}")
    for label in list(raw[path[0]]) if every else path[1:2]:
        _put(raw, [path[0], label, *path[2:]], parse_yaml(value, f"--set {key}"), assignment)


def _put(raw: dict[str, Any], path: Sequence[str], value: Any, assignment: str) -> None:
    node = raw
    for depth, part in enumerate(path[:-1]):
        inner = node.get(part)
        if inner is None:
            inner = node[part] = {}
        if not isinstance(inner, dict):
            raise BenchError(f"--set {assignment!r}: {'.'.join(path[: depth + 1])} is a value, not a section")
        node = inner
    node[path[-1]] = value


def _expand(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name, default)
        if found is None:
            raise BenchError(f"{where}: the environment variable {name} is not set (export {name}=…)")
        return found

    return _VARIABLE.sub(replace, value)


# ------------------------------------------------------------------ checking


def _check(source: str, raw: Mapping[str, Any]) -> Config:
    dataset = dict(raw["dataset"])
    if "use" not in dataset:
        raise BenchError(f"{source}: dataset.use: a value is required: one of {', '.join(registry.table('dataset'))}")
    if not raw["systems"]:
        raise BenchError(f"{source}: systems: name at least one, or pass --system NAME (bench list shows them)")
    split = str(dataset.pop("split", "test"))
    data = _entry("dataset", str(dataset["use"]), dataset, "dataset")
    systems = [_entry(label, label, options, f"systems.{label}") for label, options in raw["systems"].items()]
    _refuse_nested([entry.label for entry in systems])
    scoring = _check_scoring(source, raw)
    resolved = {
        "dataset": {**_resolve("dataset", data, "dataset"), "split": split},
        "systems": {e.label: _resolve("system", e, f"systems.{e.label}") for e in systems},
        **scoring.resolved,
    }
    return Config(source, data, split, systems, scoring.metrics, scoring.parts, scoring.run, resolved)


def _check_scoring(source: str, raw: Mapping[str, Any]) -> ScoringConfig:
    metrics = [_entry(label, label, options, f"metrics.{label}") for label, options in raw["metrics"].items()]
    for entry in metrics:
        if "__" in entry.label:
            raise BenchError(
                f"metrics.{entry.label}: a metric's label has no two _ in a row (they stand for / in files)"
            )
    parts = {section: {k: dict(v or {}) for k, v in raw[section].items()} for section in PARTS}
    run = _run_options(raw["run"])
    resolved = {
        "metrics": {e.label: _resolve("metric", e, f"metrics.{e.label}") for e in metrics},
        **{section: _resolve_parts(section, entries) for section, entries in parts.items() if entries},
        "run": run.model_dump(mode="json"),
    }
    return ScoringConfig(source, metrics, parts, run, resolved)


def _entry(label: str, default: str, options: Any, where: str) -> Entry:
    if options is not None and not isinstance(options, dict):
        raise BenchError(f"{where}: must be a mapping of options, not {options!r}")
    if not _LABEL.fullmatch(label):
        raise BenchError(f"{where}: a label is made of letters, digits and . _ + - (it names a folder)")
    options = dict(options or {})
    return Entry(label, str(options.pop("use", default)), options)


def _refuse_nested(labels: Sequence[str]) -> None:
    """Raise BenchError where one label's run folder would lie inside another's."""
    for label in labels:
        for other in labels:
            if label.startswith(f"{other}/"):
                raise BenchError(f"systems: the run {label!r} would lie in the folder of {other!r}: rename one")


def _run_options(raw: Mapping[str, Any]) -> RunOptions:
    try:
        return RunOptions.model_validate(raw)
    except ValidationError as err:
        raise BenchError(registry.explain_validation(err, "run", RunOptions)) from None


def _resolve(kind: registry.Kind, entry: Entry, where: str) -> dict[str, Any]:
    found = registry.find(kind, entry.use)
    options = registry.options_of(found, entry.options, where)
    return {"use": entry.use, **options.model_dump(mode="json")}


def _resolve_parts(section: str, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    kind: Any = section[:-1]
    resolved = {}
    for label, options in sorted(entries.items()):
        entry = Entry(label, str(options.get("use", label)), {k: v for k, v in options.items() if k != "use"})
        resolved[label] = _resolve(kind, entry, f"{section}.{label}")
    return resolved
