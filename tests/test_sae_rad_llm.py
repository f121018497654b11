from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llm_servers import OpenAIServer
from sae_world import ENCODER, FINDINGS, SAE, Training, world

from bench.context import RunContext
from bench.contracts import LLM, Case, NoAnswer, Prior
from bench.errors import BenchError
from systems.sae_rad import SAERad, describe_llm
from systems.sae_rad.controls import NoFeatures, OtherImage, RawNeurons, UntrainedSAE

torch = pytest.importorskip("torch")


WHAT = ("features described", "reports composed")


def scripted(prompt: str) -> str:
    """Describe by the finding most reports name; compose by joining what the features say."""
    if "<current_chest_x_ray>" in prompt:
        said = re.findall(r"importance score [\d.]+:\n(.*)", prompt)
        return " ".join(text.removeprefix("This feature represents ") for text in said[:6])
    if "no description of the image" in prompt:
        return "The heart is normal in size."
    [(most, _)] = Counter(s for s in FINDINGS for _ in range(prompt.count(s))).most_common(1)
    return f"All of them name one thing.\n*This feature represents {most}"


def asks_to_describe(body: dict[str, Any]) -> bool:
    return "*This feature represents ..." in body["messages"][0]["content"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("llm")


@pytest.fixture(scope="module")
def training(place: Path) -> Training:
    return world(place / "train", "t", 240, 0)


@pytest.fixture(scope="module")
def testing(place: Path) -> Training:
    return world(place / "test", "q", 40, 1)


@pytest.fixture(scope="module")
def trained(place: Path, training: Training) -> Path:
    """A cache that holds embeddings and autoencoder."""
    made("http://127.0.0.1:9", place / "cache").prepare(training)
    return place / "cache"


@pytest.fixture
def cache(trained: Path, tmp_path: Path) -> Path:
    """A cache of the test's own, without any answer, and nothing left to train."""
    return Path(shutil.copytree(trained, tmp_path / "trained"))


def made(url: str, cache: Path, kind: type[SAERad] = SAERad, **options: Any) -> SAERad:
    llms = {"writer": {"use": "openai/judge", "base_url": f"{url}/v1", "concurrency": 1, "attempts": 2, "retries": 0}}
    context = RunContext(workdir=cache / "work", cache_root=cache, parts={"llms": llms})
    chosen = {
        "encoder": ENCODER,
        "sae": SAE,
        "describe": {"by": "llm", "llm": "writer", **options.get("describe", {})},
        "compose": {"by": "llm", "llm": "writer", **options.get("compose", {})},
    }
    return kind(kind.Options.model_validate(chosen), context)


def planned(system: SAERad, training: Training, cases: list[Case]) -> dict[str, float]:
    return {line.what: line.amount for line in system.plan(training, cases)}


def test_reports_by_a_language_model(cache: Path, training: Training, testing: Training) -> None:
    with OpenAIServer(scripted) as server:
        system = made(server.url, cache)
        system.prepare(training)
        reports = list(system.generate(testing.cases))
    said = [{s for s in FINDINGS if s in report.text} for report in reports]
    true = [{s for s in FINDINGS if s in testing.references[case.id]} for case in testing.cases]
    hits = sum(len(s & t) for s, t in zip(said, true, strict=True))
    assert 2 * hits / (sum(map(len, said)) + sum(map(len, true))) > 0.7
    assert all(report.error is None for report in reports)
    for report in reports:
        assert all(e.text.startswith("This feature represents ") for e in report.evidence)
    assert system.stand_in == ""


def test_the_calls_of_a_dry_run_are_those_that_happen(tmp_path: Path, training: Training, testing: Training) -> None:
    cases = list(testing.cases)
    with OpenAIServer(scripted) as server:
        cache = tmp_path / "cache"
        bound = planned(made(server.url, cache), training, cases)
        assert bound["features described: questions to the language model, at most"] == 12
        assert not (cache / "sae").exists()  # nothing was trained for the plan
        assert server.asked == []
        made(server.url, cache).prepare(training)
        made(server.url, cache)._context.embeddings(ENCODER, cases)
        plan = planned(made(server.url, cache), training, cases)
        assert server.asked == []
        system = made(server.url, cache)
        system.prepare(training)
        list(system.generate(cases[:15]))
        part = len(server.asked)
        rest = planned(made(server.url, cache), training, cases)
        system.describe(range(12))
        described = sum(map(asks_to_describe, server.asked))
        again = made(server.url, cache)
        again.prepare(training)
        list(again.generate(cases))
    calls = [plan[f"{what}: questions to the language model"] for what in ("features described", "reports composed")]
    assert calls[0] == described
    composed = [body for body in server.asked if not asks_to_describe(body)]
    prompts = Counter(json.dumps(body["messages"]) for body in server.asked)
    assert set(prompts.values()) == {1}  # nothing was asked twice
    assert calls[1] == len(cases) >= len(composed)  # cases with equal features share one question
    later = [asks_to_describe(body) for body in server.asked[part:]]
    assert rest["features described: questions to the language model"] <= 12 - min(12, part - 15)
    assert rest["reports composed: questions to the language model"] == later.count(False) == 25
    assert planned(again, training, cases)["reports composed: questions to the language model"] == 0


def test_a_plan_counts_kept_answers_that_can_no_longer_be_used_and_asks_none(
    tmp_path: Path, cache: Path, training: Training, testing: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("<current_chest_x_ray>\n{features}\n</current_chest_x_ray>\nWrite the findings.\n")
    cases, cache = list(testing.cases[:20]), cache
    with OpenAIServer(scripted) as server:

        def run(most: int) -> SAERad:
            return made(server.url, cache, compose={"template": str(mine), "max_sentences": most})

        def plan(most: int) -> list[float]:
            found = planned(run(most), training, cases)
            return [found[f"{what}: questions to the language model"] for what in WHAT]

        first = run(6)
        first.prepare(training)
        texts = [report.text for report in first.generate(cases)]
        assert plan(6) == [0, 0]
        asked = len(server.asked)
        longer = sum(text.count(".") > 2 for text in texts)
        assert 0 < longer < len(texts)
        assert plan(2) == [0, longer]  # the prompt is the same, but what was answered is too long now
        monkeypatch.setattr(describe_llm, "LONGEST", 60)
        described, _ = plan(6)
        assert 0 < described < 12
        assert len(server.asked) == asked


def test_cases_that_will_be_one_question_are_counted_once(cache: Path, training: Training) -> None:
    twins = [*training.cases[:5], *(replace(case, id=f"{case.id} again") for case in training.cases[:5])]
    with OpenAIServer(scripted) as server:
        made(server.url, cache).prepare(training)
        plan = planned(made(server.url, cache), training, twins)
        system = made(server.url, cache)
        system.prepare(training)
        list(system.generate(twins))
    composed = sum(not asks_to_describe(body) for body in server.asked)
    assert plan["reports composed: questions to the language model"] == composed == 5


def test_what_a_control_describes_is_not_taken_for_what_the_autoencoder_has_described(
    cache: Path, training: Training
) -> None:
    def shared(kind: type[SAERad], what: str = "features described", **options: Any) -> list[str]:
        lines = made("http://127.0.0.1:9", cache, kind, **options).plan(training, [])
        return [line.shared for line in lines if line.what.startswith(what)]

    assert shared(SAERad) == shared(SAERad, compose={"threshold": 0.5})
    assert shared(SAERad) == shared(OtherImage)
    assert shared(SAERad) != shared(RawNeurons)
    assert shared(UntrainedSAE) != shared(RawNeurons)
    other = {"describe": {"images": 3}}
    assert shared(SAERad) != shared(SAERad, **other)
    assert shared(SAERad, "SAE training") == shared(SAERad, "SAE training", **other)


def test_a_describer_stopped_half_way_goes_on_without_asking_again(
    cache: Path, training: Training, testing: Training
) -> None:
    with OpenAIServer(scripted) as server:
        server.dies_after = 4
        system = made(server.url, cache)
        system.prepare(training)
        with pytest.raises(BenchError, match="the same command continues"):
            list(system.generate(testing.cases))
        first = [json.dumps(body["messages"]) for body in server.asked]
        port = server.port
    with OpenAIServer(scripted, port=port) as server:
        again = made(server.url, cache)
        again.prepare(training)
        list(again.generate(testing.cases))
        second = [json.dumps(body["messages"]) for body in server.asked]
    assert len(first) == 4
    assert not set(first) & set(second)
    assert len(second) > 8


def test_too_many_features_without_a_description_stop_the_run(
    cache: Path, training: Training, testing: Training
) -> None:
    with OpenAIServer(lambda _: "I see no asterisk.") as server:
        system = made(server.url, cache)
        system.prepare(training)
        with pytest.raises(BenchError, match=r"(\d+) of \1 features got no description .*malformed.*asterisk"):
            list(system.generate(testing.cases))
        kept = made(server.url, cache, describe={"max_failed": 1.0})
        kept.prepare(training)
        reports = list(kept.generate(testing.cases[:3]))
    for report in reports:
        assert (report.text, report.error) == ("", None)  # nothing was told, so nothing was invented
        note, *features = report.evidence
        assert (note.kind, note.text) == ("note", "No active feature has a description: nothing was composed.")
        assert features
        assert all(e.text.startswith("(no description: malformed: ") for e in features)
    assert any(p.why.startswith("not described: malformed") for p in kept._context.problems.values())  # type: ignore[attr-defined]


def test_a_report_that_was_not_composed_is_an_error_of_its_case(
    cache: Path, training: Training, testing: Training
) -> None:
    def answer(prompt: str) -> str:
        composing = "<current_chest_x_ray>" in prompt
        odd = "cannot be used" in prompt or (composing and FINDINGS[5] in prompt)
        return "The feature is odd." if odd else scripted(prompt)

    with OpenAIServer(answer) as server:
        system = made(server.url, cache)
        system.prepare(training)
        reports = list(system.generate(testing.cases))
    failed = [report for report in reports if report.error]
    assert 0 < len(failed) < len(reports)
    assert all("no report was composed: malformed" in str(report.error) for report in failed)
    assert all(not report.text and report.evidence for report in failed)


def test_descriptions_of_a_language_model_are_joined_without_their_lead_in(
    cache: Path, training: Training, testing: Training
) -> None:
    with OpenAIServer(scripted) as server:
        system = made(server.url, cache, compose={"by": "concat", "llm": None})
        system.prepare(training)
        reports = list(system.generate(testing.cases))
        assert system.stand_in == "reports composed without a language model"
    assert all("represents" not in report.text for report in reports)
    assert len({report.text for report in reports}) > 5


def test_no_features_is_told_indication_and_earlier_reports_only(tmp_path: Path, training: Training) -> None:
    cases = [
        Case(
            f"c{k}", f"p{k}", training.cases[k].images, indication=f"Cough {k}.", priors=(Prior(f"Old {k}.", None, 61),)
        )
        for k in range(3)
    ]
    with OpenAIServer(scripted) as server:
        context = {"compose": {"context": ["indication", "priors"]}}
        system = made(server.url, tmp_path / "cache", NoFeatures, **context)
        system.prepare(training)
        assert planned(system, training, cases)["reports composed: questions to the language model"] == 3
        reports = list(system.generate(cases))
        prompts = [body["messages"][0]["content"] for body in server.asked]
    assert [report.text for report in reports] == ["The heart is normal in size."] * 3
    assert sorted(p for p in prompts if "current_chest" in p) == []
    for k in range(3):
        assert sum(f"Cough {k}." in p and f"Old {k}." in p and "1 hour and 1 minute" in p for p in prompts) == 1
    assert not (tmp_path / "cache" / "sae").exists()
    assert [e.kind for e in reports[0].evidence] == ["note"]


def test_prompts_and_models_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("Say what these share, after an asterisk.\n{reports}\n")
    with OpenAIServer(scripted) as server:
        ours = made(server.url, tmp_path / "cache").fingerprint()
        own = made(server.url, tmp_path / "cache", describe={"template": str(mine)}).fingerprint()
        moved_file = tmp_path / "moved.txt"
        moved_file.write_text(mine.read_text())
        same = made(server.url, tmp_path / "cache", describe={"template": str(moved_file)}).fingerprint()
        mine.write_text("Say what these have in common, after an asterisk.\n{reports}\n")
        changed = made(server.url, tmp_path / "cache", describe={"template": str(mine)}).fingerprint()
    with OpenAIServer(scripted, entry={"id": "judge", "created": 2}) as other:
        moved = made(other.url, tmp_path / "cache").fingerprint()
    assert len({ours, own, changed, moved}) == 4
    assert same == own  # the words count, not the file's name


def test_a_model_outside_the_contract_is_read_too(cache: Path, training: Training, testing: Training) -> None:
    """A plugin that is a whole LLM itself, and answers without any check."""

    class Mute:
        def fingerprint(self) -> str:
            return "mute"

        def ask(self, questions: Any, check: Any = None, title: str = "") -> list[NoAnswer]:
            return [NoAnswer("refused", "no") for _ in questions]

    system = made("http://127.0.0.1:9", cache)
    mute: LLM = Mute()  # type: ignore[assignment]
    system._context.llm = lambda spec: mute  # type: ignore[method-assign]
    system.prepare(training)
    with pytest.raises(BenchError, match=r"refused, e\.g\. feature"):
        list(system.generate(testing.cases))
