"""Finding plugins: entry points, prefixes, files, and the words of a miss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.errors import BenchError
from bench.options import Options

PLUGINS = Path(__file__).with_name("plugins.py")


def test_a_miss_names_near_misses_and_all_that_is_known() -> None:
    with pytest.raises(BenchError, match=r"No system named 'sae-rat'. Did you mean sae-rad.*Known: .*constant") as miss:
        registry.find("system", "sae-rat")
    assert "nearest-neighbour" in str(miss.value)


def test_file_plugin() -> None:
    found = registry.find("system", f"{PLUGINS}:Parrot")
    assert (found.name, found.source[:18]) == ("Parrot", "plugins.py sha256:")
    assert found.plugin is registry.find("system", f"{PLUGINS}:Parrot").plugin


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (f"{PLUGINS}:Parot", "Did you mean Parrot"),
        ("./nowhere.py:X", "no file nowhere.py"),
        (str(PLUGINS), "name the class too"),
    ],
)
def test_file_plugin_errors(spec: str, word: str) -> None:
    with pytest.raises(BenchError, match=word):
        registry.find("system", spec)


def test_file_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(BenchError, match=r"bad.py cannot be imported: ModuleNotFoundError"):
        registry.find("metric", f"{tmp_path / 'bad.py'}:X")


def test_prefix_fills_the_argument() -> None:
    found = registry.find("metric", "hf/rouge")
    assert (found.name, dict(found.preset)) == ("hf", {"module": "rouge"})


class Inner(Options):
    steps: int = 3


class Outer(Options):
    inner: Inner = Inner()
    rate: float = 0.5
    parts: tuple[str, ...] = ()


class Plugin:
    Options = Outer


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rat": 1}, "systems.x.rat: unknown key. Did you mean rate? Known here: inner, parts, rate."),
        ({"inner": {"step": 1}}, "systems.x.inner.step: unknown key. Did you mean steps? Known here: steps."),
        ({"rate": "fast"}, "systems.x.rate: Input should be a valid number"),
        ({"parts": "cpu"}, "systems.x.parts: a list is wanted, e.g. [cpu] (given: 'cpu')"),
        ({"parts": {"a": 1}}, "systems.x.parts: a list is wanted (given: {'a': 1})"),
    ],
)
def test_option_errors_name_the_whole_key(given: dict[str, object], message: str) -> None:
    found = registry.Found("system", "x", "x", Plugin)
    with pytest.raises(BenchError) as error:
        registry.options_of(found, given, "systems.x")
    assert message in str(error.value)


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"], ["leaderboard", "--help"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom bench.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'pandas', 'sklearn', 'nltk', 'scipy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_list_is_folded_on_a_terminal_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.commands import inspect

    text = "F1 of the entities, mean over all pairs of a report and its reference, by their words"
    assert inspect._folded("  rger  ", text) == f"  rger  {text}"
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(inspect.sys.stdout, "isatty", lambda: True, raising=False)
    lines = inspect._folded("  rger  ", text).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(" " * 8)
    assert max(map(len, lines)) < 60
    assert " ".join(line.strip() for line in lines) == f"rger  {text}"
