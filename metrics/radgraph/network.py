"""A RadGraph model on batches of reports: the package's DyGIE classes and weights, driven without padding.

The package reads one report a forward pass. Given several as the sentences of one document it pads them to the
longest, and its relation head then masks one side of a pair only, so that reports gain relations of spans that are not
among theirs. Here only the transformer sees padding, behind its attention mask: the words, spans and pairs of a batch
are laid end to end, and a report's are its own.

Torch is imported at the top: this module is imported where a model is used.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate, pairwise
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError, missing_package
from bench.hub import quiet
from metrics.radgraph.files import PADDING, WEIGHTS, ModelFiles
from metrics.radgraph.heads import Heads, Ints, Spans, kept_spans, pair_table, span_table, strongest

WORDS_KEPT = 1 << 17
"""Words whose pieces are remembered."""
DERIVED = "position_ids"
"""A buffer of older checkpoints that counts 0, 1, 2 …; transformers makes it itself."""
UNLOADABLE = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, UnpicklingError)
"""What torch, transformers and the package raise for files that are damaged or do not fit each other."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A report as the transformer reads it."""

    words: tuple[str, ...]
    windows: tuple[tuple[int, ...], ...]
    """Ids of the word pieces, special ones left out, in windows of the model's length."""
    counts: tuple[int, ...]
    """Pieces of each word; 0 for a word that the tokeniser drops."""

    @property
    def size(self) -> int:
        """Pieces a batch grows by."""
        return sum(map(len, self.windows[:1])) * len(self.windows)


class Encoder(nn.Module):
    """A transformer under the names that its weights have in the package's models."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.token_embedder_bert = nn.ModuleDict(
            {"_matched_embedder": nn.ModuleDict({"transformer_model": transformer})}
        )
        self.dim = int(transformer.config.hidden_size)  # type: ignore[union-attr,arg-type]

    def get_output_dim(self) -> int:
        """Return the length of a hidden state; the package asks by this name."""
        return self.dim

    def transformer(self) -> Any:
        """Return the transformer."""
        return self.token_embedder_bert["_matched_embedder"]["transformer_model"]  # type: ignore[index]


class Network:
    """A loaded model with its tokeniser."""

    def __init__(self, name: str, files: ModelFiles, device: str, dtype: str) -> None:
        self.name, self.device, self.settings = name, device, files.settings
        with still():
            self._package = _package(name)
            self._tokenizer = _tokenizer(files)
            vocabulary = read_vocabulary(files)
            model = load(files, vocabulary).to(device)
        self._entity_labels, self._relation_labels = (
            label_names(vocabulary, f"{name}__{kind}_labels", files) for kind in ("ner", "relation")
        )
        self._heads = Heads(model, name, device)
        self._transformer = model._embedder.transformer().to(getattr(torch, dtype))
        self._start, self._end = special_ids(self._tokenizer)
        self._ids: dict[str, tuple[int, ...]] = {}

    def pieces(self, text: str) -> Pieces:
        """Return a text's words, split as the package does for this model, and their pieces."""
        (document,) = self._package.preprocess_reports([text], self.name)
        (words,) = document["sentences"]
        ids = self._word_ids([word[1:] if word in ("/.", "/?") else word for word in words])
        flat = [piece for word in ids for piece in word]
        longest = self.settings.max_length
        size = longest - len(self._start) - len(self._end) if longest else max(1, len(flat))
        windows = tuple(tuple(flat[start : start + size]) for start in range(0, len(flat), size))
        return Pieces(tuple(words), windows, tuple(map(len, ids)))

    def _word_ids(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the ids of each word's pieces, each word tokenised by itself."""
        if len(self._ids) > WORDS_KEPT:
            self._ids.clear()
        new = list(dict.fromkeys(word for word in words if word not in self._ids))
        if new:
            made = self._tokenizer(new, add_special_tokens=False)["input_ids"]
            self._ids.update(zip(new, map(tuple, made), strict=True))
        return [self._ids[word] for word in words]

    @torch.inference_mode()
    def graphs(self, batch: Sequence[Pieces]) -> list[dict[str, Any]]:
        """Return {"text", "entities"} of each report."""
        words = self._words(batch)
        table, bounds = self._spans(batch)
        spans = Spans(*torch.from_numpy(table).to(self.device))
        labels = self._heads.entities(words, spans).cpu().numpy()
        mentions = self._heads.mentions(words, spans)
        related = self._relations(words, spans, mentions, bounds, batch)
        graphs = []
        offset = 0
        for report, (start, end), relations in zip(batch, pairwise(bounds), related, strict=True):
            own = table[:, start:end] - offset
            entities = [
                [*own[:, place].tolist(), self._entity_labels[labels[start + place]]]
                for place in labels[start:end].nonzero()[0]
            ]
            found = [
                [*own[:, a - start].tolist(), *own[:, b - start].tolist(), self._relation_labels[label - 1]]
                for a, b, label in relations
            ]
            graphs.append(self._graph(report, entities, found))
            offset += len(report.words)
        return graphs

    def _graph(self, report: Pieces, entities: list[list[Any]], relations: list[list[Any]]) -> dict[str, Any]:
        words = list(report.words)
        return {"text": " ".join(words), "entities": self._package.get_entity(entities, relations, words)}

    def _words(self, batch: Sequence[Pieces]) -> Tensor:
        """Return float32 [n_words of the batch, hidden]: the mean over a word's pieces, 0 for a word without any."""
        windows = [window for report in batch for window in report.windows] or [()]
        ids, mask = self._padded(windows)
        states = self._transformer(input_ids=ids, attention_mask=mask)[0]
        starts = np.arange(len(windows)) * ids.shape[1] + len(self._start)
        places = np.concatenate([start + np.arange(len(w)) for start, w in zip(starts, windows, strict=True)])
        counts = [count for report in batch for count in report.counts]
        return nn.functional.embedding_bag(
            torch.from_numpy(places).to(self.device),
            states.flatten(0, 1).float(),
            torch.tensor([0, *accumulate(counts)][:-1], device=self.device),
            mode="mean",
        )

    def _padded(self, windows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return ids and attention mask [n_windows, longest window], special pieces included."""
        rows = [[*self._start, *window, *self._end] for window in windows]
        shape = len(rows), max(map(len, rows))
        ids = np.full(shape, self._tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros(shape, np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def _spans(self, batch: Sequence[Pieces]) -> tuple[Ints, list[int]]:
        """Return all spans, as words of the batch, [2, n_spans]; and where each report's start, and the end."""
        lengths = [len(report.words) for report in batch]
        offsets = [0, *accumulate(lengths)][:-1]
        tables = [span_table(length, self.settings.max_span_width) for length in lengths]
        table = np.concatenate([own + offset for own, offset in zip(tables, offsets, strict=True)], axis=1)
        return table, [0, *accumulate(own.shape[1] for own in tables)]

    def _relations(
        self, words: Tensor, spans: Spans, mentions: Tensor, bounds: Sequence[int], batch: Sequence[Pieces]
    ) -> list[list[tuple[int, int, int]]]:
        """Return (span, span, label) of each relation of each report, in the package's order; spans of the batch."""
        on_host = mentions.cpu()
        kept = [
            start + strongest(on_host[start:end], kept_spans(len(report.words), self._heads.spans_per_word)).numpy()
            for report, (start, end) in zip(batch, pairwise(bounds), strict=True)
        ]
        tables = [pair_table(len(own)) for own in kept]
        offsets = [0, *accumulate(map(len, kept))][:-1]
        pairs = np.concatenate([own + offset for own, offset in zip(tables, offsets, strict=True)], axis=1)
        chosen = torch.from_numpy(np.concatenate(kept)).to(self.device)
        labels = self._heads.relations(words, spans[chosen], mentions[chosen], torch.from_numpy(pairs).to(self.device))
        ends = list(accumulate(table.shape[1] for table in tables))
        parts = np.split(labels.cpu().numpy(), ends[:-1], axis=1)
        return [_related(own, table, part) for own, table, part in zip(kept, tables, parts, strict=True)]


def _related(kept: Ints, table: Ints, labels: Ints) -> list[tuple[int, int, int]]:
    """Return (span, span, label) of each related pair, by first and then by second span.

    kept: a report's spans [n]; table: places of its pairs [2, n_pairs]; labels: of each pair and its converse.
    """
    square = np.zeros((len(kept), len(kept)), np.int64)
    for (first, second), found in zip((table, table[::-1]), labels, strict=True):
        square[first, second] = found
    first, second = square.nonzero()
    return list(zip(kept[first].tolist(), kept[second].tolist(), square[first, second].tolist(), strict=True))


# ------------------------------------------------------------------ loading


@contextmanager
def still() -> Iterator[None]:
    """Keep what packages say while they are imported and a model is loaded from the user; put settings back."""
    logger = logging.getLogger("radgraph")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _package(name: str) -> Any:
    """Return the package's module of text functions."""
    try:
        return import_module("radgraph.utils")
    except ImportError as err:
        raise missing_package(f"annotator {name}", err.name or "radgraph", "clinical") from None


def _tokenizer(files: ModelFiles) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(files.encoder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise BenchError(f"{files.encoder}: its tokeniser cannot be loaded: {err}") from None


def special_ids(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that a tokeniser puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(k for k in range(len(whole)) if whole[k : k + len(plain)] == plain)
    return tuple(whole[:start]), tuple(whole[start + len(plain) :])


def read_vocabulary(files: ModelFiles) -> Any:
    """Return the package's Vocabulary of a model folder (its own reader leaves a lock file there)."""
    made = import_module("radgraph.allennlp.data").Vocabulary
    unpadded = (files.folder / "vocabulary" / PADDING).read_text(encoding="utf-8").split()
    vocabulary = made(non_padded_namespaces=unpadded)
    match = import_module("radgraph.allennlp.common.util").namespace_match
    for file in files.vocabulary:
        if file.name != PADDING:
            padded = not any(match(pattern, file.stem) for pattern in unpadded)
            vocabulary.set_from_file(str(file), padded, namespace=file.stem)
    return vocabulary


def label_names(vocabulary: Any, namespace: str, files: ModelFiles) -> dict[int, str]:
    """Return number → label. Raises BenchError where the model has no such labels."""
    if namespace not in vocabulary.get_namespaces():
        have = ", ".join(sorted(vocabulary.get_namespaces()))
        raise BenchError(f"{files.folder}: its vocabulary has {have}, not {namespace}: the archive of another model?")
    found: dict[int, str] = vocabulary.get_index_to_token_vocabulary(namespace)
    return found


def load(files: ModelFiles, vocabulary: Any) -> Any:
    """Return the package's model with its weights, ready for inference; nothing but tensors is unpickled.

    Raises BenchError where weights and configuration do not fit each other to the last name and shape.
    """
    from transformers import AutoConfig, AutoModel

    made = import_module("radgraph.dygie.models.dygie").DyGIE
    settings = copy.deepcopy(dict(files.settings.model))  # the package takes it apart
    try:
        with torch.random.fork_rng(devices=[]):  # weights that are drawn and replaced move no one's numbers
            config = AutoConfig.from_pretrained(files.encoder, trust_remote_code=False, local_files_only=True)
            model = made(vocab=vocabulary, embedder=Encoder(AutoModel.from_config(config)), **settings)
        state = torch.load(files.folder / WEIGHTS, map_location="cpu", weights_only=True)
        model.load_state_dict({key: value for key, value in state.items() if not key.endswith(DERIVED)}, strict=True)
    except UNLOADABLE as err:
        lines = str(err).splitlines()
        why = " ".join(line.strip() for line in lines[:3])
        raise BenchError(f"{files.folder}: not loadable as a RadGraph model on {files.encoder}: {why}") from None
    return model.eval().requires_grad_(False)
