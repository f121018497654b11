"""docs/tutorial.md is run from top to bottom; a package of another author is installed and used like a built-in one."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from installer import bench, environment, install

from bench.store import read_lines

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
PLUGINS = Path(__file__).with_name("plugins.py")
EXTRAS = Path(__file__).parent / "third_party" / "cxr-bench-extras"
OFFLINE = "--no-deps --no-build-isolation --no-index --disable-pip-version-check --quiet"


# ------------------------------------------------------------------ the tutorial


@dataclass
class Reader:
    """Does what a reader of the tutorial does: saves files, types commands, compares what is printed."""

    target: Path
    """Where `pip install` installs."""
    printed: str = ""
    commands: list[str] = field(default_factory=list)

    def save(self, block: str) -> None:
        """Save a file that a block begins with the name of, or replace one method of it."""
        name, _, method = block.splitlines()[0].removeprefix("# ").partition(": ")
        if not method:
            assert Path(name).parent.is_dir(), name
            Path(name).write_text(block)
            return
        text = Path(name).read_text()
        (old,) = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef) and n.name == method]
        lines = text.splitlines(keepends=True)
        lines[old.lineno - 1 : old.end_lineno] = block.splitlines(keepends=True)[1:]
        Path(name).write_text("".join(lines))

    def type(self, line: str) -> None:
        """Run a command in a shell; a comment may tell the exit code."""
        told = re.search(r"# exit code (\d+)", line)
        pip = f'pip() {{ "{sys.executable}" -m pip "$@" {OFFLINE} --target "{self.target}"; }}; '
        seen = {**environment(self.target), "COLUMNS": "80"}
        done = subprocess.run(["bash", "-c", pip + line], env=seen, capture_output=True, text=True)
        assert done.returncode == (int(told[1]) if told else 0), f"{line}\n{done.stdout}{done.stderr}"
        self.commands.append(line)
        self.printed = done.stdout

    def compare(self, block: str) -> None:
        """Find each line of a block in what was printed, in order: words alike, numbers about the same.

        Numbers may differ a little from machine to machine; rules and folded lines are not looked at.
        """
        seen = iter(self.printed.splitlines())
        for line in block.splitlines():
            assert any(_alike(line.split(), found.split()) for found in seen), f"{line!r} not in\n{self.printed}"


def _alike(told: list[str], printed: list[str]) -> bool:
    return len(told) <= len(printed) and all(_same(*pair) for pair in zip(told, printed, strict=False))


def _same(told: str, printed: str) -> bool:
    try:
        return abs(float(told) - float(printed)) <= 1.0
    except ValueError:
        return told == printed


def steps(page: str) -> Iterator[tuple[str, str]]:
    """Yield ("python" | "text", block) and ("shell", line) in the order of the page."""
    pattern = re.compile(r"^```(\w+)\n(.*?)^```$|^ {4}(\S[^\n]*)$", re.MULTILINE | re.DOTALL)
    for match in pattern.finditer(page):
        yield (match[1], match[2]) if match[1] else ("shell", match[3])


@pytest.mark.slow
def test_the_tutorial(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "installed")
    does = {"python": reader.save, "shell": reader.type, "text": reader.compare}
    for kind, content in steps(TUTORIAL.read_text()):
        does[kind](content)
    assert sum(line.startswith("bench check") for line in reader.commands) == 3
    summary = json.loads(Path("fourth/typical/summary.json").read_text())
    assert (summary["system"], summary["scores"]["Missed"]["n_failed"]) == ("typical", 0)


@pytest.mark.slow
def test_the_examples_of_the_reference_pass_the_check_that_it_shows() -> None:
    for kind, content in steps((ROOT / "docs" / "plugins.md").read_text()):
        if kind == "python":
            Path(content.splitlines()[0].removeprefix("# ")).write_text(content)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "test_mine.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_systems_code_is_as_short_as_promised() -> None:
    blocks = [content for kind, content in steps(TUTORIAL.read_text()) if kind == "python"]
    lines = [line for line in blocks[0].splitlines()[1:] if line.strip()]
    assert len(lines) < 30


def test_a_wrong_page_is_noticed(tmp_path: Path) -> None:
    """The reader of the tutorial can fail: a wrong number, a wrong word, a wrong exit code."""
    reader = Reader(tmp_path)
    reader.printed = " system   BL4\n ────────\n Typical  12.1\n"
    reader.compare(" system BL4\n Typical 11.9\n")
    for wrong in ("Typical 15.0", "constant 12.1", "Typical 12.1\nsystem BL4"):
        with pytest.raises(AssertionError):
            reader.compare(wrong)
    with pytest.raises(AssertionError):
        reader.type("false")
    reader.type("false  # exit code 1")


# ------------------------------------------------------------------ somebody else's package


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    install(EXTRAS, target)
    return target


def test_a_package_of_another_author_is_listed(installed: Path) -> None:
    listed = bench(installed, "list", "--json")
    assert listed.returncode == 0, listed.stderr
    of = {kind: {row["name"]: row for row in rows} for kind, rows in json.loads(listed.stdout).items()}
    assert of["systems"]["first-sentences"]["source"] == "cxr-bench-extras 0.3.0"
    assert of["systems"]["first-sentences"]["help"] == "The sentences that training reports begin with most often."
    assert of["metrics"]["length-ratio"]["source"] == "cxr-bench-extras 0.3.0"
    assert "first-sentences" not in bench(installed / "nowhere", "list").stdout


def test_a_package_of_another_author_is_run_like_a_built_in_one(installed: Path) -> None:
    run = bench(
        installed, "run", "--system", "first-sentences,constant", "--metrics", "length-ratio,bleu-4", "--dataset",
        f"{PLUGINS}:TinyDataset", "--set", "systems.first-sentences.sentences=1", "--set", "run.bootstrap=20",
        "--set", "run.device=cpu", "--out", "o",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert re.search(r"first-sentences +\d+\.\d +\d\.\d\d", run.stdout), run.stdout
    assert re.search(r"constant +\d+\.\d +\d\.\d\d", run.stdout), run.stdout
    recorded = json.loads(Path("o/first-sentences/run.json").read_text())
    assert recorded["system_source"] == "cxr-bench-extras 0.3.0"
    assert recorded["config"]["systems"]["first-sentences"]["sentences"] == 1
    summary = json.loads(Path("o/first-sentences/summary.json").read_text())
    said, true = (read_lines(Path("o/first-sentences") / name) for name in ("reports.jsonl", "cases.jsonl"))
    ratio = sum(len(r["text"].split()) for r in said) / sum(len(c["reference"].split()) for c in true)
    assert summary["scores"]["Length"]["value"] == pytest.approx(ratio)
    assert summary["scores"]["Length"]["signature"] == "length-ratio|v:1|tok:split"


@pytest.mark.parametrize(("kind", "name"), [("system", "first-sentences"), ("metric", "length-ratio")])
def test_a_package_of_another_author_keeps_the_contract(installed: Path, kind: str, name: str) -> None:
    dataset = ("--dataset", f"{PLUGINS}:TinyDataset") if kind == "system" else ()
    checked = bench(installed, "check", kind, name, *dataset, "--set", "run.device=cpu")
    assert checked.returncode == 0, checked.stdout


def test_the_command_of_another_author(installed: Path) -> None:
    assert bench(installed, "extras").stdout == "first-sentences, length-ratio\n"
    refused = bench(installed, "new", "system", "first-sentences")
    assert "is registered already, by cxr-bench-extras 0.3.0" in refused.stderr
