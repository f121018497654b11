"""Files of the Hugging Face hub, found locally or fetched, and identified by their content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench.contracts import Context, HubFiles, Ticker
from bench.errors import BenchError, Unavailable
from bench.store import write_text

PAGE = "https://huggingface.co"
"""Where a person reads about a repository and accepts its terms, whatever mirror the files come from."""
PATTERN = frozenset("*?[")
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A whole commit of a repository, which no one can move."""
WEIGHT_NAMES = ("model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin")
WEIGHT_SUFFIXES = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".th", ".gguf", ".ckpt", ".onnx", ".msgpack", ".h5"}
)
LOOK_EVERY_S = 0.5
MEGABYTE = 1_000_000

_unreachable: list[str] = []
"""What was asked of the hub in vain: a second wait in one process would be as long as the first."""


def file_sha256(path: Path, context: Context) -> str:
    """Return the SHA-256 of a file, kept by path, size, inode, and the times of its content and of its last change."""
    real = path.resolve()
    found = real.stat()
    state = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino} "
    key = hashlib.sha256(state.encode() + os.fsencode(real)).hexdigest()[:32]
    kept = context.cache("weights-hash", key) / "sha256"
    if kept.is_file() and len(known := kept.read_text()) == 64:
        return known
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_text(kept, digest)
    return digest


# ------------------------------------------------------------------ one file


def fetch_file(repository: str, name: str, revision: str | None, context: Context, option: str) -> Path:
    """Return one file of a hub repository: from the local cache, else fetched.

    Raises Unavailable where it is not to be had; `option` is what the remedy tells to set to a path instead.
    """
    wanted = HubFiles(repository, revision, (name,))
    if (found := cached_file(wanted)) is not None:
        return found
    from huggingface_hub import hf_hub_download

    with _asking(wanted, f"set {option} to the path of the file"), _bar(wanted, context):
        return Path(hf_hub_download(repository, name, revision=revision))


def cached_file(wanted: HubFiles) -> Path | None:
    """Return the one file that is wanted, where it is in the local cache."""
    _need_package(wanted)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _checked_id(wanted):
        try:
            return Path(
                hf_hub_download(wanted.repository, wanted.files[0], revision=wanted.revision, local_files_only=True)
            )
        except LocalEntryNotFoundError:
            return None


# ------------------------------------------------------------------ a snapshot


def snapshot(wanted: HubFiles, context: Context, option: str) -> Path:
    """Return the folder of a repository's files, named by its commit: from the local cache, else fetched.

    Raises Unavailable where they are not to be had (gated, offline, no such revision …), BenchError for what can be no
    id; `option` is what the remedy tells to set to a folder instead.
    """
    return cached_snapshot(wanted) or fetch_snapshot(wanted, context, option)


def cached_snapshot(wanted: HubFiles) -> Path | None:
    """Return the folder of a repository's files where the local cache holds them whole; never asks the network.

    Whole: at least one file that is wanted, every name that is no pattern, every shard that an index of weights names
    and, where the cache has the commit's listing (huggingface_hub 2 keeps it), every file of it that is wanted; where
    it has none, some weights, if they are wanted: another program may have fetched the configuration alone.
    """
    _need_package(wanted)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with quiet(), _checked_id(wanted):
        try:
            folder = Path(snapshot_download(**_request(wanted), local_files_only=True))
        except LocalEntryNotFoundError:
            return None
    found = wanted_files(folder, wanted)
    if not found or lacking(folder, wanted):
        return None
    listed = listing(folder).is_file() or not any(_matches(name, wanted) for name in WEIGHT_NAMES)
    return folder if listed or any(path.suffix in WEIGHT_SUFFIXES for path in found) else None


def fetch_snapshot(wanted: HubFiles, context: Context, option: str) -> Path:
    """Fetch a repository's files and return their folder; what is here already, whole or in part, is not fetched again.

    Raises as `snapshot` does.
    """
    _need_package(wanted)
    from huggingface_hub import snapshot_download

    with _asking(wanted, f"set {option} to a folder that holds them"), _bar(wanted, context):
        folder = Path(snapshot_download(**_request(wanted)))
    if missing := lacking(folder, wanted):
        raise Unavailable(
            f"{named(wanted)} is not what is needed: the hub has no {', '.join(missing)} there",
            "check repository and revision",
        )
    return folder


def listing(folder: Path) -> Path:
    """Return where huggingface_hub keeps the list of all files of a snapshot's commit, if it does."""
    return folder.parents[1] / "trees" / f"{folder.name}.json"


def wanted_files(folder: Path, wanted: HubFiles) -> list[Path]:
    """Return the files of a snapshot's folder that are wanted, by name; links that lead nowhere are left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if _matches(path.relative_to(folder).as_posix(), wanted)]


def lacking(folder: Path, wanted: HubFiles) -> list[str]:
    """Return the names of what is wanted and not in a folder, as far as names and indices of weights tell."""
    names = [name for name in wanted.files if not PATTERN.intersection(name)]
    for index in wanted_files(folder, wanted):
        if index.name.endswith((".safetensors.index.json", ".bin.index.json")):
            inner = index.parent.relative_to(folder)
            names += [(inner / shard).as_posix() for shard in _shards(index)]
    return sorted({name for name in names if _matches(name, wanted) and not (folder / name).is_file()})


def _shards(index: Path) -> set[str]:
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(name) for name in named.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # what reads the index says what is wrong with it


def _matches(name: str, wanted: HubFiles) -> bool:
    return not wanted.files or any(fnmatch(name, pattern) for pattern in wanted.files)


def _request(wanted: HubFiles) -> dict[str, Any]:
    return {"repo_id": wanted.repository, "revision": wanted.revision, "allow_patterns": list(wanted.files) or None}


# ------------------------------------------------------------------ asking the hub, and what it may answer


def _need_package(wanted: HubFiles) -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise Unavailable(
            f"fetching {named(wanted)} needs the package huggingface_hub",
            "pip install 'cxr-report-bench[clinical]' for metrics, [hf] for encoders, [workers] for workers",
        ) from None


def is_hub_id(name: str) -> bool:
    """Return whether a name may be an id of the hub, and is surely no path."""
    return not name.startswith((".", "~", "/")) and name.count("/") <= 1 and "\\" not in name


def named(wanted: HubFiles) -> str:
    """Return what messages call the files: one file by its name, several by their repository."""
    one = len(wanted.files) == 1 and not PATTERN.intersection(wanted.files[0])
    what = f"{wanted.files[0]} of {wanted.repository}" if one else wanted.repository
    return what + (f" at revision {wanted.revision}" if wanted.revision else "")


def _by_hand(wanted: HubFiles, otherwise: str) -> str:
    """Return how the files come to a machine that cannot fetch them."""
    names = [f"'{name}'" if PATTERN.intersection(name) else name for name in wanted.files]
    only = names if len(names) == 1 and not PATTERN.intersection(names[0]) else ["--include", *names] if names else []
    revision = ["--revision", wanted.revision] if wanted.revision else []
    command = " ".join(["hf download", wanted.repository, *only, *revision])
    return (
        f"on a connected machine run `{command}`, carry its HF_HOME (~/.cache/huggingface) here and set HF_HOME and "
        f"HF_HUB_OFFLINE=1 (bench assets does that for a whole configuration); or {otherwise}"
    )


@contextmanager
def _checked_id(wanted: HubFiles) -> Iterator[None]:
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as err:
        raise BenchError(f"{wanted.repository!r}: neither a folder nor an id of the Hugging Face hub: {err}") from None


@contextmanager
def _asking(wanted: HubFiles, otherwise: str) -> Iterator[None]:
    """Run a block that fetches; turn every answer of the hub that is none into an error."""
    from huggingface_hub import constants, errors

    called, remedy = named(wanted), _by_hand(wanted, otherwise)
    away = f"{called} is not in {constants.HF_HUB_CACHE}, and "
    if constants.HF_HUB_OFFLINE:
        raise Unavailable(f"{away}HF_HUB_OFFLINE is set", remedy)
    if _unreachable:
        raise Unavailable(f"{away}the Hugging Face hub cannot be reached", remedy)
    transport: type[Exception] = errors.HfHubHTTPError.__bases__[
        0
    ]  # of the HTTP package that this huggingface_hub uses
    try:
        with quiet(), _checked_id(wanted):
            yield
    except errors.GatedRepoError:
        why = f"accept its terms at {PAGE}/{wanted.repository}, log in (hf auth login), and try again"
        raise Unavailable(f"{called} is gated", why) from None
    except errors.RepositoryNotFoundError:
        why = f"the Hugging Face hub has no {wanted.repository}, or it is private"
        raise Unavailable(why, "check the id, or log in (hf auth login)") from None
    except errors.RevisionNotFoundError:
        why = f"{wanted.repository} has no revision {wanted.revision!r} on the Hugging Face hub"
        raise Unavailable(why, f"see {PAGE}/{wanted.repository}/commits/main for its revisions") from None
    except errors.LocalEntryNotFoundError:
        _unreachable.append(wanted.repository)
        raise Unavailable(f"{away}the Hugging Face hub cannot be reached", remedy) from None
    except errors.EntryNotFoundError:
        raise Unavailable(f"the Hugging Face hub has no {called}", remedy) from None
    except (OSError, RuntimeError, transport) as err:
        if type(err).__name__.startswith("Connect"):  # refused, unknown or too slow: before the client gave it up
            _unreachable.append(wanted.repository)
            raise Unavailable(f"{away}the Hugging Face hub cannot be reached", remedy) from None
        why = (str(err).splitlines() or [type(err).__name__])[0] or type(err).__name__
        raise Unavailable(f"{called} cannot be fetched: {why}", remedy) from None


@contextmanager
def _bar(wanted: HubFiles, context: Context) -> Iterator[None]:
    """Show how many megabytes came, by the size of the repository's blobs: the client's own bars differ by release."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / storage_name(wanted.repository) / "blobs"
    total = -(-_size(wanted) // MEGABYTE)
    done = threading.Event()
    with context.progress(f"fetching {named(wanted)}", total, "MB") as ticker:
        watcher = threading.Thread(target=_watch, args=(blobs, ticker, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def storage_name(repository: str) -> str:
    """Return the name of a model's folder in the hub's cache."""
    return "--".join(["models", *repository.split("/")])


def _size(wanted: HubFiles) -> int:
    """Return how many bytes the hub says the files have. Raises what the client does."""
    from huggingface_hub import HfApi

    told = HfApi().model_info(wanted.repository, revision=wanted.revision, files_metadata=True)
    return sum(file.size or 0 for file in told.siblings or () if _matches(file.rfilename, wanted))


def _watch(folder: Path, ticker: Ticker, done: threading.Event) -> None:
    shown = 0
    while not done.wait(LOOK_EVERY_S):
        grown = _bytes_in(folder) // MEGABYTE  # what a stopped call left counts: it is not fetched again
        if grown > shown:
            ticker.advance(grown - shown)
            shown = grown


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # renamed or removed between the two looks
            continue
    return total


@contextmanager
def quiet() -> Iterator[None]:
    """Silence huggingface_hub and transformers (where imported) below errors, and put their settings back."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    switch_off, switch_on = disable_progress_bars, enable_progress_bars
    if "transformers" in sys.modules:  # it keeps a switch of its own, which moves the hub's as well
        from transformers.utils.logging import disable_progress_bar, enable_progress_bar

        switch_off, switch_on = disable_progress_bar, enable_progress_bar
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "transformers")]
    levels, bars = [logger.level for logger in loggers], not are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    switch_off()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            switch_on()
