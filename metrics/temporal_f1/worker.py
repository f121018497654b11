# /// script
# requires-python = ">=3.10,<3.14"
# dependencies = ["torch==2.13.0", "stanza==1.15.0", "numpy>=2,<3"]
# ///
"""Named entities of radiology reports by Stanza, from local files: nothing is fetched, tensors alone are read.

Stanza's own list of models (resources.json) is not needed: the paths are told. Words of more than one token ("don't")
are left whole; entities are made of tokens, so none differs.
"""

from __future__ import annotations

import json
import os
import tempfile

import stanza
from bench_worker import need_files, serve

MODELS = {
    "tokenize_model_path": "models/tokenize/combined.pt",
    "ner_model_path": "models/ner/radiology.pt",
    "ner_pretrain_path": "models/pretrain/mimic.pt",
    "ner_forward_charlm_path": "models/forward_charlm/mimic.pt",
    "ner_backward_charlm_path": "models/backward_charlm/mimic.pt",
}


class Entities:
    """Stanza's English tokeniser and its radiology tagger."""

    def __init__(self, options: dict, device: str) -> None:
        """Load the folder options["model"]."""
        folder = options["model"]
        need_files(folder, *MODELS.values())
        with tempfile.TemporaryDirectory() as empty:
            with open(os.path.join(empty, "resources.json"), "w", encoding="utf-8") as file:
                json.dump({}, file)
            self.pipeline = stanza.Pipeline(
                lang="en",
                dir=empty,
                processors={"tokenize": "default", "ner": "radiology"},
                allow_unknown_language=True,
                download_method=None,
                device=device,
                logging_level="ERROR",
                **{name: os.path.join(folder, path) for name, path in MODELS.items()},
            )
        self.settings = {"tags": sorted(self.pipeline.processors["ner"].get_known_tags())}

    def annotate(self, texts: list[str]) -> list[dict]:
        """Return {"spans": [[text, type, start, end], …]} of each text."""
        return [self.read(text) for text in texts]

    def read(self, text: str) -> dict:
        """Return the entities of one text, by itself: a batch would be another document."""
        if not text.strip():
            return {"spans": []}
        found = self.pipeline(text).entities
        return {"spans": [[one.text, one.type, one.start_char, one.end_char] for one in found]}


if __name__ == "__main__":
    serve(Entities)
