"""What each finding adds to, or takes from, the picture of the chest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bench.datasets.demo import chest as anatomy
from bench.datasets.demo.canvas import Canvas, Line, Pixels, Points, clouds, ellipse, mirror, smooth
from bench.datasets.demo.drawing import Scene, back_ribs
from bench.datasets.demo.findings import Finding

Brush = Callable[[Scene, Finding, np.random.Generator], None]

MM = 140.0
"""Millimetres to a unit of chest coordinates: half the breadth of a thorax."""
_CARINA = -0.3

_ZONE = {"upper": -0.55, "mid": -0.02, "lower": 0.45}


def _patchy(canvas: Canvas, rng: np.random.Generator) -> Pixels:
    """Return patchy texture about 0.86, as of air left in an opacity."""
    texture: Pixels = np.clip(np.float32(0.86) + np.float32(0.13) * clouds(canvas.width, canvas.height, 7, rng), 0, 1)
    return texture


# ------------------------------------------------------------------ pleura

_LEVELS = {"small": (0.6, 0.93), "moderate": (0.2, 0.58), "large": (-0.35, 0.02)}
"""v of an effusion's meniscus at the chest wall and at the mediastinum."""


def effusion(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Fill the base with fluid up to a meniscus that climbs along the chest wall."""
    chest = scene.chest
    shift = min(chest.angle - 1.0, 0.0) + rng.uniform(-0.05, 0.05)
    outlines = []
    for sign in finding.sides:
        dome = chest.domes[0 if sign < 0 else 1]
        raised = min(dome - 0.7, 0.0) * 0.8
        wall, middle = (level + shift + raised for level in _LEVELS[finding.severity])
        u = np.linspace(0, 1.15, 12)
        surface = np.stack([u, middle - (middle - wall) * np.clip(u / chest.breadth, 0, 1) ** 3], axis=1)
        outlines.append(mirror(np.concatenate([surface, [(1.15, 1.5), (0.0, 1.5)]]), sign))
    scene.opacify(scene.canvas.ink(outlines, blur=2.6) * np.float32(0.93))


_GAP = {"small": 0.1, "moderate": 0.24, "large": 0.46}
"""Share of the lung's breadth that has come off the chest wall."""


def pneumothorax(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Pull the lung off the chest wall: a fine pleural line, no vessels beyond it, darker there."""
    gap = _GAP[finding.severity] * rng.uniform(0.9, 1.15)
    for sign in finding.sides:
        outline = anatomy.lung(scene.chest, sign)
        hilum = np.array([0.12 * sign, scene.chest.domes[0 if sign < 0 else 1] - 0.15])
        inner = hilum + (outline - hilum) * (1 - gap, 1 - 0.75 * gap)
        kept = scene.canvas.ink([inner], blur=0.8)
        side = np.clip(scene.canvas.x * (sign * 30), 0, 1)
        beyond = side * scene.lungs * (1 - kept)
        scene.markings *= 1 - beyond
        scene.air *= 1 + np.float32(0.13) * beyond - np.float32(0.12 + 0.4 * gap) * side * kept
        scene.add(0.2, scene.canvas.ink(lines=[(_outer_part(inner, sign, scene), 0.01, 1.0)], blur=0.5))


def _outer_part(outline: Points, sign: int, scene: Scene) -> Points:
    """Return the apical and lateral stretch of a lung's outline, above the diaphragm."""
    lateral = (outline[:, 0] * sign > 0.2) & (outline[:, 1] < scene.chest.domes[0 if sign < 0 else 1] - 0.05)
    last = int(np.flatnonzero(lateral[:40]).max())
    return outline[: last + 1]


# ------------------------------------------------------------------ lungs


def consolidation(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Cloud one zone with a dense, patchy, ill-defined opacity."""
    spots = []
    for sign in finding.sides:
        v = _ZONE[finding.zone] + rng.uniform(-0.06, 0.06)
        u = scene.chest.half(v) * rng.uniform(0.52, 0.62)
        for du, dv in rng.normal(0, (0.14, 0.11), (10, 2)):
            spots.append(ellipse((u + du) * sign, v + dv, rng.uniform(0.09, 0.19), rng.uniform(0.07, 0.14)))
    share = scene.canvas.ink(spots, blur=0.07 * scene.canvas.scale)
    scene.opacify(share * _patchy(scene.canvas, rng) * np.float32(0.92))


def atelectasis(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Draw plate-like bands (linear) or a hazy wedge (patchy) above the diaphragm."""
    linear: list[Line] = []
    spots = []
    for sign in finding.sides:
        dome = scene.chest.domes[0 if sign < 0 else 1]
        for _ in range(3):
            u, v = rng.uniform(0.3, 0.5), dome - rng.uniform(0.1, 0.3)
            end = (u + rng.uniform(0.25, 0.4), v + rng.uniform(-0.08, 0.12))
            linear.append((mirror(np.array([(u, v), end]), sign), 0.026, 1.0))
        for u in (0.34, 0.5, 0.66):
            spots.append(ellipse(u * sign, dome + rng.uniform(-0.12, 0.0), 0.15, rng.uniform(0.08, 0.13)))
    if finding.severity == "linear":
        scene.opacify(scene.canvas.ink(lines=linear, blur=0.9) * np.float32(0.75))
    else:
        blot = scene.canvas.ink(spots, blur=0.05 * scene.canvas.scale)
        scene.opacify(blot * _patchy(scene.canvas, rng) * np.float32(0.85))


_FLUID = {"mild": 0.25, "moderate": 0.48, "severe": 0.72}


def edema(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Haze the lungs about the hila, thicken the vessels, and rule Kerley B lines at the bases."""
    canvas, amount = scene.canvas, _FLUID[finding.severity]
    about = canvas.bump(-0.35, 0.1, 0.45, 0.58) + canvas.bump(0.35, 0.1, 0.45, 0.58)
    texture = np.float32(1) + np.float32(0.22) * clouds(canvas.width, canvas.height, 7, rng)
    scene.opacify((about * np.float32(0.8) + np.float32(0.15)) * texture * np.float32(amount))
    scene.markings *= np.float32(1.35 + 0.5 * amount)
    lines: list[Line] = []
    for sign in (-1, 1):
        for v in np.arange(0.25, 0.72, 0.05) + rng.normal(0, 0.01):
            edge = scene.chest.half(v) * 0.98
            lines.append((np.array([(edge * sign, v), ((edge - 0.13) * sign, v - 0.01)]), 0.009, 1.0))
    scene.add(0.05 + 0.12 * amount, canvas.ink(lines=lines, blur=0.5) * scene.lungs)


def _spot(scene: Scene, finding: Finding, rng: np.random.Generator) -> tuple[float, float]:
    v = _ZONE[finding.zone] + rng.uniform(-0.12, 0.12)
    return scene.chest.half(v) * rng.uniform(0.5, 0.75) * finding.sides[0], v


def nodule(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Set a small round density into the lung."""
    u, v = _spot(scene, finding, rng)
    radius = finding.size / 2 / MM
    scene.opacify(scene.canvas.ink([ellipse(u, v, radius, radius)], blur=0.9) * np.float32(0.6))


def mass(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Set a large lobulated density into the lung."""
    u, v = _spot(scene, finding, rng)
    radius = finding.size / 2 / MM
    lobes = [ellipse(u, v, radius, radius * rng.uniform(0.8, 1.0))]
    for angle in rng.uniform(0, 2 * np.pi, 4):
        lobes.append(
            ellipse(u + 0.5 * radius * np.cos(angle), v + 0.5 * radius * np.sin(angle), 0.65 * radius, 0.6 * radius)
        )
    scene.opacify(scene.canvas.ink(lobes, blur=1.6) * np.float32(0.8))


# ------------------------------------------------------------------ bones and vessels


def rib_fracture(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Break two neighbouring ribs at the side: a dark cleft, a step and some thickening."""
    sign, first = finding.sides[0], int(rng.integers(3, 7))
    gaps: list[Line] = []
    steps: list[Line] = []
    for rib in back_ribs(scene.chest, sign)[first : first + 2]:
        at = int(len(rib) * 0.72)
        here, along = rib[at], rib[at + 1] - rib[at - 1]
        across = along[::-1] * (-1, 1) / np.hypot(*along)
        gaps.append((np.stack([here - across * 0.05, here + across * 0.05]), 0.026, 1.0))
        steps.append((rib[at : at + 4] + across * 0.045, 0.05, 1.0))
    scene.add(-0.16, scene.canvas.ink(lines=gaps, blur=0.5))
    scene.add(0.13, scene.canvas.ink(lines=steps, blur=0.7))


def aortic_calcification(scene: Scene, _finding: Finding, rng: np.random.Generator) -> None:
    """Rim the aortic knob with lime."""
    knob = scene.chest.knob
    rim = ellipse(0.17 + knob * 0.25, -0.36, knob * 0.9, knob * 1.15, n=40)
    arc = np.roll(rim, 12, axis=0)[: int(rng.integers(18, 24))]
    scene.add(0.3, scene.canvas.ink(lines=[(arc, 0.02, 1.0)], blur=0.6))


# ------------------------------------------------------------------ devices


def _wire(scene: Scene, path: Sequence[tuple[float, float]] | Points, width: float, brightness: float) -> None:
    curve = smooth(path, closed=False, per=8)
    scene.add(brightness, scene.canvas.ink(lines=[(curve, width, 1.0)], blur=0.45))


def pacemaker(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Place a generator below the clavicle with leads to right atrium and ventricle."""
    sign, v = finding.sides[0], -0.52 + rng.uniform(-0.08, 0.08)
    u = 0.78 * sign
    can = [ellipse(u, v, 0.14, 0.12, n=16), ellipse(u, v - 0.1, 0.08, 0.06, n=12)]
    scene.add(0.55, scene.canvas.ink(can, blur=0.6))
    heart_left = scene.chest.heart * 1.4 * scene.chest.breadth
    into = [(u - 0.08 * sign, v - 0.12), (0.55 * sign, -0.78), (0.22 * sign, -0.72), (-0.12, -0.5), (-0.15, 0.0)]
    _wire(scene, [*into, (-0.16, 0.3), (-0.1, 0.36)], 0.018, 0.4)
    tip = (min(heart_left - 0.2, 0.5), 0.62)
    _wire(scene, [*into, (-0.1, 0.4), (0.08, 0.6), tip], 0.018, 0.4)


def sternotomy(scene: Scene, _finding: Finding, rng: np.random.Generator) -> None:
    """Tie the breastbone with a row of wires on the midline."""
    loops: list[Line] = []
    for v in np.linspace(-0.55, 0.42, 6) + rng.normal(0, 0.012, 6):
        u = rng.normal(0, 0.012)
        loops.append((ellipse(u, v, 0.045, 0.024, rng.normal(0, 0.25), n=14), 0.013, 1.0))
        loops.append((np.array([(u + 0.03, v), (u + 0.065, v + 0.03)]), 0.013, 1.0))
    scene.add(0.42, scene.canvas.ink(lines=loops, blur=0.4))


def central_line(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Run a catheter from the jugular vein to the superior vena cava."""
    sign, tip = finding.sides[0], rng.uniform(-0.1, 0.1)
    neck = [(0.26 * sign, -1.7), (0.22 * sign, -1.2), (0.2 * sign, -0.85)]
    cross = [] if sign < 0 else [(0.05, -0.62)]
    _wire(scene, [*neck, *cross, (-0.15, -0.45), (-0.16, tip)], 0.02, 0.3)


def picc(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Run a thin catheter from the arm through the axilla to the superior vena cava."""
    sign, tip = finding.sides[0], rng.uniform(-0.02, 0.15)
    arm = [(1.5 * sign, -0.1), (1.2 * sign, -0.5), (0.85 * sign, -0.74), (0.5 * sign, -0.82), (0.2 * sign, -0.72)]
    cross = [(-0.1, -0.52)] if sign > 0 else []
    _wire(scene, [*arm, *cross, (-0.15, -0.35), (-0.155, tip)], 0.014, 0.3)


def endotracheal_tube(scene: Scene, finding: Finding, _rng: np.random.Generator) -> None:
    """Lay a tube with a dense stripe into the trachea, its tip so far above the carina as the finding says."""
    tip = _CARINA - finding.size / MM
    u = float(scene.chest.spine(-0.8)) * 0.5
    path = smooth([(u + 0.01, -1.8), (u + 0.005, -1.1), (u, tip)], closed=False, per=8)
    scene.add(0.1, scene.canvas.ink(lines=[(path, 0.06, 1.0)], blur=0.5))
    scene.add(0.38, scene.canvas.ink(lines=[(path + np.array([0.02, 0.0]), 0.015, 1.0)], blur=0.4))


def nasogastric_tube(scene: Scene, _finding: Finding, rng: np.random.Generator) -> None:
    """Lead a tube down the oesophagus and round into the stomach."""
    dome = scene.chest.domes[1]
    path = [(-0.03, -1.8), (-0.035, -0.9), (0.03, -0.2), (0.06, 0.4), (0.13, dome), (0.32, dome + 0.2)]
    _wire(scene, [*path, (0.52, dome + 0.22 + rng.uniform(0, 0.1))], 0.022, 0.34)


def chest_tube(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Pass a wide drain through the chest wall towards apex or base."""
    for sign in finding.sides[:1]:
        high = rng.random() < 0.6
        top = [(0.5, -0.35), (0.42, -0.72)] if high else [(0.62, 0.5), (0.4, 0.35)]
        path = mirror(np.array([(1.4, 0.75), (1.05, 0.5), (0.8, 0.2 if high else 0.5), *top]), sign)
        curve = smooth(path, closed=False, per=8)
        scene.add(0.13, scene.canvas.ink(lines=[(curve, 0.066, 1.0)], blur=0.5))
        scene.add(0.36, scene.canvas.ink(lines=[(curve, 0.016, 1.0)], blur=0.4))


def low_lung_volumes(scene: Scene, _finding: Finding, _rng: np.random.Generator) -> None:
    """Crowd the vessels: lungs that hold less air are brighter."""
    scene.air *= np.float32(0.84)


def hyperinflation(scene: Scene, _finding: Finding, _rng: np.random.Generator) -> None:
    """Darken the upper lungs, which have lost tissue."""
    scene.air *= np.float32(1.12) + np.float32(0.06) * np.clip(-scene.canvas.y, 0, 1)


BRUSHES: Mapping[str, Brush] = {
    brush.__name__: brush
    for brush in (
        low_lung_volumes,
        hyperinflation,
        edema,
        consolidation,
        atelectasis,
        nodule,
        mass,
        pneumothorax,
        effusion,
        rib_fracture,
        aortic_calcification,
        pacemaker,
        sternotomy,
        central_line,
        picc,
        chest_tube,
        endotracheal_tube,
        nasogastric_tube,
    )
}
"""Finding → brush, in painting order; findings that only change the anatomy's shape have none."""


def cast(scene: Scene, findings: Sequence[Finding], streams: Callable[[str], np.random.Generator]) -> None:
    """Paint the shadows of findings; `streams` gives each code its own random stream."""
    by_code = {finding.code: finding for finding in findings}
    for code, brush in BRUSHES.items():
        if code in by_code:
            brush(scene, by_code[code], streams(code))
