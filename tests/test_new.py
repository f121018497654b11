"""`bench new`: what it writes installs, passes its own tests and the linters; what it refuses leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from installer import bench as bench_of
from installer import environment, install

from bench import registry
from bench.cli import BUILT_IN
from bench.errors import BenchError
from bench.scaffold import write
from bench.scaffold.names import names_of
from bench.scaffold.write import Sort

SORTS: tuple[Sort, ...] = ("system", "metric", "worker")
COMMANDS = {"system": ("system",), "metric": ("metric",), "worker": ("system", "--worker")}


# ------------------------------------------------------------------ what is written


@pytest.mark.slow
@pytest.mark.parametrize("sort", SORTS)
def test_a_new_package_installs_and_passes_its_own_tests(sort: Sort, bench: Callable[..., Any], tmp_path: Path) -> None:
    written = bench("new", COMMANDS[sort][0], "my-thing", *COMMANDS[sort][1:])
    assert written.code == 0, written.err
    assert "bench check" in written.out
    target = tmp_path / "installed"
    install(Path("my-thing"), target)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd="my-thing", env=environment(target), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    listed = bench_of(target, "list")
    assert re.search(r"\n  my-thing +\S", listed.stdout)


@pytest.mark.parametrize("sort", SORTS)
def test_a_new_package_passes_the_linters(sort: Sort) -> None:
    folder = write(sort, "my-thing").folder
    for command in (["check", "--select", "E,F,W,I,B,C4,UP,SIM,RUF"], ["format", "--check"]):
        done = subprocess.run(["ruff", *command, str(folder)], capture_output=True, text=True, env=environment(folder))
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_new_package_is_typed() -> None:
    """Those of a system and a metric; a worker's would have mypy read half of the harness."""
    files = [f"my-{sort}/my_{sort}/__init__.py" for sort in ("system", "metric") if write(sort, f"my-{sort}")]
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir=cache", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("sort", SORTS)
def test_the_commands_of_the_readme_exist(sort: Sort) -> None:
    folder = write(sort, "my-thing").folder
    commands = re.findall(r"^    bench ([a-z]+)", (folder / "README.md").read_text(), re.MULTILINE)
    assert {"list", "check", "run"} <= set(commands) <= set(BUILT_IN)


@pytest.mark.parametrize("name", ["report", "case", "options", "sequence", "evidence", "words", "float"])
def test_a_class_is_never_called_what_the_module_imports(name: str) -> None:
    written = write("system", name, Path("made"))
    found = registry.find("system", f"made/{written.names.module}/__init__.py:{written.names.class_name}")
    assert found.plugin.__module__.startswith("bench_plugin_")  # its own class, none that it imports
    registry.options_of(found, {"words": 2}, "here")


def test_names() -> None:
    names = names_of("system", "My_Chest.Reader", frozenset())
    assert (names.name, names.module, names.class_name) == ("my-chest-reader", "my_chest_reader", "MyChestReader")


def test_the_worker_runs_by_hand(tmp_path: Path) -> None:
    from PIL import Image

    from bench.workers.environment import HELPER

    script = write("worker", "my-model").folder / "my_model" / "worker.py"
    Image.new("L", (8, 8), 200).save("bright.png")
    done = subprocess.run(
        [sys.executable, str(script), "--options", '{"bright": 0.5}', "bright.png"],
        capture_output=True, text=True, env=environment(HELPER.parent),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "The lungs are dense.\n"), done.stderr


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1st", "begins with a letter"),
        ("my reader", "begins with a letter"),
        ("reader-", "ends with a letter or digit"),
        ("../up", "begins with a letter"),
        ("", "begins with a letter"),
        ("ünder", "begins with a letter"),
        ("class", "a word of Python's"),
        ("json", "a module 'json' is there already"),
        ("bench", "a module 'bench' is there already"),
        ("NumPy", "a module 'numpy' is there already"),
        ("rouge-score", "is there already"),
        ("cxr-report-bench", "a package of that name is installed already"),
        ("constant", "A system named 'constant' is registered already, by cxr-report-bench"),
        ("Sae_Rad", "A system named 'sae-rad' is registered already"),
    ],
)
def test_a_name_that_cannot_be_had(bench: Callable[..., Any], name: str, words: str) -> None:
    answer = bench("new", "system", "--", name)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert list(Path().iterdir()) == []


def test_a_name_that_is_registered_for_metrics_only(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("overlap", "elsewhere:Overlap", "bench.metrics")
    monkeypatch.setattr(registry, "table", lambda kind: {"overlap": point} if kind == "metric" else {})
    with pytest.raises(BenchError, match="A metric named 'overlap' is registered already, by elsewhere:Overlap"):
        write("metric", "overlap")
    assert write("system", "overlap").folder == Path("overlap")


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_stays(bench: Callable[..., Any], there: str) -> None:
    if there == "folder":
        Path("mine").mkdir()
    elif there == "file":
        Path("mine").write_text("mine")
    else:
        Path("mine").symlink_to("nowhere")
    answer = bench("new", "metric", "mine")
    assert (answer.code, answer.err) == (2, "bench: mine exists; name another folder with --out, or move it away\n")
    assert [path.name for path in Path().iterdir()] == ["mine"]


def test_no_folder_to_write_into(bench: Callable[..., Any]) -> None:
    answer = bench("new", "metric", "mine", "--out", "not/here")
    assert (answer.code, answer.err) == (2, "bench: --out not/here: there is no folder not\n")


def test_a_full_disk_leaves_nothing(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = Path.write_text, []

    def full(self: Path, *given: Any, **more: Any) -> int:
        written.append(self)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(self))
        return real(self, *given, **more)

    monkeypatch.setattr(Path, "write_text", full)
    answer = bench("new", "system", "mine")
    assert (answer.code, answer.err) == (2, "bench: mine: No space left on device\n")
    assert list(Path().iterdir()) == []
