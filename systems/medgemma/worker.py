# /// script
# requires-python = ">=3.10,<3.14"
# dependencies = ["torch==2.13.0", "transformers==4.57.6", "pillow==12.3.0", "numpy>=2,<3"]
# ///
"""MedGemma: findings by completing a text ("<start_of_image> findings:") or by answering a chat message.

Used as the models' pages show: the picture in RGB through the model's own processor, greedy decoding, special tokens
left out of the text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from bench_worker import Case, Prior, Report, Unavailable, need_files, need_weights, picture, serve
from PIL import Image, ImageOps
from transformers import AutoModelForImageTextToText, AutoProcessor

THOUGHT, ANSWER = "<unused94>", "<unused95>"
"""Tokens before a trace of thinking and before the answer."""
SHOWN = {"prior": "Earlier frontal image:", "frontal": "Current frontal image:", "lateral": "Current lateral image:"}
"""Words before each image in a chat that shows more than one (ours)."""


class Asked(NamedTuple):
    """What the processor is given for a case."""

    text: str
    images: list[Image.Image]


class MedGemma:
    """A Gemma 3 model that sees images."""

    def __init__(self, options: dict, device: str) -> None:
        """Load the folder options["model"] in options["dtype"]."""
        folder, self.options, self.device = options["model"], options, device
        need_files(folder, "config.json", "preprocessor_config.json", "*.safetensors")
        self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.tokenizer = self.processor.tokenizer
        self.tokenizer.padding_side = "left"
        if options["style"] == "chat" and not self.processor.chat_template:
            raise Unavailable(f"{folder} has no chat template", "Set the option style to completion.")
        self.dtype = getattr(torch, options["dtype"])
        model, told = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=self.dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        need_weights(folder, model, told["missing_keys"])
        self.model = model.to(device).eval()
        self.ends = listed(self.model.generation_config.eos_token_id)
        self.facts = {"parameters": self.model.num_parameters()}
        self.settings = {
            "style": options["style"],
            "asked": self.text(EXAMPLE, [what for what in SHOWN if what in {"frontal", *options["images"]}]),
            "image_processor": type(self.processor.image_processor).__name__,
            "image_size": dict(self.processor.image_processor.size),
            "image_tokens": self.processor.image_seq_length,
            "dtype": options["dtype"],
            "do_sample": False,
            "num_beams": 1,
            "max_new_tokens": options["max_new_tokens"],
            "eos_token_id": self.ends,
        }

    def write(self, cases: list[Case]) -> list[Report]:
        """Return the findings of each case."""
        asked = [self.asked(case, shown(case, self.options["images"])) for case in cases]
        given = self.processor(
            text=[a.text for a in asked],
            images=[a.images for a in asked],
            padding=True,
            return_tensors="pt",
            add_special_tokens=self.options["style"] == "completion",  # a chat template writes its own
        ).to(self.device, dtype=self.dtype)
        with torch.inference_mode():
            ids = self.model.generate(**given, max_new_tokens=self.options["max_new_tokens"], do_sample=False)
        return [self.report(row) for row in ids[:, given["input_ids"].shape[1] :].tolist()]

    # -------------------------------------------------------------- asking

    def asked(self, case: Case, images: list[tuple[str, str]]) -> Asked:
        """Return text and pictures for a case; images: (what it is, path), in the order shown."""
        pictures = [picture(path) for _, path in images]
        if self.options["pad_to_square"]:
            pictures = [squared(image) for image in pictures]
        return Asked(self.text(case, [what for what, _ in images]), pictures)

    def text(self, case: Case, images: list[str]) -> str:
        """Return the text for a case, with a mark for each image."""
        words = [*context(case, self.options["context"]), self.options["prompt"]]
        if self.options["style"] == "completion":
            return " ".join([*[self.processor.boi_token] * len(images), *words])
        return self.chat(images, "\n".join(words))

    def chat(self, images: list[str], words: str) -> str:
        """Return the conversation as the model's chat template writes it."""
        seen: list[dict[str, str]] = []
        for what in images:
            seen += [{"type": "text", "text": SHOWN[what]}] if len(images) > 1 else []
            seen.append({"type": "image"})
        said = [{"type": "text", "text": words}]
        content = [*seen, *said] if self.options["images_at"] == "start" else [*said, *seen]
        messages = [{"role": "user", "content": content}]
        if self.options["system"]:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self.options["system"]}]})
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    # -------------------------------------------------------------- reading what came

    def report(self, ids: list[int]) -> Report:
        """Return the findings among the tokens of an answer, with notes on what was left out."""
        end = next((place for place, token in enumerate(ids) if token in self.ends), None)
        notes = []
        if end is None:
            notes.append(("length", f"stopped at max_new_tokens = {len(ids)}"))
        thought, answer = split_thought(ids[:end], self.id_of(THOUGHT), self.id_of(ANSWER))
        text = self.tokenizer.decode(answer, skip_special_tokens=True).strip()
        if thought:
            notes.append(("thinking", self.tokenizer.decode(thought, skip_special_tokens=True).strip()))
        if self.options["findings_only"]:
            text, rest = findings(text)
            notes += [("left out", rest)] if rest else []
        return Report(text, tuple(notes))

    def id_of(self, token: str) -> int | None:
        """Return a token's id, None where the vocabulary has no such token."""
        found = self.tokenizer.convert_tokens_to_ids(token)
        return None if found == self.tokenizer.unk_token_id else found


EXAMPLE = Case(
    "example", (), "(indication)", "(technique)", "(comparison)", (Prior("(prior_report)", "(prior_findings)"),)
)


def listed(value: int | list[int] | None) -> list[int]:
    """Return ids as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def shown(case: Case, extra: list[str]) -> list[tuple[str, str]]:
    """Return (what, path) of the images to show that the case has: the earlier one, the frontal, the lateral one."""
    paths = {
        "prior": case.prior_frontal if "prior" in extra else None,
        "frontal": case.frontal,
        "lateral": case.lateral if "lateral" in extra else None,
    }
    return [(what, path) for what, path in paths.items() if path is not None]


def context(case: Case, pieces: list[str]) -> list[str]:
    """Return the pieces filled in; one that names something the case has not is left out."""
    prior = case.priors[0] if case.priors else None
    has = {
        "indication": case.indication,
        "technique": case.technique,
        "comparison": case.comparison,
        "prior_report": prior and prior.text,
        "prior_findings": prior and prior.findings,
    }
    has = {name: " ".join(text.split()) for name, text in has.items() if text}
    return [piece.format(**has) for piece in pieces if all(name in has for name in re.findall(r"{(\w+)}", piece))]


def split_thought(ids: list[int], thought: int | None, answer: int | None) -> tuple[list[int], list[int]]:
    """Return the tokens of thinking and of the answer. Thinking that did not end leaves no answer."""
    if answer is not None and answer in ids:
        place = ids.index(answer)
        return ids[:place], ids[place + 1 :]
    if thought is not None and ids[:1] == [thought]:
        return ids, []
    return [], ids


_HEADING = re.compile(r"^[\s*#]*findings[\s*]*:[\s*]*", re.IGNORECASE)
_IMPRESSION = re.compile(r"(?:^|(?<=\s))[*#]*[ \t]*impressions?[\s*]*:", re.IGNORECASE)


def findings(text: str) -> tuple[str, str]:
    """Return a report's text from its heading "findings:" to "impression:", and what comes from there."""
    text = _HEADING.sub("", text)
    cut = _IMPRESSION.search(text)
    return (text[: cut.start()].strip(), text[cut.start() :].strip()) if cut else (text, "")


def squared(image: Image.Image) -> Image.Image:
    """Return the image with black on both sides of the shorter one."""
    return ImageOps.pad(image, (max(image.size),) * 2)


if __name__ == "__main__":
    serve(MedGemma)
