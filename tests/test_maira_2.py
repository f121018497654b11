"""MAIRA-2: what it is shown, how its answers are read, and the whole of it on a tiny model of random weights."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.context import RunContext
from bench.errors import BenchError
from bench.workers.environment import HELPER
from bench.workers.options import WorkerOptions
from systems.maira_2 import MAIRA2, MAIRA2Options

Bench = Callable[..., Any]
HERE = Path(__file__).parent
CODE = HERE / "remote_code" / "maira_2"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker's script as a module: it imports torch and transformers only to load a model."""
    monkeypatch.syspath_prepend(str(HELPER.parent))
    spec = importlib.util.spec_from_file_location("maira_2_worker", MAIRA2.script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def full_case(helper: Any) -> Any:
    """A case that has everything, beside views and priors that the model does not take."""
    images = (
        helper.Image("f.png", "PA"),
        helper.Image("ap.png", "AP"),
        helper.Image("l.png", "LATERAL"),
        helper.Image("old-l.png", "LL", "prior"),
        helper.Image("old-f.png", "AP", "prior"),
    )
    priors = (
        helper.Prior("FINAL REPORT\n FINDINGS:\n  Clear lungs.", "Clear lungs."),
        helper.Prior("Older.", "Older."),
    )
    return helper.Case("1", images, "Cough.", " PA and\n lateral. ", "None.", priors)


# ------------------------------------------------------------------ what it is shown


def test_it_is_shown_all_that_a_case_has(worker: Any) -> None:
    import bench_worker

    shown = worker.chosen(full_case(bench_worker), worker.DEFAULTS)
    assert shown == worker.Inputs(
        current_frontal="f.png",
        current_lateral="l.png",
        prior_frontal="old-f.png",
        indication="Cough.",
        technique="PA and lateral.",
        comparison="None.",
        prior_report="FINAL REPORT FINDINGS: Clear lungs.",
    )
    assert shown.given() == (
        "current frontal, current lateral, prior frontal, indication, technique, comparison, prior report"
    )


@pytest.mark.parametrize(
    ("option", "gone"),
    [
        ("lateral", {"current_lateral"}),
        ("prior", {"prior_frontal", "prior_report"}),
        ("indication", {"indication"}),
        ("technique", {"technique"}),
        ("comparison", {"comparison"}),
    ],
)
def test_each_input_can_be_withheld(worker: Any, option: str, gone: set[str]) -> None:
    import bench_worker

    shown = worker.chosen(full_case(bench_worker), {**worker.DEFAULTS, option: False})
    assert {name for name, value in shown._asdict().items() if value is None} == gone


@pytest.mark.parametrize(("part", "text"), [("findings", "Clear lungs."), ("none", None)])
def test_the_earlier_report_can_be_its_findings_or_nothing(worker: Any, part: str, text: str | None) -> None:
    import bench_worker

    shown = worker.chosen(full_case(bench_worker), {**worker.DEFAULTS, "prior_report": part})
    assert (shown.prior_frontal, shown.prior_report) == ("old-f.png", text)


def test_an_earlier_report_goes_with_an_earlier_image_only(worker: Any) -> None:
    import bench_worker

    case = bench_worker.Case("1", (bench_worker.Image("f.png"),), priors=(bench_worker.Prior("Clear."),))
    shown = worker.chosen(case, worker.DEFAULTS)
    assert shown.prior_report is None
    assert shown.given() == "current frontal"


def test_empty_sections_are_missing_ones(worker: Any) -> None:
    import bench_worker

    case = bench_worker.Case("1", (bench_worker.Image("f.png"),), indication="", technique=" \n")
    shown = worker.chosen(case, worker.DEFAULTS)
    assert (shown.indication, shown.technique) == (None, None)


def test_deep_images_are_stretched_where_pillow_would_clip(worker: Any, tmp_path: Path) -> None:
    deep = np.array([[1000, 2000], [3000, 5000]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.asarray(worker.picture(str(tmp_path / "deep.png"))).tolist() == [[0, 64], [128, 255]]
    Image.fromarray(deep * 0 + 7).save(tmp_path / "flat.png")
    assert np.asarray(worker.picture(str(tmp_path / "flat.png"))).tolist() == [[0, 0], [0, 0]]


def test_other_images_stay_as_they_are(worker: Any, tmp_path: Path) -> None:
    grey = np.array([[10, 20], [30, 50]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.asarray(worker.picture(str(tmp_path / "grey.png"))).tolist() == grey.tolist()


# ------------------------------------------------------------------ how its answers are read


def parse(text: str) -> Any:
    """Read a grounded text as the model card says: a sentence an <obj>, its <box>es in hundredths, at bins' middles."""
    if "<" not in text:
        return text
    assert text.count("<obj>") == text.count("</obj>")
    found = []
    for phrase in re.findall("<obj>(.*?)</obj>", text):
        boxes = [
            tuple((int(n) + 0.5) / 100 for n in re.findall(r"\d+", box)) for box in re.findall("<box>.*?</box>", phrase)
        ]
        found.append((phrase.partition("<box>")[0].strip(), boxes or None))
    return found


def test_a_grounded_answer_is_plain_sentences_and_a_note_a_box(worker: Any) -> None:
    said = (
        "<obj> Small  left effusion.<box><x55><y45><x70><y56></box><box><x00><y10><x20><y30></box></obj>"
        "<obj> No pneumothorax.</obj>"
    )
    text, notes = worker.read_answer(said, parse, lambda box: tuple(2 * x for x in box))
    assert text == "Small left effusion. No pneumothorax."
    assert notes == [
        ("box", "Small left effusion. [left 1.110, top 0.910, right 1.410, bottom 1.130]"),
        ("box", "Small left effusion. [left 0.010, top 0.210, right 0.410, bottom 0.610]"),
    ]


@pytest.mark.parametrize("cut", ["<x55><y4", "<x55><y45>", "</box>", ""])
def test_an_answer_cut_short_keeps_its_sentences(worker: Any, cut: str) -> None:
    said = f"<obj>Heart is normal.</obj><obj>Small effusion.<box>{cut}"
    text, notes = worker.read_answer(said, parse, lambda box: box)
    assert text == "Heart is normal. Small effusion."
    assert [label for label, _ in notes] == ["grounding"]
    assert "boxes are lost" in notes[0][1]


def test_plain_answers_stay(worker: Any) -> None:
    assert worker.read_answer("Lungs are\n clear.", parse, lambda box: box) == ("Lungs are clear.", [])


def test_an_answer_ends_at_the_first_end(worker: Any) -> None:
    ends = frozenset({2})
    assert worker.up_to_end([5, 6, 2, 0, 2], ends) == ([5, 6], True)
    assert worker.up_to_end([5, 6], ends) == ([5, 6], False)


# ------------------------------------------------------------------ options and refusals


def test_worker_and_plugin_have_the_same_defaults(worker: Any) -> None:
    plugin = MAIRA2Options().model_dump(exclude={*WorkerOptions.model_fields, "model", "revision"})
    assert plugin == dict(worker.DEFAULTS)


def test_its_code_runs_at_a_named_revision_only(context: RunContext) -> None:
    with pytest.raises(BenchError, match="revision"):
        MAIRA2(MAIRA2Options(), context)
    (hub, script) = MAIRA2(MAIRA2Options(revision="795a2b1cd4a310624b4e3d14b5a23e41fd273deb"), context).assets()
    assert (hub.repository, hub.revision, hub.gated) == (
        "microsoft/maira-2",
        "795a2b1cd4a310624b4e3d14b5a23e41fd273deb",
        True,
    )
    assert script.script == MAIRA2.script


def test_another_option_is_another_fingerprint_and_another_device_is_not(context: RunContext) -> None:
    def fingerprint(**options: Any) -> str:
        return MAIRA2(
            MAIRA2Options(revision="795a2b1cd4a310624b4e3d14b5a23e41fd273deb", **options), context
        ).fingerprint()

    assert fingerprint() == fingerprint(devices=("cpu",), batch_size=4)
    assert fingerprint() != fingerprint(grounding=True)


def test_a_folder_of_something_else_is_refused(worker: Any, tmp_path: Path) -> None:
    import bench_worker

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(bench_worker.Unavailable, match=r"lacks processor_config\.json, \*\.safetensors") as refused:
        worker.check_folder(tmp_path)
    assert "systems.maira-2.model" in refused.value.remedy


@pytest.mark.parametrize(
    ("version", "works"), [("4.47.1", False), ("4.48.0", True), ("4.51.3", True), ("4.52.0", False)]
)
def test_another_transformers_is_refused(
    worker: Any, monkeypatch: pytest.MonkeyPatch, version: str, works: bool
) -> None:
    import sys
    import types

    import bench_worker

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(__version__=version))
    if works:
        worker.check_transformers()
    else:
        with pytest.raises(bench_worker.Unavailable, match=re.escape(version)):
            worker.check_transformers()


# ------------------------------------------------------------------ the whole of it, on a tiny model


SAYS = "<obj>small left pleural effusion .<box><x10><y20><x30><y40></box></obj><obj>heart size is normal .</obj>"
DATASET = '''
from pathlib import Path

from bench.contracts import Case, Image, Prior
from bench.options import Options

HERE = Path(__file__).parent


class Laterals:
    """Four studies: with everything, with a lateral, with an earlier report but no image, with a frontal only."""

    Options = Options
    credentialed = False

    def __init__(self, options, context): ...

    def fingerprint(self):
        return "laterals-1"

    def splits(self):
        return ("train", "test")

    def cases(self, split):
        if split == "train":
            return [Case("old", "e", (Image(HERE / "prior.png", "AP"),))]
        frontal = [Image(HERE / f"frontal-{i}.png", "PA") for i in range(4)]
        lateral = [Image(HERE / f"lateral-{i}.png", "LATERAL") for i in range(4)]
        earlier = Image(HERE / "prior.png", "AP", "prior")
        prior = (Prior("FINDINGS:\\n the lungs are clear .", "the lungs are clear .", 60),)
        return [
            Case("all", "a", (frontal[0], lateral[0], earlier), "effusion", "lateral", "None .", prior),
            Case("lateral", "b", (frontal[1], lateral[1]), "left effusion"),
            Case("report", "c", (frontal[2],), None, None, None, prior),
            Case("frontal", "d", (frontal[3],)),
        ]

    def references(self, split):
        return {case.id: "the lungs are clear ." for case in self.cases(split)}

    def problems(self):
        return []

    def census(self):
        return []
'''


@pytest.fixture(scope="module")
def python() -> Path:
    """Python of the worker's own environment, built by uv."""
    uv = shutil.which("uv") or pytest.fail("uv is not installed")
    subprocess.run([uv, "sync", "--quiet", "--script", MAIRA2.script], check=True)
    found = subprocess.run(
        [uv, "python", "find", "--script", MAIRA2.script], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(found.stdout.strip())


@pytest.fixture(scope="module")
def world(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model, a dataset of drawn images, and a notebook of what the processor is given."""
    root = tmp_path_factory.mktemp("maira-2")
    build = [python, CODE / "build.py", root / "model", root / "notebook.jsonl", "--says", SAYS]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    (root / "data.py").write_text(DATASET)
    random = np.random.default_rng(3)
    for number, name in enumerate([f"{kind}-{i}" for kind in ("frontal", "lateral") for i in range(4)] + ["prior"]):
        blocks = np.kron(random.integers(0, 255, (7, 9)), np.ones((10, 10)))
        Image.fromarray(blocks[:, : 90 - number].astype(np.uint8)).save(root / f"{name}.png")
    return root


def write_config(world: Path) -> None:
    Path("bench.yaml").write_text(
        f"dataset: {{use: '{world}/data.py:Laterals'}}\n"
        f"systems: {{maira-2: {{model: '{world}/model', devices: [cpu]}}}}\n"
        "metrics: {bleu-4: {}}\n"
        "run: {bootstrap: 20}\n"
    )


def told(out: str) -> dict[str, Any]:
    lines = Path(out, "maira-2", "reports.jsonl").read_text().splitlines()
    return {report["id"]: report for report in map(json.loads, lines)}


def published(python: Path, world: Path) -> dict[str, str]:
    """Return what the model card's own steps give for the dataset's cases."""
    names = ("current_lateral", "prior_frontal", "indication", "technique", "comparison", "prior_report")
    rows = {
        "all": ("lateral-0", "prior", "effusion", "lateral", "None .", "FINDINGS: the lungs are clear ."),
        "lateral": ("lateral-1", None, "left effusion", None, None, None),
        "report": (None, None, None, None, None, None),
        "frontal": (None, None, None, None, None, None),
    }
    cases = []
    for number, row in enumerate(rows.values()):
        images = [f"{world}/{name}.png" if name else None for name in row[:2]]
        cases.append(
            {"current_frontal": f"{world}/frontal-{number}.png", **dict(zip(names, [*images, *row[2:]], strict=True))}
        )
    command = [python, CODE / "published.py", world / "model", json.dumps(cases)]
    apart = {**os.environ, "HF_MODULES_CACHE": str(world / "modules"), "HF_HUB_OFFLINE": "1"}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=apart).stdout
    return dict(zip(rows, map(json.loads, said.splitlines()), strict=True))


@pytest.mark.slow
@pytest.mark.network
def test_a_run_gives_what_the_published_steps_give_alone_and_in_a_batch(
    bench: Bench, python: Path, world: Path
) -> None:
    write_config(world)
    notebook = world / "notebook.jsonl"
    notebook.unlink(missing_ok=True)
    answer = bench("run", "--out", "o")
    assert answer.code == 0, answer.err
    calls = [json.loads(line) for line in notebook.read_text().splitlines()][1:]  # the first is the recorded prompt's
    expected = published(python, world)
    alone = told("o")
    assert {id: report["text"] for id, report in alone.items()} == expected
    assert len(set(expected.values())) == len(expected)
    assert [call["images"][0][1:3] for call in calls] == [[90, 70], [89, 70], [88, 70], [87, 70]]
    assert [[image is not None for image in call["images"]] for call in calls] == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
        [True, False, False],
    ]
    assert calls[0]["prior_report"] == "FINDINGS: the lungs are clear ."
    assert calls[2]["prior_report"] is None
    settings = json.loads(Path("o/maira-2/details.json").read_text())["settings"]
    assert (settings["max_new_tokens"], settings["num_beams"], settings["dtype"]) == (300, 1, "float32")
    assert "PRIOR_REPORT: {prior_report}" in settings["prompt"]
    assert bench("run", "--out", "b", "--set", "systems.maira-2.batch_size=4").code == 0
    assert {id: report["text"] for id, report in told("b").items()} == expected


@pytest.mark.slow
@pytest.mark.network
def test_a_grounded_run_has_plain_text_and_boxes_of_the_whole_image(bench: Bench, python: Path, world: Path) -> None:
    write_config(world)
    answer = bench("run", "--out", "g", "--set", "systems.maira-2.grounding=true")
    assert answer.code == 0, answer.err
    reports = told("g")
    assert {report["text"] for report in reports.values()} == {"small left pleural effusion . heart size is normal ."}
    notes = [(note["label"], note["text"]) for note in reports["all"]["evidence"]]
    # 90 × 70: the square that the model sees begins 10 pixels from the left
    left, right = (0.105 * 70 + 10) / 90, (0.305 * 70 + 10) / 90
    where = f"left {left:.3f}, top 0.205, right {right:.3f}, bottom 0.405"
    assert notes[1:] == [("box", f"small left pleural effusion . [{where}]")]
    assert notes[0][0] == "given"
    details = json.loads(Path("g/maira-2/details.json").read_text())
    assert details["settings"]["max_new_tokens"] == 450
