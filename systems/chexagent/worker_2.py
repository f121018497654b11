# /// script
# requires-python = ">=3.10,<3.13"
# dependencies = [
#   "torch==2.13.0",
#   "torchvision==0.28.0",
#   "transformers==4.40.0",
#   "tokenizers==0.19.1",
#   "huggingface-hub==0.36.2",
#   "albumentations==2.0.8",
#   "einops==0.8.2",
#   "numpy==2.2.6",
#   "opencv-python-headless==4.12.0.88",
#   "pillow==12.3.0",
#   "pyarrow==21.0.0",
#   "safetensors==0.8.0",
# ]
# ///
"""The worker of CheXagent-2-3b: published tokenizer, conversation and decoding, from local folders of its weights.

The model's own code opens the images by their paths, which it reads out of the prompt, and loads its vision tower by a
repository's name: what that name leads to is the folder options["vision_model"].
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_worker import Case, Report, Unavailable, need_files, need_weights, picture, serve
from chexagent_shared import (
    DEFAULTS_2,
    Question,
    dtype_of,
    groups_of,
    notes_of,
    questions_of,
    report_of,
)

REPOSITORY = "StanfordAIMI/CheXagent-2-3b"
PAGE = f"https://huggingface.co/{REPOSITORY}"
SYSTEM = "You are a helpful assistant."
COMMIT = "0" * 40
"""The commit of every repository in the worker's own hub: there is one of each."""


class CheXagent2:
    """CheXagent-2-3b (Chen et al. 2024): images and a prompt, to text."""

    def __init__(self, options: Mapping[str, Any], device: str) -> None:
        """Load the folder options["model"], which brings code of its own, with the tower options["vision_model"]."""
        self.options, self.device = {**DEFAULTS_2, **options}, device
        folder, tower = self.options["model"], self.options.get("vision_model")
        self._place = tempfile.TemporaryDirectory(prefix="chexagent-")
        known = {REPOSITORY: folder, **_tower(folder, tower)}
        _own_hub(Path(self._place.name) / "hub", known)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        precision = dtype_of(self.options["dtype"], device, "bfloat16")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        # As published: in the precision of the weights' file, then cast. A meta device, which device_map would bring,
        # leaves the tower that the model's own code loads without values.
        model, told = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=True, use_safetensors=True, output_loading_info=True
        )
        need_weights(folder, model, told["missing_keys"])
        self.model = model.to(device=device, dtype=getattr(torch, precision)).eval()
        self.generation = self._generation()
        self.facts = {"parameters": sum(parameter.numel() for parameter in self.model.parameters())}
        self.settings = {
            "system": SYSTEM,
            "dtype": precision,
            "generation": self.generation.to_diff_dict(),
            "chat_template": self.tokenizer.chat_template,
        }

    def _generation(self) -> Any:
        """Return how to generate: the repository's token ids, the options' beams and length, never sampling."""
        from transformers import GenerationConfig

        how = GenerationConfig.from_dict(self.model.generation_config.to_dict())
        how.update(
            do_sample=False,
            num_beams=self.options["num_beams"],
            temperature=1.0,
            top_p=1.0,
            use_cache=True,
            max_new_tokens=self.options["max_new_tokens"],
            max_length=GenerationConfig().max_length,
        )
        if how.eos_token_id is None:
            how.eos_token_id = self.tokenizer.eos_token_id
        if how.pad_token_id is None:
            how.pad_token_id = _ids(how.eos_token_id)[0]
        return how

    def write(self, cases: Sequence[Case]) -> list[Report]:
        """Return the findings of each case."""
        questions = questions_of(cases, self.options)
        answers, cut = [""] * len(questions), [False] * len(questions)
        with tempfile.TemporaryDirectory(dir=self._place.name) as folder:
            shown = _shown(dict.fromkeys(path for q in questions for path in q.images), Path(folder))
            for places in groups_of(questions):
                told = self._answers([questions[place] for place in places], shown)
                for place, (text, short) in zip(places, told, strict=True):
                    answers[place], cut[place] = text, short
        return [self._report(number, questions, answers, cut) for number in range(len(cases))]

    def _prompt(self, question: Question, shown: Mapping[str, str]) -> Any:
        """Return the token ids of one question, [1, length]."""
        query = self.tokenizer.from_list_format(
            [*({"image": shown[path]} for path in question.images), {"text": question.prompt}]
        )
        talk = [{"from": "system", "value": SYSTEM}, {"from": "human", "value": query}]
        return self.tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt")

    def _answers(self, questions: Sequence[Question], shown: Mapping[str, str]) -> list[tuple[str, bool]]:
        """Return (text, whether it was cut short) of questions with one prompt and as many images each."""
        import torch

        prompts = [self._prompt(question, shown) for question in questions]
        if len({prompt.shape[1] for prompt in prompts}) > 1:
            return [answer for question in questions for answer in self._answers([question], shown)]
        ids = torch.cat(prompts).to(self.device)
        with torch.inference_mode():
            rows = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=self.generation
            ).tolist()
        return [self._text(row[ids.shape[1] :]) for row in rows]

    def _text(self, row: list[int]) -> tuple[str, bool]:
        """Return the text of new tokens up to the first that ends it, and whether there was none."""
        ends = set(_ids(self.generation.eos_token_id))
        length = next((at for at, token in enumerate(row) if token in ends), None)
        return self.tokenizer.decode(row[:length], skip_special_tokens=True), length is None

    def _report(self, number: int, questions: list[Question], answers: list[str], cut: list[bool]) -> Report:
        mine = [place for place, question in enumerate(questions) if question.case == number]
        said = [answers[place] for place in mine]
        limit = self.options["max_new_tokens"]
        notes = notes_of([questions[place] for place in mine], said, [cut[place] for place in mine], limit)
        return Report(report_of(said, self.options["clean"]), notes)


def _tower(folder: str, tower: str | None) -> dict[str, str]:
    """Return the name by which the model's code asks for its vision tower, and the folder it is to find."""
    need_files(folder, "config.json", "*.safetensors")
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        name = (json.load(file).get("visual") or {}).get("vision_model_name_or_path")
    if not isinstance(name, str):
        raise Unavailable(
            f"{folder}/config.json names no vision tower (visual.vision_model_name_or_path)",
            f"name a folder with the files of {PAGE}",
        )
    if tower is None or not os.path.isdir(tower):
        raise Unavailable(f"the vision tower {name} is not here", "set vision_model to a folder of its weights")
    need_files(tower, "config.json", "*.safetensors")
    return {name: tower}


def _own_hub(home: Path, repositories: Mapping[str, str]) -> None:
    """Make a hub cache that leads names of repositories to local folders, and use it: nothing is asked of a network.

    Must come before huggingface_hub is imported, which reads these variables once.
    """
    for name, folder in repositories.items():
        place = home / ("models--" + name.replace("/", "--"))
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(COMMIT, encoding="utf-8")
        (place / "snapshots").mkdir()
        (place / "snapshots" / COMMIT).symlink_to(os.path.abspath(folder), target_is_directory=True)
    (home / "version.txt").write_text("1", encoding="utf-8")  # else transformers looks for a cache of before 2022
    os.environ.update(HF_HUB_CACHE=str(home), HF_HUB_OFFLINE="1", NO_ALBUMENTATIONS_UPDATE="1")
    os.environ.pop("TRANSFORMERS_CACHE", None)


def _shown(paths: Iterable[str], place: Path) -> dict[str, str]:
    """Return a short path of each image, as the model can open it: a prompt holds 1,024 characters of a path."""
    shown = {}
    for number, path in enumerate(paths):
        shown[path] = str(place / f"{number}.png")
        picture(path).save(shown[path], compress_level=1)
    return shown


def _ids(token: Any) -> list[int]:
    """Return token ids as a list: a configuration may name one or several."""
    return list(token) if isinstance(token, (list, tuple)) else [token]


if __name__ == "__main__":
    serve(CheXagent2)
