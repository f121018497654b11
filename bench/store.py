"""Files of a run folder: replaced in one step, or appended line by line and repaired after a kill."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bench.errors import BenchError

PARTS = ".*.part"
"""Names of files that are being written, or were when their process was killed."""


class Held(BenchError):
    """Another process holds what this one needs."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written whole; it takes its place in one step, once the block ends well.

    A reader sees the old file or the new one, never half of one. Raises OSError naming the file; nothing is left then.
    """
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"  # two machines that share the folder may share a process id
    part = path.with_name(f".{path.name}.{unique}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as err:
        raise OSError(err.errno, err.strerror, str(path)) from err
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN and infinity are refused, lone surrogates escaped."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    with suppress(UnicodeEncodeError):
        return write_text(path, text)
    return write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Return a text file of a user's, without the mark that some editors begin it with. Raises BenchError naming it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise BenchError(f"{path}: not UTF-8 text: {err}") from None
    except OSError as err:
        raise BenchError(f"{path}: cannot be read: {err.strerror}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BenchError naming the file, and line and column where it is not JSON."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as err:
        raise BenchError(f"{path}: not valid JSON: {err}") from None
    if not isinstance(value, dict):
        raise BenchError(f"{path}: a JSON object was expected")
    return value


def json_line(value: Mapping[str, Any]) -> str:
    """Return one line of a JSONL file; escaped to ASCII only where the text is no valid Unicode (a lone surrogate)."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n"
    return line


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file; [] where there is none.

    A last line without its end of line is what a kill left, or what another process is writing: it is passed over, and
    the file is left as it is. Any other line that is not a JSON object is an error that names it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [_line(path, number, raw) for number, raw in enumerate(content[: _whole(content)].splitlines(), 1)]


def _whole(content: bytes) -> int:
    """Return how many bytes of a JSONL file are whole lines."""
    return content.rfind(b"\n") + 1


def _cut_torn_tail(path: Path) -> None:
    """Cut a last line without its end of line off the file."""
    content = path.read_bytes()
    if (whole := _whole(content)) < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def _line(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise BenchError(f"{path}, line {number}: not valid JSON ({err}); mend or delete the line") from None
    if not isinstance(value, dict):
        raise BenchError(f"{path}, line {number}: a JSON object was expected")
    return value


class Appender:
    """Appends lines, each handed to the operating system before the next: a kill loses none that was written.

    Half a line that a kill or a full disk left at the end of the file is cut off first, so only who holds the folder's
    lock may open one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            _cut_torn_tail(path)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, *values: Mapping[str, Any]) -> None:
        """Append one line a value."""
        try:
            self._file.write("".join(json_line(value) for value in values))
            self._file.flush()
        except OSError as err:
            raise OSError(err.errno, err.strerror, str(self._path)) from err

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._file.close()
        except OSError as err:  # what could not be flushed above
            if exc[0] is None:
                raise OSError(err.errno, err.strerror, str(self._path)) from err


@contextmanager
def locked(
    folder: Path, name: str = ".lock", *, shared: bool = False, wait: bool = False, patience_s: float = 0.0
) -> Iterator[None]:
    """Hold a folder for this process; another that asks for it meanwhile is told so (after `patience_s`), or waits.

    Several may hold it `shared` at once; none of them while one holds it alone. Raises `Held`, and BenchError where the
    disk has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+") as file:  # over NFS a shared lock needs a file open for reading, the other writing
        until = time.monotonic() + patience_s
        while not _lock(file, folder, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)):
            if time.monotonic() >= until:
                raise Held(f"{folder}: another process is working in this folder; wait for it")
            time.sleep(0.05)
        yield


def _lock(file: IO[str], folder: Path, how: int) -> bool:
    """Lock a file; False where another process holds it."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as err:
        raise BenchError(f"{folder}: its disk does not lock files ({err.strerror}): choose another disk") from None
    return True
