"""Annotators: a report's sentences, each with the findings that SRR-BERT sees in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from bench import hub
from bench.batching import by_length, in_halves
from bench.contracts import Asset, Context, HubFiles, Unannotated
from bench.errors import BenchError, Unavailable, missing_package
from bench.options import Options
from metrics.srr_bert.labels import LABELS, MODELS, Variant
from metrics.srr_bert.sentences import sentences

VERSION = 1
"""Raised with every change of the code that moves a label."""
LONGEST = 512
CPU_TOKENS, GPU_TOKENS = 1024, 32768
WEIGHTS = ("config.json", "model.safetensors")
VOCABULARY = ("vocab.txt", "tokenizer_config.json")


class SRRBertOptions(Options):
    """Options of the SRR-BERT annotators."""

    model: str | None = None
    """Folder of the weights, or another id of the Hugging Face hub; None: the published ones."""
    revision: str | None = None
    """Branch, tag or commit of the hub's repository; None: the one in the local cache, else its main branch."""
    tokenizer: str = Field("microsoft/BiomedVLP-CXR-BERT-general", min_length=1)
    """Folder with vocab.txt and tokenizer_config.json, or a hub id: the tokenizer that the models were trained with."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens a forward pass, padding included; by default 1,024 on a CPU and 32,768 elsewhere. Moves no label."""


class _SRRBert:
    """One SRR-BERT model: a BERT with a yes or no for each label, each sentence by itself, threshold 0.5.

    Cheap to build: files are looked for by the first `fingerprint`, the network is loaded by the first `annotate`.
    """

    Options = SRRBertOptions
    variant: ClassVar[Variant]

    def __init__(self, options: SRRBertOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.labels = LABELS[self.variant]
        budget = CPU_TOKENS if context.device == "cpu" else GPU_TOKENS
        self.batch_tokens = options.batch_tokens or budget

    # -------------------------------------------------------------- files

    def assets(self) -> Sequence[Asset]:
        """Return weights and vocabulary, where they are the hub's."""
        return [wanted for wanted in (self._weights, self._vocabulary) if _local(wanted.repository) is None]

    @property
    def _weights(self) -> HubFiles:
        return HubFiles(self.options.model or MODELS[self.variant], self.options.revision, WEIGHTS)

    @property
    def _vocabulary(self) -> HubFiles:
        return HubFiles(self.options.tokenizer, None, VOCABULARY)

    @cached_property
    def _folder(self) -> Path:
        return _found(self._weights, self.context, "model", "the model's repository")

    @cached_property
    def _words(self) -> Path:
        return _found(self._vocabulary, self.context, "tokenizer", "microsoft/BiomedVLP-CXR-BERT-general")

    def fingerprint(self) -> str:
        """Return code version, variant, weights, configuration and vocabulary. Raises Unavailable."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        for package in ("torch", "transformers"):
            try:
                version(package)
            except PackageNotFoundError:
                raise missing_package("SRR-BERT", package, "clinical") from None
        files = [self._folder / name for name in WEIGHTS] + [self._words / name for name in VOCABULARY]
        hashes = "".join(hub.file_sha256(file, self.context) for file in files)
        return f"srr-bert-{self.variant}-{VERSION}-{hashlib.sha256(hashes.encode()).hexdigest()[:24]}"

    # -------------------------------------------------------------- labels

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return {"srr": [{"sentence", "labels"}, …]} of each text, an `Unannotated` where one failed."""
        split = [sentences(text) if _readable(text) else [] for text in texts]
        different = list(dict.fromkeys(sentence for one in split for sentence in one))
        found = dict(zip(different, self._labels(different), strict=True))
        return [
            {"srr": [{"sentence": sentence, "labels": found[sentence]} for sentence in one]}
            if one
            else Unannotated("not a text")
            for one in split
        ]

    def _labels(self, different: Sequence[str]) -> list[list[str]]:
        if not different:
            return []
        ids: list[list[int]] = self._tokenizer(list(different), truncation=True, max_length=LONGEST)["input_ids"]
        found: dict[int, list[str]] = {}
        for batch in by_length([len(one) for one in ids], self.batch_tokens):
            found.update(zip(batch, self._forward([ids[place] for place in batch]), strict=True))
        return [found[place] for place in range(len(different))]

    def _forward(self, batch: Sequence[list[int]]) -> list[list[str]]:
        import torch

        def work(part: Sequence[list[int]]) -> list[list[str]]:
            given = self._tokenizer.pad({"input_ids": list(part)}, return_tensors="pt").to(self.context.device)
            with torch.inference_mode():
                logits = self._network(**given).logits.float().cpu()
            said = torch.sigmoid(logits) > 0.5
            return [[self.labels[label] for label in row.nonzero().flatten().tolist()] for row in said]

        try:
            return in_halves(batch, work, torch.OutOfMemoryError)
        except torch.OutOfMemoryError:
            raise BenchError(
                f"SRR-BERT: not even one sentence fits into the free memory of {self.context.device}: free it, or set "
                "device to cpu"
            ) from None

    @cached_property
    def _tokenizer(self) -> Any:
        with hub.quiet():
            from transformers import BertTokenizer

            try:
                return BertTokenizer.from_pretrained(self._words, local_files_only=True)
            except (OSError, ValueError) as err:
                raise BenchError(f"{self._words}: not BERT's vocabulary: {err}") from None

    @cached_property
    def _network(self) -> Any:
        with hub.quiet():
            from transformers import BertForSequenceClassification

            try:
                network, told = BertForSequenceClassification.from_pretrained(
                    self._folder,
                    num_labels=len(self.labels),
                    use_safetensors=True,
                    local_files_only=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                )
            except (OSError, ValueError, RuntimeError) as err:
                raise BenchError(f"{self._folder}: not the weights of an SRR-BERT: {err}") from None
        if wrong := sorted({*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}):
            raise BenchError(
                f"{self._folder} is not SRR-BERT {self.variant} ({len(self.labels)} labels): {wrong[0]} is missing or "
                f"of another shape. Name the folder of {MODELS[self.variant]}, or another variant"
            )
        return network.to(self.context.device).eval()


class SRRLeavesWithStatuses(_SRRBert):
    """SRR-BERT, 54 findings each present, uncertain or absent, and No Finding: what RadEval's srrbert uses."""

    variant = "leaves-with-statuses"


class SRRLeaves(_SRRBert):
    """SRR-BERT, 54 findings and No Finding, mentioned or not."""

    variant = "leaves"


class SRRUpperWithStatuses(_SRRBert):
    """SRR-BERT, 24 groups of findings each present, uncertain or absent, and No Finding."""

    variant = "upper-with-statuses"


class SRRUpper(_SRRBert):
    """SRR-BERT, 24 groups of findings and No Finding, mentioned or not."""

    variant = "upper"


def _readable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _local(name: str) -> Path | None:
    folder = Path(name).expanduser()
    return folder if folder.is_dir() or not hub.is_hub_id(name) else None


def _found(wanted: HubFiles, context: Context, option: str, original: str) -> Path:
    """Return the folder of files, fetched where they are the hub's. Raises Unavailable."""
    folder = _local(wanted.repository)
    if folder is None:
        return hub.snapshot(wanted, context, option)
    if lacking := [name for name in wanted.files if not (folder / name).is_file()]:
        raise Unavailable(f"{folder} has no {lacking[0]}", f"set {option} to the folder of a copy of {original}")
    if wanted.revision is not None:
        raise BenchError(f"{option} {folder} is a folder, which has no revision {wanted.revision!r}")
    return folder
