"""The encoder of BERTScore: texts to token ids as bert-score makes them, ids to the unit vectors of one layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.batching import in_halves
from bench.errors import BenchError
from bench.hub import quiet

LONGEST = 512
"""Tokens of a text at most, special ones included, as the usual models were trained."""
WITH_SPACE = frozenset({"roberta"})
"""Kinds of models before whose texts bert-score puts a blank, so that the first word is read as any other."""
SHIFTED = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Kinds of models whose positions start behind the padding id: two less than the table has."""
UNLOADABLE = (OSError, ValueError, KeyError, ImportError, AttributeError, RuntimeError, TypeError)
"""What transformers raises for a checkpoint that it does not understand, or that is damaged."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text as the model reads it."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """Where each piece stands in the text; (0, 0) for special ones."""
    words: list[str]
    """The pieces as a person reads them."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text's vectors [n_tokens, dim], float32, and its tokens' weights [n_tokens], float64, which sum to 1.

    Special tokens have no weight, though others may match them, as in bert-score. A text of special tokens alone has
    weights of 0.
    """

    vectors: Tensor
    weights: Tensor


class Network:
    """Tokeniser and the layers up to the one that is read, ready to run."""

    def __init__(self, folder: Path, layer: int, device: str, dtype: str) -> None:
        self.device, self._folder = device, folder
        self._exact = torch.float32 if device.startswith("mps") else torch.float64  # MPS has no float64
        with _explained(folder), quiet():
            from transformers import AutoConfig, AutoTokenizer

            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            space = {"add_prefix_space": True} if config.model_type in WITH_SPACE else {}
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True, **space
            )
            self._check_tokens(config)
            model = _load(folder, config)
        _cut(model, layer, folder)
        self._model = model.to(device, getattr(torch, dtype)).eval().requires_grad_(False)
        room = config.max_position_embeddings - (2 if config.model_type in SHIFTED else 0)
        self.longest = min(LONGEST, room, self._tokenizer.model_max_length)

    def _check_tokens(self, config: Any) -> None:
        tokenizer = self._tokenizer
        lacking = [name for name in ("cls_token", "sep_token", "pad_token") if getattr(tokenizer, name) is None]
        if lacking:
            raise BenchError(f"{self._folder}: its tokeniser has no {', '.join(lacking)}: not a model of BERT's kind")
        if len(tokenizer) > config.vocab_size:
            raise BenchError(
                f"{self._folder}: its tokeniser has {len(tokenizer)} tokens, its model {config.vocab_size}: the files "
                "are not of one checkpoint"
            )

    # -------------------------------------------------------------- texts

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without white space at its ends, cut after `longest` tokens."""
        stripped = [text.strip() for text in texts]
        full = [text for text in stripped if text]
        made = iter(self._tokenizer(full, truncation=True, max_length=self.longest)["input_ids"] if full else [])
        nothing = [self._tokenizer.cls_token_id, self._tokenizer.sep_token_id]
        return [next(made) if text else list(nothing) for text in stripped]

    def pieces(self, text: str) -> Pieces:
        """Return a text's tokens with their places."""
        stripped, before = text.strip(), len(text) - len(text.lstrip())
        if not stripped:
            return Pieces(self.ids([text])[0], [(0, 0)] * 2, [""] * 2)
        made = self._tokenizer(
            stripped,
            truncation=True,
            max_length=self.longest,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        marked = zip(made["offset_mapping"], made["special_tokens_mask"], strict=True)
        spans = [(0, 0) if special else (start + before, end + before) for (start, end), special in marked]
        return Pieces(made["input_ids"], spans, [text[start:end].strip() for start, end in spans])

    # -------------------------------------------------------------- vectors

    def encode(self, batch: Sequence[list[int]]) -> list[Encoded]:
        """Return the vectors of each text; where memory does not hold the batch, of its halves."""
        try:
            return in_halves(batch, self._forward, torch.OutOfMemoryError)
        except torch.OutOfMemoryError:
            raise BenchError(
                f"BERTScore: not even one text fits into the free memory of {self.device}: free it, or set device to "
                "cpu"
            ) from None

    @torch.inference_mode()
    def _forward(self, batch: Sequence[list[int]]) -> list[Encoded]:
        longest = max(map(len, batch))
        padding = self._tokenizer.pad_token_id
        ids = torch.tensor([text + [padding] * (longest - len(text)) for text in batch], device=self.device)
        lengths = torch.tensor([len(text) for text in batch], device=self.device)
        inside = torch.arange(longest, device=self.device) < lengths[:, None]
        vectors = self._model(ids, attention_mask=inside.long()).last_hidden_state.float()
        special = (ids == self._tokenizer.cls_token_id) | (ids == self._tokenizer.sep_token_id)
        weights = (inside & ~special).to(self._exact)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        return [
            Encoded(vector[: len(text)], weight[: len(text)])
            for text, vector, weight in zip(batch, vectors, weights, strict=True)
        ]


@torch.inference_mode()
def cosines(candidate: Encoded, reference: Encoded) -> Tensor:
    """Return the cosine of each two tokens, [n_candidate, n_reference].

    In float64 (the type of the weights): the cosines of like vectors are near 1, rescaling stretches what is left of
    them sevenfold, and float32 would round it differently in products of another shape.
    """
    said, true = (side.vectors.to(side.weights.dtype) for side in (candidate, reference))
    said, true = (side / side.norm(dim=-1, keepdim=True) for side in (said, true))
    found: Tensor = said @ true.T
    return found


@torch.inference_mode()
def precision_recall(candidate: Encoded, reference: Encoded) -> Tensor:
    """Return [precision, recall] of two texts: each side's tokens by their best match on the other, then the mean.

    Zhang et al. 2020, equations of section 3. 0 where a side has no tokens, as in bert-score.
    """
    similar = cosines(candidate, reference)
    found = torch.stack([similar.amax(1) @ candidate.weights, similar.amax(0) @ reference.weights])
    return found * (candidate.weights.sum() * reference.weights.sum() > 0)


def _load(folder: Path, config: Any) -> Any:
    """Return the model in float32, every weight but a pooler's found in the checkpoint."""
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(
        folder,
        config=config,
        dtype="float32",
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # they are refused below, with a name
        output_loading_info=True,
    )
    mismatched = (str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"])
    missing = [key for key in (*map(str, report["missing_keys"]), *mismatched) if "pooler." not in key]
    if missing:
        raise BenchError(f"{folder}: {len(missing)} weights are missing or misshapen, e.g. {sorted(missing)[0]}")
    return model


def _cut(model: Any, layer: int, folder: Path) -> None:
    """Leave only the layers up to `layer`. Raises BenchError for a model that has no such list of layers."""
    owner = next(
        (part for name in ("encoder", "transformer") if (part := getattr(model, name, None)) is not None), None
    )
    layers = getattr(owner, "layer", None)
    if owner is None or not isinstance(layers, nn.ModuleList):
        raise BenchError(f"{folder}: a {type(model).__name__}, not a model of BERT's, RoBERTa's or DistilBERT's kind")
    if layer > len(layers):
        raise BenchError(f"layer {layer}: {folder} has {len(layers)} layers")
    owner.layer = layers[:layer]
    if getattr(model, "pooler", None) is not None:
        model.pooler = None


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what transformers raises about a checkpoint into a BenchError."""
    from safetensors import SafetensorError

    try:
        yield
    except BenchError:
        raise
    except (*UNLOADABLE, SafetensorError) as err:
        first = (str(err).strip().splitlines() or [""])[0]
        raise BenchError(f"{folder}: transformers cannot load it: {type(err).__name__}: {first}") from err
