"""The annotator ``green``: what GREEN's own model answers to a question about a pair, in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from bench.workers.annotator import ModelAnnotator
from bench.workers.options import ModelOptions


class GreenAnswersOptions(ModelOptions):
    """Options of the annotator green."""

    model: str = "StanfordAIMI/GREEN-RadLlama2-7b"
    """Folder of the weights, or an id of the Hugging Face hub."""
    batch_size: int = Field(8, ge=1)
    """Questions a batch at most; halved where memory runs out. Padding and rounding may change a word."""
    max_length: int = Field(2048, ge=2)
    """Tokens of question and answer together at most, as published."""
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = "auto"
    """Precision of the weights; auto, as published: float16 on a GPU, float32 on a CPU."""
    empty_turn: bool = True
    """Put an empty answer before the one to be given, as the published package does; its code of mid-2024 did not."""


class GreenAnswers(ModelAnnotator):
    """GREEN-RadLlama2-7b (Llama 2 licence). A text is a whole question; its annotation is {"answer": text}."""

    Options = GreenAnswersOptions
    script: ClassVar[Path] = Path(__file__).with_name("worker.py")
    files: ClassVar[tuple[str, ...]] = ("*.json", "*.safetensors", "tokenizer.model")
    chunk: ClassVar[int] = 64
