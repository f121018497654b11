"""RadFact: hand-worked values, statuses, what counts as an answer, the official layout, qualifying a judge."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml

from bench import statistics
from bench.context import RunContext
from bench.contracts import (
    FAILED,
    OK,
    UNDEFINED,
    Answer,
    Mark,
    Message,
    NoAnswer,
    Pair,
    Question,
    Sampling,
    SmallTable,
    Unannotated,
)
from bench.errors import BenchError, ServerLost, Unavailable
from metrics.radfact import RadFact, RadFactOptions, prompting, schemas
from metrics.radfact.entailment import Query, read_verdict
from metrics.radfact.metric import plan
from metrics.radfact.phrases import Phrase, read_phrases
from metrics.radfact.prompting import Malformed
from metrics.radfact.qualify import qualify, split_cases, spread, verdict_cases, wilson
from metrics.radfact.texts import covered, fold, locate, matching

# ------------------------------------------------------------------ a scripted model

Script = Callable[[str, int], str | NoAnswer]
"""(the last user turn, how often it was asked before) → what the model says."""


def sentences(report: str) -> list[str]:
    return [f"{part.strip()}." for part in report.split(".") if part.strip()]


def split_at_full_stops(report: str) -> str:
    return json.dumps({"sentence_list": [{"orig": s, "new": [s]} for s in sentences(report)]})


def judge_by_words(query: Mapping[str, Any]) -> dict[str, Any]:
    """Entailed where the reference holds the very statement."""
    same = [r for r in query["reference"] if fold(r) == fold(query["hypothesis"])]
    return {
        "phrase": query["hypothesis"],
        "evidence": same,
        "status": schemas.ENTAILED if same else schemas.NOT_ENTAILED,
    }


def literal(user: str, asked: int) -> str:
    """A model that splits at full stops and judges by equal words."""
    if user.startswith("{"):
        return json.dumps(judge_by_words(json.loads(user)))
    return split_at_full_stops(user)


@dataclass
class ScriptedLLM:
    """Answers from a script; asks again up to twice where the check objects, as the real layer does."""

    script: Script = literal
    asked: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    name: str = "scripted"

    def fingerprint(self) -> str:
        return self.name

    def ask(self, questions: Sequence[Question], check: Any = None, title: str = "questions") -> list[Any]:
        assert len({q.messages for q in questions}) == len(questions), "a question is asked twice"
        self.questions.extend(questions)
        return [self._one(question, check) for question in questions]

    async def answer(self, question: Question, check: Any = None) -> Any:
        return self._one(question, check)

    def missing(self, questions: Sequence[Question], check: Any = None) -> int:
        return len(questions)

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return None

    def _one(self, question: Question, check: Any) -> Answer | NoAnswer:
        user = question.messages[-1].content
        why = ""
        for attempt in range(1, 4):
            said = self.script(user, self.asked[user])
            self.asked[user] += 1
            if isinstance(said, NoAnswer):
                return said
            answer = Answer(said, json.loads(said) if question.schema else None, attempts=attempt)
            wrong = check(question, answer) if check else None
            if wrong is None:
                return answer
            why = wrong
            self.complaints.append(wrong)
        return NoAnswer("malformed", why)


class FakeAnnotator:
    def __init__(self, annotate: Callable[[str], Any]) -> None:
        self._annotate = annotate
        self.texts: list[str] = []

    def fingerprint(self) -> str:
        return "fake-annotator"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        self.texts.extend(texts)
        return [self._annotate(text) for text in texts]


class FakeContext:
    """Hands out the parts given, by spec; another spec is a KeyError."""

    def __init__(self, llms: Mapping[str, Any] | None = None, annotators: Mapping[str, Any] | None = None) -> None:
        self.llms, self.annotators = llms or {}, annotators or {}

    def llm(self, spec: str) -> Any:
        return self.llms[spec]

    def annotator(self, spec: str) -> Any:
        return self.annotators[spec]


def metric(llm: Any = None, **options: Any) -> RadFact:
    return RadFact(RadFactOptions(judge="judge", **options), FakeContext({"judge": llm or ScriptedLLM()}))  # type: ignore[arg-type]


def pair(candidate: str, reference: str, name: str = "a") -> Pair:
    return Pair(name, name, candidate, reference)


# ------------------------------------------------------------------ values


def test_a_study_by_hand() -> None:
    """Two of four candidate statements stand in the reference, two of three the other way."""
    stats = metric().observe([pair("No edema. Clear lungs. Small heart. Old clip.", "Clear lungs. No edema. No mass.")])
    assert stats.values.tolist() == [[0.5, 1.0, pytest.approx(2 / 3), 1.0]]
    assert stats.status.tolist() == [[OK, OK, OK]]


def test_f1_is_the_harmonic_mean_of_the_corpus_means() -> None:
    """Of the means, not the mean of the studies' F1 (which would be 0.4 here): P 0.5, R 0.625 -> 0.5556."""
    m = metric()
    pairs = [pair("One. Two.", "One. Two. Three. Four."), pair("Five. Six.", "Seven."), pair("", "", "empty")]
    pairs[1] = pair("Five. Six.", "Seven.", "b")
    stats = m.observe([*pairs, pair("Eight.", "Eight. Nine.", "c"), pair("Ten. Eleven.", "Ten.", "d")])
    assert stats.values[:, 0].tolist() == [1.0, 0.0, 0.0, 1.0, 0.5]
    assert stats.values[:, 2].tolist() == [0.5, 0.0, 0.0, 0.5, 1.0]
    precision, recall = 2.5 / 4, 2.0 / 4
    f1 = 2 * precision * recall / (precision + recall)
    assert m.finish(stats.values.sum(0)) == pytest.approx([precision, recall, f1])


def test_the_papers_own_row() -> None:
    """Abdulaal et al. 2024, Table 1: 35.95 and 31.95 give 33.83."""
    finished = metric().finish(np.array([0.3595, 1.0, 0.3195, 1.0]))
    assert np.round(100 * finished, 2).tolist() == [35.95, 31.95, 33.83]


def test_finish_is_vectorised_and_defines_what_is_0() -> None:
    totals = np.array([[0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 2.0]])
    finished = metric().finish(np.stack([totals, totals]))
    assert finished.shape == (2, 4, 3)
    np.testing.assert_allclose(
        finished[1], [[0, 0, 0], [np.nan, 0.5, np.nan], [np.nan, np.nan, np.nan], [1, 0.5, 2 / 3]], equal_nan=True
    )


def test_a_statement_said_twice_counts_twice_and_is_asked_once() -> None:
    llm = ScriptedLLM()
    stats = metric(llm).observe([pair("Clip. Clip. Mass.", "Clip.")])
    assert stats.values[0].tolist() == [pytest.approx(2 / 3), 1.0, 1.0, 1.0]
    assert max(llm.asked.values()) == 1


# ------------------------------------------------------------------ statuses


def test_sides_without_statements() -> None:
    """An empty candidate has no precision, and its recall is 0 without a question; nothing on both sides: undefined."""
    llm = ScriptedLLM()
    stats = metric(llm).observe([pair(" \n", "Clear lungs."), pair("Clip.", "--", "b"), pair("", "", "c")])
    assert stats.status.tolist() == [[UNDEFINED, OK, OK], [OK, UNDEFINED, OK], [UNDEFINED] * 3]
    assert stats.values.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert sorted(llm.asked) == ["Clear lungs.", "Clip."], "only the two reports were split"


def test_a_report_that_states_nothing_is_undefined_not_failed() -> None:
    def script(user: str, asked: int) -> str:
        if user == "CT is advised.":
            return json.dumps({"sentence_list": [{"orig": user, "new": [" ", ""]}]})
        return literal(user, asked)

    stats = metric(ScriptedLLM(script)).observe([pair("CT is advised.", "Clip.")])
    assert stats.status.tolist() == [[UNDEFINED, OK, OK]]
    assert stats.values.tolist() == [[0, 0, 0, 1]]


def refuse(*phrases: str) -> Script:
    def script(user: str, asked: int) -> str | NoAnswer:
        if user.startswith("{") and json.loads(user)["hypothesis"] in phrases:
            return NoAnswer("refused", "I cannot help with that")
        return literal(user, asked)

    return script


def test_a_missing_verdict_fails_its_direction_and_is_never_not_entailed() -> None:
    """ "Mass." has no verdict: precision would be 1/2 with it as not entailed; recall does not ask about it."""
    pairs = [pair("Clip. Mass.", "Clip. Wire.")]
    stats = metric(ScriptedLLM(refuse("Mass."))).observe(pairs)
    assert stats.status.tolist() == [[FAILED, OK, FAILED]]
    assert stats.values.tolist() == [[0, 0, 0.5, 1]]
    both = metric(ScriptedLLM(refuse("Mass.", "Wire."))).observe(pairs)
    assert both.status.tolist() == [[FAILED] * 3]
    assert not both.values.any()


def test_a_report_that_could_not_be_split_fails_the_directions_that_need_it() -> None:
    def script(user: str, asked: int) -> str | NoAnswer:
        return NoAnswer("too-long", "2000 tokens") if user == "Bad report." else literal(user, asked)

    llm = ScriptedLLM(script)
    stats = metric(llm).observe(
        [pair("Bad report.", "Clip."), pair("Clip.", "Bad report.", "b"), pair("", "Bad report.", "c")]
    )
    assert stats.status.tolist() == [[FAILED] * 3, [FAILED] * 3, [UNDEFINED, FAILED, FAILED]]
    assert not stats.values.any()


def test_a_side_without_statements_needs_nothing_of_the_other() -> None:
    annotate = {"Clip.": {"phrases": ["Clip."]}, "Bad.": Unannotated("no parse"), "None.": {"phrases": []}}
    context = FakeContext({"judge": ScriptedLLM()}, {"fake": FakeAnnotator(annotate.__getitem__)})
    m = RadFact(RadFactOptions(judge="judge", annotator="fake"), context)  # type: ignore[arg-type]
    stats = m.observe([pair("None.", "Bad."), pair("Bad.", "Clip.", "b")])
    assert stats.status.tolist() == [[UNDEFINED, FAILED, FAILED], [FAILED] * 3]


def test_statistics_keep_the_harness_contract() -> None:
    m = metric(ScriptedLLM(refuse("Mass.")))
    stats = m.observe([pair("Clip. Mass.", "Clip."), pair("", "Clip.", "b")])
    statistics.check(stats, 2, m.columns, "radfact")
    scores = statistics.score(stats, ["a", "b"], m.finish, draws=20, confidence=0.95, seed=0)
    assert [(s.n, s.n_undefined, s.n_failed) for s in scores] == [(0, 1, 1), (2, 0, 0), (1, 0, 1)]


def test_max_failed_is_what_the_harness_reads() -> None:
    assert metric().max_failed == 0.01
    assert metric(max_failed=0.2).max_failed == 0.2


# ------------------------------------------------------------------ verdicts


QUERY = Query.of("There is a left effusion.", ["Large left pleural effusion.", "No  Pneumothorax", "Clip in place."])


def verdict(**changes: Any) -> dict[str, Any]:
    return {"phrase": QUERY.phrase, "evidence": ["Large left pleural effusion."], "status": "entailment", **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"phrase": "there is a\nleft EFFUSION"},
        {"evidence": ["large left  pleural effusion"]},
        {"evidence": ["LARGE LEFT PLEURAL EFFUSION .", "Large left pleural effusion."]},
    ],
)
def test_evidence_is_matched_after_folding_and_given_back_verbatim(changes: dict[str, Any]) -> None:
    assert read_verdict(verdict(**changes), QUERY) == (True, ("Large left pleural effusion.",))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"evidence": []}, "needs evidence"),
        ({"evidence": ["Left pleural effusion."]}, "not in it: Left pleural effusion."),
        ({"evidence": ["Large left pleural effusion.", "No edema."]}, "not in it: No edema."),
        ({"status": "not_entailment", "evidence": ["No edema."]}, "not in it: No edema."),
        ({"phrase": "There is a right effusion."}, "word for word: There is a left effusion."),
        ({"status": "maybe"}, "status"),
        ({"evidence": "Large left pleural effusion."}, "evidence"),
    ],
)
def test_answers_that_cannot_count(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        read_verdict(verdict(**changes), QUERY)


@pytest.mark.parametrize("data", [None, [], "entailment", {}, {"status": "entailment"}])
def test_answers_of_another_shape(data: Any) -> None:
    with pytest.raises(Malformed):
        read_verdict(data, QUERY)


def test_not_entailed_needs_no_evidence() -> None:
    assert read_verdict(verdict(status="not_entailment", evidence=[]), QUERY) == (False, ())
    assert read_verdict(verdict(status="not_entailment", evidence=None), QUERY) == (False, ())


def test_invented_evidence_is_asked_again_with_the_reason_and_then_counts() -> None:
    def script(user: str, asked: int) -> str:
        said = literal(user, asked)
        if user.startswith("{") and asked == 0:
            return json.dumps({**json.loads(said), "evidence": ["The heart is a mill."]})
        return said

    llm = ScriptedLLM(script)
    stats = metric(llm).observe([pair("Clip.", "Clip. Wire.")])
    assert stats.values.tolist() == [[1, 1, 0.5, 1]]
    assert stats.status.tolist() == [[OK] * 3]
    assert len(llm.complaints) == 3
    assert all("this is not in it: The heart is a mill." in complaint for complaint in llm.complaints)


def test_invented_evidence_to_the_end_is_no_verdict() -> None:
    def script(user: str, asked: int) -> str:
        said = literal(user, asked)
        return json.dumps({**json.loads(said), "evidence": ["A mill."]}) if user.startswith("{") else said

    stats = metric(ScriptedLLM(script)).observe([pair("Clip.", "Clip.")])
    assert stats.status.tolist() == [[FAILED] * 3]


# ------------------------------------------------------------------ what is asked


def test_equal_questions_are_asked_once_over_all_pairs() -> None:
    """The set of premises counts, not their order or repetition; each text is split once."""
    llm = ScriptedLLM()
    pairs = [
        pair("Clip.", "Wire. Mass.", "a"),
        pair("Clip.", "Mass. Wire. Wire.", "b"),
        pair("Clip. Clip.", "Wire. Mass.", "c"),
    ]
    stats = metric(llm).observe(pairs)
    assert set(llm.asked.values()) == {1}
    verdicts = [json.loads(user) for user in llm.asked if user.startswith("{")]
    assert {(v["hypothesis"], *v["reference"]) for v in verdicts} == {
        ("Clip.", "Mass.", "Wire."),
        ("Wire.", "Clip."),
        ("Mass.", "Clip."),
    }
    assert len(verdicts) == 3
    assert (stats.status == OK).all()


def test_a_row_does_not_depend_on_the_other_pairs() -> None:
    pairs = [pair("B. A. C.", "C. A.", "a"), pair("A. C. B.", "A. C.", "b"), pair("", "C.", "c")]
    together = metric().observe(pairs)
    for i, one in enumerate(pairs):
        alone = metric().observe([one])
        assert alone.values.tolist() == together.values[i : i + 1].tolist()
        assert alone.status.tolist() == together.status[i : i + 1].tolist()


def test_sampling_and_schema_of_the_questions() -> None:
    llm = ScriptedLLM()
    metric(llm).observe([pair("Clip.", "Wire.")])
    assert {q.sampling.max_tokens for q in llm.questions} == {1024}
    assert {q.sampling.temperature for q in llm.questions} == {0.0}
    kinds = Counter(json.dumps(q.schema) for q in llm.questions)
    assert kinds == {json.dumps(schemas.PHRASES): 2, json.dumps(schemas.VERDICT): 2}
    for question in llm.questions:
        roles = [message.role for message in question.messages]
        assert roles == ["system", *["user", "assistant"] * ((len(roles) - 2) // 2), "user"]
        assert json.dumps(question.schema) in question.messages[0].content


def test_another_model_may_split() -> None:
    judge, splitter = ScriptedLLM(name="j"), ScriptedLLM(name="s")
    m = RadFact(RadFactOptions(judge="judge", phrases_llm="split"), FakeContext({"judge": judge, "split": splitter}))  # type: ignore[arg-type]
    m.observe([pair("Clip.", "Wire.")])
    assert sorted(splitter.asked) == ["Clip.", "Wire."]
    assert all(user.startswith("{") for user in judge.asked)
    assert "judge:j/" in m.signature()
    assert "phrases:s/" in m.signature()


def test_an_annotator_may_split() -> None:
    reader = FakeAnnotator(lambda text: {"phrases": [text, " "], "labels": {}})
    judge = ScriptedLLM()
    m = RadFact(RadFactOptions(judge="judge", annotator="mine"), FakeContext({"judge": judge}, {"mine": reader}))  # type: ignore[arg-type]
    stats = m.observe([pair("Clip.", "Clip."), pair(" ", "Clip.", "b")])
    assert stats.values.tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
    assert reader.texts == ["Clip."]
    assert "phrases:fake-annotator|" in m.signature()


def test_an_annotator_without_phrases_is_refused() -> None:
    context = FakeContext({"judge": ScriptedLLM()}, {"chexbert": FakeAnnotator(lambda text: {"labels": {}})})
    m = RadFact(RadFactOptions(judge="judge", annotator="chexbert"), context)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="'chexbert' lists no phrases"):
        m.observe([pair("Clip.", "Clip.")])


def test_two_splitters_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        RadFactOptions(annotator="rules", phrases_llm="ollama/x")


def test_building_needs_no_model_and_a_missing_one_is_said_when_it_is_needed() -> None:
    class Down(ScriptedLLM):
        def fingerprint(self) -> str:
            raise Unavailable("no server", "start it")

    m = metric(Down())
    assert np.isnan(m.finish(np.zeros(4))).all()
    with pytest.raises(Unavailable, match="no server"):
        m.signature()
    assert RadFact(RadFactOptions(), FakeContext()).columns[2].key == "RadFact"  # type: ignore[arg-type]


def test_a_lost_server_stops_the_metric() -> None:
    def script(user: str, asked: int) -> str:
        if user.startswith("{"):
            raise ServerLost("connection refused")
        return literal(user, asked)

    with pytest.raises(ServerLost):
        metric(ScriptedLLM(script)).observe([pair("Clip.", "Wire.")])


def test_the_signature_moves_with_all_that_moves_a_score(tmp_path: Path) -> None:
    signatures = {
        metric().signature(),
        metric(ScriptedLLM(name="other")).signature(),
        metric(temperature=0.5).signature(),
        metric(max_tokens=2048).signature(),
        metric(prompts=write_official(tmp_path)).signature(),
    }
    assert len(signatures) == 5
    assert metric().signature() == metric(max_failed=0.5).signature()


# ------------------------------------------------------------------ the rules as the judge


def test_the_rules_judge_without_a_model(context: RunContext) -> None:
    m = RadFact(RadFactOptions(judge="rules"), context)
    pairs = [
        pair(
            "Large left pleural effusion. No pneumothorax.", "There is a left pleural effusion. The heart is enlarged."
        ),
        pair("", "The lungs are clear.", "b"),
    ]
    stats = m.observe(pairs)
    assert stats.values.tolist() == [[0, 1, 0.5, 1], [0, 0, 0, 1]]
    assert stats.status.tolist() == [[OK] * 3, [UNDEFINED, OK, OK]]
    assert m.signature().startswith("radfact|judge:rules-")
    assert "prompts" not in m.signature()
    assert m.stand_in == "judged by the rules, without a language model"
    assert metric().stand_in is None
    (table,) = (part for part in m.explain(pairs[0]) if isinstance(part, SmallTable))
    verdicts = [row[2] for row in table.rows]
    assert verdicts == ["not entailed", "not entailed", "entailed", "not entailed"]
    assert table.rows[2][3] == table.rows[0][1], "the evidence is the other side's statement, word for word"


def test_the_rules_know_most_of_the_bundled_verdicts(context: RunContext) -> None:
    tally = qualify(RadFactOptions(judge="rules"), context, repeat=0).tallies[1]
    assert sum(tally.right) >= 0.85 * tally.n
    assert tally.missing == ()


# ------------------------------------------------------------------ statements


REPORT = "PA and lateral views.  No edema or\npneumothorax. CT is advised."


def test_statements_are_read_with_the_sentence_that_makes_them() -> None:
    data = {
        "sentence_list": [
            {"orig": "PA and lateral views.", "new": []},
            {"orig": "no edema or pneumothorax", "new": ["No edema.", " No pneumothorax. "]},
            {"orig": "CT is advised.", "new": [""]},
        ]
    }
    assert read_phrases(data, REPORT) == (
        Phrase("No edema.", "no edema or pneumothorax"),
        Phrase("No pneumothorax.", "no edema or pneumothorax"),
    )


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        (["No edema or pneumothorax. Clear lungs."], "not in it: No edema or pneumothorax. Clear lungs."),
        (["CT is advised."], "sentences of the report are missing"),
        (["CT is advised."] * 5, "more often than the report says it: CT is advised."),
        (["PA and lateral views.", "No edema or pneumothorax."], "sentences of the report are missing"),
        ([], "sentences of the report are missing"),
    ],
)
def test_splits_that_cannot_count(listed: list[str], complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        read_phrases({"sentence_list": [{"orig": s, "new": [s]} for s in listed]}, REPORT)


@pytest.mark.parametrize("data", [None, {}, {"sentence_list": [{"orig": 3}]}, {"sentence_list": "No edema."}])
def test_splits_of_another_shape(data: Any) -> None:
    with pytest.raises(Malformed):
        read_phrases(data, REPORT)


def test_what_an_answer_may_leave_out_and_repeat() -> None:
    listed = [
        {"orig": "No edema. No mass.", "new": ["No edema.", "No mass."]},
        {"orig": "No edema.", "new": ["No edema."]},
        {"orig": "...", "new": []},
    ]
    assert len(read_phrases({"sentence_list": listed}, "1. No edema. No mass. 2. No edema.")) == 3
    with pytest.raises(Malformed, match="missing"):
        read_phrases({"sentence_list": listed[:1]}, "1. No edema. No mass. 2. No edema.")
    with pytest.raises(Malformed, match="not in it"):
        read_phrases({"sentence_list": [*listed, {"orig": " ", "new": ["A mass."]}]}, "No edema. No mass. No edema.")
    twice = [{"orig": "No edema.", "new": ["No edema."]}] * 2
    assert len(read_phrases({"sentence_list": twice}, "No edema. NO EDEMA.")) == 2


def test_coverage_counts_places_once() -> None:
    assert covered(["a b", "A b."], "ab cd") == 0.5
    assert covered(["ab", "ab"], "ab ab") == 1.0
    assert covered(["abc", "bcd"], "ab cd") == 1.0
    assert covered([], " . ") == 1.0
    assert covered(["", "x"], "ab") == 0.0


def covered_slowly(parts: Sequence[str], text: str) -> float:
    """The rule as it is worded: a part takes the first of its places that is not wholly taken."""
    taken = [False] * len(text)
    for part in parts:
        for start in range(len(text) - len(part) + 1) if part else ():
            place = range(start, start + len(part))
            if text.startswith(part, start) and not all(taken[i] for i in place):
                for i in place:
                    taken[i] = True
                break
    return sum(taken) / len(text)


def test_coverage_is_that_of_the_plain_rule() -> None:
    rng = np.random.default_rng(7)
    for _ in range(400):
        text = "".join(rng.choice(list("ab"), 1 + int(rng.integers(12))))
        parts = ["".join(rng.choice(list("ab"), int(rng.integers(4)))) for _ in range(int(rng.integers(8)))]
        assert covered(parts, text) == covered_slowly(parts, text), (parts, text)


def test_a_very_long_report_is_read_in_time() -> None:
    """66,000 equal sentences, 200 kB: what is done with a pair of them must not grow with the square."""
    start = time.perf_counter()
    report = "x. " * 66_000
    phrases = read_phrases(json.loads(split_at_full_stops(report)), report)
    assert len(phrases) == 66_000
    assert len(plan(phrases, phrases).queries) == 66_000
    assert locate("y", report) is None
    assert time.perf_counter() - start < 20


def test_damaged_texts_and_answers_leave_no_lone_surrogates() -> None:
    """What a model or annotator says is compared, shown and written without them, and a damaged text can be marked."""
    assert fold("Edema \ud83d") == fold("edema ?")
    assert locate("edema ? on the", "No edema \ud83d on the left.") == (3, 17)

    def annotate(text: str) -> Any:
        return {"phrases": [text]}

    said = {"phrase": "Edema ?.", "evidence": ["Edema ?."], "status": "entailment"}
    llm = ScriptedLLM(lambda user, asked: json.dumps(said))
    m = metric(llm, annotator="mine")
    m._context.annotators = {"mine": FakeAnnotator(annotate)}  # type: ignore[attr-defined]
    ((precision, _),) = m.studies([pair("Edema \ud83d.", "Edema \ud83d.")])
    assert precision.status == OK
    assert [p.text for p in precision.phrases] == ["Edema ?."]
    listed = m.explain(pair("Edema \ud83d.", "Edema \ud83d."))
    assert str(listed).encode()
    escaped = Answer('{"a": "\\ud83d"}', {"a": ["\ud83d"]})
    assert prompting.own().entailment.read(escaped) == {"a": ["?"]}
    assert prompting.own().entailment.read(Answer(escaped.text)) == {"a": "?"}


def test_official_answers_in_yaml_leave_no_lone_surrogates(tmp_path: Path) -> None:
    task = prompting.official(write_official(tmp_path)).entailment
    assert task.read(Answer('phrase: "a \\uD83D"')) == {"phrase": "a ?"}
    with pytest.raises(Malformed, match="not valid YAML"):
        task.read(Answer("phrase: a\0"))


def test_a_model_that_alters_the_question_is_still_checked() -> None:
    """A plugin that is a whole model may hand its check other turns: the answer is then read when it is given."""

    class Altering(ScriptedLLM):
        def _one(self, question: Question, check: Any) -> Answer | NoAnswer:
            def altered(asked: Question, answer: Answer) -> str | None:
                turns = tuple(Message(m.role, m.content + "!") for m in asked.messages)
                return cast("str | None", check(Question(turns, asked.schema), answer))

            return super()._one(question, altered)

    stats = metric(Altering()).observe([pair("Clip.", "Clip.")])
    assert stats.status.tolist() == [[OK, OK, OK]]
    wrong = Altering(lambda user, asked: json.dumps({"sentence_list": [{"orig": "Other.", "new": ["Other."]}]}))
    assert metric(wrong).observe([pair("Clip.", "Clip.")]).status.tolist() == [[FAILED] * 3]


def test_folding_and_locating() -> None:
    assert fold(" No  Edema. ") == fold("no edema") != fold("no edema, no mass")
    assert locate("no edema or pneumothorax.", REPORT) == (23, 47)
    assert REPORT[23:47] == "No edema or\npneumothorax"
    assert locate("No edema.", REPORT) == (23, 31)
    assert locate("edema (mild)", REPORT) is None
    assert locate(" . ", REPORT) is None


def test_matching_reassigns() -> None:
    assert matching({0: [0, 1], 1: [0], 2: [1, 2]}) == 3
    assert matching({0: [0], 1: [0], 2: []}) == 1


# ------------------------------------------------------------------ our prompts


def test_our_examples_pass_their_own_checks() -> None:
    own = prompting.own()
    assert len(own.phrases.turns) >= 9
    assert len(own.entailment.turns) >= 24
    for report, answer in own.phrases.turns:
        assert read_phrases(json.loads(answer), report)
    held = []
    for query, answer in own.entailment.turns:
        q = json.loads(query)
        held.append(read_verdict(json.loads(answer), Query.of(q["hypothesis"], q["reference"]))[0])
    assert 0.4 <= np.mean(held) <= 0.6


def test_our_examples_cover_what_is_hard() -> None:
    stated = [s for _, answer in prompting.own().phrases.turns for s in json.loads(answer)["sentence_list"]]
    assert any(not s["new"] for s in stated)
    assert any(len(s["new"]) >= 3 for s in stated)
    said = " ".join(text for s in stated for text in s["new"]).lower()
    for word in ("no ", "left", "right", "mm", "tube", "new ", "increased", "unchanged", "normal"):
        assert word in said
    for word in ("may represent", "advised", "views", "telephone", "history"):
        assert word not in said


# ------------------------------------------------------------------ the official layout

EXAMPLES_PHRASES = [
    {
        "example_id": "one",
        "findings_text": "Two clips. No mass or edema.",
        "parsed_report": {
            "id": "one",
            "sentence_list": [
                {"orig": "Two clips.", "new": ["Two clips."]},
                {"orig": "No mass or edema.", "new": ["No mass.", ""]},
            ],
        },
        "study_id": "s",
        "example_rationale": "because",
    }
]
LONG = "There is a moderately large loculated left pleural effusion that reaches the left apex: it is new."
EXAMPLES_NLI = [
    {
        "example_id": "one",
        "study_id": "nan",
        "rationale": "r",
        "input": {"phrases_A": [LONG, "No mass."], "phrases_B": ["Left effusion."]},
        "output": {
            "phrases_A_evidenced": [
                {"evidence": [], "phrase": LONG, "status": "neutral"},
                {"evidence": ["Left effusion."], "phrase": "No mass.", "status": "contradiction"},
            ],
            "phrases_B_evidenced": [{"evidence": [LONG], "phrase": "Left effusion.", "status": "entailment"}],
        },
    }
]


def write_official(root: Path, sub: str = "cxr", within: str = "src/radfact/llm_utils") -> Path:
    phrases, nli = (root / within / step / "prompts" / sub for step in ("report_to_phrases", "nli"))
    for folder in (phrases, nli):
        folder.mkdir(parents=True, exist_ok=True)
    (phrases / "system_message.txt").write_text("Split the report.\n")
    (phrases / "few_shot_examples.json").write_text(json.dumps(EXAMPLES_PHRASES))
    (nli / "system_message_ev_singlephrase.txt").write_text("Verify the hypothesis.\n")
    (nli / "few_shot_examples.json").write_text(json.dumps(EXAMPLES_NLI))
    return root


@pytest.mark.parametrize(("sub", "within"), [("cxr", "src/radfact/llm_utils"), (".", "."), (".", "llm_utils")])
def test_the_official_files_become_the_official_chat(tmp_path: Path, sub: str, within: str) -> None:
    """What microsoft/RadFact sends: YAML with the keys in model order, A's phrases before B's, JSON of the split."""
    prompts = prompting.official(write_official(tmp_path, sub, within))
    assert prompts.source == "official"
    assert prompts.entailment.system == "Verify the hypothesis.\n"
    assert prompts.entailment.schema is None
    assert prompts.entailment.turns == (
        (
            "reference:\n- Left effusion.\nhypothesis: 'There is a moderately large loculated left pleural effusion "
            "that reaches\n  the left apex: it is new.'\n",
            "phrase: 'There is a moderately large loculated left pleural effusion that reaches\n  the left apex: it is "
            "new.'\nevidence: []\nstatus: not_entailment\n",
        ),
        (
            "reference:\n- Left effusion.\nhypothesis: No mass.\n",
            "phrase: No mass.\nevidence:\n- Left effusion.\nstatus: not_entailment\n",
        ),
        (
            "reference:\n- 'There is a moderately large loculated left pleural effusion that reaches the left\n  apex: "
            "it is new.'\n- No mass.\nhypothesis: Left effusion.\n",
            "phrase: Left effusion.\nevidence:\n- 'There is a moderately large loculated left pleural effusion that "
            "reaches the left\n  apex: it is new.'\nstatus: entailment\n",
        ),
    )
    assert prompts.phrases.system.startswith("Split the report.\n\n\n")
    assert prompts.phrases.turns == (
        (
            "Two clips. No mass or edema.",
            '{"id": "one", "sentence_list": [{"orig": "Two clips.", "new": ["Two clips."]}, '
            '{"orig": "No mass or edema.", "new": ["No mass.", ""]}]}',
        ),
    )


@pytest.mark.parametrize("fence", ["{}", "```yaml\n{}\n```", "Here you are:\n```\n{}```\nDone.", "```yml\n{}"])
def test_official_verdicts_are_read_from_yaml(tmp_path: Path, fence: str) -> None:
    def script(user: str, asked: int) -> str:
        if user.startswith("reference:"):
            return fence.format(yaml.dump(judge_by_words(yaml.safe_load(user)), sort_keys=False))
        return split_at_full_stops(user)

    m = metric(ScriptedLLM(script), prompts=write_official(tmp_path))
    assert m.observe([pair("Clip. Mass.", "Clip.")]).values.tolist() == [[0.5, 1, 1, 1]]


def test_what_is_no_yaml_is_asked_again(tmp_path: Path) -> None:
    def script(user: str, asked: int) -> str:
        return "phrase: it: is: entailed" if user.startswith("reference:") else split_at_full_stops(user)

    llm = ScriptedLLM(script)
    stats = metric(llm, prompts=write_official(tmp_path)).observe([pair("Clip.", "Clip.")])
    assert stats.status.tolist() == [[FAILED] * 3]
    assert "not valid YAML" in llm.complaints[0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "nli/prompts/few_shot_examples.json").unlink(),
            "neither .*few_shot_examples.json.* exists",
        ),
        (lambda root: (root / "nli/prompts/few_shot_examples.json").write_text("[{}]"), "0.input: Field required"),
        (lambda root: (root / "nli/prompts/few_shot_examples.json").write_text("[]"), "no worked example"),
        (lambda root: (root / "nli/prompts/few_shot_examples.json").write_text("{"), "not RadFact's worked examples"),
        (lambda root: (root / "report_to_phrases/prompts/system_message.txt").write_bytes(b"\xff"), "UTF-8"),
        (lambda root: (root / "nli/prompts").rename(root / "elsewhere"), "nli/prompts: give the root"),
    ],
)
def test_faulty_copies_are_named(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    root = write_official(tmp_path, ".", ".")
    spoil(root)
    with pytest.raises(BenchError, match=message):
        metric(prompts=root).signature()
    with pytest.raises(BenchError, match=message):
        RadFact(
            RadFactOptions(judge="rules", prompts=root), RunContext(workdir=tmp_path, cache_root=tmp_path)
        ).signature()


# ------------------------------------------------------------------ explaining


def test_explain_marks_and_lists() -> None:
    def script(user: str, asked: int) -> str | NoAnswer:
        if user == "No mass or edema. Clip.":
            new = [
                {"orig": "No mass or edema.", "new": ["No mass.", "No edema."]},
                {"orig": "Clip.", "new": ["Clip."]},
            ]
            return json.dumps({"sentence_list": new})
        return refuse("Clip.")(user, asked)

    m = metric(ScriptedLLM(script))
    parts = m.explain(pair("No mass or edema. Clip.", "No edema."))
    marks = [p for p in parts if isinstance(p, Mark)]
    assert [(x.side, x.start, x.end, x.kind) for x in marks] == [
        ("candidate", 0, 7, "not entailed"),
        ("candidate", 18, 22, "no verdict (refused)"),
        ("reference", 0, 8, "entailed"),
    ]
    (table,) = (p for p in parts if isinstance(p, SmallTable))
    assert table.rows == (
        ("precision", "No mass.", "not entailed", ""),
        ("precision", "No edema.", "entailed", "No edema."),
        ("precision", "Clip.", "no verdict (refused)", "I cannot help with that"),
        ("recall", "No edema.", "entailed", "No edema."),
    )


def test_explain_says_what_failed_and_what_is_empty() -> None:
    def script(user: str, asked: int) -> str | NoAnswer:
        return NoAnswer("empty", "nothing came")

    (table,) = metric(ScriptedLLM(script)).explain(pair("Clip.", " "))
    assert isinstance(table, SmallTable)
    assert [row[2] for row in table.rows] == ["failed", "undefined"]
    assert "nothing came" in table.rows[0][3]


# ------------------------------------------------------------------ qualifying a judge


def perfect(user: str, asked: int) -> str:
    """Knows the bundled cases."""
    if user.startswith("{"):
        query = json.loads(user)
        wanted = Query.of(query["hypothesis"], query["reference"])
        (case,) = (case for case in verdict_cases() if case.query == wanted)
        return json.dumps(
            {
                "phrase": query["hypothesis"],
                "evidence": sorted(case.evidence or ()),
                "status": schemas.NOT_ENTAILED if case.evidence is None else schemas.ENTAILED,
            }
        )
    (report,) = (case for case in split_cases() if case.report == user)
    return json.dumps({"sentence_list": [{"orig": user, "new": [e.phrase for e in report.expected]}]})


def check(script: Script, **options: Any) -> Any:
    return qualify(RadFactOptions(judge="judge"), FakeContext({"judge": ScriptedLLM(script)}), **options)  # type: ignore[arg-type]


def test_a_perfect_judge_passes() -> None:
    result = check(perfect, repeat=2)
    assert result.faults() == []
    for tally in result.tallies:
        assert all(tally.right)
        assert (tally.missing, tally.wrong) == ((), ())
        assert tally.same == tally.again == 2 * tally.n
    counted = result.counted["judge"]
    assert counted.calls == 3 * sum(tally.n for tally in result.tallies)


def changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Script:
    """A perfect judge whose verdicts are changed."""
    return lambda user, asked: (
        json.dumps(change(json.loads(perfect(user, asked)))) if user[0] == "{" else perfect(user, asked)
    )


def cite_all(user: str, asked: int) -> str:
    if user[0] != "{":
        return perfect(user, asked)
    query = json.loads(user)
    return json.dumps({"phrase": query["hypothesis"], "evidence": query["reference"], "status": "entailment"})


@pytest.mark.parametrize(
    ("script", "faults"),
    [
        (cite_all, ["24 of 49 right", "not entailed: 0 of 25 right"]),
        (changed(lambda v: {**v, "evidence": [], "status": "not_entailment"}), ["25 of 49 right", "entailed: 0 of 24"]),
        (literal, ["statements: ", "28 of 49 right"]),
        (lambda user, asked: NoAnswer("refused", "no"), ["49 of 49 without an answer", "12 of 12 without an answer"]),
        (lambda user, asked: "{}", ["0 of 49 right", "49 of 49 without an answer"]),
    ],
)
def test_bad_judges_fail(script: Script, faults: list[str]) -> None:
    found = "\n".join(check(script, repeat=0).faults())
    for fault in faults:
        assert fault in found


def test_evidence_is_part_of_a_right_verdict() -> None:
    """Entailed for a wrong reason is wrong."""
    right = {case.query.phrase: case for case in verdict_cases()}

    def other(user: str, asked: int) -> str:
        said = json.loads(perfect(user, asked))
        if user[0] != "{" or said["status"] != "entailment":
            return json.dumps(said)
        others = [p for p in right[said["phrase"]].query.premises if p not in said["evidence"]]
        return json.dumps({**said, "evidence": others or said["evidence"]})

    tally = check(other, repeat=0).tallies[1]
    assert sum(tally.right) < 30


def test_a_wavering_judge_fails() -> None:
    def script(user: str, asked: int) -> str:
        return cite_all(user, asked) if asked and user[0] == "{" else perfect(user, asked)

    result = check(script, repeat=1)
    assert all(all(tally.right) for tally in result.tallies)
    assert result.faults() == ["entailment: 24 of 49 the same when asked again, below 95%"]


def test_asking_again_goes_past_the_cache() -> None:
    llm = ScriptedLLM(perfect)
    qualify(RadFactOptions(judge="judge"), FakeContext({"judge": llm}), repeat=2, limit=3)  # type: ignore[arg-type]
    assert Counter(question.repeat for question in llm.questions) == {0: 6, 1: 6, 2: 6}


def test_the_bundled_cases_are_sound() -> None:
    verdicts, splits = verdict_cases(), split_cases()
    assert len(verdicts) >= 40
    assert len(splits) >= 10
    assert len({case.query for case in verdicts}) == len(verdicts)
    entailed = [case for case in verdicts if case.evidence is not None]
    assert 0.4 < len(entailed) / len(verdicts) < 0.6
    assert all(case.evidence and case.evidence <= {*case.query.premises} for case in entailed)
    shown = {
        json.loads(query)["hypothesis"] + str(json.loads(query)["reference"])
        for query, _ in prompting.own().entailment.turns
    }
    assert not shown & {case.query.phrase + str(list(case.query.premises)) for case in verdicts}
    assert not {report for report, _ in prompting.own().phrases.turns} & {case.report for case in splits}


def statements(*texts: str) -> tuple[Phrase, ...]:
    return tuple(Phrase(text, text) for text in texts)


def test_what_counts_as_a_right_split() -> None:
    (case,) = (case for case in split_cases() if case.kind == "speculation")
    assert case.right(statements("There is OPACITY at the left lung base.", "The right lung is clear"))
    assert case.right(statements("Opacity at the left base is present.", "The right lung is clear.", "One more."))
    assert not case.right(statements("Opacity at the left base and clear right lung."))
    assert not case.right(statements("Left base opacity.", "Right lung clear.", "Possible aspiration."))
    assert not case.right(statements("Left base opacity.", "Right lung clear.", "One.", "Two."))
    assert not case.right(statements("Right lung clear."))


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (42, 49), (1, 3)])
def test_wilsons_interval_is_scipys(right: int, n: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(right, n).proportion_ci(0.95, "wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_limit_takes_cases_of_both_answers() -> None:
    few = spread(verdict_cases(), 8)
    assert len(few) == 8
    assert {case.side for case in few} == {"entailed", "not entailed"}
    assert spread([1, 2, 3], 5) == [1, 2, 3]  # type: ignore[type-var]


# ------------------------------------------------------------------ what a run will take


def test_a_plan_counts_questions_and_asks_none() -> None:
    llm = ScriptedLLM()
    reader = FakeAnnotator(lambda text: {"phrases": [part for part in text.split(".") if part.strip()]})
    made = RadFact(RadFactOptions(judge="judge"), FakeContext({"judge": llm}, {"rules": reader}))  # type: ignore[arg-type]
    lines = {line.what: line.amount for line in made.plan(["One. Two.", "One. Two.", "Three."])}
    assert lines["statements: questions, about"] == 2 + 3  # different references, and a candidate a case
    assert lines["verdicts: questions, about"] == 2 * (2 + 2 + 1)  # the candidates taken to be like the references
    prompt = sum(len(m.content) for m in prompting.own().entailment.question("", Sampling()).messages)
    assert lines["verdicts: prompt tokens, about"] == 10 * (prompt + 8) // 4
    assert not any("cost" in what for what in lines)
    assert llm.questions == []


def test_a_plan_of_the_rules_takes_nothing() -> None:
    context = FakeContext({}, {"rules": FakeAnnotator(lambda text: {"phrases": []})})
    assert RadFact(RadFactOptions(judge="rules"), context).plan(["One."]) == []  # type: ignore[arg-type]
