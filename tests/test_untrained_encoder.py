"""The untrained encoder: a model of transformers with weights of our own drawing, the same everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bench.context import RunContext
from bench.errors import BenchError, Unavailable

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from systems.encoders.untrained import Untrained, UntrainedOptions, draw  # noqa: E402

TINY = {"like": "small", "layers": 2, "width": 32, "heads": 4, "image_size": 28, "patch": 14}
Build = Callable[..., Untrained]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(5)]
    for path, shape in zip(paths, [(60, 50), (50, 60), (28, 28), (91, 33, 3), (20, 24)], strict=True):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return paths


def untrained(context: RunContext, **options: Any) -> Untrained:
    return Untrained(UntrainedOptions.model_validate(options), context)


@pytest.fixture
def build(context: RunContext) -> Build:
    return lambda **options: untrained(context, **{**TINY, **options})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The configuration files of a small ViT, without weights."""
    folder = tmp_path / "vit"
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16}
    transformers.ViTConfig(**sizes, patch_size=8, intermediate_size=16, initializer_range=0.5).save_pretrained(folder)
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


# ------------------------------------------------------------------ architecture


def test_the_default_is_rad_dinos_architecture_and_preprocessing(context: RunContext) -> None:
    encoder = untrained(context)
    config, pixels = encoder._config, json.loads((encoder.folder / "preprocessor_config.json").read_text())
    assert encoder.dim == 768
    assert (config.model_type, config.num_hidden_layers, config.num_attention_heads) == ("dinov2", 12, 12)
    assert (config.image_size, config.patch_size, config.mlp_ratio) == (518, 14, 4)
    assert pixels["size"] == {"shortest_edge": 518}
    assert pixels["crop_size"] == {"height": 518, "width": 518}
    assert (pixels["image_mean"], pixels["image_std"]) == ([0.5307] * 3, [0.2583] * 3)


def test_embeddings_are_those_of_a_direct_forward_pass(images: list[Path], build: Build) -> None:
    """A square image of the model's size needs no resizing: normalise it by hand."""
    encoder = build()
    grey = np.asarray(Image.open(images[2]), np.float32) / 255
    pixels = torch.tensor((grey - np.float32(0.5307)) / np.float32(0.2583)).expand(1, 3, 28, 28)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    model = transformers.Dinov2Model(config).eval()
    draw(model, 0.02, seed=0)
    with torch.no_grad():
        expected = model(pixel_values=pixels).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(encoder.encode([images[2]]), expected, atol=1e-5)


def test_a_folder_gives_its_architecture_and_processor_not_its_weights(
    checkpoint: Path, images: list[Path], context: RunContext
) -> None:
    encoder = untrained(context, like=str(checkpoint))
    weights = next(p for name, p in encoder._network.model.named_parameters() if name.endswith("fc1.weight"))
    assert encoder.encode(images).shape == (5, 16)
    assert 0.3 < float(weights.std()) < 0.7  # its initializer_range is 0.5


# ------------------------------------------------------------------ weights


def test_weights_are_normal_and_constants_stay(build: Build) -> None:
    model = build(width=128, layers=1)._network.model
    named = dict(model.named_parameters())
    drawn = torch.cat([p.flatten() for p in named.values() if p.ndim >= 2 and bool(p.any())]).numpy()
    assert abs(drawn.std() / 0.02 - 1) < 0.01
    assert abs(drawn.mean()) < 1e-4
    assert abs((drawn**4).mean() / drawn.var() ** 2 - 3) < 0.1  # a normal's kurtosis: not cut off, not uniform
    assert all(not bool(p.any()) for name, p in named.items() if name.endswith("bias"))
    assert all(bool((p == 1).all()) for name, p in named.items() if "norm" in name and name.endswith("weight"))
    assert all(bool((p == 1).all()) for name, p in named.items() if "lambda" in name)


def test_weights_do_not_hang_on_torchs_generator_or_the_order_of_parameters(build: Build) -> None:
    torch.manual_seed(1)
    first, state = build()._network.model, torch.get_rng_state()
    torch.manual_seed(2)
    second = build()._network.model
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # and leave it as it was
    deeper = dict(build(layers=3)._network.model.named_parameters())
    assert all(torch.equal(value, deeper[name]) for name, value in first.named_parameters())


def test_the_drawing_rule_is_the_one_of_its_version() -> None:
    """Three numbers as NumPy 2's PCG64 gave them for seed 5 and the name "weight" when rule 1 was written."""
    layer = torch.nn.Linear(3, 1)
    draw(layer, 0.5, seed=5)
    np.testing.assert_allclose(layer.weight.detach().numpy()[0], [0.073936723, 0.54271108, 0.11286676], rtol=1e-6)


def test_another_process_with_other_threads_gives_the_same(images: list[Path], build: Build, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, torch; from pathlib import Path; torch.set_num_threads(3)\n"
        "from bench.context import RunContext; from systems.encoders.untrained import Untrained, UntrainedOptions\n"
        f"e = Untrained(UntrainedOptions(**{TINY!r}), RunContext(workdir=Path('w'), cache_root=Path('c')))\n"
        "np.save(sys.argv[1], e.encode([Path(p) for p in sys.argv[2:]])); print(e.fingerprint())"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "rows.npy"), *map(str, images)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": "7"}
    told = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert told.stdout.strip() == build().fingerprint()
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), build().encode(images), atol=1e-6)


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_row_is_the_same_bits_alone_and_in_any_order(images: list[Path], build: Build, batch_size: int) -> None:
    encoder = build(batch_size=batch_size)
    rows = encoder.encode(images)
    assert (rows.dtype, rows.shape) == (np.float32, (5, 32))
    assert np.array_equal(rows, np.concatenate([encoder.encode([path]) for path in images]))
    assert np.array_equal(encoder.encode(images[::-1]), rows[::-1])


def test_images_and_seeds_tell_rows_apart(images: list[Path], build: Build) -> None:
    rows, others = build().encode(images), build(seed=1).encode(images)
    assert min(np.abs(a - b).max() for k, a in enumerate(rows) for b in rows[:k]) > 1e-3
    assert np.abs(rows - others).max() > 0.1


def test_an_undecodable_file_is_a_row_of_nan_and_explained(images: list[Path], build: Build, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(images[1].read_bytes()[:60])
    rows = build().encode([broken, images[0]])
    assert np.isnan(rows[0]).all()
    assert np.array_equal(rows[1:], build().encode(images[:1]))
    assert build().why_unreadable(broken)
    assert build().why_unreadable(images[0]) is None


# ------------------------------------------------------------------ identity and bad input


@pytest.mark.parametrize("change", [{"seed": 1}, {"layers": 3}, {"image_size": 42}, {"precision": "bfloat16"}])
def test_fingerprint_follows_what_is_computed(build: Build, change: dict[str, Any]) -> None:
    assert build(**change).fingerprint() != build().fingerprint()
    assert build(batch_size=7, workers=3).fingerprint() == build().fingerprint()
    assert build(seed=12).fingerprint().startswith("untrained-1-12-dinov2-float32-")


def test_fingerprint_follows_the_names_that_streams_are_seeded_by(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build().fingerprint()
    monkeypatch.setattr("systems.encoders.untrained._layout", lambda *_: "of another transformers")
    assert build().fingerprint() != before


def test_fingerprint_names_the_drawing_rule(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build().fingerprint()
    monkeypatch.setattr("systems.encoders.untrained.DRAW", 2)
    assert build().fingerprint() != before


def test_building_and_fingerprint_draw_no_weights(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("systems.encoders.untrained.draw", lambda *_: pytest.fail("weights were drawn"))
    assert build().fingerprint()
    assert build().dim == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 30}, "width 30 is not a multiple of heads 4"),
        ({"image_size": 30}, "image_size 30 is not a multiple of patch 14"),
        ({"like": "somewhere"}, "layers, width, heads, image_size, patch: the sizes of somewhere stand in"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UntrainedOptions.model_validate({**TINY, **options})


def test_a_folder_that_lacks_a_file(checkpoint: Path, context: RunContext) -> None:
    (checkpoint / "preprocessor_config.json").unlink()
    with pytest.raises(BenchError, match=r"no preprocessor_config\.json"):
        untrained(context, like=str(checkpoint)).fingerprint()
    (checkpoint / "config.json").unlink()
    with pytest.raises(Unavailable, match=r"no config\.json"):
        untrained(context, like=str(checkpoint)).fingerprint()


@pytest.mark.parametrize("odd", [{"num_attention_heads": 0}, {"hidden_size": "wide"}, {"initializer_range": "x"}])
def test_a_configuration_of_no_model_is_an_error(checkpoint: Path, context: RunContext, odd: dict[str, Any]) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **odd}))
    with pytest.raises(BenchError, match=r"config\.json describes no model"):
        untrained(context, like=str(checkpoint)).fingerprint()


def test_a_name_that_is_nothing(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="no folder"):
        untrained(context, like="/no/such").fingerprint()
    with pytest.raises(Unavailable, match="home directory"):
        untrained(context, like="~no-such-user/vit").fingerprint()
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        untrained(context, like="some/where").fingerprint()
    with pytest.raises(BenchError, match="neither a folder nor an id"):
        untrained(context, like="some where!").fingerprint()


def test_a_hub_id_needs_its_configuration_only(
    checkpoint: Path, tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    snapshot = tmp_path / "hub" / "models--some--vit" / "snapshots" / ("c" * 40)
    shutil.copytree(checkpoint, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert untrained(context, like="some/vit").dim == 16
