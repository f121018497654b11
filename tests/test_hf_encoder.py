"""The transformers encoders against transformers itself, on tiny random models of the real architectures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.context import RunContext
from bench.errors import BenchError, Unavailable

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from systems.encoders.hf import HFEncoder, HFOptions, RadDino, RadDinoOptions, resolve_precision  # noqa: E402

SIDE, MEAN, STD = 28, 0.5307, 0.2583
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": SIDE, "patch_size": 14}
Build = Callable[..., HFEncoder]


def dinov2() -> Any:
    return transformers.Dinov2Model(transformers.Dinov2Config(**SMALL))


def vit() -> Any:
    return transformers.ViTModel(transformers.ViTConfig(**SMALL, intermediate_size=32))


def vit_classifier() -> Any:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, intermediate_size=32))


def clip_vision() -> Any:
    return transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SMALL, intermediate_size=32))


def clip() -> Any:
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config={**SMALL, "intermediate_size": 32})
    return transformers.CLIPModel(config)


def save(folder: Path, make: Callable[[], Any] = dinov2, seed: int = 0) -> Path:
    """Save a random model with RAD-DINO's processor settings, scaled down."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make().save_pretrained(folder)
    settings = {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
        **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"), True),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "dinov2")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Grey and coloured files of several shapes, one of them smaller than the crop."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    shapes = [(60, 50), (50, 60), (28, 28), (91, 33, 3), (20, 24), (45, 45)]
    paths = []
    for number, shape in enumerate(shapes):
        path = folder / f"{number}.{'png' if number % 2 else 'jpg'}"
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


@pytest.fixture
def build(context: RunContext) -> Build:
    return lambda folder, **options: HFEncoder(HFOptions(model=str(folder), **options), context)


def transcribed(path: Path) -> np.ndarray:
    """RAD-DINO's preprocessing in Pillow and NumPy: bicubic shortest edge, centre crop, /255, mean and deviation."""
    picture = Image.open(path).convert("RGB")
    width, height = picture.size
    scale = SIDE / min(width, height)
    size = (SIDE, int(height * scale + 1e-9)) if width <= height else (int(width * scale + 1e-9), SIDE)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), np.float64)
    top, left = (size[1] - SIDE) // 2, (size[0] - SIDE) // 2
    crop = pixels[top : top + SIDE, left : left + SIDE]
    return ((crop / 255 - MEAN) / STD).transpose(2, 0, 1)


def direct(model: Any, paths: list[Path]) -> Any:
    """The answer of a model of transformers to the transcribed images."""
    pixels = torch.tensor(np.stack([transcribed(path) for path in paths]), dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(pixel_values=pixels)


def test_embeddings_are_those_of_a_direct_forward_pass(saved: Path, images: list[Path], build: Build) -> None:
    encoder = build(saved, batch_size=4)
    rows = encoder.encode(images)
    model = transformers.Dinov2Model.from_pretrained(saved)
    output = direct(model, images)
    assert (rows.dtype, rows.shape, encoder.dim) == (np.float32, (6, 32), 32)
    np.testing.assert_allclose(rows, output.pooler_output.numpy(), atol=1e-6)
    np.testing.assert_allclose(rows, output.last_hidden_state[:, 0].numpy(), atol=1e-6)


def test_the_class_token_is_layer_normed(saved: Path, images: list[Path], build: Build) -> None:
    model = transformers.Dinov2Model.from_pretrained(saved).eval()
    pixels = torch.tensor(np.stack([transcribed(path) for path in images]), dtype=torch.float32)
    with torch.no_grad():
        token = model.encoder(model.embeddings(pixels)).last_hidden_state[:, 0].numpy()
    centred = token - token.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + model.config.layer_norm_eps)
    np.testing.assert_allclose(build(saved).encode(images), normed, atol=2e-5)


def test_preprocessing_is_the_published_one(saved: Path, images: list[Path], build: Build) -> None:
    network = build(saved)._network
    for path in images:
        with Image.open(path) as picture:
            np.testing.assert_allclose(network.preprocess(picture), transcribed(path), atol=1e-5)


def test_resizing_before_the_spread_to_three_channels_changes_no_bit(
    saved: Path, images: list[Path], build: Build
) -> None:
    network = build(saved)._network
    assert network._grey_first
    for path in images:
        with Image.open(path) as picture:
            plain = network.processor(images=picture, return_tensors="np")["pixel_values"][0]
            assert np.array_equal(network.preprocess(picture), plain)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_row_is_the_same_bits_alone_and_in_any_order(
    saved: Path, images: list[Path], build: Build, batch_size: int
) -> None:
    encoder = build(saved, batch_size=batch_size)
    rows = encoder.encode(images)
    alone = np.concatenate([encoder.encode([path]) for path in images])
    assert np.array_equal(rows, alone)
    assert np.array_equal(encoder.encode(images[::-1]), rows[::-1])
    assert np.array_equal(build(saved, batch_size=batch_size, workers=1).encode(images[2:]), rows[2:])


def test_the_model_runs_at_one_batch_shape(saved: Path, images: list[Path], build: Build) -> None:
    encoder = build(saved, batch_size=4)
    shapes: list[tuple[int, ...]] = []
    encoder._network.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["pixel_values"].shape)), with_kwargs=True
    )
    encoder.encode(images)
    encoder.encode(images[:1])
    assert shapes == [(4, 3, SIDE, SIDE)] * 3


def test_no_images_give_no_rows(saved: Path, build: Build) -> None:
    assert build(saved).encode([]).shape == (0, 32)


def test_an_undecodable_file_is_a_row_of_nan_and_explained(
    saved: Path, images: list[Path], build: Build, tmp_path: Path
) -> None:
    broken, thin = tmp_path / "broken.png", tmp_path / "thin.png"
    broken.write_bytes(images[1].read_bytes()[:60])
    Image.new("L", (2, 2000)).save(thin)
    encoder = build(saved, batch_size=4)
    rows = encoder.encode([broken, images[0], thin, images[1]])
    assert np.isnan(rows[[0, 2]]).all()
    assert np.array_equal(rows[[1, 3]], encoder.encode(images[:2]))
    assert np.isnan(encoder.encode([broken])).all()
    assert encoder.why_unreadable(broken)
    assert "too narrow" in (encoder.why_unreadable(thin) or "")
    assert encoder.why_unreadable(images[0]) is None


def test_a_16_bit_png_equals_its_8_bit_version(saved: Path, build: Build, tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (50, 40), dtype=np.uint8)
    grey[0, 0] = 255
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    rows = build(saved).encode([tmp_path / "8.png", tmp_path / "16.png"])
    assert np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize("make", [vit, clip_vision, clip])
def test_other_models_give_their_pooled_token(
    make: Callable[[], Any], images: list[Path], build: Build, tmp_path: Path
) -> None:
    folder = save(tmp_path / "other", make)
    model = getattr(transformers, type(make()).__name__).from_pretrained(folder)
    expected = direct(model.vision_model if make is clip else model, images).pooler_output.numpy()
    np.testing.assert_allclose(build(folder).encode(images), expected, atol=1e-6)


def test_a_pooler_without_weights_is_not_drawn_at_random(images: list[Path], build: Build, tmp_path: Path) -> None:
    folder = save(tmp_path / "classifier", vit_classifier)
    model = transformers.ViTForImageClassification.from_pretrained(folder)
    expected = direct(model.vit, images).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(build(folder).encode(images), expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precisions_come_near_float32(saved: Path, images: list[Path], build: Build, precision: str) -> None:
    rows, exact = build(saved, precision=precision).encode(images), build(saved).encode(images)
    assert not np.array_equal(rows, exact)
    np.testing.assert_allclose(rows, exact, atol=0.05)
    assert build(saved, precision=precision).fingerprint() != build(saved).fingerprint()


@pytest.mark.parametrize(
    ("wanted", "capability", "expected"),
    [("auto", (9, 0), "tf32"), ("auto", (7, 5), "float32"), ("float16", (7, 5), "float16"), ("tf32", (8, 6), "tf32")],
)
def test_precision_by_device(
    wanted: Any, capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision(wanted, "cuda") == expected
    assert resolve_precision("auto", "cpu") == "float32"
    with pytest.raises(BenchError, match="tf32"):
        resolve_precision("tf32", "cpu")


# ------------------------------------------------------------------ identity


def test_fingerprint_follows_content_not_place(folder: Path, build: Build) -> None:
    before = build(folder).fingerprint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "5.0", "_name_or_path": "x"}))
    moved = folder.rename(folder.with_name("moved"))
    assert build(moved, batch_size=7, workers=3).fingerprint() == before


def _one_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["layernorm.bias"][3] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _layer_norm(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))


def _mean(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_mean": [0.5] * 3}))


@pytest.mark.parametrize("change", [_one_weight, _layer_norm, _mean])
def test_fingerprint_changes_with_what_is_computed(folder: Path, build: Build, change: Callable[[Path], None]) -> None:
    before = build(folder).fingerprint()
    change(folder)
    assert build(folder).fingerprint() != before


def test_weights_are_hashed_once(folder: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build(folder).fingerprint()
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("hashed again"))
    assert build(folder).fingerprint() == before


def test_building_and_fingerprint_load_no_model(saved: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("systems.encoders.hf.Network", lambda *_: pytest.fail("the model was loaded"))
    encoder = build(saved)
    assert encoder.dim == 32
    assert encoder.fingerprint().startswith("dinov2-float32-")


# ------------------------------------------------------------------ the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache of the hub, offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_cached_hub_model_has_the_fingerprint_of_its_folder(
    saved: Path, hub: Path, images: list[Path], build: Build, context: RunContext
) -> None:
    snapshot = hub / "models--microsoft--rad-dino" / "snapshots" / ("c" * 40)
    shutil.copytree(saved, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c" * 40)
    encoder = RadDino(RadDinoOptions(), context)
    assert encoder.fingerprint() == build(saved).fingerprint()
    assert np.array_equal(encoder.encode(images), build(saved).encode(images))


def test_weights_that_are_not_here(hub: Path, context: RunContext) -> None:
    encoder = RadDino(RadDinoOptions(), context)
    with pytest.raises(Unavailable) as missing:
        encoder.encode([Path("x.png")])
    assert "HF_HUB_OFFLINE" in missing.value.reason
    assert "hf download microsoft/rad-dino" in missing.value.remedy


def test_a_hub_that_cannot_be_reached_is_said_so(
    hub: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the port of "discard", where nothing answers
    with pytest.raises(Unavailable, match="cannot be reached"):
        RadDino(RadDinoOptions(), context).fingerprint()


@pytest.mark.parametrize("model", ["/no/such/folder", "./nothing", "a/b/c"])
def test_a_folder_that_is_not_there(model: str, build: Build) -> None:
    with pytest.raises(Unavailable, match="no folder"):
        build(model).fingerprint()


def test_an_id_the_hub_cannot_have(hub: Path, build: Build) -> None:
    with pytest.raises(BenchError, match="neither a folder nor an id"):
        build("rad dino!").fingerprint()


# ------------------------------------------------------------------ faulty checkpoints


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _less_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = {key: value for key, value in load_file(folder / "model.safetensors").items() if "layer.1." not in key}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickle_only, "only as a pickle"),
        (_truncated, "cannot load it"),
        (_less_a_layer, "weights are missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"lacks model\.safetensors"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), r"no preprocessor_config\.json"),
        (lambda folder: (folder / "config.json").unlink(), r"no config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "unheard-of"}'), "cannot load it"),
    ],
)
def test_a_faulty_checkpoint_is_refused_by_name(
    folder: Path, images: list[Path], build: Build, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    with pytest.raises(BenchError, match=message) as refused:
        build(folder).encode(images)
    assert str(folder) in str(refused.value)


def test_a_folder_has_no_revisions(saved: Path, build: Build) -> None:
    with pytest.raises(BenchError, match="revision"):
        build(saved, revision="main").fingerprint()


def test_a_missing_package_names_the_extra(saved: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(Unavailable, match=r"cxr-report-bench\[hf\]"):
        build(saved).fingerprint()


# ------------------------------------------------------------------ in the harness


def test_found_by_name(saved: Path, context: RunContext) -> None:
    found = registry.find("encoder", f"hf:{saved}")
    assert found.preset == {"model": str(saved)}
    assert context.encoder(f"hf:{saved}").dim == 32
    with pytest.raises(BenchError, match="model: a value is required"):
        context.encoder("hf")
    assert isinstance(context.encoder("rad-dino"), RadDino)


def test_quiet(saved: Path, images: list[Path], build: Build, capfd: pytest.CaptureFixture[str]) -> None:
    encoder = build(saved)
    encoder.fingerprint()
    encoder.encode(images)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
