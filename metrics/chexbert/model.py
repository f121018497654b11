"""CheXbert's network: a BERT encoder (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) with 14 linear heads.

Written for labelling many reports: a batch's tokens lie behind each other without padding, which only attention needs,
and the last layer is computed for the first token of each text alone, since the heads read nothing else.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import BenchError
from metrics.chexbert.labels import HEADS

LONGEST = 512
"""Tokens of a text at most, [CLS] and [SEP] included."""
HARMLESS = frozenset({"bert.embeddings.position_ids"})
"""Not a weight: the numbers 0 … 511, which some versions of transformers saved along."""
POOLER = ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
"""Part of every BERT; CheXbert reads the encoder's output before it, so it may be there or not, and is not kept."""
_NAMED = 4
_TYPICAL_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a BERT's config.json decides its arithmetic; the defaults are bert-base-uncased's.

    Source: https://huggingface.co/google-bert/bert-base-uncased/blob/main/config.json
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


def read_shape(file: Path) -> Shape:
    """Return the shape that a config.json tells, or bert-base-uncased's where there is no such file."""
    if not file.is_file():
        return Shape()
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        kind = (config.get("model_type", "bert"), config.get("hidden_act", "gelu"))
        shape = Shape(**{field.name: config[field.name] for field in fields(Shape) if field.name in config})
    except (OSError, ValueError, AttributeError) as err:
        raise BenchError(f"{file}: not the configuration of a BERT: {err}") from None
    if kind != ("bert", "gelu") or config.get("position_embedding_type", "absolute") != "absolute":
        raise BenchError(f"{file}: a {kind[0]} with {kind[1]}; CheXbert is a bert with gelu and absolute positions")
    return shape


def expected(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return name → shape of every weight of a checkpoint, the pooler aside."""
    d, wide = shape.hidden_size, shape.intermediate_size
    names: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (shape.vocab_size, d),
        "bert.embeddings.position_embeddings.weight": (shape.max_position_embeddings, d),
        "bert.embeddings.token_type_embeddings.weight": (shape.type_vocab_size, d),
    }

    def norm(name: str) -> None:
        names.update({f"{name}.weight": (d,), f"{name}.bias": (d,)})

    def dense(name: str, n_in: int, n_out: int) -> None:
        names.update({f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)})

    norm("bert.embeddings.LayerNorm")
    for number in range(shape.num_hidden_layers):
        layer = f"bert.encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{layer}.attention.{part}", d, d)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", d, wide)
        dense(f"{layer}.output.dense", wide, d)
        norm(f"{layer}.output.LayerNorm")
    for number, classes in enumerate(HEADS):
        dense(f"linear_heads.{number}", d, classes)
    return names


def load_weights(file: Path, shape: Shape) -> dict[str, Tensor]:
    """Return name → float32 weight of a checkpoint that holds exactly what the shape asks for.

    Only tensors are read (``weights_only``): a pickle that would run code is refused. Raises BenchError for that, for
    an unreadable file, and for missing, unexpected, misshapen or non-finite weights.
    """
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as err:
        raise BenchError(
            f"{file}: not a checkpoint of tensors alone ({type(err).__name__}). A file that needs more than tensors "
            "could run code, and is never opened. Set the option checkpoint of the annotator to chexbert.pth of "
            "StanfordAIMI/RRG_scorers, fetched again"
        ) from None
    if isinstance(found, Mapping):
        found = found.get("model_state_dict", found)
    if not isinstance(found, Mapping):
        raise BenchError(f"{file}: holds a {type(found).__name__}, not the weights of CheXbert by name")
    weights = {str(name).removeprefix("module."): weight for name, weight in found.items()}
    _check(weights, expected(shape), file)
    return {name: weights[name].float() for name in expected(shape)}


def _check(weights: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], file: Path) -> None:
    known = [name for name in wanted if name in weights]
    shapes = {name: tuple(getattr(weights[name], "shape", ())) for name in known}
    faults = {
        "missing": [name for name in wanted if name not in weights],
        "unexpected": sorted(weights.keys() - wanted.keys() - HARMLESS - set(POOLER)),
        "of another shape": [
            f"{name} {list(shapes[name])}, not {list(wanted[name])}" for name in known if shapes[name] != wanted[name]
        ],
    }
    said = [f"{what}: {_some(names)}" for what, names in faults.items() if names]
    if not said:
        said = [f"not finite: {name}" for name in known if not torch.isfinite(weights[name]).all()][:1]
    if said:
        raise BenchError(f"{file} is not a checkpoint of CheXbert. {'. '.join(said)}. Fetch chexbert.pth again")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


Dense = Callable[[Tensor], Tensor]
"""A linear layer, [..., n_in] → [..., n_out]."""


def dense(weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Dense:
    """Return x → x Wᵀ + b, through the exact GELU where asked.

    On a CPU it is oneDNN's product with W laid out once, where this torch has that operation: 1.1 to 1.2 times as fast
    as the default one (MKL, AMD EPYC), and rounded differently in the last bits.
    """
    own = torch.ops.mkldnn
    usable = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (usable and hasattr(own, "_linear_pointwise") and hasattr(own, "_reorder_linear_weight")):
        return lambda x: F.gelu(F.linear(x, weight, bias)) if gelu else F.linear(x, weight, bias)
    laid_out = own._reorder_linear_weight(weight, _TYPICAL_ROWS)

    after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def product(x: Tensor) -> Tensor:
        found: Tensor = own._linear_pointwise(x, laid_out, bias, *after)
        return found

    return product


class Layer:
    """One layer of the encoder."""

    def __init__(self, weights: Mapping[str, Tensor], shape: Shape) -> None:
        def pair(name: str) -> tuple[Tensor, Tensor]:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        weight, bias = zip(*(pair(f"attention.self.{part}") for part in ("query", "key", "value")), strict=True)
        self.heads, self.epsilon = shape.num_attention_heads, shape.layer_norm_eps
        self.to_qkv = dense(torch.cat(weight), torch.cat(bias))
        self.attention_out = dense(*pair("attention.output.dense"))
        self.attention_norm = pair("attention.output.LayerNorm")
        self.widen, self.narrow = dense(*pair("intermediate.dense"), gelu=True), dense(*pair("output.dense"))
        self.norm = pair("output.LayerNorm")

    def __call__(self, x: Tensor, rows: Rows, *, first_only: bool) -> Tensor:
        """x: [tokens, d] → [tokens, d], or [texts, d] of each text's first token."""
        a = self._attention(rows.spread(self.to_qkv(x)), rows, first_only=first_only)
        x = x[rows.first] if first_only else x
        x = self._normed(x + self.attention_out(a), self.attention_norm)
        return self._normed(x + self.narrow(self.widen(x)), self.norm)

    def _attention(self, qkv: Tensor, rows: Rows, *, first_only: bool) -> Tensor:
        """qkv: [texts, longest, 3 d] → [tokens or texts, d]."""
        n, longest, d = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        q, k, v = qkv.view(n, longest, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q = q[:, :, :1] if first_only else q
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=rows.mask).transpose(1, 2)
        return found.reshape(n, d) if first_only else rows.gather(found.reshape(n * longest, d))

    def _normed(self, x: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *pair, self.epsilon)


class Rows:
    """Where the texts of a batch lie in their flat row of tokens, and the way to a padded square and back."""

    def __init__(self, lengths: Sequence[int], device: str) -> None:
        sizes = torch.tensor(lengths, device=device)
        self.n, self.longest = len(lengths), max(lengths)
        ends = sizes.cumsum(0)
        self.first = ends - sizes
        inside = torch.arange(self.longest, device=device) < sizes[:, None]  # [texts, longest]
        self.padded = self.n * self.longest > sum(lengths)
        self.mask = inside[:, None, None, :] if self.padded else None
        self._places = inside.flatten().nonzero().squeeze(1)
        self.positions = self._places % self.longest

    def spread(self, x: Tensor) -> Tensor:
        """[tokens, d] → [texts, longest, d], zeros behind each text's end."""
        if self.padded:
            x = x.new_zeros(self.n * self.longest, x.shape[1]).index_copy_(0, self._places, x)
        return x.view(self.n, self.longest, x.shape[1])

    def gather(self, x: Tensor) -> Tensor:
        """[texts × longest, d] → [tokens, d]."""
        return x[self._places] if self.padded else x


class Network:
    """The labeller, ready to run."""

    def __init__(self, weights: Mapping[str, Tensor], shape: Shape, device: str, dtype: str) -> None:
        """weights: as `load_weights` returns them; dtype: "float32" or "bfloat16", of the encoder."""
        self.device, self.epsilon = device, shape.layer_norm_eps
        placed = {name: weight.to(device, getattr(torch, dtype)) for name, weight in weights.items()}
        embeddings = {name.removeprefix("bert.embeddings."): weight for name, weight in placed.items()}
        self.words = embeddings["word_embeddings.weight"]
        self.places = embeddings["position_embeddings.weight"] + embeddings["token_type_embeddings.weight"][0]
        self.norm = embeddings["LayerNorm.weight"], embeddings["LayerNorm.bias"]
        self.layers = [Layer(_below(placed, f"bert.encoder.layer.{n}."), shape) for n in range(shape.num_hidden_layers)]
        heads = range(len(HEADS))
        self.head_weight = torch.cat([weights[f"linear_heads.{n}.weight"] for n in heads]).to(device)
        self.head_bias = torch.cat([weights[f"linear_heads.{n}.bias"] for n in heads]).to(device)

    @torch.inference_mode()
    def logits(self, batch: Sequence[Sequence[int]]) -> Tensor:
        """Return float32 [n, 54] on the CPU, the heads' classes side by side. batch: token ids, none empty."""
        return F.linear(self.hidden(batch), self.head_weight, self.head_bias).cpu()

    @torch.inference_mode()
    def hidden(self, batch: Sequence[Sequence[int]]) -> Tensor:
        """Return float32 [n, d], the last hidden state of each text's first token, which the heads read."""
        rows = Rows([len(ids) for ids in batch], self.device)
        ids = torch.tensor([token for ids in batch for token in ids], device=self.device)
        x = F.embedding(ids, self.words) + F.embedding(rows.positions, self.places)
        x = F.layer_norm(x, x.shape[-1:], *self.norm, self.epsilon)
        for layer in self.layers:
            x = layer(x, rows, first_only=layer is self.layers[-1])
        return x.float()


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
