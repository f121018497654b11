"""What embedding one image costs, in floating-point operations: pure arithmetic on a model's sizes.

Counted are matrix products and convolutions, at 2 operations a multiply-accumulate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIXES: Mapping[str, int] = {"dinov2": 1, "dinov2_with_registers": 1, "vit": 1, "deit": 2}
"""Vision transformers that are counted here: model type → tokens before the patches, registers apart."""


def transformer_flops(
    *, patches: int, prefix: int, patch_values: int, layers: int, width: int, mlp_weights: int
) -> float:
    """Return the operations of one image's forward pass through a vision transformer (Dosovitskiy et al. 2021).

    With T = patches + prefix tokens of length D = width, a layer takes T·(4·D² + M) multiply-accumulates for queries,
    keys, values, output (D² each) and the feed-forward part (M = mlp_weights, its weights: 2·4·D² as a rule), and
    2·T²·D for scores and weighted sums; the patches are embedded by patches · patch_values · D, patch_values being
    channels · side². RAD-DINO (ViT-B/14, 518 pixels): T = 1,370, D = 768, 12 layers: 303.1e9.
    """
    tokens = patches + prefix
    layer = tokens * (4 * width**2 + mlp_weights) + 2 * tokens**2 * width
    return 2.0 * (layers * layer + patches * patch_values * width)


def model_flops(config: Any, size: tuple[int, int] | None) -> float | None:
    """Return the operations of one image through a model of transformers; None for architectures not counted here.

    config: the model's. size: height and width in pixels of what its processor gives (`processed_size`).
    """
    kind = str(getattr(config, "model_type", ""))
    if kind not in PREFIXES or size is None:
        return None
    down, across = (side // config.patch_size for side in size)
    width, pooler = config.hidden_size, 0.0
    if kind in ("vit", "deit"):  # `pooler` on the class token
        pooler = 2.0 * width * (getattr(config, "pooler_output_size", None) or width)
    flops = transformer_flops(
        patches=across * down,
        prefix=PREFIXES[kind] + getattr(config, "num_register_tokens", 0),
        patch_values=config.num_channels * config.patch_size**2,
        layers=config.num_hidden_layers,
        width=width,
        mlp_weights=_mlp_weights(config),
    )
    return flops + pooler


def processed_size(processor: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width that an image processor's settings give every image; None where they do not say."""
    settings = processor.get("image_processor", processor)
    cropped = settings.get("do_center_crop", "crop_size" in settings)
    size = settings.get("crop_size" if cropped else "size")
    if isinstance(size, int) and cropped:  # as transformers wrote it before sizes had names
        return size, size
    if isinstance(size, Mapping) and isinstance(size.get("height"), int) and isinstance(size.get("width"), int):
        return size["height"], size["width"]
    return None


def _mlp_weights(config: Any) -> int:
    """Return the weights of a layer's feed-forward part, biases left out."""
    width: int = config.hidden_size
    if not hasattr(config, "mlp_ratio"):
        return int(2 * width * config.intermediate_size)
    hidden = int(width * config.mlp_ratio)
    if getattr(config, "use_swiglu_ffn", False):  # two halves are multiplied, and its length a multiple of 8
        return 3 * width * ((int(hidden * 2 / 3) + 7) // 8 * 8)
    return 2 * width * hidden
