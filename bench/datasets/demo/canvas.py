"""Soft shapes in chest coordinates, drawn with Pillow into float arrays.

Chest coordinates: u runs to image right (the patient's left), v down; u = ±1 is the inner chest wall at its widest,
v = -1 the lung apex, v = +1 the costophrenic angle of an average chest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Pixels = NDArray[np.float32]
Points = NDArray[np.float64]
Line = tuple[Points, float, float]
"""Points [n, 2], width in chest units, brightness 0..1."""


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

    def pixels(self, points: Points) -> list[tuple[float, float]]:
        """Return points [n, 2] as pixel positions."""
        c, s = np.cos(self.angle) * self.scale, np.sin(self.angle) * self.scale
        xy = points @ np.array([[c, s], [-s, c]]) + self.center
        return [(x, y) for x, y in xy.tolist()]

    def _all_pixels(self, shapes: Sequence[Points]) -> Iterator[list[tuple[float, float]]]:
        """Yield the pixel positions of each of several shapes, transformed at one go."""
        flat, at = self.pixels(np.concatenate(shapes)), 0
        for shape in shapes:
            yield flat[at : at + len(shape)]
            at += len(shape)

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
        for outline in self._all_pixels(outlines) if outlines else ():
            pen.polygon(outline, fill=255)
        return soften(sheet, blur)

    def strokes(self, lines: Iterable[Line], blur: float = 0.6, tubes: Sequence[Line] = ()) -> Pixels:
        """Return float32 [height, width] of tubes, then lines over them, softened by `blur` pixels.

        A tube is a band along the points with brighter rims, as bones look; widths are in chest units.
        """
        from PIL import ImageDraw

        sheet = self.blank()
        pen = ImageDraw.Draw(sheet)
        bands = [(_outline(points, width), value) for points, width, value in tubes]
        for (_, value), outline in zip(bands, self._all_pixels([b for b, _ in bands]) if bands else (), strict=True):
            pen.polygon(outline, fill=int(160 * value), outline=int(255 * value))
        drawn = list(lines)
        for (_, width, value), path in zip(
            drawn, self._all_pixels([points for points, _, _ in drawn]) if drawn else (), strict=True
        ):
            thick = max(1, round(width * self.scale))
            joint = "curve" if thick > 2 and len(path) > 2 else None
            pen.line(path, fill=int(255 * value), width=thick, joint=joint)
        return soften(sheet, blur)


def _outline(points: Points, width: float) -> Points:
    """Return the outline of a band of some width about a curve [n, 2]."""
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    normal = along[:, ::-1] * (-1, 1) / np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)
    return np.concatenate([points + normal * (width / 2), (points - normal * (width / 2))[::-1]])


_COARSE = 4


def soften(sheet: PILImage, blur: float) -> Pixels:
    """Return an 8-bit sheet as float32 in 0..1, blurred by `blur` pixels; wide blurs are made on a smaller sheet."""
    from PIL import Image, ImageFilter

    if blur >= 2:
        shrink = _COARSE if blur >= 2 * _COARSE else 2
        small = sheet.reduce(shrink).filter(ImageFilter.GaussianBlur(blur / shrink))
        sheet = small.resize(sheet.size, Image.Resampling.BILINEAR)
    elif blur:
        sheet = sheet.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(sheet, np.float32) * np.float32(1 / 255)


def soften_mask(mask: Pixels, blur: float) -> Pixels:
    """Blur a mask 0..1 by `blur` pixels."""
    from PIL import Image

    return soften(Image.fromarray((mask * 255).astype(np.uint8)), blur)


def clouds(width: int, height: int, cell: float, rng: np.random.Generator) -> Pixels:
    """Return smooth noise float32 [height, width], mean 0, deviation about 1, with blobs about `cell` pixels wide."""
    from PIL import Image

    shape = (int(height / cell) + 3, int(width / cell) + 3)
    coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR), np.float32)
