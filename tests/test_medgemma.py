"""The system medgemma: what each kind of model is asked, what is read of answers, its worker beside transformers."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest
from conftest import Answer
from pydantic import ValidationError
from worker_world import ask_in

from bench.context import RunContext
from bench.datasets.demo import Demo
from bench.workers import environment
from bench.workers.helper.bench_worker import Case, Image
from systems.medgemma import MedGemma, MedGemmaOptions

SMALL = {"images": 40, "test_images": 8}

# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("model", "style", "prompt", "images_at", "tokens"),
    [
        ("google/medgemma-4b-pt", "completion", "findings:", "start", 300),
        ("google/medgemma-4b-it", "chat", "Describe this X-ray", "end", 300),
        ("google/medgemma-1.5-4b-it", "chat", "Describe this X-ray", "start", 2000),
        ("/models/MedGemma-4B-IT", "chat", "Describe this X-ray", "end", 300),
    ],
)
def test_the_published_usage_follows_from_the_name(
    model: str, style: str, prompt: str, images_at: str, tokens: int
) -> None:
    options = MedGemmaOptions.model_validate({"model": model})
    assert (options.style, options.prompt, options.images_at, options.max_new_tokens) == (
        style,
        prompt,
        images_at,
        tokens,
    )


def test_the_defaults_are_those_of_the_default_model() -> None:
    assert MedGemmaOptions.model_validate({}) == MedGemmaOptions.model_validate({"model": "google/medgemma-4b-pt"})
    assert {
        name: field.default for name, field in MedGemmaOptions.model_fields.items()
    } == MedGemmaOptions().model_dump()


def test_what_is_given_wins_and_an_unknown_name_asks_for_a_style() -> None:
    assert MedGemmaOptions.model_validate({"model": "x-pt", "style": "chat"}).prompt == "Describe this X-ray"
    assert (
        MedGemmaOptions.model_validate({"model": "x-it", "prompt": "List the findings."}).prompt == "List the findings."
    )
    assert MedGemmaOptions.model_validate({"model": "/models/tuned", "style": "completion"}).prompt == "findings:"
    with pytest.raises(ValidationError, match="set style to chat or to completion"):
        MedGemmaOptions.model_validate({"model": "/models/tuned"})


@pytest.mark.parametrize(
    "piece", ["indication: {reference}", "no field", "{indication!r}", "{indication:>9}", "{", "{}"]
)
def test_a_piece_of_context_names_what_a_case_has(piece: str) -> None:
    with pytest.raises(ValidationError, match="context"):
        MedGemmaOptions.model_validate({"context": [piece]})


def test_bad_options_end_in_a_message(bench: Callable[..., Answer], tmp_path: Path) -> None:
    answer = bench("run", "-c", "demo", "--system", "medgemma", "--set", f"systems.medgemma.model={tmp_path}")
    assert answer.code == 2
    assert "set style to chat or to completion" in answer.err
    assert "Traceback" not in answer.err


# ------------------------------------------------------------------ the script's own functions


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """The worker's script as a module: its functions need no model."""
    pytest.importorskip("transformers")
    sys.path.append(str(environment.HELPER.parent))
    try:
        spec = importlib.util.spec_from_file_location("medgemma_worker", MedGemma.script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(environment.HELPER.parent))
    return module


@pytest.mark.parametrize(
    ("text", "kept", "rest"),
    [
        ("The lungs are clear.", "The lungs are clear.", ""),
        ("FINDINGS: The lungs are clear.\nIMPRESSION: Normal.", "The lungs are clear.", "IMPRESSION: Normal."),
        ("**Findings:** Clear lungs. **Impression:** Normal.", "Clear lungs.", "**Impression:** Normal."),
        ("## Findings:\n* Clear.\n\n## Impression:\nNormal.", "Clear.", "## Impression:\nNormal."),
        ("The impression is of a large heart.", "The impression is of a large heart.", ""),
        ("Findings are normal.", "Findings are normal.", ""),
        ("Impression: normal.", "", "Impression: normal."),
    ],
)
def test_findings_are_cut_out_of_a_report(worker: ModuleType, text: str, kept: str, rest: str) -> None:
    assert worker.findings(text) == (kept, rest)


@pytest.mark.parametrize(
    ("ids", "thought", "answer"),
    [
        ([5, 6], [], [5, 6]),
        ([94, 5, 95, 6, 7], [94, 5], [6, 7]),
        ([94, 5, 6], [94, 5, 6], []),
        ([5, 95, 6], [5], [6]),
    ],
)
def test_thinking_is_told_from_the_answer(
    worker: ModuleType, ids: list[int], thought: list[int], answer: list[int]
) -> None:
    assert worker.split_thought(ids, 94, 95) == (thought, answer)
    assert worker.split_thought([94, 5], None, None) == ([], [94, 5])


def test_context_says_what_the_case_has(worker: ModuleType) -> None:
    case = worker.Case("a", (), "Cough,\n fever {now}.", priors=(worker.Prior("Whole report.", None),))
    pieces = ["indication: {indication}", "technique: {technique}", "{prior_report}", "{prior_findings} {indication}"]
    assert worker.context(case, pieces) == ["indication: Cough, fever {now}.", "Whole report."]


def test_images_shown_are_those_asked_for_that_are_there(worker: ModuleType) -> None:
    case = Case("a", (Image("f", "PA"), Image("l", "LATERAL"), Image("p", "AP", "prior")))
    assert worker.shown(case, []) == [("frontal", "f")]
    assert worker.shown(case, ["lateral", "prior"]) == [("prior", "p"), ("frontal", "f"), ("lateral", "l")]
    assert worker.shown(Case("a", (Image("f", "PA"),)), ["lateral", "prior"]) == [("frontal", "f")]


# ------------------------------------------------------------------ the real worker


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the worker's own environment."""
    place = tmp_path_factory.mktemp("environment")
    return environment.uv_python(MedGemma.script, RunContext(workdir=place / "work", cache_root=place / "cache"))


@pytest.fixture(scope="module")
def model(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma") / "tiny"
    ask_in(python, "gemma", folder)
    return folder


def reports(bench: Callable[..., Answer], out: Path, **settings: object) -> list[dict[str, str]]:
    """Run the system on four cases of the demo; the lines of its reports."""
    fixed = {"dtype": "float32", "max_new_tokens": 24, "findings_only": "false", "devices": "[cpu]"}
    options = [f"systems.medgemma.{key}={value}" for key, value in {**fixed, **settings}.items()]
    options += [f"dataset.{key}={n}" for key, n in SMALL.items()]
    sets = [part for option in options for part in ("--set", option)]
    answer = bench(
        "run", "-c", "demo", "--system", "medgemma", "--metrics", "rouge-l", "--limit", 4, "--out", out, *sets
    )
    assert answer.code == 0, answer.err
    return [json.loads(line) for line in (out / "medgemma" / "reports.jsonl").read_text().splitlines()]


COMPLETION = {"text": "<start_of_image> findings:"}
CHAT = {"system": "You are an expert radiologist.", "user": "Describe this X-ray", "image_first": False}


STYLES = (("completion", COMPLETION), ("chat", CHAT))


@pytest.mark.slow
@pytest.mark.network
def test_its_reports_are_those_of_the_published_usage(
    bench: Callable[..., Answer], context: RunContext, python: Path, model: Path, tmp_path: Path
) -> None:
    found = [reports(bench, tmp_path / style, model=model, style=style, batch_size=3) for style, _ in STYLES]
    cases = {case.id: case for case in Demo(Demo.Options.model_validate(SMALL), context).cases("test")}
    images = [cases[line["id"]].images[0].path for line in found[0]]
    asked = [{**asked, "dtype": "float32", "max_new_tokens": 24} for _, asked in STYLES]
    expected = [one["texts"] for one in ask_in(python, "gemma-reports", model, json.dumps(asked), *images)]
    assert [[line["text"] for line in lines] for lines in found] == [[t.strip() for t in texts] for texts in expected]
    for texts, (style, _) in zip(expected, STYLES, strict=True):
        assert len(set(texts)) > 1, "a model that says the same of every image proves nothing"
        details = json.loads((tmp_path / style / "medgemma" / "details.json").read_text())
        assert details["settings"]["do_sample"] is False
        assert details["versions"]["transformers"] == "4.57.6"


@pytest.mark.slow
@pytest.mark.network
def test_its_tokens_are_the_published_ones_and_padding_changes_nothing(
    python: Path, model: Path, tmp_path: Path
) -> None:
    images = []
    for number in range(3):
        images.append(tmp_path / f"{number}.png")
        pixels = np.random.default_rng(number).integers(0, 255, (50 + number, 60), np.uint8)
        PIL.Image.fromarray(pixels).save(images[-1])
    hows = []
    for style, asked in STYLES:
        given = {"model": str(model), "style": style, "dtype": "float32", "max_new_tokens": 24}
        more = {"images": ["lateral", "prior"], "context": ["indication: {indication}"]}
        options = MedGemmaOptions.model_validate({**given, **more})
        hows.append({"options": options.model_dump(mode="json"), "published": asked})
    told = ask_in(python, "gemma-worker", model, MedGemma.script, environment.HELPER, json.dumps(hows), *images)
    assert len(told) == len(STYLES)
    for found in told:
        assert found["given"] == found["published"]
        assert found["alone"] == found["beside"]
        assert len(set(found["alone"])) > 1
