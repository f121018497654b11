"""The processor of a tiny stand-in for MAIRA-2, for tests: the published calls, strict; notes what it was given."""

import json
import re

import numpy as np
from transformers import LlavaProcessor

TEXTS = ("indication", "technique", "comparison", "prior_report")
KEYWORDS = {"return_tensors"}
"""What format_and_preprocess_reporting_input may be given beside images, texts and get_grounding."""


class Maira2Processor(LlavaProcessor):
    valid_kwargs = ["chat_template", "patch_size", "vision_feature_select_strategy", "image_token"]  # noqa: RUF012

    def __init__(self, image_processor=None, tokenizer=None, notebook=None, **rest):
        super().__init__(image_processor=image_processor, tokenizer=tokenizer, **rest)
        self.notebook = notebook
        """File that each call is noted in."""

    def format_reporting_input(
        self,
        current_frontal,
        current_lateral,
        prior_frontal,
        indication,
        technique,
        comparison,
        prior_report,
        get_grounding=False,
        assistant_text=None,
    ):
        images = [current_frontal, current_lateral, prior_frontal]
        texts = dict(zip(TEXTS, (indication, technique, comparison, prior_report), strict=True))
        self._note(images, texts, get_grounding)
        words = ["current <image>"]
        words += ["lateral <image>"] if current_lateral is not None else []
        if prior_frontal is not None:
            words += ["prior <image>", f"PRIOR_REPORT: {prior_report or 'N/A'}"]
        words += [f"{name.upper()}: {text or 'N/A'}" for name, text in texts.items() if name != "prior_report"]
        words += ["boxes"] if get_grounding else []
        return " ".join(words) + " ASSISTANT:", [stretched(image) for image in images if image is not None]

    def format_and_preprocess_reporting_input(self, *, get_grounding=False, **given):
        rest = {name: given.pop(name) for name in list(given) if name in KEYWORDS}
        text, images = self.format_reporting_input(get_grounding=get_grounding, **given)
        return self(text=text, images=images, **rest)

    def convert_output_to_plaintext_or_grounded_sequence(self, text):
        if not re.search(r"</?(?:obj|box)>", text):
            return text.strip()
        assert re.fullmatch(r"(<obj>.*?</obj>)+", text.strip())
        return [self._phrase(phrase) for phrase in re.findall(r"<obj>(.*?)</obj>", text)]

    def _phrase(self, phrase):
        boxes = [
            tuple((int(n) + 0.5) / 100 for n in re.findall(r"\d+", b)) for b in re.findall(r"<box>.*?</box>", phrase)
        ]
        return phrase.partition("<box>")[0].strip(), boxes or None

    @staticmethod
    def adjust_box_for_original_image_size(box, width, height):
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        across, down = [(x * side + left) / width for x in box[::2]], [(y * side + top) / height for y in box[1::2]]
        return (across[0], down[0], across[1], down[1])

    def _note(self, images, texts, get_grounding):
        if not self.notebook:
            return
        shown = [None if image is None else [image.mode, *image.size, round(float(np.mean(image)))] for image in images]
        with open(self.notebook, "a", encoding="utf-8") as file:
            file.write(json.dumps({"images": shown, **texts, "get_grounding": get_grounding}) + "\n")


def stretched(image):
    """Return the image in grey, from 0 to 255."""
    from PIL import ImageOps

    return ImageOps.autocontrast(image.convert("L"))
