from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sae_world import ENCODER, FINDINGS, SAE, Training, world

from bench import registry
from bench.context import RunContext
from bench.errors import BenchError
from systems.sae_rad import SAERad, opened
from systems.sae_rad.controls import FixedOptions, NoFeatures, NoFeaturesOptions, OtherImage, RawNeurons, UntrainedSAE

torch = pytest.importorskip("torch")

LLM = {"by": "llm", "llm": "ollama/x"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controls")


@pytest.fixture(scope="module")
def training(place: Path) -> Training:
    return world(place / "train", "t", 240, 0)


@pytest.fixture(scope="module")
def testing(place: Path) -> Training:
    return world(place / "test", "q", 60, 1)


def made(kind: type[SAERad], place: Path, training: Training, **options: Any) -> SAERad:
    context = RunContext(workdir=place / kind.__name__, cache_root=place / "cache")
    options = {"encoder": ENCODER, "sae": SAE, "describe": {"sentences": 1}, **options}
    system = kind(kind.Options.model_validate(options), context)
    system.prepare(training)
    return system


def f1(system: SAERad, testing: Training) -> float:
    """F1 of the findings that reports name, over all cases."""
    said = [{s for s in FINDINGS if s in report.text} for report in system.generate(testing.cases)]
    true = [{s for s in FINDINGS if s in testing.references[case.id]} for case in testing.cases]
    hits = sum(len(s & t) for s, t in zip(said, true, strict=True))
    return 2 * hits / (sum(map(len, said)) + sum(map(len, true)))


def test_another_images_features_say_nothing_of_this_one(place: Path, training: Training, testing: Training) -> None:
    real, other = made(SAERad, place, training), made(OtherImage, place, training)
    assert f1(real, testing) > 0.7 > 0.6 > f1(other, testing)
    assert real.fingerprint() != other.fingerprint()


def test_the_other_image_is_of_another_patient_and_told_in_the_evidence(
    place: Path, training: Training, testing: Training
) -> None:
    one_patient = [replace(case, group=testing.cases[0].group) for case in training.cases[:200]]
    mixed = replace(training, cases=[*one_patient, *training.cases[200:]], fingerprint="mixed")
    other = made(OtherImage, place, mixed)
    groups = {case.id: case.group for case in mixed.cases}
    case = testing.cases[0]
    reports = list(other.generate([replace(case, id=f"{case.id}-{k}") for k in range(40)]))
    ids = [report.evidence[0].text.split()[-1].rstrip(".") for report in reports]
    assert all(groups[i] != case.group for i in ids)
    assert len(set(ids)) > 10  # drawn, not always the same one


def test_no_other_patient_is_an_error(place: Path, training: Training, testing: Training) -> None:
    case = testing.cases[0]
    alone = replace(
        training, cases=[replace(c, group=case.group) for c in training.cases[:50]], fingerprint="one patient"
    )
    with pytest.raises(BenchError, match="all training images are of the patient"):
        list(made(OtherImage, place, alone).generate([case]))


@pytest.mark.parametrize("kind", [OtherImage, UntrainedSAE, RawNeurons])
def test_a_control_report_is_the_same_alone_and_in_any_batch(
    kind: type[SAERad], place: Path, training: Training, testing: Training
) -> None:
    system = made(kind, place, training)
    together = list(system.generate(testing.cases[:12]))
    assert together == [next(iter(system.generate([case]))) for case in testing.cases[:12]]
    assert len({report.text for report in together}) > 2


@pytest.mark.parametrize(("kind", "features"), [(UntrainedSAE, 12), (RawNeurons, 12)])
def test_facts_of_features_that_are_not_learnt(
    kind: type[SAERad], features: int, place: Path, training: Training, testing: Training
) -> None:
    system = made(kind, place, training, active=2)
    list(system.generate(testing.cases))
    facts = system.facts()
    assert facts["features"] == features
    assert facts["L0"] == pytest.approx(np.diff(system.train_active.indptr).mean())
    assert 1 < facts["L0"] <= 2
    assert facts["n_train"] == 240
    assert "explained_variance" not in facts


def test_number_of_features_kept_names_another_folder(place: Path, training: Training) -> None:
    two, three = (made(UntrainedSAE, place, training, active=k) for k in (2, 3))
    assert two._folder != three._folder
    assert np.diff(three.train_active.indptr).max() == 3


def test_without_features_something_else_must_be_told() -> None:
    for compose in ({}, LLM):
        with pytest.raises(ValidationError, match="without features a report can only be written"):
            NoFeaturesOptions.model_validate({"compose": compose})
    NoFeaturesOptions.model_validate({"compose": {**LLM, "context": ["indication"]}})


def test_controls_are_systems_of_the_registry() -> None:
    names = [name for name in registry.table("system") if name.startswith("sae-rad-")]
    assert names == [
        "sae-rad-neurons",
        "sae-rad-no-features",
        "sae-rad-other-image",
        "sae-rad-untrained-encoder",
        "sae-rad-untrained-sae",
    ]
    for name in names:
        plugin = registry.find("system", name).plugin
        assert issubclass(plugin, SAERad)
        assert registry.help_line(plugin).startswith("Control: ")
    assert registry.find("system", "sae-rad-untrained-encoder").plugin.Options().encoder == "untrained"
    assert NoFeatures.Options is NoFeaturesOptions
    assert FixedOptions().active == 15


@pytest.mark.parametrize(
    "command", [["describe"], ["describe", "--dry-run"], ["atlas"], ["evaluate"], ["faithfulness"]]
)
def test_commands_on_features_say_that_a_system_has_none(bench: Any, tmp_path: Path, command: list[str]) -> None:
    blind = {"use": "sae-rad-no-features", "compose": {**LLM, "context": ["indication"]}}
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps({"dataset": {"use": "demo"}, "systems": {"blind": blind}}))
    answer = bench("sae-rad", *command, "--config", config)
    assert answer.code == 2
    assert "system 'blind' composes reports without features" in answer.err
    assert not list(Path().iterdir())
    config.write_text(json.dumps({"dataset": {"use": "demo"}, "systems": {"blind": blind, "sae-rad": {}}}))
    assert opened.select(config, (), None, None, None)[1].label == "sae-rad"
