"""Features taken away and put in, where it is known which sentence is whose."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llm_servers as servers
import numpy as np
import planted_sae as planted
import pytest

from bench import store
from bench.cli import run_command
from bench.contracts import Case, Image, NoAnswer
from systems.sae_rad import opened
from systems.sae_rad.cli_faithfulness import faithfulness
from systems.sae_rad.compose import Draft
from systems.sae_rad.describe import Description
from systems.sae_rad.evidence import faithfulness as part
from systems.sae_rad.evidence.faithfulness import Probe, Trial
from systems.sae_rad.sentences import split
from systems.sae_rad.vectors import SentenceSpace

pytest.importorskip("torch")

CASE = Case("c", "p", (Image(Path("x"), "PA"),))
EFFUSION, HEART, LUNGS, PACEMAKER = (planted.FINDINGS[k] for k in (0, 1, 3, 4))

# ------------------------------------------------------------------ the parts, by hand


def test_importances_without_a_feature_are_shares_of_the_highest_left() -> None:
    features = [(4, 1.0), (2, 0.5), (9, 0.25)]
    assert part.without(features, 4) == [(2, 1.0), (9, 0.5)]
    assert part.without(features, 9) == [(4, 1.0), (2, 0.5)]
    assert part.without([(4, 1.0)], 4) == []
    assert part.inserted(features, 3) == [(3, 1.0), (4, 1.0), (2, 0.5), (9, 0.25)]


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [(1.0, "kept"), (0.8, "kept"), (0.79, "changed"), (0.5, "changed"), (0.49, "gone"), (0.0, "gone")],
)
def test_outcomes_by_hand(similarity: float, expected: str) -> None:
    assert part.outcome(similarity) == expected


class Handmade:
    """As much of a system as the trials need: given descriptions, and a composer that is a function."""

    def __init__(self, said: dict[int, str], compose: Callable[[Draft], str | NoAnswer]) -> None:
        self.said, self._compose, self.composed = said, compose, []  # type: ignore[var-annotated]
        self.space = SentenceSpace([" ".join(planted.FINDINGS)] * 3 + list(planted.FINDINGS), 0)

    def description(self, feature: int) -> str:
        return self.said[feature]

    def draft(self, case: Case, features: Any) -> Draft:
        from systems.sae_rad.compose import ActiveFeature

        return Draft(case, tuple(ActiveFeature(f, w, self.said[f]) for f, w in features))

    def compose(self, drafts: Any) -> list[str | NoAnswer]:
        self.composed += drafts
        return [self._compose(draft) for draft in drafts]


def faithful(draft: Draft) -> str:
    return " ".join(dict.fromkeys(active.description for active in draft.features))


def examine(system: Handmade, trial: Trial, features: Any = ((0, 1.0), (1, 0.5))) -> dict[str, Any]:
    (lines,) = part.examine(system, [Probe(CASE, list(features), (trial,))])  # type: ignore[arg-type]
    (line,) = lines
    return line


SAID = {0: EFFUSION, 1: HEART, 2: EFFUSION, 3: LUNGS, 4: ""}


def test_a_faithful_composer_loses_and_gains_the_sentence() -> None:
    line = examine(Handmade(SAID, faithful), Trial(0, 1, 3))
    assert line == {
        "case": "c", "group": "p", "feature": 0, "importance": 1.0, "description": EFFUSION,
        "sentence": EFFUSION.rstrip("."), "similarity": 1.0, "backed": False, "ablated": "gone",
        "control_feature": 1, "control": "kept", "inserted_feature": 3, "inserted": "appeared", "failed": None,
    }  # fmt: skip


def test_a_composer_that_looks_at_nothing_keeps_everything() -> None:
    line = examine(Handmade(SAID, lambda draft: f"{EFFUSION} {HEART}"), Trial(0, 1, 3))
    assert (line["ablated"], line["control"], line["inserted"]) == ("kept", "kept", "absent")


def test_a_sentence_that_another_feature_says_is_kept_and_backed() -> None:
    line = examine(Handmade(SAID, faithful), Trial(0, 1, 3), [(0, 1.0), (1, 0.5), (2, 0.4)])
    assert (line["backed"], line["ablated"], line["control"]) == (True, "kept", "kept")


def test_half_a_sentence_left_is_a_change() -> None:
    half = "A small pleural effusion."
    system = Handmade(SAID, lambda draft: faithful(draft) if draft.features[0].feature == 0 else f"{half} {HEART}")
    line = examine(system, Trial(0, None, None))
    assert 0.5 <= float(system.space.similarity([EFFUSION], [half])[0, 0]) < 0.8
    assert (line["ablated"], line["control"], line["inserted"]) == ("changed", None, None)


def test_a_feature_without_a_sentence_costs_no_report() -> None:
    system = Handmade(SAID, lambda draft: HEART)
    line = examine(system, Trial(0, 1, 4))  # feature 4 has no description
    assert (line["sentence"], line["backed"], line["ablated"], line["control"]) == (None, None, None, None)
    assert line["inserted"] is None
    assert len(system.composed) == 1


def test_without_its_only_feature_a_report_is_empty_and_not_composed() -> None:
    system = Handmade(SAID, faithful)
    assert examine(system, Trial(0, None, None), [(0, 1.0)])["ablated"] == "gone"
    assert len(system.composed) == Probe(CASE, [(0, 1.0)], (Trial(0, None, None),)).compositions() == 1


def test_what_the_report_says_already_is_not_inserted() -> None:
    system = Handmade(SAID, faithful)
    assert examine(system, Trial(1, None, 2))["inserted"] == "already"
    assert len(system.composed) == 2


def test_a_report_that_fails_fails_its_trials_only() -> None:
    lost = NoAnswer("failed", "lost")
    line = examine(Handmade(SAID, lambda draft: lost), Trial(0, 1, 3))
    assert (line["sentence"], line["ablated"], line["failed"]) == (None, None, "failed: lost")
    system = Handmade(SAID, lambda draft: lost if len(draft.features) == 3 else faithful(draft))
    line = examine(system, Trial(0, 1, 3))
    assert (line["ablated"], line["inserted"], line["failed"]) == ("gone", None, "failed: lost")


def line_of(group: str, ablated: str | None, control: str | None, **more: Any) -> dict[str, Any]:
    common = {
        "feature": 1,
        "description": "d",
        "sentence": "s" if ablated else None,
        "backed": False if ablated else None,
    }
    return {**common, "group": group, "ablated": ablated, "control": control, "inserted": None, **more}


LINES = [
    line_of("a", "gone", "kept", inserted="appeared", inserted_feature=7),
    line_of("a", "gone", "gone", inserted="absent", inserted_feature=7),
    line_of("b", "kept", "kept", backed=True, inserted="already", inserted_feature=8),
    line_of("b", "changed", None),
    line_of("c", None, None),
    line_of("c", None, None, description="", feature=2),
    {"feature": None, "group": "d"},
]


def test_rates_by_hand() -> None:
    found = part.rates(LINES, draws=400, seed=0)
    values = {name: (rate["value"], rate["n"]) for name, rate in found.items()}
    assert values == {
        "attributed": (0.8, 5),
        "gone": (0.5, 4),
        "changed": (0.25, 4),
        "kept": (0.25, 4),
        "backed": (0.25, 4),
        "kept_backed": (0.25, 4),
        "gone_unbacked": (pytest.approx(2 / 3), 3),
        "control_gone": (pytest.approx(1 / 3), 3),
        "effect": (pytest.approx(1 / 3), 3),
        "appeared": (0.5, 2),
        "already": (pytest.approx(1 / 3), 3),
    }
    assert 0.0 <= found["gone"]["ci_low"] < 0.5 < found["gone"]["ci_high"] <= 1.0
    assert found == part.rates(LINES, draws=400, seed=0)
    assert all(rate["value"] is None and rate["n"] == 0 for rate in part.rates([], draws=10, seed=0).values())


def test_counts_by_feature_by_hand() -> None:
    found = part.by_feature(LINES)
    zero = dict.fromkeys(part.COUNTS, 0)
    assert found == {
        "1": {**zero, "tested": 5, "sentences": 4, "backed": 1, "gone": 2, "changed": 1, "kept": 1, "control_gone": 1},
        "2": {**zero, "tested": 1},
        "7": {**zero, "inserted": 2, "appeared": 1, "absent": 1},
        "8": {**zero, "inserted": 1, "already": 1},
    }


# ------------------------------------------------------------------ the command


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    Path("bench.yaml").write_text(planted.CONFIG)

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        asked = [str(argument) for argument in arguments]
        code = run_command(lambda: faithfulness.main(args=asked, standalone_mode=False))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


def lines_of(folder: str) -> list[dict[str, Any]]:
    return store.read_lines(Path(folder) / part.LINES)


def test_planted_features_are_reported_faithfully(run: Callable[..., Ran]) -> None:
    done = run("--out", "out")
    assert (done.code, "gone minus control" in done.out) == (0, True)
    found = store.read_json(Path("out") / part.SUMMARY)
    assert (found["cases"], found["failed"], found["without_features"]) == (60, 0, 1)  # one image cannot be read
    rates = {name: rate["value"] for name, rate in found["rates"].items()}
    assert rates["attributed"] == rates["gone"] == rates["gone_unbacked"] == rates["appeared"] == 1.0
    assert rates["kept"] == rates["backed"] == rates["control_gone"] == rates["already"] == 0.0
    assert rates["effect"] == 1.0
    lines = lines_of("out")
    assert {line["sentence"] for line in lines if line["feature"] is not None} == {
        s.rstrip(".") for s in planted.FINDINGS
    }
    assert found["trials"] == sum(line["feature"] is not None for line in lines)
    assert found["features"]["0"]["gone"] == sum(line["feature"] == 0 for line in lines)


def test_more_cases_are_added_and_the_same_numbers_come_again(run: Callable[..., Ran]) -> None:
    run("--out", "some", "--limit", 10, "--per-case", 2)
    run("--out", "all", "--per-case", 2)
    first = lines_of("some")
    assert len({line["case"] for line in first}) == 10
    assert max(line["of"] for line in first) == 2
    assert lines_of("all")[: len(first)] == first
    before = (Path("some") / part.SUMMARY).read_bytes()
    assert run("--out", "some", "--limit", 10, "--per-case", 2).code == 0
    assert lines_of("some") == first
    assert (Path("some") / part.SUMMARY).read_bytes() == before
    run("--out", "some", "--per-case", 2)
    assert lines_of("some") == lines_of("all")
    assert (Path("some") / part.SUMMARY).read_bytes() == (Path("all") / part.SUMMARY).read_bytes()
    run("--out", "some", "--limit", 10, "--per-case", 2)
    assert (Path("some") / part.SUMMARY).read_bytes() == before  # the others' lines stay, and count in no rate


def test_what_a_kill_left_is_completed(run: Callable[..., Ran]) -> None:
    run("--out", "out", "--limit", 12)
    file, summary = Path("out") / part.LINES, Path("out") / part.SUMMARY
    whole, numbers = lines_of("out"), summary.read_bytes()
    rows = file.read_text().splitlines(keepends=True)
    several = next(
        k for k, line in enumerate(whole) if line["of"] > 1 and k > 3 and whole[k + 1]["case"] == line["case"]
    )
    file.write_text("".join(rows[: several + 1]) + rows[several + 1][:20])  # in the middle of a case and of a line
    summary.unlink()
    run("--out", "out", "--limit", 12)
    assert {(line["case"], line["feature"]) for line in lines_of("out")} == {(x["case"], x["feature"]) for x in whole}
    assert summary.read_bytes() == numbers


def test_a_dry_run_composes_nothing_and_counts(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    compose = planted.PlantedSAE.compose
    monkeypatch.setattr(
        planted.SAERad, "compose", lambda self, drafts: counted.append(len(drafts)) or compose(self, drafts)
    )
    run("--out", "first", "--limit", 20)  # encodes the images
    counted.clear()
    planned = run("--out", "out", "--limit", 20, "--dry-run")
    assert planned.code == 0
    assert not counted
    assert not Path("out").exists()
    amount = re.search(r"reports composed, at most\s*│\s*(\d+)", planned.out)
    assert amount is not None
    run("--out", "out", "--limit", 20)
    assert sum(counted) == int(amount[1])  # every planted feature has its sentence, so the bound is reached
    left = run("--out", "out", "--limit", 20, "--dry-run").out
    assert re.search(r"cases left to measure\s*│\s*0", left)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "tset"], "--split: No split named 'tset'. Did you mean test"),
        (["--system", "no-such"], "no-such"),
        (["--out", "out", "--per-case", 3], "faithfulness.jsonl, line 1: measured with another system, split, seed or"),
        (["--out", "out", "--seed", 1], "another folder with --out"),
        (["--limit", 0], "--limit"),
    ],
)
def test_bad_input_is_explained(run: Callable[..., Ran], arguments: list[Any], message: str) -> None:
    run("--out", "out", "--limit", 2)
    before = (Path("out") / part.LINES).read_bytes()
    done = run(*arguments)
    assert (done.code, message in " ".join(done.err.split())) == (2, True), done.err
    assert "Traceback" not in done.err
    assert (Path("out") / part.LINES).read_bytes() == before


def test_cases_without_features_are_counted_and_have_no_rate(run: Callable[..., Ran]) -> None:
    assert run("--out", "out", "--split", "empty").code == 0
    found = store.read_json(Path("out") / part.SUMMARY)
    assert (found["cases"], found["without_features"], found["trials"]) == (4, 4, 0)
    assert {rate["value"] for rate in found["rates"].values()} == {None}


def test_a_dry_run_spends_nothing(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.context import RunContext

    def spent(*_: object, **__: object) -> None:
        raise AssertionError("a dry run must not get here")

    monkeypatch.setattr(RunContext, "embeddings", spent)
    monkeypatch.setattr(planted.PlantedSAE, "prepare", spent)
    planned = run("--out", "out", "--limit", 20, "--dry-run")
    assert (planned.code, Path("out").exists()) == (0, False), planned.err
    assert re.search(r"features taken away, at most\s*│\s*100 ", planned.out)
    assert re.search(r"reports composed, at most\s*│\s*220 ", planned.out)


def test_a_system_without_features_is_refused(run: Callable[..., Ran]) -> None:
    text = planted.CONFIG.replace(planted.SYSTEM, "sae-rad-no-features").replace(
        "describe: {sentences: 1}", "compose: {by: llm, llm: ollama/none, context: [indication]}"
    )
    Path("bench.yaml").write_text(text)
    done = run("--out", "out")
    assert (done.code, Path("out").exists()) == (2, False)
    assert "without features" in done.err


# ------------------------------------------------------------------ a language model composes


def told(prompt: str) -> str:
    """Compose a report of a prompt's features: their descriptions, one after the other."""
    return " ".join(s for s in planted.FINDINGS if s.rstrip(".") in prompt)


def by_llm(url: str, **options: Any) -> None:
    lines = planted.CONFIG.replace("describe:", "compose: {by: llm, llm: writer}\n    describe:")
    llms = {"writer": {"use": "openai/judge", "base_url": f"{url}/v1", "concurrency": 1, "retries": 0, **options}}
    Path("bench.yaml").write_text(f"{lines}llms: {json.dumps(llms)}\n")


def test_a_model_that_composes_is_asked_what_the_plan_says_and_goes_on_after_its_death(run: Callable[..., Ran]) -> None:
    with servers.OpenAIServer(told) as server:
        by_llm(server.url)
        planned = run("--out", "out", "--limit", 6, "--dry-run").out
        amount = re.search(r"questions to the language model, at most\s*│\s*(\d+)", planned)
        assert amount is not None
        assert not server.asked
        server.dies_after = 9
        died = run("--out", "out", "--limit", 6)
        assert (died.code, "the same command continues" in died.err) == (2, True), died.err
    with servers.OpenAIServer(told, port=server.port) as back:
        assert run("--out", "out", "--limit", 6).code == 0
        assert 15 < len(back.asked) <= int(amount[1]) - 9  # equal prompts of different cases are asked once
    found = store.read_json(Path("out") / part.SUMMARY)
    assert (found["failed"], found["rates"]["gone"]["value"], found["rates"]["control_gone"]["value"]) == (0, 1.0, 0.0)


def test_a_report_that_does_not_come_is_asked_for_again(run: Callable[..., Ran]) -> None:
    with servers.OpenAIServer(lambda prompt: "" if "pacemaker" in prompt else told(prompt)) as server:
        by_llm(server.url, attempts=1)
        first = run("--out", "out", "--limit", 8)
        assert first.code == 0
        assert re.search(r"failed and count in no rate; the same command asks again\. Most often: empty: ", first.out)
        found = store.read_json(Path("out") / part.SUMMARY)
        assert 0 < found["failed"] < found["trials"]
        server.answer = told
        run("--out", "out", "--limit", 8)
    again = store.read_json(Path("out") / part.SUMMARY)
    assert (again["failed"], again["why_failed"], again["rates"]["gone"]["value"]) == (0, {}, 1.0)
    assert again["trials"] == found["trials"]


KILLED = """
import sys, time
from bench.cli import run_command
from systems.sae_rad.cli_faithfulness import faithfulness
from systems.sae_rad.evidence import faithfulness as part
examine, part.CASES_AT_ONCE = part.examine, 4
def slowly(*given):
    print("block", flush=True)
    time.sleep(0.3)
    return examine(*given)
part.examine = slowly
sys.exit(run_command(lambda: faithfulness.main(args=["--out", "out", "--limit", "30"], standalone_mode=False)))
"""


@pytest.mark.slow
def test_killed_for_real_and_continued(run: Callable[..., Ran]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline() == "block\n"
    time.sleep(0.05)
    process.kill()
    process.wait()
    process.stdout.close()
    before = lines_of("out")
    assert len({line["case"] for line in before}) == 12
    assert not (Path("out") / part.SUMMARY).exists()
    assert run("--out", "out", "--limit", 30).code == 0
    assert run("--out", "fresh", "--limit", 30).code == 0
    assert lines_of("out")[: len(before)] == before
    assert lines_of("out") == lines_of("fresh")
    assert (Path("out") / part.SUMMARY).read_bytes() == (Path("fresh") / part.SUMMARY).read_bytes()


def test_descriptions_in_the_planted_world_are_their_findings() -> None:
    Path("bench.yaml").write_text(planted.CONFIG)
    settings, entry = opened.select(None, (), None, None, None)
    with opened.opened(settings, entry) as found:
        made = found.system.describe(range(7))
        assert [m.text for m in made.values() if isinstance(m, Description)] == [*planted.FINDINGS, ""]
        probes = part.probes(found.system, found.cases("test"), per_case=9, seed=0)
        for probe in probes:
            names = [feature for feature, _ in probe.features]
            assert [trial.feature for trial in probe.trials] == names
            for trial in probe.trials:
                assert trial.inserted is not None or len(names) == 6
                assert trial.inserted not in names
                assert trial.control in set(names) - {trial.feature} or len(names) == 1
                said = found.references("test")[probe.case.id]
                assert planted.FINDINGS[trial.feature].rstrip(".") in split(said)
        assert np.mean([len(probe.trials) for probe in probes]) > 1.5
        for per_case in (1, 3):
            for probe in part.probes(found.system, found.cases("test"), per_case=per_case, seed=0):
                matter = [feature for feature, _ in probe.features][: max(2, per_case)]
                assert {trial.control for trial in probe.trials} - {None} <= set(matter), "controls matter as much"
