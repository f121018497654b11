"""CheXagent: what it is asked and shown, how answers become a report, and the whole of it on tiny random models."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.context import RunContext
from bench.contracts import HubFiles, WorkerScript
from bench.errors import BenchError
from bench.workers import environment
from bench.workers.options import WorkerOptions
from systems.chexagent import CheXagent, CheXagent2, CheXagent2Options, CheXagentOptions
from systems.chexagent import chexagent_shared as shared

Bench = Callable[..., Any]
HERE = Path(__file__).parent
MODELS = HERE / "remote_code" / "chexagent_models.py"
COMMIT = "1234567890" * 4
TOWER = "StanfordAIMI/XraySigLIP__vit-l-16-siglip-384__webli"
STRUCTURED = (
    "[Breathing: Lungs] The lungs are clear.\n[Breathing: Pleura] **Small left effusion.** "
    "[Everything Else: Tubes, Catheters, and Support Devices] None."
)


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker's side of the harness, as a worker's script imports it."""
    monkeypatch.syspath_prepend(str(environment.HELPER.parent))
    return importlib.import_module("bench_worker")


def script(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker's script as a module: it imports torch and transformers only to load a model."""
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"chexagent_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case_of(helper: Any, indication: str | None = None, lateral: str | None = None) -> Any:
    beside = (helper.Image("ap.png", "AP"), *((helper.Image(lateral, "LATERAL"),) if lateral else ()))
    return helper.Case("1", (helper.Image("f.png", "PA"), *beside, helper.Image("old.png", "PA", "prior")), indication)


def asked(case: Any, **options: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    questions = shared.questions_of([case], {**shared.DEFAULTS_2, **options})
    return [(question.label, question.prompt, question.images) for question in questions]


# ------------------------------------------------------------------ what it is asked and shown


def test_the_8b_is_asked_about_each_anatomy_as_in_its_demonstration(helper: Any) -> None:
    questions = shared.questions_of([case_of(helper, "Cough.", "l.png")], shared.DEFAULTS_8B)
    assert [question.prompt for question in questions] == [
        'Describe "Airway"',
        'Describe "Breathing"',
        'Describe "Cardiac"',
        'Describe "Diaphragm"',
        'Describe "Everything else (e.g., mediastinal contours, bones, soft tissues, tubes, valves, and pacemakers)"',
    ]
    assert {question.images for question in questions} == {("f.png",)}


def test_the_2_3b_is_asked_for_findings_given_the_indication_as_its_authors_evaluate_it(helper: Any) -> None:
    prompt = 'Given the indication: "Cough, {anatomy} fever.", write a structured findings section for the CXR.'
    case = case_of(helper, " Cough,\n {anatomy} fever. ", "l.png")
    assert asked(case) == [("findings", prompt, ("f.png", "l.png"))]


@pytest.mark.parametrize("indication", [None, "", " \n"])
def test_a_case_without_indication_says_none_as_in_training(helper: Any, indication: str | None) -> None:
    ((_, prompt, images),) = asked(case_of(helper, indication))
    assert prompt == 'Given the indication: "None", write a structured findings section for the CXR.'
    assert images == ("f.png",)


def test_indication_and_lateral_can_be_withheld(helper: Any) -> None:
    case = case_of(helper, "Cough.", "l.png")
    assert asked(case, indication=False) == [
        ("findings", "Write a structured findings section for the CXR.", ("f.png", "l.png"))
    ]
    assert asked(case, lateral=False)[0][2] == ("f.png",)


def test_anatomies_and_prompts_of_ones_own(helper: Any) -> None:
    options = {"mode": "by-anatomy", "anatomies": ("Lungs", "Heart {x}"), "anatomy_prompt": "Tell of {anatomy}: {y}"}
    assert [prompt for _, prompt, _ in asked(case_of(helper), **options)] == [
        "Tell of Lungs: {y}",
        "Tell of Heart {x}: {y}",
    ]


def test_a_batch_has_one_prompt_and_as_many_images_each(helper: Any) -> None:
    cases = [case_of(helper, "A."), case_of(helper, "B."), case_of(helper, "A.", "l.png"), case_of(helper, "A.")]
    assert shared.groups_of(shared.questions_of(cases, shared.DEFAULTS_2)) == [[0, 3], [1], [2]]
    questions = shared.questions_of(cases[:2], {**shared.DEFAULTS_8B, "anatomies": ("x", "y")})
    assert shared.groups_of(questions) == [[0, 2], [1, 3]]


# ------------------------------------------------------------------ how answers become a report


def test_headings_and_marks_of_a_structured_report_are_left_out() -> None:
    assert shared.report_of([STRUCTURED], clean=True) == "The lungs are clear. Small left effusion. None."
    assert shared.report_of([f" {STRUCTURED}\n"], clean=False) == STRUCTURED


def test_answers_are_joined_in_their_order_and_empty_ones_leave_no_blank() -> None:
    assert shared.report_of(["The trachea is midline. ", "", "[x]", "No\neffusion."], clean=True) == (
        "The trachea is midline. No effusion."
    )


def test_notes_tell_each_anatomys_answer_and_what_was_cut_short(helper: Any) -> None:
    options = {**shared.DEFAULTS_8B, "anatomies": ("Airway", "Cardiac")}
    questions = shared.questions_of([case_of(helper)], options)
    assert shared.notes_of(questions, [" a ", "b"], [False, True], 9) == (
        ("Airway", "a"),
        ("Cardiac", "b"),
        ("length", "Cardiac: stopped at max_new_tokens = 9"),
    )
    assert shared.notes_of(questions[:1], ["a"], [False], 9) == ()


def test_deep_images_are_scaled_where_pillow_would_clip(helper: Any, tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1000], [2048, 4095]], np.uint16)).save(tmp_path / "deep.png")
    shown = helper.picture(str(tmp_path / "deep.png"))
    assert shown.mode == "RGB"
    assert np.asarray(shown)[..., 0].tolist() == [[0, 62], [128, 255]]
    Image.fromarray(np.array([[10, 200]], np.uint8)).save(tmp_path / "grey.png")
    assert np.asarray(helper.picture(str(tmp_path / "grey.png")))[..., 2].tolist() == [[10, 200]]


# ------------------------------------------------------------------ options and refusals


@pytest.mark.parametrize(
    ("options", "defaults"), [(CheXagentOptions(), "DEFAULTS_8B"), (CheXagent2Options(), "DEFAULTS_2")]
)
def test_worker_and_plugin_have_the_same_defaults(options: CheXagentOptions, defaults: str) -> None:
    elsewhere = {*WorkerOptions.model_fields, "model", "revision", "vision_model", "vision_model_revision"}
    assert options.model_dump(exclude=elsewhere) == dict(getattr(shared, defaults))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("anatomies=[]", "anatomies"),
        ("anatomies=[Airway, Airway]", "name each anatomy once"),
        ("anatomy_prompt=Describe", "{anatomy}"),
        ("indication_prompt=Describe", "{indication}"),
        ("num_beams=0", "num_beams"),
        ("mode=by-organ", "mode"),
        ("indication=true", "no prompt of mode by-anatomy has an indication"),
        ("model=./nowhere", "no such folder"),
    ],
)
def test_options_that_cannot_be_meant(bench: Bench, tmp_path: Path, setting: str, told: str) -> None:
    write_config(tmp_path, "chexagent", revision=COMMIT)
    answer = bench("run", "--set", f"systems.chexagent.{setting}")
    assert (answer.code, told in answer.err, "Traceback" in answer.err) == (2, True, False), answer.err


def test_its_code_runs_at_a_named_revision_only(context: RunContext) -> None:
    with pytest.raises(BenchError, match="revision"):
        CheXagent(CheXagentOptions(), context)
    (hub, worker) = CheXagent(CheXagentOptions(revision=COMMIT), context).assets()
    assert isinstance(hub, HubFiles)
    assert (hub.repository, hub.revision, hub.gated) == ("StanfordAIMI/CheXagent-8b", COMMIT, False)
    assert worker == WorkerScript(CheXagent.script)


def test_the_vision_tower_is_a_second_repository(context: RunContext) -> None:
    system = CheXagent2(CheXagent2Options(revision=COMMIT, vision_model_revision="abc"), context)
    fetched = {asset.repository: asset.revision for asset in system.assets() if isinstance(asset, HubFiles)}
    assert fetched == {"StanfordAIMI/CheXagent-2-3b": COMMIT, TOWER: "abc"}
    wanted = [line.shared for line in system.plan(None, ()) if line.what.startswith("weights to fetch")]  # type: ignore[arg-type]
    assert len(set(wanted)) == 2


def folder_of(path: Path, text: str = "weights") -> str:
    path.mkdir(exist_ok=True)
    (path / "model.safetensors").write_text(text)
    return str(path)


def test_a_tower_that_cannot_be_meant(context: RunContext, tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model")
    with pytest.raises(BenchError, match=r"vision_model './tower': no such folder"):
        CheXagent2(CheXagent2Options(model=model, vision_model="./tower"), context)
    with pytest.raises(BenchError, match=r"vision_model .* is a folder, which has no revision 'x'"):
        CheXagent2(CheXagent2Options(model=model, vision_model=model, vision_model_revision="x"), context)


def test_what_moves_a_report_is_in_the_fingerprint_and_where_it_runs_is_not(
    context: RunContext, tmp_path: Path
) -> None:
    model, tower = folder_of(tmp_path / "model"), folder_of(tmp_path / "tower")

    def fingerprint(**options: Any) -> str:
        given = {"model": model, "vision_model": tower, **options}
        return CheXagent2(CheXagent2Options(**given), context).fingerprint()

    first = fingerprint()
    elsewhere = folder_of(tmp_path / "elsewhere")
    assert fingerprint(devices=("cpu",), batch_size=9, runner="docker:x", vision_model=elsewhere) == first
    changes: list[dict[str, Any]] = [
        {"mode": "by-anatomy"}, {"lateral": False}, {"indication": False}, {"prompt": "x"}, {"num_beams": 2},
        {"max_new_tokens": 9}, {"dtype": "float32"}, {"clean": False}, {"anatomies": ("x",)},
        {"vision_model": folder_of(tmp_path / "other", "other weights")},
    ]  # fmt: skip
    assert len({first, *(fingerprint(**change) for change in changes)}) == len(changes) + 1


# ------------------------------------------------------------------ folders of weights


def test_a_folder_without_its_files_is_told(helper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = script(CheXagent.script, monkeypatch)
    with pytest.raises(helper.Unavailable, match=r"no config\.json"):
        worker.CheXagent8b({"model": folder_of(tmp_path / "model")}, "cpu")


@pytest.mark.parametrize(
    ("config", "tower", "told"),
    [
        ("{}", True, "names no vision tower"),
        (f'{{"visual": {{"vision_model_name_or_path": "{TOWER}"}}}}', False, f"the vision tower {TOWER} is not here"),
        (f'{{"visual": {{"vision_model_name_or_path": "{TOWER}"}}}}', True, r"tower has no config\.json"),
    ],
)
def test_a_tower_that_is_not_there_is_told(
    helper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, tower: bool, told: str
) -> None:
    worker = script(CheXagent2.script, monkeypatch)
    model = folder_of(tmp_path / "model")
    Path(model, "config.json").write_text(config)
    options = {"model": model, "vision_model": folder_of(tmp_path / "tower") if tower else None}
    with pytest.raises(helper.Unavailable, match=told):
        worker.CheXagent2(options, "cpu")


def test_what_it_generates_ends_at_the_first_end(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tokenizer:
        def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
            return " ".join(map(str, ids))

    class How:
        eos_token_id = 7

    module = script(CheXagent2.script, monkeypatch)
    model = object.__new__(module.CheXagent2)
    model.tokenizer, model.generation = Tokenizer(), How()
    assert model._text([5, 6, 7, 7]) == ("5 6", False)
    assert model._text([5, 6]) == ("5 6", True)


# ------------------------------------------------------------------ the whole of it, in the real environments


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both tiny models, made in the environments of their workers, and a few images."""
    folder = tmp_path_factory.mktemp("chexagent")
    context = RunContext(workdir=folder / "work", cache_root=folder / "cache")
    apart = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(folder / "modules"), "PYTHONPATH": ""}
    made = {**apart, "HF_HUB_CACHE": str(folder / "hub"), "PYTHONDONTWRITEBYTECODE": "1"}
    for system, what, where in ((CheXagent, "8b", "8b"), (CheXagent2, "2-3b", "hub")):
        python = environment.uv_python(system.script, context)
        subprocess.run([python, MODELS, f"make-{what}", folder / where], check=True, env=made)
        (folder / f"python-{what}").symlink_to(python)
    generator = np.random.default_rng(0)
    for name in ("a", "b", "c", "l"):
        coarse = Image.fromarray(generator.integers(0, 255, (9, 7), dtype=np.uint8))
        coarse.resize((90, 70)).save(folder / f"{name}.png")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def tower_and_model(world: Path) -> tuple[Path, Path]:
    places = [f"models--{TOWER.replace('/', '--')}", "models--StanfordAIMI--CheXagent-2-3b"]
    tower, model = (world / "hub" / place / "snapshots" / COMMIT for place in places)
    return tower, model


def published(world: Path, what: str, model: Path, questions: list[dict[str, Any]]) -> list[str]:
    """Return what the published snippet answers, one question at a time."""
    (world / "questions.json").write_text(json.dumps(questions))
    apart = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(world / "asked"),
        "HF_HUB_CACHE": str(world / "hub"),
    }
    command = [(world / f"python-{what}").readlink(), MODELS, f"ask-{what}", model, world / "questions.json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=apart).stdout
    answers: list[str] = json.loads(said.splitlines()[-1])
    return answers


def calls(model: Path) -> list[Any]:
    notebook = model / ".calls.jsonl"
    found = [json.loads(line) for line in notebook.read_text().splitlines()]
    notebook.unlink()
    return found


def write_dataset(world: Path) -> None:
    Path("data.py").write_text(
        "from pathlib import Path\n"
        "from bench.contracts import Case, Image\n"
        "from bench.options import Options\n"
        f"AT = Path({str(world)!r})\n"
        "ROWS = {'a': 'Cough.', 'b': None, 'c': 'Cough.'}\n"
        "class Studies:\n"
        "    class Options(Options): pass\n"
        "    credentialed = False\n"
        "    def __init__(self, options, context): pass\n"
        "    def fingerprint(self): return 'studies'\n"
        "    def splits(self): return ['train', 'test']\n"
        "    def cases(self, split):\n"
        "        if split == 'train': return []\n"
        "        beside = {'a': (Image(AT / 'l.png', 'LATERAL'),)}\n"
        "        return [Case(k, k, (Image(AT / f'{k}.png', 'PA'), *beside.get(k, ())), v) for k, v in ROWS.items()]\n"
        "    def references(self, split): return {c.id: 'The lungs are clear.' for c in self.cases(split)}\n"
        "    def problems(self): return []\n"
        "    def census(self): return []\n"
    )


def write_config(world: Path, system: str, **options: Any) -> None:
    write_dataset(world)
    Path("bench.yaml").write_text(
        json.dumps(
            {
                "dataset": {"use": "./data.py:Studies"},
                "systems": {system: {"devices": ["cpu"], **options}},
                "metrics": {"bleu-4": {}},
                "run": {"bootstrap": 20},
            }
        )
    )


def texts(out: str, system: str) -> dict[str, str]:
    lines = Path(out, system, "reports.jsonl").read_text().splitlines()
    return {report["id"]: report["text"] for report in map(json.loads, lines)}


@pytest.mark.slow
@pytest.mark.network
def test_the_8b_answers_as_its_model_card_does_alone_and_in_a_batch(bench: Bench, world: Path) -> None:
    model, limit = world / "8b", 24
    write_config(world, "chexagent", model=str(model), max_new_tokens=limit, clean=False)
    answer = bench("run", "--out", "o")
    assert answer.code == 0, answer.err
    seen = calls(model)
    prompts = [f'Describe "{name}"' for name in shared.ANATOMIES]
    assert sorted(call["text"] for call in seen) == sorted(
        f" USER: <s>{prompt} ASSISTANT: <s>" for prompt in prompts for _ in "abc"
    )
    assert {len(call["images"]) for call in seen} == {1}
    questions = [
        {"images": [str(world / f"{name}.png")], "prompt": prompt, "max_new_tokens": limit, "num_beams": 5}
        for name in "abc"
        for prompt in prompts
    ]
    said = [text.strip() for text in published(world, "8b", model, questions)]
    expected = {name: " ".join(filter(None, said[5 * at : 5 * at + 5])) for at, name in enumerate("abc")}
    calls(model)
    assert texts("o", "chexagent") == expected
    assert len(set(expected.values())) == 3
    details = json.loads(Path("o/chexagent/details.json").read_text())
    assert details["versions"]["transformers"] == "4.40.0"
    generation = details["settings"]["generation"]
    assert (generation["num_beams"], generation["max_new_tokens"]) == (5, limit)
    assert details["settings"]["dtype"] == "float32"
    assert json.loads(Path("o/chexagent/facts.json").read_text())["parameters"] > 10_000
    assert bench("run", "--out", "b", "--set", "systems.chexagent.batch_size=3").code == 0
    assert texts("b", "chexagent") == expected
    calls(model)


@pytest.mark.slow
@pytest.mark.network
def test_the_8b_is_shown_the_lateral_image_and_the_indication_where_it_is_to_be(bench: Bench, world: Path) -> None:
    model = world / "8b"
    write_config(
        world, "chexagent", model=str(model), mode="findings", max_new_tokens=20, clean=False, num_beams=2,
        lateral=True, indication=True,
    )  # fmt: skip
    answer = bench("run", "--out", "more")
    assert answer.code == 0, answer.err
    seen = calls(model)
    assert [len(call["images"]) for call in seen] == [2, 1, 1]
    told = [
        f'Given the indication: "{i}", write a structured findings section for the CXR.' for i in ("Cough.", "None")
    ]
    asked = [told[0], told[1], told[0]]
    assert [call["text"] for call in seen] == [f" USER: <s>{prompt} ASSISTANT: <s>" for prompt in asked]
    images = {"a": ["a", "l"], "b": ["b"], "c": ["c"]}
    questions = [
        {"images": [str(world / f"{i}.png") for i in images[k]], "prompt": p, "max_new_tokens": 20, "num_beams": 2}
        for k, p in zip("abc", asked, strict=True)
    ]
    expected = dict(zip("abc", [text.strip() for text in published(world, "8b", model, questions)], strict=True))
    assert texts("more", "chexagent") == expected
    calls(model)


@pytest.mark.slow
@pytest.mark.network
def test_weights_that_lack_a_tensor_are_told(bench: Bench, world: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(world / "8b", broken)
    weights = load_file(broken / "model.safetensors")
    del weights["language_projection.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    write_config(world, "chexagent", model=str(broken))
    answer = bench("run", "--out", "o")
    assert answer.code == 2
    assert "no weights for 1 parameters (language_projection.weight …)" in answer.err


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(("batch_size", "indication"), [(1, True), (3, False)])  # without it, b and c share a batch
def test_the_2_3b_answers_as_its_model_card_does_without_a_hub(
    bench: Bench, world: Path, batch_size: int, indication: bool
) -> None:
    (tower, model), limit = tower_and_model(world), 24
    write_config(
        world, "chexagent-2-3b", model=str(model), vision_model=str(tower), max_new_tokens=limit, batch_size=batch_size,
        indication=indication, clean=False,
    )  # fmt: skip
    answer = bench("run", "--out", "o")
    assert answer.code == 0, answer.err
    told = [
        f'Given the indication: "{i}", write a structured findings section for the CXR.' for i in ("Cough.", "None")
    ]
    told = told if indication else ["Write a structured findings section for the CXR."] * 2
    by_case = {"a": (["a", "l"], told[0]), "b": (["b"], told[1]), "c": (["c"], told[0])}
    seen = [[part.get("text", "image") for part in call] for call in calls(model)]
    assert sorted(seen) == sorted([*["image"] * len(images), prompt] for images, prompt in by_case.values())
    questions = [
        {"images": [str(world / f"{i}.png") for i in images], "prompt": p, "max_new_tokens": limit, "num_beams": 1}
        for images, p in by_case.values()
    ]
    expected = dict(zip(by_case, [text.strip() for text in published(world, "2-3b", model, questions)], strict=True))
    calls(model)
    assert texts("o", "chexagent-2-3b") == expected
    assert len(set(expected.values())) == 3
    details = json.loads(Path("o/chexagent-2-3b/details.json").read_text())
    assert (details["versions"]["transformers"], details["settings"]["dtype"]) == ("4.40.0", "float32")


@pytest.mark.slow
@pytest.mark.network
def test_the_2_3b_by_anatomy(bench: Bench, world: Path) -> None:
    tower, model = tower_and_model(world)
    write_config(
        world, "chexagent-2-3b", model=str(model), vision_model=str(tower), mode="by-anatomy", max_new_tokens=4,
        anatomies=["Airway", "Cardiac"], lateral=False,
    )  # fmt: skip
    assert bench("run", "--out", "o", "--limit", "1").code == 0
    assert [[part.get("text", "image") for part in call] for call in calls(model)] == [
        ["image", f'Please provide a detailed description of "{name}" in the chest X-ray']
        for name in ("Airway", "Cardiac")
    ]
    (line,) = Path("o/chexagent-2-3b/reports.jsonl").read_text().splitlines()
    assert [note["label"] for note in json.loads(line)["evidence"]][:2] == ["Airway", "Cardiac"]
