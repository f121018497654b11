"""Interventions: against equation 14 written out, dictionaries whose answer is known, and dense arithmetic."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError

torch = pytest.importorskip("torch")

from systems.sae_rad import cli_intervene, opened  # noqa: E402
from systems.sae_rad import intervene as library  # noqa: E402
from systems.sae_rad.command import sae_rad  # noqa: E402
from systems.sae_rad.intervene import change, code, do, gain, measure, rows_of, spread, summary  # noqa: E402
from systems.sae_rad.model import SAE  # noqa: E402
from systems.sae_rad.options import Architecture  # noqa: E402
from systems.sae_rad.trained import Active, TrainedSAE, encode  # noqa: E402

ARCHITECTURES: tuple[Architecture, ...] = ("sae-rad", "standard", "gated", "conerly")
N, M, SCALE = 8, 24, 0.7


def trained(sae: SAE, scale: float = SCALE) -> TrainedSAE:
    return TrainedSAE(sae.requires_grad_(False), scale, {})


def some(architecture: Architecture = "sae-rad", seed: int = 0) -> TrainedSAE:
    """An autoencoder of random weights, all of them in use."""
    generator = torch.Generator().manual_seed(seed)
    sae = SAE(architecture, N, M)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    sae.project_decoder()
    return trained(sae)


def embeddings(rows: int = 40, n: int = N, seed: int = 1) -> np.ndarray:
    return (2 * np.random.default_rng(seed).normal(size=(rows, n))).astype(np.float32)


def orthogonal() -> TrainedSAE:
    """Features along the axes: the encoder reads exactly what the decoder writes."""
    sae = SAE("conerly", N, N)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(N))
        sae.W_dec.copy_(torch.eye(N))
    return trained(sae)


# ------------------------------------------------------------------ do(i, β)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("beta", [0.0, 0.3, 15.0])
def test_do_is_equation_14_with_the_reconstruction_error_added(architecture: Architecture, beta: float) -> None:
    autoencoder, z, feature = some(architecture), embeddings(), 5
    sae = copy.deepcopy(autoencoder.sae).double()
    x = torch.from_numpy(z).double() * SCALE
    h = sae.h(x)
    edited = h.clone()
    edited[:, feature] = beta  # eq. 13
    delta = x - sae.decode(h)
    expected = (sae.decode(edited) + delta) / SCALE  # eq. 14, and δ = z - ẑ
    assert bool((h[:, feature] > 0).any()) and bool((h[:, feature] == 0).any())  # noqa: PT018
    np.testing.assert_allclose(do(autoencoder, z, feature, beta), expected, atol=1e-5)


def test_the_papers_sign_of_delta_would_not_return_z() -> None:
    autoencoder, z = some(), embeddings()
    sae = copy.deepcopy(autoencoder.sae).double()
    x = torch.from_numpy(z).double() * SCALE
    reconstructed = sae.decode(sae.h(x))
    as_printed = (reconstructed + (reconstructed - x)) / SCALE
    assert float((as_printed - torch.from_numpy(z)).abs().max()) > 0.1
    np.testing.assert_array_equal(do(autoencoder, z, 5, code(autoencoder, z, 5)), z)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_setting_a_feature_to_what_it_is_returns_z_bit_for_bit(architecture: Architecture) -> None:
    autoencoder, z = some(architecture), embeddings()
    for feature in range(M):
        assert np.array_equal(do(autoencoder, z, feature, code(autoencoder, z, feature)), z)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_code_is_the_codes_entry_and_agrees_with_encode(architecture: Architecture) -> None:
    autoencoder, z = some(architecture), embeddings()
    h = copy.deepcopy(autoencoder.sae).double().h(torch.from_numpy(z).double() * SCALE).numpy()
    np.testing.assert_allclose([code(autoencoder, z, i) for i in range(M)], h.T, atol=1e-12)
    active = dense(encode(autoencoder, z), M)
    np.testing.assert_allclose(active, h * autoencoder.readout.norms, atol=1e-6)


def test_beta_may_differ_by_row() -> None:
    autoencoder, z = some(), embeddings(3)
    betas = np.array([0.0, 2.0, 5.0])
    together = do(autoencoder, z, 7, betas)
    alone = [do(autoencoder, z[k : k + 1], 7, float(betas[k]))[0] for k in range(3)]
    assert np.array_equal(together, alone)
    assert together.dtype == np.float32


@pytest.mark.parametrize(
    ("feature", "beta", "message"),
    [
        (M, 1.0, f"feature {M}: the autoencoder has features 0 to {M - 1}"),
        (-1, 1.0, "feature -1"),
        (0, -0.1, "not negative"),
        (0, math.nan, "finite"),
        (0, np.ones(3), r"one number or one a row \(40\), not of shape \[3\]"),
    ],
)
def test_what_cannot_be_set(feature: int, beta: Any, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        do(some(), embeddings(), feature, beta)


def test_rows_that_do_not_fit() -> None:
    with pytest.raises(BenchError, match=rf"\[rows, {N}\]"):
        do(some(), embeddings(n=N + 1), 0, 1.0)
    broken = embeddings()
    broken[3, 2] = np.nan
    with pytest.raises(BenchError, match=r"first rows \[3\]"):
        measure(some(), broken, 0, 1.0)


# ------------------------------------------------------------------ the three tests


def test_two_features_by_hand() -> None:
    """Feature 0 reads x0 at half; feature 1 reads x1 and a fifth of x0, less one. Decoder: axes, of norm 2 and 1."""
    sae = SAE("conerly", 2, 2)
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[0.4, 0.0], [0.2, 1.0]]))
        sae.b_enc.copy_(torch.tensor([0.0, -1.0]))
        sae.W_dec.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    z = np.array([[1.0, 0.5]], np.float32)
    # h = (0.4, 0); do(0, 2) steps by 1.6·(2, 0): z̃ = (4.2, 0.5), h = (1.68, 0.34); back by 1.28·(2, 0): (1.64, 0.5),
    # h = (0.656, 0); do(0, 0) of z̃ steps by -1.68·(2, 0): (0.84, 0.5), h_0 = 0.336.
    found = measure(trained(sae, 1.0), z, 0, 2.0, others=[0, 1])
    np.testing.assert_allclose(do(trained(sae, 1.0), z, 0, 2.0), [[4.2, 0.5]], rtol=1e-6)
    assert gain(trained(sae), 0) == pytest.approx(0.8)
    assert found.on.tolist() == [True]
    expected = {
        "reached": 0.8,
        "missed": 0.32,
        "share": 2.56 / 2.9,
        "side": 0.34 / 3.2,
        "switched_on": 1,
        "switched_off": 0,
        "active": 1,
        "returned": 0.8,
        "returned_code": 1 - 0.512 / 2.9,
        "same": 1,
        "residue": 0.168,
    }
    assert {name: float(getattr(found, name)[0]) for name in expected} == pytest.approx(expected, rel=1e-5)
    assert found.other is not None  # the only other direction is (0, 1), 3.2 long: x = (1, 3.7), h = (0.4, 2.9)
    assert found.other.moved.tolist() == [0]
    assert found.other.side.tolist() == pytest.approx([2.9 / 3.2])
    assert found.other.switched.tolist() == [1]


@pytest.mark.parametrize("beta", [0.0, 4.0])
def test_an_orthogonal_dictionary_is_perfect(beta: float) -> None:
    z = np.maximum(embeddings(), 0)
    found = measure(orthogonal(), z, 3, beta, others=range(N))
    assert len(found.on) == (int((z[:, 3] > 0).sum()) if beta == 0 else 40)
    for name, perfect in {"reached": 1, "missed": 0, "share": 1, "side": 0, "returned": 1, "returned_code": 1}.items():
        np.testing.assert_allclose(getattr(found, name), perfect, atol=1e-5, err_msg=name)
    assert not found.switched_on.any()
    assert not found.switched_off.any()
    assert (found.same == 1).all()
    np.testing.assert_allclose(found.residue, 0 if beta else np.nan, atol=1e-6)
    assert found.other is not None
    np.testing.assert_allclose(found.other.moved, 0, atol=1e-6)
    assert 0.05 < float(np.median(found.random.moved)) < 1 / np.sqrt(N) + 0.3  # a random axis has a part of each


def test_two_features_of_one_direction_move_together() -> None:
    """A twin answers whatever the feature is set to: its share is a half, and that is what `share` is there to tell."""
    autoencoder = orthogonal()
    with torch.no_grad():
        autoencoder.sae.W_enc[1] = autoencoder.sae.W_enc[0]
        autoencoder.sae.W_dec[1] = autoencoder.sae.W_dec[0]
    z = np.abs(embeddings())
    found = measure(autoencoder, z, 0, 9.0)
    np.testing.assert_allclose(found.share, 0.5, atol=1e-6)
    np.testing.assert_allclose(found.reached, 1, atol=1e-5)
    assert found.other is None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_an_open_feature_reaches_is_its_gain_and_the_way_back_follows(architecture: Architecture) -> None:
    autoencoder, z = some(architecture), embeddings(200)
    for feature in range(M):
        found = measure(autoencoder, z, feature, 3.0)
        np.testing.assert_allclose(found.returned, 1 - np.abs(1 - found.reached), atol=1e-4)
        after = code(autoencoder, do(autoencoder, z, feature, 3.0), feature)
        stays = found.on & (after > 0)
        if gain(autoencoder, feature) > 0:
            np.testing.assert_allclose(found.reached[stays], gain(autoencoder, feature), atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_measures_are_those_of_dense_codes(architecture: Architecture) -> None:
    autoencoder, z, feature, beta = some(architecture), embeddings(), 11, 6.0
    found = measure(autoencoder, z, feature, beta)
    before, after = (dense(encode(autoencoder, rows), M) for rows in (z, do(autoencoder, z, feature, beta)))
    moved = np.abs(after - before)
    others = np.delete(moved, feature, axis=1).sum(1)
    np.testing.assert_allclose(found.share, moved[:, feature] / moved.sum(1), atol=1e-6)
    length = np.abs(beta - code(autoencoder, z, feature)) * autoencoder.readout.norms[feature]
    np.testing.assert_allclose(found.side, others / length, atol=1e-6)
    on = np.delete((before == 0) & (after > 0), feature, axis=1).sum(1)
    assert found.switched_on.tolist() == on.tolist()
    assert on.any()
    back = do(autoencoder, do(autoencoder, z, feature, beta), feature, code(autoencoder, z, feature))
    left = np.abs(dense(encode(autoencoder, back), M) - before).sum(1)
    np.testing.assert_allclose(found.returned_code, 1 - left / moved.sum(1), atol=1e-5)


def test_controls_step_as_far_in_another_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, z, encoded = some(), embeddings(), []

    def noting(given: TrainedSAE, rows: np.ndarray) -> Active:
        encoded.append(rows)
        return encode(given, rows)

    monkeypatch.setattr(library, "encode", noting)
    measure(autoencoder, z, 4, 6.0, others=[4, 9])
    start, edited, _, random, other = np.split(encoded[0].astype(np.float64), 5)
    lengths = [np.linalg.norm(rows - start, axis=1) for rows in (edited, random, other)]
    np.testing.assert_allclose(lengths[1], lengths[0], rtol=1e-5)
    np.testing.assert_allclose(lengths[2], lengths[0], rtol=1e-5)
    direction = autoencoder.sae.W_dec[9].numpy() / np.linalg.norm(autoencoder.sae.W_dec[9])
    np.testing.assert_allclose(np.abs((other - start) @ direction), lengths[0], rtol=1e-5)
    units = (random - start) / lengths[1][:, None]
    assert np.abs(units @ units.T - np.eye(40)).max() < 0.99  # one direction a row


def test_rows_that_are_there_already_are_left_out() -> None:
    z = embeddings()
    off = int((z[:, 2] <= 0).sum())
    found = measure(orthogonal(), z, 2, 0.0)
    assert len(found.reached) == len(z) - off
    assert found.on.all()
    nothing = measure(orthogonal(), z[:0], 2, 1.0)
    assert all(value is None for name, value in summary(nothing).items() if name not in ("random", "other"))


def test_numbers_depend_on_seed_and_feature_alone() -> None:
    autoencoder, z = some(), embeddings()
    first, again, other = (measure(autoencoder, z, 4, 6.0, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.random.moved, again.random.moved)
    assert not np.array_equal(first.random.moved, other.random.moved)
    assert np.array_equal(first.reached, other.reached)


# ------------------------------------------------------------------ parts


def dense(active: Active, m: int) -> np.ndarray:
    found = np.zeros((len(active), m))
    found[active.rows(), active.features] = active.activations
    return found


def sparse(rows: np.ndarray) -> Active:
    places = np.nonzero(rows)
    indptr = np.concatenate([[0], np.count_nonzero(rows, axis=1).cumsum()])
    return Active(indptr, places[1].astype(np.int32), rows[places].astype(np.float32))


def test_change_against_dense_arithmetic() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.where(rng.random((50, 12)) < 0.3, rng.integers(1, 5, (50, 12)), 0).astype(float) for _ in range(2))
    a[0], b[0] = 0, 0
    found = change(sparse(a), sparse(b), 4)
    others = np.delete(np.arange(12), 4)
    assert found.own.tolist() == np.abs(a - b)[:, 4].tolist()
    assert found.others.tolist() == np.abs(a - b)[:, others].sum(1).tolist()
    assert found.switched_on.tolist() == ((a == 0) & (b > 0))[:, others].sum(1).tolist()
    assert found.switched_off.tolist() == ((a > 0) & (b == 0))[:, others].sum(1).tolist()
    assert found.same[0] == 1
    union, both = ((a > 0) | (b > 0)).sum(1)[1:], ((a > 0) & (b > 0)).sum(1)[1:]
    np.testing.assert_allclose(found.same[1:], both / union)
    assert np.isnan(found.share[0])


def test_rows_are_half_on_half_off() -> None:
    active = sparse(np.arange(100)[:, None] % 4 < [[1, 4, 0]])
    rows = rows_of(active, 0, 10, 0)
    assert (rows[:-1] < rows[1:]).all()
    assert np.bincount(rows % 4 == 0).tolist() == [5, 5]
    assert len(rows_of(active, 0, 80, 0)) == 25 + 40
    assert (rows_of(active, 0, 10, 0, off=False) % 4 == 0).all()
    assert len(rows_of(active, 0, 10, 0, off=False)) == 10
    assert len(rows_of(active, 1, 10, 0)) == 5  # on everywhere
    assert len(rows_of(active, 2, 10, 0)) == 5  # on nowhere
    assert len(rows_of(active, 2, 10, 0, off=False)) == 0
    assert rows_of(active, 0, 10, 0).tolist() == rows.tolist() != rows_of(active, 0, 10, 1).tolist()


def test_spread_leaves_nan_out() -> None:
    values = np.array([np.nan, 4.0, 1.0, 2.0, 3.0, 5.0])
    assert spread(values) == {"n": 5, "mean": 3, "q05": 1.2, "q25": 2, "median": 3, "q75": 4, "q95": 4.8}
    assert spread(np.array([np.nan])) is None


def test_histogram_bins_round() -> None:
    values = np.array([-3.0, -0.06, -0.04, 0.0, 0.04, 0.06, 0.97, 1.0, 1.04, 1.06, 7.0])
    found = dict(zip(cli_intervene.BINS, cli_intervene.histogram(values), strict=True))
    assert {name: count for name, count in found.items() if count} == {
        "≤-0.1": 2,
        "0.0": 3,
        "0.1": 1,
        "1.0": 3,
        "≥1.1": 2,
    }


# ------------------------------------------------------------------ the command

SAE_OPTIONS = {"squared_error": "sum", "expansion": 3, "steps": 600, "batch_size": 64, "lr": 5e-3, "sparsity": 1.5}
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("intervene")


@pytest.fixture
def config(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small sae-rad on images that are numbers; training and embeddings are shared by the tests."""
    monkeypatch.setenv("BENCH_CACHE", str(shared / "cache"))
    system = {"encoder": f"{HERE / 'vector_encoder.py'}:VectorEncoder", "sae": SAE_OPTIONS}
    settings = {
        "dataset": {"use": f"{HERE / 'planted_sae.py'}:PlantedData"},
        "systems": {"sae-rad": system, "neurons": {"use": "sae-rad-neurons", "encoder": system["encoder"]}},
        "metrics": {"bleu-4": {}},
    }
    (shared / "config.yaml").write_text(json.dumps(settings))
    return shared / "config.yaml"


@pytest.fixture
def run(config: Path, bench: Any) -> Callable[..., Any]:
    if "intervene" not in sae_rad.commands:
        sae_rad.add_command(cli_intervene.intervene)
    return lambda *arguments: bench("sae-rad", "intervene", "-c", config, "--system", "sae-rad", *arguments)


@pytest.fixture
def facts(config: Path) -> tuple[list[int], list[int], list[str], int]:
    """Features that are alive, features that are dead, case ids of the test split, and the feature most often on."""
    with opened.opened(*opened.select(config, (), "sae-rad", None, None)) as found:
        counts = found.system.top.counts
        ids = [case.id for case in found.cases("test")]
    return np.flatnonzero(counts > 0).tolist(), np.flatnonzero(counts == 0).tolist(), ids, int(counts.argmax())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "interventions.jsonl").read_text().splitlines()]


def test_all_features_are_measured_and_written(run: Any, facts: Any, tmp_path: Path) -> None:
    answer = run("--all", "--rows", 8, "--out", tmp_path / "o")
    assert answer.code == 0, answer.err
    found, alive = lines(tmp_path / "o"), facts[0]
    assert [line["feature"] for line in found] == alive
    assert all(line["rows_on"] <= 4 and line["rows_off"] <= 4 for line in found)
    told = json.loads((tmp_path / "o" / "interventions.json").read_text())
    assert (told["features"], told["recipe"]["beta"], told["recipe"]["split"]) == (len(alive), "max", "test")
    medians = [line["reached"]["median"] for line in found]
    assert told["medians"]["reached"]["median"] == pytest.approx(np.median(medians))
    assert sum(told["histograms"]["share"]) == len(alive)
    assert "effectiveness: of the way to β, reached (1)" in answer.out
    assert "features by median" in answer.out


def test_tables_are_whole_on_a_terminal_of_80_columns(run: Any, facts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = run("--all", "--rows", 8, "--out", "o")
    assert answer.code == 0, answer.err
    printed = answer.out.splitlines()
    assert max(map(len, printed[:-1])) <= 80
    assert " ".join(printed[1].split()) == "reached reached others' random taken"
    assert " ".join(printed[2].split()) == "feature description β was on was off share change step's back"
    by_feature = {line["feature"]: line for line in lines(Path("o"))}
    rows = printed[3 : 3 + len(by_feature)]
    assert {int(row.split()[0]) for row in rows} == set(by_feature)
    names = [name for name, _ in cli_intervene.FEATURE_COLUMNS]
    for row in rows:
        line = by_feature[int(row.split()[0])]
        values = [line["beta"], *(cli_intervene.median(line, name) for name in names)]
        assert row.split()[-7:] == [cli_intervene._number(value) for value in values]
    histogram = printed[printed.index(next(row for row in printed if row.startswith("features by median"))) + 3 :]
    assert [row.split()[0] for row in histogram[: len(cli_intervene.BINS)]] == list(cli_intervene.BINS)


def test_one_feature_is_spread_over_its_images(run: Any, facts: Any) -> None:
    answer = run("--feature", facts[3], "--rows", 6, "--out", "o")
    (line,) = lines(Path("o"))
    assert f"feature {facts[3]}, over images" in answer.out
    (row,) = (row for row in answer.out.splitlines() if row.startswith("effectiveness"))
    reached = line["reached"]
    assert row.split()[-4:] == [str(reached["n"]), *(f"{reached[key]:.2f}" for key in ("q05", "median", "q95"))]
    assert "1 feature in" in answer.out
    assert "1 features" not in answer.out


def test_numbers_in_the_file_are_the_librarys(run: Any, config: Path, facts: Any, tmp_path: Path) -> None:
    feature = facts[0][1]
    assert run("--feature", feature, "--rows", 6, "--out", tmp_path / "o", "--seed", 0).code == 0
    (line,) = lines(tmp_path / "o")
    with opened.opened(*opened.select(config, (), "sae-rad", None, 0)) as found:
        system = found.system
        assert system.trained is not None
        beta = system.top.of(feature)[1].max() / np.linalg.norm(system.trained.sae.W_dec[feature])
        z = found.context.embeddings(system.options.encoder, found.cases("test"))
        z = z[np.isfinite(z).all(axis=1)]
        rows = rows_of(system.dictionary.encode(z), feature, 6, 0)
        effects = measure(system.trained, z[rows], feature, line["beta"], others=facts[0])
    assert line["beta"] == pytest.approx(beta, rel=1e-5)
    assert line["reached"]["mean"] == pytest.approx(effects.reached.mean(), rel=1e-4)
    assert line["random"]["side"]["median"] == pytest.approx(np.median(effects.random.side), rel=1e-4)
    assert line["rows_on"] + line["rows_off"] == len(effects.on)


def test_a_stopped_command_goes_on_and_repeats_nothing(
    run: Any, facts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, asked = facts[0], []

    def stopping(trained: Any, z: Any, feature: int, *more: Any, **named: Any) -> Any:
        asked.append(feature)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return measure(trained, z, feature, *more, **named)

    monkeypatch.setattr(library, "measure", stopping)
    assert run("--all", "--out", tmp_path / "o").code == 130
    assert [line["feature"] for line in lines(tmp_path / "o")] == alive[:2]
    assert not (tmp_path / "o" / "interventions.json").exists()
    assert run("--all", "--out", tmp_path / "o").code == 0
    assert asked == alive[:3] + alive[2:]
    assert run("--feature", alive[0], "--out", tmp_path / "o").code == 0
    assert len(asked) == len(alive) + 1
    monkeypatch.undo()


def test_another_recipe_is_kept_beside(run: Any, facts: Any, tmp_path: Path) -> None:
    feature = facts[3]
    for beta in ("max", "off", "2.5", "max"):
        assert run("--feature", feature, "--beta", beta, "--rows", 6, "--out", tmp_path / "o").code == 0
    found = lines(tmp_path / "o")
    assert [line["beta"] for line in found[1:]] == [0, 2.5]
    assert len({line["recipe"] for line in found}) == 3
    assert (found[1]["rows_on"], found[1]["rows_off"]) == (6, 0)  # switching off is measured where it is on
    told = json.loads((tmp_path / "o" / "interventions.json").read_text())
    assert told["digest"] == found[0]["recipe"]
    assert told["features"] == 1


def test_the_default_folder_is_the_features_own(run: Any, facts: Any) -> None:
    assert run("--feature", facts[0][0]).code == 0
    (folder,) = Path("features").iterdir()
    assert folder.name.startswith("planted_sae.py-PlantedData-sae-rad-")


def test_a_case_before_and_after(run: Any, config: Path, facts: Any) -> None:
    """Setting a feature that is on to zero takes it off the list; the report loses or keeps sentences, marked."""
    with opened.opened(*opened.select(config, (), "sae-rad", None, None)) as found:
        active, _ = found.system.active(found.cases("test"))
        features, activations = active.row(0)
        feature = int(features[activations.argmax()])
        description = found.system.description(feature)
        report = next(iter(found.system.generate(found.cases("test")[:1]))).text
    answer = run("--case", facts[2][0], "--feature", feature, "--beta", "off")
    assert answer.code == 0, answer.err
    assert f"do({feature}, 0.000) on case {facts[2][0]}" in answer.out
    assert description in answer.out
    assert " set " in answer.out
    told = [line[4:] for line in answer.out.split("report before:")[1].split("report after:")[0].splitlines() if line]
    assert ". ".join(told).rstrip(".") == report.rstrip(".")
    same = run("--case", facts[2][0], "--feature", feature, "--beta", "0")
    assert same.out == answer.out
    assert not Path("features").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--feature", "999"), "feature 999: the autoencoder has features 0 to 17"),
        (("--feature", "DEAD"), "is dead: no training image activates it"),
        (("--case", "CASE", "--feature", "DEAD"), "is dead: no training image activates it"),
        (("--case", "CASE"), "exactly one --feature"),
        (("--case", "CASE", "--feature", "1", "--feature", "2"), "exactly one --feature"),
        (("--case", "CASE", "--feature", "1", "--rows", "4"), "--rows: not read with --case"),
        (("--case", "CASE", "--feature", "1", "--out", "o"), "--out: not read with --case"),
        (("--case", "CASEx", "--feature", "ALIVE"), "has no case 'CASEx'. Did you mean CASE"),
        (("--all", "--feature", "1"), "choose one of them"),
        (("--beta", "-1"), "--beta -1: give a number from 0 on"),
        (("--beta", "inf"), "--beta inf"),
        (("--beta", "most"), "max or off"),
        (("--split", "tets"), "Did you mean test"),
        (("--system", "neurons"), "neurons: has no trained autoencoder"),
    ],
)
def test_what_is_refused_by_name(run: Any, facts: Any, arguments: tuple[str, ...], message: str) -> None:
    alive, dead, ids, _ = facts
    assert dead, "the autoencoder of this test is meant to have a dead feature"
    words = {"DEAD": str(dead[0]), "ALIVE": str(alive[0]), "CASE": ids[0]}

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    answer = run(*map(filled, arguments))
    assert answer.code == 2
    assert filled(message) in answer.err
    assert "Traceback" not in answer.err
    assert not Path("features").exists()
