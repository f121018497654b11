from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence_world import SENTENCES

from bench.cli import run_command
from systems.sae_rad.evidence import measure as measuring
from systems.sae_rad.evidence.labels import Labels
from systems.sae_rad.evidence.measure import Seen, Subject, Targets, Value, Yardsticks

pytest.importorskip("torch")
from systems.sae_rad.evidence.random_directions import draw
from systems.sae_rad.trained import Active

HERE = Path(__file__).parent
ENCODER = f"{HERE / 'vector_encoder.py'}:VectorEncoder"
SAE = {"squared_error": "sum", "expansion": 3, "steps": 600, "batch_size": 64, "lr": 5e-3, "sparsity": 1.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


def evaluated(place: Path, out: Path, *arguments: object, **dataset: Any) -> int:
    """Run the command on the planted world, the trained autoencoder shared by all tests; returns the exit code."""
    from systems.sae_rad.cli_evaluate import evaluate as command

    settings = {
        "dataset": {"use": f"{HERE / 'evidence_world.py'}:Known", "folder": str(place / "images"), **dataset},
        "systems": {"sae-rad": {"encoder": ENCODER, "sae": SAE, "describe": {"sentences": 1}}},
        "metrics": {"chexbert-f1": {"annotator": "rules"}},
        "run": {"bootstrap": 50},
    }
    config = place / "config.yaml"
    config.write_text(json.dumps(settings))
    given = ["--config", str(config), "--out", str(out), *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(place / "cache"))
        return run_command(lambda: command.main(args=given, standalone_mode=False))


@pytest.fixture
def evaluate(place: Path) -> Callable[..., int]:
    return lambda out, *arguments, **dataset: evaluated(place, out, *arguments, **dataset)


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "features.jsonl").read_text().splitlines()]
    return lines, json.loads((folder / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def planted(place: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    noise = f"{HERE / 'evidence_world.py'}:Noise"
    arguments = ("--judge", "similarity", "--encoder", ENCODER, "--permutations", 8, "--controls", "all")
    arguments = (*arguments, "--untrained-encoder", noise)
    assert evaluated(place, place / "planted", *arguments) == 0
    return read(place / "planted")


def test_planted_findings_are_found_and_controls_find_less(
    planted: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    lines, evaluation = planted
    rows = evaluation["rows"]
    assert evaluation["order"] == [
        "sae-rad", "random-directions", "untrained-sae", "neurons", "dense-neurons", "untrained-encoder", "shuffled",
        "shuffled descriptions",
    ]  # fmt: skip
    value = {name: {key: cell["value"] for key, cell in row.items()} for name, row in rows.items()}
    own = value["sae-rad"]
    assert own["best_f1_at_threshold"] > 0.9
    assert own["one_to_one_f1"] > 0.8
    assert own["findings_matched_70"] == 6
    assert own["auroc_labels"] > 0.85
    assert own["detection"] > 0.8
    for name, margin in (("random-directions", 0.1), ("untrained-sae", 0.1), ("neurons", 0.1), ("shuffled", 0.4)):
        for score in ("best_f1", "one_to_one_f1", "best_f1_at_threshold"):
            assert value[name][score] < own[score] - margin, (name, score)
    assert value["shuffled"]["auroc_labels"] < 0.6
    assert value["untrained-encoder"]["auroc_labels"] < 0.6
    assert value["untrained-encoder"]["best_f1"] < 0.5
    assert abs(value["shuffled"]["monosemanticity_across"]) < 0.05, "about the mean"
    assert value["shuffled"]["detection"] < own["detection"] - 0.1
    assert value["shuffled"]["monosemanticity"] < own["monosemanticity"]
    assert rows["shuffled"]["best_f1"]["p"] == pytest.approx(1 / 9)
    assert rows["sae-rad"]["best_f1"]["ci_low"] <= own["best_f1"] <= rows["sae-rad"]["best_f1"]["ci_high"]
    assert {line["matched"]["finding"] for line in lines if line["matched"]} == set(SENTENCES)


def test_controls_fire_as_often_and_dense_neurons_are_not_silenced(
    planted: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    rows = planted[1]["rows"]
    value = {name: {key: cell["value"] for key, cell in row.items()} for name, row in rows.items()}
    for name in ("alive", "L0_train"):
        assert value["random-directions"][name] == value["sae-rad"][name], "as many features, as often"
    for name in ("untrained-sae", "neurons"):
        assert value[name]["L0_train"] == round(value["sae-rad"]["L0_train"]), "of the training images"
    dense = value["dense-neurons"]
    assert (dense["alive"], dense["L0_train"], dense["L0"]) == (12, 6, 6), "two features a dimension, one of them on"
    assert "detection" not in dense
    for score in ("auroc_findings", "auroc_labels", "best_f1_at_threshold"):
        assert dense[score] > value["neurons"][score], "what silencing takes away"


def test_what_judged_means_rest_on(planted: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    lines, evaluation = planted
    row = evaluation["rows"]["sae-rad"]
    scores = [line["detection"] for line in lines if line.get("detection") is not None]
    assert row["judged"]["value"] == sum(line["description"] is not None for line in lines)
    assert row["detection_features"]["value"] == len(scores)
    assert row["detection"]["value"] == pytest.approx(np.mean(scores))
    assert min(scores) <= row["detection"]["ci_low"] < row["detection"]["value"] < row["detection"]["ci_high"]


def test_the_lines_of_features(planted: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    lines, evaluation = planted
    assert len(lines) == evaluation["rows"]["sae-rad"]["alive"]["value"]
    assert [line["feature"] for line in lines] == sorted(line["feature"] for line in lines)
    for line in lines:
        assert line["train_count"] > 0
        assert line["description"] is None or isinstance(line["description"], str)
        if (match := line["matched"]) and match["f1"] > 0.9:
            assert line["description"] == SENTENCES[match["finding"]]
            assert line["findings"][match["finding"]]["auroc"] > 0.9
            assert line["detection"] > 0.7
            assert line["matched_at_threshold"]["f1"] > 0.9
            assert match["f1"] == pytest.approx(
                2 * match["precision"] * match["recall"] / (match["precision"] + match["recall"])
            )


def test_the_recipe_tells_what_was_measured(planted: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    recipe = planted[1]["recipe"]
    assert recipe["dataset"]["split"] == ["test", "test-more"], "all but train and validate"
    assert (recipe["train_images"], recipe["heldout_images"]) == (159, 320)
    assert recipe["annotator"]["name"] == "rules", "that of the configured CheXbert metric"
    assert recipe["encoder"]["independent"] is False
    assert recipe["judge"]["fingerprint"].startswith("similarity")
    absorbed = planted[1]["tables"]["sae-rad"]["absorption"]
    assert {line["label"] for line in absorbed} == set(SENTENCES)
    assert all(line["probe_auroc"] > 0.99 for line in absorbed)
    assert all(line["prevalence"] < line["always_f1"] for line in planted[1]["tables"]["sae-rad"]["matching"])


def test_the_same_command_gives_the_same_files(place: Path, evaluate: Callable[..., int], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert evaluate(tmp_path / name, "--controls", "random-directions,shuffled", "--permutations", 2) == 0
    for file in ("features.jsonl", "evaluation.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    lines, evaluation = read(tmp_path / "a")
    assert evaluation["unmeasured"].keys() == {"detection", "monosemanticity"}
    assert not {"detection", "monosemanticity"} & lines[0].keys()


def test_a_dataset_that_does_not_know_its_findings(
    evaluate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path / "out", "--controls", "shuffled", "--permutations", 1, "--split", "test", tell=False) == 0
    lines, evaluation = read(tmp_path / "out")
    assert evaluation["recipe"]["heldout_images"] == 160
    out = capsys.readouterr().out
    assert "findings: not measured" in out
    assert all(name in out for name in ("sae-rad", "shuffled", "AUROC, labels", "absorbed"))
    assert "best F1" not in out
    assert "best_f1" not in evaluation["rows"]["sae-rad"]
    assert evaluation["rows"]["sae-rad"]["absorption"]["value"] is not None, "of the annotator's labels"
    assert all(line["matched"] is None for line in lines)


def test_named_features_and_sides(evaluate: Callable[..., int], tmp_path: Path) -> None:
    assert evaluate(tmp_path / "out", "--features", "3,", "--controls", "none", "--sides", sides=True) == 0
    lines, evaluation = read(tmp_path / "out")
    assert [line["feature"] for line in lines if line["description"] is not None] == [3]
    assert {line["finding"] for line in evaluation["tables"]["sae-rad"]["matching"]} == {f"{n}/left" for n in SENTENCES}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--controls", "neuron"], "neurons"),
        (["--split", "train"], "held-out"),
        (["--split", "tset"], "test"),
        (["--features", "ten"], "--features 'ten'"),
        (["--features", "0"], "--features 0: at least one"),
        (["--features", "999999,"], "feature 999999 is not one of"),
        (["--sides"], "does not tell the side"),
        (["--judge", "oracle"], "judge"),
        (["--annotator", "nobody"], "nobody"),
    ],
)
def test_what_is_refused(
    evaluate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert evaluate(tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_what_the_judge_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from systems.sae_rad.evidence import judging

    class Counting:
        asked = 0

        def fingerprint(self) -> str:
            return "counting"

        def calls(self, sheet: judging.Sheet) -> int:
            return len(sheet.shown)

        def judge(self, sheets: Sequence[judging.Sheet]) -> list[list[judging.Verdict]]:
            self.asked += sum(len(sheet.shown) for sheet in sheets)
            return [[judging.Verdict(True) for _ in sheet.shown] for sheet in sheets]

    judge = Counting()
    assert evaluated(tmp_path, tmp_path / "trained", "--controls", "none", broken=0) == 0
    capsys.readouterr()
    monkeypatch.setattr(judging, "make_judge", lambda *_: judge)
    arguments = ("--judge", "counting", "--controls", "neurons,random-directions,shuffled", "--permutations", 1)
    arguments = (*arguments, "--features", 5)
    assert evaluated(tmp_path, tmp_path / "out", *arguments, "--dry-run", broken=0) == 0
    assert judge.asked == 0
    assert not (tmp_path / "out").exists()
    counted = re.findall(r"(\S+): questions to the judge: ([\d,]+) calls", capsys.readouterr().out)
    assert [name for name, _ in counted] == ["sae-rad", "neurons", "random-directions"]
    assert evaluated(tmp_path, tmp_path / "out", *arguments, broken=0) == 0
    assert judge.asked == sum(int(number.replace(",", "")) for _, number in counted) > 0
    assert read(tmp_path / "out")[1]["rows"]["sae-rad"]["detection"]["value"] == 0.5, "a judge that says yes to all"


@pytest.mark.parametrize("encoded", [False, True])
def test_a_dry_run_spends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, encoded: bool
) -> None:
    from bench.context import RunContext
    from systems.sae_rad import train

    if encoded:
        assert evaluated(tmp_path, tmp_path / "out", "--controls", "none", broken=0) == 0

    def spent(*_: object, **__: object) -> None:
        raise AssertionError("a dry run must not get here")

    monkeypatch.setattr(train, "train", train.train if encoded else spent)
    if not encoded:
        monkeypatch.setattr(RunContext, "embeddings", spent)
    arguments = ("--controls", "all", "--untrained-encoder", f"{HERE / 'evidence_world.py'}:Noise", "--features", 5)
    capsys.readouterr()
    assert evaluated(tmp_path, tmp_path / "out", *arguments, "--dry-run", broken=0) == 0
    out = capsys.readouterr().out
    assert ("sae-rad: images to encode" in out) is not encoded
    assert ("sae-rad: SAE training" in out) is not encoded
    assert "untrained-encoder: images to encode: 480 images" in out
    assert "untrained-encoder: SAE training: 600 steps" in out
    assert len(list((tmp_path / "cache" / "sae").glob("*/training.json"))) == encoded


# ------------------------------------------------------------------ resampling and chance


def sparse(table: np.ndarray) -> Active:
    there = table > 0
    indptr = np.concatenate([[0], there.sum(1).cumsum()]).astype(np.int64)
    return Active(indptr, np.nonzero(there)[1].astype(np.int32), table[there].astype(np.float32))


def small(seed: int) -> tuple[Subject, Targets]:
    rng = np.random.default_rng(seed)
    positive = rng.random((120, 3)) < 0.4
    table = (rng.random((120, 8)) < 0.3) * rng.uniform(0.1, 2, (120, 8))
    table[:, :3] = (positive ^ (rng.random((120, 3)) < 0.1)) * rng.uniform(0.1, 2, (120, 3))
    z = rng.normal(size=(120, 4)).astype(np.float32)
    groups = [f"p{k // 3}" for k in range(60)]
    sides = [Seen(np.arange(60), sparse(table[part]), z[part], groups) for part in (slice(60), slice(60, 120))]
    names = ("a", "b", "c")
    labels = [Labels(names, positive[part], ~positive[part]) for part in (slice(60), slice(60, 120))]
    return Subject(8, lambda f: np.eye(4)[np.asarray(f) % 4], sides[0], sides[1], 0.0), Targets(*labels)


def test_an_interval_is_that_of_images_drawn_again() -> None:
    subject, targets = small(0)
    weights = measuring.resamples(subject.held_out.groups, 40, 7)
    assert weights is not None
    assert all(len(set(row[k : k + 3])) == 1 for row in weights for k in range(0, 60, 3)), "patients, not images"
    given = Yardsticks(targets, targets, {}, weights, 0.9)
    found = measuring.measure(subject, given, 0).values
    draws: dict[str, list[float]] = {name: [] for name in ("best_f1", "one_to_one_f1", "auroc_labels")}
    for row in weights:
        again = np.repeat(np.arange(60), row.astype(int))
        active, z = subject.held_out.active, subject.held_out.z
        parts = [active.row(k) for k in again]
        indptr = np.concatenate([[0], np.cumsum([len(f) for f, _ in parts])]).astype(np.int64)
        drawn = Active(indptr, np.concatenate([f for f, _ in parts]), np.concatenate([a for _, a in parts]))
        side = Seen(np.arange(len(again)), drawn, z[again], [f"q{k}" for k in range(len(again))])
        redrawn = Targets(targets.train, targets.held_out.rows(again))
        other = Subject(8, subject.directions, subject.train, side, 0.0)
        values = measuring.measure(other, Yardsticks(redrawn, redrawn, {}, None, 0.9), 0).values
        for name in draws:
            draws[name].append(values[name].value or 0.0)
    for name, values in draws.items():
        low, high = np.percentile(values, [5, 95])
        assert (found[name].ci_low, found[name].ci_high) == (pytest.approx(low), pytest.approx(high)), name


def test_one_patient_has_no_interval() -> None:
    assert measuring.resamples(["p"] * 5, 10, 0) is None
    assert measuring.resamples(["p", "q"], 0, 0) is None
    assert Value.of(float("nan"), None, 0.95) == Value(None)


def test_chance_by_hand() -> None:
    found = measuring.chance(
        {"x": Value(3.0), "y": Value(None), "z": Value(1.0)}, [{"x": v} for v in (1, 2, 3, 4)], 0.5
    )
    assert found == {"x": {"value": 2.5, "ci_low": 1.75, "ci_high": 3.25, "p": 3 / 5}}


def test_firing_everywhere_is_no_match() -> None:
    """A feature that fires on all images has F1 0.75 for a finding of three fifths of them, and finds nothing."""
    shown = np.arange(40) % 5 < 3
    labels = Labels(("common",), shown[:, None], ~shown[:, None])
    for fires, matched in ((np.ones(40, bool), 0), (shown, 1)):
        rows = np.flatnonzero(fires)
        indptr = np.concatenate([[0], np.cumsum(fires)]).astype(np.int64)
        active = Active(indptr, np.zeros(len(rows), np.int32), np.ones(len(rows), np.float32))
        side = Seen(np.arange(40), active, np.random.default_rng(0).normal(size=(40, 3)), [f"p{k}" for k in range(40)])
        subject = Subject(1, lambda ids: np.ones((len(ids), 3)), side, side, 0.0)
        given = Yardsticks(None, Targets(labels, labels), {}, None, 0.95)
        values = measuring.measure(subject, given, 0).values
        assert values["best_f1"].value == pytest.approx(1.0 if matched else 0.75)
        assert (values["matched_70"].value, values["findings_matched_50"].value) == (matched, matched)
        assert values["matched_50"].ci_low is None


def test_absorption_of_few_images_is_not_counted_and_what_has_no_feature_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        measuring.absorption.Absorbed("a", (1, 2), 1.0, 10, 4, 2, (3,)),
        measuring.absorption.Absorbed("rare", (1,), 1.0, 1, 1, 1, (3,)),
        measuring.absorption.Absorbed("none", (), 1.0, 10, 10, 0, ()),
    ]
    monkeypatch.setattr(measuring.absorption, "measure", lambda *_, **__: found)
    side = Seen(
        np.arange(0), Active(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)), np.ones(0), []
    )
    run = measuring._Run(Subject(4, lambda ids: np.ones((len(ids), 2)), side, side, 0.0), None, 0.95)
    nothing = Labels((), np.ones((0, 0), bool), np.ones((0, 0), bool))
    values = {name: value.value for name, value in run.absorbed(Targets(nothing, nothing)).values.items()}
    assert values == {"absorption": 0.2, "missed": 0.7, "split": 2.0, "absorption_labels": 2.0}


# ------------------------------------------------------------------ random directions


@pytest.mark.parametrize("above", [0.0, 0.3])
def test_random_directions_fire_as_often_as_asked(above: float) -> None:
    z = (np.random.default_rng(0).normal(size=(50, 6)) + 10).astype(np.float32)
    counts = [1, 5, 17, 49, 50] * 60
    drawn = draw(z, counts, seed=3, above=above)
    active = drawn.encode(z)
    assert np.bincount(active.features[active.activations > above], minlength=300).tolist() == counts
    assert np.linalg.norm(drawn.directions(range(300)), axis=1) == pytest.approx(np.ones(300))
    dense = ((z - z.mean(axis=0, dtype=np.float64)) @ drawn.directions(range(300)).T - drawn.cuts) * drawn.scale
    rows = active.rows()
    assert active.activations == pytest.approx(dense[rows, active.features], rel=1e-4, abs=1e-5)
    assert len(rows) == (dense > 0).sum()
    alone = [drawn.encode(z[k : k + 1]).row(0) for k in range(50)]
    assert all(np.array_equal(a, b) for k in range(50) for a, b in zip(alone[k], active.row(k), strict=True))
    assert not np.array_equal(draw(z, counts, seed=4).directions([0]), drawn.directions([0]))


def test_no_random_directions() -> None:
    drawn = draw(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), [], seed=0)
    assert (drawn.m, len(drawn.encode(np.ones((2, 3), np.float32)).features)) == (0, 0)


def test_controls_imitate_the_training_images() -> None:
    """The autoencoder is active on more features of images that it was not trained on: 15.6 of the demo's, not 11."""
    from types import SimpleNamespace

    from systems.sae_rad.evidence import evaluate as evidence
    from systems.sae_rad.options import SAERadOptions

    work = evidence._Work.__new__(evidence._Work)
    work.opened = SimpleNamespace(system=SimpleNamespace(options=SAERadOptions.model_validate({})))  # type: ignore[assignment]
    work.context, work.options = SimpleNamespace(), evidence.Options()  # type: ignore[assignment]
    values = {"L0": Value(9.0), "L0_train": Value(2.2)}
    own = measuring.Measured(values, {"train_count": np.array([3, 0, 7])})
    made = {name: work.control(name, own).options.model_dump() for name in evidence.FIXED}
    assert (made["untrained-sae"]["active"], made["neurons"]["active"]) == (2, 2)
    assert made["random-directions"]["counts"] == (3, 7)
