"""Texts to token ids, as CheXbert was trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.contracts import Context
from bench.errors import BenchError, Unavailable, missing_package
from bench.hub import fetch_file, is_hub_id, quiet

VOCABULARY = "vocab.txt"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def locate_vocabulary(tokenizer: str, context: Context) -> Path:
    """Return the vocab.txt of a folder or hub id. Raises Unavailable where it is not to be had."""
    folder = Path(tokenizer).expanduser()
    if folder.is_dir():
        if not (folder / VOCABULARY).is_file():
            raise Unavailable(f"{folder} has no {VOCABULARY}", "give the folder of a copy of bert-base-uncased")
        return folder / VOCABULARY
    if not is_hub_id(tokenizer):
        raise Unavailable(f"no folder {folder}", "set tokenizer to the folder of a copy of bert-base-uncased")
    try:
        return fetch_file(tokenizer, VOCABULARY, None, context, "tokenizer")
    except Unavailable as err:
        fetched, mark, _ = err.remedy.rpartition("; or set")
        remedy = f"{fetched}; or set tokenizer to the folder that holds {VOCABULARY}" if mark else err.remedy
        raise Unavailable(err.reason, remedy) from None


class Tokens:
    """BERT's uncased WordPiece tokens of a vocabulary file."""

    def __init__(self, vocabulary: Path, longest: int) -> None:
        """longest: tokens of a text at most, [CLS] and [SEP] included."""
        try:
            with quiet():
                from transformers import BertTokenizer
        except ImportError:
            raise missing_package("annotator chexbert", "transformers", "clinical") from None
        try:
            known = set(vocabulary.read_text(encoding="utf-8").splitlines())
            with quiet():
                self._tokenizer: Any = BertTokenizer(vocab=str(vocabulary))
        except (OSError, ValueError, KeyError) as err:
            raise BenchError(f"{vocabulary}: not a WordPiece vocabulary: {err}") from None
        if missing := [token for token in SPECIAL if token not in known]:
            raise BenchError(f"{vocabulary}: not BERT's vocabulary, it has no {', '.join(missing)}")
        self.size, self.longest = len(self._tokenizer), longest

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return [CLS] … [SEP] of each text, white space folded, what is too long cut off before the [SEP]."""
        folded = [" ".join(text.split()) for text in texts]
        found: list[list[int]] = self._tokenizer(folded, truncation=True, max_length=self.longest)["input_ids"]
        return found
