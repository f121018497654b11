"""The small baseline of CheXpert Plus: a vision encoder and a BERT decoder, in an environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from bench.workers.options import ModelOptions
from bench.workers.system import WorkerSystem


class CheXpertMimicBaselineOptions(ModelOptions):
    """Options of the system chexpert-mimic-baseline."""

    model: str = "IAMJB/chexpert-mimic-cxr-findings-baseline"
    """Folder of the weights, or an id of the Hugging Face hub. IAMJB/mimic-cxr-findings-baseline and
    IAMJB/chexpert-findings-baseline, trained on one of the two datasets, work likewise."""
    num_beams: int = Field(2, ge=1)
    """Beams. The published snippet's `beam_width=2` is not a setting of transformers, so the snippet itself decodes
    greedily: 1 gives its reports. The authors' own evaluation code searches with as many beams as `beam_width` says."""
    max_length: int = Field(128, ge=2)
    """Tokens a report at most, the start token counted."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of weights and images; the published weights are float32."""


class CheXpertMimicBaseline(WorkerSystem):
    """CheXpert Plus' baseline on CheXpert and MIMIC-CXR (61 M parameters, frontal image alone; MIT licence)."""

    Options = CheXpertMimicBaselineOptions
    script: ClassVar[Path] = Path(__file__).with_name("worker.py")
    files: ClassVar[tuple[str, ...]] = ("*.json", "*.safetensors", "vocab.txt")
