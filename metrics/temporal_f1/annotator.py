"""The annotator ``stanza-radiology``: named entities of a report, by Stanza's radiology model in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.workers.annotator import ModelAnnotator
from bench.workers.options import ModelOptions

FILES = (
    "models/tokenize/combined.pt",
    "models/ner/radiology.pt",
    "models/pretrain/mimic.pt",
    "models/forward_charlm/mimic.pt",
    "models/backward_charlm/mimic.pt",
)
"""Stanza's English tokeniser, the radiology tagger, and the word vectors and character models that it stands on."""


class StanzaRadiologyOptions(ModelOptions):
    """Options of the annotator stanza-radiology."""

    model: str = "stanfordnlp/stanza-en"
    """Folder with Stanza's English models as the hub's repository lays them out (models/ner/radiology.pt …), or an id
    of the Hugging Face hub."""
    batch_size: int = 64
    """Texts a batch at most."""


class StanzaRadiology(ModelAnnotator):
    """Observations, anatomy and their modifiers, by Stanza's radiology model (Zhang et al. 2021).

    An annotation is {"spans": [[text, type, start, end], …]}.
    """

    Options = StanzaRadiologyOptions
    script: ClassVar[Path] = Path(__file__).with_name("worker.py")
    files: ClassVar[tuple[str, ...]] = FILES
