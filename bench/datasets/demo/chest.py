"""A patient's anatomy, how it stands in one image, and how findings change its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bench.datasets.demo.canvas import Canvas, Points, mirror, smooth
from bench.datasets.demo.findings import Finding


@dataclass(frozen=True)
class Chest:
    """Shape of one patient, in chest coordinates; side-wise pairs are (image left, image right)."""

    breadth: float
    """Half-width of the lungs about v = 0.5."""
    apex: float
    """v of the lung apices."""
    domes: tuple[float, float]
    """v of the tops of the diaphragm."""
    angle: float
    """v of the costophrenic angles."""
    flatness: float
    """0: rounded domes, 1: flat ones."""
    wall: float
    """Thickness of the chest wall (habitus)."""
    heart: float
    """Width of the heart as a fraction of the thorax (cardiothoracic ratio)."""
    heart_shift: float
    knob: float
    """Radius of the aortic knob."""
    tortuous: float
    """How far the descending aorta swings to the patient's left."""
    curve: float
    """Swing of the spine; positive is convex to image right (the patient's left)."""
    rib_slope: float
    rib_phase: float
    clavicle: float
    """v of the inner ends of the clavicles."""
    bone: float
    """Brightness of bone."""
    breast: float
    """Brightness of breast shadows; 0 where there are none."""
    bubble: float
    """Size of the gastric bubble."""
    markings: float
    """Brightness of the lung vessels."""

    def half(self, v: float) -> float:
        """Return the half-width of the thoracic cage at height v (piecewise linear)."""
        top, knots = self.apex, (0.36, 0.66, 0.82, 0.93, 1.0, 0.98)
        heights = (top, top + 0.17, top + 0.5, 0.0, 0.5, self.angle)
        return self.breadth * float(np.interp(v, heights, knots))

    def spine(self, v: ArrayLike) -> Points:
        """Return u of the spine's midline at height v."""
        return self.curve * np.sin((np.asarray(v, float) + 0.9) * 1.9)


def draw_chest(rng: np.random.Generator, female: bool, age: int) -> Chest:
    """Draw a patient's anatomy."""
    dome = rng.uniform(0.60, 0.76)
    return Chest(
        breadth=rng.uniform(0.92, 1.05),
        apex=rng.uniform(-1.06, -0.94),
        domes=(dome, dome + rng.uniform(0.02, 0.1)),
        angle=rng.uniform(0.95, 1.05),
        flatness=rng.uniform(0.0, 0.25),
        wall=float(np.clip(rng.normal(0.2, 0.07), 0.1, 0.4)),
        heart=float(np.clip(rng.normal(0.44, 0.022), 0.39, 0.485)),
        heart_shift=rng.uniform(-0.03, 0.03),
        knob=rng.uniform(0.09, 0.125) + 0.0004 * (age - 50),
        tortuous=0.0,
        curve=rng.normal(0, 0.012),
        rib_slope=rng.uniform(0.2, 0.34),
        rib_phase=rng.uniform(0, 0.17),
        clavicle=rng.uniform(-0.84, -0.68),
        bone=rng.uniform(0.8, 1.15) - 0.003 * max(age - 60, 0),
        breast=rng.uniform(0.04, 0.13) if female else 0.0,
        bubble=float(rng.choice([0.0, 1.0], p=[0.2, 0.8])) * rng.uniform(0.6, 1.3),
        markings=rng.uniform(0.8, 1.2),
    )


_HEART = {"mild": 0.545, "moderate": 0.605, "severe": 0.68}
_CURVE = {"mild": 0.12, "moderate": 0.22}


def shaped(chest: Chest, findings: Sequence[Finding]) -> Chest:
    """Return the anatomy as changed by findings that change shapes rather than add shadows."""
    for f in findings:
        left, right = chest.domes
        if f.code == "cardiomegaly":
            chest = replace(chest, heart=_HEART[f.severity] + (chest.heart - 0.44) * 0.5)
        elif f.code == "low_lung_volumes":
            chest = replace(chest, domes=(left - 0.27, right - 0.27), angle=chest.angle - 0.14, markings=1.25)
        elif f.code == "hyperinflation":
            chest = replace(
                chest,
                domes=(left + 0.2, right + 0.2),
                angle=chest.angle + 0.07,
                flatness=1.0,
                heart=chest.heart * 0.87,
                markings=chest.markings * 0.65,
            )
        elif f.code == "elevated_hemidiaphragm":
            lift = 0.3
            chest = replace(chest, domes=(left, right - lift) if f.side == "left" else (left - lift, right))
        elif f.code == "aortic_tortuosity":
            chest = replace(chest, tortuous=0.24, knob=chest.knob * 1.35)
        elif f.code == "scoliosis":
            chest = replace(chest, curve=_CURVE[f.severity] * f.sides[0])
    return chest


# ------------------------------------------------------------------ outlines


def lung(chest: Chest, sign: int) -> Points:
    """Return the outline [n, 2] of a lung; sign -1 is image left. Its medial part lies under heart and mediastinum."""
    top, angle = chest.apex, chest.angle
    dome = chest.domes[0 if sign < 0 else 1]
    flat = chest.flatness
    outer = [(-0.21, top + 0.05), (-0.36, top)] + [
        (-chest.half(v), v) for v in (top + 0.17, top + 0.5, -0.05, 0.35, min(0.68, angle - 0.25))
    ]
    low = [
        (-chest.half(angle) * 0.985, angle - 0.02),
        (-chest.breadth * 0.86, dome + (angle - dome) * (0.42 - 0.1 * flat)),
        (-chest.breadth * 0.6, dome + 0.03 + 0.02 * flat),
        (-0.36, dome),
        (-0.12, dome + 0.07),
    ]
    inner = [(-0.08, 0.3), (-0.1, -0.3), (-0.13, top + 0.25)]
    outline = smooth(outer + low + inner)
    return mirror(outline, -sign)


def heart(chest: Chest) -> Points:
    """Return the heart's silhouette with great vessels' roots, [n, 2]."""
    width = chest.heart * 2 * chest.breadth
    right = -0.18 - 0.11 * width
    left = width + right
    dome = max(chest.domes)
    base = dome + 0.12
    rise = 0.42 * (width - 0.85)
    points = [
        (-0.13, -0.36),
        (-0.2, -0.12),
        (right * 0.82, 0.16 - rise * 0.3),
        (right, 0.42 - rise * 0.2),
        (right * 0.8, min(dome, base - 0.1)),
        (0.1, base),
        (left * 0.78, base - 0.02),
        (left, base - 0.2),
        (left * 0.9, 0.38 - rise * 0.55),
        (left * 0.58, 0.1 - rise * 0.5),
        (0.29, -0.04),
        (0.21, -0.2),
        (0.08, -0.36),
    ]
    outline: Points = smooth(points) + np.array([chest.heart_shift, 0.0])
    return outline


def mediastinum(chest: Chest) -> Points:
    """Return the column of vessels above the heart, with the descending aorta where it swings out, [n, 2]."""
    u, t = 0.15, chest.tortuous
    points = [(-u, -1.5), (-u * 1.05, -0.8), (-u * 1.15, -0.4), (-0.17, 0.1), (-0.1, 0.9), (0.14, 0.95)]
    points += [(0.17 + t * 0.9, 0.5), (0.17 + t, 0.15), (0.17 + 0.4 * t, -0.1), (0.14, -0.5), (u, -0.8), (u, -1.5)]
    outline = smooth(points, per=4)
    return outline + np.stack([0.6 * chest.spine(outline[:, 1]), np.zeros(len(outline))], axis=1)


def torso(chest: Chest) -> Points:
    """Return the outline of neck, shoulders, arms' roots and trunk, [n, 2]; it runs out of the frame below."""
    w, b = chest.wall, chest.breadth
    half = [
        (0.28 + 0.3 * w, -2.2),
        (0.3 + 0.35 * w, -1.42),
        (0.5 + 0.4 * w, -1.22),
        (0.95, -1.13 - 0.2 * w),
        (b + 0.3 + 0.3 * w, -1.0),
        (b + 0.42 + 0.5 * w, -0.7),
        (b + 0.3 + 0.8 * w, -0.25),
        (b + 0.05 + w, 0.2),
        (b + 0.03 + w, 0.7),
        (b + 0.05 + 1.05 * w, 1.3),
        (b + 0.05 + 1.1 * w, 2.4),
    ]
    right = np.array(half)
    return smooth(np.concatenate([right, right[::-1] * (-1, 1)]), per=4)


# ------------------------------------------------------------------ one image


@dataclass(frozen=True)
class Pose:
    """How one image was taken."""

    canvas: Canvas
    view: str
    gain: float
    offset: float
    noise: float


def draw_pose(rng: np.random.Generator, view: str, size: int) -> Pose:
    """Draw position and exposure; bedside (AP) images are wider, more tilted and noisier."""
    bedside = view == "AP"
    width, height = (size, round(size * 0.86)) if bedside else (round(size * 0.88), size)
    scale = min(width / 2.5, height / (2.5 if bedside else 2.4)) * rng.uniform(0.93, 1.06)
    tilt = rng.normal(0, 0.035 if bedside else 0.015)
    shift = rng.normal(0, 0.03 if bedside else 0.015, 2) * size
    center = (width / 2 + shift[0], height * (0.54 if bedside else 0.51) + shift[1])
    return Pose(
        canvas=Canvas(width, height, scale, center, tilt),
        view=view,
        gain=rng.uniform(0.88, 1.12),
        offset=rng.normal(0, 0.03),
        noise=rng.uniform(0.008, 0.016) * (1.5 if bedside else 1.0),
    )
