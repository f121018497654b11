"""The normal chest and the film: frontal and lateral radiographs, painted layer by layer.

Brightness stands for attenuation: tissue and bone add to it, air in the lungs takes from it, and an opacity is air that
is missing. Film curve, grain, collimation and markers come last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo import chest as anatomy
from bench.datasets.demo.canvas import Canvas, Line, Pixels, Points, clouds, ellipse, mirror, smooth, soften_mask
from bench.datasets.demo.chest import Chest, Pose

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

_TISSUE = 0.60
_AIR = 0.47


@dataclass
class Scene:
    """An image under way. Arrays are float32 [height, width]."""

    canvas: Canvas
    chest: Chest
    lungs: Pixels
    """1 inside the lungs, their part behind the heart included."""
    air: Pixels
    """Share of air in the path, 0..1: what is dark."""
    markings: Pixels
    """Brightness of the vessels."""
    added: Pixels
    """Attenuation of everything else that is not tissue: bones, devices, lines."""
    tissue: Pixels
    """Attenuation of the body without its air; 0 outside."""

    def opacify(self, share: Pixels) -> None:
        """Replace a share 0..1 of the air by fluid or tissue."""
        self.air *= 1 - np.clip(share, 0, 1)

    def add(self, brightness: float, mask: Pixels) -> None:
        """Add attenuation."""
        self.added += np.float32(brightness) * mask


# ------------------------------------------------------------------ bones


def back_ribs(chest: Chest, sign: int) -> Points:
    """Return the midlines [11, n, 2] of one side's posterior ribs, from the spine outwards."""
    v = chest.apex - 0.09 + chest.rib_phase * 0.5 + 0.178 * np.arange(11)
    edge = np.array([chest.half(low) for low in v + chest.rib_slope]) * 1.01
    u = np.stack([np.full(11, 0.1), edge * 0.4, edge * 0.74, edge * 0.95, edge], axis=1)
    drop = np.array([0.0, -0.045, 0.03, chest.rib_slope * 0.55, chest.rib_slope])
    curves = mirror(smooth(np.stack([u, v[:, None] + drop], axis=2), closed=False, per=5), sign)
    curves[..., 0] += chest.spine(v)[:, None] * np.linspace(1, 0, curves.shape[1])
    return curves


def _front_ribs(chest: Chest, sign: int) -> Points:
    v = chest.apex + 0.19 + chest.rib_phase * 0.5 + 0.178 * np.arange(7)
    edge = np.array([chest.half(low) for low in v + 0.15])[:, None] * np.array([1.0, 0.9, 0.68, 0.45])
    drop = np.array([0.12, 0.27, 0.38, 0.42])
    return mirror(smooth(np.stack([edge, v[:, None] + drop], axis=2), closed=False, per=4), sign)


def _cage(chest: Chest, pose: Pose) -> Pixels:
    """Return brightness of ribs (anterior faint), clavicles and the edges of the vertebrae."""
    ribs = [(_front_ribs(chest, sign), 0.062, 0.4) for sign in (-1, 1)]
    ribs += [(back_ribs(chest, sign), 0.06, 0.85) for sign in (-1, 1)]
    ribs += [(_clavicle(chest, pose.view, sign), 0.066, 0.95) for sign in (-1, 1)]
    return pose.canvas.ink(tubes=ribs, lines=_vertebral_edges(chest), blur=1.0)


def _thick_bones(chest: Chest, view: str) -> list[Line]:
    """Return shoulder blades, upper arms and the bodies of the vertebrae."""
    return [*(line for sign in (-1, 1) for line in _shoulder(chest, view, sign)), (_vertebrae(chest), 0.2, 0.75)]


def _vertebrae(chest: Chest) -> Points:
    """Return the midlines [n, 2, 2] of the vertebral bodies."""
    v = np.arange(-1.55, 1.8, 0.165)
    ends = np.stack([v - 0.062, v + 0.062], axis=1)
    return np.stack([np.broadcast_to(chest.spine(v)[:, None], ends.shape), ends], axis=2)


def _vertebral_edges(chest: Chest) -> list[Line]:
    bodies = _vertebrae(chest)
    middle = (bodies - bodies.mean(1, keepdims=True)) * 0.5 + bodies.mean(1, keepdims=True)
    aside = np.array([0.095, 0.0])
    return [(bodies - aside, 0.016, 0.8), (bodies + aside, 0.016, 0.8), (middle, 0.02, 1.0)]


def _clavicle(chest: Chest, view: str, sign: int) -> Points:
    v = chest.clavicle + (0.0 if view == "PA" else -0.1)
    bar = [(0.1, v + 0.02), (0.35, v + 0.0), (0.65, v - 0.17), (chest.breadth + 0.12, v - 0.22)]
    return mirror(smooth(bar, closed=False), sign)


def _shoulder(chest: Chest, view: str, sign: int) -> list[Line]:
    """Return shoulder blade and upper arm of one side."""
    out = chest.breadth - (0.02 if view == "PA" else 0.16)
    blade = [(out + 0.2, -0.95), (out - 0.05, -0.6), (out - 0.08, -0.2), (out + 0.02, 0.12)]
    head = chest.breadth + 0.27
    shaft = np.array([(head, -0.85), (head + 0.22, -0.1)])
    return [
        (mirror(smooth(blade, closed=False), sign), 0.03, 0.5),
        (mirror(shaft, sign), 0.17, 0.55),
        (ellipse(head * sign, -0.88, 0.06, 0.06), 0.13, 0.7),
    ]


# ------------------------------------------------------------------ lungs and soft parts


def _vessels(canvas: Canvas, rng: np.random.Generator) -> Pixels:
    """Return brightness of the lung vessels: trees that leave the hila and thin out."""
    lines: list[Line] = []
    for sign in (-1, 1):
        hilum = np.array([0.2, 0.02 if sign < 0 else -0.05]) + rng.uniform(-0.05, 0.1, (14, 2))
        angles = np.linspace(-1.4, 1.5, 14) + rng.normal(0, 0.12, 14)
        paths, turns = _wander(hilum, angles, rng.uniform(0.45, 0.95, 14), 4, rng)
        lines += _tapered(mirror(paths, sign), 0.03, 0.8)
        lines += [(mirror(_twigs(paths, turns, at, rng), sign), 0.009, 0.4) for at in (1, 2, 3)]
    return canvas.ink(lines=lines, blur=0.9)


def _wander(
    start: Points, angles: Points, lengths: Points, steps: int, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Return winding paths [n, steps + 1, 2] from `start` [n, 2], and their directions [n, steps] in radians."""
    turns = angles[:, None] + np.cumsum(rng.normal(0, 0.17, (len(angles), steps)), axis=1)
    moves = np.stack([np.cos(turns), np.sin(turns)], axis=2) * (lengths / steps)[:, None, None]
    return np.concatenate([start[:, None], start[:, None] + np.cumsum(moves, axis=1)], axis=1), turns


def _twigs(paths: Points, turns: Points, at: int, rng: np.random.Generator) -> Points:
    fork = rng.choice([-1.0, 1.0], len(paths)) * rng.uniform(0.35, 0.75, len(paths))
    return _wander(paths[:, at], turns[:, at] + fork, rng.uniform(0.15, 0.42, len(paths)), 2, rng)[0]


def _tapered(paths: Points, width: float, value: float) -> list[Line]:
    steps = paths.shape[1] - 1
    fades = 1 - np.arange(steps) / (steps + 0.5)
    return [(paths[:, i : i + 2], width * fade, value * fade) for i, fade in enumerate(fades.tolist())]


def _mediastinum(chest: Chest, canvas: Canvas) -> Pixels:
    """Return 1 where heart, great vessels and aortic knob displace the lungs."""
    knob = ellipse(0.17 + chest.knob * 0.25, -0.36, chest.knob, chest.knob * 1.25)
    core = canvas.ink([anatomy.heart(chest)], blur=1.0)
    column = canvas.ink([anatomy.mediastinum(chest), knob], blur=1.0)
    displaced: Pixels = 1 - (1 - np.float32(0.97) * core) * (1 - np.float32(0.88) * column)
    return displaced


def _gas(chest: Chest, canvas: Canvas, rng: np.random.Generator) -> Pixels:
    """Return gas outside the lungs: trachea and main bronchi, the stomach's bubble, some bowel."""
    spots = []
    if chest.bubble:
        size = chest.bubble
        spots.append(ellipse(0.47, chest.domes[1] + 0.13 + 0.07 * size, 0.19 * size, 0.1 * size))
    for _ in range(int(rng.integers(0, 5))):
        u, v = rng.uniform(-0.6, 0.9), max(chest.domes) + rng.uniform(0.42, 0.75)
        spots.append(ellipse(u, v, rng.uniform(0.05, 0.13), rng.uniform(0.04, 0.08), rng.uniform(0, 3)))
    return canvas.ink(spots, lines=_airways(chest), blur=1.0) * np.float32(0.26)


def _airways(chest: Chest) -> list[Line]:
    u = float(chest.spine(-0.6)) * 0.5
    return [
        (smooth([(u, -1.7), (u, -0.8), (u - 0.01, -0.3)], closed=False), 0.105, 0.5),
        (smooth([(u - 0.01, -0.3), (-0.12, -0.15), (-0.22, 0.0)], closed=False), 0.06, 0.4),
        (smooth([(u - 0.01, -0.3), (0.13, -0.17), (0.26, -0.08)], closed=False), 0.055, 0.35),
    ]


def _tissue(chest: Chest, canvas: Canvas) -> Pixels:
    """Return attenuation of the trunk without its air: thicker in the middle and below, 0 outside the body."""
    trunk = canvas.ink([anatomy.torso(chest)], blur=1.0)
    bulk = soften_mask(trunk, 0.24 * canvas.scale)
    middle = np.exp(-((canvas.x / np.float32(0.5)) ** 2)) * np.float32(0.11) - np.float32(0.02)
    below = np.float32(0.13) / (1 + np.exp((np.float32(0.75) - canvas.y) * 6))
    tissue: Pixels = trunk * (bulk * np.float32(_TISSUE) + (middle + below))
    return tissue


def _breasts(chest: Chest, canvas: Canvas) -> Pixels:
    shapes = [ellipse(sign * chest.breadth * 0.66, 0.5, 0.42, 0.42) for sign in (-1, 1)]
    return canvas.ink(shapes, blur=1.7) * np.float32(chest.breast)


def _hila(chest: Chest, canvas: Canvas) -> Pixels:
    """Return the haze of the great lung vessels about the hila."""
    haze = canvas.bump(-0.27, 0.04, 0.12, 0.22) + canvas.bump(0.29, -0.03, 0.12, 0.2)
    return haze * np.float32(0.22 * chest.markings)


def paint(chest: Chest, pose: Pose, body_rng: np.random.Generator, film_rng: np.random.Generator) -> Scene:
    """Paint a chest without the shadows of findings; what has no sharp edge is made at half the size."""
    canvas, half = pose.canvas, pose.canvas.reduced(2)
    lungs = half.ink([anatomy.lung(chest, -1), anatomy.lung(chest, 1)], blur=0.65)
    depth = soften_mask(lungs, 0.13 * half.scale)
    air = lungs * (np.float32(0.5) + np.float32(0.5) * depth) * (1 - _mediastinum(chest, half))
    air *= (1 - _hila(chest, half)) * (1 + np.float32(0.04) * clouds(half.width, half.height, 6, film_rng))
    soft = half.ink(lines=_thick_bones(chest, pose.view), blur=0.8) * np.float32(0.12 * chest.bone)
    if chest.breast:
        soft += _breasts(chest, half)
    soft -= _gas(chest, half, body_rng)
    outline = canvas.enlarge(lungs)
    cage = (np.float32(0.055) + np.float32(0.075) * outline) * np.float32(chest.bone)
    added = canvas.enlarge(soft) + _cage(chest, pose) * cage
    markings = _vessels(canvas, body_rng) * np.float32(0.19 * chest.markings)
    return Scene(canvas, chest, outline, canvas.enlarge(air), markings, added, canvas.enlarge(_tissue(chest, half)))


# ------------------------------------------------------------------ the film


def develop(scene: Scene, pose: Pose, rng: np.random.Generator) -> PILImage:
    """Return the film as an 8-bit image: tissue less air plus vessels, bones and devices through the film's curve."""
    from PIL import Image

    total = scene.tissue - scene.air * np.float32(_AIR) + scene.markings * np.clip(scene.air * 1.5, 0, 1)
    total += scene.added * np.clip(scene.tissue * 2.5, 0, 1)
    total = (total - np.float32(0.42)) * np.float32(pose.gain * 1.15) + np.float32(0.45 + pose.offset)
    curve: Pixels = np.reciprocal(1 + np.exp((np.float32(0.5) - total) * np.float32(4.8)))
    film = _grain(curve, pose, rng)
    image = Image.fromarray((np.clip(film, 0, 1) * 255).astype(np.uint8))
    _collimate(image, rng)
    return image


def _grain(film: Pixels, pose: Pose, rng: np.random.Generator) -> Pixels:
    height, width = film.shape
    grain: Pixels = rng.standard_normal((height, width), dtype=np.float32)
    grain += clouds(width, height, 3, rng) * np.float32(0.6)
    grain *= np.float32(pose.noise)
    return film + grain


def _collimate(image: PILImage, rng: np.random.Generator) -> None:
    """Black out a border on some sides, slightly askew."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    w, h = image.size
    near, far = rng.uniform(0, 0.035, 4) * max(w, h), rng.uniform(0, 0.035, 4) * max(w, h)
    borders = [
        [(0, 0), (w, 0), (w, near[0]), (0, far[0])],
        [(0, h), (w, h), (w, h - near[1]), (0, h - far[1])],
        [(0, 0), (0, h), (near[2], h), (far[2], 0)],
        [(w, 0), (w, h), (w - near[3], h), (w - far[3], 0)],
    ]
    for border, there in zip(borders, rng.random(4) < 0.3, strict=True):
        if there:
            pen.polygon([(float(x), float(y)) for x, y in border], fill=2)


@lru_cache(maxsize=4)
def _font(size: int) -> FreeTypeFont | BitmapFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def mark(image: PILImage, pose: Pose, portable: bool, rng: np.random.Generator) -> None:
    """Write the side marker ("L" on the patient's left, image right, or "R"), and PORTABLE on bedside films."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    w, h = image.size
    left = bool(rng.random() < 0.6)
    x = w * (rng.uniform(0.86, 0.93) if left else rng.uniform(0.04, 0.1))
    y = h * rng.uniform(0.03, 0.12)
    pen.text((x, y), "L" if left else "R", fill=245, font=_font(16))
    if portable:
        pen.text((w * 0.05 if left else w * 0.68, h * 0.03), "PORTABLE", fill=235, font=_font(10))
    elif rng.random() < 0.4:
        pen.text((x - 3, y + 20), pose.view, fill=225, font=_font(10))
