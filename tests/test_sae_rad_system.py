from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted_sae
import pytest
from pydantic import ValidationError
from sae_world import ENCODER, FINDINGS, SAE, Training, build, image_case, world

from bench.errors import BenchError
from systems.sae_rad import SAERad
from systems.sae_rad.describe import Description
from systems.sae_rad.options import SAERadOptions

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sae_rad")


@pytest.fixture(scope="module")
def training(place: Path) -> Training:
    data = world(place / "train", "t", 240, 0)
    return replace(data, cases=[*data.cases[:7], image_case(place / "train", "bad", "broken"), *data.cases[7:]],
                   references={**data.references, "bad": "Not to be read."})  # fmt: skip


@pytest.fixture(scope="module")
def testing(place: Path) -> Training:
    return world(place / "test", "q", 40, 1)


@pytest.fixture(scope="module")
def system(place: Path, training: Training) -> SAERad:
    system = build(place)
    system.prepare(training)
    return system


def test_reports_say_what_the_images_show(system: SAERad, testing: Training) -> None:
    said = [{s for s in FINDINGS if s in report.text} for report in system.generate(testing.cases)]
    true = [{s for s in FINDINGS if s in testing.references[case.id]} for case in testing.cases]
    hits = sum(len(s & t) for s, t in zip(said, true, strict=True))
    assert hits / sum(map(len, said)) > 0.7
    assert hits / sum(map(len, true)) > 0.7


def test_a_report_is_the_same_alone_and_in_any_batch(
    place: Path, system: SAERad, training: Training, testing: Training
) -> None:
    together = list(system.generate(testing.cases))
    fresh = build(place, "alone")
    fresh.prepare(training)
    alone = [next(iter(fresh.generate([case]))) for case in reversed(testing.cases)][::-1]
    assert together == alone
    assert len({report.text for report in together}) > 5


def test_evidence_is_the_active_features_most_important_first(system: SAERad, testing: Training) -> None:
    from systems.sae_rad.train import encode

    z = system._context.embeddings(ENCODER, testing.cases)
    for k, report in enumerate(system.generate(testing.cases)):
        features, activations = encode(system.trained, z[k : k + 1]).row(0)
        expected = dict(zip(map(str, features), activations / activations.max(), strict=True))
        assert {e.label: e.score for e in report.evidence} == pytest.approx(expected)
        scores = [e.score for e in report.evidence]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == 1.0
        assert all(e.kind == "feature" and e.text == system.description(int(e.label)) for e in report.evidence)


def test_unreadable_images(place: Path, system: SAERad, testing: Training) -> None:
    bad = image_case(place / "test", "bad", "broken")
    first, second, third = system.generate([testing.cases[0], bad, testing.cases[1]])
    assert second.error == f"image file {place / 'test' / 'bad.txt'}: not a list of numbers"
    assert (first.error, third.error) == (None, None)
    assert [first, third] == list(system.generate(testing.cases[:2]))


def test_no_training_report_of_an_unreadable_image_is_used(system: SAERad) -> None:
    assert not any("Not to be read" in system.description(k) for k in range(12))


def test_a_second_prepare_trains_nothing(
    place: Path, system: SAERad, training: Training, testing: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    from systems.sae_rad import system as module

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the index was made again")

    monkeypatch.setattr(module, "top_images", refuse)
    files = {f: f.stat().st_mtime_ns for f in (place / "cache" / "sae").rglob("*") if f.name != ".lock" and f.is_file()}
    again = build(place, "again")
    again.prepare(training)
    assert list(again.generate(testing.cases[:5])) == list(system.generate(testing.cases[:5]))
    assert files == {f: f.stat().st_mtime_ns for f in files}


def test_another_choice_of_images_reuses_the_autoencoder(place: Path, system: SAERad, training: Training) -> None:
    other = build(place, "other", describe={"images": 3, "distinct": "patient"})
    other.prepare(training)
    folders = list((place / "cache" / "sae").iterdir())
    assert len(folders) == 1
    assert {f.name for f in folders[0].glob("top-*")} == {"top-10-image.npz", "top-3-patient.npz"}
    assert other.fingerprint() != system.fingerprint()


def test_no_active_feature_is_an_empty_report_with_a_note(place: Path, training: Training, testing: Training) -> None:
    system = build(place, "none", compose={"threshold": 1e9})
    system.prepare(training)
    (report,) = system.generate(testing.cases[:1])
    assert (report.text, report.error) == ("", None)
    assert [(e.kind, e.label) for e in report.evidence] == [("note", "no active feature")]
    assert system.facts()["no_active_feature"] == 1


def test_facts_cover_all_cases_of_a_continued_run(place: Path, training: Training, testing: Training) -> None:
    whole, first, second = (build(place, work) for work in ("whole", "parts", "parts"))
    for system in (whole, first, second):
        system.prepare(training)
    list(whole.generate(testing.cases))
    list(first.generate(testing.cases[:13]))
    list(second.generate(testing.cases[10:]))
    assert dict(whole.facts()) == dict(second.facts())
    facts = whole.facts()
    assert facts["L0_reported"] > 0
    assert {"L0", "mse", "explained_variance", "dead_features", "n_parameters"} <= facts.keys()
    json.dumps(facts, allow_nan=False)


def test_all_training_images_unreadable(place: Path) -> None:
    bad = Training([image_case(place / "train", f"b{k}", "broken") for k in range(3)], {}, "bad")
    with pytest.raises(BenchError, match="not one of the training images"):
        build(place, "bad").prepare(bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"describe": {"by": "llm"}}, "by: llm needs llm: backend/model"),
        ({"describe": {"llm": "ollama/x"}}, "llm is not read with by: consensus"),
        ({"compose": {"context": ["indication"]}}, "context is read by a language model only"),
        ({"compose": {"by": "llm", "llm": "ollama/x", "context": ["weather"]}}, "indication"),
        ({"describe": {"distinct": "ward"}}, "image"),
        ({"tau": 1}, "tau"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SAERadOptions.model_validate(options)


def test_bookkeeping_moves_no_fingerprint(place: Path) -> None:
    plain, often, longer = (
        build(place, sae={**SAE, **more}).fingerprint() for more in ({}, {"checkpoint_every_s": 1}, {"steps": 401})
    )
    assert plain == often != longer


def test_import_is_light() -> None:
    code = "import sys, systems.sae_rad, systems.floors, systems.nearest_neighbour, systems.sae_rad.command;"
    heavy = "torch transformers pandas nltk PIL sklearn scipy safetensors"
    code += f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def config_in(folder: Path, **systems: Any) -> Path:
    """A configuration on a dozen cases whose images are 0.png … in the working folder."""
    for k in range(12):
        Path(f"{k}.png").write_text(" ".join(str(float((k * m) % 7)) for m in range(1, 7)))
    settings = {
        "dataset": {"use": f"{Path(__file__).parent / 'plugins.py'}:TinyDataset"},
        "systems": {"sae-rad": {"encoder": ENCODER, "sae": {**SAE, "steps": 20}}, **systems},
        "metrics": {"bleu-4": {}},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(settings))
    return file


def test_train_command_prints_the_facts_and_run_reuses_the_training(tmp_path: Path, bench: Any) -> None:
    config = config_in(tmp_path, constant={})
    answer = bench("sae-rad", "train", "--config", config)
    assert answer.code == 0, answer.err
    assert "explained_variance" in answer.out
    trained = {f: f.stat().st_mtime_ns for f in (tmp_path / "cache" / "sae").rglob("*.safetensors")}
    assert len(trained) == 1
    assert bench("sae-rad", "train", "--config", config, "--seed", 1).code == 0
    answer = bench("run", "--config", config, "--system", "sae-rad,constant", "--out", tmp_path / "runs")
    assert answer.code == 0, answer.err
    assert all(f.stat().st_mtime_ns == then for f, then in trained.items())
    assert len(list((tmp_path / "cache" / "sae").rglob("*.safetensors"))) == 2


def test_train_command_without_a_sae_rad_system(tmp_path: Path, bench: Any) -> None:
    answer = bench("sae-rad", "train", "--config", config_in(tmp_path, constant={}), "--system", "constant")
    assert answer.code == 2
    assert "none of the systems constant is a sae-rad" in answer.err


def test_a_dry_run_counts_what_systems_share_once(tmp_path: Path, bench: Any) -> None:
    short = {"use": "sae-rad", "encoder": ENCODER, "sae": {**SAE, "steps": 20}, "compose": {"max_sentences": 2}}
    longer = {**short, "sae": {**SAE, "steps": 30}}
    answer = bench("run", "--config", config_in(tmp_path, short=short, longer=longer), "--dry-run")
    assert answer.code == 0, answer.err
    assert answer.out.count("SAE training: 20 steps") == 1
    assert answer.out.count("SAE training: 30 steps") == 1
    assert answer.out.count("SAE training: made once, counted above") == 1
    assert answer.out.count("reports composed without a language model: 12 reports") == 3
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_dry_run_tells_what_it_knows_where_the_server_is_down(tmp_path: Path, bench: Any) -> None:
    config = config_in(tmp_path)
    assert bench("sae-rad", "train", "--config", config).code == 0  # trained and encoded
    settings = json.loads(config.read_text())
    writer = {"by": "llm", "llm": "writer"}
    settings["systems"]["sae-rad"] |= {"describe": writer, "compose": {**writer, "context": ["indication"]}}
    settings["llms"] = {"writer": {"use": "ollama/m", "host": "http://127.0.0.1:9", "retries": 0}}
    config.write_text(json.dumps(settings))
    answer = bench("run", "--config", config, "--system", "sae-rad", "--dry-run")
    assert answer.code == 2
    assert "cannot be reached" in answer.out
    assert "the run would stop: sae-rad cannot work here" in answer.err
    assert "reports composed: questions to the language model: " in answer.out
    assert "SAE training" not in answer.out


def test_a_damaged_autoencoder_is_mended_as_its_error_says(tmp_path: Path, bench: Any) -> None:
    config = config_in(tmp_path)
    assert bench("sae-rad", "train", "--config", config).code == 0
    [file] = (tmp_path / "cache" / "sae").rglob("sae.safetensors")
    file.write_bytes(b"damaged")
    answer = bench("sae-rad", "train", "--config", config)
    assert answer.code == 2
    assert f"delete the folder {file.parent}, and train again" in answer.err
    shutil.rmtree(file.parent)
    assert bench("sae-rad", "train", "--config", config).code == 0


def test_empty_reports_are_counted_below_the_scores(tmp_path: Path, bench: Any) -> None:
    config = config_in(tmp_path)
    silent = ("--set", "systems.sae-rad.compose.threshold=1e9")
    answer = bench("run", "--config", config, "--system", "sae-rad", "--out", "r", *silent)
    assert answer.code == 0, answer.err
    assert "sae-rad: 12 of 12 reports are empty" in answer.out
    assert json.loads(Path("r/sae-rad/summary.json").read_text())["n_reports_empty"] == 12


# ------------------------------------------------------------------ describe


@pytest.fixture
def describe(bench: Any) -> Any:
    """Describe features of the planted system: 0 to 5 are active on training images, 6 and 7 on none."""
    Path("planted.yaml").write_text(planted_sae.CONFIG)
    return lambda *arguments: bench("sae-rad", "describe", "--config", "planted.yaml", *arguments)


def described() -> tuple[Path, list[dict[str, Any]]]:
    [file] = Path("features").rglob("descriptions.jsonl")
    return file, [json.loads(line) for line in file.read_text().splitlines()]


def test_describing_one_feature_keeps_the_lines_of_the_others(describe: Any) -> None:
    answer = describe("--all")
    assert answer.code == 0, answer.err
    file, every = described()
    assert [line["feature"] for line in every] == list(range(6))
    file.write_text("".join(json.dumps({**line, "description": "old"}) + "\n" for line in reversed(every)))
    assert describe("--feature", 3).code == 0
    assert described()[1] == [line if line["feature"] == 3 else {**line, "description": "old"} for line in every]


def test_a_file_in_a_folder_of_another_name_is_replaced(describe: Any) -> None:
    Path("mine").mkdir()
    Path("mine/descriptions.jsonl").write_text('{"feature": 5}\n')
    assert describe("--feature", 3, "--out", "mine").code == 0
    lines = [json.loads(line) for line in Path("mine/descriptions.jsonl").read_text().splitlines()]
    assert [line["feature"] for line in lines] == [3]


@pytest.mark.parametrize(
    "damage", ["{half\n", "[]\n", '{"feature": "x"}\n', '{"feature": 4, "max_activation": NaN}\n', '{"feature": 4']
)
def test_a_damaged_file_of_descriptions_is_named_and_left(describe: Any, damage: str) -> None:
    assert describe("--feature", 2).code == 0
    file, _ = described()
    before = file.read_text() + damage
    file.write_text(before)
    answer = describe("--feature", 3)
    assert answer.code == 2
    assert f"{file}, line 2: " in answer.err
    assert file.read_text() == before


def test_a_feature_that_no_training_image_activates_is_not_described(
    describe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = describe("--feature", 1, "--feature", 6)
    assert answer.code == 2
    assert "feature 6 is dead: no training image activates it" in answer.err
    assert not Path("features").exists()
    monkeypatch.setattr("systems.sae_rad.cli_describe._wanted", lambda *_: [0, 6, 7])
    told = {0: Description(""), 6: Description(""), 7: Description("")}
    monkeypatch.setattr(SAERad, "describe", lambda *_: told)
    answer = describe("--split", "test")
    counted = "3 features: 0 described, 2 active on no training image, 1 whose reports have nothing in common: "
    assert counted in answer.err
    assert [line["error"] for line in described()[1]] == [None, *["active on no training image"] * 2]


def test_descriptions_do_not_go_into_a_file(describe: Any) -> None:
    Path("afile").write_text("mine")
    answer = describe("--all", "--out", "afile")
    assert answer.code == 2
    assert "--out afile: is a file; name a folder" in answer.err
