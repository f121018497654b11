"""GREEN: the published question, answers counted as the published code does, judges in a worker or behind a server."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llm_servers import OpenAIServer
from worker_world import HERE

from bench.context import RunContext
from bench.contracts import FAILED, OK, HubFiles, Pair, SmallTable, WorkerScript
from bench.errors import BenchError, Unavailable
from bench.workers import environment
from metrics.green import GREEN, GreenAnswers
from metrics.green.annotator import GreenAnswersOptions
from metrics.green.asking import ERRORS, Malformed, prompt, read
from metrics.green.metric import GREENOptions

MODELS = Path(__file__).with_name("green_model.py")
JUDGE = '''# /// script
# requires-python = ">=3.8"
# dependencies = []
# ///
"""Stands in for GREEN's model: says what is written between bars in the candidate, and keeps a diary."""

import os

from bench_worker import serve


class Judge:
    def __init__(self, options, device):
        self.diary = os.path.join(options["model"], "diary")

    def annotate(self, texts):
        return [self.one(text) for text in texts]

    def one(self, text):
        with open(self.diary, "a") as diary:
            diary.write("asked\\n")
        said = text.split("|")[1]
        if said == "raise":
            raise ValueError("too long a question")
        return {"answer": said.replace("~", "\\n")}


if __name__ == "__main__":
    serve(Judge)
'''


def answer(matched: str = "2. Edema; effusion.", significant: str = "", insignificant: str = "None.") -> str:
    lines = significant or "\n".join(f"{kind}: {int(kind[1] in 'bd')}." for kind in ERRORS)
    return (
        f"[Explanation]:\nOne is missed.\n\n[Clinically Significant Errors]:\n{lines}\n\n"
        f"[Clinically Insignificant Errors]:\n{insignificant}\n\n[Matched Findings]:\n{matched}"
    )


# ------------------------------------------------------------------ question and answer


def test_the_question_is_the_published_one_to_the_byte() -> None:
    said = hashlib.sha256(prompt("The heart is large.", "Clear.", 300).encode()).hexdigest()
    assert said == "8c4c9bb20eb499ba50ce88f6565d42c543da47e228f87094a0bcf91796de4a6c"  # make_prompt of radeval 2.2.1


def test_reports_are_folded_and_cut_and_never_read_as_a_template() -> None:
    assert prompt(" a \n b\tc ", "x", 2) == prompt("a b", "x", None)
    assert "{candidate} {0}" in prompt("{candidate} {0}", "x", None)


@pytest.mark.parametrize(
    ("text", "matched", "significant", "score"),  # as compute_green of the published code
    [
        (answer(), 2, (0, 1, 0, 1, 0, 0), 0.5),
        (answer("0."), 0, (0, 1, 0, 1, 0, 0), 0.0),
        (answer("No matched findings."), 0, (0, 1, 0, 1, 0, 0), 0.0),
        (answer("3. a", "None."), 3, (0,) * 6, 1.0),
        (answer("0.", "None."), 0, (0,) * 6, 0.0),
        (answer("1. a", "(f) Omitting: 2. x\n(a) False: 1. y"), 1, (1, 0, 0, 0, 0, 2), 0.25),
        (answer("1. a", "(1) False: 2. b: 9. c\n(6) Omitting: 1. d"), 1, (2, 0, 0, 0, 0, 1), 0.25),
        (answer("1. a", "(a) False report: none\n(b) Missing: 3. x"), 1, (0, 3, 0, 0, 0, 0), 0.25),
        ("[Explanation]: first try\n\n<|assistant|>\n" + answer() + "</s>", 2, (0, 1, 0, 1, 0, 0), 0.5),
    ],
)
def test_an_answer_is_counted(text: str, matched: int, significant: tuple[int, ...], score: float) -> None:
    counted = read(text)
    assert (counted.matched, counted.significant, counted.score) == (matched, significant, score)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"no section \[Matched"),
        ("The reports agree.", r"no section \[Matched"),
        (answer().replace("[Clinically Significant Errors]", "Errors"), r"no section \[Clinically Significant"),
        (answer("- edema"), "does not begin with a number"),
        (answer("2 findings"), "does not begin with a number"),
        (answer("2. a", "nothing to list"), "has no line"),
        (answer("2. a", "\n"), "is empty"),
        (answer().partition("[Matched")[0], r"no section \[Matched"),
    ],
)
def test_an_answer_without_counts_is_no_zero(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(text)


# ------------------------------------------------------------------ the worker


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], RunContext]:
    """Give contexts that share a cache, whose annotator runs the script above."""
    script, folder = tmp_path / "judge.py", tmp_path / "weights"
    script.write_text(JUDGE)
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(GreenAnswers, "script", script)
    monkeypatch.setattr("bench.workers.worker.Weights.identity", lambda self, context: self.model)
    parts = {"annotators": {"green": {"model": str(folder), "runner": HERE, "devices": ["cpu"]}}}
    return lambda: RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache", parts=parts)


def pairs_of(*said: str) -> list[Pair]:
    folded = [" ".join(one.replace("\n", "~").split()) for one in said]
    return [Pair(f"c{i}", f"p{i}", f"Edema. |{one}| {i}", "Effusion.") for i, one in enumerate(folded)]


def test_pairs_are_scored_and_what_cannot_be_read_fails_alone(judged: Callable[[], RunContext], tmp_path: Path) -> None:
    metric = GREEN(GREENOptions(), judged())
    pairs = pairs_of(answer(), "I cannot say.", answer("0."), "raise")
    stats = metric.observe(pairs)
    assert stats.status[:, 0].tolist() == [OK, FAILED, OK, FAILED]
    assert stats.values.tolist() == [
        [0.5, 1, 2, 0, 1, 0, 1, 0, 0],
        [0] * 9,
        [0, 1, 0, 0, 1, 0, 1, 0, 0],
        [0] * 9,
    ]
    totals = stats.values.sum(axis=0)
    assert metric.finish(totals).tolist() == [0.25]
    assert np.isnan(metric.finish(np.zeros((1, 9)))).all()
    assert metric.tables(totals)[0].rows[:2] == (("matched findings", "2", "1.00"), (ERRORS[0], "0", "0.00"))
    assert metric.explain(pairs[1])[0] == SmallTable(
        "GREEN", ("no counts", ""), (("why", "the answer has no section [Matched Findings]"),)
    )
    (table,) = metric.explain(pairs[0])
    assert isinstance(table, SmallTable)
    assert table.rows[0] == ("matched findings", "2", "", "2. Edema; effusion.")
    assert table.rows[2] == (ERRORS[1], "1", "0", "")
    assert table.rows[-1] == ("score", "0.500", "", "One is missed.")
    asked = len((tmp_path / "weights" / "diary").read_text().splitlines())
    np.testing.assert_array_equal(GREEN(GREENOptions(), judged()).observe(pairs).values, stats.values)
    again = len((tmp_path / "weights" / "diary").read_text().splitlines()) - asked
    assert again == 1  # the one that failed in the worker: the others' answers are kept


def test_the_signature_tells_model_and_words(judged: Callable[[], RunContext]) -> None:
    signature = GREEN(GREENOptions(), judged()).signature()
    assert signature.startswith("green|judge:")
    assert signature.endswith("|prompt:published|max-words:300|v:1")
    assert GREEN(GREENOptions(max_words=None), judged()).signature() != signature


def test_an_annotator_that_gives_no_answers_is_told(context: RunContext) -> None:
    with pytest.raises(BenchError, match="annotator 'rules' gives no answers: use green"):
        GREEN(GREENOptions(annotator="rules"), context).observe([Pair("a", "p", "Edema.", "Edema.")])


def test_what_is_missing_is_told_when_it_is_signed(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="StanfordAIMI/GREEN-RadLlama2-7b"):
        GREEN(GREENOptions(), context).signature()


def test_assets_are_the_weights_and_the_environment(context: RunContext) -> None:
    weights = HubFiles("StanfordAIMI/GREEN-RadLlama2-7b", None, ("*.json", "*.safetensors", "tokenizer.model"))
    assert GreenAnswers(GreenAnswersOptions(), context).assets() == [weights, WorkerScript(GreenAnswers.script)]


# ------------------------------------------------------------------ a chat model


def chat_context(tmp_path: Path, url: str, credentialed: bool = False) -> RunContext:
    parts = {"llms": {"judge": {"use": "openai/judge", "base_url": f"{url}/v1", "attempts": 2}}}
    context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache", parts=parts)
    context.credentialed = credentialed
    return context


def test_a_chat_model_is_asked_the_same_and_again_where_it_cannot_be_read(tmp_path: Path) -> None:
    with OpenAIServer(lambda said: answer() if "Follow the format" in said or "Clear" in said else "Hm.") as server:
        metric = GREEN(GREENOptions(judge="judge"), chat_context(tmp_path, server.url, credentialed=True))
        pairs = [Pair("a", "p", "Clear.", "Large heart."), Pair("b", "q", "Edema.", "Large heart.")]
        stats = metric.observe(pairs)
        assert stats.values[:, 0].tolist() == [0.5, 0.5]
        first = {asked["messages"][-1]["content"] for asked in server.asked if len(asked["messages"]) == 1}
        assert first == {prompt("Large heart.", pair.candidate, 300) for pair in pairs}
        assert {asked["temperature"] for asked in server.asked} == {0}
        assert "max-tokens:1024" in metric.signature()
        assert metric.plan(["Clear."])[0].what == "GREEN: questions, about"
        n = len(server.asked)
        again = GREEN(GREENOptions(judge="judge"), chat_context(tmp_path, server.url)).observe(pairs)
        assert (len(server.asked), again.values.tolist()) == (n, stats.values.tolist())


def test_an_answer_that_stays_unreadable_fails_its_pair(tmp_path: Path) -> None:
    with OpenAIServer(lambda said: "Hm.") as server:
        metric = GREEN(GREENOptions(judge="judge"), chat_context(tmp_path, server.url))
        stats = metric.observe([Pair("a", "p", "Clear.", "Large heart.")])
        assert (stats.status.tolist(), stats.values.any()) == ([[FAILED]], False)


def test_credentialed_text_goes_to_no_server_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"credentialed"):
        GREEN(GREENOptions(judge="judge"), chat_context(tmp_path, "http://judge.example", credentialed=True))


# ------------------------------------------------------------------ the real environment


@pytest.mark.slow
@pytest.mark.network
def test_the_workers_answers_are_the_likeliest_words_one_by_one(tmp_path: Path) -> None:
    bare = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
    python, folder = environment.uv_python(GreenAnswers.script, bare), tmp_path / "tiny"
    questions = ["Which errors are there? ", "No pleural effusion. " * 3, "The heart is enlarged. The lungs are clear."]

    def models(what: str, *more: str) -> str:
        call = [str(python), str(MODELS), what, str(folder), *more]
        done = subprocess.run(call, input=json.dumps(questions), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    models("save")
    expected = [json.loads(line) for line in models("answers", "120").splitlines()]
    assert len(set(expected)) == 3
    options = {"model": str(folder), "devices": ["cpu"], "max_length": 120, "batch_size": 3}
    parts: dict[str, Any] = {"annotators": {"green": options}}
    context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache", parts=parts)
    made = context.annotator("green").annotate([*questions, "far too long " * 200])
    assert [one["answer"] for one in made[:3]] == expected
    assert "leaves no token" in made[3].why
    settings = context.built("annotator")["green"]._worker.details()["settings"]
    assert settings["asked"] == "<|user|>\n…</s>\n<|assistant|>\n</s>\n<|assistant|>\n"
