"""An archive of assets brought to its place: every checksum first, then each file moved where it belongs.

Nothing of the archive decides where something is written but names that have the form of the manifest's own, and
nothing but plain files is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bench import cachedir, hub, store
from bench.assets import wheels
from bench.assets.archive import FORMAT, MANIFEST, SLACK, VERSION, check_space
from bench.assets.staging import staging
from bench.context import RunContext
from bench.contracts import Ticker
from bench.errors import BenchError, missing_package

LARGEST_MANIFEST = 256 * hub.MEGABYTE
CHUNK = 1 << 20
_HUB = re.compile(r"hub/models--[\w.-]+/(snapshots/[0-9a-f]{40}/.+|trees/[0-9a-f]{40}\.json|refs/.+)")
_WHEEL = re.compile(r"wheels/(?P<digest>[0-9a-f]{16})/[\w.+!-]+\.whl")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive as the manifest tells of it."""

    path: str
    size: int
    sha256: str

    @property
    def digest(self) -> str | None:
        """The dependency block that a wheel belongs to; None for a file of the hub."""
        match = _WHEEL.fullmatch(self.path)
        return match["digest"] if match else None


@dataclass(slots=True)
class Brought:
    """What an import did."""

    manifest: Mapping[str, Any]
    new: int = 0
    """Files that were put in place."""
    known: int = 0
    """Files that were there already, byte for byte."""
    notes: list[str] = field(default_factory=list)


def bring(file: Path, context: RunContext) -> Brought:
    """Check a whole archive, then put its files into the hub's cache and the bench's. A second call finds them there.

    Raises BenchError before anything is put in place.
    """
    hub_cache, wheel_cache = _places()
    with _opened(file) as tar:
        manifest, entries = _manifest(file, tar)
        _check_platform(manifest)
        needed = {path: entry for path, entry in entries.items() if not _there(entry, hub_cache, context)}
        with ExitStack() as stack:
            parts = {
                kind: stack.enter_context(staging(place))
                for kind, place in (("hub", hub_cache), ("wheels", wheel_cache))
            }
            _check_space(needed, hub_cache, wheel_cache)
            total = sum(entry.size for entry in entries.values())
            with context.progress(f"checking {file.name}", -(-total // hub.MEGABYTE), "MB") as ticker:
                _stage(file, tar, entries, needed, parts, ticker)
            done = Brought(manifest, len(needed), len(entries) - len(needed))
            _place_hub(needed, parts["hub"], hub_cache, done)
            _place_wheels(manifest, needed, parts["wheels"])
    return done


def _places() -> tuple[Path, Path]:
    try:
        from huggingface_hub import constants
    except ImportError:
        raise missing_package("bench assets import", "huggingface_hub", "workers") from None
    return Path(constants.HF_HUB_CACHE), cachedir.cache_root() / "wheels"


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    if not file.is_file():
        raise BenchError(f"{file}: no such file; give an archive that bench assets export wrote")
    try:
        with tarfile.open(file, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as err:
        raise BenchError(f"{file}: no whole archive of bench assets export ({err}): copy it again") from None


# ------------------------------------------------------------------ the manifest


def _manifest(file: Path, tar: tarfile.TarFile) -> tuple[Mapping[str, Any], dict[str, Entry]]:
    first = tar.next()
    if first is None or first.name != MANIFEST or not _plain(first) or first.size > LARGEST_MANIFEST:
        raise BenchError(f"{file}: no archive of bench assets export: it does not begin with {MANIFEST}")
    content = tar.extractfile(first)
    assert content is not None  # a plain file has a content
    try:
        manifest = json.loads(content.read())
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}")
        version = manifest["version"]
        entries = [_entry(found) for found in manifest["files"]] if version == VERSION else []
        by_path = {entry.path: entry for entry in entries}
        assets = [dict(asset) for asset in manifest["assets"]]
        for asset in assets:
            _check_worker(asset, by_path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise BenchError(f"{file}: {MANIFEST}: not the manifest of bench assets export: {err}") from None
    if version != VERSION:
        raise BenchError(f"{file}: its format is version {version}, this program reads version {VERSION}: update it")
    if len(by_path) < len(entries):
        raise BenchError(f"{file}: {MANIFEST}: names a file twice")
    return {**manifest, "assets": assets}, by_path


def _entry(found: Mapping[str, Any]) -> Entry:
    """Return a checked entry. Raises ValueError for a path that no archive of ours has."""
    path, size, digest = found["path"], found["size"], found["sha256"]
    if not isinstance(path, str) or not _allowed(path):
        raise ValueError(f"the path {path!r} is none that an asset has")
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"size or checksum of {path!r}")
    return Entry(path, size, digest)


def _check_worker(asset: Mapping[str, Any], entries: Mapping[str, Entry]) -> None:
    """Raise ValueError where a worker's entry names anything but wheels of its own that the archive holds."""
    if asset["kind"] != "worker":
        return
    digest = asset["digest"]
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{16}", digest):
        raise ValueError(f"the digest {digest!r} of a worker")
    if not re.fullmatch(r"\d+\.\d+", str(asset["python"])) or not isinstance(asset["platform"], dict):
        raise ValueError(f"Python or platform of the worker {digest}")
    for path in asset["files"]:
        if path not in entries or entries[path].digest != digest:
            raise ValueError(f"{path!r} is no wheel of the worker {digest}")


def _allowed(path: str) -> bool:
    """Tell whether a path has the form of a file of the hub's cache or of a wheel, without a way out of it."""
    parts = path.split("/")
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        return False
    return bool(_HUB.fullmatch(path) or _WHEEL.fullmatch(path)) and not PurePosixPath(path).is_absolute()


def _check_platform(manifest: Mapping[str, Any]) -> None:
    for asset in manifest["assets"]:
        if asset["kind"] == "worker":
            names = [name.rpartition("/")[2] for name in asset["files"]]
            wheels.check_usable(asset["python"], asset["platform"], names)


# ------------------------------------------------------------------ checking, beside the place


def _there(entry: Entry, hub_cache: Path, context: RunContext) -> bool:
    """Tell whether a file is in its place already, by its content."""
    place = _place(entry, hub_cache)
    if entry.digest is not None and not (place.parent / wheels.ABOUT).is_file():
        return False
    return place.is_file() and place.stat().st_size == entry.size and hub.file_sha256(place, context) == entry.sha256


def _place(entry: Entry, hub_cache: Path) -> Path:
    if entry.digest is not None:
        return wheels.folder_of(entry.digest) / PurePosixPath(entry.path).name
    return hub_cache / entry.path.removeprefix("hub/")


def _check_space(needed: Mapping[str, Entry], hub_cache: Path, wheel_cache: Path) -> None:
    sizes = {hub_cache: 0, wheel_cache: 0}
    for entry in needed.values():
        sizes[wheel_cache if entry.digest is not None else hub_cache] += entry.size
    if os.stat(hub_cache).st_dev == os.stat(wheel_cache).st_dev:
        sizes = {hub_cache: sum(sizes.values())}
    for place, size in sizes.items():
        check_space(place, size + SLACK if size else 0, "the archive's files")


def _stage(
    file: Path,
    tar: tarfile.TarFile,
    entries: Mapping[str, Entry],
    needed: Mapping[str, Entry],
    parts: Mapping[str, Path],
    ticker: Ticker,
) -> None:
    """Read the archive to its end, every file against its checksum; what is needed is written beside its place."""
    seen: set[str] = set()
    while (member := tar.next()) is not None:
        entry = entries.get(member.name)
        if entry is None or not _plain(member) or member.name in seen:
            why = "is in it twice" if member.name in seen else "is no file that its manifest names"
            raise BenchError(f"{file}: refused: {member.name!r} {why}")
        seen.add(member.name)
        content = tar.extractfile(member)
        assert content is not None  # a plain file has a content
        target = parts[entry.path.partition("/")[0]] / entry.path.partition("/")[2] if entry.path in needed else None
        if member.size != entry.size or _copied(content, target, ticker) != entry.sha256:
            raise BenchError(f"{file}: damaged: {entry.path} is not what the manifest says: copy the archive again")
    if missing := sorted(set(entries) - seen):
        raise BenchError(f"{file}: damaged: {missing[0]} is missing ({len(missing)} files are): copy the archive again")


def _plain(member: tarfile.TarInfo) -> bool:
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)


def _copied(content: IO[bytes], target: Path | None, ticker: Ticker) -> str:
    """Read a file to its end, written to `target` where there is one; return its SHA-256."""
    digest = hashlib.sha256()
    left = 0
    with ExitStack() as stack:
        write: Callable[[bytes], Any] = lambda _: None  # noqa: E731
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(target.open("xb"))
            write = out.write
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            write(chunk)
            left += len(chunk)
            ticker.advance(left // hub.MEGABYTE)
            left %= hub.MEGABYTE
        if target is not None:
            out.flush()
            os.fsync(out.fileno())
    return digest.hexdigest()


# ------------------------------------------------------------------ putting in place


def _place_hub(needed: Mapping[str, Entry], staged: Path, hub_cache: Path, done: Brought) -> None:
    """Move files into the hub's cache, so that at no moment a part is taken for the whole.

    Listings of commits first and refs last; a snapshot of which nothing is here yet in one step, weights after all else
    where some of it is: what has no weights does not count.
    """
    order = {"trees": 0, "snapshots": 1, "refs": 2}

    def place_in_order(entry: Entry) -> tuple[int, bool]:
        return order[entry.path.split("/")[2]], PurePosixPath(entry.path).suffix in hub.WEIGHT_SUFFIXES

    entries = [entry for entry in needed.values() if entry.digest is None]
    for entry in sorted(entries, key=place_in_order):
        source, place = staged / entry.path.removeprefix("hub/"), _place(entry, hub_cache)
        _, repository, kind, name, *_ = entry.path.split("/")
        if kind == "refs" and place.exists():
            done.notes.append(f"{repository}: {place.name} was {place.read_text().strip()[:12]} here")
        snapshot = Path(repository, kind, name)
        if kind == "snapshots" and not (hub_cache / snapshot).exists():
            source, place = staged / snapshot, hub_cache / snapshot
        elif not source.exists():  # it went with its snapshot
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, place)


def _place_wheels(manifest: Mapping[str, Any], needed: Mapping[str, Entry], staged: Path) -> None:
    """Put each worker's folder of wheels in place as a whole, with what of it was here already."""
    for asset in manifest["assets"]:
        if asset["kind"] != "worker":
            continue
        name, paths = asset["digest"], asset["files"]
        if not any(path in needed for path in paths) and wheels.folder_of(name).is_dir():
            continue
        made = staged / name
        made.mkdir(exist_ok=True)
        for path in paths:
            wheel = PurePosixPath(path).name
            if path not in needed:
                shutil.copyfile(wheels.folder_of(name) / wheel, made / wheel)
        about = {key: asset[key] for key in ("script", "python", "platform")}
        store.write_json(made / wheels.ABOUT, about)
        wheels.put(made, wheels.folder_of(name))
