"""The system chexpert-mimic-baseline: its options, and its worker beside transformers itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import Answer
from safetensors.numpy import load_file, save_file
from worker_world import ask_in

from bench.context import RunContext
from bench.workers import environment
from systems.chexpert_mimic_baseline import CheXpertMimicBaseline, CheXpertMimicBaselineOptions

SCRIPT = CheXpertMimicBaseline.script
SMALL = {"images": 40, "test_images": 24}
DEMO = ("-c", "demo", *(part for key, n in SMALL.items() for part in ("--set", f"dataset.{key}={n}")))


def system(tmp_path: Path, **options: object) -> CheXpertMimicBaseline:
    context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
    return CheXpertMimicBaseline(CheXpertMimicBaselineOptions.model_validate(options), context)


def test_its_defaults_are_the_published_model_and_settings() -> None:
    options = CheXpertMimicBaselineOptions()
    assert options.model == "IAMJB/chexpert-mimic-cxr-findings-baseline"
    assert (options.num_beams, options.max_length, options.dtype) == (2, 128, "float32")


def test_what_moves_a_report_is_in_the_fingerprint_and_the_place_is_not(tmp_path: Path) -> None:
    plain = system(tmp_path).fingerprint()
    assert system(tmp_path, num_beams=1).fingerprint() != plain
    assert system(tmp_path, revision="abc").fingerprint() != plain
    assert system(tmp_path, batch_size=8, devices=["cpu", "cuda:1"]).fingerprint() == plain


@pytest.mark.parametrize("wrong", [{"num_beams": 0}, {"max_length": 1}, {"dtype": "int8"}])
def test_a_setting_that_cannot_be_meant_is_refused(bench: Callable[..., Answer], wrong: dict[str, object]) -> None:
    [(key, value)] = wrong.items()
    name = "chexpert-mimic-baseline"
    answer = bench("run", "-c", "demo", "--system", name, "--set", f"systems.{name}.{key}={value}")
    assert answer.code == 2
    assert key in answer.err
    assert "Traceback" not in answer.err


# ------------------------------------------------------------------ the real worker


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the worker's own environment."""
    place = tmp_path_factory.mktemp("environment")
    return environment.uv_python(SCRIPT, RunContext(workdir=place / "work", cache_root=place / "cache"))


@pytest.fixture(scope="module")
def model(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baseline") / "model"
    ask_in(python, "baseline", folder)
    return folder


def texts(run: Path, name: str) -> dict[str, str]:
    lines = [json.loads(line) for line in (run / name / "reports.jsonl").read_text().splitlines()]
    return {line["id"]: line["text"] for line in lines}


def frontals(context: RunContext, ids: Sequence[str]) -> list[Path]:
    """The demo's images of cases."""
    from bench.datasets.demo import Demo

    cases = {case.id: case for case in Demo(Demo.Options.model_validate(SMALL), context).cases("test")}
    return [cases[i].images[0].path for i in ids]


@pytest.mark.slow
@pytest.mark.network
def test_two_environments_one_table_and_the_reports_of_transformers_itself(
    bench: Callable[..., Answer], context: RunContext, python: Path, model: Path, tmp_path: Path
) -> None:
    out, name = tmp_path / "out", "chexpert-mimic-baseline"
    answer = bench(
        *("run", *DEMO, "--system", f"nearest-neighbour,{name}", "--metrics", "nlg"),
        *("--limit", 6, "--out", out),
        *("--set", f"systems.{name}.model={model}", "--set", f"systems.{name}.batch_size=4"),
        *("--set", f"systems.{name}.devices=[cpu]"),
    )
    assert answer.code == 0, answer.err
    both = [json.loads((out / each / "summary.json").read_text()) for each in ("nearest-neighbour", name)]
    assert all(summary["scores"] for summary in both)
    found = texts(out, name)
    assert list(found.values()) == ask_in(
        python, "baseline-reports", model, '{"num_beams": 2}', *frontals(context, list(found))
    )
    assert len(set(found.values())) > 1, "a model that says the same of every image proves nothing"
    details = json.loads((out / name / "details.json").read_text())
    assert details["settings"]["num_beams"] == 2
    assert details["settings"]["encoder"] == "swinv2"
    assert details["versions"]["transformers"] == "4.40.0"


@pytest.mark.slow
@pytest.mark.network
def test_the_published_snippets_beam_width_is_greedy(
    bench: Callable[..., Answer], context: RunContext, python: Path, model: Path, tmp_path: Path
) -> None:
    out, name = tmp_path / "out", "chexpert-mimic-baseline"
    answer = bench(
        *("run", *DEMO, "--system", name, "--metrics", "rouge-l", "--limit", "20", "--out", out),
        *("--set", f"systems.{name}.model={model}", "--set", f"systems.{name}.num_beams=1"),
        *("--set", f"systems.{name}.devices=[cpu]"),
    )
    assert answer.code == 0, answer.err
    found = texts(out, name)
    images = frontals(context, list(found))
    snippet = ask_in(python, "baseline-reports", model, '{"beam_width": 2}', *images)
    assert list(found.values()) == snippet
    assert snippet != ask_in(python, "baseline-reports", model, '{"num_beams": 2}', *images)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def torn(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layernorm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (pickled, ("has no *.safetensors", "convert them to safetensors")),
        (torn, ("has no weights for 1 parameters (encoder.layernorm.weight …)",)),
    ],
)
def test_weights_that_are_pickled_or_lack_a_tensor_are_not_used(
    bench: Callable[..., Answer], model: Path, tmp_path: Path, spoil: Callable[[Path], None], words: Sequence[str]
) -> None:
    folder, name = tmp_path / "spoilt", "chexpert-mimic-baseline"
    shutil.copytree(model, folder)
    spoil(folder)
    answer = bench(
        *("run", *DEMO, "--system", name, "--metrics", "rouge-l", "--limit", "2", "--out", tmp_path / "out"),
        *("--set", f"systems.{name}.model={folder}", "--set", f"systems.{name}.devices=[cpu]"),
    )
    assert answer.code == 2
    assert [word for word in words if word not in answer.err] == []
