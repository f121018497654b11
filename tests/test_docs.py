"""What README and docs tell is true: their examples run, their commands exist."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.cli import BUILT_IN

ROOT = Path(__file__).parent.parent
PLUGINS = Path(__file__).with_name("plugins.py")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_example_plugins_of_the_docs_run(bench: Callable[..., Any]) -> None:
    for block in python_blocks("docs/plugins.md"):
        name = block.splitlines()[0].removeprefix("# ")
        Path(name).write_text(block)
    Path("bench.yaml").write_text(f"dataset: {{use: '{PLUGINS}:TinyDataset'}}\nsystems: {{}}\nrun: {{bootstrap: 20}}\n")
    answer = bench(
        "run", "--system", "./mine.py:Reader", "--metrics", "./overlap.py:Overlap", "--out", "o",
        "--set", "systems.Reader.prefix=PA chest.", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    score = json.loads(answer.out)["runs"][0]["scores"]["Overlap"]
    assert 0 < score["ci_low"] <= score["value"] <= score["ci_high"] <= 1
    report = json.loads(Path("o/Reader/reports.jsonl").read_text().splitlines()[0])
    assert report["text"].startswith("PA chest. ")
    labelled = bench(
        "run", "--system", "./mine.py:Reader", "--metrics", "chexbert-f1", "--out", "l", "--json",
        "--set", "metrics.chexbert-f1.annotator=./labels.py:Labeller",
    )  # fmt: skip
    assert labelled.code == 0, labelled.err
    assert json.loads(labelled.out)["runs"][0]["scores"]["Mi-14"]["value"] is not None


def test_readmes_test_command_is_what_ci_runs() -> None:
    commands = [line for line in (ROOT / "README.md").read_text().splitlines() if "pytest" in line and "&&" in line]
    assert len(commands) == 1
    install_and_test = commands[0].strip().partition("activate && ")[2]
    assert install_and_test in (ROOT / ".ci" / "run").read_text().replace("--quiet ", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    known = {*BUILT_IN, *registry.table("command")}
    for command in re.findall(r"(?:^ {4}|`)bench ([a-z][a-z-]+)", text, re.MULTILINE):
        assert command in known, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_docs_exist(page: Path) -> None:
    for name in re.findall(
        r"`((?:bench|systems|metrics|leaderboards|configs|benchmarks|docs)/[\w./-]+)`", page.read_text()
    ):
        assert (ROOT / name).exists(), name
