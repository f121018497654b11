"""Soft shapes in chest coordinates, drawn with Pillow into float arrays.

Chest coordinates: u runs to image right (the patient's left), v down; u = ±1 is the inner chest wall at its widest,
v = -1 the lung apex, v = +1 the costophrenic angle of an average chest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Pixels = NDArray[np.float32]
Points = NDArray[np.float64]
Line = tuple[Points, float, float]
"""Points [n, 2], or several lines [m, n, 2]; width in chest units; brightness 0..1."""


@lru_cache(maxsize=8)
def _basis(per: int) -> Points:
    """Return the weights [per, 4] of four neighbouring control points along a Catmull-Rom span."""
    t = np.linspace(0, 1, per, endpoint=False)[:, None]
    return 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])


def smooth(points: Sequence[tuple[float, float]] | Points, closed: bool = True, per: int = 6) -> Points:
    """Return Catmull-Rom curves through control points [..., n, 2], `per` samples a span."""
    p = np.asarray(points, float)
    if closed:
        p = np.concatenate([p[..., -1:, :], p, p[..., :2, :]], axis=-2)
    else:
        first, last = 2 * p[..., :1, :] - p[..., 1:2, :], 2 * p[..., -1:, :] - p[..., -2:-1, :]
        p = np.concatenate([first, p, last], axis=-2)
    spans = np.stack([p[..., :-3, :], p[..., 1:-2, :], p[..., 2:-1, :], p[..., 3:, :]], axis=-2)
    curve = (_basis(per) @ spans).reshape(*p.shape[:-2], -1, 2)
    return curve if closed else np.concatenate([curve, p[..., -2:-1, :]], axis=-2)


def ellipse(u: float, v: float, ru: float, rv: float, tilt: float = 0.0, n: int = 24) -> Points:
    """Return an ellipse's outline [n, 2] about (u, v), turned by `tilt` radians."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    x, y = ru * np.cos(a), rv * np.sin(a)
    return np.stack([u + x * np.cos(tilt) - y * np.sin(tilt), v + x * np.sin(tilt) + y * np.cos(tilt)], axis=1)


def mirror(points: Points, sign: int) -> Points:
    """Return points [..., 2] as they are (sign 1) or on the other side of the midline (sign -1)."""
    return points * (sign, 1.0)


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

    def pixels(self, points: Points) -> list[float]:
        """Return points [n, 2] as pixel positions x0, y0, x1, y1 …"""
        c, s = np.cos(self.angle) * self.scale, np.sin(self.angle) * self.scale
        placed: list[float] = (points @ np.array([[c, s], [-s, c]]) + self.center).ravel().tolist()
        return placed

    def reduced(self, by: int) -> Canvas:
        """Return the same frame with pixels `by` times as large."""
        size = (-(-self.width // by), -(-self.height // by))
        return Canvas(*size, self.scale / by, (self.center[0] / by, self.center[1] / by), self.angle)

    def _place(self, shapes: Sequence[Points]) -> list[list[float]]:
        """Return the pixel positions of each of several shapes, transformed at one go."""
        if not shapes:
            return []
        flat, ends = self.pixels(np.concatenate(shapes)), list(accumulate(2 * len(shape) for shape in shapes))
        return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def enlarge(self, small: Pixels) -> Pixels:
        """Return an array of a reduced canvas at this one's size."""
        from PIL import Image

        return np.array(Image.fromarray(small).resize((self.width, self.height), Image.Resampling.BILINEAR))

    @cached_property
    def _axes(self) -> tuple[Pixels, Pixels]:
        x = (np.arange(self.width, dtype=np.float32) - np.float32(self.center[0])) / np.float32(self.scale)
        y = (np.arange(self.height, dtype=np.float32) - np.float32(self.center[1])) / np.float32(self.scale)
        return x[None, :], y[:, None]

    @property
    def x(self) -> Pixels:
        """Return u of the columns as if the chest stood straight, [1, width]."""
        return self._axes[0]

    @property
    def y(self) -> Pixels:
        """Return v of the rows as if the chest stood straight, [height, 1]."""
        return self._axes[1]

    def bump(self, u: float, v: float, wide: float, high: float) -> Pixels:
        """Return a soft round spot [height, width], 1 at (u, v), 1/e at `wide` and `high` from it."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        across = np.exp(-(((self.x - np.float32(u * c - v * s)) / np.float32(wide)) ** 2))
        spot: Pixels = across * np.exp(-(((self.y - np.float32(u * s + v * c)) / np.float32(high)) ** 2))
        return spot

    def ink(
        self,
        areas: Iterable[Points] = (),
        tubes: Iterable[Line] = (),
        lines: Iterable[Line] = (),
        blur: float = 0.0,
    ) -> Pixels:
        """Return float32 [height, width] in 0..1: areas at 1, tubes over them, lines over those, edges softened.

        A tube is a band along its points with brighter rims, as bones look. The blur is in pixels; wide blurs are drawn
        and made on a smaller sheet.
        """
        shrink = 4 if blur >= 8 else 2 if blur >= 1.8 else 1
        sheet = (self.reduced(shrink) if shrink > 1 else self)._sheet(list(areas), list(tubes), list(lines))
        return soften(sheet, blur / shrink, (self.width, self.height))

    def _sheet(self, areas: list[Points], tubes: list[Line], lines: list[Line]) -> PILImage:
        from PIL import Image, ImageDraw

        sheet = Image.new("L", (self.width, self.height))
        pen = ImageDraw.Draw(sheet)
        for outline in self._place(areas):
            pen.polygon(outline, fill=255)
        bands = [(band, value) for points, width, value in tubes for band in _single(_outline(points, width))]
        for outline, (_, value) in zip(self._place([band for band, _ in bands]), bands, strict=True):
            pen.polygon(outline, fill=int(160 * value), outline=int(255 * value))
        paths = [(path, width, value) for points, width, value in lines for path in _single(points)]
        for xy, (_, width, value) in zip(self._place([path for path, _, _ in paths]), paths, strict=True):
            pen.line(xy, fill=int(255 * value), width=max(1, round(width * self.scale)), joint="curve")
        return sheet


def _single(points: Points) -> Iterable[Points]:
    """Return one line [n, 2] or several [m, n, 2] as a sequence of lines."""
    return points if points.ndim == 3 else (points,)


def _outline(points: Points, width: float) -> Points:
    """Return the outlines [..., 2n, 2] of bands of some width about curves [..., n, 2]."""
    along = np.empty_like(points)
    along[..., 1:-1, :] = points[..., 2:, :] - points[..., :-2, :]
    along[..., 0, :], along[..., -1, :] = points[..., 1, :] - points[..., 0, :], points[..., -1, :] - points[..., -2, :]
    length = np.maximum(np.sqrt((along**2).sum(-1, keepdims=True)), 1e-9)
    aside = along[..., ::-1] * (-1, 1) / length * (width / 2)
    return np.concatenate([points + aside, (points - aside)[..., ::-1, :]], axis=-2)


def soften(sheet: PILImage, blur: float, size: tuple[int, int]) -> Pixels:
    """Return an 8-bit sheet as float32 [height, width] in 0..1, blurred by `blur` of its pixels, then sized."""
    from PIL import Image, ImageFilter

    if blur >= 1.5:
        sheet = sheet.filter(ImageFilter.GaussianBlur(float(blur)))
    elif blur:  # a box of the same variance, at a third of the cost
        sheet = sheet.filter(ImageFilter.BoxBlur((math.sqrt(12 * blur * blur + 1) - 1) / 2))
    if sheet.size != size:
        sheet = sheet.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(sheet, np.float32) * np.float32(1 / 255)


def soften_mask(mask: Pixels, blur: float) -> Pixels:
    """Blur a mask 0..1 [height, width] widely, by `blur` pixels."""
    from PIL import Image

    small = Image.fromarray((mask[::4, ::4] * 255).astype(np.uint8))
    return soften(small, blur / 4, (mask.shape[1], mask.shape[0]))


def clouds(width: int, height: int, cell: float, rng: np.random.Generator) -> Pixels:
    """Return smooth noise float32 [height, width], mean 0, deviation about 1, with blobs about `cell` pixels wide."""
    from PIL import Image

    shape = (int(height / cell) + 3, int(width / cell) + 3)
    coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR), np.float32)
