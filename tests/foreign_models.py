"""Tiny models of random weights, and what transformers itself makes of them: run in the environments of workers.

    python foreign_models.py baseline FOLDER           # saves a Swin v2 encoder with a BERT decoder
    python foreign_models.py baseline-reports FOLDER '{"num_beams": 2}' image.png …   # a report a line, as JSON

It is a script because transformers of a worker's environment is another one than the tests'.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

WORDS = (
    "the lungs are clear no pleural effusion pneumothorax heart size is normal mild moderate small large left right "
    "lower upper lobe opacity consolidation edema atelectasis cardiomegaly unchanged there with and of seen ##s ##ing . ,"
).split()


# ------------------------------------------------------------------ an encoder-decoder


def baseline(folder: Path) -> None:
    """Save a VisionEncoderDecoderModel with its tokenizer and processor, as the published ones are saved."""
    import torch
    from transformers import (
        BertConfig,
        BertLMHeadModel,
        BertTokenizer,
        Swinv2Config,
        Swinv2Model,
        VisionEncoderDecoderModel,
        ViTImageProcessor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    tokenizer = BertTokenizer(str(vocabulary))
    torch.manual_seed(7)
    encoder = Swinv2Model(
        Swinv2Config(
            image_size=32,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
            initializer_range=0.3,
        )
    )
    decoder = BertLMHeadModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.4,
            is_decoder=True,
            add_cross_attention=True,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():  # else a report is one word over and over
        decoder.bert.embeddings.position_embeddings.weight.mul_(3)
        decoder.cls.predictions.bias[tokenizer.sep_token_id] += 3
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.eos_token_id = tokenizer.sep_token_id
    model.config.bos_token_id = tokenizer.cls_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def baseline_reports(folder: Path, how: dict[str, Any], images: list[str]) -> list[str]:
    """Return what the snippet of the published model gives, one image at a time."""
    import torch
    from PIL import Image
    from transformers import BertTokenizer, GenerationConfig, VisionEncoderDecoderModel, ViTImageProcessor

    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    tokenizer = BertTokenizer.from_pretrained(folder)
    processor = ViTImageProcessor.from_pretrained(folder)
    arguments = {
        "bos_token_id": model.config.bos_token_id,
        "eos_token_id": model.config.eos_token_id,
        "pad_token_id": model.config.pad_token_id,
        "decoder_start_token_id": tokenizer.cls_token_id,
        "num_return_sequences": 1,
        "max_length": 128,
        "use_cache": True,
        **how,
    }
    texts = []
    for path in images:
        pixels = processor(Image.open(path).convert("RGB"), return_tensors="pt").pixel_values
        with torch.no_grad():
            ids = model.generate(pixels, generation_config=GenerationConfig(**arguments))
        texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "baseline":
        baseline(Path(folder))
    elif what == "baseline-reports":
        for text in baseline_reports(Path(folder), json.loads(rest[0]), rest[1:]):
            print(json.dumps(text))
