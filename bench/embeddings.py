"""Embeddings on disk: encoded once per encoder and image, shared by all systems, read through a memory map.

One folder holds the embeddings of one encoder fingerprint in two append-only files: ``vectors.f32`` (raw float32 rows)
and ``index`` (one key a line; line i names row i). A batch's rows are on disk before its keys are written, so whatever
moment a process dies at, the first ``min(rows, lines)`` entries are whole; the next writer cuts the rest off. Beside
them ``timing.json`` holds how long encoding took, device by device.

An image is identified by its resolved path, size and modification time: reading the 243,334 files of MIMIC-CXR-JPG
(about 500 GB) to hash them would cost more than a GPU needs to encode them. A file that is replaced gets a new key, so
that a stale row is never used.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.contracts import Embeddings, Encoder, Problem, Ticker
from bench.errors import BenchError
from bench.store import read_json, write_json

FIRST_CHUNK, SMALLEST_CHUNK, LARGEST_CHUNK = 32, 8, 2048
SHORT_S, LONG_S = 2.0, 15.0
POLL_S = 0.2
WAITING = "another process is encoding into the same cache; taking turns"


class Progress(Protocol):
    """Opens a progress bar: ``progress(title, total, unit)``."""

    def __call__(self, title: str, total: int | None, unit: str = "") -> AbstractContextManager[Ticker]:
        """Return the bar as a context manager."""
        ...


class EmbeddingStore:
    """The embeddings of one encoder, in `folder` (made if need be)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vectors = folder / "vectors.f32"
        self.index = folder / "index"
        self.timing = folder / "timing.json"
        self._rows: dict[bytes, int] = {}
        self._count = self._offset = 0  # entries taken in so far, and where the next one starts in the index
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, images: Sequence[Path]) -> list[Path]:
        """Return the images whose keys are not in the index, each once, in order; a file that is not there is left out.

        A forecast for dry runs: after a crash `get` may find up to one batch more to do.
        """
        keys = _Keys()
        stored = set(self.index.read_bytes().split(b"\n")) if _size(self.index) else set()
        todo = {key: path for path in images if (key := keys.of(path)) is not None and key not in stored}
        return list(todo.values())

    def get(
        self,
        encoder: Encoder,
        images: Sequence[Path],
        progress: Progress,
        on_problem: Callable[[Problem], None],
        device: str = "",
    ) -> Embeddings:
        """Return float32 [n_images, dim], encoding what is not stored yet.

        A row of NaN stands for a file that is missing or cannot be decoded; `on_problem` is told why, and the file is
        tried again by the next call. The array is a copy-on-write view of the file where the images lie there in one
        block, else a copy. Processes that share the folder take turns, a chunk at a time. Raises OSError naming the
        file where the disk is full; what was stored before stays usable. `device` is what encodes, for `timing.json`.
        """
        finder = _Keys()
        keys = [finder.of(path) for path in images]
        self._refresh(encoder.dim)
        todo: dict[bytes, Path] = {}
        for key, path in zip(keys, images, strict=True):
            if key is None:
                on_problem(Problem(str(path), path.stem, finder.why[path]))
            elif key not in self._rows:
                todo.setdefault(key, path)
        if todo:
            _Filling(self, encoder, todo, on_problem, device).run(progress)
        return self._gather(keys, encoder.dim)

    def seconds_per_image(self, device: str) -> float | None:
        """Return the mean time of encoding an image on a device; None where none was encoded there."""
        timed = self._times().get(device)
        return timed["seconds"] / timed["images"] if timed else None

    # ---------------------------------------------------------------- files

    def _times(self) -> dict[str, Any]:
        """Return device → {images, seconds, loading}: whether the time of loading the model is among them."""
        return read_json(self.timing) if self.timing.exists() else {}

    def _note_time(self, device: str, images: int, seconds: float, *, loading: bool) -> None:
        """Add a chunk's time; that of a process's first one, in which the model is loaded, only for want of others.

        Only while locked.
        """
        times = self._times()
        known = times.get(device)
        if known is not None and not known["loading"]:
            if loading:
                return
            images, seconds = images + known["images"], seconds + known["seconds"]
        times[device] = {"images": images, "seconds": round(seconds, 4), "loading": loading}
        write_json(self.timing, times)

    def _refresh(self, dim: int) -> None:
        """Take in what the index gained since it was last read, as far as its rows are whole."""
        whole = _size(self.vectors) // (4 * dim)  # before the index: a writer may be repairing both just now
        size = _size(self.index)
        if size < self._offset or whole < self._count:  # the folder was emptied under us
            self._rows, self._count, self._offset = {}, 0, 0
        if size == self._offset:
            return
        with self.index.open("rb") as file:
            file.seek(self._offset)
            keys = file.read(size - self._offset).split(b"\n")[:-1][: whole - self._count]
        self._rows.update(zip(keys, range(self._count, self._count + len(keys)), strict=True))
        self._count += len(keys)
        self._offset += sum(map(len, keys)) + len(keys)

    def _repair(self, dim: int) -> None:
        """Cut both files to the entries that are whole. Only while locked."""
        self._refresh(dim)
        for path, size in ((self.index, self._offset), (self.vectors, self._count * 4 * dim)):
            if _size(path) > size:
                os.truncate(path, size)

    def _append(self, keys: Sequence[bytes], rows: Embeddings) -> None:
        """Add rows, then their keys. Only while locked, and after a repair."""
        _write(self.vectors, np.ascontiguousarray(rows, "<f4").tobytes(), sync=True)
        _write(self.index, b"".join(key + b"\n" for key in keys), sync=False)

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Yield whether this process holds the folder's lock now."""
        with (self.folder / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True  # closing the file gives the lock back, as does the death of the process

    def _gather(self, keys: Sequence[bytes | None], dim: int) -> Embeddings:
        rows = np.array([-1 if key is None else self._rows.get(key, -1) for key in keys], np.int64)
        if not self._count:
            return np.full((len(keys), dim), np.nan, np.float32)
        # Copy-on-write: torch takes the array without a warning, and nobody can spoil the file through it.
        stored = np.memmap(self.vectors, "<f4", "c", shape=(self._count, dim))
        if len(rows) and rows[0] >= 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            return np.asarray(stored[rows[0] : rows[0] + len(rows)])
        gathered = np.asarray(stored[rows])
        gathered[rows < 0] = np.nan
        return gathered


class _Filling:
    """One call's encoding of the images that were not stored."""

    def __init__(
        self,
        store: EmbeddingStore,
        encoder: Encoder,
        todo: dict[bytes, Path],
        on_problem: Callable[[Problem], None],
        device: str = "",
    ) -> None:
        self.store, self.encoder, self.todo, self.on_problem = store, encoder, todo, on_problem
        self.device, self.first = device, True
        self.chunk = FIRST_CHUNK

    def run(self, progress: Progress) -> None:
        """Encode chunk by chunk, each in a turn of its own."""
        with progress("encoding images", len(self.todo), "images") as bar:
            while self.todo:
                with self.store._turn() as mine:
                    if mine:
                        self._encode(bar)
                if not mine:
                    self._wait(bar)

    def _wait(self, bar: Ticker) -> None:
        bar.note(WAITING)
        time.sleep(POLL_S)
        self.store._refresh(self.encoder.dim)
        self._drop(self.store._rows, bar)

    def _encode(self, bar: Ticker) -> None:
        self.store._repair(self.encoder.dim)
        self._drop(self.store._rows, bar)
        batch = dict(islice(self.todo.items(), self.chunk))
        if not batch:
            return
        start = time.monotonic()
        rows = self._checked(self.encoder.encode(list(batch.values())), len(batch))
        seconds = time.monotonic() - start
        good = np.asarray(~np.isnan(rows).any(axis=1))
        self.store._append([key for key, ok in zip(batch, good, strict=True) if ok], rows[good])
        self.store._refresh(self.encoder.dim)
        self.store._note_time(self.device, len(batch), seconds, loading=self.first)
        self.first = False
        for path in (path for path, ok in zip(batch.values(), good, strict=True) if not ok):
            why = self.encoder.why_unreadable(path) or "the encoder gave no embedding"
            self.on_problem(Problem(str(path), path.stem, why))
        self._drop(batch, bar)
        bar.note("")
        self._resize(len(batch), seconds)

    def _drop(self, done: Mapping[bytes, object], bar: Ticker) -> None:
        before = len(self.todo)
        smaller, larger = sorted((done, self.todo), key=len)
        for key in [key for key in smaller if key in larger]:
            del self.todo[key]
        bar.advance(before - len(self.todo))

    def _checked(self, rows: Embeddings, n: int) -> Embeddings:
        wanted = (n, self.encoder.dim)
        if rows.shape != wanted or rows.dtype != np.float32:
            name = type(self.encoder).__name__
            raise BenchError(f"encoder {name} gave {rows.dtype} {list(rows.shape)} instead of float32 {list(wanted)}")
        if np.isinf(rows).any():
            raise BenchError(f"encoder {type(self.encoder).__name__} gave infinite values: use a higher precision")
        return rows

    def _resize(self, n: int, seconds: float) -> None:
        """Make chunks large enough to keep a GPU's pipeline full, small enough that a kill costs seconds."""
        if n == self.chunk and seconds < SHORT_S:
            self.chunk = min(2 * self.chunk, LARGEST_CHUNK)
        elif seconds > LONG_S:
            self.chunk = max(self.chunk // 2, SMALLEST_CHUNK)


class _Keys:
    """Keys of image files, with the folders resolved once each."""

    def __init__(self) -> None:
        self.why: dict[Path, str] = {}
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> bytes | None:
        """Return size, modification time and resolved path as one line, or None (and `why[path]`) without a file."""
        try:
            found = os.stat(path)
            name = os.path.realpath(path) if os.path.islink(path) else self._resolved(path)
        except OSError as err:
            self.why[path] = err.strerror or str(err)
            return None
        escaped = os.fsencode(name).replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        return b"%d %d %s" % (found.st_size, found.st_mtime_ns, escaped)

    def _resolved(self, path: Path) -> str:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    """Append all of `data`; an OSError names the file."""
    left = memoryview(data)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            while left:
                left = left[os.write(file, left) :]
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
    except OSError as err:
        raise OSError(err.errno, err.strerror, str(path)) from err
