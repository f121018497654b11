"""CheXagent: two published systems, each in an environment of its own (docs/chexagent.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from bench import hub
from bench.contracts import Asset, Case, Context, HubFiles, PlanLine
from bench.errors import BenchError
from bench.workers.environment import Command, command
from bench.workers.options import ModelOptions
from bench.workers.system import WorkerSystem
from bench.workers.worker import Weights, Worker
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


class CheXagent2Options(CheXagentOptions):
    """What CheXagent-2-3b is asked and shown, and how it generates. Defaults: its authors' evaluation on CheXbench."""

    model: str = "StanfordAIMI/CheXagent-2-3b"
    """Folder of the weights, or an id of the Hugging Face hub."""
    vision_model: str = "StanfordAIMI/XraySigLIP__vit-l-16-siglip-384__webli"
    """Folder, or id of the hub, of the vision tower that the model's own code loads by that name."""
    vision_revision: str | None = None
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

    def __init__(self, options: CheXagent2Options, context: Context) -> None:
        super().__init__(options, context)
        weights = self.weights()
        assert weights is not None
        self._worker: Worker[Case] = _TowerWorker("write", self.script, options, weights, context, self._pack)


class _TowerWorker(Worker[Case]):
    """A worker that is given a second folder of weights: the vision tower's."""

    options: CheXagent2Options

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        options = self.options
        self._tower = Weights(options.vision_model, options.vision_revision, ("*.json", "*.safetensors"))
        self._tower_folder: Path | None = None
        if self._tower.local is None and options.vision_model.startswith((".", "/", "~")):
            raise BenchError(f"vision_model {options.vision_model!r}: no such folder")
        if self._tower.local is not None and options.vision_revision is not None:
            raise BenchError(
                f"vision_revision {options.vision_revision!r}: the vision_model is a folder, without revisions"
            )

    def identity(self) -> Any:
        """Return what identifies script, options and both repositories' weights."""
        known = super().identity()
        options = {k: v for k, v in known["options"].items() if k not in ("vision_model", "vision_revision")}
        return {**known, "options": options, "vision_model": self._tower.identity(self._context)}

    def assets(self) -> Sequence[Asset]:
        """Return what is fetched from a network."""
        tower: list[HubFiles] = [self._tower.wanted()] if self._tower.local is None else []
        return [*super().assets(), *tower]

    def plan(self) -> Sequence[PlanLine]:
        """Return what is still to be fetched or built before a start."""
        there = self._tower.found() is not None
        return [
            *super().plan(),
            *([] if there else [PlanLine("weights to fetch", 1, "repository", f"weights {self._tower}")]),
        ]

    def _command(self, lane: str, device: str) -> Command:
        tower = self._found_tower()
        beside = [tower.parent.parent] if tower.parent.name == "snapshots" else []
        seen = [self.folder(lane), *self._weights_folders(), tower, *beside]
        options = self.options
        return command(options.runner, self.script, seen, self._context, options.environment, gpu=device != "cpu")

    def _weights_folders(self) -> list[Path]:
        if self._folder is None:
            return []
        beside = [self._folder.parent.parent] if self._folder.parent.name == "snapshots" else []
        return [self._folder, *beside]

    def _found_tower(self) -> Path:
        if self._tower_folder is None:
            here = self._tower.local
            self._tower_folder = here or hub.snapshot(self._tower.wanted(), self._context, "vision_model")
        return self._tower_folder

    def _given(self) -> dict[str, Any]:
        given = super()._given()
        given.pop("vision_revision", None)
        return {**given, "vision_model": str(self._found_tower())}
