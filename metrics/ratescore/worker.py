# /// script
# requires-python = ">=3.10,<3.12"
# dependencies = [
#   "RaTEScore==0.6.0",
#   "medspacy==1.3.1",
#   "spacy==3.7.5",
#   "thinc==8.2.4",
#   "numpy==1.26.4",
#   "pandas==2.2.3",
#   "torch==2.13.0",
#   "transformers==4.57.6",
#   "loguru>=0.7,<0.8",
# ]
# ///
"""RaTEScore of pairs, by the package's own functions on one pair at a time.

The package names none of the packages it needs; those above are a set that works. Its compute_score takes lists and
drops a text without a sentence from one of them, which shifts all pairs behind it. So its parts are called here, text
by text, which gives the same score for a pair and reads a text that comes again once.
"""

from __future__ import annotations

import json
from functools import lru_cache

import torch
from bench_worker import Unavailable, need_files, need_weights, serve
from loguru import logger
from transformers import AutoModel, AutoModelForTokenClassification

logger.disable("PyRuSH")  # else its log holds every report, word by word

from RaTEScore import RaTEScore  # noqa: E402
from RaTEScore.score import process_embedding, run_ner  # noqa: E402
from RaTEScore.utils import compute, sentence_split  # noqa: E402

NOTHING = 0.5
"""The package's score of a pair of which a side has no entity."""
KEPT = 4096
"""Texts whose entities are kept in memory: references come again with every system."""


class Pairs:
    """The package, loaded from two folders."""

    def __init__(self, options: dict, device: str) -> None:
        """Load the folders options["ner"] and options["embedder"]."""
        for option, kind in (("ner", AutoModelForTokenClassification), ("embedder", AutoModel)):
            folder = options[option]
            need_files(folder, "config.json", "tokenizer_config.json", "*.safetensors")
            model, told = kind.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
            need_weights(folder, model, [name for name in told["missing_keys"] if "pooler" not in name], "pooler")
        self.package = RaTEScore(
            bert_model=options["ner"], eval_model=options["embedder"], use_gpu=False, affinity_matrix=options["matrix"]
        )
        known = {label[2:] for label in self.package.idx2label.values() if label != "O"}
        if not known or any((one, other) not in self.package.affinity_matrix for one in known for other in known):
            raise Unavailable(
                f"{options['ner']} finds entities of the types {sorted(known)}, for which there are no weights",
                "Set ner to a copy of Angelakeke/RaTE-NER-Deberta.",
            )
        self.package.device = torch.device(device)
        self.package.model.to(device)
        self.package.eval_model.to(device)
        self.read = lru_cache(maxsize=KEPT)(self._read)
        self.settings = {"matrix": options["matrix"], "types": sorted(known)}

    def annotate(self, texts: list[str]) -> list[dict]:
        """Return score and entities of each pair."""
        return [self.pair(**json.loads(text)) for text in texts]

    def pair(self, candidate: str, reference: str) -> dict:
        """Return score and entities of one pair, as compute_score makes the score."""
        said, words, types = self.read(candidate)
        true, true_words, true_types = self.read(reference)
        found = {"candidate": said, "reference": true}
        if not said or not true:
            return {"rate": {"score": NOTHING, **found}}
        matrix = self.package.affinity_matrix
        precision = compute(true_words, words, true_types, types, matrix)
        recall = compute(words, true_words, types, true_types, matrix)
        both = precision + recall
        return {"rate": {"score": 2 * precision * recall / both if both else 0.0, **found}}

    def _read(self, text: str) -> tuple:
        """Return the entities of a text as [entity, type], their vectors and their types."""
        package = self.package
        if not sentence_split([text])[0]:
            return [], None, None
        (found,) = run_ner([text], package.idx2label, package.tokenizer, package.model, package.device, 1)
        words, types = process_embedding(found, package.eval_tokenizer, package.eval_model, package.device)
        return [list(one) for one in found], words, types


if __name__ == "__main__":
    serve(Pairs)
