"""`bench leaderboard add|check|publish`: what is let in, what scoring again finds, what never leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import store
from bench.cli import main
from bench.config import digest
from bench.contracts import OK, Case, Column, Evidence, Image, Pair, Problem, Report, Stats, TrainingSet
from bench.errors import BenchError, Unavailable
from bench.options import Options
from leaderboards.living import checked, entries, foreign, public, shown, verify
from leaderboards.living.publish import Settings, publish

PLUGINS = Path(__file__).with_name("plugins.py")
HERE = Path(__file__)
Bench = Callable[..., Any]
RUN_CODE = ("--run-code", str(PLUGINS), "--run-code", str(HERE))
CANARIES = {
    name: f"canary-{name}-7f3a"
    for name in (
        "report",
        "reference",
        "case",
        "patient",
        "indication",
        "image",
        "evidence",
        "label-of-evidence",
        "option",
        "list",
        "problem",
        "reason",
        "remedy",
        "error",
        "note",
        "prompt",
        "host",
    )
}


class SecretOptions(Options):
    prompt: str = "none"
    exclude: tuple[str, ...] = ()
    credentialed: bool = True
    root: Path = Path()
    unit: str = "image"


class Secret:
    """Cases that are full of what must not leave."""

    Options = SecretOptions

    def __init__(self, options: SecretOptions, context: Any) -> None:
        self.options, self.credentialed = options, options.credentialed

    def fingerprint(self) -> str:
        return "0123abcd"

    def splits(self) -> Sequence[str]:
        return ("train", "test")

    def cases(self, split: str) -> Sequence[Case]:
        return [
            Case(
                f"{CANARIES['case']}{split}{i}",
                f"{CANARIES['patient']}{i % 3}",
                (Image(Path(f"/data/{CANARIES['image']}/{i}.png"), "PA"),),
                indication=CANARIES["indication"],
            )
            for i in range(6)
        ]

    def references(self, split: str) -> Mapping[str, str]:
        return {case.id: f"{CANARIES['reference']} clear lungs {i}" for i, case in enumerate(self.cases(split))}

    def problems(self) -> Sequence[Problem]:
        return [Problem("split.csv", CANARIES["problem"], CANARIES["problem"])]

    def census(self) -> Sequence[Any]:
        return []


class Teller:
    """Tells secrets, and fails on one case with another."""

    Options = SecretOptions
    stand_in = "nobody"

    def __init__(self, options: SecretOptions, context: Any) -> None:
        pass

    def fingerprint(self) -> str:
        return "teller"

    def prepare(self, train: TrainingSet) -> None:
        pass

    def generate(self, cases: Sequence[Case]) -> Iterable[Report]:
        for i, case in enumerate(cases):
            evidence = (Evidence("note", CANARIES["label-of-evidence"], 0.5, CANARIES["evidence"]),)
            error = CANARIES["error"] if i == 5 else None
            yield Report(case.id, "" if error else f"{CANARIES['report']} clear lungs", evidence, error)

    def facts(self) -> Mapping[str, float]:
        return {"L0": 3.0, CANARIES["note"]: 1.0}

    def details(self) -> Mapping[str, Any]:
        return {"notes": [CANARIES["note"]]}


class Lost:
    """Never has a score, and says why in words that tell too much; or asks a chat model where a file "judge" lies."""

    Options = SecretOptions
    columns = (Column("Lost", "Lost"),)
    group = "clinical"

    def __init__(self, options: SecretOptions, context: Any) -> None:
        self.options, self.context = options, context

    def signature(self) -> str:
        if self.options.prompt == "lost" or Path("no-weights").exists():
            raise Unavailable(f"no verdict on {CANARIES['reason']}", f"look in /home/{CANARIES['remedy']}/x.log")
        return "lost|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        if Path("judge").exists():
            self.context.llm("nobody/x")
        return Stats(np.ones((len(pairs), 1)), np.full((len(pairs), 1), OK, np.int8))

    def finish(self, totals: np.ndarray) -> np.ndarray:
        return totals[..., :1] / totals[..., :1]

    def explain(self, pair: Pair) -> list[Any]:
        return []


# ------------------------------------------------------------------ runs to keep


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not import torch to see that there is no GPU."""
    monkeypatch.setattr("bench.machine.resolve_device", lambda wanted: "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of a small dataset, with a real metric and one of our own; a leaderboard of them, checked."""
    here = tmp_path_factory.mktemp("made")
    (here / "bench.yaml").write_text(
        f"dataset: {{use: '{PLUGINS}:TinyDataset', n: 12}}\n"
        f"systems: {{parrot: {{use: '{PLUGINS}:Parrot'}}, shy: {{use: '{PLUGINS}:Parrot', fail: [test003]}}}}\n"
        f"metrics: {{words: {{use: '{PLUGINS}:WordF1'}}, rouge-l: {{}}}}\n"
        "run: {bootstrap: 50}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("BENCH_CACHE", str(here / "cache"))
        patch.setattr("bench.machine.resolve_device", lambda wanted: "cpu")
        for arguments in (
            ["run", "--out", "runs", "--allow-failed"],
            ["leaderboard", "add", "runs", "--to", "board", *RUN_CODE],
            ["leaderboard", "check", "board", *RUN_CODE],
        ):
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert not stop.value.code, arguments
    return here


@pytest.fixture
def wary(bench: Bench) -> Bench:
    """The command as it is."""
    return bench


@pytest.fixture(name="bench")
def trusting(bench: Bench) -> Bench:
    """The command, which may run the plugins of these tests."""
    needs = (("leaderboard", "add"), ("leaderboard", "check"))
    return lambda *words: bench(*words, *(RUN_CODE if words[:2] in needs else ()))


@pytest.fixture
def runs(made: Path) -> Path:
    """Finished runs, and beside them the configuration they were made by."""
    shutil.copy(made / "bench.yaml", "bench.yaml")
    return Path(shutil.copytree(made / "runs", "runs"))


@pytest.fixture
def board(runs: Path, made: Path) -> Path:
    """A leaderboard that was not checked yet."""
    return Path(shutil.copytree(made / "board", "board", ignore=shutil.ignore_patterns(checked.FILE)))


@pytest.fixture
def verified(board: Path, made: Path) -> Path:
    """The same, checked."""
    shutil.copy(made / "board" / checked.FILE, board)
    return board


@pytest.fixture
def secret(bench: Bench) -> Path:
    """A leaderboard of one credentialed run that tells all secrets there are."""
    c = CANARIES
    Path("bench.yaml").write_text(
        f"dataset: {{use: '{HERE}:Secret', prompt: {c['prompt']}, exclude: [{c['list']}], root: /data/{c['option']}}}\n"
        f"systems: {{teller: {{use: '{HERE}:Teller', prompt: {c['prompt']}, root: /data/{c['option']}}}}}\n"
        f"metrics: {{words: {{use: '{PLUGINS}:WordF1'}}, lost: {{use: '{HERE}:Lost', prompt: lost}}, bleu-4: {{}}}}\n"
        f"run: {{bootstrap: 50, attest_zero_retention: [{c['host']}]}}\n"
    )
    answer = bench("run", "--out", "runs", "--allow-failed")
    assert answer.code == 0, answer.err
    answer = bench("leaderboard", "add", "runs", "--to", "board")
    assert answer.code == 0, answer.err
    assert "must not be shared" in answer.err
    return Path("board")


def change(file: Path, edit: Callable[[Any], Any]) -> None:
    """Edit a JSON file, or the first line of a JSONL file, and give the run the digest of its summary again."""
    if file.suffix == ".jsonl":
        lines = store.read_lines(file)
        edit(lines[0])
        file.write_text("".join(map(store.json_line, lines)))
    else:
        value = store.read_json(file)
        edit(value)
        store.write_json(file, value)
    folder = next(path for path in file.parents if (path / "run.json").exists())
    store.write_json(folder / "done.json", {"summary_digest": digest(store.read_json(folder / "summary.json"))})


def score(summary: Any, key: str = "words/WordF1") -> dict[str, Any]:
    found: dict[str, Any] = summary["scores"][key]
    return found


# ------------------------------------------------------------------ add


def test_runs_are_copied_once(runs: Path, bench: Bench) -> None:
    answer = bench("leaderboard", "add", runs, "--to", "board")
    assert answer.out.splitlines() == ["parrot: added", "shy: added"]
    names = {path.relative_to("board/entries/shy").as_posix() for path in Path("board/entries/shy").rglob("*.*")}
    assert names == {
        *(
            "run.json",
            "summary.json",
            "done.json",
            "facts.json",
            "resources.json",
            "cases.jsonl",
            "reports.jsonl",
            "entry.json",
        ),
        *("stats/words.jsonl", "stats/rouge-l.jsonl"),
    }
    again = bench("leaderboard", "add", runs / "parrot", "--to", "board")
    assert (again.code, again.out) == (0, "parrot: is there already\n")
    shutil.copytree(runs / "parrot", "copy")
    assert bench("leaderboard", "add", "copy", "--to", "board", "--as", "other").out == "parrot: is there already\n"
    assert [entry.name for entry in entries.read(Path("board"))] == ["parrot", "shy"]
    assert stat.S_IMODE(Path("board/entries/shy").stat().st_mode) == 0o755
    assert not list(Path("board/entries").glob(".*.part"))


def test_names_are_made_of_what_a_run_is(runs: Path, bench: Bench) -> None:
    answer = bench("leaderboard", "add", runs, "--to", "board", "--as", "{split}-{system}-{label}")
    assert answer.out.splitlines()[0] == "test-plugins.py-Parrot-parrot: added"
    one = bench("leaderboard", "add", runs, "--to", "board", "--as", "same")
    assert one.code == 2
    assert "2 runs would share this name" in one.err
    odd = bench("leaderboard", "add", runs / "parrot", "--to", "elsewhere", "--as", "../up")
    assert odd.code == 2
    assert "is no name" in odd.err
    assert not Path("up").exists()


def test_a_private_run_is_a_private_entry(secret: Path) -> None:
    for path in (secret / "entries/teller").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def unfinished(run: Path) -> None:
    (run / "done.json").unlink()


def damaged(run: Path) -> None:
    (run / "cases.jsonl").write_text("{}\n")


def inflated(run: Path) -> None:
    change(run / "summary.json", lambda s: score(s).update(value=0.99))


def edited_after(run: Path) -> None:
    summary = store.read_json(run / "summary.json")
    store.write_json(run / "summary.json", {**summary, "n_problems": 0})


def other_statistics(run: Path) -> None:
    change(run / "stats/words.jsonl", lambda line: line["values"].__setitem__(0, 9.0))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (unfinished, "not finished"),
        (damaged, "cases.jsonl, line 1: id: a string is required"),
        (inflated, "the statistics do not give the score in summary.json"),
        (edited_after, "summary.json was changed after the run was finished"),
        (other_statistics, "the statistics do not give the score"),
    ],
)
def test_what_is_not_whole_is_refused_and_nothing_is_added(
    runs: Path, bench: Bench, harm: Callable[[Path], None], said: str
) -> None:
    harm(runs / "shy")
    answer = bench("leaderboard", "add", runs, "--to", "board")
    assert answer.code == 2
    assert said in answer.err
    assert not list(Path("board/entries").iterdir())


def test_a_taken_name_and_a_wrong_folder_are_refused(board: Path, bench: Bench) -> None:
    assert bench("run", "--out", "more", "--seed", "1", "--allow-failed").code == 0
    answer = bench("leaderboard", "add", "more/parrot", "--to", board)
    assert answer.code == 2
    assert "the name 'parrot' is taken by another run" in answer.err
    assert bench("leaderboard", "add", "more/parrot", "--to", board, "--as", "parrot-1").code == 0
    for wrong, said in (("runs", "is no living leaderboard"), ("bench.yaml", "is a file"), ("no", "no such folder")):
        where = ("add", "more/parrot", "--to", wrong) if wrong != "no" else ("check", wrong)
        assert said in bench("leaderboard", *where).err
    assert "no living leaderboard" in bench("leaderboard", "check", "runs").err
    assert "no such folder" in bench("leaderboard", "add", "nothing", "--to", board).err


# ------------------------------------------------------------------ check


def states(board: Path, name: str = "parrot") -> dict[str, str]:
    found = checked.read(board).entries[name]
    return {key: one.state for key, one in found.columns().items()}


def test_scoring_again_verifies_and_changes_nothing(board: Path, bench: Bench) -> None:
    before = {entry.name: entry.digest for entry in entries.read(board)}
    answer = bench("leaderboard", "check", board)
    assert answer.code == 0, answer.err
    assert "2 entries: 2 verified." in answer.out
    assert set(states(board).values()) == {"verified"}
    assert {entry.name: entry.digest for entry in entries.read(board)} == before
    found = checked.read(board).entries["shy"].metrics["rouge-l"]
    assert found.versions["numpy"] == np.__version__
    assert found.columns["RG-L"].entry == found.columns["RG-L"].here
    assert bench("leaderboard", "check", board, "--strict", "--json").code == 0


def other_report(run: Path) -> None:
    change(run / "reports.jsonl", lambda line: line.update(text="clear effusion opacity"))


def other_reference(run: Path) -> None:
    change(run / "cases.jsonl", lambda line: line.update(reference="clear"))


def all_at_once(run: Path) -> None:
    """Better statistics, with the summary and its digest made to agree: the files hold together."""
    from bench.statistics import score as scored

    file = run / "stats/words.jsonl"
    lines = store.read_lines(file)
    for line in lines:
        line["values"][0] += 3
    file.write_text("".join(map(store.json_line, lines)))
    values = np.array([line["values"] for line in lines])
    groups = [line["group"] for line in store.read_lines(run / "cases.jsonl")]
    finish = __import__("plugins").WordF1.finish
    again = scored(
        Stats(values, np.array([line["status"] for line in lines], np.int8)),
        groups,
        lambda totals: finish(None, totals),
        draws=50,
        confidence=0.95,
        seed=0,
    )
    new = {"value": again[0].value, "ci_low": again[0].ci_low, "ci_high": again[0].ci_high}
    change(run / "summary.json", lambda s: score(s).update(new))


TAMPERED: list[tuple[Callable[[Path], None], str]] = [
    (inflated, "words/WordF1: DIFFERS: value 0.99 in the entry"),
    (lambda run: change(run / "summary.json", lambda s: score(s).update(ci_high=0.999)), "ci_high 0.999 in the entry"),
    (lambda run: change(run / "summary.json", lambda s: score(s).update(ci_low=None)), "ci_low None in the entry"),
    (
        lambda run: change(run / "summary.json", lambda s: score(s).update(ci_low=10**400)),
        "words/WordF1: DIFFERS: ci_low",
    ),
    (lambda run: change(run / "summary.json", lambda s: score(s).update(n=11)), "n 11 in the entry, 12 here"),
    (lambda run: change(run / "summary.json", lambda s: score(s).update(scale=120.0)), "scale 120.0 in the entry"),
    (lambda run: change(run / "summary.json", lambda s: s["scores"].pop("RG-L")), "summary.json lacks the column"),
    (
        lambda run: change(run / "summary.json", lambda s: s["scores"].update(GREEN=dict(score(s)))),
        "FAULT: GREEN: no metric of run.json reports it",
    ),
    (lambda run: change(run / "summary.json", lambda s: s.update(n_groups=9)), "FAULT: n_groups is 9 in summary.json"),
    (lambda run: change(run / "summary.json", lambda s: s.update(n_reports_failed=0)), "n_reports_failed is 0"),
    (lambda run: change(run / "summary.json", lambda s: s.update(label="other")), "label: run.json says 'shy'"),
    (edited_after, "summary.json was changed after the run was finished"),
    (other_report, "no statistics of 1 of 12 cases"),
    (other_reference, "no statistics of 1 of 12 cases"),
    (other_statistics, "the statistics of 1 of 12 cases are others"),
    (all_at_once, "the statistics of 12 of 12 cases are others"),
    (lambda run: (run / "stats/words.jsonl").unlink(), "no statistics of 12 of 12 cases"),
    (lambda run: (run / "reports.jsonl").write_text('{"id": 3}\n'), "FAULT: cannot be read: reports.jsonl, line 1"),
    (lambda run: (run / "done.json").unlink(), "FAULT: cannot be read"),
    (lambda run: (run / "summary.json").write_text("{"), "FAULT: cannot be read: summary.json: not valid JSON"),
]


@pytest.mark.parametrize(("harm", "said"), TAMPERED, ids=range(len(TAMPERED)))
def test_whatever_was_edited_is_found(board: Path, bench: Bench, harm: Callable[[Path], None], said: str) -> None:
    harm(board / "entries/shy")
    answer = bench("leaderboard", "check", board)
    assert answer.code == 1, answer.out
    assert f"shy: {said}" in answer.out or said in answer.out
    assert checked.read(board).entries["shy"].overall == "failed"
    assert "Traceback" not in answer.err
    shy = checked.read(board).entries["shy"]
    assert checked.read(board).of("shy", entries.read(board)[1].digest) == shy


def test_another_recipe_is_told_and_not_passed(board: Path, bench: Bench) -> None:
    change(board / "entries/shy/summary.json", lambda s: score(s, "RG-L").update(signature="rouge-l|v:0"))
    answer = bench("leaderboard", "check", board)
    assert answer.code == 0
    assert "shy: RG-L: other recipe: rouge-l|v:0".replace("rouge-l|", "") in answer.out
    assert checked.read(board).entries["shy"].overall == "partly"
    assert bench("leaderboard", "check", board, "--strict").code == 1


def test_what_cannot_work_here_is_not_passed(bench: Bench) -> None:
    Path("bench.yaml").write_text(
        f"dataset: {{use: '{PLUGINS}:TinyDataset'}}\nsystems: {{parrot: {{use: '{PLUGINS}:Parrot'}}}}\n"
        f"metrics: {{lost: {{use: '{HERE}:Lost'}}, words: {{use: '{PLUGINS}:WordF1'}}}}\nrun: {{bootstrap: 0}}\n"
    )
    assert bench("run", "--out", "runs").code == 0
    assert bench("leaderboard", "add", "runs", "--to", "board").code == 0
    Path("no-weights").touch()
    answer = bench("leaderboard", "check", "board")
    assert answer.code == 0
    assert states(Path("board"))["lost/Lost"] == "unable"
    assert "lost/Lost: not verified here: no verdict on" in answer.out
    assert checked.read(Path("board")).entries["parrot"].overall == "partly"
    Path("no-weights").unlink()
    Path("judge").touch()  # the metric now asks a chat model
    assert "it asks a chat model, nobody/x" in bench("leaderboard", "check", "board").out
    assert "it asks a chat model" not in bench("leaderboard", "check", "board", "--rescore", "all").out
    Path("judge").unlink()
    assert bench("leaderboard", "check", "board", "--strict").code == 0


EVIL = "from pathlib import Path\nPath('ran').touch()\n"


@pytest.mark.parametrize(
    "config",
    [
        {"metrics": {"mine": {"use": "evil.py:Metric"}}},
        {"metrics": {"mine": {"use": "rger", "annotator": "evil.py:Parser"}}},
        {"metrics": {"mine": {"use": "rger", "annotator": "ours"}}, "annotators": {"ours": {"use": "evil.py:Parser"}}},
        {"metrics": {"mine": {"use": "rger", "annotator": "w"}}, "annotators": {"w": {"use": "worker", "script": "e"}}},
    ],
)
def test_code_that_an_entry_names_is_not_run_unasked(runs: Path, wary: Bench, config: Mapping[str, Any]) -> None:
    Path("evil.py").write_text(EVIL)
    Path("e").write_text(EVIL)
    change(runs / "parrot/run.json", lambda run: [run["config"].setdefault(k, {}).update(v) for k, v in config.items()])
    answer = wary("leaderboard", "add", runs / "parrot", "--to", "board")
    assert answer.code == 0, answer.err
    assert "mine: not looked at: its code is a file, e" in answer.out
    for word in ("check", "publish"):
        wary("leaderboard", word, "board", *(("--out", "site") if word == "publish" else ("--rescore", "all")))
    assert not Path("ran").exists()
    if "evil.py:Metric" in str(config):
        wary("leaderboard", "check", "board", "--run-code", "evil.py")
        assert Path("ran").exists()


def test_where_things_run_is_not_the_entrys_to_say(runs: Path) -> None:
    from bench import compare

    run = compare.read_run(runs / "parrot")
    told = {"use": "openai/judge", "base_url": "https://elsewhere", "api_key_env": "SECRET", "omit": ["seed"]}
    part = {"use": "green", "runner": "python:/their/python", "environment": ["SECRET"], "model": "org/model"}
    config = {**run.run["config"], "llms": {"judge": told}, "annotators": {"green": part}}
    found = foreign.tame(replace(run, run={**run.run, "config": config}), [PLUGINS])
    assert found.run.run["config"]["llms"] == {"judge": {"use": "openai/judge", "omit": ["seed"]}}
    assert found.run.run["config"]["annotators"] == {"green": {"use": "green", "model": "org/model"}}
    assert not found.refused


def test_a_score_of_a_metric_that_nobody_has_is_not_verified(board: Path, bench: Bench) -> None:
    change(board / "entries/shy/run.json", lambda run: run["config"]["metrics"].update(gone={"use": "gone"}))
    change(board / "entries/shy/summary.json", lambda s: s["scores"].update(GREEN=dict(score(s))))
    assert bench("leaderboard", "check", board).code == 0
    assert states(board, "shy")["GREEN"] == "unable"
    assert checked.read(board).entries["shy"].overall == "partly"


def test_numbers_that_are_none_are_faults(board: Path, bench: Bench) -> None:
    entry = board / "entries/shy"
    before = (entry / "summary.json").read_text()
    (entry / "summary.json").write_text(before.replace('"scale": 100.0', '"scale": NaN'))
    assert "summary.json was changed after" in bench("leaderboard", "check", board).out
    (entry / "summary.json").write_text(before)
    (entry / "stats/words.jsonl").write_text('{"key": {}, "values": [1' + "0" * 400 + "]}\n")
    change(entry / "run.json", lambda run: run["config"]["metrics"]["rouge-l"].update(beta=10**400))
    assert bench("leaderboard", "check", board).code == 1
    assert bench("leaderboard", "publish", board, "--out", "site", "--unverified").code == 0


def test_what_a_killed_copy_left_is_swept(runs: Path, bench: Bench) -> None:
    left = Path("board/entries/.parrot.x1.part")
    left.mkdir(parents=True)
    (left / "reports.jsonl").touch()
    assert bench("leaderboard", "add", runs, "--to", "board").code == 0
    assert entries.names(Path("board")) == ["parrot", "shy"]
    assert not left.exists()


def test_each_entry_counts_once_it_is_checked(board: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that is killed loses one entry; two at once, of other metrics, lose nothing of each other."""
    real = verify.Checker.check

    def killed(self: Any, entry: Any, *others: Any) -> Any:
        if entry.name == "shy":
            raise KeyboardInterrupt
        return real(self, entry, *others)

    with monkeypatch.context() as patch:
        patch.setattr(verify.Checker, "check", killed)
        assert bench("leaderboard", "check", board, "--rescore", "rouge-l").code == 130
    assert states(board)["RG-L"] == "verified"

    def slow(self: Any, entry: Any, *others: Any) -> Any:
        found = real(self, entry, *others)
        with monkeypatch.context() as patch:
            patch.setattr(verify.Checker, "check", real)
            bench("leaderboard", "check", board, "--rescore", "words")
        return found

    (board / checked.FILE).unlink()
    monkeypatch.setattr(verify.Checker, "check", slow)
    assert bench("leaderboard", "check", board, "--rescore", "rouge-l").code == 0
    assert set(states(board).values()) == {"verified"}


def test_only_a_plain_no_makes_data_public(secret: Path) -> None:
    assert entries.is_credentialed({"credentialed": None})
    assert not entries.is_credentialed({"credentialed": False})
    entry = entries.read(secret)[0]
    change(entry.folder / "run.json", lambda run: run.update(credentialed=False))
    assert entries.is_private(entry)  # its summary says otherwise


def test_a_long_label_gives_a_short_name(runs: Path, bench: Bench) -> None:
    for file in ("run.json", "summary.json"):
        change(runs / "shy" / file, lambda told: told.update(label="x" * 3000))
    assert bench("leaderboard", "add", runs / "shy", "--to", "board").out == f"{'x' * 100}: added\n"


def test_some_metrics_alone_keep_what_was_found_of_the_others(board: Path, bench: Bench) -> None:
    assert bench("leaderboard", "check", board, "--rescore", "rouge-l").code == 0
    assert states(board) == {"words/WordF1": "unasked", "words/Length": "unasked", "RG-L": "verified"}
    assert bench("leaderboard", "check", board, "--rescore", "words").code == 0
    assert set(states(board).values()) == {"verified"}
    assert bench("leaderboard", "check", board, "--rescore", "nlg").code == 0
    answer = bench("leaderboard", "check", board, "--rescore", "rogue-l")
    assert answer.code == 2
    assert "Did you mean rouge-l" in answer.err
    other_report(board / "entries/parrot")  # what was found before counts no more
    assert bench("leaderboard", "check", board, "--rescore", "rouge-l").code == 1
    assert states(board)["words/WordF1"] == "unasked"


def test_an_entry_on_fewer_cases_stands_apart(verified: Path, bench: Bench) -> None:
    board = verified
    assert bench("run", "--out", "few", "--limit", "6", "--allow-failed", "--system", "parrot").code == 0
    assert bench("leaderboard", "add", "few", "--to", board, "--as", "few").code == 0
    answer = bench("leaderboard", "check", board)
    assert answer.code == 0
    assert "few: other cases than parrot has (6 shared, of 6 here and 12 there): not compared with it" in answer.out
    found = shown.collect(board, entries.read(board), texts=False)
    assert [[one.name for one, _ in block.rows] for block in shown.blocks(found)] == [["parrot", "shy"], ["few"]]
    bench("leaderboard", "publish", board, "--out", "site")
    page = Path("site/index.html").read_text()
    assert "few: other cases than parrot has" in page


def test_easier_references_on_the_same_dataset_are_found(board: Path, bench: Bench) -> None:
    """A whole run with other references, scored well and signed right: only the other entries give it away."""
    table = [("id", "group", "candidate", "reference")]
    for line in store.read_lines(board / "entries/parrot/cases.jsonl"):
        table.append((line["id"], line["group"], "clear", "clear"))
    with Path("easy.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table)
    answer = bench("score", "easy.csv", "--config", "bench.yaml", "--public", "--out", "easy")
    assert answer.code == 0, answer.err
    assert bench("leaderboard", "add", "easy", "--to", board).code == 0
    assert bench("leaderboard", "check", board).code == 0  # data of its own, known by its texts
    entry = board / "entries/easy"
    like = store.read_json(board / "entries/parrot/summary.json")
    claim = {key: like[key] for key in ("dataset", "split", "dataset_fingerprint", "cases_digest")}
    change(entry / "run.json", lambda run: run.update(claim, system="parrot"))
    change(entry / "summary.json", lambda summary: summary.update(claim, system="parrot"))
    answer = bench("leaderboard", "check", board)
    assert answer.code == 1
    assert "easy: FAULT: 12 of 12 cases have another reference than in parrot, on the same dataset" in answer.out
    assert checked.read(board).entries["parrot"].overall == "verified"


def test_predictions_are_known_by_their_texts(bench: Bench) -> None:
    with Path("t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "candidate", "reference"), ("a", "clear", "clear"), ("b", "x", "clear")])
    assert bench("score", "t.csv", "--metrics", "bleu-4", "--out", "t", "--public").code == 0
    assert bench("leaderboard", "add", "t", "--to", "board").code == 0
    assert bench("leaderboard", "check", "board").code == 0
    change(Path("board/entries/t/summary.json"), lambda summary: summary.update(dataset="file:0"))
    assert "dataset is file:0 in summary.json" in bench("leaderboard", "check", "board").out


# ------------------------------------------------------------------ publish


def site_texts(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*") if path.is_file()}


def test_nothing_of_credentialed_data_leaves_but_scores(secret: Path, bench: Bench) -> None:
    change(secret / "entries/teller/run.json", lambda run: run.update(notes=[CANARIES["note"]]))
    checking = bench("leaderboard", "check", secret)
    assert checking.code == 0, checking.out
    os.umask(0o022)  # the run of credentialed data has closed it for this process
    answer = bench("leaderboard", "publish", secret, "--out", "site", "--texts", "--table", "table1,table2,table4")
    assert answer.code == 0, answer.err
    assert "Credentialed data, scores only: teller; their reports are not published" in answer.err
    site = site_texts(Path("site"))
    assert {"index.html", "scores.csv", "scores.json", "entries/teller.html", "tables/table1.tex"} <= site.keys()
    kept = "".join(path.read_text() for path in secret.rglob("*.json*"))
    for name, canary in CANARIES.items():
        if name not in ("remedy",):
            assert canary in kept or name == "problem", name  # the entry itself does hold it
        leaks = [file for file, text in site.items() if canary in text]
        assert not leaks, (name, leaks)
    for machine in (str(Path.cwd()), str(HERE.parent), "/data/", "/home/"):
        assert not [file for file, text in site.items() if machine in text], machine
    assert "canary" not in "".join(site.values())
    told = json.loads(site["scores.json"])["entries"][0]
    assert told["scores"]["words/WordF1"]["value"] is not None
    assert told["scores"]["lost/Lost"]["reason"] == "the metric could not work where the run was scored"
    assert told["dataset"] == "test_living.py:Secret"
    assert told["facts"] == {"L0": 3.0}
    assert "Credentialed data: scores only" in site["entries/teller.html"]
    assert not Path("site/reports").exists()
    assert stat.S_IMODE(Path("site/index.html").stat().st_mode) == 0o644
    assert stat.S_IMODE((secret / "checked.json").stat().st_mode) == 0o600


def test_a_dataset_that_is_credentialed_by_nature_stays_so() -> None:
    assert entries.is_credentialed({"credentialed": False, "dataset": "mimic-cxr"})
    assert not entries.is_credentialed({"credentialed": False, "dataset": "demo"})
    assert entries.is_credentialed({"credentialed": False}, {"credentialed": True})
    assert entries.is_credentialed({"dataset": "demo"})


def test_reports_of_open_data_are_published_where_asked(board: Path, bench: Bench) -> None:
    evil = "<script>alert(1)</script> & \ud800"
    entry = board / "entries/shy"
    change(entry / "reports.jsonl", lambda line: line.update(text=evil))
    assert bench("leaderboard", "check", board).code == 1
    bench("leaderboard", "publish", board, "--out", "site", "--texts", "--unverified")
    assert "reports/shy.html" not in site_texts(Path("site"))  # its check failed
    answer = bench("leaderboard", "publish", board, "--out", "site", "--texts")
    assert answer.code == 2
    shutil.rmtree("runs")
    Path("table.csv").write_text("id,candidate,reference\na,<b>bold</b> & <script>alert(1)</script>,clear\nb,x,clear\n")
    assert bench("score", "table.csv", "--metrics", "rouge-l", "--public", "--label", "evil").code == 0
    assert bench("leaderboard", "add", "runs", "--to", "open").code == 0
    assert bench("leaderboard", "check", "open").code == 0
    assert bench("leaderboard", "publish", "open", "--out", "site", "--texts", "--title", "<i>Us</i> & them").code == 0
    site = site_texts(Path("site"))
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;script&gt;" in site["reports/evil.html"]
    assert all("<b>bold" not in text and "<i>Us" not in text for name, text in site.items() if name.endswith(".html"))
    assert '"text": "<b>bold</b>' in site["reports/evil.jsonl"]
    assert "clear" not in site["reports/evil.jsonl"]  # the references are the dataset's to publish


def test_pages_fetch_nothing_and_links_lead_somewhere(verified: Path, bench: Bench) -> None:
    board = verified
    assert bench("leaderboard", "publish", board, "--out", "site", "--table", "table1", "--texts").code == 0
    pages = [path for path in Path("site").rglob("*.html") if path.parent.name != "tables"]
    assert len(pages) == 5
    for page in pages:
        text = page.read_text()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
        assert policy is not None
        assert "default-src &#39;none&#39;" in policy[1]
        assert "unsafe" not in policy[1]
        assert not re.search(r"https?://|//cdn|<img|<iframe|@import|url\(", text)
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (page.parent / link).exists(), (page, link)
    shown_scores = json.loads(Path("site/scores.json").read_text())["entries"]
    assert [one["verification"] for one in shown_scores] == ["verified", "verified"]
    rows = list(csv.DictReader(Path("site/scores.csv").read_text().splitlines()))
    assert {row["verification"] for row in rows} == {"verified"}
    summary = store.read_json(board / "entries/shy/summary.json")
    by_key = {(row["entry"], row["column"]): float(row["value"]) for row in rows}
    assert by_key["shy", "RG-L"] == score(summary, "RG-L")["value"]
    assert "All other measured scores were verified" in Path("site/tables/table1.md").read_text()


def test_entries_that_are_not_verified_are_refused_or_marked(board: Path, bench: Bench) -> None:
    answer = bench("leaderboard", "publish", board, "--out", "site")
    assert answer.code == 2
    assert "parrot, shy: not checked since they were last changed" in answer.err
    assert not Path("site").exists()
    assert bench("leaderboard", "check", board).code == 0
    inflated(board / "entries/shy")
    other = bench("leaderboard", "publish", board, "--out", "site")
    assert "shy: not checked since they were last changed" in other.err
    assert bench("leaderboard", "publish", board, "--out", "site", "--unverified").code == 0
    page = Path("site/index.html").read_text()
    assert "not verified" in page
    assert not re.search(r"<strong>99\.0", page)  # never the best
    assert bench("leaderboard", "check", board).code == 1
    failed = bench("leaderboard", "publish", board, "--out", "site")
    assert failed.code == 2
    assert "shy: not what their reports give" in failed.err
    assert bench("leaderboard", "publish", board, "--out", "site", "--unverified", "--table", "table1").code == 0
    texts = site_texts(Path("site"))
    assert "entries/shy.html" not in texts
    assert "99.0" not in "".join(texts.values())
    assert "Check failed" in texts["index.html"]
    assert "Left out, not verified by scoring the reports again: shy." in texts["tables/table1.md"]


def test_a_site_takes_its_place_whole_and_nothing_elses(
    verified: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = verified
    assert bench("leaderboard", "publish", board, "--out", "site", "--title", "One").code == 0
    assert bench("leaderboard", "publish", board, "--out", "site", "--title", "Two").code == 0
    assert "Two" in Path("site/index.html").read_text()
    Path("site/mine.txt").write_text("keep me")
    answer = bench("leaderboard", "publish", board, "--out", "site")
    assert answer.code == 2
    assert "holds mine.txt" in answer.err
    assert Path("site/mine.txt").read_text() == "keep me"
    Path("site/mine.txt").unlink()
    for wrong in (board, board / "site", Path(), board / "entries/shy", Path("runs")):
        assert bench("leaderboard", "publish", board, "--out", wrong).code == 2, wrong
    assert (
        "did you mean table1"
        in bench("leaderboard", "publish", board, "--out", "site", "--table", "tabel1").err.lower()
    )

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("leaderboards.living.pages.site", broken)
    assert bench("leaderboard", "publish", board, "--out", "site", "--title", "Three").code == 2
    assert "Two" in Path("site/index.html").read_text()
    assert sorted(path.name for path in Path().glob(".*")) == []


def test_the_best_is_bold_among_the_verified_of_one_recipe(verified: Path, bench: Bench) -> None:
    board = verified
    found = shown.collect(board, entries.read(board), texts=False)
    (block,) = shown.blocks(found)
    keys = [key for key, _, _ in block.columns]
    at = keys.index("RG-L")
    cells = {one.name: cells[at] for one, cells in block.rows}
    values = {one.name: one.summary["scores"]["RG-L"]["value"] for one, _ in block.rows}
    assert values["parrot"] > values["shy"]
    assert (cells["parrot"].best, cells["shy"].best) == (True, False)
    change(board / "entries/parrot/summary.json", lambda s: score(s, "RG-L").update(signature="rouge-l|v:0"))
    assert bench("leaderboard", "check", board).code == 0
    (block,) = shown.blocks(shown.collect(board, entries.read(board), texts=False))
    cells = {one.name: cells[at] for one, cells in block.rows}
    assert [cell.best for cell in cells.values()] == [False, False]
    assert {cell.recipe for cell in cells.values()} == {"a", "b"}
    assert cells["parrot"].state == "recipe"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("radfact|judge:llama.cpp//home/me/models/judge.gguf|v:1", "home"),
        ("x|model:./mine/weights.pt", "mine"),
        ("x|model:models/mine/weights.safetensors|v:1", "mine"),
        (r"x|model:C:\Users\me\w.bin", "Users"),
        ("see ~/secret/log.txt", "secret"),
        ("dataset /home/me/plugins.py:Tiny (small)", "home"),
        (r"model:\\\\server\\share\\p10000032|v:1", "server"),
        ("model:~ann/weights|v:1", "ann"),
    ],
)
def test_paths_become_hashes(text: str, hidden: str) -> None:
    assert hidden not in public.without_paths(text)
    assert public.without_paths(text) != public.without_paths(text.replace(hidden, "other")) or ".py:" in text


@pytest.mark.parametrize("text", ["radfact|judge:ollama/llama3:70b-instruct|v:1", "openai/org/model", "1/RadCliQ-v1"])
def test_what_is_no_path_stays(text: str) -> None:
    assert public.without_paths(text) == text


def test_only_known_words_of_options_are_published() -> None:
    given = {
        "use": "sae-rad",
        "encoder": "rad-dino",
        "sae": {"expansion": 64, "architecture": "sae-rad", "precision": "a secret"},
        "describe": {"by": "llm", "llm": "anthropic/claude-3-5-sonnet", "template": "patient 123 said"},
    }
    found = public.options("system", "sae-rad", given)
    assert found["sae"] == {"expansion": 64, "architecture": "sae-rad"}
    assert found["describe"] == {"by": "llm", "llm": "anthropic/claude-3-5-sonnet"}
    assert public.options("system", "./mine.py:Own", given) == {"use": "mine.py:Own"}


def test_a_leaderboard_without_a_whole_entry_is_not_published(board: Path, bench: Bench) -> None:
    for name in ("parrot", "shy"):
        inflated(board / "entries" / name)
    assert bench("leaderboard", "check", board).code == 1
    with pytest.raises(BenchError, match="nothing to publish"):
        list(publish(board, Path("site"), Settings(unverified=True)))
    (board / "checked.json").write_text("{}x")
    assert "checked.json: not valid JSON" in bench("leaderboard", "check", board).err


# ------------------------------------------------------------------ in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_headings_sort_their_table(verified: Path, bench: Bench) -> None:
    board = verified
    playwright = pytest.importorskip("playwright.sync_api")
    assert bench("leaderboard", "publish", board, "--out", "site").code == 0
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((Path("site/index.html").resolve()).as_uri())
        names = "tbody tr th a"
        column = page.locator("th", has_text="RG-L").locator("button")
        column.click()
        assert page.locator(names).all_inner_texts() == ["parrot", "shy"]
        column.click()
        assert page.locator(names).all_inner_texts() == ["shy", "parrot"]
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("RG-L")
        page.locator(names).first.click()
        assert page.locator("h1").inner_text().endswith("shy")
        assert said == []
        browser.close()
