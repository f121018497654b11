"""The cache of annotations: each text once, in chunks, privately, whatever is killed meanwhile."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.annotations import CachedAnnotator
from bench.context import RunContext
from bench.contracts import Unannotated
from bench.errors import BenchError
from bench.kept import Kept
from bench.options import Options

HERE = Path(__file__)


class WordsOptions(Options):
    log: Path | None = None
    version: str = "1"
    die_at: int = 0


class Words:
    """Counts words; texts with "bad" fail alone. Logs each text it is given, a chunk a line."""

    Options = WordsOptions
    chunk = 4

    def __init__(self, options: WordsOptions, context: Any) -> None:
        self.options = options
        self.calls = 0

    def fingerprint(self) -> str:
        return f"words-{self.options.version}"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        self.calls += 1
        if self.options.log is not None:
            with self.options.log.open("a") as file:
                file.write("|".join(texts) + "\n")
        if self.calls == self.options.die_at:
            os.kill(os.getpid(), 9)
        return [Unannotated("a bad text") if "bad" in text else {"words": len(text.split())} for text in texts]


SPEC = f"{HERE}:Words"


def given(log: str) -> list[list[str]]:
    return [line.split("|") for line in Path(log).read_text().splitlines()]


def make(context: RunContext, **options: Any) -> Any:
    other = RunContext(
        workdir=context.workdir,
        cache_root=context._cache_root,
        parts={"annotators": {"words": {"use": SPEC} | options}},
        console=context.console,
    )
    return other.annotator("words")


def test_annotations_come_in_the_order_of_the_texts(context: RunContext) -> None:
    texts = ["a b c", "a", "", "a b", "a b c", "é \ud800"]
    assert [a["words"] for a in make(context).annotate(texts)] == [3, 1, 0, 2, 3, 2]


def test_a_text_is_annotated_once_ever(context: RunContext) -> None:
    make(context, log="log").annotate([f"word {i}" for i in range(6)] * 2)
    make(context, log="log").annotate([f"word {i}" for i in range(3, 9)])
    asked = [text for chunk in given("log") for text in chunk]
    assert sorted(asked) == [f"word {i}" for i in range(9)]


def test_another_fingerprint_annotates_again(context: RunContext) -> None:
    make(context, log="log").annotate(["a b"])
    make(context, log="log", version="2").annotate(["a b"])
    assert given("log") == [["a b"], ["a b"]]


def test_chunks_hold_texts_of_like_length_the_longest_first(context: RunContext) -> None:
    texts = ["x" * n for n in (3, 9, 1, 7, 5, 2)]
    make(context, log="log").annotate(texts)
    assert [[len(text) for text in chunk] for chunk in given("log")] == [[9, 7, 5, 3], [2, 1]]


def test_a_failure_stands_in_its_place_and_is_asked_again(context: RunContext) -> None:
    first = make(context, log="log").annotate(["good", "bad", "fine day"])
    assert first == [{"words": 1}, Unannotated("a bad text"), {"words": 2}]
    make(context, log="log").annotate(["good", "bad", "fine day"])
    assert given("log")[1] == ["bad"]


def test_a_kill_loses_at_most_the_chunk_in_flight(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.context import RunContext\n"
        "c = RunContext(workdir=Path('w'), cache_root=Path(sys.argv[1]), parts={'annotators': {'words': "
        "{'use': sys.argv[2], 'log': 'log', 'die_at': int(sys.argv[3])}}})\n"
        "print([a['words'] for a in c.annotator('words').annotate(['w ' * n for n in range(12)])])\n"
    )

    def run(die_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path / "cache"), SPEC, str(die_at)]
        return subprocess.run(command, capture_output=True, text=True)

    assert run(3).returncode == -9
    whole = run(0)
    assert whole.stdout.strip() == str(list(range(12))), whole.stderr
    asked = [text for chunk in given("log") for text in chunk]
    assert len(asked) == 12 + 4  # the third chunk was asked twice, the first two once


def test_an_annotator_that_loses_a_text_is_named(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    annotator = make(context)
    monkeypatch.setattr(annotator.annotator, "annotate", lambda texts: [{"words": 1}])
    with pytest.raises(BenchError, match="'words' gave 1 annotations for 2 texts"):
        annotator.annotate(["a", "b"])


def test_the_file_is_private_and_in_write_ahead_mode(context: RunContext) -> None:
    make(context).annotate(["a text"])
    (file,) = context.cache("annotations", "v1").glob("*.sqlite")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert b"a text" not in file.read_bytes()


PUT_MANY = """
import sys
from pathlib import Path
from bench.kept import Kept
kept = Kept(Path(sys.argv[1]))
for i in range(40):
    kept.put("n", {f"{sys.argv[2]}-{i}": i})
"""


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "k.sqlite"
    commands = [[sys.executable, "-c", PUT_MANY, str(file), str(n)] for n in range(4)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    assert [(worker.communicate()[1], worker.returncode) for worker in workers] == [("", 0)] * 4
    keys = [f"{n}-{i}" for n in range(4) for i in range(40)]
    assert Kept(file).get("n", keys) == {key: int(key.partition("-")[2]) for key in keys}


def test_namespaces_are_apart_and_more_keys_than_a_statement_takes_are_found(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "k.sqlite")
    kept.put("a", {str(i): {"v": i} for i in range(1203)})
    kept.put("b", {"1": "other"})
    found = kept.get("a", [str(i) for i in range(1300)])
    assert len(found) == 1203
    assert (found["1"], found["1202"]) == ({"v": 1}, {"v": 1202})


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "k.sqlite"
    file.write_bytes(b"this is no database, " * 400)
    with pytest.raises(BenchError, match=r"k\.sqlite: .*delete it"):
        Kept(file).get("n", ["a"])


def test_wrapper_tells_what_it_stands_for(context: RunContext) -> None:
    annotator = make(context)
    assert isinstance(annotator, CachedAnnotator)
    assert annotator.stand_in is None
    assert re.fullmatch(r"Words@[0-9a-f]{12}:words-1", annotator.fingerprint())
    assert context.annotator("rules").fingerprint().startswith("rules-")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"labels": {"Edema": 7}}, "labels are 1, 0, -1 or None, not {'Edema': 7}"),
        ({"labels": ["Edema"]}, "labels: Input should be"),
        ({"entities": {"1": {"tokens": "x", "label": "y", "relations": [["modify", "2"]]}}}, "related to '2'"),
        ({"entities": {"1": {"tokens": "x", "label": "y", "relations": [["modify", 1]]}}}, "Input should be a valid"),
        ({"phrases": "one"}, "phrases: Input should be"),
        ({"words": {1, 2}}, "not JSON serializable"),
        ({"words": float("nan")}, "not JSON compliant"),
        ("a string", "Input should be an object"),
    ],
)
def test_what_breaks_the_contract_is_named_and_not_kept(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, given: Any, why: str
) -> None:
    annotator = make(context)
    monkeypatch.setattr(annotator.annotator, "annotate", lambda texts: [given for _ in texts])
    with pytest.raises(BenchError) as caught:
        annotator.annotate(["a b"])
    assert why in str(caught.value)
    assert make(context).annotate(["a b"]) == [{"words": 2}]


@pytest.mark.parametrize("given", [None, (text for text in "ab"), {"a": 1}], ids=["none", "generator", "mapping"])
def test_something_else_than_a_list_is_named(context: RunContext, monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    annotator = make(context)
    monkeypatch.setattr(annotator.annotator, "annotate", lambda texts: given)
    with pytest.raises(BenchError, match="not a list of annotations"):
        annotator.annotate(["a"])


def test_annotations_are_the_same_fresh_and_kept(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    annotator = make(context)
    monkeypatch.setattr(annotator.annotator, "annotate", lambda texts: [{1: (2, 3)} for _ in texts])
    assert annotator.annotate(["a"]) == annotator.annotate(["a"]) == [{"1": [2, 3]}]


def test_annotators_of_other_files_do_not_share_what_is_kept(context: RunContext) -> None:
    source = HERE.read_text().replace('{"words": len(text.split())}', '{"words": -1}')
    Path("other.py").write_text(source)
    assert make(context).annotate(["a b"]) == [{"words": 2}]
    assert make(context, use="./other.py:Words").annotate(["a b"]) == [{"words": -1}]


def test_a_damaged_row_counts_as_not_kept_and_is_replaced(context: RunContext) -> None:
    make(context).annotate(["a b", "c"])
    (file,) = context.cache("annotations", "v1").glob("*.sqlite")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE kept SET value = '{\"words\"' WHERE value LIKE '%2%'")
    assert make(context, log="log").annotate(["a b", "c"]) == [{"words": 2}, {"words": 1}]
    assert given("log") == [["a b"]]


def test_forgotten_keys_are_gone_from_their_namespace_only(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "k.sqlite")
    kept.put("a", {"1": 1, "2": 2})
    kept.put("b", {"1": 1})
    kept.delete("a", ["1", "unknown"])
    assert (kept.get("a", ["1", "2"]), kept.get("b", ["1"])) == ({"2": 2}, {"1": 1})
