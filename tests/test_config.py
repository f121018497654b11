"""Configurations: files, the command line on top, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import config
from bench.config import Choices
from bench.errors import BenchError

PLUGINS = Path(__file__).with_name("plugins.py")
TINY = f"""
dataset: {{use: "{PLUGINS}:TinyDataset", n: 6}}
systems:
  a: {{use: "{PLUGINS}:Parrot"}}
  b: {{use: "{PLUGINS}:Parrot", fail: [test001]}}
metrics:
  words: {{use: "{PLUGINS}:WordF1"}}
run: {{bootstrap: 10}}
"""


def written(text: str) -> Path:
    file = Path("c.yaml")
    file.write_text(text)
    return file


def test_defaults_are_resolved_and_recorded() -> None:
    loaded = config.load(written(TINY))
    assert loaded.resolved["systems"]["b"]["fail"] == ["test001"]
    assert loaded.resolved["systems"]["a"]["skip"] == []
    assert loaded.resolved["run"]["confidence"] == 0.95
    assert loaded.resolved["dataset"]["split"] == "test"


def test_digest_depends_on_what_is_resolved_only() -> None:
    one = config.load(written(TINY)).digest()
    assert config.load(written(TINY + "\n# a comment\n")).digest() == one
    assert config.load(written(TINY.replace("n: 6", "n: 7"))).digest() != one


def test_choices_and_assignments() -> None:
    choices = Choices(systems="b", seed=7, limit=3, assignments=["dataset.n=9", "systems.b.fail=[x, y]"])
    loaded = config.load(written(TINY), choices)
    assert [entry.label for entry in loaded.systems] == ["b"]
    assert (loaded.run.seed, loaded.run.limit, loaded.resolved["dataset"]["n"]) == (7, 3, 9)
    assert loaded.resolved["systems"]["b"]["fail"] == ["x", "y"]


def test_all_metrics_are_those_of_table_1_in_its_order() -> None:
    loaded = config.load(written(TINY), Choices(metrics="all"))
    assert [e.label for e in loaded.metrics] == ["radfact", "bleu-4", "rouge-l", "meteor", "rger", "chexbert-f1"]


def test_a_label_of_a_table_1_metric_replaces_the_default() -> None:
    text = TINY.replace("metrics:", "metrics:\n  smooth: {use: bleu-4}")
    loaded = config.load(written(text), Choices(metrics="nlg"))
    assert loaded.metrics[0].label == "smooth"
    assert "bleu-4" not in [e.label for e in loaded.metrics]


def test_dataset_choice_drops_the_other_datasets_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    text = TINY.replace("n: 6", 'salt: "${NOT_SET_ANYWHERE}"')
    loaded = config.load(written(text), Choices(dataset="demo"))
    assert loaded.dataset.use == "demo"
    with pytest.raises(BenchError, match=r"dataset.salt: the environment variable NOT_SET_ANYWHERE is not set"):
        config.load(written(text))


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALT", "sea")
    text = TINY.replace("n: 6", 'salt: "${SALT}-${NOT_SET_ANYWHERE:-rock}"')
    assert config.load(written(text)).resolved["dataset"]["salt"] == "sea-rock"


@pytest.mark.parametrize(
    ("change", "choices", "words"),
    [
        (("run:", "rum:"), {}, "unknown section 'rum'. Did you mean run?"),
        (("bootstrap: 10", "bootstrp: 10"), {}, "run.bootstrp: unknown key. Did you mean bootstrap?"),
        (("bootstrap: 10", "bootstrap: -1"), {}, "run.bootstrap: Input should be greater than or equal to 0"),
        (("n: 6", "n: six"), {}, "dataset.n: Input should be a valid integer"),
        (("n: 6", "n: 6, n: 7"), {}, "key 'n' is given twice"),
        (("{bootstrap: 10}", "{bootstrap: 10"), {}, "c.yaml, line"),
        (("  a:", "  ../a:"), {}, "systems.../a: a label is made of letters"),
        (("", ""), {"systems": "c"}, "No system named 'c'."),
        (("", ""), {"systems": "c"}, ". Labels in the configuration: a, b"),
        (("", ""), {"systems": "a,,b"}, "an empty name"),
        (("", ""), {"metrics": "blue-4"}, "Did you mean bleu-4"),
        (("", ""), {"assignments": ["systems.c.fail=1"]}, "No system in this run named 'c'"),
        (("", ""), {"assignments": ["run.bootstrap"]}, "write --set section.key=value"),
        (("", ""), {"assignments": ["rum.bootstrap=1"]}, "Did you mean run?"),
        (("", ""), {"assignments": ["run.seed=1", "run.seed.x=1"]}, "run.seed is a value"),
        (("", ""), {"assignments": ["dataset.n.deep=1"]}, "dataset.n is a value, not a section"),
        (("", ""), {"dataset": "mimic"}, "No dataset named 'mimic'. Did you mean mimic-cxr?"),
    ],
)
def test_errors_name_the_key(change: tuple[str, str], choices: dict[str, object], words: str) -> None:
    with pytest.raises(BenchError) as error:
        config.load(written(TINY.replace(*change)), Choices(**choices))  # type: ignore[arg-type]
    assert words in str(error.value)


def test_missing_and_binary_files() -> None:
    with pytest.raises(BenchError, match=r"nowhere.yaml: no such file; the embedded configurations are demo and paper"):
        config.load(Path("nowhere.yaml"))
    Path("bin.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match=r"bin.yaml: not UTF-8"):
        config.load(Path("bin.yaml"))


@pytest.mark.parametrize("name", ["demo.yaml", "paper.yaml"])
def test_shipped_configurations_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIC_CXR_JPG", "/data")
    monkeypatch.setenv("MIMIC_CXR_REPORTS", "/data")
    from importlib.resources import files

    loaded = config.load(Path(str(files("configs").joinpath(name))))
    assert {"sae-rad", "nearest-neighbour"} <= {entry.label for entry in loaded.systems} | {"nearest-neighbour"}


def test_embedded_configurations_by_name() -> None:
    Path("bench.yaml").write_text(TINY)
    loaded = config.load(Path("demo"))
    assert (loaded.source, loaded.dataset.use) == ("configs/demo.yaml (embedded)", "demo")
    Path("demo").write_text(TINY)
    assert config.load(Path("demo")).source == "demo"


def test_one_assignment_reaches_all_users_of_an_encoder() -> None:
    loaded = config.load(written(TINY), Choices(assignments=["encoders.rad-dino.model=/weights"]))
    assert loaded.resolved["encoders"]["rad-dino"]["model"] == "/weights"
    with pytest.raises(BenchError, match=r"encoders.rad-dino.modell: unknown key. Did you mean model"):
        config.load(written(TINY), Choices(assignments=["encoders.rad-dino.modell=/weights"]))


def test_a_label_within_another_labels_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("dataset: {use: demo}\nsystems: {a: {use: constant}, a/b: {use: constant}}\n")
    with pytest.raises(BenchError, match="run 'a/b' would lie in the folder of 'a'"):
        config.load(file)


@pytest.mark.parametrize(
    "text",
    ["dataset: {[a, b]: 1}", f"run: {{seed: {'9' * 5000}}}", "dataset: " + "[" * 5000],
    ids=["key", "number", "deep"],
)
def test_yaml_that_python_cannot_hold(text: str) -> None:
    with pytest.raises(BenchError, match=r"c\.yaml.*: not valid YAML"):
        config.load(written(text))
