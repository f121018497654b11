"""A control: an image encoder that has learned nothing, its weights drawn at random.

What an autoencoder finds in its embeddings comes of the architecture, the preprocessing and the images alone; what the
same autoencoder finds beyond that in a trained encoder's embeddings, training put there.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from bench.contracts import Asset, Context, HubFiles
from bench.errors import BenchError, Unavailable
from bench.hub import is_hub_id, quiet, snapshot
from bench.store import write_json
from systems.encoders import checkpoints
from systems.encoders.hf import Network, PassOptions, VisionEncoder, explained, load_processor, need_packages
from systems.encoders.hf import vision_config as read_config

DRAW = 1
"""Version of the rule that weights are drawn by (`draw`): raised with every change that moves a weight."""
SIZES: Mapping[str, Mapping[str, int]] = {
    "rad-dino": {"layers": 12, "width": 768, "heads": 12, "image_size": 518, "patch": 14},
    "small": {"layers": 4, "width": 768, "heads": 12, "image_size": 112, "patch": 14},
}
"""Vision transformers by name: RAD-DINO's ViT-B/14, and one of the same width that is about 200 times less work."""
DESCRIPTION = (checkpoints.CONFIG, checkpoints.PROCESSOR_FILES[0])
"""What is fetched of a hub repository."""
GREY_MEAN, GREY_DEVIATION = 0.5307, 0.2583
"""RAD-DINO's, of grey values in [0, 1]."""
BICUBIC = 3
"""Pillow's number of the filter."""


class UntrainedOptions(PassOptions):
    """Options of `Untrained`."""

    like: str = Field("rad-dino", min_length=1)
    """Architecture and preprocessing: rad-dino (ViT-B/14 at 518 pixels), small (4 layers of the same width at 112
    pixels, for a laptop), or a folder or hub id whose config.json and preprocessor_config.json are taken, not its
    weights."""
    seed: int = Field(0, ge=0)
    """What the weights are drawn from; not the run's seed, so that every run shares the embeddings."""
    layers: int | None = Field(None, ge=1, le=100)
    """Blocks of the transformer; this and the sizes below by default those of `like`."""
    width: int | None = Field(None, ge=1, le=8192)
    """Length of a token, and of an embedding."""
    heads: int | None = Field(None, ge=1, le=256)
    """Attention heads; they divide the width."""
    image_size: int | None = Field(None, ge=1, le=2048)
    """Side of the square that is looked at, in pixels; a multiple of the patch."""
    patch: int | None = Field(None, ge=1, le=256)
    """Side of a patch, in pixels."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        given = [name for name in SIZES["small"] if getattr(self, name) is not None]
        if self.like not in SIZES:
            if given:
                raise ValueError(f"{', '.join(given)}: the sizes of {self.like} stand in its config.json")
            return self
        sizes = self.sizes()
        for whole, part in (("width", "heads"), ("image_size", "patch")):
            if sizes[whole] % sizes[part]:
                raise ValueError(f"{whole} {sizes[whole]} is not a multiple of {part} {sizes[part]}")
        return self

    def sizes(self) -> dict[str, int]:
        """Return layers, width, heads, image_size and patch; for names of `SIZES` only."""
        return {name: getattr(self, name) or default for name, default in SIZES[self.like].items()}


class Untrained(VisionEncoder):
    """A vision transformer with random weights: the control for what an encoder's training is worth."""

    Options: type[UntrainedOptions] = UntrainedOptions
    argument = "like"

    def __init__(self, options: UntrainedOptions, context: Context) -> None:
        super().__init__(f"untrained:{options.like}", options, context)
        self.options = options

    def assets(self) -> Sequence[Asset]:
        """Return the configuration, where it is the hub's: no weights are needed."""
        like = self.options.like
        return [] if like in SIZES else checkpoints.assets(like, None, DESCRIPTION)

    @cached_property
    def folder(self) -> Path:
        """Where config.json and preprocessor_config.json lie: no weights are looked for."""
        need_packages(self.name)
        if self.options.like in SIZES:
            return _written(self.options.sizes(), self.context)
        return _located(self.options.like, self.context)

    @cached_property
    def _config(self) -> Any:
        with _buildable(self.name):
            return read_config(self.folder, self.name)

    @cached_property
    def _network(self) -> Network:
        with quiet():
            processor = load_processor(self.folder, self.name)
            model = _drawn(self._config, self.name, self.options.seed)
        return Network(self.name, processor, model, True, self.context.device, self.precision)

    def _identity(self) -> Mapping[str, Any]:
        return {
            "weights": f"drawn by rule {DRAW} from seed {self.options.seed}",
            "layout": _layout(self._config, self.name),
            "config": checkpoints.plain(checkpoints.read_json(self.folder / checkpoints.CONFIG)),
            "processor": checkpoints.plain(
                checkpoints.read_json(checkpoints.processor_file(self.folder, self.options.like))
            ),
        }

    def fingerprint(self) -> str:
        """Return what names rule, seed and architecture, with a hash of configuration, processor and precision."""
        return f"untrained-{DRAW}-{self.options.seed}-{super().fingerprint()}"


# ------------------------------------------------------------------ architecture


def _written(sizes: Mapping[str, int], context: Context) -> Path:
    """Return a cache folder with the two files that a checkpoint of these sizes would have."""
    model, processor = _model_settings(sizes), _processor_settings(sizes["image_size"])
    key = hashlib.sha256(json.dumps([model, processor], sort_keys=True).encode()).hexdigest()[:16]
    folder = context.cache("untrained", key)
    write_json(folder / checkpoints.CONFIG, model)
    write_json(folder / checkpoints.PROCESSOR_FILES[0], processor)
    return folder


def _model_settings(sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the config.json of a Dinov2; all that moves a number is said, so that no default can move it."""
    return {
        "model_type": "dinov2",
        "architectures": ["Dinov2Model"],
        "num_hidden_layers": sizes["layers"],
        "hidden_size": sizes["width"],
        "num_attention_heads": sizes["heads"],
        "image_size": sizes["image_size"],
        "patch_size": sizes["patch"],
        "num_channels": 3,
        "mlp_ratio": 4,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "use_swiglu_ffn": False,
        "layerscale_value": 1.0,
        "layer_norm_eps": 1e-6,
        "initializer_range": 0.02,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
    }


def _processor_settings(side: int) -> dict[str, Any]:
    """Return the preprocessor_config.json of RAD-DINO at another size: resize the short edge, crop, normalise."""
    steps = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
    return {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "resample": BICUBIC,
        "rescale_factor": 1 / 255,
        "image_mean": [GREY_MEAN] * 3,
        "image_std": [GREY_DEVIATION] * 3,
        **dict.fromkeys(steps, True),
    }


def _located(like: str, context: Context) -> Path:
    """Return the folder of a checkpoint's configuration, fetched from the hub where it is no folder here."""
    try:
        folder = Path(like).expanduser()
    except RuntimeError as err:  # "~nobody": no such user
        raise Unavailable(f"untrained: {like}: {err}", "write the folder's whole path") from None
    if not folder.is_dir():
        if not is_hub_id(like):
            known = " or ".join(SIZES)
            raise Unavailable(f"untrained: no folder {folder}", f"set like to {known}, a folder, or a hub id")
        folder = snapshot(HubFiles(like, None, DESCRIPTION), context, "like")
    if not (folder / checkpoints.CONFIG).is_file():
        raise Unavailable(f"untrained: {like} has no {checkpoints.CONFIG}", "give the folder that holds it")
    checkpoints.processor_file(folder, like)
    return folder


# ------------------------------------------------------------------ weights


@contextmanager
def _buildable(name: str) -> Iterator[None]:
    """Turn what sizes that fit no architecture raise into a BenchError."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        with explained(name):
            yield
    except (ArithmeticError, StrictDataclassError) as err:
        said = " ".join(str(err).split())
        raise BenchError(f"{name}: {checkpoints.CONFIG} describes no model: {said}") from None


def _model(config: Any, name: str, device: str) -> Any:
    """Return the model of a configuration as transformers starts it, in float32; torch's generator is left alone."""
    import torch
    from transformers import AutoModel

    with _buildable(name), torch.random.fork_rng(devices=[]), torch.device(device):
        return AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _layout(config: Any, name: str) -> str:
    """Return a hash of the parameters' names and shapes: a transformers that renames one draws another model."""
    shapes = {key: list(value.shape) for key, value in _model(config, name, "meta").named_parameters()}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()


def _drawn(config: Any, name: str, seed: int) -> Any:
    """Return the model of a configuration with weights by `draw`."""
    model = _model(config, name, "cpu")
    draw(model, float(getattr(config, "initializer_range", None) or 0.02), seed)
    return model


def draw(model: Any, deviation: float, seed: int) -> None:
    """Set a model's weights: normal numbers of a standard deviation, a stream for each parameter.

    Parameters that the architecture starts as a constant (biases at 0, norms and layer scales at 1) stay so; all
    others are drawn anew, so that no version of a library decides their numbers. NumPy's PCG64 is seeded by `seed` and
    the parameter's name: neither the order of the layers nor the number of threads matters.
    """
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not bool((parameter == parameter.flatten()[0]).all()):
                stream = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
                numbers = stream.standard_normal(tuple(parameter.shape), np.float32) * np.float32(deviation)
                parameter.copy_(torch.from_numpy(numbers))
