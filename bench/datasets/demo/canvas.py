"""Soft shapes in chest coordinates, drawn with Pillow into float arrays.

Chest coordinates: u runs to image right (the patient's left), v down; u = ±1 is the inner chest wall at its widest,
v = -1 the lung apex, v = +1 the costophrenic angle of an average chest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Pixels = NDArray[np.float32]
Points = NDArray[np.float64]


def smooth(points: Sequence[tuple[float, float]] | Points, closed: bool = True, per: int = 6) -> Points:
    """Return a Catmull-Rom curve through control points [n, 2] with `per` samples a span."""
    p = np.asarray(points, float)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, per, endpoint=False)[:, None]
    basis = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    spans = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]], axis=1)
    curve = np.einsum("tk,nkd->ntd", basis, spans).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-2:-1]])


def ellipse(u: float, v: float, ru: float, rv: float, tilt: float = 0.0, n: int = 24) -> Points:
    """Return an ellipse's outline [n, 2] about (u, v), turned by `tilt` radians."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    x, y = ru * np.cos(a), rv * np.sin(a)
    return np.stack([u + x * np.cos(tilt) - y * np.sin(tilt), v + x * np.sin(tilt) + y * np.cos(tilt)], axis=1)


@dataclass(frozen=True)
class Canvas:
    """A frame of `width` x `height` pixels and how chest coordinates lie in it."""

    width: int
    height: int
    scale: float
    """Pixels per unit of chest coordinates."""
    center: tuple[float, float]
    """Pixel of (u, v) = (0, 0)."""
    angle: float = 0.0
    """Radians the chest is turned clockwise."""

    def pixels(self, points: Points) -> list[tuple[float, float]]:
        """Return points [n, 2] as pixel positions."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        xy = np.asarray(points) @ np.array([[c, s], [-s, c]]) * self.scale + self.center
        return [(x, y) for x, y in xy.tolist()]

    @cached_property
    def u(self) -> Pixels:
        """Return u of every pixel, [height, width]."""
        return self._grid[0]

    @cached_property
    def v(self) -> Pixels:
        """Return v of every pixel, [height, width]."""
        return self._grid[1]

    @cached_property
    def _grid(self) -> tuple[Pixels, Pixels]:
        x = ((np.arange(self.width) - self.center[0]) / self.scale).astype(np.float32)[None, :]
        y = ((np.arange(self.height) - self.center[1]) / self.scale).astype(np.float32)[:, None]
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return x * c + y * s, y * c - x * s

    def blank(self) -> PILImage:
        """Return an empty 8-bit sheet of the frame's size."""
        from PIL import Image

        return Image.new("L", (self.width, self.height))

    def fill(self, *outlines: Points, blur: float = 0.0) -> Pixels:
        """Return float32 [height, width] in 0..1: 1 inside any outline, edges softened by `blur` pixels."""
        from PIL import ImageDraw

        sheet = self.blank()
        pen = ImageDraw.Draw(sheet)
        for outline in outlines:
            pen.polygon(self.pixels(outline), fill=255)
        return soften(sheet, blur)

    def strokes(self, lines: Iterable[tuple[Points, float, float]], blur: float = 0.6) -> Pixels:
        """Return float32 [height, width] of lines (points, width in pixels, brightness 0..1); the last drawn wins."""
        from PIL import ImageDraw

        sheet = self.blank()
        pen = ImageDraw.Draw(sheet)
        for points, width, value in lines:
            pen.line(self.pixels(points), fill=int(255 * value), width=max(1, round(width)), joint="curve")
        return soften(sheet, blur)


_COARSE = 4


def soften(sheet: PILImage, blur: float) -> Pixels:
    """Return an 8-bit sheet as float32 in 0..1, blurred by `blur` pixels; wide blurs are made at a quarter size."""
    from PIL import Image, ImageFilter

    if blur >= 2 * _COARSE:
        small = sheet.reduce(_COARSE).filter(ImageFilter.GaussianBlur(blur / _COARSE))
        sheet = small.resize(sheet.size, Image.Resampling.BICUBIC)
    elif blur:
        sheet = sheet.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(sheet, np.float32) / 255


def clouds(width: int, height: int, cell: float, rng: np.random.Generator) -> Pixels:
    """Return smooth noise float32 [height, width], mean 0, deviation about 1, with blobs about `cell` pixels wide."""
    from PIL import Image

    shape = (int(height / cell) + 3, int(width / cell) + 3)
    coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
