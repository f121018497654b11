"""Frontal and lateral radiographs, painted layer by layer.

Brightness stands for attenuation: tissue and bone add to it, air in the lungs takes from it, and an opacity is air that
is missing. Film curve, grain, collimation and markers come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.datasets.demo import chest as anatomy
from bench.datasets.demo.canvas import Canvas, Pixels, Points, clouds, ellipse, smooth, soften
from bench.datasets.demo.chest import Chest, Pose
from bench.datasets.demo.findings import Finding

SIZE = 320
"""Pixels of an image's longer side."""

_TISSUE = 0.60
_AIR = 0.46


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
    """Attenuation of everything else that is not tissue: bones, lines, devices."""

    def opacify(self, share: Pixels) -> None:
        """Replace a share 0..1 of the air by fluid or tissue."""
        self.air *= 1 - np.clip(share, 0, 1)

    def add(self, brightness: float, mask: Pixels) -> None:
        """Add attenuation."""
        self.added += np.float32(brightness) * mask


# ------------------------------------------------------------------ the normal chest


def _ribs(chest: Chest, canvas: Canvas) -> Pixels:
    """Return brightness of posterior ribs (strong, nearly level) and anterior ribs (faint, steep)."""
    back: list[tuple[Points, float, float]] = []
    front: list[tuple[Points, float, float]] = []
    width = 0.062 * canvas.scale
    for number in range(11):
        v = chest.apex - 0.09 + chest.rib_phase * 0.5 + 0.178 * number
        for sign in (-1, 1):
            back += _band(_back_rib(chest, v, sign), width, 0.5, 0.85)
            if 1 <= number <= 7:
                front += _band(_front_rib(chest, v + 0.1, sign), width * 1.1, 0.3, 0.5)
    return canvas.strokes(back, 0.9) + 0.6 * canvas.strokes(front, 1.4)


def _back_rib(chest: Chest, v: float, sign: int) -> Points:
    slope, start = chest.rib_slope, float(chest.spine(v))
    edge = chest.half(v + slope) * 1.01
    points = [(0.1, v), (edge * 0.4, v - 0.045), (edge * 0.74, v + 0.03), (edge * 0.95, v + slope * 0.55)]
    curve = smooth([*points, (edge * 1.005, v + slope)], closed=False, per=5) * (sign, 1.0)
    curve[:, 0] += start * np.linspace(1, 0, len(curve))
    return curve


def _front_rib(chest: Chest, v: float, sign: int) -> Points:
    edge = chest.half(v + 0.15)
    points = [(edge, v + 0.12), (edge * 0.9, v + 0.27), (edge * 0.68, v + 0.38), (edge * 0.45, v + 0.42)]
    return smooth(points, closed=False, per=5) * (sign, 1.0)


def _band(curve: Points, width: float, inner: float, rim: float) -> list[tuple[Points, float, float]]:
    """Return the strokes of a tube-like bone: a band with brighter rims."""
    shift = np.array([0.0, 0.028])
    return [(curve, width, inner), (curve - shift, 1.5, rim), (curve + shift, 1.5, rim * 0.9)]


def _girdle(chest: Chest, canvas: Canvas, view: str) -> Pixels:
    """Return brightness of clavicles, shoulder blades and upper arms."""
    lines: list[tuple[Points, float, float]] = []
    s = canvas.scale
    drop = 0.0 if view == "PA" else -0.1
    for sign in (-1.0, 1.0):
        v = chest.clavicle + drop
        bar = [(0.1, v + 0.02), (0.35, v + 0.0), (0.65, v - 0.17), (chest.breadth + 0.12, v - 0.22)]
        lines += _band(smooth(bar, closed=False) * (sign, 1), 0.066 * s, 0.6, 0.95)
        out = chest.breadth - (0.02 if view == "PA" else 0.16)
        blade = [(out + 0.2, -0.95), (out - 0.05, -0.6), (out - 0.08, -0.2), (out + 0.02, 0.12)]
        lines.append((smooth(blade, closed=False) * (sign, 1), 0.03 * s, 0.45))
        head = chest.breadth + 0.27
        shaft = np.array([(head, -0.85), (head + 0.22, -0.1)]) * (sign, 1)
        lines += [(shaft, 0.17 * s, 0.55), (ellipse(head * sign, -0.88, 0.06, 0.06), 0.13 * s, 0.7)]
    return canvas.strokes(lines, 1.3)


def _spine(chest: Chest, canvas: Canvas) -> Pixels:
    """Return brightness of the vertebral column: bodies parted by discs, with pedicles."""
    lines: list[tuple[Points, float, float]] = []
    s = canvas.scale
    for v in np.arange(-1.55, 1.8, 0.165):
        u = float(chest.spine(v))
        body = np.array([(u, v - 0.062), (u, v + 0.062)])
        lines.append((body, 0.2 * s, 0.55))
        lines += [(body + (d, 0.0), 2, 0.75) for d in (-0.095, 0.095)]
        lines.append((ellipse(u, v, 0.018, 0.035), 2, 0.85))
    return canvas.strokes(lines, 1.2)


def _vessels(chest: Chest, canvas: Canvas, rng: np.random.Generator) -> Pixels:
    """Return brightness of the lung vessels: trees that leave the hila and thin out."""
    lines: list[tuple[Points, float, float]] = []
    s = canvas.scale / 115
    for sign in (-1, 1):
        hilum = np.array([0.23, 0.02 if sign < 0 else -0.05])
        for angle in np.linspace(-1.35, 1.45, 13) + rng.normal(0, 0.08, 13):
            lines += _branch(hilum, angle, rng.uniform(0.5, 0.95), 3.4 * s, 0.9, sign, rng)
    return canvas.strokes(lines, 0.8)


def _branch(
    start: Points, angle: float, length: float, width: float, value: float, sign: int, rng: np.random.Generator
) -> list[tuple[Points, float, float]]:
    steps = 5
    turns = angle + np.cumsum(rng.normal(0, 0.16, steps))
    path = start + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * (length / steps), axis=0)
    path = np.concatenate([start[None], path])
    lines = []
    for i in range(steps):
        fade = 1 - i / (steps + 1)
        lines.append((path[i : i + 2] * (sign, 1), width * fade, value * fade))
    if width > 2:
        for at in (2, 3):
            off = turns[at] + rng.choice([-1, 1]) * rng.uniform(0.35, 0.7)
            lines += _branch(path[at], off, length * 0.45, width * 0.5, value * 0.6, sign, rng)
    return lines


def _mediastinum(chest: Chest, canvas: Canvas) -> Pixels:
    """Return 1 where heart, great vessels and aortic knob displace the lungs."""
    knob = ellipse(0.14 + chest.knob * 0.55, -0.34, chest.knob, chest.knob * 1.1)
    core = canvas.fill(anatomy.heart(chest), blur=2.2)
    column = canvas.fill(anatomy.mediastinum(chest), knob, blur=1.8)
    return 1 - (1 - 0.97 * core) * (1 - 0.9 * column)


def _belly(chest: Chest, canvas: Canvas, rng: np.random.Generator) -> Pixels:
    """Return gas below the diaphragm: the stomach's bubble and some bowel."""
    spots = []
    if chest.bubble:
        size = chest.bubble
        spots.append(ellipse(0.47, chest.domes[1] + 0.13 + 0.07 * size, 0.19 * size, 0.1 * size))
    for _ in range(int(rng.integers(0, 5))):
        u, v = rng.uniform(-0.6, 0.9), max(chest.domes) + rng.uniform(0.42, 0.75)
        spots.append(ellipse(u, v, rng.uniform(0.05, 0.13), rng.uniform(0.04, 0.08), rng.uniform(0, 3)))
    return canvas.fill(*spots, blur=3.0)


def _airways(chest: Chest, canvas: Canvas) -> Pixels:
    """Return the dark column of the trachea and main bronchi."""
    u = float(chest.spine(-0.6)) * 0.5
    lines = [
        (smooth([(u, -1.7), (u, -0.8), (u - 0.01, -0.3)], closed=False), 0.105 * canvas.scale, 1.0),
        (smooth([(u - 0.01, -0.3), (-0.12, -0.15), (-0.22, 0.0)], closed=False), 0.06 * canvas.scale, 0.8),
        (smooth([(u - 0.01, -0.3), (0.13, -0.17), (0.26, -0.08)], closed=False), 0.055 * canvas.scale, 0.7),
    ]
    return canvas.strokes(lines, 1.6)


def _tissue(chest: Chest, canvas: Canvas) -> Pixels:
    """Return attenuation of the trunk without its air: thicker in the middle and below, 0 outside the body."""
    trunk = canvas.fill(anatomy.torso(chest), blur=2.0)
    bulk = canvas.fill(anatomy.torso(chest), blur=0.16 * canvas.scale)
    middle = np.exp(-((canvas.u / 0.42) ** 2)) * np.float32(0.1)
    below = np.float32(0.13) / (1 + np.exp(-(canvas.v - 0.75) * 6))
    tissue: Pixels = trunk * (bulk * np.float32(_TISSUE) + middle + below - np.float32(0.02))
    return tissue


def _breasts(chest: Chest, canvas: Canvas) -> Pixels:
    if not chest.breast:
        return np.zeros((canvas.height, canvas.width), np.float32)
    shapes = [ellipse(sign * chest.breadth * 0.66, 0.5, 0.42, 0.42) for sign in (-1, 1)]
    return canvas.fill(*shapes, blur=3.5) * np.float32(chest.breast)


def _scene(chest: Chest, pose: Pose, rng: np.random.Generator) -> Scene:
    """Paint the chest without the shadows of findings."""
    canvas = pose.canvas
    outline = canvas.fill(anatomy.lung(chest, -1), anatomy.lung(chest, 1), blur=1.4)
    depth = soften_again(outline, 0.11 * canvas.scale)
    lungs = outline * (np.float32(0.55) + np.float32(0.45) * depth)
    air = lungs * (1 - _mediastinum(chest, canvas))
    air *= 1 + np.float32(0.05) * clouds(canvas.width, canvas.height, 14, rng)
    added = _ribs(chest, canvas) * np.float32(0.105 * chest.bone)
    added += _girdle(chest, canvas, pose.view) * np.float32(0.14 * chest.bone)
    added += _spine(chest, canvas) * np.float32(0.1 * chest.bone)
    added += _breasts(chest, canvas)
    added -= _airways(chest, canvas) * np.float32(0.13)
    added -= _belly(chest, canvas, rng) * np.float32(0.3)
    markings = _vessels(chest, canvas, rng) * np.float32(0.2 * chest.markings)
    return Scene(canvas, chest, outline, air, markings, added)


def soften_again(mask: Pixels, blur: float) -> Pixels:
    """Blur a mask 0..1 by `blur` pixels."""
    from PIL import Image

    return soften(Image.fromarray((mask * 255).astype(np.uint8)), blur)


# ------------------------------------------------------------------ the film


def _film(scene: Scene, pose: Pose, rng: np.random.Generator) -> Pixels:
    """Return brightness 0..1 before blur: tissue, air, vessels and bones through the film's curve."""
    air = scene.air * np.float32(_AIR)
    tissue = _tissue(scene.chest, pose.canvas)
    inside = np.clip(scene.air * 1.5, 0, 1)
    total = tissue - air + scene.markings * inside + scene.added * np.clip(tissue * 2.5, 0, 1)
    total = (total - np.float32(0.42)) * np.float32(pose.gain * 1.12) + np.float32(0.46 + pose.offset)
    return np.float32(1) / (1 + np.exp(-(total - np.float32(0.5)) * np.float32(4.6)))


def _grain(image: Pixels, pose: Pose, rng: np.random.Generator) -> Pixels:
    height, width = image.shape
    grain = rng.standard_normal((height, width), dtype=np.float32)
    return image + grain * np.float32(pose.noise) + clouds(width, height, 3, rng) * np.float32(pose.noise * 0.5)


def draw_frontal(
    chest: Chest, pose: Pose, findings: Sequence[Finding], shape_rng: np.random.Generator, film_rng: np.random.Generator
) -> Pixels:
    """Return a frontal radiograph, float32 [height, width] in 0..1; the patient's right is image left."""
    scene = _scene(anatomy.shaped(chest, findings), pose, shape_rng)
    image = _film(scene, pose, film_rng)
    return _grain(image, pose, film_rng)
