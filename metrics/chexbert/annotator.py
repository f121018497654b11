"""The annotator ``chexbert``: a report's 14 observations, by the published weights, in batches."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from bench.batching import by_length, in_halves
from bench.contracts import Asset, Context, HubFiles, Unannotated
from bench.errors import BenchError, Unavailable, missing_package
from bench.hub import fetch_file, file_sha256, is_hub_id
from bench.options import Options
from metrics.chexbert import tokens
from metrics.chexbert.labels import CLASSES
from metrics.observations import LABELS

if TYPE_CHECKING:
    from metrics.chexbert.model import Network, Shape
    from metrics.chexbert.tokens import Tokens

VERSION = 1
"""Raised with every change of the code that moves a label."""
REPOSITORY, CHECKPOINT = "StanfordAIMI/RRG_scorers", "chexbert.pth"
CPU_TOKENS, GPU_TOKENS = 1024, 32768
"""Tokens a forward pass: on a CPU enough to keep its cores busy, more only adds padding."""
CPU_CHUNK, GPU_CHUNK = 256, 2048
Work = Callable[["Network", Sequence[list[int]]], list[list[float]]]
"""Network and token ids → a row a text."""


class CheXbertOptions(Options):
    """Options of `CheXbert`."""

    checkpoint: Path | None = None
    """Path of chexbert.pth; by default fetched from StanfordAIMI/RRG_scorers on the Hugging Face hub."""
    revision: str | None = None
    """Branch, tag or commit of that repository; by default the one in the local cache, else the newest."""
    tokenizer: str = Field("bert-base-uncased", min_length=1)
    """Folder with BERT's vocab.txt (and config.json, where the checkpoint is not of bert-base's shape), or a hub id."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens a forward pass, padding included; by default 1,024 on a CPU and 32,768 elsewhere."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the encoder. auto: bfloat16 on CUDA, else float32. The heads are always float32."""

    @model_validator(mode="after")
    def _a_file_has_no_revision(self) -> CheXbertOptions:
        if self.checkpoint is not None and self.revision is not None:
            raise ValueError(f"revision {self.revision!r}: {self.checkpoint} is a file; leave the option out")
        return self


class CheXbert:
    """CheXbert's 14 observations of a report; labels equal to the package f1chexbert's on the same weights.

    Cheap to build: weights and vocabulary are looked for by the first `fingerprint`, the network loaded by the first
    `annotate`. Only tensors are read of the checkpoint, and every one must be there. Texts of more than 512 tokens are
    cut, as in f1chexbert.
    """

    Options = CheXbertOptions

    def __init__(self, options: CheXbertOptions, context: Context) -> None:
        self.options, self.context = options, context
        on_cpu = context.device == "cpu"
        self.chunk = CPU_CHUNK if on_cpu else GPU_CHUNK
        self.batch_tokens = options.batch_tokens or (CPU_TOKENS if on_cpu else GPU_TOKENS)
        automatic = "bfloat16" if context.device.startswith("cuda") else "float32"
        self.dtype = automatic if options.dtype == "auto" else options.dtype

    def fingerprint(self) -> str:
        """Return code version, weights, vocabulary, shape and arithmetic; batches and device do not move a label."""
        return self._fingerprint

    def assets(self) -> Sequence[Asset]:
        """Return weights and vocabulary, where they are the hub's."""
        o = self.options
        weights = [HubFiles(REPOSITORY, o.revision, (CHECKPOINT,))] if o.checkpoint is None else []
        local = Path(o.tokenizer).expanduser().is_dir() or not is_hub_id(o.tokenizer)
        return weights if local else [*weights, HubFiles(o.tokenizer, None, (tokens.VOCABULARY,))]

    @cached_property
    def _fingerprint(self) -> str:
        vocabulary = hashlib.sha256(self._vocabulary.read_bytes()).hexdigest()
        shape = hashlib.sha256(json.dumps(asdict(self._shape)).encode()).hexdigest()
        weights = file_sha256(self._checkpoint, self.context)
        return f"chexbert-{VERSION}-{weights[:16]}-{vocabulary[:8]}{shape[:8]}-{self.dtype}"

    @cached_property
    def _checkpoint(self) -> Path:
        if self.options.checkpoint is None:
            return fetch_file(REPOSITORY, CHECKPOINT, self.options.revision, self.context, "checkpoint")
        file = self.options.checkpoint.expanduser()
        if not file.is_file():
            raise Unavailable(
                f"no file {file}", "set the option checkpoint of the annotator to the path of chexbert.pth"
            )
        return file

    @cached_property
    def _vocabulary(self) -> Path:
        return tokens.locate_vocabulary(self.options.tokenizer, self.context)

    @cached_property
    def _shape(self) -> Shape:
        return _model().read_shape(self._vocabulary.with_name("config.json"))  # type: ignore[no-any-return]

    @cached_property
    def _tokens(self) -> Tokens:
        found = tokens.Tokens(self._vocabulary, min(_model().LONGEST, self._shape.max_position_embeddings))
        if found.size != self._shape.vocab_size:
            raise BenchError(
                f"{self._vocabulary} has {found.size} tokens, the checkpoint {self._shape.vocab_size}: set tokenizer "
                "to the folder of bert-base-uncased"
            )
        return found

    @cached_property
    def _network(self) -> Network:
        model = _model()
        weights = model.load_weights(self._checkpoint, self._shape)
        return model.Network(weights, self._shape, self.context.device, self.dtype)  # type: ignore[no-any-return]

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return {"labels": {observation: 1, 0, -1 or None}} of each text, an `Unannotated` where one failed."""
        found: list[Any] = [unreadable(text) for text in texts]
        readable = [place for place, fault in enumerate(found) if fault is None]
        if readable:
            for place, logits in zip(readable, self.logits([texts[place] for place in readable]), strict=True):
                found[place] = _annotation(logits)
        return found

    def logits(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the 54 logits of each text (4 of each of 13 heads, 2 of the last), the same alone or in any batch.

        The same to about 1e-6: sums are rounded differently in batches of another shape.
        """
        return self._rows(texts, lambda network, ids: network.logits(ids).tolist())

    def hidden(self, texts: Sequence[str]) -> list[list[float]]:
        """Return what the heads read of each text, the last hidden state of [CLS]; batches as in `logits`."""
        return self._rows(texts, lambda network, ids: network.hidden(ids).tolist())

    def _rows(self, texts: Sequence[str], work: Work) -> list[list[float]]:
        ids = self._tokens.ids(texts)
        found: dict[int, list[float]] = {}
        for batch in by_length([len(text) for text in ids], self.batch_tokens):
            found.update(zip(batch, self._forward([ids[place] for place in batch], work), strict=True))
        return [found[place] for place in range(len(texts))]

    def _forward(self, batch: Sequence[list[int]], work: Work) -> list[list[float]]:
        import torch

        network = self._network
        try:
            return in_halves(batch, lambda part: work(network, part), torch.OutOfMemoryError)
        except torch.OutOfMemoryError:
            raise BenchError(
                f"annotator chexbert: not even one text fits into the free memory of {self.context.device}: free it, "
                "or set device to cpu"
            ) from None


def _model() -> Any:
    """Import the network's module, which needs torch."""
    try:
        from metrics.chexbert import model
    except ImportError:
        raise missing_package("annotator chexbert", "torch", "clinical") from None
    return model


def unreadable(text: str) -> Unannotated | None:
    """Return why a text is none, or None where it is one."""
    try:
        text.encode()
    except UnicodeEncodeError as err:
        return Unannotated(f"not a text: {err}")
    return None


def _annotation(logits: Sequence[float]) -> Any:
    if not all(map(math.isfinite, logits)):
        return Unannotated("the network's answer is not finite")
    labels: dict[str, int | None] = {}
    for number, name in enumerate(LABELS):
        head = logits[4 * number : 4 * number + 4]
        labels[name] = CLASSES[head.index(max(head))]
    return {"labels": labels}
