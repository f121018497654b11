"""The annotator ``ratescore-pairs``: the package RaTEScore on pairs of texts, in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from bench.workers.annotator import ModelAnnotator
from bench.workers.options import WorkerOptions
from bench.workers.worker import Weights


class RaTEPairsOptions(WorkerOptions):
    """Options of the annotator ratescore-pairs."""

    ner: str = "Angelakeke/RaTE-NER-Deberta"
    """Model that finds the entities: a folder, or an id of the Hugging Face hub."""
    ner_revision: str | None = None
    """Branch, tag or commit of that repository; None: its main branch."""
    embedder: str = "FremyCompany/BioLORD-2023-C"
    """Model that compares their meanings: a folder, or an id of the Hugging Face hub."""
    embedder_revision: str | None = None
    """Branch, tag or commit of that repository; None: its main branch."""
    matrix: Literal["long", "short"] = "long"
    """Which of the published weights of pairs of types: tuned on whole reports (the package's default) or sentences."""


class RaTEPairs(ModelAnnotator):
    """The package RaTEScore 0.6.0. A text is a pair in JSON, {"candidate": …, "reference": …}.

    An annotation is {"rate": {"score", "candidate": [[entity, type], …], "reference": […]}}.
    """

    Options = RaTEPairsOptions
    options: RaTEPairsOptions
    script: ClassVar[Path] = Path(__file__).with_name("worker.py")

    def weights(self) -> Mapping[str, Weights]:
        """Return both models."""
        o = self.options
        return {
            "ner": Weights(o.ner, o.ner_revision, ("*.json", "*.safetensors", "spm.model")),
            "embedder": Weights(o.embedder, o.embedder_revision, ("*.json", "*.safetensors", "vocab.txt")),
        }
