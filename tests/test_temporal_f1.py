"""Temporal F1: its words, its formula, and the entities that a worker brings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_world import HERE

from bench.context import RunContext
from bench.contracts import FAILED, OK, HubFiles, Pair, SmallTable, Unannotated, WorkerScript
from bench.errors import BenchError, Unavailable
from metrics.temporal_f1 import StanzaRadiology, TemporalF1
from metrics.temporal_f1.annotator import FILES, StanzaRadiologyOptions
from metrics.temporal_f1.metric import TemporalF1Options, score
from metrics.temporal_f1.words import WORDS, cleaned, found

TAGGER = '''# /// script
# requires-python = ">=3.8"
# dependencies = []
# ///
"""Stands in for Stanza: tags the words that its folder's file lists."""

import os
import re

from bench_worker import serve


class Tagger:
    def __init__(self, options, device):
        with open(os.path.join(options["model"], "models", "ner", "radiology.pt")) as file:
            self.types = dict(line.split() for line in file)

    def annotate(self, texts):
        return [{"spans": [self.span(m) for m in re.finditer("[A-Za-z]+", text)]} for text in texts]

    def span(self, match):
        return [match.group(), self.types.get(match.group().lower(), "ANATOMY"), match.start(), match.end()]


if __name__ == "__main__":
    serve(Tagger)
'''


def pairs_of(*texts: tuple[str, str]) -> list[Pair]:
    return [Pair(f"c{i}", f"p{i}", candidate, reference) for i, (candidate, reference) in enumerate(texts)]


def keywords(context: RunContext) -> TemporalF1:
    return TemporalF1(TemporalF1Options(entities="keywords"), context)


# ------------------------------------------------------------------ words and formula


def test_the_words_are_the_published_ones() -> None:
    assert len(WORDS) == 44
    assert {"new", "unaltered", "stably", "unfolded", "removal"} <= WORDS
    assert not {"old", "removed", "enlarge"} & WORDS


@pytest.mark.parametrize(
    ("text", "expected"),  # as the reference implementation finds them
    [
        ("Heart is Stable.\nNEW effusion; edema unchanged", {"stable", "new", "unchanged"}),
        ("non-stable, re_new", {"stable", "new"}),
        ("stable/unchanged", set()),
        ("renewed, newer, destabilised", set()),
        ("(increased) increase", {"increased", "increase"}),
        ("in*creased", {"increased"}),
        ("", set()),
    ],
)
def test_words_are_found_whole_in_the_cleaned_text(text: str, expected: set[str]) -> None:
    assert found(text) == expected


def test_cleaning_joins_lines_and_drops_odd_characters() -> None:
    assert cleaned("  A\n\nnew___line -- 50% [x]\t(y), z: ") == "A new line 50 x\t(y), z:"


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        (set(), set(), 1.0),
        ({"new"}, set(), 1e-10),
        ({"new"}, {"new"}, 1.0),
        ({"new", "stable"}, {"new"}, 2 / 3),
        ({"new"}, {"stable"}, 0.0),
        (set(), {"stable"}, 0.0),
    ],
)
def test_the_score_of_two_sets(candidate: set[str], reference: set[str], expected: float) -> None:
    assert score(candidate, reference) == pytest.approx(expected, abs=3e-10)


def test_the_mean_over_pairs(context: RunContext) -> None:
    metric = keywords(context)
    stats = metric.observe(pairs_of(("New edema, stable heart.", "New edema."), ("", "Clear."), ("Worse.", "Stable.")))
    assert stats.values[:, 1].tolist() == [1, 1, 1]
    assert metric.finish(stats.values.sum(axis=0))[0] == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-9)
    assert np.isnan(metric.finish(np.zeros(2))).all()
    assert metric.signature() == "temporal-f1|keywords|words:44|v:1"


# ------------------------------------------------------------------ entities from a worker


def models(folder: Path, types: str = "stable OBSERVATION_MODIFIER\nunchanged OBSERVATION\nnew ANATOMY\n") -> Path:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "models" / "ner" / "radiology.pt").write_text(types)
    return folder


@pytest.fixture
def tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunContext]:
    """Give a context whose annotator runs the script above on a folder of its own."""
    script = tmp_path / "tagger.py"
    script.write_text(TAGGER)
    monkeypatch.setattr(StanzaRadiology, "script", script)

    def make(folder: Path, **options: Any) -> RunContext:
        parts = {
            "annotators": {"stanza-radiology": {"model": str(folder), "runner": HERE, "devices": ["cpu"], **options}}
        }
        return RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache", parts=parts)

    return make


def test_tagged_words_count_beside_those_of_the_pattern(tagged: Callable[..., RunContext], tmp_path: Path) -> None:
    metric = TemporalF1(TemporalF1Options(), tagged(models(tmp_path / "stanza")))
    glued = pairs_of(("stable/unchanged/new", "Stable and unchanged."))
    assert metric.observe(glued).values[0, 0] == pytest.approx(1.0, abs=1e-9)  # "new" is no observation here
    assert keywords(tagged(tmp_path / "stanza")).observe(glued).values[0, 0] == pytest.approx(0, abs=3e-10)
    (*marks, table) = metric.explain(glued[0])
    assert [(m.side, m.kind, m.note) for m in marks if hasattr(m, "note")][-2:] == [
        ("reference", "match", "stable"),
        ("reference", "match", "unchanged"),
    ]
    assert isinstance(table, SmallTable)
    assert table.rows == (("stable", "yes", "yes"), ("unchanged", "yes", "yes"), ("F1", "1.000", ""))


def test_other_models_sign_otherwise(tagged: Callable[..., RunContext], tmp_path: Path) -> None:
    def sign(name: str, **options: Any) -> str:
        return TemporalF1(TemporalF1Options(), tagged(tmp_path / name, **options)).signature()

    models(tmp_path / "a")
    models(tmp_path / "b", "new OBSERVATION\n")
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    assert sign("a") == sign("c") == sign("a", batch_size=3)
    assert sign("a") != sign("b")


def test_a_text_that_cannot_be_read_fails_its_pairs(context: RunContext) -> None:
    class Odd:
        def fingerprint(self) -> str:
            return "odd"

        def annotate(self, texts: list[str]) -> list[Any]:
            return [Unannotated("too odd") if text == "odd" else {"spans": []} for text in texts]

    context._built["annotator", "stanza-radiology"] = Odd()
    metric = TemporalF1(TemporalF1Options(), context)
    pairs = pairs_of(("odd", "new"), ("new", "new"), ("new", "odd"))
    stats = metric.observe(pairs)
    assert stats.status[:, 0].tolist() == [FAILED, OK, FAILED]
    assert stats.values[[0, 2]].tolist() == [[0, 0], [0, 0]]
    assert metric.explain(pairs[0]) == [
        SmallTable("Words of change", ("side", "not read"), (("candidate", "too odd"),))
    ]


def test_an_annotator_without_entities_is_told(context: RunContext) -> None:
    with pytest.raises(BenchError, match="annotator 'rules' finds no named entities: use stanza-radiology, or set"):
        TemporalF1(TemporalF1Options(annotator="rules"), context).observe(pairs_of(("a", "b")))


# ------------------------------------------------------------------ what it needs


def test_what_is_missing_is_told_when_it_is_signed(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="stanfordnlp/stanza-en"):
        TemporalF1(TemporalF1Options(), context).signature()
    monkeypatch.setattr("bench.workers.environment.shutil.which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "uv", None)
    with pytest.raises(Unavailable, match=r"needs the package uv\n"):
        TemporalF1(TemporalF1Options(), context.for_run(context.workdir)).signature()


def test_assets_are_the_models_and_the_environment(context: RunContext) -> None:
    annotator = StanzaRadiology(StanzaRadiologyOptions(), context)
    assert annotator.assets() == [HubFiles("stanfordnlp/stanza-en", None, FILES), WorkerScript(StanzaRadiology.script)]


def test_a_run_shows_the_column_and_why_it_has_no_value(bench: Callable[..., Any], tmp_path: Path) -> None:
    file, folder = tmp_path / "pairs.csv", models(tmp_path / "stanza")
    file.write_text('example_id,prediction,target\na,"New edema.","New edema. Stable heart."\n')
    Path("bench.yaml").write_text(
        "metrics: {temporal-f1: {}, words: {use: temporal-f1, entities: keywords}}\nrun: {bootstrap: 0}\n"
        f"annotators: {{stanza-radiology: {{model: {folder}, runner: 'python:/no/such/python'}}}}\n"
    )
    answer = bench("score", file, "--public", "--json")
    assert answer.code == 0, answer.err
    scores = json.loads(answer.out)["scores"]
    assert scores["words/Temporal-F1"]["value"] == pytest.approx(2 / 3, abs=1e-9)
    assert scores["Temporal-F1"]["value"] is None
    assert "/no/such/python" in scores["Temporal-F1"]["reason"]
