"""MAIRA-2: a published system in an environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.workers.options import ModelOptions
from bench.workers.system import WorkerSystem


class MAIRA2Options(ModelOptions):
    """What MAIRA-2 is shown, and how it generates. The defaults are its model card's usage with all that a case has."""

    model: str = "microsoft/maira-2"
    """Folder of the weights, or an id of the Hugging Face hub (gated: accept the terms on its page)."""
    grounding: bool = False
    """Ask for a sentence a finding, with boxes; the report is the plain sentences, the boxes are notes beside it."""
    lateral: bool = True
    """Show the study's first lateral image."""
    prior: bool = True
    """Show the earlier study's frontal image and report; without such an image the model takes no earlier report."""
    prior_report: Literal["whole", "findings", "none"] = "whole"
    """What of the earlier report is shown beside its image; the model card says "prior report" and no more."""
    indication: bool = True
    """Show the indication."""
    technique: bool = True
    """Show the technique."""
    comparison: bool = True
    """Show the comparison section."""
    max_new_tokens: int | None = Field(None, ge=1)
    """New tokens at most; None: the card's 300, with grounding 450."""
    num_beams: int = Field(1, ge=1)
    """Beams of the search; 1 is greedy, as published."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of weights and arithmetic: float32 as published (about 34 GB), or half of that in 16 bits."""


class MAIRA2(WorkerSystem):
    """MAIRA-2 (Bannur et al. 2024; gated): frontal, lateral and earlier image, indication and more, to findings."""

    Options = MAIRA2Options
    script = Path(__file__).with_name("worker.py")
    files = ("*.json", "*.py", "*.safetensors", "tokenizer.model")
    remote_code = True
    gated = True
