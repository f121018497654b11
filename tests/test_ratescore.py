"""RaTEScore: pairs through a worker, and the worker against the package's own lists."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ratescore_models import WORDS
from worker_world import HERE

from bench.context import RunContext
from bench.contracts import FAILED, OK, HubFiles, Mark, Pair, SmallTable, WorkerScript
from bench.errors import BenchError, Unavailable
from bench.workers import environment
from metrics.ratescore import RaTEPairs, RaTEScore
from metrics.ratescore.annotator import RaTEPairsOptions
from metrics.ratescore.metric import RaTEScoreOptions

MODELS = Path(__file__).with_name("ratescore_models.py")
PACKAGE = '''# /// script
# requires-python = ">=3.8"
# dependencies = []
# ///
"""Stands in for the package: the share of the reference's words that the candidate has."""

import json
import os

from bench_worker import serve


class Package:
    def __init__(self, options, device):
        assert sorted(options) == ["embedder", "matrix", "ner"]
        assert os.path.isdir(options["ner"]) and os.path.isdir(options["embedder"])

    def annotate(self, texts):
        return [self.pair(**json.loads(text)) for text in texts]

    def pair(self, candidate, reference):
        if "fail" in candidate:
            raise ValueError("no such token")
        said, true = candidate.split(), reference.split()
        score = sum(word in said for word in true) / len(true)
        found = {"candidate": [[w, "ANATOMY"] for w in said], "reference": [[w, "DISEASE"] for w in true]}
        return {"rate": {"score": score, **found}}


if __name__ == "__main__":
    serve(Package)
'''


@pytest.fixture
def context_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunContext]:
    script = tmp_path / "package.py"
    script.write_text(PACKAGE)
    monkeypatch.setattr(RaTEPairs, "script", script)
    for name in ("ner", "embedder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)

    def make(**options: Any) -> RunContext:
        folders = {"ner": str(tmp_path / "ner"), "embedder": str(tmp_path / "embedder")}
        parts = {"annotators": {"ratescore-pairs": {"runner": HERE, "devices": ["cpu"], **folders, **options}}}
        return RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache", parts=parts)

    return make


def test_pairs_are_scored_by_the_package_and_fail_alone(context_of: Callable[..., RunContext]) -> None:
    metric = RaTEScore(RaTEScoreOptions(), context_of())
    pairs = [
        Pair("a", "p", "heart clear", "Heart clear"),
        Pair("b", "p", "fail", "clear"),
        Pair("c", "q", "large heart", "large heart"),
        Pair("d", "q", "large heart", "small lungs"),
        Pair("e", "r", "broken \ud800", "x"),
    ]
    stats = metric.observe(pairs)
    assert stats.values.tolist() == [[0.5, 1], [0, 0], [1, 1], [0, 1], [0, 0]]
    assert stats.status[:, 0].tolist() == [OK, FAILED, OK, OK, FAILED]
    assert metric.finish(stats.values.sum(axis=0)).tolist() == [0.5]
    assert np.isnan(metric.finish(np.zeros(2))).all()
    assert metric.explain(pairs[1]) == [
        SmallTable("RaTEScore", ("no score", ""), (("why", "ValueError: no such token"),))
    ]
    shown = metric.explain(pairs[0])
    marks = [one for one in shown if isinstance(one, Mark)]
    assert [(m.side, m.start, m.end, m.kind) for m in marks] == [
        ("candidate", 0, 5, "anatomy"),
        ("candidate", 6, 11, "anatomy"),
        ("reference", 0, 5, "disease"),
        ("reference", 6, 11, "disease"),
    ]
    assert shown[-1] == SmallTable("RaTEScore", ("", ""), (("score", "0.500"),))


def test_each_part_signs(context_of: Callable[..., RunContext], tmp_path: Path) -> None:
    def sign(**options: Any) -> str:
        return RaTEScore(RaTEScoreOptions(), context_of(**options)).signature()

    first = sign()
    assert first.startswith("ratescore|annotator:")
    assert sign(timeout_s=5) == first
    assert sign(matrix="short") != first
    (tmp_path / "embedder" / "model.safetensors").write_text("another")
    assert sign() != first


def test_an_annotator_without_scores_is_told(context: RunContext) -> None:
    with pytest.raises(BenchError, match="annotator 'rules' gives no RaTEScore: use ratescore-pairs"):
        RaTEScore(RaTEScoreOptions(annotator="rules"), context).observe([Pair("a", "p", "Edema.", "Edema.")])


def test_what_is_missing_is_told_when_it_is_signed(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match=r"Angelakeke/RaTE-NER-Deberta(.|\n)*or set ner to a folder"):
        RaTEScore(RaTEScoreOptions(), context).signature()


def test_folders_that_are_not_there_are_told(context_of: Callable[..., RunContext]) -> None:
    with pytest.raises(BenchError, match=r"embedder '/no/such': no such folder"):
        RaTEScore(RaTEScoreOptions(), context_of(embedder="/no/such"))
    with pytest.raises(BenchError, match=r"is a folder, which has no revision 'v2'"):
        RaTEScore(RaTEScoreOptions(), context_of(ner_revision="v2"))


def test_assets_are_both_models_and_the_environment(context: RunContext) -> None:
    assert RaTEPairs(RaTEPairsOptions(embedder_revision="main"), context).assets() == [
        HubFiles("Angelakeke/RaTE-NER-Deberta", None, ("*.json", "*.safetensors", "spm.model")),
        HubFiles("FremyCompany/BioLORD-2023-C", "main", ("*.json", "*.safetensors", "vocab.txt")),
        WorkerScript(RaTEPairs.script),
    ]


@pytest.mark.slow
@pytest.mark.network
def test_the_workers_scores_are_the_packages(tmp_path: Path) -> None:
    bare = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
    python, rng = environment.uv_python(RaTEPairs.script, bare), random.Random(2)

    def report() -> str:
        said = (" ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 9))) for _ in range(rng.randint(1, 4)))
        return " ".join(f"{sentence.capitalize()}." for sentence in said)

    pairs = [[report(), report()] for _ in range(6)]

    call = [str(python), str(MODELS), str(tmp_path), "long"]
    done = subprocess.run(call, input=json.dumps(pairs), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout.splitlines()[-1])
    options = {"ner": str(tmp_path / "ner"), "embedder": str(tmp_path / "embedder"), "devices": ["cpu"]}
    parts: dict[str, Any] = {"annotators": {"ratescore-pairs": options}}
    metric = RaTEScore(RaTEScoreOptions(), RunContext(workdir=bare.workdir, cache_root=tmp_path / "cache", parts=parts))
    stats = metric.observe([Pair(str(i), "p", *pair) for i, pair in enumerate([["", pairs[0][1]], *pairs])])
    assert stats.values[:, 0].tolist() == [0.5, *expected]  # an empty report shifts no other
    assert len(set(expected)) > 2
    log = next(bare.workdir.glob("annotator-*/worker.log")).read_text()
    assert pairs[0][0] not in log
    assert "PyRuSH" not in log
