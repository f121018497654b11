"""Files of the Hugging Face hub, found locally or fetched, and identified by their content."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contracts import Context
from bench.errors import Unavailable, missing_package
from bench.store import write_text

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


def fetch_file(repository: str, name: str, revision: str | None, context: Context, option: str) -> Path:
    """Return one file of a hub repository: from the local cache, else fetched.

    Raises Unavailable where it is not to be had; `option` is what the remedy tells to set to a path instead.
    """
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError
    except ImportError:
        raise missing_package(f"fetching {name}", "huggingface_hub", "clinical") from None
    named = f"{name} of {repository}" + (f" at revision {revision}" if revision else "")
    remedy = (
        f"on a connected machine run `hf download {repository} {name}`, carry its HF_HOME (~/.cache/huggingface) here "
        f"and set HF_HOME and HF_HUB_OFFLINE=1; or set {option} to the path of the file"
    )
    try:
        return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        away = f"{named} is not in {constants.HF_HUB_CACHE}, and "
        if constants.HF_HUB_OFFLINE:
            raise Unavailable(f"{away}HF_HUB_OFFLINE is set", remedy) from None
        if _unreachable:
            raise Unavailable(f"{away}the Hugging Face hub cannot be reached", remedy) from None
    try:
        with context.progress(f"fetching {named}", None), quiet():
            return Path(hf_hub_download(repository, name, revision=revision))
    except GatedRepoError:
        raise Unavailable(f"{named} is gated", f"accept the terms at https://huggingface.co/{repository}") from None
    except LocalEntryNotFoundError:
        _unreachable.append(repository)
        raise Unavailable(f"{away}the Hugging Face hub cannot be reached", remedy) from None
    except EntryNotFoundError:
        raise Unavailable(f"the Hugging Face hub has no {named}", remedy) from None
    except OSError as err:
        why = (str(err).splitlines() or [type(err).__name__])[0]
        raise Unavailable(f"{named} cannot be fetched: {why}", remedy) from None


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
