"""Workers: the protocol, what they see, how they fail, and how the harness goes on."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from worker_world import HERE, OBEDIENT, cases, diary_of, system

from bench.context import RunContext
from bench.contracts import Case, Image, Unannotated
from bench.errors import BenchError, Unavailable
from bench.workers import environment
from bench.workers.annotator import ScriptAnnotator
from bench.workers.helper import bench_worker
from bench.workers.options import ScriptOptions
from bench.workers.process import Lost, Process
from bench.workers.worker import Weights

Bench = Callable[..., Any]
WORLD = Path(__file__).with_name("worker_world.py")


@pytest.fixture
def some(tmp_path: Path) -> list[Case]:
    return cases(tmp_path / "dataset")


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


# ------------------------------------------------------------------ a worker that works


def test_every_case_is_answered_with_what_the_worker_saw(context: RunContext, some: list[Case]) -> None:
    tried = system(context, notes=True)
    reports = list(tried.generate(some))
    assert [report.id for report in reports] == [case.id for case in some]
    for case, report in zip(some, reports, strict=True):
        size = sum(image.path.stat().st_size for image in case.images)
        assert report.text == f"Saw {size} bytes. {case.indication or ''}"
        assert [(e.kind, e.label, e.text) for e in report.evidence] == [("note", "files", str(len(case.images)))]
        assert report.error is None
        assert report.seconds is not None


def test_a_worker_sees_copies_and_the_cases_own_fields_only(
    context: RunContext, some: list[Case], diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "secret")
    monkeypatch.setenv("MIMIC_CXR_JPG", "/data")
    monkeypatch.setenv("WANTED", "yes")
    list(system(context, diary, environment=["WANTED"]).generate(some))
    seen = diary_of(diary, "seen")
    assert len(seen) == len(some)
    for case, one in zip(some, seen, strict=True):
        assert one["sizes"] == [image.path.stat().st_size for image in case.images]
        told = json.dumps(one)
        assert "secret" not in told
        assert case.group not in told
        assert str(case.study) not in told
        assert "/dataset/" not in told
        assert not any(Path(path).exists() for path in one["paths"]), "the copies are gone"
        assert (one["lateral"] is not None) == any(image.view == "LATERAL" for image in case.images)
        assert (one["prior"] is not None) == any(image.role == "prior" for image in case.images)
        assert one["priors"] == [prior.text for prior in case.priors]
        assert one["indication"] == case.indication
        assert {"WANTED", "PATH", "HF_HUB_OFFLINE"} <= set(one["environment"])
        assert not {"SERVICE_API_KEY", "MIMIC_CXR_JPG", "BENCH_CACHE"} & set(one["environment"])


def test_copies_of_credentialed_images_are_private(context: RunContext, some: list[Case]) -> None:
    os.umask(0o077)
    list(system(context).generate(some))
    assert stat.S_IMODE((context.workdir / "worker-0" / "worker.log").stat().st_mode) == 0o600


def test_facts_and_details_tell_of_the_model_and_its_environment(context: RunContext, some: list[Case]) -> None:
    tried = system(context)
    assert tried.facts() == {}
    list(tried.generate(some[:1]))
    assert tried.facts() == {"parameters": 7.0}
    details = tried.details()
    assert details["settings"] == {"beams": 2, "device": details["device"]}
    assert details["python"].count(".") == 2
    assert details["versions"]["numpy"]
    assert details["script"] == "obedient.py"
    assert json.loads(json.dumps(details)) == details


def test_the_fingerprint_moves_with_script_and_options_and_not_with_the_place(
    context: RunContext, tmp_path: Path
) -> None:
    same = system(context, beams=1).fingerprint()
    assert system(context, beams=1, batch_size=4, devices=["cpu", "cpu"], timeout_s=5).fingerprint() == same
    assert system(context, beams=2).fingerprint() != same
    copy = tmp_path / "obedient.py"
    copy.write_text(OBEDIENT.read_text())
    assert system(context, beams=1, script=copy).fingerprint() == same
    copy.write_text(OBEDIENT.read_text() + "# changed\n")
    assert system(context, beams=1, script=copy).fingerprint() != same


def test_the_fingerprint_moves_with_a_module_beside_the_script(context: RunContext, tmp_path: Path) -> None:
    script, module, other = tmp_path / "w.py", tmp_path / "prompts.py", tmp_path / "other.py"
    script.write_text("from prompts import PROMPT\n")
    module.write_text("import json\nPROMPT = 'a'\n")
    other.write_text("never imported\n")
    before = system(context, script=script).fingerprint()
    other.write_text("changed\n")
    assert system(context, script=script).fingerprint() == before
    module.write_text("import json\nPROMPT = 'b'\n")
    assert system(context, script=script).fingerprint() != before


def test_weights_of_a_folder_are_told_by_their_content(context: RunContext, tmp_path: Path, some: list[Case]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("one")
    first = system(context, model=str(tmp_path / "model")).fingerprint()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights").write_text("one")
    assert system(context, model=str(tmp_path / "elsewhere")).fingerprint() == first
    (tmp_path / "elsewhere" / "weights").write_text("two")
    assert system(context, model=str(tmp_path / "elsewhere")).fingerprint() != first


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (Weights("org/model", remote_code=True), "set the option revision"),
        (Weights("org/model", "main", remote_code=True), "a branch or a tag may move"),
        (Weights("~nobody-5471/model"), "no such folder"),
        (Weights("./missing"), "no such folder"),
        (Weights(".", "main"), "has no revision"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(weights: Weights, says: str) -> None:
    with pytest.raises(BenchError, match=says):
        weights.check()


def test_remote_code_runs_at_a_named_revision_and_from_a_folder(tmp_path: Path) -> None:
    Weights("org/model", "0123456789abcdef" * 2 + "01234567", remote_code=True).check()
    Weights(str(tmp_path), remote_code=True).check()


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    names = ("head.weight", "encoder.mask_token")
    model = SimpleNamespace(named_parameters=lambda: [(name, None) for name in names])
    bench_worker.need_weights(tmp_path, model, ["encoder.mask_token", "a buffer"], spare="mask_token")
    for missing, spare in ((["head.weight", "encoder.mask_token"], "mask_token"), (["head.weight"], "")):
        with pytest.raises(bench_worker.Unavailable, match=r"no weights for 1 parameters \(head\.weight"):
            bench_worker.need_weights(tmp_path, model, missing, spare)


def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "odd [name]"
    folder.mkdir()
    (folder / "config.json").touch()
    bench_worker.need_files(folder, "config.json")
    with pytest.raises(bench_worker.Unavailable, match=r"has no \*\.safetensors") as refused:
        bench_worker.need_files(folder, "config.json", "*.safetensors")
    assert "convert them" in refused.value.remedy
    (folder / "model.safetensors").touch()
    bench_worker.need_files(folder, "config.json", "*.safetensors")


def test_deep_gray_is_scaled_and_floating_point_refused(tmp_path: Path) -> None:
    deep = Picture.fromarray(np.array([[0, 4095], [2048, 1]], np.uint16))
    deep.save(tmp_path / "deep.png")
    assert np.asarray(bench_worker.picture(tmp_path / "deep.png"))[..., 0].tolist() == [[0, 255], [128, 0]]
    Picture.fromarray(np.array([[0.0, 1.0]], np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="floating-point"):
        bench_worker.picture(tmp_path / "float.tif")


# ------------------------------------------------------------------ batches, memory, devices


def test_batches_are_halved_until_they_fit_and_no_case_is_lost(
    context: RunContext, tmp_path: Path, diary: Path
) -> None:
    tried = system(context, diary, batch_size=8, memory=2)
    many = cases(tmp_path / "dataset", 11)
    reports = list(tried.generate(many))
    assert [report.id for report in reports] == [case.id for case in many]
    assert not any(report.error for report in reports)
    assert diary_of(diary, "batch") == [8, 4, 2, 2, 2, 2, 2, 1], "found once, kept for the second chunk"
    assert "out of memory: 2 at a time from here on" in tried.details()["notes"]


def test_a_case_that_does_not_fit_alone_fails_alone(context: RunContext, some: list[Case]) -> None:
    reports = list(system(context, batch_size=4, memory=0).generate(some))
    assert all(report.error and "out of memory" in report.error for report in reports)


def test_one_bad_case_does_not_spoil_its_batch(context: RunContext, some: list[Case]) -> None:
    reports = {r.id: r for r in system(context, batch_size=6, on={"case2": "raise"}).generate(some)}
    assert len(reports) == 6
    assert reports["case2"].error == "KeyError: 'a bug of the model'"
    assert all(report.error is None for case_id, report in reports.items() if case_id != "case2")


def test_several_devices_share_the_cases(context: RunContext, tmp_path: Path, diary: Path) -> None:
    many = cases(tmp_path / "dataset", 24)
    one = {r.id: r.text for r in system(context).generate(many)}
    two = {r.id: r.text for r in system(context, diary, devices=["cpu", "cpu"]).generate(many)}
    assert two == one
    assert len({seen["pid"] for seen in diary_of(diary, "seen")}) == 2


# ------------------------------------------------------------------ failures


@pytest.mark.parametrize("how", ["exit-once", "kill-once", "hang-once"])
def test_a_lost_worker_is_started_again_at_the_first_unanswered_case(
    context: RunContext, some: list[Case], diary: Path, tmp_path: Path, how: str
) -> None:
    tried = system(context, diary, on={"case3": how}, mark=str(tmp_path / "mark"), timeout_s=1.5)
    reports = list(tried.generate(some))
    assert [report.id for report in reports] == [case.id for case in some]
    assert not any(report.error for report in reports)
    assert diary_of(diary, "case") == [case.id for case in some], "none was written twice"
    assert len({seen["pid"] for seen in diary_of(diary, "seen")}) == 2


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("exit", "ended with exit code 1"),
        ("kill", "was killed (SIGKILL"),
        ("hang", "gave no answer for 1.5 s and was stopped"),
    ],
)
def test_a_case_that_kills_twice_fails_alone_with_the_last_words(
    context: RunContext, some: list[Case], how: str, says: str
) -> None:
    reports = list(system(context, on={"case3": how}, timeout_s=1.5).generate(some))
    failed = [report for report in reports if report.error]
    assert [report.id for report in failed] == ["case3"]
    assert len(reports) == 6
    error = failed[0].error or ""
    assert says in error
    assert f"about to {how}" in error
    assert "worker.log" in error


def test_a_worker_that_dies_on_every_case_stops_the_run(context: RunContext, some: list[Case]) -> None:
    with pytest.raises(BenchError, match=r"lost 8 times without an answer: it ended with exit code 1"):
        list(system(context, on={case.id: "exit" for case in some}).generate(some))


def test_two_bad_cases_side_by_side_do_not_stop_a_run_that_has_only_them_left(
    context: RunContext, some: list[Case]
) -> None:
    reports = list(system(context, on={"case2": "exit", "case3": "kill"}).generate(some[2:4]))
    assert [bool(report.error) for report in reports] == [True, True]


def test_what_a_dead_worker_leaves_behind_is_ended_and_not_waited_for(
    context: RunContext, some: list[Case], diary: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    tried = system(context, diary, on={"case1": "fork-once"}, mark=str(tmp_path / "mark"), timeout_s=60)
    assert not any(report.error for report in tried.generate(some))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("os.close(1)\ntime.sleep(60)", "closed its standard output and was stopped"),
        ("while True: print(json.dumps({'type': 'note', 'text': str(time.time())}))", "gave no answer for 1 s"),
        ("time.sleep(60)", "gave no answer for 1 s"),
    ],
)
def test_a_worker_that_lives_and_gives_no_answer_is_stopped(
    context: RunContext, some: list[Case], tmp_path: Path, script: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.workers.process.PATIENCE_S", 1.0)
    file = tmp_path / "stranger.py"
    greeting = "print(json.dumps({'type': 'hello', 'protocol': 1}))\nprint(json.dumps({'type': 'ready'}), flush=True)\n"
    file.write_text(f"import json, os, sys, time\n{greeting}sys.stdin.readline()\n{script}\n")
    tried = system(context, script=file, timeout_s=1)
    assert says in (next(iter(tried.generate(some[:1]))).error or "")
    assert len(tried.details()["notes"]) <= 50


def test_what_is_no_text_is_no_report(context: RunContext, some: list[Case]) -> None:
    reports = list(system(context, mute=True).generate(some[:1]))
    assert reports[0].error == "the model gave a NoneType, not a text"


def test_settings_and_facts_that_are_no_json_are_kept_as_far_as_they_are(context: RunContext, some: list[Case]) -> None:
    tried = system(context, odd_settings=True)
    list(tried.generate(some[:1]))
    assert tried.details()["settings"] == {"temperature": "NaN", "beams": 3}
    assert tried.facts() == {"parameters": 7.0}


def test_a_copys_name_tells_nothing_of_its_file(
    context: RunContext, some: list[Case], diary: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "\udcff s1.p10000032"
    odd.write_bytes(b"123")
    linked = tmp_path / "link.jpeg"
    linked.symlink_to(odd)
    tried = system(context, diary)
    given = [Case("a", "p", (Image(odd, "PA"),)), Case("b", "p", (Image(linked, "PA"),))]
    assert [report.text for report in tried.generate(given)] == ["Saw 3 bytes. "] * 2
    assert [Path(seen["paths"][0]).name for seen in diary_of(diary, "seen")] == ["0-0", "1-0.jpeg"]


def test_a_full_disk_is_no_fault_of_an_image(
    context: RunContext, some: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        list(system(context).generate(some[:1]))


def test_copies_that_a_killed_call_left_are_gone_once_the_next_begins(context: RunContext) -> None:
    left = context.workdir / "worker-3" / "images" / "0-0.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a radiograph")
    system(context).prepare(None)  # type: ignore[arg-type]
    assert not left.exists()


def test_a_lane_that_is_closed_while_it_starts_leaves_no_process(context: RunContext, some: list[Case]) -> None:
    tried = system(context)
    lane = tried._worker._crew.lanes[0]
    launch, started = lane._launch, []

    def slow() -> Process:
        lane.stopped = True  # as the thread that closes says it, while this one starts a process
        lane.close(kill=True)
        started.append(launch())
        return started[0]

    lane._launch = slow
    with pytest.raises(Lost):
        lane.ready()
    assert not started[0].alive


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("doing", ["hang", "load"])
def test_a_run_that_is_ended_leaves_no_process_and_no_copy(tmp_path: Path, doing: str, end: signal.Signals) -> None:
    script = tmp_path / "worker_of_this_test.py"
    script.write_text(OBEDIENT.read_text())
    odd = {"sleep_at_start": 60} if doing == "load" else {"on": {"case0": "hang", "case4": "hang"}}
    write_config(tmp_path, **odd)
    chosen = ("--set", f"systems.mine.script={script}", "--set", "systems.mine.timeout_s=60")
    devices = ("--set", "systems.mine.devices=[cpu, cpu]", "--out", str(tmp_path / "o"))
    running = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", "run", *chosen, *devices], stderr=subprocess.PIPE, text=True
    )
    copies = lambda: list((tmp_path / "o").glob("*/work/*/images/*"))  # noqa: E731
    logs = lambda: [log.read_text() for log in (tmp_path / "o").glob("*/work/*/worker.log")]  # noqa: E731
    _until(lambda: _processes(str(script)) if doing == "load" else str(logs()).count("about to hang") == 2)
    assert doing == "load" or len({copy.parent for copy in copies()}) == 2
    began = time.monotonic()
    running.send_signal(end)
    said = running.communicate(timeout=30)[1]
    if end == signal.SIGTERM:
        assert running.returncode == 130
        assert time.monotonic() - began < 15
        assert "interrupted; the same command continues" in said
        assert "Traceback" not in said
    else:
        _until(lambda: not _processes(str(script)))
    assert not _processes(str(script))
    assert not copies()


def _until(done: Callable[[], Any], patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _processes(script: str) -> list[str]:
    """Return the processes that run a script, by their command lines; zombies have none."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            lines.append((process / "cmdline").read_text().replace("\0", " ").strip())
    return [line for line in lines if line.endswith(script)]


def test_garbage_on_the_line_is_told_with_the_last_words(context: RunContext, some: list[Case]) -> None:
    with pytest.raises(BenchError) as caught:
        list(system(context, on={"case1": "garbage"}).generate(some))
    assert "no message of the protocol" in str(caught.value)
    assert "Traceback or whatever" in str(caught.value)
    assert "about to garbage" in str(caught.value)


def test_a_flooded_log_is_cut_on_disk_and_harms_nothing(context: RunContext, some: list[Case]) -> None:
    reports = list(system(context, on={"case1": "flood"}).generate(some))
    assert not any(report.error for report in reports)
    log = context.workdir / "worker-0" / "worker.log"
    assert 16_000_000 <= log.stat().st_size < 17_000_000
    assert "no more of it is kept" in log.read_text()[-200:]


def test_what_the_worker_prints_is_in_its_log(context: RunContext, some: list[Case]) -> None:
    list(system(context).generate(some[:1]))
    assert "printed by a library while it loads" in (context.workdir / "worker-0" / "worker.log").read_text()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"exit_at_start": 1},
            BenchError,
            "cannot start: it ended with exit code 1; last words:\n    I shall not work",
        ),
        ({"unavailable": True}, Unavailable, "the model is on the moon\n  fetch it"),
        ({"sleep_at_start": 60, "load_timeout_s": 1}, BenchError, "cannot start: it gave no answer for 1 s"),
        ({"runner": "python:/nowhere/python"}, BenchError, "no such executable"),
    ],
)
def test_a_worker_that_cannot_start_says_why(
    context: RunContext, some: list[Case], options: dict[str, Any], error: type[Exception], says: str
) -> None:
    tried = system(context, **options)
    with pytest.raises(error) as caught:
        list(tried.generate(some))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("print('hello')", "no message of the protocol to standard output: 'hello'"),
        ("", "cannot start: it ended with exit code 0"),
        ('print(\'{"type": "hello", "protocol": 99}\')\ninput()\ninput()', "speaks protocol 99; this harness speaks 1"),
        ('print(\'{"type": "ready"}\')\ninput()\ninput()', "said 'ready' where 'hello' was expected"),
        (
            "import json\nfor said in ({'type': 'hello', 'protocol': 1}, {'type': 'ready'},\n"
            "    {'type': 'answer', 'id': 'stranger', 'text': 'x'}):\n    print(json.dumps(said), flush=True)\n"
            "while True: input()",
            "answered 'stranger', which was not asked",
        ),
        (
            "import json\nfor said in ({'type': 'hello', 'protocol': 1}, {'type': 'ready'}, {'type': 'done'}):\n"
            "    print(json.dumps(said), flush=True)\nwhile True: input()",
            "says it is done, but did not answer 'case0'",
        ),
    ],
)
def test_a_script_that_breaks_the_protocol_is_told_how(
    context: RunContext, some: list[Case], tmp_path: Path, script: str, says: str
) -> None:
    file = tmp_path / "stranger.py"
    file.write_text(script)
    with pytest.raises(BenchError) as caught:
        list(system(context, script=file).generate(some))
    assert says in str(caught.value)


def test_an_image_that_is_not_there_fails_its_case_alone(context: RunContext, some: list[Case]) -> None:
    gone = Case("gone", "patient", (Image(Path("/no/such.png"), "PA"),))
    reports = {report.id: report for report in system(context).generate([some[0], gone, some[1]])}
    assert "/no/such.png: the image cannot be read" in (reports["gone"].error or "")
    assert [reports[case.id].error for case in some[:2]] == [None, None]


def test_a_caller_that_leaves_leaves_no_process_behind(context: RunContext, some: list[Case], diary: Path) -> None:
    reports = system(context, diary, on={"case1": "hang"}).generate(some)
    next(reports)
    pid = diary_of(diary, "seen")[0]["pid"]
    os.kill(pid, 0)
    reports.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# ------------------------------------------------------------------ annotators


def annotator(context: RunContext, diary: Path, **options: Any) -> ScriptAnnotator:
    given = {"diary": str(diary), **options}
    settings = {"script": str(OBEDIENT), "runner": HERE, "devices": ["cpu"], "options": given}
    return ScriptAnnotator(ScriptOptions.model_validate(settings), context)


def test_an_annotator_runs_in_a_worker_that_lives_from_call_to_call(context: RunContext, diary: Path) -> None:
    tried = annotator(context, diary, bad_text="no")
    first = tried.annotate(["edema", "no", "clear"])
    assert first[0] == {"labels": {"Edema": 1}}
    assert first[2] == {"labels": {"Edema": 0}}
    assert first[1] == Unannotated("ValueError: cannot read this")
    began = time.monotonic()
    assert tried.annotate(["no edema"]) == [{"labels": {"Edema": 1}}]
    assert time.monotonic() - began < 5
    log = (context.workdir / "annotator-obedient-0" / "worker.log").read_text()
    assert log.count("printed by a library while it loads") == 1


def test_an_annotator_of_a_script_serves_a_metric(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "labels.py"
    script.write_text(
        "from bench_worker import serve\n"
        "class Labels:\n"
        "    def __init__(self, options, device): pass\n"
        "    def annotate(self, texts):\n"
        "        names = ['Edema', 'Cardiomegaly', 'Consolidation', 'Atelectasis', 'Pleural Effusion', 'Pneumonia',\n"
        "            'Enlarged Cardiomediastinum', 'Lung Opacity', 'Lung Lesion', 'Pneumothorax', 'Pleural Other',\n"
        "            'Fracture', 'Support Devices', 'No Finding']\n"
        "        return [{'labels': {n: 1 if n.lower() in t.lower() else None for n in names}} for t in texts]\n"
        "serve(Labels)\n"
    )
    table = tmp_path / "table.csv"
    table.write_text("id,candidate,reference\na,edema,edema\nb,clear,edema\nc,pneumonia,pneumonia\n")
    config = tmp_path / "c.yaml"
    config.write_text(
        f"annotators: {{mine: {{use: worker, script: {script}, runner: 'python:{sys.executable}'}}}}\n"
        "metrics: {chexbert-f1: {annotator: mine}}\nrun: {bootstrap: 0}\n"
    )
    answer = bench("score", table, "-c", config, "--metrics", "chexbert-f1", "--json")
    assert answer.code == 0, answer.err
    scores = json.loads(answer.out)["scores"]
    assert scores["Mi-14"]["value"] == pytest.approx(0.8)  # 2 hits, 1 missed, 0 extra: 4 / 5


# ------------------------------------------------------------------ the command line


def write_config(tmp_path: Path, **options: Any) -> None:
    given = {"diary": str(tmp_path / "diary"), **options}
    entry = {"use": "worker", "script": str(OBEDIENT), "runner": HERE, "options": given}
    entry |= {"timeout_s": 2, "devices": ["cpu"]}
    config = {
        "dataset": {"use": f"{WORLD}:Pictures", "folder": str(tmp_path / "dataset")},
        "systems": {"mine": entry},
        "metrics": {"bleu-4": {}},
        "run": {"bootstrap": 0},
    }
    Path("bench.yaml").write_text(json.dumps(config))


def test_a_run_whose_worker_is_killed_ends_complete(bench: Bench, tmp_path: Path) -> None:
    write_config(tmp_path, on={"case2": "kill-once"}, mark=str(tmp_path / "mark"))
    answer = bench("run", "--out", "o")
    assert answer.code == 0, answer.err
    assert diary_of(tmp_path / "diary", "case") == [f"case{i}" for i in range(6)]


def test_a_run_with_a_bad_case_continues_and_asks_it_alone(bench: Bench, tmp_path: Path) -> None:
    write_config(tmp_path, on={"case2": "exit"})
    stopped = bench("run", "--out", "o")
    assert stopped.code == 2
    assert "1 of 6 cases have no report" in stopped.err
    assert "about to exit" in stopped.err
    assert "Traceback" not in stopped.err
    again = bench("run", "--out", "o", "--allow-failed")
    assert again.code == 0, again.err
    assert sorted(diary_of(tmp_path / "diary", "case")) == [f"case{i}" for i in (0, 1, 3, 4, 5)]


def test_a_dry_run_starts_nothing(bench: Bench, tmp_path: Path) -> None:
    write_config(tmp_path)
    answer = bench("run", "--out", "o", "--dry-run")
    assert answer.code == 0, answer.err
    assert "reports to write: 6 cases" in answer.out
    assert not (tmp_path / "diary").exists()
    assert not Path("o").exists()


def test_a_script_is_named_on_the_command_line(bench: Bench, tmp_path: Path) -> None:
    Path("model.py").write_text(OBEDIENT.read_text())
    write_config(tmp_path)
    answer = bench("run", "--system", "worker:./model.py", "--set", f"systems.worker/model.runner={HERE}", "--out", "o")
    assert answer.code == 0, answer.err
    assert Path("o/worker/model/done.json").exists()
    missing = bench("run", "--system", "worker:./missing.py", "--out", "p")
    assert missing.code == 2
    assert "missing.py': no such file" in missing.err


def test_a_worker_is_tried_on_one_image(bench: Bench, tmp_path: Path) -> None:
    write_config(tmp_path, on={"by-hand": None}, notes=True)
    frontal, lateral = (image.path for image in cases(tmp_path / "x")[1].images)
    prior = tmp_path / "prior.txt"
    prior.write_text("An old report.")
    answer = bench("worker", "try", "mine", frontal, lateral, "--indication", "Cough.", "--prior-report", prior)
    assert answer.code == 0, answer.err
    assert answer.out == f"Saw {frontal.stat().st_size + lateral.stat().st_size} bytes. Cough.\nfiles: 2\n"
    seen = diary_of(tmp_path / "diary", "seen")[0]
    assert seen["priors"] == ["An old report."]
    assert seen["lateral"] is not None
    missing = bench("worker", "try", "mine", "/no/such.png")
    assert (missing.code, "/no/such.png: the image cannot be read" in missing.err) == (2, True)
    other = bench("worker", "try", "constant", frontal)
    assert (other.code, "runs in this process" in other.err) == (2, True)


def test_the_helper_is_where_the_command_says(bench: Bench) -> None:
    assert (Path(bench("worker", "path").out.strip()) / "bench_worker.py").is_file()


def test_a_worker_runs_by_hand(tmp_path: Path) -> None:
    image = cases(tmp_path)[0].images[0].path
    helper = str(environment.HELPER.parent)
    done = subprocess.run(
        [sys.executable, OBEDIENT, "--device", "cpu", image, "--indication", "Cough."],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": helper},
    )
    assert done.stdout.splitlines()[-1] == f"Saw {image.stat().st_size} bytes. Cough."


def test_the_examples_of_the_docs_run(bench: Bench, tmp_path: Path) -> None:
    page = Path(__file__).parent.parent / "docs" / "workers.md"
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        Path(block.splitlines()[0].removeprefix("# ")).write_text(block)
    write_config(tmp_path)
    systems = "worker:./model.py,./plugin.py:Bright"
    runner = ("--set", f"systems.*.runner={HERE}", "--out", "o", "--json")
    answer = bench("run", "--system", systems, *runner, "--set", "systems.Bright.limit=10")
    assert answer.code == 0, answer.err
    said = {
        name: {json.loads(line)["text"] for line in Path(f"o/{name}/reports.jsonl").read_text().splitlines()}
        for name in ("worker/model", "Bright")
    }
    assert said["worker/model"] == {"The lungs are clear."}, "the images are darker than 128"
    assert said["Bright"] == {"The lungs are clear.", "There is an opacity."}, "and lie about 10"


# ------------------------------------------------------------------ environments


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os\n", "no blocks of inline metadata"),
        ("# /// script\n# dependencies = []\n# ///\n\n# /// script\n# dependencies = []\n# ///\n", "2 blocks"),
    ],
)
def test_a_script_without_its_metadata_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "w.py").write_text(text)
    with pytest.raises(BenchError, match=says):
        environment.metadata(tmp_path / "w.py")


def test_metadata_is_the_block_without_its_hashes() -> None:
    assert environment.metadata(OBEDIENT) == 'requires-python = ">=3.8"\ndependencies = []\n'


def test_a_damaged_environment_is_named_where_its_worker_cannot_start(context: RunContext, tmp_path: Path) -> None:
    script = tmp_path / "w.py"
    script.write_text("# /// script\n# dependencies = []\n# ///\nimport surely_not_there\n")
    note = {"metadata": environment.identity(script), "python": sys.executable}
    environment._note(script, context).write_text(json.dumps(note))
    with pytest.raises(BenchError, match=f"remove it to have it built anew, if it is damaged: {sys.prefix}"):
        system(context, script=script, runner="uv").prepare(None)  # type: ignore[arg-type]


def test_an_environment_that_cannot_be_built_says_so_with_uvs_last_words(
    context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "w.py"
    script.write_text('# /// script\n# dependencies = ["surely-not-there-5471"]\n# ///\n')
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(Unavailable, match="surely-not-there-5471"):
        environment.uv_python(script, context)


@pytest.mark.slow
def test_an_environment_is_built_once_and_again_for_other_metadata(
    context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    script = tmp_path / "w.py"
    script.write_text('# /// script\n# requires-python = ">=3.8"\n# dependencies = []\n# ///\n')
    asked: list[str] = []
    real = environment._uv
    monkeypatch.setattr(environment, "_uv", lambda *a: asked.append(a[0]) or real(*a))
    python = environment.uv_python(script, context)
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0
    assert environment.uv_python(script, context) == python
    assert asked == ["sync", "python"]
    script.write_text('# /// script\n# requires-python = ">=3.9"\n# dependencies = []\n# ///\n')
    environment.uv_python(script, context)
    assert asked == ["sync", "python"] * 2


@pytest.mark.parametrize("engine", ["apptainer", "docker"])
def test_a_container_sees_the_workers_folders_only(
    context: RunContext, some: list[Case], diary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """An engine of the same command line that records it, and runs what is asked without a container."""
    monkeypatch.setenv("SERVICE_API_KEY", "secret")
    programs = tmp_path / "programs"
    programs.mkdir()
    image = "lab/image:1" if engine == "docker" else str(tmp_path / "image.sif")
    (programs / engine).write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"open({str(tmp_path / 'argv')!r}, 'w').write(json.dumps(sys.argv[1:]))\n"
        f"json.dump(dict(os.environ), open({str(tmp_path / 'environment')!r}, 'w'))\n"
        f"inside = sys.argv[sys.argv.index({image!r}) + 1:]\n"
        "given = dict(p.split('=', 1) for f, p in zip(sys.argv, sys.argv[1:]) if f == '--env')\n"
        "given.update((k[13:], v) for k, v in os.environ.items() if k.startswith('APPTAINERENV_'))\n"
        f"os.execve({sys.executable!r}, ['python3', *inside[1:]], given)\n"
    )
    (programs / engine).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("WANTED", 'a "quoted", word')
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
    monkeypatch.setenv("APPTAINER_BINDPATH", "/data")
    blobs, model = tmp_path / "elsewhere", tmp_path / "cache-of-the-hub" / "snapshot"
    blobs.mkdir()
    model.mkdir(parents=True)
    (blobs / "0f").write_text("weights")
    (model / "model.safetensors").symlink_to(blobs / "0f")
    (tmp_path / "shortcut").symlink_to(model.parent)
    given = {"model": str(tmp_path / "shortcut" / "snapshot"), "environment": ["WANTED"]}
    tried = system(context, diary, runner=f"{engine}:{image}", **given)
    assert not any(report.error for report in tried.generate(some))
    outside = json.loads((tmp_path / "environment").read_text())
    assert outside.get("DOCKER_HOST"), "the engine itself is run as it would be by hand"
    assert "APPTAINER_BINDPATH" not in outside or engine == "docker"
    argv = json.loads((tmp_path / "argv").read_text())
    assert "secret" not in json.dumps(argv)
    mounts = [value for flag, value in pairwise(argv) if flag in ("--bind", "--volume")]
    writable = {mount.split(":")[0] for mount in mounts if mount.endswith(":rw")}
    assert str(context.workdir / "worker-0") in writable
    assert len(writable) == 2, "the work folder, and where code of a model's repository is unpacked"
    shown = {mount.split(":")[0] for mount in mounts if mount.endswith(":ro")}
    assert {str(OBEDIENT.parent), str(model), str(blobs)} <= shown, "links are followed"
    assert ("none" in argv) == (engine == "docker")
    assert ("--containall" in argv) == (engine == "apptainer")
    assert argv[argv.index("--workdir") + 1] == str(context.workdir / "worker-0")
    seen = diary_of(diary, "seen")[0]
    assert {"SERVICE_API_KEY", "DOCKER_HOST", "MIMIC_CXR_JPG"}.isdisjoint(seen["environment"])
    assert {"WANTED", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE"} <= set(seen["environment"])


def test_a_folder_that_no_container_can_be_shown_is_named(
    context: RunContext, some: list[Case], tmp_path: Path
) -> None:
    (tmp_path / "a:b").mkdir()
    with pytest.raises(BenchError, match="a:b: a container cannot be shown"):
        list(system(context, runner="docker:image", model=str(tmp_path / "a:b")).generate(some))


def test_an_engine_that_is_not_there_is_named(
    context: RunContext, some: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="apptainer is not installed"):
        list(system(context, runner="apptainer:/x.sif").generate(some))


@pytest.mark.slow
@pytest.mark.network
def test_a_real_environment_holds_what_the_script_asks_for(context: RunContext, tmp_path: Path) -> None:
    script = tmp_path / "w.py"
    script.write_text(
        '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["six==1.16.0"]\n# ///\n'
        "import six\nfrom bench_worker import serve\n"
        "class Model:\n"
        "    def __init__(self, options, device): pass\n"
        "    def write(self, cases): return [six.__version__ for case in cases]\n"
        "serve(Model)\n"
    )
    tried = system(context, script=script, runner="uv")
    assert {line.what for line in tried.plan(None, [])} == {"reports to write", "environment to build"}  # type: ignore[arg-type]
    assert [r.text for r in tried.generate(cases(tmp_path, 2))] == ["1.16.0", "1.16.0"]
    assert tried.details()["versions"] == {"six": "1.16.0"}
    assert {line.what for line in tried.plan(None, [])} == {"reports to write"}  # type: ignore[arg-type]
