"""Processor of a tiny stand-in for CheXagent-8b, for tests: the published call and nothing else, noted."""

import hashlib
import json
import os

from transformers.processing_utils import ProcessorMixin


class CheXagentProcessor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]  # noqa: RUF012
    image_processor_class = "BlipImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, image_processor, tokenizer):
        tokenizer.return_token_type_ids = False
        super().__init__(image_processor, tokenizer)

    def __call__(self, images, text, return_tensors=None):
        if not isinstance(text, str) or not isinstance(images, list) or not 1 <= len(images) <= 2:
            raise TypeError(f"one text and a list of one or two images, not {type(text)} and {images}")
        if any(image.mode != "RGB" for image in images):
            raise TypeError(f"images in RGB, not {[image.mode for image in images]}")
        with open(os.path.join(self.tokenizer.name_or_path, ".calls.jsonl"), "a") as file:
            seen = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
            file.write(json.dumps({"text": text, "images": seen}) + "\n")
        inputs = self.image_processor(images, return_tensors=return_tensors)
        inputs["pixel_values"] = inputs["pixel_values"].unsqueeze(0)
        inputs.update(self.tokenizer(text=text, return_token_type_ids=False, return_tensors=return_tensors))
        return inputs
