"""An embedded encoder without weights: where a radiograph is bright, which way its edges run, where thin lines lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Context, Embeddings
from bench.images import Unreadable, grey, read, why_unreadable
from bench.options import Options

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

VERSION = 1
"""Raised with every change that moves a number."""
SIDE = 192
"""Pixels of the square that is looked at."""
CELLS, BRIGHTNESS_CELLS = (8, 6), (16, 12)
"""Grids (down, across) in which edges and lines, and brightness, are summed up."""
SPREAD = 0.6
"""Standard deviation of a cell's Gaussian window, in cells: neighbours overlap, so that a small shift moves little."""
DIRECTIONS, LINE_ANGLES = 8, 4
EDGE_WEIGHT, LINE_WEIGHT, BRIGHTNESS_WEIGHT = np.float32(1.0), np.float32(4.6), np.float32(0.05)
"""The three parts' usual sizes are then 1 : 2 : 1/2; on the demo the nearest neighbours were best about there."""
DIM = (DIRECTIONS + LINE_ANGLES) * CELLS[0] * CELLS[1] + BRIGHTNESS_CELLS[0] * BRIGHTNESS_CELLS[1]

Floats32 = NDArray[np.float32]


class PixelsOptions(Options):
    """Options of `Pixels`: there are none."""


class Pixels:
    """Brightness, edge directions and thin lines on coarse grids: no weights, for the demo and for tests."""

    Options = PixelsOptions
    stand_in: ClassVar[str] = "rad-dino"
    dim: ClassVar[int] = DIM

    def __init__(self, options: PixelsOptions, context: Context) -> None:
        del options, context

    def fingerprint(self) -> str:
        """Return the version of the arithmetic: there is nothing else."""
        return f"pixels-{VERSION}"

    def flops(self) -> float:
        """Return the operations of one image's products: every map's weighted means, down and then across.

        8.55e6; what is done pixel by pixel (blurring, slopes, square roots) is left out and about as much.
        """
        grids = [CELLS] * (DIRECTIONS + LINE_ANGLES) + [BRIGHTNESS_CELLS]
        return sum(2.0 * down * SIDE * (SIDE + across) for down, across in grids)

    def encode(self, images: Sequence[Path]) -> Embeddings:
        """Return float32 [n, 768]; a row of NaN where the file could not be decoded."""
        rows = np.empty((len(images), DIM), np.float32)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            for row, features in zip(rows, pool.map(_features_of_file, images), strict=True):
                row[:] = features
        return rows

    def why_unreadable(self, image: Path) -> str | None:
        """Return why a file cannot be decoded, or None where it can."""
        return why_unreadable(image)


def _features_of_file(path: Path) -> Floats32:
    try:
        return features(square(read(path)))
    except Unreadable:
        return np.full(DIM, np.nan, np.float32)


def square(picture: Picture) -> Floats32:
    """Return the picture's central square as float32 [SIDE, SIDE], its 1st to 99th percentile stretched to [0, 1]."""
    from PIL import Image

    width, height = picture.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    box = (left, top, left + edge, top + edge)
    small = Image.fromarray(grey(picture)).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box, reducing_gap=3.0)
    values = np.asarray(small, np.float32)
    low, high = np.percentile(values, (1, 99))
    return np.asarray(np.clip((values - low) / max(high - low, 1.0), 0, 1), np.float32)


def features(values: Floats32) -> Floats32:
    """Return float32 [768], of root mean square 1, of grey values [SIDE, SIDE] in [0, 1].

    Every channel has its mean over the image taken off, so that what all radiographs share does not outweigh what
    tells them apart; square roots keep one bright device from outweighing the rest. An even picture gives zeros.
    """
    soft = _blurred(_blurred(values))
    gx, gy = _slopes(soft)
    parts = (
        EDGE_WEIGHT * _even(np.sqrt(_pooled(_edges(gx, gy), CELLS))),
        LINE_WEIGHT * _even(np.sqrt(_pooled(_lines(gx, gy), CELLS))),
        BRIGHTNESS_WEIGHT * _even(_pooled(values[None], BRIGHTNESS_CELLS)),
    )
    row = np.concatenate([part.ravel() for part in parts])
    size = np.sqrt(np.mean(row**2))
    return np.asarray(row / size if size > 1e-6 else np.zeros_like(row), np.float32)


def _blurred(values: Floats32) -> Floats32:
    """Smooth with [1, 2, 1] / 4 down and across; twice is a Gaussian of standard deviation 1 pixel."""
    wide = np.pad(values, 1, mode="edge")
    down = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    return np.asarray((down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 16, np.float32)


def _slopes(values: Floats32) -> tuple[Floats32, Floats32]:
    """Return central differences across and down; 0 on the outermost pixels."""
    across, down = np.zeros_like(values), np.zeros_like(values)
    across[:, 1:-1] = (values[:, 2:] - values[:, :-2]) / 2
    down[1:-1] = (values[2:] - values[:-2]) / 2
    return across, down


def _edges(gx: Floats32, gy: Floats32) -> Floats32:
    """Return [DIRECTIONS, SIDE, SIDE]: the slope towards each direction, tuned by its squared cosine to it."""
    steep = 1 / (gx**2 + gy**2 + 1e-12)
    maps = np.empty((DIRECTIONS, *gx.shape), np.float32)
    half = DIRECTIONS // 2
    for number, angle in enumerate(np.pi * np.arange(half) / half):
        slope = np.float32(np.cos(angle)) * gx + np.float32(np.sin(angle)) * gy
        tuned = slope * slope * slope * steep
        np.maximum(tuned, 0, out=maps[number])
        np.maximum(-tuned, 0, out=maps[number + half])
    return maps


def _lines(gx: Floats32, gy: Floats32) -> Floats32:
    """Return [LINE_ANGLES, SIDE, SIDE]: how far the brightness curves down across each angle, as on a bright wire."""
    gxx, gxy = _slopes(gx)
    _, gyy = _slopes(gy)
    maps = np.empty((LINE_ANGLES, *gx.shape), np.float32)
    for number, angle in enumerate(np.pi * np.arange(LINE_ANGLES) / LINE_ANGLES):
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        np.maximum(-(c * c) * gxx - (2 * c * s) * gxy - (s * s) * gyy, 0, out=maps[number])
    return maps


@cache
def _window(cells: int) -> Floats32:
    """Return [cells, SIDE]: each cell's Gaussian weights over the pixels of an axis, summing to 1."""
    place = (np.arange(SIDE) + 0.5) / SIDE * cells
    weights = np.exp(-0.5 * ((place - (np.arange(cells)[:, None] + 0.5)) / SPREAD) ** 2)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _pooled(maps: Floats32, cells: tuple[int, int]) -> Floats32:
    """Return [n, down, across] weighted means of maps [n, SIDE, SIDE]."""
    return np.asarray(_window(cells[0]) @ maps @ _window(cells[1]).T, np.float32)


def _even(channels: Floats32) -> Floats32:
    """Take each channel's mean over the image off."""
    return np.asarray(channels - channels.mean((1, 2), keepdims=True), np.float32)
