"""The reports of MIMIC-CXR, from the folder or the official zip, with their sections in a cache of shards.

A shard holds the reports of a few thousand studies of one split. It is written in one step when it is complete, so a
killed start goes on with the next one, and it is read again only as long as size and time of change (in the zip:
checksum) of its reports are what they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from bench.contracts import Ticker
from bench.datasets.sections import RULES, ReportSections, Span, section_spans, sections_at
from bench.errors import BenchError
from bench.store import write_text

ZIP_NAME = "mimic-cxr-reports.zip"
LAYOUT = f"expected files/p10/p10000032/s50414267.txt below it, or {ZIP_NAME}"
SHARD = 2048
Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]


@dataclass(frozen=True, slots=True)
class ReportKey:
    """Names one report."""

    subject: str
    study: str

    @property
    def file(self) -> str:
        """Path below the reports' root, in the folder and in the zip alike."""
        return f"files/p{self.subject[:2]}/p{self.subject}/s{self.study}.txt"


@dataclass(frozen=True)
class StoredReport:
    """A report with the places of its sections."""

    text: str | None
    """None where there is no readable file."""
    problem: str | None
    """What is wrong with the file."""
    spans: Mapping[str, Span]

    @cached_property
    def sections(self) -> ReportSections:
        """Its sections, by the official rules."""
        return sections_at(self.text or "", self.spans)


class Source(Protocol):
    """Where the reports lie."""

    location: Path

    def stamps(self, keys: Sequence[ReportKey]) -> list[str]:
        """Return what changes when a report does, without reading it; "" where there is none."""
        ...

    def read(self, key: ReportKey) -> bytes | None:
        """Return a report, None where there is none. Raises OSError where it cannot be read."""
        ...


class FolderSource:
    """Reports as single files."""

    def __init__(self, root: Path) -> None:
        self.location = root

    def stamps(self, keys: Sequence[ReportKey]) -> list[str]:
        """Return size and time of change of each file."""
        return [self._stamp(f"{self.location}/{key.file}") for key in keys]

    def read(self, key: ReportKey) -> bytes | None:
        """Return a report, None where there is none."""
        try:
            with open(f"{self.location}/{key.file}", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    @staticmethod
    def _stamp(path: str) -> str:
        try:
            stat = os.stat(path)
        except OSError:
            return ""
        return f"{stat.st_size}:{stat.st_mtime_ns}"


class ZipSource:
    """Reports in the official zip, read without unpacking."""

    def __init__(self, path: Path) -> None:
        self.location = path

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.location)
        except (OSError, zipfile.BadZipFile) as err:
            raise BenchError(f"{self.location}: not a readable zip: {err}\n  Download it again.") from None

    @cached_property
    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        """Name of the report's file ("s50414267.txt") → entry, whatever folder the zip wraps around."""
        entries = (info for info in self._zip.infolist() if info.filename.endswith(".txt"))
        return {info.filename.rpartition("/")[2]: info for info in entries}

    def stamps(self, keys: Sequence[ReportKey]) -> list[str]:
        """Return size and checksum of each entry."""
        found = (self._entries.get(f"s{key.study}.txt") for key in keys)
        return [f"{info.file_size}:{info.CRC:08x}" if info else "" for info in found]

    def read(self, key: ReportKey) -> bytes | None:
        """Return a report, None where there is none."""
        info = self._entries.get(f"s{key.study}.txt")
        try:
            return self._zip.read(info) if info else None
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as err:
            raise OSError(str(err)) from err


def find_source(root: Path) -> Source:
    """Return the reports at `root`: the zip itself, a folder with the zip, or one with ``files/``."""
    if root.is_file():
        return ZipSource(root)
    if (root / ZIP_NAME).is_file():
        return ZipSource(root / ZIP_NAME)
    if (root / "files").is_dir():
        return FolderSource(root)
    hint = f"\n  Did you mean {root.parent}?" if root.name == "files" else ""
    raise BenchError(f"dataset.reports_root: no reports at {root}; {LAYOUT}{hint}")


class ReportStore:
    """Reads reports and keeps them with their sections.

    `studies` are (split, key), all that the tables name, in a fixed order; shards never mix splits, so that asking for
    the test split reads little else. `folder` names the cache folder when it is first needed.
    """

    def __init__(
        self, source: Source, studies: Sequence[tuple[str, ReportKey]], folder: Callable[[], Path], progress: Progress
    ) -> None:
        self.source = source
        self._folder = folder
        self._progress = progress
        self._shards = list(_shards(studies))
        self._fresh: dict[int, str] = {}

    def load(self, studies: Collection[str]) -> dict[str, StoredReport]:
        """Return study id → report, for exactly the studies named (those in the tables)."""
        wanted = [i for i, keys in enumerate(self._shards) if any(key.study in studies for key in keys)]
        self._refresh(wanted)
        loaded: dict[str, StoredReport] = {}
        for i in wanted:
            loaded |= {study: report for study, report in self._read_shard(i) if study in studies}
        return loaded

    def digest(self) -> str:
        """Return the identity of all reports' contents, wherever they lie."""
        self._refresh(range(len(self._shards)))
        return hashlib.sha256("".join(self._fresh[i] for i in range(len(self._shards))).encode()).hexdigest()

    def _refresh(self, shards: Sequence[int]) -> None:
        """Bring the shards up to date with the reports; sets `_fresh[shard]` to the digest of its contents."""
        stamps = {i: _sha(self.source.stamps(self._shards[i])) for i in shards if i not in self._fresh}
        headers = {i: self._header(i) for i in stamps}
        self._fresh |= {i: headers[i]["digest"] for i in stamps if headers[i].get("stamp") == stamps[i]}
        stale = [i for i in stamps if i not in self._fresh]
        if not stale:
            return
        with self._progress("reading reports", sum(len(self._shards[i]) for i in stale), "reports") as bar:
            for i in stale:
                self._fresh[i] = self._build(i, stamps[i])
                bar.advance(len(self._shards[i]))

    def _build(self, shard: int, stamp: str) -> str:
        keys = self._shards[shard]
        digest, rows = hashlib.sha256(), []
        for key in keys:
            raw, why = _read(self.source, key)
            digest.update(f"{key.study}:{-1 if raw is None else len(raw)}:".encode() + (raw or b""))
            text, why = _decode(raw, why)
            rows.append([key.study, text, why, section_spans(text, key.study) if text else {}])
        header = {"rules": RULES, "stamp": stamp, "digest": digest.hexdigest()}
        write_text(self._path(shard), json.dumps(header) + "\n" + json.dumps(rows))
        return digest.hexdigest()

    def _path(self, shard: int) -> Path:
        return self._folder() / f"{shard:05d}.json"

    def _header(self, shard: int) -> dict[str, Any]:
        """Return the first line of a shard; {} where it is not there or of other rules."""
        try:
            with self._path(shard).open(encoding="utf-8") as file:
                header = json.loads(file.readline())
        except (FileNotFoundError, ValueError):
            return {}
        return header if isinstance(header, dict) and header.get("rules") == RULES else {}

    def _read_shard(self, shard: int) -> Iterator[tuple[str, StoredReport]]:
        lines = self._path(shard).read_text(encoding="utf-8").split("\n", 1)
        for study, text, why, spans in json.loads(lines[1]):
            yield study, StoredReport(text, why, spans)


def _shards(studies: Sequence[tuple[str, ReportKey]]) -> Iterator[list[ReportKey]]:
    for _, group in groupby(sorted(studies, key=lambda s: s[0]), key=lambda s: s[0]):  # sorted is stable
        keys = [key for _, key in group]
        yield from (keys[i : i + SHARD] for i in range(0, len(keys), SHARD))


def _sha(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(source: Source, key: ReportKey) -> tuple[bytes | None, str | None]:
    try:
        raw = source.read(key)
    except OSError as err:
        return None, f"report cannot be read: {err}"
    return raw, None if raw is not None else "report file missing"


def _decode(raw: bytes | None, why: str | None) -> tuple[str | None, str | None]:
    """Decode a report: (text, problem). Bytes that are not UTF-8 are replaced and named."""
    if raw is None:
        return None, why
    try:
        return raw.decode("utf-8-sig"), why
    except UnicodeDecodeError as err:
        return raw.decode("utf-8", errors="replace"), f"byte {err.start} is not UTF-8: shown as U+FFFD"
