"""RadGraph's layers over words, spans and pairs of spans, on the package's weights and without padding.

The first layer over a span, [first word, last word, width], is a sum of three products, two of which are computed once
a word and not once a span; likewise the layer over a pair of spans, [a, b, a·b].

Torch is imported at the top: this module is imported where a model is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Ints = NDArray[np.int64]
PAIRS_AT_ONCE = {"cpu": 2048}
MANY_PAIRS = 65_536
"""Pairs whose products are held at once on a GPU."""


class Layers:
    """A feed-forward network with its scorer, whose input is a concatenation of parts of the given sizes."""

    def __init__(self, feedforward: Any, scorer: Any, sizes: list[int]) -> None:
        first, *self._rest = feedforward._linear_layers
        self._activation, *self._activations = feedforward._activations
        self._scorer = scorer
        self.bias: Tensor = first.bias
        self.parts = [part.T for part in first.weight.split(sizes, dim=1)]

    def scores(self, summed: Tensor) -> Tensor:
        """Return the scores [n, n_scores] of the first layer's output [n, hidden] before its activation."""
        hidden = self._activation(summed)
        for layer, activation in zip(self._rest, self._activations, strict=True):
            hidden = activation(layer(hidden))
        found: Tensor = self._scorer(hidden)
        return found


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of words: first and last word, both included, [n_spans] each."""

    first: Tensor
    last: Tensor

    def __getitem__(self, places: Tensor) -> Spans:
        return Spans(self.first[places], self.last[places])


class Heads:
    """The layers of one label vocabulary of a DyGIE model."""

    def __init__(self, model: Any, name: str, device: str) -> None:
        namespace, relation = f"{name}__ner_labels", model._relation
        self._widths: Tensor = model._endpoint_span_extractor._span_width_embedding.weight
        hidden = model._endpoint_span_extractor.get_input_dim()
        sizes = [hidden, hidden, self._widths.shape[1]]
        self._entity = _over_spans(model._ner._ner_scorers[namespace], sizes)
        namespace = f"{name}__relation_labels"
        self._mention = _over_spans(relation._mention_pruners[namespace]._scorer, sizes)
        self._relation = Layers(
            relation._relation_feedforwards[namespace], relation._relation_scorers[namespace], [sum(sizes)] * 3
        )
        self.spans_per_word = float(relation._spans_per_word)
        self._pairs_at_once = PAIRS_AT_ONCE.get(device, MANY_PAIRS)

    def entities(self, words: Tensor, spans: Spans) -> Tensor:
        """Return the label of each span [n_spans], 0 for none. words: [n_words, hidden]."""
        return _best(self._over(self._entity, words, spans))

    def mentions(self, words: Tensor, spans: Spans) -> Tensor:
        """Return how much each span looks like a side of a relation, [n_spans]."""
        return self._over(self._mention, words, spans)[:, 0]

    def relations(self, words: Tensor, spans: Spans, mentions: Tensor, pairs: Tensor) -> Tensor:
        """Return the labels of each pair and of its converse, 0 for none, [2, n_pairs].

        pairs: places in `spans`, [2, n_pairs]. The product of two spans serves both directions.
        """
        embedded = torch.cat([words[spans.first], words[spans.last], self._widths[spans.last - spans.first]], dim=1)
        of_a, of_b, of_product = self._relation.parts
        side_a, side_b = embedded @ of_a + self._relation.bias, embedded @ of_b
        labels = []
        for a, b in zip(*(side.split(self._pairs_at_once) for side in pairs), strict=True):
            product = (embedded[a] * embedded[b]) @ of_product
            mentioned = (mentions[a] + mentions[b])[:, None]
            both = ((side_a[a] + side_b[b]).add_(product), (side_a[b] + side_b[a]).add_(product))
            labels.append(torch.stack([_best(self._relation.scores(summed) + mentioned) for summed in both]))
        return torch.cat(labels, dim=1)

    def _over(self, layers: Layers, words: Tensor, spans: Spans) -> Tensor:
        of_first, of_last, of_width = layers.parts
        width = self._widths @ of_width + layers.bias
        summed = (words @ of_first)[spans.first] + (words @ of_last)[spans.last] + width[spans.last - spans.first]
        return layers.scores(summed)


def _over_spans(scorer: nn.Sequential, sizes: list[int]) -> Layers:
    feedforward, linear = (step._module for step in scorer)
    return Layers(feedforward, linear, sizes)


def _best(scores: Tensor) -> Tensor:
    """Return 1 + the place of the highest score of each row, 0 where none is above 0."""
    none = scores.new_zeros(len(scores), 1)
    return torch.cat([none, scores], dim=1).max(dim=1).indices


def kept_spans(n_words: int, spans_per_word: float) -> int:
    """Return how many spans of a report may take part in relations; in float32, as the package computes it."""
    return max(1, math.ceil(np.float32(n_words) * np.float32(spans_per_word)))


def strongest(mentions: Tensor, n: int) -> Tensor:
    """Return the places of the n highest scores [n_spans], ascending."""
    return mentions.topk(min(n, len(mentions))).indices.sort().values


@lru_cache(maxsize=1024)
def span_table(n_words: int, widest: int) -> Ints:
    """Return first and last word of every span of at most `widest` words, [2, n_spans], in the package's order."""
    rows = [(first, last) for first in range(n_words) for last in range(first, min(first + widest, n_words))]
    return np.array(rows, np.int64).T


@lru_cache(maxsize=1024)
def pair_table(n: int) -> Ints:
    """Return all unordered pairs of n places, a place with itself included, [2, n (n + 1) / 2]."""
    return np.array(np.triu_indices(n), np.int64)
