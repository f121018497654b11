"""The archive that carries assets to a machine without a network: its manifest, and how it is written.

A plain tar. ``manifest.json`` comes first and names every other file with its size and SHA-256; then, in the manifest's
order, ``hub/`` (the layout of the hub's cache: snapshots as plain files by commit, refs, listings of commits) and
``wheels/<digest>/`` (a worker's wheels, by its dependency block). The same assets give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bench import hub, store
from bench.assets import wheels
from bench.assets.pull import failures
from bench.assets.state import State
from bench.context import RunContext
from bench.contracts import Context, HubFiles, LocalFile, Ticker, WorkerScript
from bench.errors import BenchError, Unavailable
from bench.workers import environment

FORMAT, VERSION = "cxr-report-bench assets", 1
MANIFEST = "manifest.json"
SLACK = 10_000_000
"""Bytes of the tar format's own, and of the manifest, that the space check reckons with."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the archive, before it is written: on the disk, or a short text."""

    name: str
    content: Path | bytes

    def facts(self, context: Context) -> dict[str, Any]:
        """Return what the manifest says of it."""
        if isinstance(self.content, bytes):
            digest, size = hashlib.sha256(self.content).hexdigest(), len(self.content)
        else:
            digest, size = hub.file_sha256(self.content, context), self.content.stat().st_size
        return {"path": self.name, "size": size, "sha256": digest}


@dataclass(slots=True)
class Packing:
    """What is to be written."""

    sources: dict[str, Source] = field(default_factory=dict)
    assets: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, Unavailable] = field(default_factory=dict)

    def add(self, name: str, content: Path | bytes) -> str:
        """Add a file and return its name; what is there already is the same file, wanted by two assets."""
        self.sources.setdefault(name, Source(name, content))
        return name


def export(
    states: Sequence[State], untold: Mapping[str, Unavailable], file: Path, context: RunContext, *, partial: bool
) -> dict[str, Any]:
    """Write everything that is here into one archive, in one step, and return its manifest.

    untold: parts whose needs could not be told, which counts as missing. Raises BenchError where something is missing,
    all of it named, unless `partial`; where the disk is too small; where a file changes meanwhile.
    """
    if file.is_dir():
        raise BenchError(f"{file}: is a folder; name the archive, e.g. {file / 'assets.tar'}")
    if not file.absolute().parent.is_dir():
        raise BenchError(f"{file}: there is no folder {file.parent}")
    packing = pack(states, context)
    packing.missing |= untold
    if packing.missing and not partial:
        title = "some of what is needed is not here (bench assets pull fetches it; --partial leaves it out)"
        raise BenchError(failures(title, packing.missing))
    manifest = _manifest(packing, context)
    total = sum(entry["size"] for entry in manifest["files"])
    check_space(file.absolute().parent, total + SLACK, str(file))
    with (
        store.replacing(file) as out,
        context.progress(f"writing {file.name}", -(-total // hub.MEGABYTE), "MB") as ticker,
    ):
        _write(out, manifest, packing, ticker)
    return manifest


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raise BenchError where a disk has less room than is needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BenchError(f"{what}: needs {needed / 1e9:,.2f} GB in {folder}, where {free / 1e9:,.2f} GB are free")


# ------------------------------------------------------------------ what goes in


def pack(states: Sequence[State], context: RunContext) -> Packing:
    """Return the files of all assets that are here, and why the others are not."""
    packing = Packing()
    for state in states:
        asset = state.need.asset
        try:
            if isinstance(asset, HubFiles):
                about = _pack_hub(asset, state, packing)
            elif isinstance(asset, WorkerScript):
                about = _pack_wheels(asset, context, packing)
            elif isinstance(asset, LocalFile):
                about = {"kind": "file", "path": str(asset.path)}
            else:
                about = {"kind": "server", "command": asset.command}
        except Unavailable as err:
            packing.missing[state.name] = err
            continue
        packing.assets.append({**about, "name": state.name, "needed_by": list(state.need.by)})
    return packing


def _pack_hub(asset: HubFiles, state: State, packing: Packing) -> dict[str, Any]:
    folder = state.where
    if folder is None:
        raise Unavailable("it is not in the hub's cache", state.note or "bench assets pull")
    top = f"hub/{hub.storage_name(asset.repository)}"
    names = []
    for path in hub.wanted_files(folder, asset):
        inner = path.relative_to(folder).as_posix()
        names.append(packing.add(f"{top}/snapshots/{folder.name}/{inner}", path))
    if hub.listing(folder).is_file():
        names.append(packing.add(f"{top}/trees/{folder.name}.json", hub.listing(folder)))
    revision = asset.revision or "main"
    if not hub.COMMIT.fullmatch(revision):
        names.append(packing.add(f"{top}/refs/{revision}", folder.name.encode()))
    return {
        "kind": "hub",
        "repository": asset.repository,
        "revision": revision,
        "commit": folder.name,
        "gated": asset.gated,
        "files": names,
    }


def _pack_wheels(asset: WorkerScript, context: RunContext, packing: Packing) -> dict[str, Any]:
    folder = wheels.collect(asset.script, context)
    digest = wheels.digest(asset.script)
    about = store.read_json(folder / wheels.ABOUT)
    names = [packing.add(f"wheels/{digest}/{wheel.name}", wheel) for wheel in wheels.files(folder)]
    return {
        "kind": "worker",
        "script": asset.script.name,
        "script_sha256": environment.script_digest(asset.script),
        "digest": digest,
        "python": about["python"],
        "platform": about["platform"],
        "files": names,
    }


def _manifest(packing: Packing, context: RunContext) -> dict[str, Any]:
    with context.progress("checksums", len(packing.sources), "files") as ticker:
        files = []
        for source in packing.sources.values():
            files.append(source.facts(context))
            ticker.advance()
    return {
        "format": FORMAT,
        "version": VERSION,
        "assets": packing.assets,
        "missing": list(packing.missing),
        "files": files,
    }


# ------------------------------------------------------------------ writing


class Counted(io.RawIOBase):
    """A file that counts and hashes what is read of it, for the bar and for the check after."""

    def __init__(self, file: IO[bytes], ticker: Ticker) -> None:
        self._file, self._ticker = file, ticker
        self._shown = self._bytes = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        found = self._file.read(size)
        self.digest.update(found)
        self._bytes += len(found)
        if (megabytes := self._bytes // hub.MEGABYTE) > self._shown:
            self._ticker.advance(megabytes - self._shown)
            self._shown = megabytes
        return found


def _write(out: IO[bytes], manifest: dict[str, Any], packing: Packing, ticker: Ticker) -> None:
    text = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for entry in manifest["files"]:
            content = packing.sources[entry["path"]].content
            _add(tar, entry, content, ticker)


def _add(tar: tarfile.TarFile, entry: dict[str, Any], content: Path | bytes, ticker: Ticker) -> None:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        counted = Counted(file, ticker)
        try:
            tar.addfile(_member(entry["path"], entry["size"]), counted)
        except OSError as err:
            if err.errno is not None:
                raise
            raise BenchError(f"{entry['path']}: it became shorter while it was read; try again") from None
    if counted.digest.hexdigest() != entry["sha256"]:
        raise BenchError(f"{entry['path']}: it changed while it was read, or its kept checksum is wrong; try again")


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member
