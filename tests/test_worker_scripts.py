"""The scripts of the built-in worker systems: metadata that parses, syntax of the Python they ask for, words on all."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from bench import registry
from bench.workers.environment import HELPER, metadata
from bench.workers.options import ModelOptions
from bench.workers.system import WorkerSystem

NAMES = ("chexagent", "chexagent-2-3b", "chexpert-mimic-baseline", "maira-2", "medgemma")
PYTHONS = tuple(f"3.{minor}" for minor in range(8, 20))
HELPER_NEEDS = "3.8"
"""The lowest Python of bench_worker.py, which every script imports."""


def plugin(name: str) -> Any:
    return registry.find("system", name).plugin


def block(name: str) -> dict[str, Any]:
    return tomllib.loads(metadata(plugin(name).script))


def lowest(wanted: str) -> tuple[int, int]:
    """Return the first Python that a requires-python lets in."""
    first = next(version for version in PYTHONS if SpecifierSet(wanted).contains(version))
    return 3, int(first.partition(".")[2])


def sources(name: str) -> list[Path]:
    """The script and the modules beside it that it may import; the package's own file is the harness's."""
    script: Path = plugin(name).script
    return [script, *sorted(p for p in script.parent.glob("*.py") if not p.name.startswith(("__init__", "worker")))]


def syntax(text: str, python: tuple[int, int]) -> ast.Module:
    return ast.parse(text, feature_version=python)


@pytest.mark.parametrize("name", NAMES)
def test_its_metadata_names_a_python_and_versions_and_no_index(name: str) -> None:
    told = block(name)
    assert set(told) == {"requires-python", "dependencies"}
    assert lowest(told["requires-python"]) >= lowest(f">={HELPER_NEEDS}")
    packages = [Requirement(line) for line in told["dependencies"]]
    assert [str(p) for p in packages if not p.specifier or p.url] == []
    pinned = {p.name for p in packages if [s.operator for s in p.specifier] == ["=="]}
    assert pinned >= {"torch", "transformers"}
    assert len({p.name.lower().replace("_", "-") for p in packages}) == len(packages)


@pytest.mark.parametrize("name", NAMES)
def test_its_script_compiles_for_the_lowest_python_it_asks_for(name: str) -> None:
    python = lowest(block(name)["requires-python"])
    for path in sources(name):
        syntax(path.read_text(encoding="utf-8"), python)


def test_the_helper_of_all_scripts_compiles_for_its_own_lowest_python() -> None:
    syntax(HELPER.read_text(encoding="utf-8"), lowest(f">={HELPER_NEEDS}"))


@pytest.mark.parametrize("name", NAMES)
def test_plugin_script_and_options_say_what_they_are(name: str) -> None:
    found = plugin(name)
    assert issubclass(found, WorkerSystem)
    assert issubclass(found.Options, ModelOptions)
    assert found.__doc__
    assert ast.get_docstring(ast.parse(found.script.read_text(encoding="utf-8")))
    assert [field for field, told in found.Options.model_fields.items() if not told.description] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_package_that_its_script_imports_is_asked_for(name: str) -> None:
    """By the names that packages are installed under, where this environment knows them."""
    asked = {Requirement(line).name.lower().replace("_", "-") for line in block(name)["dependencies"]}
    known = packages_distributions()
    imported = set()
    for path in sources(name):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").partition(".")[0])
    foreign = imported - {*sys.stdlib_module_names, "bench_worker", *(path.stem for path in sources(name))}
    needed = {module: {d.lower().replace("_", "-") for d in known.get(module, [module])} for module in foreign}
    assert {module for module, names in needed.items() if not names & asked} == set()


def test_these_checks_can_fail() -> None:
    with pytest.raises(SyntaxError):
        syntax("match 1:\n    case 1: pass\n", (3, 9))
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads("requires-python = >=3.9")
    assert lowest(">=3.10,<3.13") == (3, 10)
