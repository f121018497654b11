"""Files of a run: damaged ones are named, odd text survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.errors import BenchError


@pytest.mark.parametrize("text", ["{", f'{{"a": {"9" * 5000}}}', '{"a": ' + "[" * 200_000, "[1]"])
def test_json_that_cannot_be_read_names_the_file(text: str) -> None:
    Path("a.json").write_text(text)
    with pytest.raises(BenchError, match=r"^a\.json: "):
        store.read_json(Path("a.json"))
    Path("a.jsonl").write_text('{"fine": 1}\n' + text + "\n")
    with pytest.raises(BenchError, match=r"^a\.jsonl, line 2: "):
        list(store.read_lines(Path("a.jsonl")))


@pytest.mark.parametrize("value", ["plain", "naïve – ×", "\ud800 alone", "line\u2028separator"])
def test_json_returns_what_was_written(value: str) -> None:
    store.write_json(Path("a.json"), {"text": value})
    assert store.read_json(Path("a.json")) == {"text": value}
    store.write_text(Path("a.jsonl"), store.json_line({"text": value}))
    assert list(store.read_lines(Path("a.jsonl"))) == [{"text": value}]
