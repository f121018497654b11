"""A sae-rad whose features are planted: feature k is active exactly where finding k is on the image.

`PlantedData` has the images (files of numbers, read by vector_encoder.py) and reports that name their findings;
`PlantedSAE` is SAE-Rad in all but its dictionary. So every description has a known truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Case, Count, Embeddings, Floats, Image, Problem
from bench.options import Options
from systems.sae_rad import SAERad

ENCODER = f"{Path(__file__).parent / 'vector_encoder.py'}:VectorEncoder"
FINDINGS = (
    "There is a small left pleural effusion.",
    "The heart is moderately enlarged.",
    "A right apical pneumothorax is present.",
    "The lungs are hyperinflated.",
    "A pacemaker projects over the left chest.",
    "There is scoliosis of the thoracic spine.",
)
COMMON = "No rib fracture is seen."


class PlantedOptions(Options):
    n: int = 60
    credentialed: bool = False


class PlantedData:
    """Splits train, test and empty; a report says COMMON and then what is there."""

    Options = PlantedOptions

    def __init__(self, options: PlantedOptions, context: Any) -> None:
        self.options, self.credentialed = options, options.credentialed
        self._folder: Path = context.cache("planted", f"n{options.n}")

    def fingerprint(self) -> str:
        return f"planted-{self.options.n}"

    def splits(self) -> Sequence[str]:
        return ("train", "test", "empty")

    def _shown(self, split: str) -> np.ndarray:
        rng = np.random.default_rng(["train", "test", "empty"].index(split))
        shown = rng.random((self.options.n, 6)) < 0.35
        shown[np.arange(self.options.n), rng.integers(6, size=self.options.n)] = True
        return (shown if split != "empty" else shown[:4] & False) * rng.uniform(0.7, 1.3, (1, 6))

    def cases(self, split: str) -> Sequence[Case]:
        found = []
        for k, numbers in enumerate(self._shown(split)):
            path = self._folder / f"{split}{k}.txt"
            if not path.exists():  # written anew it would be another image to the store of embeddings
                path.write_text("broken" if split == "test" and k == 3 else " ".join(f"{x:.6f}" for x in numbers))
            case = Case(f"{split}{k}", f"{split} patient {k // 2}", (Image(path, "PA"),), study=f"{split} study {k}")
            found.append(case)
        return found

    def references(self, split: str) -> Mapping[str, str]:
        return {
            f"{split}{k}": " ".join([COMMON, *(s for s, there in zip(FINDINGS, numbers, strict=True) if there)])
            for k, numbers in enumerate(self._shown(split))
        }

    def problems(self) -> Sequence[Problem]:
        return []

    def census(self) -> Sequence[Count]:
        return []


class PlantedDictionary:
    """Feature k is dimension k where it is above a half; two more features are never active."""

    m = 8

    def encode(self, z: Embeddings) -> Any:
        from systems.sae_rad.trained import Active

        rows, features = np.nonzero(z > 0.5)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(z)))])
        return Active(indptr.astype(np.int64), features.astype(np.int32), z[rows, features].astype(np.float32))

    def directions(self, features: Sequence[int]) -> Floats:
        return np.eye(self.m, 6)[list(features)]


class PlantedSAE(SAERad):
    """SAE-Rad on planted features."""

    def _learn(self, z: Embeddings, folder: Path) -> Any:
        return PlantedDictionary()

    def _learnt(self, folder: Path) -> bool:
        return True


DATA, SYSTEM = (f"{Path(__file__)}:{name}" for name in ("PlantedData", "PlantedSAE"))
CONFIG = f"""
dataset: {{use: "{DATA}", split: test}}
systems:
  planted:
    use: "{SYSTEM}"
    encoder: "{ENCODER}"
    describe: {{sentences: 1}}
metrics: {{bleu-4: {{}}}}
run: {{bootstrap: 200}}
"""
