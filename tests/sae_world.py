"""A small world for SAE-Rad: images whose embedding is written in their file, reports that name their findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.context import RunContext
from bench.contracts import Case, Image
from systems.sae_rad import SAERad
from systems.sae_rad.options import SAERadOptions

ENCODER = f"{Path(__file__).parent / 'vector_encoder.py'}:VectorEncoder"
FINDINGS = (
    "There is a small left pleural effusion.",
    "The heart is moderately enlarged.",
    "A right apical pneumothorax is present.",
    "The lungs are hyperinflated.",
    "A pacemaker projects over the left chest.",
    "There is scoliosis of the thoracic spine.",
)
SAE = {"squared_error": "sum", "expansion": 2, "steps": 600, "batch_size": 64, "lr": 5e-3, "sparsity": 1.0}


@dataclass
class Training:
    cases: Sequence[Case]
    references: dict[str, str]
    fingerprint: str = "training"
    asked: list[str] = field(default_factory=list)


def image_case(folder: Path, name: str, content: str) -> Case:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(content)
    return Case(name, f"patient {name}", (Image(folder / f"{name}.txt", "AP"),), study=f"study {name}")


def world(folder: Path, name: str, n: int, seed: int) -> Training:
    """Images whose embedding is the sum of their findings' axes, and reports that name the findings."""
    rng = np.random.default_rng(seed)
    cases, references = [], {}
    for k in range(n):
        shown = rng.random(6) < 0.3
        shown[rng.integers(6)] = True
        numbers = shown * rng.uniform(0.7, 1.3, 6) + 0.01 * rng.normal(size=6)
        case = image_case(folder, f"{name}{k}", " ".join(f"{x:.6f}" for x in numbers))
        cases.append(case)
        references[case.id] = " ".join(
            ["No rib fracture.", *(s for s, there in zip(FINDINGS, shown, strict=True) if there)]
        )
    return Training(cases, references)


def build(folder: Path, work: str = "work", **options: Any) -> SAERad:
    context = RunContext(workdir=folder / work, cache_root=folder / "cache")
    options = {"encoder": ENCODER, "sae": SAE, "describe": {"sentences": 1}, **options}
    return SAERad(SAERadOptions.model_validate(options), context)
