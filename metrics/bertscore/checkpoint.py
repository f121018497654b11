"""The files of a text encoder: found, fetched, and identified by their content; never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.contracts import Context, HubFiles
from bench.errors import BenchError, Unavailable
from bench.hub import file_sha256, is_hub_id, lacking, snapshot
from bench.store import read_json

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")
TOKENIZER_FILES = (*TOKENIZERS, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
WANTED = (CONFIG, "model*.safetensors", "model*.safetensors.index.json", "tokenizer*.json", "vocab.*", "merges.txt*",
          "special_tokens_map.json*", "added_tokens.json*")  # fmt: skip
"""What is fetched of a hub repository: a configuration, weights, and what there is of a tokeniser."""
PICKLE = "pytorch_model.bin"
PROVENANCE = frozenset({"_name_or_path", "_commit_hash", "transformers_version"})
"""Keys of a configuration that say where it was made, not what it computes."""


def locate(model: str, revision: str | None, context: Context) -> Path:
    """Return the folder of a checkpoint that is whole; `model` is a folder or, where there is none, a hub id.

    Raises Unavailable where it is not to be had, BenchError where it cannot be used.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise BenchError(f"revision {revision!r}: {model} is a folder; leave the option out")
        return _checked(folder)
    if not is_hub_id(model):
        raise Unavailable(f"no folder {folder}", "set model to the folder of a checkpoint, or to an id of the hub")
    return _checked(snapshot(HubFiles(model, revision, WANTED), context, "model"))


def assets(model: str, revision: str | None) -> list[HubFiles]:
    """Return what `locate` needs of the hub: nothing for a folder."""
    local = Path(model).expanduser().is_dir() or not is_hub_id(model)
    return [] if local else [HubFiles(model, revision, WANTED)]


def identity(folder: Path, context: Context) -> Mapping[str, Any]:
    """Return what a checkpoint computes with: hashes of weights and tokeniser, and the configuration."""
    config = {key: value for key, value in read_json(folder / CONFIG).items() if key not in PROVENANCE}
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return {
        "weights": [file_sha256(path, context) for path in weight_files(folder)],
        "config": config,
        "tokenizer": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tokenizer},
    }


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files, the one or the shards that the index names, in a fixed order."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    try:
        named = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as err:
        raise BenchError(f"{folder / INDEX}: no index of weights: {err!r}; fetch the checkpoint again") from None
    return [folder / Path(str(name)).name for name in sorted(named)]


def _checked(folder: Path) -> Path:
    """Return the folder. Raises where a file that is needed is not there."""
    if not (folder / CONFIG).is_file():
        raise Unavailable(f"{folder} has no {CONFIG}", "set model to the folder of a whole checkpoint")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise Unavailable(f"{folder} has no tokeniser ({' or '.join(TOKENIZERS)})", "copy the checkpoint with it")
    if not weight_files(folder) and (folder / PICKLE).is_file():
        raise BenchError(
            f"{folder} has its weights only as a pickle ({PICKLE}), which can run code when it is loaded: use a "
            f"revision with {WEIGHTS}, or convert it in a place you trust (transformers: save_pretrained)"
        )
    missing = lacking(folder, HubFiles(folder.name, None, WANTED)) if weight_files(folder) else [WEIGHTS]
    if missing:
        raise Unavailable(f"{folder} lacks {', '.join(missing)}", "fetch or copy the checkpoint again, all its files")
    return folder
