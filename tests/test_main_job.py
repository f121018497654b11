"""The main job on the demo: all built-in systems, both ways of asking, and kill -9 wherever it hurts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

Bench = Callable[..., Any]

SMALL = """
dataset: {use: demo, images: 48, test_images: 12}
systems:
  sae-rad:
    encoder: pixels
    sae: {expansion: 2, steps: 60, batch_size: 32, lr: 1.0e-3, sparsity: 2.0e-3, checkpoint_every_s: 0.05}
  nearest-neighbour: {encoder: pixels}
  random-report: {}
  constant: {}
  copy-prior: {}
metrics: {bleu-4: {}, rouge-l: {}, meteor: {}}
run: {bootstrap: 50}
"""
WHOLE = ("run", "--system", "sae-rad", "--metrics", "bleu-4,rouge-l", "--out", "o")
SYSTEMS = ("sae-rad", "nearest-neighbour", "random-report", "constant", "copy-prior")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small demo whose images, embeddings and SAE the tests of this module share."""
    monkeypatch.setenv("BENCH_CACHE", str(shared_cache))
    Path("bench.yaml").write_text(SMALL)


@pytest.fixture(scope="module")
def whole(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of sae-rad."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "bench.yaml").write_text(SMALL)
    command = [sys.executable, "-m", "bench.cli", *WHOLE]
    environment = {**os.environ, "BENCH_CACHE": str(shared_cache)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "o" / "sae-rad"


def loaded(path: str | Path) -> Any:
    return json.loads(Path(path).read_text())


def reports(folder: str | Path) -> dict[str, tuple[str, list[Any], str | None]]:
    lines = [json.loads(line) for line in Path(folder, "reports.jsonl").read_text().splitlines()]
    return {line["id"]: (line["text"], line["evidence"], line["error"]) for line in lines}


@pytest.mark.slow
def test_all_systems_on_the_small_demo(bench: Bench, small: None) -> None:
    answer = bench("run", "--out", "o")
    assert answer.code == 0, answer.err
    for system in SYSTEMS:
        assert system in answer.out
        summary = loaded(f"o/{system}/summary.json")
        assert summary["n_cases"] == 12
        assert all(score["value"] is not None for score in summary["scores"].values())
    assert "Stand-ins: dataset demo" in answer.out
    assert "encoder pixels" in answer.out
    evidence = reports("o/sae-rad")
    assert any(kind["kind"] == "feature" and kind["text"] for _, items, _ in evidence.values() for kind in items)


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_report_is_the_same_alone_or_in_any_batch(bench: Bench, small: None, system: str) -> None:
    assert bench("run", "--system", system, "--out", "o").code == 0
    whole = reports(f"o/{system}")
    for n in (1, 5):
        assert bench("run", "--system", system, "--out", f"o{n}", "--limit", n, "--seed", "0").code == 0
        part = reports(f"o{n}/{system}")
        assert len(part) == n
        assert part == {case: whole[case] for case in part}


KILL = """
import os, signal, sys
from pathlib import Path
from bench import run, scoring, store
from bench.embeddings import EmbeddingStore
from systems.encoders.pixels import Pixels
event, n, log = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
count = 0
def die(): os.kill(os.getpid(), signal.SIGKILL)
def tick():
    global count
    count += 1
    if count == n: die()
encode = Pixels.encode
def counted(self, images):
    with log.open("a") as file: file.write("".join(f"{image}\\n" for image in images))
    rows = encode(self, images)
    if event == "encode": tick()
    return rows
Pixels.encode = counted
if event == "report":
    write = store.Appender.write
    def counted_write(self, *values):
        write(self, *values)
        if self._path.name == "reports.jsonl": tick()
    store.Appender.write = counted_write
if event == "observe":
    scoring.CHUNK = 5
    observe = scoring._observe_chunk
    def counted_observe(*args):
        tick()
        return observe(*args)
    scoring._observe_chunk = counted_observe
replace = os.replace
def counted_replace(source, target, **more):
    name = Path(target).name
    if event == "checkpoint" and name.startswith("checkpoint"): tick()
    if event == "done" and name == "done.json": tick()
    replace(source, target, **more)
os.replace = counted_replace
from bench.cli import main
main(sys.argv[4:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "n"),
    [("encode", 1), ("checkpoint", 2), ("report", 5), ("observe", 2), ("done", 1)],
)
def test_killed_with_a_fresh_cache_and_continued(
    tmp_path: Path, small: None, whole: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, event: str, n: int
) -> None:
    """The final numbers are those of an uninterrupted run, and no image is encoded twice but those in flight."""
    cache, log = tmp_path / "fresh", tmp_path / "encoded.txt"
    (cache / "demo").parent.mkdir()
    (cache / "demo").symlink_to(shared_cache / "demo")  # the drawn images only: everything learnt starts fresh
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    command = [sys.executable, "-c", KILL, event, str(n), str(log), *WHOLE]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == -9, first.stderr
    command[3] = "none"
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    encoded = log.read_text().splitlines()
    twice = len(encoded) - len(set(encoded))
    assert len(set(encoded)) == 60
    assert twice <= (32 if event == "encode" else 0)
    assert loaded("o/sae-rad/summary.json") == loaded(whole / "summary.json")
    assert loaded("o/sae-rad/facts.json") == loaded(whole / "facts.json")
    assert reports("o/sae-rad") == reports(whole)


@pytest.mark.slow
def test_the_main_job_from_a_folder_that_holds_a_folder_named_metrics(small: None) -> None:
    for name in ("metrics", "systems", "bench", "configs"):
        Path(name).mkdir()
        Path(name, "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    command = [
        str(Path(sys.executable).with_name("bench")),
        "run",
        "--system",
        "sae-rad",
        "--metrics",
        "nlg",
        "--out",
        "o",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sae-rad" in done.stdout


@pytest.mark.slow
def test_a_truncated_image_is_named_and_the_rest_is_reported(bench: Bench, small: None, shared_cache: Path) -> None:
    import shutil

    (folder,) = (shared_cache / "demo").glob("*/mimic-cxr-jpg")
    shutil.copytree(folder, "copy")
    Path("mimic.yaml").write_text(
        SMALL.replace("{use: demo, images: 48, test_images: 12}", "{use: mimic-cxr, root: copy, reports_root: copy}")
    )
    bench("run", "-c", "mimic.yaml", "--system", "nearest-neighbour", "--out", "whole")
    first = json.loads(Path("whole/nearest-neighbour/cases.jsonl").read_text().splitlines()[0])
    image = Path(first["images"][0])
    image.write_bytes(image.read_bytes()[:1500])
    answer = bench("run", "-c", "mimic.yaml", "--system", "nearest-neighbour", "--out", "o")
    assert answer.code == 2
    assert "1 of 12 cases have no report" in answer.err
    assert image.name in answer.err
    allowed = bench("run", "-c", "mimic.yaml", "--system", "nearest-neighbour", "--out", "o", "--allow-failed")
    assert allowed.code == 0, allowed.err
    assert "1 failed reports scored as empty" in allowed.out
    problems = [json.loads(line) for line in Path("o/nearest-neighbour/problems.jsonl").read_text().splitlines()]
    assert any(first["id"] in problem["id"] and "truncated" in problem["why"] for problem in problems)


def test_main_exits_with_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--system", "no-such-system"])
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
