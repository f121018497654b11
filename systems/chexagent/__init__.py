"""CheXagent: two published systems, each in an environment of its own (docs/chexagent.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from bench.workers.options import ModelOptions
from bench.workers.system import WorkerSystem
from bench.workers.worker import Weights
from systems.chexagent.chexagent_shared import ANATOMIES, DEFAULTS_2, DEFAULTS_8B, INDICATION_PROMPT

FILES = ("*.json", "*.py", "*.safetensors", "*.txt", "*.model")


class CheXagentOptions(ModelOptions):
    """What CheXagent-8b is asked and shown, and how it generates. Defaults: its published demonstration."""

    model: str = "StanfordAIMI/CheXagent-8b"
    """Folder of the weights, or an id of the Hugging Face hub."""
    mode: Literal["by-anatomy", "findings"] = DEFAULTS_8B["mode"]
    """by-anatomy: one prompt an anatomy, the answers joined in their order; findings: one prompt for all findings."""
    anatomies: tuple[str, ...] = Field(ANATOMIES, min_length=1)
    """What is asked about, in mode by-anatomy."""
    anatomy_prompt: str = DEFAULTS_8B["anatomy_prompt"]
    """The prompt about one of them; {anatomy} is its name."""
    prompt: str = Field(DEFAULTS_8B["prompt"], min_length=1)
    """The prompt of mode findings, where no indication is shown."""
    indication: bool = DEFAULTS_8B["indication"]
    """Show the indication, in mode findings: indication_prompt is then asked in place of prompt."""
    indication_prompt: str = INDICATION_PROMPT
    """The prompt with an indication; {indication} is its text, "None" where a case has none, as in training."""
    lateral: bool = DEFAULTS_8B["lateral"]
    """Show the study's first lateral image beside the frontal one; the model takes two images at most."""
    num_beams: int = Field(DEFAULTS_8B["num_beams"], ge=1)
    """Beams of the search; 1 is greedy. Nothing is ever sampled."""
    max_new_tokens: int = Field(DEFAULTS_8B["max_new_tokens"], ge=1)
    """New tokens an answer at most."""
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = DEFAULTS_8B["dtype"]
    """Of weights and arithmetic; auto: the published one on a GPU, float32 on a CPU."""
    clean: bool = DEFAULTS_8B["clean"]
    """Leave out the [headings] and ** marks of a structured report, as the authors do before they score."""

    @field_validator("anatomies")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() for name in names) or len(set(names)) < len(names):
            raise ValueError("name each anatomy once, and none empty")
        return names

    @field_validator("anatomy_prompt")
    @classmethod
    def _asks_about_one(cls, prompt: str) -> str:
        if "{anatomy}" not in prompt:
            raise ValueError("say where the anatomy goes: {anatomy}")
        return prompt

    @field_validator("indication_prompt")
    @classmethod
    def _tells_it(cls, prompt: str) -> str:
        if "{indication}" not in prompt:
            raise ValueError("say where the indication goes: {indication}")
        return prompt

    @model_validator(mode="after")
    def _shows_what_it_says(self) -> CheXagentOptions:
        if self.indication and self.mode == "by-anatomy" and not type(self).model_fields["indication"].default:
            raise ValueError(
                "no prompt of mode by-anatomy has an indication: set mode to findings, or indication to false"
            )
        return self


class CheXagent2Options(CheXagentOptions):
    """What CheXagent-2-3b is asked and shown, and how it generates. Defaults: its authors' evaluation on CheXbench."""

    model: str = "StanfordAIMI/CheXagent-2-3b"
    """Folder of the weights, or an id of the Hugging Face hub."""
    vision_model: str = "StanfordAIMI/XraySigLIP__vit-l-16-siglip-384__webli"
    """Folder, or id of the hub, of the vision tower that the model's own code loads by that name."""
    vision_model_revision: str | None = None
    """Branch, tag or commit of the tower's repository; None: its main branch. The model brings its values."""
    mode: Literal["by-anatomy", "findings"] = DEFAULTS_2["mode"]
    """findings: one prompt for all findings; by-anatomy: one prompt an anatomy, the answers joined in their order."""
    anatomy_prompt: str = DEFAULTS_2["anatomy_prompt"]
    """The prompt about one anatomy; {anatomy} is its name."""
    prompt: str = Field(DEFAULTS_2["prompt"], min_length=1)
    """The prompt of mode findings, where no indication is shown."""
    indication: bool = DEFAULTS_2["indication"]
    """Show the indication, in mode findings: indication_prompt is then asked in place of prompt."""
    lateral: bool = DEFAULTS_2["lateral"]
    """Show the study's first lateral image beside the frontal one."""
    num_beams: int = Field(DEFAULTS_2["num_beams"], ge=1)
    """Beams of the search; 1 is greedy, as published. Nothing is ever sampled."""
    max_new_tokens: int = Field(DEFAULTS_2["max_new_tokens"], ge=1)
    """New tokens an answer at most."""


class CheXagent(WorkerSystem):
    """CheXagent-8b (Chen et al. 2024; SAE-Rad's paper compares with it): an image, anatomy by anatomy, to findings."""

    Options = CheXagentOptions
    script = Path(__file__).with_name("worker.py")
    files = FILES
    remote_code = True


class CheXagent2(CheXagent):
    """CheXagent-2-3b (Chen et al. 2024): frontal and lateral image and indication to findings."""

    Options = CheXagent2Options
    script = Path(__file__).with_name("worker_2.py")

    def weights(self) -> Mapping[str, Weights]:
        """Return the model and the vision tower that its code loads."""
        assert isinstance(self.options, CheXagent2Options)
        tower, revision = self.options.vision_model, self.options.vision_model_revision
        return {**super().weights(), "vision_model": Weights(tower, revision, ("*.json", "*.safetensors"))}
