"""Tiny models of random weights for RaTEScore, and what its package makes of them, in the environment of the worker.

python ratescore_models.py save FOLDER                      # FOLDER/ner (DeBERTa v2) and FOLDER/embedder (MPNet)
python ratescore_models.py scores FOLDER MATRIX < pairs.json    # compute_score on whole lists, as JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_SAID = (
    "the heart is large small lungs are clear no pleural effusion edema in left right lobe opacity new mild of and "
    "pneumothorax there acute fracture rib size normal"
)
WORDS = _SAID.split()
TYPES = ("ABNORMALITY", "NON-ABNORMALITY", "DISEASE", "NON-DISEASE", "ANATOMY")
LABELS = [f"{mark}-{kind}" for kind in TYPES for mark in "BI"] + ["O"]
"""In the order of RaTE-NER-Deberta's configuration."""


def save(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from tokenizers.decoders import Metaspace
    from transformers import (
        DebertaV2Config,
        DebertaV2ForTokenClassification,
        MPNetConfig,
        MPNetModel,
        PreTrainedTokenizerFast,
    )

    ner, embedder = folder / "ner", folder / "embedder"
    ner.mkdir(parents=True, exist_ok=True)
    embedder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(8)
    marks = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    letters = [*"abcdefghijklmnopqrstuvwxyz.,", *(f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz.,"), "▁"]
    pieces = dict.fromkeys([*marks, *(f"▁{word}" for word in WORDS), *letters])
    bare = Tokenizer(models.Unigram([(piece, -1.0 - len(piece) / 10) for piece in pieces], unk_id=3))
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.Metaspace(), Metaspace()
    bare.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    named = {f"{mark.strip('[]').lower()}_token": mark for mark in marks}
    PreTrainedTokenizerFast(tokenizer_object=bare, **named).save_pretrained(ner)
    tagger = DebertaV2ForTokenClassification(
        DebertaV2Config(
            vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
            relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True,
            pos_att_type=["p2c", "c2p"], type_vocab_size=0, position_biased_input=False, max_position_embeddings=512,
            initializer_range=0.9, id2label=dict(enumerate(LABELS)), label2id={k: i for i, k in enumerate(LABELS)},
        )
    )  # fmt: skip
    with torch.no_grad():
        tagger.classifier.bias[-1] += 3  # words that are no entity, too
    tagger.save_pretrained(ner)
    vocabulary = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *WORDS, ".", ","]
    (embedder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (embedder / "tokenizer_config.json").write_text('{"tokenizer_class": "MPNetTokenizer", "do_lower_case": true}')
    MPNetModel(
        MPNetConfig(
            vocab_size=len(vocabulary), hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, initializer_range=0.4,
        )
    ).save_pretrained(embedder)  # fmt: skip


def scores(folder: Path, matrix: str, pairs: list[list[str]]) -> list[float]:
    """Return the package's scores of [candidate, reference] pairs, all in one call."""
    from loguru import logger

    logger.disable("PyRuSH")
    from RaTEScore import RaTEScore

    package = RaTEScore(str(folder / "ner"), str(folder / "embedder"), use_gpu=False, affinity_matrix=matrix)
    return [float(one) for one in package.compute_score([c for c, _ in pairs], [r for _, r in pairs])]


if __name__ == "__main__":
    folder, matrix = Path(sys.argv[1]), sys.argv[2]
    save(folder)
    print(json.dumps(scores(folder, matrix, json.load(sys.stdin))))
