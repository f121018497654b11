"""Makes a RadGraph model of random weights in the published layout, whose graphs vary from text to text."""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

ENTITIES = ("Observation::definitely present", "Anatomy::definitely present", "Observation::definitely absent")
RELATIONS = ("modify", "located_at", "suggestive_of")
Rates = tuple[tuple[float, float, float], tuple[float, float, float]]
MANY: Rates = (0.15, 0.05, 0.05), (0.1, 0.1, 0.1)
"""Shares of spans and of pairs of spans that each label is calibrated to get: so many that short texts have some."""
USUAL: Rates = (0.05, 0.015, 0.015), (0.03, 0.015, 0.015)
"""Nearer to what reports have: some fifteen entities and twenty relations for one of 33 words."""
CONTEXT = 0.3
"""Factor on what attention adds to a word: more of it, and whole texts would be without any entity."""


@contextmanager
def peer() -> Iterator[Any]:
    """Give the package `radgraph` as it works on transformers 5: with the two tokeniser methods it misses."""
    from transformers import PreTrainedTokenizerBase

    def with_special(self: Any, ids: list[int], pair: Any = None) -> list[int]:
        return [self.cls_token_id, *ids, self.sep_token_id]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(PreTrainedTokenizerBase, "encode_plus", PreTrainedTokenizerBase.__call__, raising=False)
        patch.setattr(PreTrainedTokenizerBase, "build_inputs_with_special_tokens", with_special, raising=False)
        import radgraph

        yield radgraph


def load_peer(root: Path, name: str) -> Any:
    """Return the package's own RadGraph on the model folder root/name, on the CPU."""
    with peer() as radgraph:
        return radgraph.RadGraph(model_type=name, model_cache_dir=str(root), cuda=-1)


def their_graphs(model: Any, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the package's graphs, one text a call as it reads them."""
    with peer(), torch.inference_mode():
        found = model(list(texts))
    return [{key: found[str(k)][key] for key in ("text", "entities")} for k in range(len(texts))]


def wordpiece(folder: Path, texts: Sequence[str], longest: int) -> int:
    """Write an uncased BERT tokeniser of the texts' words, the long ones in two, and letters; return its size."""
    from transformers import BertTokenizer

    words = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    pieces = {"[PAD]": None, "[UNK]": None, "[CLS]": None, "[SEP]": None, "[MASK]": None}
    for word in sorted(words, key=lambda word: (-words[word], word)):
        pieces |= {word: None} if len(word) <= longest else {word[:5]: None, f"##{word[5:]}": None}
    letters = [chr(code) for code in range(33, 127)]
    pieces |= dict.fromkeys([*letters, *(f"##{letter}" for letter in letters)])
    BertTokenizer(vocab={piece: k for k, piece in enumerate(pieces)}).save_pretrained(folder)
    return len(pieces)


def byte_pairs(folder: Path) -> int:
    """Write a tokeniser of bytes with ModernBERT's special tokens; return its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: k for k, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return len(vocabulary)


def dygie_config(encoder: Path, max_length: int | None, size: int) -> dict[str, Any]:
    """Return a config.json with the sections and keys of the published ones."""
    bert = {"type": "pretrained_transformer_mismatched", "model_name": str(encoder), "max_length": max_length}
    return {
        "dataset_reader": {"type": "dygie", "max_span_width": 8, "token_indexers": {"bert": bert}},
        "model": {
            "type": "dygie",
            "embedder": {"token_embedders": {"bert": bert}},
            "initializer": {"regexes": [[".*weight", {"type": "xavier_normal"}]]},
            "module_initializer": {"regexes": [[".*weight", {"type": "xavier_normal"}]]},
            "feature_size": 20,
            "feedforward_params": {"dropout": 0.4, "hidden_dims": size, "num_layers": 2},
            "loss_weights": {"coref": 0, "events": 0, "ner": 0.2, "relation": 1},
            "max_span_width": 8,
            "modules": {
                "coref": {"coref_prop": 0, "max_antecedents": 100, "spans_per_word": 0.3},
                "events": {
                    "argument_spans_per_word": 0.8,
                    "loss_weights": {"arguments": 1, "trigger": 1},
                    "trigger_spans_per_word": 0.3,
                },
                "ner": {},
                "relation": {"spans_per_word": 0.5},
            },
            "target_task": "relation",
        },
    }


def make_model(
    root: Path,
    name: str,
    texts: Sequence[str],
    *,
    kind: str = "bert",
    max_length: int | None = 512,
    rates: Rates = MANY,
    real: bool = False,
    corpus: Sequence[str] | None = None,
) -> Any:
    """Write the model folder root/name with its encoder root/encoder; return the package's RadGraph on it.

    Weights are random, and biases set so that each label is given to a fixed share of the spans (pairs) of `texts`.
    real: bert-base's size, and heads of 150 units as published. corpus: where the tokeniser's words come from.
    """
    folder, encoder = root / name, root / f"{name}-encoder"
    (folder / "vocabulary").mkdir(parents=True)
    encoder.mkdir()
    size = byte_pairs(encoder) if kind == "modernbert" else wordpiece(encoder, corpus or texts, 12 if real else 7)
    encoder_config(kind, size, real).save_pretrained(encoder)
    (folder / "config.json").write_text(json.dumps(dygie_config(encoder, max_length, 150 if real else 24)))
    labels = folder / "vocabulary"
    (labels / "non_padded_namespaces.txt").write_text("*labels\n*tags\n")
    (labels / f"{name}__ner_labels.txt").write_text("\n".join(("", *ENTITIES)) + "\n")
    (labels / f"{name}__relation_labels.txt").write_text("\n".join(RELATIONS) + "\n")
    model = _draw(folder, encoder, name)
    torch.save(model.state_dict(), folder / "weights.th")
    theirs = load_peer(root, name)
    _calibrate(theirs, name, texts, rates)
    torch.save(theirs.model.state_dict(), folder / "weights.th")
    return theirs


def encoder_config(kind: str, vocabulary: int, real: bool) -> Any:
    from transformers import BertConfig, ModernBertConfig

    if kind == "modernbert":
        return ModernBertConfig(
            vocab_size=vocabulary, hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
            pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3, initializer_range=0.3,
        )  # fmt: skip
    if real:
        return BertConfig()
    return BertConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.2,
    )  # fmt: skip


def _draw(folder: Path, encoder: Path, name: str) -> Any:
    """Return the package's DyGIE of random weights, with the names its own embedder gives the transformer's."""
    from radgraph.allennlp.data import Vocabulary
    from radgraph.allennlp.modules import text_field_embedders, token_embedders
    from radgraph.dygie.models.dygie import DyGIE

    torch.manual_seed(0)
    settings = copy.deepcopy(json.loads((folder / "config.json").read_text())["model"])
    for key in ("type", "embedder", "initializer", "module_initializer"):
        del settings[key]
    with peer():
        embedder = token_embedders.PretrainedTransformerMismatchedEmbedder(str(encoder))
    vocabulary = Vocabulary.from_files(str(folder / "vocabulary"))
    model = DyGIE(
        vocab=vocabulary, embedder=text_field_embedders.BasicTextFieldEmbedder({"bert": embedder}), **settings
    )
    entity = model._ner._ner_scorers[f"{name}__ner_labels"]
    mention = model._relation._mention_pruners[f"{name}__relation_labels"]._scorer
    mention[0].load_state_dict(entity[0].state_dict())  # so that the spans kept for relations are often entities
    with torch.no_grad():
        mention[1]._module.weight.copy_(entity[1]._module.weight[:1])
        for key, weight in model.named_parameters():
            if key.endswith(("attention.output.dense.weight", "attn.Wo.weight")):
                weight *= CONTEXT
    return model


def _calibrate(theirs: Any, name: str, texts: Sequence[str], rates: Rates) -> None:
    """Scale the last layers and set their biases so that each label wins its share over the texts."""
    model = theirs.model
    mention = model._relation._mention_pruners[f"{name}__relation_labels"]._scorer[1]._module
    entity = model._ner._ner_scorers[f"{name}__ner_labels"][1]._module
    relation = model._relation._relation_scorers[f"{name}__relation_labels"]
    seen: dict[nn.Module, list[torch.Tensor]] = {mention: [], entity: [], relation: []}
    hooks = [
        layer.register_forward_hook(lambda module, given, scores: seen[module].append(scores.clone())) for layer in seen
    ]
    with pytest.MonkeyPatch.context() as patch:  # only scores are needed
        patch.setattr(model._ner, "predict", lambda *given: [[]])
        patch.setattr(model._relation, "predict", lambda *given: ([{}], [[]]))
        their_graphs(theirs, texts)
    for hook in hooks:
        hook.remove()
    for layer, shares, scale in ((mention, (0.1,), 0.1), (entity, rates[0], 1.0), (relation, rates[1], 1.0)):
        _center(layer, torch.cat(seen[layer]), shares, scale)


def _center(layer: Any, scores: torch.Tensor, rates: Sequence[float], scale: float) -> None:
    """Give the scores [n, n_labels] of a layer a spread of `scale`, and let about the share `rates` be above 0.

    0 is put into the widest gap near that share: no score may be so near to it that rounding decides.
    """
    with torch.no_grad():
        high = torch.stack([_gap(scores[:, k].sort().values, 1 - rate) for k, rate in enumerate(rates)])
        spread = scores.std(0) / scale
        layer.weight /= spread[:, None]
        layer.bias.copy_((layer.bias - high) / spread)


def _gap(ascending: torch.Tensor, share: float) -> torch.Tensor:
    """Return the middle of the widest gap within a hundredth of the scores around `share` of them."""
    middle, reach = int(share * len(ascending)), max(1, len(ascending) // 100)
    near = ascending[middle - reach : middle + reach + 1]
    widest = near.diff().argmax()
    return (near[widest] + near[widest + 1]) / 2
