"""Makes a small RoBERTa of random weights in the layout of a hub's checkpoint, for BERTScore's tests and benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "initializer_range": 0.1,
}


def byte_pairs(folder: Path, texts: Sequence[str], size: int) -> int:
    """Write RoBERTa's tokeniser, with merges of the texts' own words; return how many tokens it has."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(texts, vocab_size=size, min_frequency=1, special_tokens=special, show_progress=False)
    tokenizer.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 512})
    )
    return int(tokenizer.get_vocab_size())


def make_roberta(folder: Path, texts: Sequence[str], *, vocabulary: int = 500, seed: int = 0, **shape: Any) -> Path:
    """Write the checkpoint of a masked language model, as distilroberta-base is published: without a pooler."""
    import torch
    from transformers import RobertaConfig, RobertaForMaskedLM

    folder.mkdir(parents=True, exist_ok=True)
    size = byte_pairs(folder, texts, vocabulary)
    config = RobertaConfig(
        vocab_size=size, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, **{**SMALL, **shape},
    )  # fmt: skip
    torch.manual_seed(seed)
    RobertaForMaskedLM(config).save_pretrained(folder)
    return folder
