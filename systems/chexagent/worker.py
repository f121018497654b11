# /// script
# requires-python = ">=3.10,<3.13"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==4.40.0",
#   "tokenizers==0.19.1",
#   "huggingface-hub==0.36.2",
#   "einops==0.8.2",
#   "numpy==2.2.6",
#   "pillow==12.3.0",
#   "protobuf==6.33.6",
#   "safetensors==0.8.0",
#   "sentencepiece==0.2.1",
# ]
# ///
"""The worker of CheXagent-8b: published processor, prompt format and decoding, from a local folder of its weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from bench_worker import Case, Report, need_files, need_weights, picture, serve
from chexagent_shared import (
    DEFAULTS_8B,
    Question,
    dtype_of,
    groups_of,
    notes_of,
    questions_of,
    report_of,
)

FILES = ("config.json", "preprocessor_config.json", "*.safetensors")
ROUND = " USER: <s>{prompt} ASSISTANT: <s>"
"""One turn, as the model card writes it: the blank in front and both <s> belong to it."""


class CheXagent8b:
    """CheXagent-8b (Chen et al. 2024): up to two images and a prompt, to text."""

    def __init__(self, options: Mapping[str, Any], device: str) -> None:
        """Load the folder options["model"], which brings code of its own."""
        self.options, self.device = {**DEFAULTS_8B, **options}, device
        folder = self.options["model"]
        need_files(folder, *FILES)
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        from transformers import AutoModelForCausalLM, AutoProcessor

        precision = dtype_of(self.options["dtype"], device, "float16")
        self.dtype = getattr(torch, precision)
        self.processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        model, told = AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=self.dtype, trust_remote_code=True, use_safetensors=True, output_loading_info=True
        )
        need_weights(folder, model, told["missing_keys"])
        self.model = model.to(device).eval()
        self.generation = self._generation(folder)
        self.facts = {"parameters": sum(parameter.numel() for parameter in self.model.parameters())}
        self.settings = {
            "turn": ROUND,
            "dtype": precision,
            "generation": self.generation.to_diff_dict(),
            "image_processor": self.processor.image_processor.to_dict(),
        }

    def _generation(self, folder: str) -> Any:
        """Return how to generate: what the repository says, with the options' beams and length, never sampling.

        The repository's max_length of 256 was written for transformers 4.35, where it counts new tokens alone. From
        4.38 it would count the image's 128 and the prompt's as well, and cut the text at about 100.
        """
        from transformers import GenerationConfig

        there = os.path.isfile(os.path.join(folder, "generation_config.json"))
        how = GenerationConfig.from_pretrained(folder) if there else GenerationConfig()
        how.update(
            do_sample=False,
            num_beams=self.options["num_beams"],
            max_new_tokens=self.options["max_new_tokens"],
            max_length=GenerationConfig().max_length,
        )
        if how.eos_token_id is None:
            how.eos_token_id = self.processor.tokenizer.eos_token_id
        if how.pad_token_id is None:
            how.pad_token_id = _ids(how.eos_token_id)[0]
        return how

    def write(self, cases: Sequence[Case]) -> list[Report]:
        """Return the findings of each case."""
        questions = questions_of(cases, self.options)
        opened = {path: picture(path) for path in dict.fromkeys(path for q in questions for path in q.images)}
        answers, cut = [""] * len(questions), [False] * len(questions)
        for places in groups_of(questions):
            told = self._answers([questions[place] for place in places], opened)
            for place, (text, short) in zip(places, told, strict=True):
                answers[place], cut[place] = text, short
        return [self._report(number, questions, answers, cut) for number in range(len(cases))]

    def _answers(self, questions: Sequence[Question], opened: Mapping[str, Any]) -> list[tuple[str, bool]]:
        """Return (text, whether it was cut short) of questions with one prompt and as many images each."""
        import torch

        inputs = [
            self.processor(
                images=[opened[path] for path in question.images],
                text=ROUND.replace("{prompt}", question.prompt),
                return_tensors="pt",
            ).to(device=self.device, dtype=self.dtype)
            for question in questions
        ]
        together = {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}
        with torch.inference_mode():
            rows = self.model.generate(**together, generation_config=self.generation).cpu().tolist()
        ends = set(_ids(self.generation.eos_token_id))
        texts = [self.processor.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        return [(text, ends.isdisjoint(row)) for text, row in zip(texts, rows, strict=True)]

    def _report(self, number: int, questions: list[Question], answers: list[str], cut: list[bool]) -> Report:
        mine = [place for place, question in enumerate(questions) if question.case == number]
        said = [answers[place] for place in mine]
        limit = self.options["max_new_tokens"]
        notes = notes_of([questions[place] for place in mine], said, [cut[place] for place in mine], limit)
        return Report(report_of(said, self.options["clean"]), notes)


def _ids(token: Any) -> list[int]:
    """Return token ids as a list: a configuration may name one or several."""
    return list(token) if isinstance(token, (list, tuple)) else [token]


if __name__ == "__main__":
    serve(CheXagent8b)
