"""Controls of SAE-Rad: the same pipeline with one part of it taken away, as systems of their own.

Where a control scores as well as `sae-rad`, the part it lacks did not earn the score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.contracts import Case, Embeddings, Evidence, PlanLine, TrainingSet
from bench.errors import BenchError
from systems.sae_rad import compute
from systems.sae_rad.options import SAERadOptions
from systems.sae_rad.system import Important, SAERad, need_torch

if TYPE_CHECKING:
    from systems.sae_rad.dictionary import Dictionary


class NoFeaturesOptions(SAERadOptions):
    """Options of sae-rad-no-features."""

    @model_validator(mode="after")
    def _something_is_told(self) -> Self:
        if self.compose.by != "llm" or not self.compose.context:
            raise ValueError(
                "without features a report can only be written by a language model from the indication or earlier "
                "reports: set compose.by: llm and compose.context: [indication, priors]"
            )
        return self


class NoFeatures(SAERad):
    """Control: the language model writes from indication and earlier reports alone, told no feature of the image.

    What it scores is what SAE-Rad's language model knows without seeing anything.
    """

    Options: ClassVar[type[SAERadOptions]] = NoFeaturesOptions
    options: NoFeaturesOptions

    def prepare(self, train: TrainingSet) -> None:
        """Learn nothing."""
        self._train = train

    def plan(self, train: TrainingSet, cases: Sequence[Case]) -> Sequence[PlanLine]:  # noqa: ARG002
        """Return the reports to compose: all else is left out."""
        from systems.sae_rad import planning

        return planning.composing(self, [self.draft(case, []) for case in cases])

    def generate(self, cases: Sequence[Case]) -> Any:
        """Yield one report a case; no image is looked at."""
        for start in range(0, len(cases), self.cases_at_once):
            part = cases[start : start + self.cases_at_once]
            yield from self._block(part, [[]] * len(part))

    def _composed(self, features: Important) -> bool:  # noqa: ARG002
        return True

    def _notes(self, case: Case) -> Sequence[Evidence]:  # noqa: ARG002
        told = " and ".join(
            {"indication": "indication", "priors": "earlier reports"}[c] for c in self.options.compose.context
        )
        return (Evidence("note", "no features", None, f"Composed from {told} alone."),)

    def facts(self) -> Mapping[str, float]:
        """Return nothing: there is no autoencoder."""
        return {}


class OtherImage(SAERad):
    """Control: each report is composed from the features of another patient's training image, drawn with the seed.

    The features, their number and their descriptions are as real as SAE-Rad's; they are only of the wrong image.
    """

    def features_of(self, case: Case, features: NDArray[np.int32], activations: NDArray[np.float32]) -> Important:  # noqa: ARG002
        """Return the features of the image drawn for the case: the same alone and in any batch."""
        return self.important(*self.train_active.row(self._other(case)))

    def _other(self, case: Case) -> int:
        """Return the row of a training image of another patient."""
        if all(other.group == case.group for other in self.train_cases):
            raise BenchError(f"sae-rad-other-image: all training images are of the patient of case {case.id!r}")
        seed = hashlib.sha256(f"{self._context.seed}/{case.id}".encode()).digest()
        draws = np.random.default_rng(int.from_bytes(seed[:16], "big"))
        while True:
            row = int(draws.integers(len(self.train_cases)))
            if self.train_cases[row].group != case.group:
                return row

    def _notes(self, case: Case) -> Sequence[Evidence]:
        other = self.train_cases[self._other(case)]
        return (Evidence("note", "other image", None, f"Composed from the features of the training image {other.id}."),)


class FixedOptions(SAERadOptions):
    """Options of controls whose features are not learnt."""

    active: int = Field(15, ge=1)
    """Features kept an image, the largest: as many as a trained SAE has active (its L0), since these are not sparse by
    themselves."""


class _Fixed(SAERad):
    """A control whose features are fixed before any training."""

    Options: ClassVar[type[SAERadOptions]] = FixedOptions
    options: FixedOptions

    def _identity(self, train: TrainingSet) -> list[Any]:
        return [type(self).__name__, self.options.active, *super()._identity(train)]

    def _learnt(self, folder: Path) -> bool:  # noqa: ARG002
        return True

    def _plan_features(self, train: TrainingSet) -> list[PlanLine]:  # noqa: ARG002
        return []

    def _feature_facts(self) -> Mapping[str, float]:
        alive = int((self.top.counts > 0).sum())
        total = float(self.top.counts.sum())
        return {
            "features": float(self.dictionary.m),
            "n": float(self._z.shape[1]),
            "n_train": float(len(self._z)),
            "L0": total / len(self._z),
            "dead_features": float(self.dictionary.m - alive),
            **compute.UNTRAINED,
            **self._encoding_facts(self._reading()),
        }

    def measured(self) -> Mapping[str, float | str]:
        """Return that training takes no time."""
        return {"train_seconds": 0.0}

    def _reading(self) -> float:
        """Return the operations of reading an image's features off its embedding."""
        return compute.product(1, self._z.shape[1], self.dictionary.m)


class UntrainedSAE(_Fixed):
    """Control: the autoencoder before its first step, its largest features kept; all else as in SAE-Rad."""

    def _learn(self, z: Embeddings, folder: Path) -> Dictionary:  # noqa: ARG002
        need_torch()
        from systems.sae_rad.dictionary import untrained
        from systems.sae_rad.train import survey_rows

        n = z.shape[1]
        m = self.options.sae.expansion * n
        return untrained(n, m, survey_rows(z).scale, self.options.active, self._context.seed)


class RawNeurons(_Fixed):
    """Control: the encoder's own dimensions in the place of features, the largest deviations kept; all else as always.

    Each dimension counts as two features, above and below its mean over the training images.
    """

    def most_features(self) -> int:
        """Return two features a dimension."""
        return 2 * self.encoder_dim()

    def _reading(self) -> float:
        """Return nothing: no product is needed."""
        return 0.0

    def _learn(self, z: Embeddings, folder: Path) -> Dictionary:  # noqa: ARG002
        need_torch()
        from systems.sae_rad.dictionary import Neurons

        return Neurons.of(z, self.options.active)


class UntrainedEncoderOptions(SAERadOptions):
    """Options of sae-rad-untrained-encoder."""

    encoder: str = "untrained"
    """An encoder of random weights; the autoencoder is trained on its embeddings."""


class UntrainedEncoder(SAERad):
    """Control: SAE-Rad on an image encoder of random weights, the autoencoder trained as always."""

    Options: ClassVar[type[SAERadOptions]] = UntrainedEncoderOptions
    options: UntrainedEncoderOptions
