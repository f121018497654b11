"""Options of BERTScore, and what is known of the usual models: the layer that is read, and the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pydantic import Field, model_validator

from bench.options import Options

Baseline = tuple[float, float, float]
"""Precision, recall and F of unrelated sentences: what counts as 0 once rescaled."""


@dataclass(frozen=True, slots=True)
class Known:
    """What bert-score 0.3.13 says of a model."""

    layer: int
    """The layer whose vectors agree best with people on WMT16 (its table `model2layers`)."""
    baseline: Baseline
    """Row of that layer in its rescale_baseline/en/<model>.tsv."""


KNOWN = {
    "distilroberta-base": Known(5, (0.84732, 0.84759504, 0.8473319)),
    "distilbert-base-uncased": Known(5, (0.6666034, 0.66660464, 0.66620487)),
    "roberta-base": Known(10, (0.8146725, 0.8146619, 0.814463)),
    "roberta-large": Known(17, (0.83150584, 0.8314941, 0.83122575)),
    "bert-base-uncased": Known(9, (0.35375935, 0.3537393, 0.35219112)),
}
"""Source: https://github.com/Tiiiger/bert_score, release 0.3.13."""


class BERTScoreOptions(Options):
    """Options of `BERTScore`; the defaults are those of CXR-Report-Metric, and so of ReXrank."""

    model: str = Field("distilroberta-base", min_length=1)
    """Id on the Hugging Face hub, or a folder with config.json, a tokeniser and model.safetensors. A model of BERT's,
    RoBERTa's or DistilBERT's kind."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; by default the one in the local cache, else the newest."""
    layer: int | None = Field(None, ge=0)
    """Layer whose vectors are compared, 0 for the embeddings; by default bert-score's choice for the model's name."""
    rescale: bool = True
    """Rescale so that unrelated sentences get about 0: (x - baseline) / (1 - baseline). Scores can be negative then."""
    baseline: Baseline | None = None
    """Precision, recall and F of unrelated sentences; by default bert-score's for the model's name and layer."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens a forward pass, padding included; by default 2,048 on a CPU and 32,768 elsewhere. Moves no score."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the model; in half precision scores move in the third decimal."""

    @model_validator(mode="after")
    def _layer_and_baseline_are_known(self) -> BERTScoreOptions:
        known = KNOWN.get(self.name)
        if self.layer is None and known is None:
            raise ValueError(f"which layer of {self.name}? It is known for {', '.join(KNOWN)} only: give layer")
        if self.baseline is not None and not self.rescale:
            raise ValueError("baseline has no meaning with rescale: false")
        if self.baseline is not None and max(self.baseline) >= 1:
            raise ValueError(f"baseline {list(self.baseline)}: three numbers below 1")
        if self.rescale and self.baseline is None and (known is None or self.layer not in (None, known.layer)):
            raise ValueError(
                f"no baseline is known for layer {self.layer} of {self.name}: give baseline: [P, R, F] (bert-score's "
                "are in its folder rescale_baseline), or rescale: false"
            )
        return self

    @property
    def name(self) -> str:
        """The model's name without owner or folder."""
        return PurePath(self.model).name

    @property
    def chosen_layer(self) -> int:
        """The layer that is read, the default filled in."""
        return KNOWN[self.name].layer if self.layer is None else self.layer

    @property
    def chosen_baseline(self) -> Baseline | None:
        """The baseline, the default filled in; None where scores are not rescaled."""
        if not self.rescale:
            return None
        return KNOWN[self.name].baseline if self.baseline is None else self.baseline
