"""RadGraph annotators: text → entities and relations, as the package `radgraph` finds them, in real batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bench.batching import by_length, in_halves
from bench.contracts import Asset, Context, Unannotated
from bench.errors import BenchError, missing_package
from bench.options import Options
from metrics.radgraph.files import ModelFiles, assets, locate

if TYPE_CHECKING:
    from metrics.radgraph.network import Network, Pieces

VERSION = 1
"""Raised with every change of this package that moves a graph."""
EMPTY = "None"
"""What the package reads in the place of an empty text."""
CPU_BUDGET, GPU_BUDGET = 1024, 16_384


class RadGraphOptions(Options):
    """Options of the RadGraph annotators."""

    archive: str | None = None
    """The model's .tar.gz, or its unpacked folder; by default the hub's, StanfordAIMI/RRG_scorers."""
    revision: str | None = None
    """Branch, tag or commit of the hub's archive."""
    encoder: str | None = None
    """Hub id or folder of the transformer's configuration and tokeniser, in the place of the one the model names."""
    tokens_per_batch: int | None = Field(None, ge=1)
    """Word pieces a batch, padding included; by default 1,024 on a CPU and 16,384 elsewhere. Moves no graph."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the transformer; in half precision some graphs differ from the package's."""


class _Annotator:
    """One RadGraph model. Cheap to build: files are looked for by `fingerprint`, weights loaded by `annotate`."""

    Options = RadGraphOptions
    name: str

    def __init__(self, options: RadGraphOptions, context: Context) -> None:
        self.options, self.context = options, context
        budget = CPU_BUDGET if context.device == "cpu" else GPU_BUDGET
        self.budget = options.tokens_per_batch or budget

    def assets(self) -> Sequence[Asset]:
        """Return the model's archive and its encoder's tokeniser, where they are the hub's."""
        o = self.options
        return assets(self.name, o.archive, o.revision, o.encoder, self.context)

    def fingerprint(self) -> str:
        """Return a hash of code, package, weights, configuration, vocabulary, tokeniser and arithmetic."""
        return self._fingerprint

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return {"text", "entities"} of each text, an `Unannotated` where it failed alone.

        The two keys hold what ``radgraph.RadGraph(model_type=…)`` gives. A text without any word is read as "None",
        as the package does with an empty one.
        """
        prepared = [self._prepared(text if text.strip() else EMPTY) for text in texts]
        found: list[Any] = list(prepared)
        places = [place for place, pieces in enumerate(prepared) if not isinstance(pieces, Unannotated)]
        lengths = [prepared[place].size for place in places]
        for batch in by_length(lengths, self.budget):
            chosen = [places[k] for k in batch]
            for place, graph in zip(chosen, self._graphs([prepared[place] for place in chosen]), strict=True):
                found[place] = graph
        return found

    def _prepared(self, text: str) -> Any:
        """Return the word pieces of a text, or why there are none."""
        network = self._network
        try:
            return network.pieces(text)
        except Exception as err:
            return Unannotated(f"{type(err).__name__}: {err}")

    def _graphs(self, batch: Sequence[Pieces]) -> list[Any]:
        """Return the graphs of a batch; where it fails, its halves are read, down to the text that fails alone."""

        def work(part: Sequence[Pieces]) -> list[Any]:
            try:
                return self._network.graphs(part)
            except BenchError:
                raise
            except Exception as err:
                if len(part) > 1:
                    raise
                return [Unannotated(f"{type(err).__name__}: {err}")]

        return in_halves(batch, work, Exception)

    @cached_property
    def _files(self) -> ModelFiles:
        o = self.options
        return locate(self.name, o.archive, o.revision, o.encoder, self.context)

    @cached_property
    def _fingerprint(self) -> str:
        parts = {
            **self._files.identity(self.context),
            "name": self.name,
            "dtype": self.options.dtype,
            "package": _package_version(self.name),
            "version": VERSION,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{self.options.dtype}-{digest[:24]}"

    @cached_property
    def _network(self) -> Network:
        _package_version(self.name)
        for package in ("torch", "transformers"):
            try:
                version(package)
            except PackageNotFoundError:
                raise missing_package(f"annotator {self.name}", package, "clinical") from None
        from metrics.radgraph.network import Network

        return Network(self.name, self._files, self.context.device, self.options.dtype)


def _package_version(name: str) -> str:
    try:
        return version("radgraph")
    except PackageNotFoundError:
        raise missing_package(f"annotator {name}", "radgraph", "clinical") from None


class RadGraph(_Annotator):
    """The original RadGraph (Jain et al. 2021): four labels, three relations, trained on chest radiographs."""

    name = "radgraph"


class RadGraphXL(_Annotator):
    """RadGraph-XL (Delbrouck et al. 2024), trained on four kinds of radiology reports."""

    name = "radgraph-xl"


class ModernRadGraphXL(_Annotator):
    """RadGraph-XL on a ModernBERT encoder."""

    name = "modern-radgraph-xl"
