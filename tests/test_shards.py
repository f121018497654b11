"""`bench run --shard`: shares of the cases reported on at once, gathered into the run that one process would make."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_run import KILL

from bench import store
from bench.errors import BenchError
from bench.run import OneRun
from bench.shards import Shard, State, found, told

PLUGINS = Path(__file__).with_name("plugins.py")
Bench = Callable[..., Any]
RUN = [sys.executable, "-m", "bench.cli", "run"]


def write_config(system: str = "Telling", options: str = "", dataset: str = "n: 13") -> None:
    Path("bench.yaml").write_text(
        f"dataset: {{use: '{PLUGINS}:TinyDataset', {dataset}}}\n"
        f"systems: {{parrot: {{use: '{PLUGINS}:{system}', log: asked.txt, {options}}}}}\n"
        f"metrics: {{words: {{use: '{PLUGINS}:WordF1'}}}}\n"
        "run: {bootstrap: 50}\n"
    )


def lines(file: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def asked() -> Counter[str]:
    return Counter(Path("asked.txt").read_text().split())


def without_seconds(file: str | Path) -> str:
    return "".join(json.dumps({**line, "seconds": None}) for line in lines(file))


def same_run(one: str, other: str) -> None:
    """Assert that two run folders hold the same run, byte for byte but for what tells time."""
    for name in ("summary.json", "done.json", "facts.json", "cases.jsonl", "stats/words.jsonl"):
        assert Path(one, "parrot", name).read_bytes() == Path(other, "parrot", name).read_bytes(), name
    assert without_seconds(f"{one}/parrot/reports.jsonl") == without_seconds(f"{other}/parrot/reports.jsonl")
    problems = [sorted(map(str, lines(f"{out}/parrot/problems.jsonl"))) for out in (one, other)]
    assert problems[0] == problems[1]


@contextmanager
def holding(folder: str, shared: bool = False) -> Iterator[None]:
    """Hold a folder's lock in another process."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom bench.store import locked\n"
        f"with locked(Path(sys.argv[1]), shared={shared}):\n    print('held', flush=True)\n    input()"
    )
    command = [sys.executable, "-c", script, folder]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.communicate("\n")


# ------------------------------------------------------------------ which cases


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "x", "", "1/0", "0/0", "-1/4", "1/4/2", "1.0/4", "1/4x", "1/10000", "1/٤"]
)
def test_bad_shards_are_refused(bench: Bench, text: str) -> None:
    write_config()
    answer = bench("run", "--out", "o", "--shard", text)
    assert answer.code == 2
    assert f"--shard {text!r}: write i/n" in answer.err
    assert not Path("o").exists()


@pytest.mark.parametrize("n", [1, 2, 3, 13, 20])
def test_every_case_is_in_one_share(n: int) -> None:
    cases = [f"case{i}" for i in range(13)]
    shares = [Shard.parse(f"{i}/{n}").share(cases) for i in range(1, n + 1)]
    assert sorted(case for share in shares for case in share) == sorted(cases)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares[0][:2] == [f"case{i}" for i in (0, n) if i < 13]


def test_only_folders_of_shards_are_shards(tmp_path: Path) -> None:
    for name in ("2-of-10", "1-of-10", "3-of-3", "4-of-3", "0-of-3", "1-of-3.bak", "x-of-y"):
        (tmp_path / "shards" / name).mkdir(parents=True)
    assert [str(shard) for shard in found(tmp_path)] == ["3/3", "1/10", "2/10"]


def test_how_far_shards_are_is_told_in_a_line() -> None:
    def state(i: int, answered: int, begun: bool = True) -> State:
        return State(Shard(4, i), 851, answered, begun)

    assert told([state(1, 851), state(2, 312), state(3, 851), state(4, 0, begun=False)]) == (
        "shards 1/4, 3/4 done; 2/4: 312 of 851; 4/4 not begun"
    )
    assert told([State(Shard(1, 1), 1851, 1000, True)]) == "shard 1/1: 1,000 of 1,851"


# ------------------------------------------------------------------ at once, gathered


@pytest.mark.parametrize("options", ["", "notes: true"])
def test_three_processes_at_once_then_gathered_are_one_run(bench: Bench, options: str) -> None:
    once = {f"test{i:03d}": 1 for i in range(13)}
    write_config(options=options)
    assert bench("run", "--out", "whole").code == 0
    Path("asked.txt").unlink()
    together = {**os.environ, "TELLING_MEET": "3"}
    shards = [
        subprocess.Popen([*RUN, "--out", "o", "--shard", f"{i}/3"], stdout=-1, stderr=-1, env=together)
        for i in (1, 2, 3)
    ]
    said = [shard.communicate(timeout=120) for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0, 0], said
    assert any(b"shards 1/3, 2/3, 3/3 done; the same command without --shard gathers" in out for out, _ in said)
    assert asked() == {**once, "prepared": 3}
    assert not Path("o/parrot/done.json").exists()
    assert not Path("o/parrot/stats").exists()
    assert bench("show", "o").out == "o/parrot: not finished: 13 of 13 reports\n"
    gathered = bench("run", "--out", "o")
    assert gathered.code == 0, gathered.err
    # Nothing is missing: the model is not loaded again, unless its facts hang on notes that were joined.
    assert asked() == {**once, "prepared": 4 if options else 3}
    same_run("o", "whole")
    assert Path("o/parrot/details.json").read_bytes() == Path("whole/parrot/details.json").read_bytes()
    assert not Path("o/parrot/details-other.jsonl").exists()
    before = Path("o/parrot/summary.json").read_bytes()
    assert bench("run", "--out", "o").code == 0
    assert asked().total() == 13 + (4 if options else 3)
    assert Path("o/parrot/summary.json").read_bytes() == before


def test_what_is_missing_is_asked_when_the_shards_are_gathered(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "whole")
    Path("asked.txt").unlink()
    answer = bench("run", "--out", "o", "--shard", "2/3")
    assert answer.out == "parrot: shards 2/3 done; 1/3 not begun; 3/3 not begun\n"
    assert sorted(asked()) == [f"test{i:03d}" for i in (1, 4, 7, 10)]
    assert bench("show", "o").out == "o/parrot: not finished: 4 of 13 reports\n"
    assert bench("run", "--out", "o").code == 0
    assert asked() == {f"test{i:03d}": 1 for i in range(13)}
    same_run("o", "whole")


def test_other_divisions_ask_only_what_none_has_answered(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "whole")
    Path("asked.txt").unlink()
    bench("run", "--out", "o", "--shard", "1/2")
    answer = bench("run", "--out", "o", "--shard", "1/3")
    assert answer.out == "parrot: shards 1/3 done; 2/3: 2 of 4; 3/3: 2 of 4\n"
    assert asked() == {f"test{i:03d}": 1 for i in (0, 2, 4, 6, 8, 10, 12, 3, 9)}
    bench("run", "--out", "o", "--shard", "2/2")
    assert bench("run", "--out", "o").code == 0
    assert asked() == {f"test{i:03d}": 1 for i in range(13)}
    same_run("o", "whole")


def test_of_two_answers_the_first_is_taken(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/2")
    bench("run", "--out", "o", "--shard", "2/2")
    other = Path("o/parrot/shards/1-of-1")
    other.mkdir()
    text = Path("o/parrot/shards/1-of-2/reports.jsonl").read_text()
    other.joinpath("reports.jsonl").write_text(text.replace('"text": "', '"text": "Of another division: ', 1))
    bench("run", "--out", "o")
    said = [line["text"].startswith("Of another division") for line in lines("o/parrot/reports.jsonl")]
    assert said == [True] + [False] * 12


def test_a_shard_of_an_unfinished_run_leaves_its_reports_alone(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "whole")
    Path("asked.txt").unlink()
    killed = subprocess.run([sys.executable, "-c", KILL, "report", "5", "run", "--out", "o"], capture_output=True)
    assert killed.returncode == -9
    for i in (1, 2):
        assert bench("run", "--out", "o", "--shard", f"{i}/2").code == 0
    assert bench("run", "--out", "o").code == 0
    assert {case: n for case, n in asked().items() if n > 1 and case != "test005"} == {}
    assert len(asked()) == 13
    same_run("o", "whole")


@pytest.mark.parametrize(("event", "n"), [("report", 3), ("torn", 2), ("file", 3), ("file", 4)])
def test_a_killed_shard_continues(bench: Bench, event: str, n: int) -> None:
    write_config("Parrot")
    bench("run", "--out", "whole")
    Path("asked.txt").unlink()
    command = [sys.executable, "-c", KILL, event, str(n), "run", "--out", "o", "--shard", "1/3"]
    killed = subprocess.run(command, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert bench("run", "--out", "o", "--shard", "3/3").code == 0
    assert bench("run", "--out", "o", "--shard", "1/3").code == 0
    assert bench("run", "--out", "o").code == 0
    assert len(asked()) == 13
    assert asked().total() <= 13 + (event in ("report", "torn"))  # only the report in flight is asked twice
    same_run("o", "whole")
    assert not list(Path("o").rglob("*.part"))


def test_a_gathering_that_is_killed_loses_nothing(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "whole")
    Path("asked.txt").unlink()
    for i in (1, 3):
        bench("run", "--out", "o", "--shard", f"{i}/3")
    for n in (2, 3, 4):
        command = [sys.executable, "-c", KILL, "file", str(n), "run", "--out", "o"]
        assert subprocess.run(command, capture_output=True).returncode == -9
    assert bench("run", "--out", "o").code == 0
    assert asked() == {f"test{i:03d}": 1 for i in range(13)}
    same_run("o", "whole")


def test_half_files_of_killed_processes_are_cleared_away(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/2")
    halves = [Path("o/parrot/.run.json.7-0a.part"), Path("o/parrot/shards/1-of-2/.facts.json.7-0b.part")]
    for half in halves:
        half.write_text('{"ha')
    bench("run", "--out", "o")
    assert not any(half.exists() for half in halves)


def test_failed_reports_are_named_left_to_do_and_asked_again(bench: Bench) -> None:
    write_config("Parrot", "fail: [test003, test004]")
    answer = bench("run", "--out", "o", "--shard", "1/3")
    assert answer.code == 2
    assert "1 of 5 cases have no report:\n  test003: no answer came" in answer.err
    answer = bench("run", "--out", "o", "--shard", "1/3", "--allow-failed")
    assert answer.code == 0, answer.err
    assert "1/3: 4 of 5" in answer.out
    for i in (2, 3):
        bench("run", "--out", "o", "--shard", f"{i}/3", "--allow-failed")
    assert asked()["test003"] == 2
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "2 of 13 cases have no report" in answer.err
    assert (asked()["test003"], asked()["test004"], asked()["test000"]) == (3, 2, 1)
    assert bench("run", "--out", "o", "--allow-failed").code == 0


def test_a_shard_without_cases_is_done(bench: Bench) -> None:
    write_config("Parrot", dataset="n: 2")
    answer = bench("run", "--out", "o", "--shard", "3/3")
    assert answer.code == 0, answer.err
    assert answer.out == "parrot: shards 3/3 done; 1/3 not begun; 2/3 not begun\n"
    assert not Path("asked.txt").exists()


def test_a_shard_of_a_finished_run_does_nothing(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o")
    before = Path("o/parrot/done.json").read_bytes()
    answer = bench("run", "--out", "o", "--shard", "1/2", "--json")
    assert json.loads(answer.out)["runs"][0]["shards"] == [
        {"shard": "1/2", "cases": 7, "answered": 7},
        {"shard": "2/2", "cases": 6, "answered": 6},
    ]
    assert asked().total() == 13
    assert Path("o/parrot/done.json").read_bytes() == before


# ------------------------------------------------------------------ who works where


def test_shards_at_work_are_not_gathered(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/3")
    with holding("o/parrot", shared=True), holding("o/parrot/shards/2-of-3"):
        answer = bench("run", "--out", "o")
        assert answer.code == 2
        assert "o/parrot: shard 2/3 is being worked on by another process" in answer.err
        answer = bench("run", "--out", "o", "--shard", "2/3")
        assert answer.code == 2
        assert "o/parrot/shards/2-of-3: another process is working" in answer.err
        assert bench("run", "--out", "o", "--shard", "3/3").code == 0
    assert bench("run", "--out", "o").code == 0


def test_no_shard_begins_while_they_are_gathered(bench: Bench) -> None:
    write_config("Parrot")
    with holding("o/parrot"):
        answer = bench("run", "--out", "o", "--shard", "1/3")
    assert answer.code == 2
    assert "o/parrot: another process is working in this folder" in answer.err


def test_of_two_that_begin_at_once_one_writes_run_json() -> None:
    write_config("Parrot")
    script = (
        "import sys, time\nfrom bench import store\nfrom bench.cli import main\nwrite = store.write_json\n"
        "def slowly(path, value):\n"
        "    if path.name == 'run.json':\n        open('writers.txt', 'a').write('x')\n        time.sleep(1.5)\n"
        "    write(path, value)\n"
        "store.write_json = slowly\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, "run", "--out", "o", "--shard"]
    pair = [subprocess.Popen([*command, f"{i}/2"], stderr=subprocess.PIPE) for i in (1, 2)]
    said = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert Path("writers.txt").read_text() == "x"


def test_a_shard_of_another_configuration_is_refused(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/3")
    for command in (["--shard", "2/3"], []):
        answer = bench("run", "--out", "o", "--seed", "5", *command)
        assert answer.code == 2
        assert "config.run.seed: 0 -> 5" in answer.err
    assert [str(shard) for shard in found(Path("o/parrot"))] == ["1/3"]


def test_shards_without_a_run_json_are_not_adopted(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/3")
    for name in ("run.json", "cases.jsonl"):
        Path("o/parrot", name).unlink()
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "holds shards but no run.json" in answer.err


def test_what_computes_elsewhere_is_recorded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import machine

    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/3")
    here = machine.describe("cpu")
    monkeypatch.setattr(machine, "describe", lambda device: {**here, "platform": "another kernel", "device": "cuda"})
    monkeypatch.setattr(machine, "versions", lambda: {**versions, "numpy": "1.0"})
    versions = {**json.loads(Path("o/parrot/run.json").read_text())["versions"]}
    for i in (2, 3):
        assert (
            "continued with other machine: device: 'cpu' -> 'cuda'" in bench("run", "-o", "o", "--shard", f"{i}/3").err
        )
    (other,) = json.loads(Path("o/parrot/run.json").read_text())["continued"]
    assert other["machine"] == ["device: 'cpu' -> 'cuda'"]
    assert other["package versions"] == [f"numpy: {versions['numpy']!r} -> '1.0'"]


def test_a_look_at_who_works_where_stops_no_shard(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that would gather tries each shard's lock: one that begins at that moment waits for it to be given back."""
    write_config("Parrot")
    looking = threading.Event()

    def look() -> None:
        with store.locked(Path("o/parrot/shards/1-of-2")):
            looking.set()
            time.sleep(0.2)

    def looked_at(self: OneRun, system: Any) -> None:
        opened(self, system)
        threading.Thread(target=look).start()
        looking.wait()

    opened = OneRun._open
    monkeypatch.setattr(OneRun, "_open", looked_at)
    assert bench("run", "--out", "o", "--shard", "1/2").code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [('{"text": "no id"}\n', "a line is no report"), ('{"id": "x", "text": ""}\n', "cases that were not asked: x")],
)
def test_a_damaged_shard_is_named(bench: Bench, line: str, words: str) -> None:
    write_config("Parrot")
    bench("run", "--out", "o", "--shard", "1/3")
    file = Path("o/parrot/shards/1-of-3/reports.jsonl")
    file.write_text(line + file.read_text())
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert f"{file}: " in answer.err
    assert words in answer.err


def test_a_dry_run_tells_the_shares_counts_and_writes_nothing(bench: Bench) -> None:
    write_config("Parrot")
    assert "shard 2/3: 4 cases, 0 of them answered" in bench("run", "--out", "o", "--shard", "2/3", "--dry-run").out
    assert not Path("o").exists()
    bench("run", "--out", "o", "--shard", "1/2")
    answer = bench("run", "--out", "o", "--shard", "2/3", "--dry-run")
    assert "shard 2/3: 4 cases, 2 of them answered" in answer.out
    assert "scores" in answer.out
    assert "word-f1" not in answer.out


def test_shards_of_credentialed_runs_are_private(bench: Bench) -> None:
    write_config("Parrot", dataset="n: 13, credentialed: true")
    bench("run", "--out", "o", "--shard", "1/3")
    assert not [p for p in Path("o").rglob("*") if stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_a_disk_without_locks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import errno

    from bench import store

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(store.fcntl, "flock", none)
    with pytest.raises(BenchError, match=r"does not lock files \(No locks available\)"), store.locked(tmp_path):
        pass


# ------------------------------------------------------------------ what a system tells


def test_details_are_kept_and_shown(bench: Bench) -> None:
    write_config()
    bench("run", "--out", "o")
    assert json.loads(Path("o/parrot/details.json").read_text())["settings"] == {"num_beams": 5, "max_new_tokens": 256}
    assert (
        "  a/parrot@0123abcd; generated with max_new_tokens=256, num_beams=5; "
        "python 3.9.18, torch 2.1.0, transformers 4.40.0, on cpu\n"
    ) in bench("show", "o").out


def test_a_system_without_details_has_none(bench: Bench) -> None:
    write_config("Parrot")
    bench("run", "--out", "o")
    assert not list(Path("o").rglob("details*"))
    assert "python" not in bench("show", "o").out


def test_other_details_are_told_and_both_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config()
    bench("run", "--out", "whole")
    killed = subprocess.run([sys.executable, "-c", KILL, "report", "3", "run", "--out", "o"], capture_output=True)
    assert killed.returncode == -9
    monkeypatch.setenv("TELLING_TORCH", "2.9.0")
    answer = bench("run", "--out", "o")
    assert "o/parrot: continued with other details: versions.torch: '2.1.0' -> '2.9.0' (both are kept)" in answer.err
    assert json.loads(Path("o/parrot/details.json").read_text())["versions"]["torch"] == "2.1.0"
    (other,) = lines("o/parrot/details-other.jsonl")
    assert (other["from"], other["details"]["versions"]["torch"]) == ("continued", "2.9.0")
    assert Path("o/parrot/summary.json").read_bytes() == Path("whole/parrot/summary.json").read_bytes()
    shown = bench("show", "o").out
    assert "torch 2.1.0" in shown
    assert "continued: a/parrot@0123abcd; generated with max_new_tokens=256, num_beams=5; python 3.9.18, torch" in shown


def test_shards_with_other_details_are_told_apart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config()
    for i, version in ((1, "2.1.0"), (2, "2.9.0"), (3, "2.9.0")):
        monkeypatch.setenv("TELLING_TORCH", version)
        bench("run", "--out", "o", "--shard", f"{i}/4")
    answer = bench("run", "--out", "o")  # asks the fourth share itself
    assert "shard 2/4 with other details: versions.torch: '2.1.0' -> '2.9.0'" in answer.err
    assert [(line["from"], line["details"]["versions"]["torch"]) for line in lines("o/parrot/details-other.jsonl")] == [
        ("shard 2/4", "2.9.0")
    ]
    assert json.loads(Path("o/parrot/details.json").read_text())["versions"]["torch"] == "2.1.0"


def test_notes_on_the_way_are_joined_and_no_difference(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config()
    for i, note in ((1, "out of memory: 2 at a time"), (2, ""), (3, "out of memory: 4 at a time")):
        monkeypatch.setenv("TELLING_NOTE", note)
        bench("run", "--out", "o", "--shard", f"{i}/3")
    answer = bench("run", "--out", "o")
    assert "other details" not in answer.err
    notes = ["out of memory: 2 at a time", "out of memory: 4 at a time"]
    assert json.loads(Path("o/parrot/details.json").read_text())["notes"] == notes
    assert f"on cpu; {'; '.join(notes)}\n" in bench("show", "o").out


def test_notes_of_a_continued_run_stay_with_its_own_details(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config()
    subprocess.run([sys.executable, "-c", KILL, "report", "3", "run", "--out", "o"], capture_output=True)
    monkeypatch.setenv("TELLING_TORCH", "2.9.0")
    monkeypatch.setenv("TELLING_NOTE", "out of memory: 2 at a time")
    answer = bench("run", "--out", "o")
    assert answer.err.count("other details") == 1
    assert json.loads(Path("o/parrot/details.json").read_text())["notes"] == []
    (other,) = lines("o/parrot/details-other.jsonl")
    assert other["details"]["notes"] == ["out of memory: 2 at a time"]


def test_long_settings_are_shown_in_short_and_edited_details_break_nothing(bench: Bench) -> None:
    write_config()
    bench("run", "--out", "o")
    details = {"settings": {"template": "{% for message in messages %}\n" * 40, "beams": 5}, "weights": [], "notes": {}}
    Path("o/parrot/details.json").write_text(json.dumps(details))
    Path("o/parrot/details-other.jsonl").write_text('{"a": 1}\n{"details": 3}\n')
    shown = bench("show", "o")
    assert shown.code == 0
    told = "  generated with beams=5, template={% for message in messages %} {% for message in…\n"
    assert told in shown.out


def test_details_that_are_no_json_are_the_systems_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config()
    monkeypatch.setenv("TELLING_TORCH", "none")
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "system 'parrot': details() is no JSON object" in answer.err


def test_where_and_how_workers_run_may_change_between_calls(bench: Bench) -> None:
    write_config()
    bench("run", "--out", "o", "--shard", "1/2")
    answer = bench("run", "--out", "o", "--shard", "2/2", "--set", "systems.parrot.batch_size=4")
    assert answer.code == 0, answer.err
    assert "continued with other settings: config.systems.parrot.batch_size: 1 -> 4" in answer.err.replace("\n", " ")
    bench("run", "--out", "o", "--set", "systems.parrot.batch_size=4")
    recorded = json.loads(Path("o/parrot/run.json").read_text())
    assert recorded["config"]["systems"]["parrot"]["batch_size"] == 1
    (other,) = recorded["continued"]
    assert other["settings"] == ["config.systems.parrot.batch_size: 1 -> 4"]
    assert other.keys() == {"since", "settings"}
    assert bench("compare", "o", "o/parrot").code == 2  # one run alone, read with what was added
    answer = bench("run", "--out", "o", "--set", "systems.parrot.skip=[test001]")
    assert answer.code == 2
    assert "config.systems.parrot.skip" in answer.err
