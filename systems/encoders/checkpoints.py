"""Finding a Hugging Face checkpoint on this machine or the hub, and identifying it by its content.

Everything that is read of a checkpoint is JSON or safetensors; weights that exist only as a pickle (``.bin``) are
refused, since loading one can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.contracts import Context, HubFiles
from bench.errors import BenchError, Unavailable
from bench.hub import cached_snapshot, fetch_snapshot, file_sha256, is_hub_id

CONFIG, WEIGHTS, WEIGHTS_INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""Where the image processor's settings stand; the first that is there counts."""
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
WANTED = (CONFIG, "*processor_config.json", "model*.safetensors", "model*.safetensors.index.json")
"""What is fetched of a hub repository."""
PROVENANCE = frozenset({"_name_or_path", "_commit_hash", "transformers_version"})
"""Keys of JSON files that say where a checkpoint was made, not what it computes."""


def locate(model: str, revision: str | None, context: Context) -> Path:
    """Return the folder of a checkpoint that is whole: configuration, processor settings and safetensors weights.

    `model` is a folder or a hub id (a folder of that name goes first). A hub id is looked for in the local cache before
    the network is asked. Raises Unavailable where it is not to be had, BenchError where it cannot be used.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise BenchError(
                f"revision {revision!r}: {model} is a folder, which has no revisions; leave the option out"
            )
        return _checked(folder, model)
    if not is_hub_id(model):
        raise Unavailable(f"no folder {folder}", "give the folder of a checkpoint (config.json, model.safetensors …)")
    wanted = HubFiles(model, revision, WANTED)
    cached = cached_snapshot(wanted)
    if cached is not None and _whole(cached):
        return cached
    return _checked(fetch_snapshot(wanted, context, "model"), model)


def assets(model: str, revision: str | None, files: tuple[str, ...] = WANTED) -> list[HubFiles]:
    """Return what is needed of the hub for a checkpoint that `locate` is asked for: nothing for a folder."""
    return [HubFiles(model, revision, files)] if is_hub_id(model) and not Path(model).is_dir() else []


def _whole(folder: Path) -> bool:
    try:
        _checked(folder, str(folder))
    except BenchError:
        return False
    return True


def _checked(folder: Path, model: str) -> Path:
    """Return the folder; raises where a file that is needed is not there."""
    if not (folder / CONFIG).is_file():
        raise Unavailable(f"{model} is no checkpoint: it has no {CONFIG}", "give the folder that holds config.json")
    files = weight_files(folder)
    if not files and any((folder / name).exists() for name in PICKLES):
        raise BenchError(
            f"{model} has its weights only as a pickle ({PICKLES[0]}), which can run code when it is loaded: use a "
            "revision with model.safetensors, or convert it in a place you trust (transformers: save_pretrained)"
        )
    missing = [path.name for path in files if not path.exists()] or ([] if files else [WEIGHTS])
    if missing:
        raise Unavailable(f"{model} lacks {', '.join(missing)}", "fetch or copy the checkpoint again, all its files")
    processor_file(folder, model)
    return folder


def processor_file(folder: Path, model: str) -> Path:
    """Return the file with the image processor's settings."""
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            return folder / name
    raise BenchError(
        f"{model} has no {PROCESSOR_FILES[0]}: how its images are resized and normalised is not known, and a guess "
        "would give other embeddings; copy the file from the model's publisher"
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that transformers would load, in a fixed order; they may be missing."""
    if (folder / WEIGHTS).exists() or not (folder / WEIGHTS_INDEX).exists():
        return [folder / WEIGHTS] if (folder / WEIGHTS).exists() else []
    index = read_json(folder / WEIGHTS_INDEX)
    names = index.get("weight_map", {})
    if not isinstance(names, dict) or not names:
        raise BenchError(f"{folder / WEIGHTS_INDEX}: no weight_map; fetch the checkpoint again")
    return [folder / Path(name).name for name in sorted(set(map(str, names.values())))]


def read_json(path: Path) -> Mapping[str, Any]:
    """Return a JSON object. Raises BenchError naming the file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise BenchError(f"{path}: not readable as JSON: {err}") from None
    if not isinstance(found, dict):
        raise BenchError(f"{path}: a JSON object is expected, found {type(found).__name__}")
    return found


def identity(folder: Path, context: Context) -> Mapping[str, Any]:
    """Return what a checkpoint computes with: hashes of its weights, its configuration and processor settings.

    The same wherever the files lie, and read without loading a weight.
    """
    return {
        "weights": [file_sha256(path, context) for path in weight_files(folder)],
        "config": plain(read_json(folder / CONFIG)),
        "processor": plain(read_json(processor_file(folder, str(folder)))),
    }


def plain(settings: Any) -> Any:
    """Return settings without what only says where a checkpoint was made."""
    if isinstance(settings, dict):
        return {key: plain(value) for key, value in settings.items() if key not in PROVENANCE}
    return [plain(value) for value in settings] if isinstance(settings, list) else settings
