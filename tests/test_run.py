"""`bench run` with small plugins: folders, resume, failures, refusals."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.context import RunContext
from bench.errors import BenchError

PLUGINS = Path(__file__).with_name("plugins.py")
Bench = Callable[..., Any]


def write_config(name: str = "bench.yaml", systems: str = "{}", metrics: str = "{}", dataset: str = "n: 12") -> None:
    Path(name).write_text(
        f"dataset: {{use: '{PLUGINS}:TinyDataset', {dataset}}}\n"
        f"systems: {{parrot: {{use: '{PLUGINS}:Parrot', {systems.strip('{}')}}}}}\n"
        f"metrics: {{words: {{use: '{PLUGINS}:WordF1', {metrics.strip('{}')}}}}}\n"
        "run: {bootstrap: 50}\n"
    )


def lines(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def loaded(file: str) -> Any:
    return json.loads(Path(file).read_text())


def test_a_run_leaves_all_its_files_and_prints_a_table(bench: Bench) -> None:
    write_config()
    answer = bench("run", "--out", "o")
    assert answer.code == 0, answer.err
    assert "words/Word F1" in answer.out
    assert "(no real system)" in answer.out
    names = {path.name for path in Path("o/parrot").iterdir()}
    assert names >= {
        "run.json",
        "cases.jsonl",
        "reports.jsonl",
        "facts.json",
        "problems.jsonl",
        "summary.json",
        "done.json",
    }
    assert [line["id"] for line in lines("o/parrot/reports.jsonl")] == [f"test{i:03d}" for i in range(12)]
    score = loaded("o/parrot/summary.json")["scores"]["words/WordF1"]
    assert score["ci_low"] < score["value"] < score["ci_high"]
    assert (score["n"], score["signature"]) == (12, "word-f1|v:1")
    assert lines("o/parrot/problems.jsonl") == [{"file": "split.csv", "id": "test999", "why": "no image file"}]


def test_score_is_the_micro_f1_worked_out_from_the_reports(bench: Bench) -> None:
    write_config()
    bench("run", "--out", "o")
    references = {line["id"]: line["reference"] for line in lines("o/parrot/cases.jsonl")}
    hit = extra = missed = 0
    for report in lines("o/parrot/reports.jsonl"):
        said, true = set(report["text"].split()), set(references[report["id"]].split())
        hit, extra, missed = hit + len(said & true), extra + len(said - true), missed + len(true - said)
    value = loaded("o/parrot/summary.json")["scores"]["words/WordF1"]["value"]
    assert value == pytest.approx(2 * hit / (2 * hit + extra + missed))


def test_default_folder_is_named_by_dataset_split_and_configuration(bench: Bench) -> None:
    write_config()
    assert bench("run").code == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("plugins.py-TinyDataset-test-")
    assert bench("run", "--seed", "1").code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_the_same_command_again_asks_nothing_again(bench: Bench) -> None:
    write_config(systems="log: asked.txt")
    bench("run", "--out", "o")
    before = loaded("o/parrot/summary.json")
    assert bench("run", "--out", "o").code == 0
    assert len(Path("asked.txt").read_text().splitlines()) == 12
    assert loaded("o/parrot/summary.json") == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--set", "systems.parrot.skip=[test001]"], "config.systems.parrot.skip"),
        (["--set", "dataset.salt=x"], "dataset_fingerprint"),
        (["--limit", "5"], "n_cases: 12 -> 5"),
        (["--seed", "3"], "config.run.seed: 0 -> 3"),
    ],
)
def test_another_configuration_in_the_same_folder_is_refused(bench: Bench, arguments: list[str], word: str) -> None:
    write_config()
    bench("run", "--out", "o")
    before = Path("o/parrot/run.json").read_text()
    answer = bench("run", "--out", "o", *arguments)
    assert answer.code == 2
    assert word in answer.err
    assert "Choose another --out" in answer.err
    assert Path("o/parrot/run.json").read_text() == before


def test_limit_is_a_draw_by_the_seed(bench: Bench) -> None:
    write_config()

    def drawn(seed: int) -> list[str]:
        bench("run", "--out", f"o{seed}", "--limit", "5", "--seed", str(seed))
        return [line["id"] for line in lines(f"o{seed}/parrot/cases.jsonl")]

    assert len(drawn(0)) == 5
    assert drawn(0) == sorted(drawn(0))
    assert drawn(0) != drawn(1)


def test_failed_reports_are_kept_named_and_asked_again(bench: Bench) -> None:
    write_config(systems="fail: [test003, test007], log: asked.txt")
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "2 of 12 cases have no report" in answer.err
    assert "test003: no answer came" in answer.err
    assert not Path("o/parrot/done.json").exists()
    bench("run", "--out", "o")
    assert Path("asked.txt").read_text().splitlines()[12:] == ["test003", "test007"]


def test_allowed_failures_are_scored_as_empty_counted_and_shown(bench: Bench) -> None:
    write_config(systems="fail: [test003], skip: [test007]")
    answer = bench("run", "--out", "o", "--allow-failed")
    assert answer.code == 0, answer.err
    assert "2 failed reports scored as empty" in answer.out
    failed = [line for line in lines("o/parrot/reports.jsonl") if line["error"]]
    assert [(line["id"], line["error"]) for line in failed] == [
        ("test003", "no answer came"),
        ("test007", "the system gave no report"),
    ]
    assert loaded("o/parrot/summary.json")["n_reports_failed"] == 2
    score = loaded("o/parrot/summary.json")["scores"]["words/WordF1"]
    assert score["n"] == 12


def test_a_plugins_crash_is_one_message_and_keeps_what_was_made(bench: Bench) -> None:
    write_config(systems="crash: true")
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "ZeroDivisionError: a bug of the plugin" in answer.err
    assert "Traceback" not in answer.err
    assert "Traceback" in Path("o/parrot/error.log").read_text()
    assert len(lines("o/parrot/reports.jsonl")) == 5


def test_reports_on_other_cases_are_refused(bench: Bench) -> None:
    write_config(systems="stranger: true")
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "reported on 'stranger'" in answer.err


@pytest.mark.parametrize(
    ("options", "reason", "remedy"),
    [
        ("missing: true", "the dictionary is not installed", "install the dictionary"),
        ("broken: true", "KeyError: 'a bug of the metric'", "error-words.log"),
        ("nonfinite: true", "are not finite", "the same command tries again"),
    ],
)
def test_a_metric_that_cannot_run_is_a_dash_with_reason_and_remedy(
    bench: Bench, options: str, reason: str, remedy: str
) -> None:
    write_config(metrics=options)
    answer = bench("run", "--out", "o")
    assert answer.code == 0
    assert reason in answer.out
    assert remedy in answer.out
    score = loaded("o/parrot/summary.json")["scores"]["words/WordF1"]
    assert (score["value"], score["n"], score["n_failed"]) == (None, 0, 12)
    assert bench("run", "--out", "o", "--strict").code == 2


def test_a_metric_that_was_missing_is_measured_when_it_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import registry

    write_config()
    metric = registry.find("metric", f"{PLUGINS}:WordF1").plugin
    observe = metric.observe
    monkeypatch.setattr(metric, "observe", lambda self, pairs: 1 / 0)
    bench("run", "--out", "o")
    assert loaded("o/parrot/summary.json")["scores"]["words/WordF1"]["value"] is None
    monkeypatch.setattr(metric, "observe", observe)
    assert bench("run", "--out", "o").code == 0
    assert loaded("o/parrot/summary.json")["scores"]["words/WordF1"]["value"] > 0


def test_training_cases_that_are_reported_on_are_refused(bench: Bench) -> None:
    write_config(dataset="leak: true")
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "12 cases are in the training split and in the split reported on" in answer.err


def test_unknown_split(bench: Bench) -> None:
    write_config()
    answer = bench("run", "--split", "tset")
    assert answer.code == 2
    assert "No split named 'tset'. Did you mean test?" in answer.err


def test_json(bench: Bench) -> None:
    write_config()
    answer = bench("run", "--out", "o", "--json")
    run = json.loads(answer.out)["runs"][0]
    assert run["folder"] == "o/parrot"
    assert run["scores"]["words/WordF1"]["n"] == 12


def test_credentialed_runs_are_private(bench: Bench) -> None:
    write_config(dataset="credentialed: true")
    assert bench("run", "--out", "o").code == 0
    loose = [p for p in Path("o").rglob("*") if stat.S_IMODE(p.stat().st_mode) & 0o077]
    assert not loose
    assert loaded("o/parrot/run.json")["credentialed"] is True


def test_remote_chat_backends_are_refused_on_credentialed_data(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.7:11434")
    context.for_run(Path("w")).llm("ollama/llama3")
    context.credentialed = True
    with pytest.raises(BenchError, match=r"the dataset is credentialed.*192\.0\.2\.7"):
        context.for_run(Path("w")).llm("ollama/llama3")


def test_two_processes_in_one_folder(bench: Bench) -> None:
    write_config()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from pathlib import Path\nfrom bench.store import locked\n"
            "with locked(Path('o/parrot')):\n    print('held', flush=True)\n    input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    answer = bench("run", "--out", "o")
    holder.communicate("\n")
    assert answer.code == 2
    assert "another process is working in this folder" in answer.err


KILL = """
import os, signal, sys
from pathlib import Path
from bench import run, scoring, store
event, n = sys.argv[1], int(sys.argv[2])
count = 0
def at(function, matches, before=False):
    def wrapped(*args, **kwargs):
        global count
        result = None if before else function(*args, **kwargs)
        count += matches(*args)
        if matches(*args) and count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs) if before else result
    return wrapped
if event == "report":
    store.Appender.write = at(store.Appender.write, lambda self, *v: self._path.name == "reports.jsonl")
if event == "torn":
    def torn(self, *values):
        global count
        count += 1
        line = "".join(map(store.json_line, values))
        self._file.write(line[: len(line) // 2] if count == n else line)
        self._file.flush()
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
    store.Appender.write = torn
if event == "observe":
    scoring.CHUNK = 5
    scoring._observe_chunk = at(scoring._observe_chunk, lambda *a: True, before=True)
if event == "file":
    store.write_text = at(store.write_text, lambda path, text: True, before=True)
from bench.cli import main
main(sys.argv[3:])
"""


@pytest.mark.parametrize(
    ("event", "n"),
    [("report", 1), ("report", 7), ("torn", 1), ("torn", 7), ("torn", 13), ("observe", 1), ("observe", 2)]
    + [("file", n) for n in range(1, 8)],
)
def test_killed_and_continued_equals_uninterrupted(bench: Bench, event: str, n: int) -> None:
    write_config(systems="log: asked.txt")
    bench("run", "--out", "whole")
    Path("asked.txt").unlink()
    killed = subprocess.run([sys.executable, "-c", KILL, event, str(n), "run", "--out", "o"], capture_output=True)
    assert killed.returncode == -9, (killed.returncode, killed.stderr)
    assert not Path("o/parrot/done.json").exists()
    assert bench("run", "--out", "o").code == 0
    asked = Path("asked.txt").read_text().splitlines()
    assert len(asked) <= 12 + (event in ("report", "torn"))  # only the report in flight is asked twice
    assert loaded("o/parrot/summary.json") == loaded("whole/parrot/summary.json")
    for name in ("cases.jsonl", "facts.json", "problems.jsonl", "done.json"):
        assert Path(f"o/parrot/{name}").read_text() == Path(f"whole/parrot/{name}").read_text()
    texts = [[(r["id"], r["text"]) for r in lines(f"{out}/parrot/reports.jsonl")] for out in ("o", "whole")]
    assert texts[0] == texts[1]
    assert not list(Path("o").rglob("*.part"))


def test_a_full_disk_is_named_and_continued(bench: Bench) -> None:
    """A limit on file sizes stands for the full disk: writing past it fails with an OSError, as ENOSPC does."""
    write_config()
    bench("run", "--out", "whole")
    script = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from bench.cli import main\nresource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200))\nmain(sys.argv[1:])"
    )
    full = subprocess.run([sys.executable, "-c", script, "run", "--out", "o"], capture_output=True, text=True)
    assert full.returncode == 2, full.stderr
    assert "o/parrot/" in full.stderr
    assert "File too large" in full.stderr
    assert "Traceback" not in full.stderr
    assert bench("run", "--out", "o").code == 0
    assert loaded("o/parrot/summary.json") == loaded("whole/parrot/summary.json")


def test_a_corrupt_line_in_the_middle_is_named(bench: Bench) -> None:
    write_config()
    bench("run", "--out", "o")
    file = Path("o/parrot/reports.jsonl")
    broken = file.read_text().splitlines(keepends=True)
    file.write_text("".join([broken[0], "{not json\n", *broken[2:]]))
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert f"{file}, line 2: not valid JSON" in answer.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("run.json", "[1]", "run.json: a JSON object was expected"),
        ("run.json", "{", "run.json: not valid JSON"),
        ("reports.jsonl", '{"text": "no id"}\n', "a line is no report"),
    ],
)
def test_a_damaged_run_file_is_named(bench: Bench, name: str, content: str, words: str) -> None:
    write_config()
    bench("run", "--out", "o")
    Path("o/parrot", name).write_text(content)
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert words in answer.err


def test_output_that_can_only_be_ascii() -> None:
    write_config()
    command = [sys.executable, "-m", "bench.cli", "run", "--out", "o"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert b"Word F1" in done.stdout


def test_show_and_show_case(bench: Bench) -> None:
    write_config()
    bench("run", "--out", "o")
    assert "words/Word F1" in bench("show", "o").out
    shown = bench("show", "o/parrot", "--case", "test003").out
    assert "reference: " in shown
    assert "why not" in shown
    row = next(line for line in lines("o/parrot/stats/words.jsonl") if line["id"] == "test003")
    hit, extra, missed = row["values"][:3]
    assert f"words/WordF1 {100 * 2 * hit / (2 * hit + extra + missed):.1f}" in shown
    answer = bench("show", "o/parrot", "--case", "test03")
    assert answer.code == 2
    assert "no case 'test03'" in answer.err
    assert bench("show", "nowhere").code == 2


def test_dry_run_writes_nothing(bench: Bench) -> None:
    write_config()
    answer = bench("run", "--dry-run", "--out", "o")
    assert answer.code == 0, answer.err
    assert "12 cases of 4 patients" in answer.out
    assert not Path("o").exists()


@pytest.mark.parametrize(("out", "why"), [("afile", "is a file"), ("afile/below", "afile is a file")])
def test_an_out_that_is_a_file_is_refused(bench: Bench, out: str, why: str) -> None:
    write_config()
    Path("afile").write_text("mine")
    answer = bench("run", "--out", out)
    assert (answer.code, answer.out) == (2, "")
    assert f"--out {out}: {why}; name a folder" in answer.err
    assert Path("afile").read_text() == "mine"


@pytest.mark.parametrize("width", [20, 80])
def test_a_short_label_leaves_the_heading_whole(width: int) -> None:
    from rich.console import Console

    from bench import show

    score = {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "heading": "Heading", "scale": 100, "decimals": 1}
    [table] = show.score_tables([{"label": "a", "scores": {"K": score}}], width=width)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    assert console.export_text().split()[:2] == ["system", "Heading"]


def test_doctor_counts_beside_the_published(bench: Bench) -> None:
    write_config()
    answer = bench("doctor")
    assert answer.code == 0, answer.err
    assert "differs from the published 13 (a paper)" in answer.out
    assert "1 entries left out or faulty" in answer.out


def test_init_writes_a_valid_file_and_keeps_an_existing_one(bench: Bench) -> None:
    assert bench("init").code == 0
    assert bench("init").code == 2
    os.environ.pop("MIMIC_CXR_JPG", None)
    answer = bench("run", "--dry-run")
    assert answer.code == 2
    assert "dataset.root: the environment variable MIMIC_CXR_JPG is not set" in answer.err


def test_interrupt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import run as runner

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_config()
    monkeypatch.setattr(runner, "run", interrupted)
    answer = bench("run", "--out", "o")
    assert answer.code == 130
    assert "continues" in answer.err


@pytest.mark.parametrize("name", ["reports.jsonl", "summary.json"])
def test_results_without_a_run_json_are_not_adopted(bench: Bench, name: str) -> None:
    write_config()
    Path("o/parrot").mkdir(parents=True)
    Path("o/parrot", name).write_text('{"id": "test000", "text": "from elsewhere"}\n')
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert f"holds {name} but no run.json" in answer.err
    assert not Path("o/parrot/run.json").exists()


def test_scoring_never_writes_over_its_input(bench: Bench) -> None:
    Path("reports.jsonl").write_text('{"id": "a", "candidate": "clear", "reference": "clear lungs"}\n')
    before = Path("reports.jsonl").read_text()
    answer = bench("score", "reports.jsonl", "--metrics", "bleu-4", "--out", ".")
    assert answer.code == 2
    assert "no run.json" in answer.err
    assert Path("reports.jsonl").read_text() == before


def test_an_appender_cuts_off_half_a_line(tmp_path: Path) -> None:
    from bench import store

    file = tmp_path / "lines.jsonl"
    file.write_text('{"a": 1}\n{"a": 2')
    with store.Appender(file) as out:
        out.write({"a": 3})
    assert file.read_text() == '{"a": 1}\n{"a": 3}\n'


def test_a_dataset_cannot_reach_a_remote_model_while_it_is_built(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1:9/v1")
    Path("hasty.py").write_text(
        f"import sys\nsys.path.insert(0, {str(PLUGINS.parent)!r})\nimport plugins\n"
        "class Hasty(plugins.TinyDataset):\n"
        "    def __init__(self, options, context):\n"
        "        super().__init__(options, context)\n"
        "        context.llm('openai/judge')\n"
    )
    write_config(dataset="credentialed: true")
    Path("bench.yaml").write_text(Path("bench.yaml").read_text().replace(f"{PLUGINS}:TinyDataset", "./hasty.py:Hasty"))
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "would leave this machine" in answer.err


def test_a_device_that_is_not_there_is_named(bench: Bench) -> None:
    write_config()
    answer = bench("run", "--out", "o", "--set", "run.device=cuda:99")
    assert answer.code == 2
    assert "run.device: 'cuda:99' cannot be used" in answer.err
    assert not Path("o").exists()


def test_without_torch_auto_is_the_cpu_and_another_device_names_the_package() -> None:
    write_config()
    script = "import sys\nsys.modules['torch'] = None\nfrom bench.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", script, "run", "--out", "o"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert loaded("o/parrot/run.json")["machine"]["device"] == "cpu"
    refused = subprocess.run([*command, "--set", "run.device=cuda:1"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "run.device 'cuda:1' needs the package torch" in refused.stderr


def test_images_of_earlier_studies_are_told_apart(bench: Bench) -> None:
    sizes = ("--set", "dataset.images=4", "--set", "dataset.test_images=20")
    answer = bench("run", "--config", "demo", "--system", "constant", "--metrics", "bleu-4", "--out", "o", *sizes)
    assert answer.code == 0, answer.err
    cases = lines("o/constant/cases.jsonl")
    earlier = next(case for case in cases if case["prior_images"])
    assert len(earlier["prior_images"]) == 1
    assert Path(earlier["prior_images"][0]).parent != Path(earlier["images"][0]).parent  # another study's folder
    assert all(Path(case["images"][0]).stem == case["id"] for case in cases)
    shown = bench("show", "o", "--case", earlier["id"]).out.replace("\n", "")
    assert f"prior images: {earlier['prior_images'][0]}" in shown
    without = next(case for case in cases if not case["prior_images"])
    assert "prior images" not in bench("show", "o", "--case", without["id"]).out


@pytest.mark.parametrize(("given", "says"), [("None", "which is no string"), ("'x', 3", "no tuple of Evidence")])
def test_a_report_that_is_none_is_refused_and_not_kept(bench: Bench, given: str, says: str) -> None:
    write_config()
    Path("odd.py").write_text(
        "from bench.contracts import Report\nfrom bench.options import Options\n"
        "class Odd:\n"
        "    Options = Options\n"
        "    def __init__(self, options, context): ...\n"
        "    def fingerprint(self): return 'odd'\n"
        "    def prepare(self, train): ...\n"
        "    def facts(self): return {}\n"
        f"    def generate(self, cases): return (Report(case.id, {given}) for case in cases)\n"
    )
    answer = bench("run", "--system", "./odd.py:Odd", "--out", "o")
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert Path("o/Odd/reports.jsonl").read_text() == ""
