"""MedGemma (Google), in an environment of its own."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bench.workers.options import ModelOptions
from bench.workers.system import WorkerSystem

FIELDS = ("indication", "technique", "comparison", "prior_report", "prior_findings")
"""What a piece of context may name."""

COMPLETION = {"style": "completion", "prompt": "findings:", "images_at": "start", "max_new_tokens": 300}
CHAT = {"style": "chat", "prompt": "Describe this X-ray", "images_at": "end", "max_new_tokens": 300}
THINKING = {**CHAT, "images_at": "start", "max_new_tokens": 2000}
USUAL: Mapping[str, Mapping[str, Any]] = {"medgemma-1.5": THINKING, "-pt": COMPLETION, "-it": CHAT}
"""What a model's name holds → options that are not given."""


class MedGemmaOptions(ModelOptions):
    """Options of the system medgemma. Where style, prompt, images_at and max_new_tokens are not given, they are what
    the published usage of the named model is, told by "medgemma-1.5", "-pt" or "-it" in its name.
    """

    model: str = "google/medgemma-4b-pt"
    """Folder of the weights, or an id of the Hugging Face hub: google/medgemma-4b-pt, -4b-it or -1.5-4b-it."""
    style: Literal["completion", "chat"] = "completion"
    """"completion" goes on with a text that begins with the image, "chat" answers a message."""
    system: str = "You are an expert radiologist."
    """System message of a chat; "": none."""
    prompt: str = "findings:"
    """What comes last in the text to complete, or is asked in the chat."""
    context: tuple[str, ...] = ()
    """Pieces said before the prompt, such as "indication: {indication}"; {technique}, {comparison}, {prior_report} and
    {prior_findings} (of the latest earlier report) are there too. A piece that names what a case lacks is left out."""
    images: tuple[Literal["lateral", "prior"], ...] = ()
    """Images shown beside the frontal one, where a case has them: an earlier study's frontal goes before it, the
    lateral after it."""
    images_at: Literal["start", "end"] = "start"
    """Whether images go before or after the words of a chat message."""
    findings_only: bool = True
    """Leave out a heading "findings:" and everything from "impression:" on; what was left out is kept as a note."""
    max_new_tokens: int = Field(300, ge=1)
    """Tokens an answer at most, thinking included; a report that was stopped there says so in a note."""
    pad_to_square: bool = False
    """Pad images to squares, as the notebooks on comparing radiographs do, where the processor would stretch them."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of weights and images."""

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        model = str(given.get("model", cls.model_fields["model"].default))
        told = [usual for part, usual in USUAL.items() if part in Path(model).name.lower()]
        if not told and (style := given.get("style")) in ("chat", "completion"):
            told = [CHAT if style == "chat" else COMPLETION]
        if not told:
            raise ValueError(
                f"the name {Path(model).name!r} does not tell what kind of model it is (medgemma-1.5, -pt, -it): "
                "set style to chat or to completion"
            )
        usual = told[0]
        if given.get("style", usual["style"]) != usual["style"]:
            usual = {**(CHAT if given["style"] == "chat" else COMPLETION), "max_new_tokens": usual["max_new_tokens"]}
        return {**usual, **given}

    @field_validator("context")
    @classmethod
    def _known(cls, pieces: tuple[str, ...]) -> tuple[str, ...]:
        for piece in pieces:
            try:
                parts = list(string.Formatter().parse(piece))
            except ValueError as err:
                raise ValueError(f"{piece!r}: {err}") from None
            names = [name for _, name, _, _ in parts if name is not None]
            plain = all(not form and convert is None for _, _, form, convert in parts)
            if not names or not plain or not set(names) <= set(FIELDS):
                raise ValueError(f"{piece!r}: a piece names at least one of " + ", ".join(f"{{{f}}}" for f in FIELDS))
        return pieces


class MedGemma(WorkerSystem):
    """MedGemma 4B, pre-trained or instruction-tuned, 1 and 1.5 (gated: Health AI Developer Foundations terms)."""

    Options = MedGemmaOptions
    script: ClassVar[Path] = Path(__file__).with_name("worker.py")
    files: ClassVar[tuple[str, ...]] = ("*.json", "*.jinja", "*.safetensors", "tokenizer.model")
    gated: ClassVar[bool] = True
