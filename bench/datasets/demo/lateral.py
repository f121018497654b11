"""A simple lateral radiograph, so that a study can have one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo.canvas import Canvas, Line, Pixels, Points, clouds, ellipse, smooth
from bench.datasets.demo.chest import Chest
from bench.datasets.demo.findings import Finding

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def draw_lateral(chest: Chest, findings: Sequence[Finding], size: int, rng: np.random.Generator) -> PILImage:
    """Return a lateral view, 8-bit grey: breastbone to image left, spine to image right."""
    from PIL import Image

    width = round(size * 0.8)
    canvas = Canvas(width, size, size / 2.5 * rng.uniform(0.95, 1.05), (width / 2, size * 0.5), rng.normal(0, 0.02))
    trunk = smooth([(-0.3, -1.6), (-0.75, -0.9), (-0.95, 0.0), (-0.95, 1.6), (0.95, 1.6), (1.0, 0.0), (0.85, -0.8)])
    image = canvas.ink([trunk], blur=4) * np.float32(0.68)
    air = canvas.ink([_lungs(chest)], blur=2.5)
    air *= 1 - np.float32(0.6) * canvas.ink([_heart(chest)], blur=4)
    air *= 1 - np.float32(0.85) * _fluid(canvas, findings)
    image -= air * np.float32(0.42)
    image += canvas.ink(lines=_bones(), blur=1.2) * np.float32(0.13)
    image += clouds(width, size, 9, rng) * np.float32(0.012)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.014)
    return Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))


def _lungs(chest: Chest) -> Points:
    dome = max(chest.domes)
    front = [(-0.1, chest.apex), (-0.5, -0.65), (-0.72, 0.0), (-0.74, dome - 0.05)]
    return smooth(
        [*front, (-0.3, dome - 0.1), (0.3, dome + 0.05), (0.72, chest.angle + 0.08), (0.78, 0.3), (0.55, -0.7)]
    )


def _heart(chest: Chest) -> Points:
    return ellipse(-0.32, 0.36, chest.heart * 0.82, 0.46, 0.5)


def _fluid(canvas: Canvas, findings: Sequence[Finding]) -> Pixels:
    level = {"small": 0.72, "moderate": 0.42, "large": 0.0}
    fluid = [f for f in findings if f.code == "effusion"]
    if not fluid:
        return np.zeros((canvas.height, canvas.width), np.float32)
    v = level[fluid[0].severity]
    return canvas.ink([smooth([(-0.8, v + 0.25), (0.1, v + 0.1), (0.85, v - 0.12), (0.95, 1.5), (-0.9, 1.5)])], blur=3)


def _bones() -> list[Line]:
    lines: list[Line] = [(np.array([(-0.8, -0.6), (-0.88, 0.35)]), 0.05, 0.7)]
    for v in np.arange(-1.3, 1.5, 0.18).tolist():
        u = 0.62 + 0.14 * float(np.sin((v + 1.2) * 1.3))
        lines.append((np.array([(u, v), (u + 0.02, v + 0.13)]), 0.2, 0.7))
    for v in np.arange(-0.6, 0.8, 0.2).tolist():
        lines.append((smooth([(0.75, v), (0.0, v + 0.2), (-0.7, v + 0.42)], closed=False), 0.05, 0.35))
    return lines
