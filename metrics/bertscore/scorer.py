"""BERTScore of pairs of texts: the part that BERTScore and RadCliQ share."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.batching import by_length
from bench.contracts import Context, Floats, HubFiles
from bench.errors import missing_package
from metrics.bertscore import checkpoint
from metrics.bertscore.options import BERTScoreOptions

if TYPE_CHECKING:
    from metrics.bertscore.network import Encoded, Network

VERSION = 1
"""Raised with every change of the code that moves a score."""
CPU_TOKENS, GPU_TOKENS = 2048, 32_768
HELD_TOKENS = 65_536
"""Tokens whose vectors are held at once: 200 MB of a model of 768 dimensions."""
Texts = tuple[str, str]
"""Candidate and reference."""


class Scorer:
    """Precision, recall and F of pairs of texts, equal to bert-score's on the same weights.

    Cheap to build: files are looked for by `fingerprint`, weights loaded by `scores`. A score is the same alone or with
    any others, to about 1e-6.
    """

    def __init__(self, options: BERTScoreOptions, context: Context, what: str) -> None:
        """what: who needs it, for messages ("metric bertscore")."""
        self.options, self.context, self.what = options, context, what
        self.budget = options.batch_tokens or (CPU_TOKENS if context.device == "cpu" else GPU_TOKENS)

    def assets(self) -> list[HubFiles]:
        """Return weights and tokeniser, where they are the hub's."""
        return checkpoint.assets(self.options.model, self.options.revision)

    def fingerprint(self) -> str:
        """Return model, layer, arithmetic, and a hash of weights, tokeniser and code; then how scores are rescaled."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        o = self.options
        parts = {**checkpoint.identity(self._folder, self.context), "version": VERSION}
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        baseline = "no" if o.chosen_baseline is None else ",".join(f"{number:.8g}" for number in o.chosen_baseline)
        return f"{o.name}-{o.dtype}-{digest}|layer:{o.chosen_layer}|idf:no|rescale:{baseline}"

    @cached_property
    def _folder(self) -> Path:
        for package in ("torch", "transformers"):
            try:
                importlib.import_module(package)
            except ImportError:
                raise missing_package(self.what, package, "hf") from None
        return checkpoint.locate(self.options.model, self.options.revision, self.context)

    @cached_property
    def network(self) -> Network:
        """The model, loaded on first use."""
        from metrics.bertscore.network import Network

        return Network(self._folder, self.options.chosen_layer, self.context.device, self.options.dtype)

    # -------------------------------------------------------------- scores

    def scores(self, pairs: Sequence[Texts]) -> Floats:
        """Return precision, recall, F of each pair, [n_pairs, 3]; NaN where a text is none or the model fails on it."""
        raw = self.raw(pairs)
        baseline = self.options.chosen_baseline
        if baseline is None:
            return raw
        zero = np.array(baseline)
        rescaled: Floats = (raw - zero) / (1 - zero)
        return rescaled

    def raw(self, pairs: Sequence[Texts]) -> Floats:
        """Return the scores before they are rescaled."""
        found = np.full((len(pairs), 3), np.nan)
        readable = {text for pair in pairs for text in pair if is_text(text)}
        asked = sorted({pair for pair in pairs if readable.issuperset(pair)})
        if not asked:
            return found
        texts = sorted(readable)
        ids = dict(zip(texts, self.network.ids(texts), strict=True))
        made: dict[Texts, Floats] = {}
        for group in _groups(asked, ids):
            made.update(zip(group, self._group(group, ids), strict=True))
        for row, pair in enumerate(pairs):
            if pair in made:
                found[row] = made[pair]
        return found

    def _group(self, group: Sequence[Texts], ids: dict[str, list[int]]) -> Floats:
        """Return the raw scores of pairs whose vectors are held at once, [n, 3]."""
        import torch

        from metrics.bertscore.network import precision_recall

        encoded = self._encoded(sorted({text for pair in group for text in pair}), ids)
        rows = [precision_recall(encoded[candidate], encoded[reference]) for candidate, reference in group]
        return with_f(np.asarray(torch.stack(rows).cpu().numpy(), np.float64))

    def _encoded(self, texts: Sequence[str], ids: dict[str, list[int]]) -> dict[str, Encoded]:
        made: dict[str, Encoded] = {}
        for batch in by_length([len(ids[text]) for text in texts], self.budget):
            chosen = [texts[place] for place in batch]
            made.update(zip(chosen, self.network.encode([ids[text] for text in chosen]), strict=True))
        return made

    def matches(self, candidate: str, reference: str) -> tuple[Any, Any, Floats]:
        """Return both texts' pieces and the cosine of each two tokens, [n_candidate, n_reference]."""
        from metrics.bertscore.network import cosines

        sides = [self.network.pieces(text) for text in (candidate, reference)]
        said, true = (self.network.encode([side.ids])[0] for side in sides)
        return sides[0], sides[1], np.asarray(cosines(said, true).cpu().numpy(), np.float64)


def with_f(precision_recall: Floats) -> Floats:
    """Return precision, recall and their harmonic mean, [n, 2] → [n, 3]; F is 0 where both are."""
    p, r = precision_recall.T
    total = p + r
    f = np.divide(2 * p * r, total, out=np.zeros(len(total)), where=total != 0)
    return np.stack([p, r, f], axis=1)


def is_text(text: str) -> bool:
    """Tell whether a text is one: no halves of characters, which cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _groups(pairs: Sequence[Texts], ids: dict[str, list[int]]) -> Iterator[list[Texts]]:
    """Yield the pairs in groups of at most `HELD_TOKENS`, equal references together, the longest first."""
    ordered = sorted(pairs, key=lambda pair: (-len(ids[pair[1]]), pair[1], pair[0]))
    group: list[Texts] = []
    held: set[str] = set()
    size = 0
    for pair in ordered:
        added = sum(len(ids[text]) for text in set(pair) - held)
        if group and size + added > HELD_TOKENS:
            yield group
            group, held, size = [], set(), 0
            added = sum(len(ids[text]) for text in set(pair))
        group.append(pair)
        held.update(pair)
        size += added
    yield group
