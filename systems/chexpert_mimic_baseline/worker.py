# /// script
# requires-python = ">=3.10,<3.13"
# dependencies = ["torch==2.13.0", "transformers==4.40.0", "pillow==12.3.0", "numpy==1.26.4"]
# ///
"""A vision encoder and a BERT decoder that write the findings of one frontal radiograph: the CheXpert Plus baselines.

Used as their repository shows (Stanford-AIMI/chexpert-plus, tutorials/RRG): the picture in RGB through the model's own
processor, `generate` with nothing but the settings named here, special tokens left out of the text.

transformers is of the month the weights were published (April 2024): its beam search was written anew before 4.50, and
with the same weights and settings the two do not always end at the same report.
"""

from __future__ import annotations

import torch
from bench_worker import Case, Report, need_files, need_weights, picture, serve
from transformers import BertTokenizer, GenerationConfig, VisionEncoderDecoderModel, ViTImageProcessor


class Baseline:
    """An encoder-decoder of transformers (VisionEncoderDecoderModel) that sees the frontal image alone."""

    def __init__(self, options: dict, device: str) -> None:
        """Load the folder options["model"] in options["dtype"]."""
        folder, self.device = options["model"], device
        need_files(folder, "config.json", "preprocessor_config.json", "vocab.txt", "*.safetensors")
        self.tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
        self.processor = ViTImageProcessor.from_pretrained(folder, local_files_only=True)
        self.dtype = getattr(torch, options["dtype"])
        model, told = VisionEncoderDecoderModel.from_pretrained(
            folder, torch_dtype=self.dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        need_weights(folder, model, told["missing_keys"])
        self.model = model.to(device).eval()
        self.how = generation(self.model, self.tokenizer, options["num_beams"], options["max_length"])
        self.facts = {"parameters": self.model.num_parameters()}
        self.settings = {
            "encoder": self.model.config.encoder.model_type,
            "decoder": self.model.config.decoder.model_type,
            "image_size": self.processor.size,
            "dtype": options["dtype"],
            **{name: getattr(self.how, name) for name in SETTINGS},
        }

    def write(self, cases: list[Case]) -> list[Report]:
        """Return the findings of each case's frontal image."""
        pictures = [picture(case.frontal) for case in cases]
        pixels = self.processor(pictures, return_tensors="pt").pixel_values
        with torch.inference_mode():
            ids = self.model.generate(pixels.to(self.device, self.dtype), generation_config=self.how).cpu()
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [Report(text.strip(), self._notes(row)) for text, row in zip(texts, ids, strict=True)]

    def _notes(self, ids: torch.Tensor) -> tuple[tuple[str, str], ...]:
        if self.how.eos_token_id in ids[1:].tolist():
            return ()
        return (("length", f"stopped at max_length = {self.how.max_length} tokens"),)


SETTINGS = (
    "num_beams",
    "max_length",
    "do_sample",
    "length_penalty",
    "early_stopping",
    "decoder_start_token_id",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


def generation(
    model: VisionEncoderDecoderModel, tokenizer: BertTokenizer, num_beams: int, max_length: int
) -> GenerationConfig:
    """Return how to generate. Token ids that the model does not name are the tokenizer's, as in training."""
    named = model.config
    return GenerationConfig(
        num_beams=num_beams,
        max_length=max_length,
        do_sample=False,
        num_return_sequences=1,
        use_cache=True,
        decoder_start_token_id=tokenizer.cls_token_id,
        bos_token_id=first(named.bos_token_id, tokenizer.cls_token_id),
        eos_token_id=first(named.eos_token_id, tokenizer.sep_token_id),
        pad_token_id=first(named.pad_token_id, tokenizer.pad_token_id),
    )


def first(*values: int | None) -> int | None:
    """Return the first value that is there."""
    return next((value for value in values if value is not None), None)


if __name__ == "__main__":
    serve(Baseline)
