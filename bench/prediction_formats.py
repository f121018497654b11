"""Tables of texts from CSV, TSV, JSON, JSONL and Parquet files, each cell exactly as written.

Nothing is guessed: ``007`` stays ``007``, ``NA`` and ``None`` are texts. Only JSON's ``null`` and ``NaN`` and Parquet's
null are no value, given as None.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError, missing_package

KEY = "(key)"
"""Name of the column that holds the keys of a JSON object of objects."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a file."""

    where: str
    """"line 3", "entry 2" …, counted from 1, a header included."""
    cells: Mapping[str, Any]
    """Column → value. A column the entry does not have, and a NaN, are None."""


@dataclass(frozen=True, slots=True)
class Table:
    """The entries of a file; never empty."""

    file: Path
    columns: tuple[str, ...]
    rows: Sequence[Row]


def read_table(file: Path, wanted: Iterable[str]) -> Table:
    """Read a file by the ending of its name; of the columns, those `wanted` are kept in the rows.

    Raises BenchError naming the file and, where there is one, the line.
    """
    content = _content(file)
    readers = {".csv": _csv, ".tsv": _tsv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}
    if file.suffix.lower() not in readers:
        raise BenchError(f"{file}: the name must end in {', '.join(readers)}, which tells how the file is read")
    columns, rows = readers[file.suffix.lower()](file, content, frozenset(wanted))
    if not rows:
        raise BenchError(f"{file}: {'a header but ' if columns else ''}no entry; at least one is needed")
    return Table(file, columns, rows)


Found = tuple[tuple[str, ...], list[Row]]


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise BenchError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise BenchError(f"{file}: a folder; the name of a file is needed") from None
    except (OSError, ValueError) as err:
        raise BenchError(f"{file}: cannot be read: {getattr(err, 'strerror', None) or err}") from None
    if not content.removeprefix(b"\xef\xbb\xbf").strip():
        raise BenchError(f"{file}: the file is empty")
    return content


def _text(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise BenchError(
            f"{file}, line {line}: not UTF-8: byte 0x{content[err.start]:02x} at position {err.start} of the file; "
            "save it as UTF-8"
        ) from None


def _columns(file: Path, names: Iterable[str], wanted: frozenset[str]) -> tuple[str, ...]:
    columns = tuple(names)
    if twice := sorted(name for name, count in Counter(columns).items() if count > 1 and name in wanted):
        raise BenchError(f"{file}: the column {twice[0]!r} occurs twice; rename or delete one")
    return columns


# ------------------------------------------------------------------ CSV and TSV


def _csv(file: Path, content: bytes, wanted: frozenset[str]) -> Found:
    return _separated(file, _text(file, content), ",", wanted)


def _tsv(file: Path, content: bytes, wanted: frozenset[str]) -> Found:
    return _separated(file, _text(file, content), "\t", wanted)


def _separated(file: Path, text: str, delimiter: str, wanted: frozenset[str]) -> Found:
    records = _records(file, text, delimiter)
    header = next(records)[1]
    columns = _columns(file, header, wanted)
    rows = []
    for line, record in records:
        if len(record) != len(columns):
            raise BenchError(
                f"{file}, line {line}: {len(record)} fields, but the header has {len(columns)}; "
                f"a text that holds {'a tab' if delimiter == TAB else 'a comma'} must be in double quotes"
            )
        cells = {name: cell for name, cell in zip(columns, record, strict=True) if name in wanted}
        rows.append(Row(f"line {line}", cells))
    return columns, rows


TAB = "\t"


def _records(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line it begins on, fields) of every record that is not a blank line."""
    # newline="" ends lines at \n, \r\n and \r only: a text may hold U+2028 or a form feed, which are no ends here.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as err:
            raise BenchError(f"{file}, line {line}: {_why(err)}") from None
        if record:
            yield line, record


def _why(err: csv.Error) -> str:
    if "unexpected end" in str(err):
        return "a double quote is opened and never closed"
    if "field limit" in str(err):
        return f"a field of over {csv.field_size_limit():,} characters; is a double quote opened and never closed?"
    return str(err)


# ------------------------------------------------------------------ JSON and JSONL


def _json(file: Path, content: bytes, wanted: frozenset[str]) -> Found:
    value = _parsed(_text(file, content), f"{file}")
    if isinstance(value, list):
        return _objects(file, [(f"entry {n}", entry) for n, entry in enumerate(value, 1)], wanted)
    if not isinstance(value, dict):
        raise BenchError(f"{file}: a list of objects, or an object of objects by study, was expected")
    return _objects(file, [(f"key {key!r}", _keyed(file, key, entry)) for key, entry in value.items()], wanted)


def _keyed(file: Path, key: str, entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise BenchError(f"{file}, key {key!r}: {kind(entry)} where an object was expected, as every study has one")
    return {**entry, KEY: key}


def _jsonl(file: Path, content: bytes, wanted: frozenset[str]) -> Found:
    lines = enumerate(_text(file, content).split("\n"), 1)
    return _objects(file, [(f"line {n}", _parsed(line, f"{file}", n)) for n, line in lines if line.strip()], wanted)


def _objects(file: Path, entries: Sequence[tuple[str, object]], wanted: frozenset[str]) -> Found:
    columns: dict[str, None] = {}
    rows = []
    for where, entry in entries:
        if not isinstance(entry, dict):
            raise BenchError(f"{file}, {where}: {kind(entry)} where an object was expected")
        columns.update(dict.fromkeys(entry))
        rows.append(Row(where, {name: _value(entry[name]) for name in entry if name in wanted}))
    return tuple(columns), rows


def _value(cell: Any) -> Any:
    return None if isinstance(cell, float) and cell != cell else cell


def _parsed(text: str, file: str, line: int | None = None) -> Any:
    """Return a JSON value; `line` is the line of a JSONL file, else the file is one value."""
    where = file if line is None else f"{file}, line {line}"

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise BenchError(f"{where}: the key {twice!r} occurs twice in one object")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as err:
        raise BenchError(
            f"{file}, line {line or err.lineno}: not valid JSON: {err.msg} at column {err.colno}{_hint(err, line)}"
        ) from None
    except RecursionError:
        raise BenchError(f"{where}: nested too deeply for a table of texts") from None
    except ValueError as err:  # a whole number of thousands of digits
        raise BenchError(f"{where}: not usable JSON: {err}") from None


def _hint(err: json.JSONDecodeError, line: int | None) -> str:
    several = line is None and err.msg == "Extra data"
    return "; where every line is an object of its own, the name must end in .jsonl" if several else ""


def kind(value: object) -> str:
    """Return what a cell holds, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", int: "a whole number", float: "a decimal number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


# ------------------------------------------------------------------ Parquet


def _parquet(file: Path, content: bytes, wanted: frozenset[str]) -> Found:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise missing_package(f"reading {file}", "pyarrow", "parquet") from None
    try:
        source = parquet.ParquetFile(pa.BufferReader(content))
        columns = _columns(file, source.schema_arrow.names, wanted)
        entries = source.read(columns=[name for name in columns if name in wanted]).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        raise BenchError(f"{file}: not a readable Parquet file: {' '.join(str(err).split())}") from None
    cells = ({name: _value(cell) for name, cell in entry.items()} for entry in entries)
    return columns, [Row(f"row {n}", row) for n, row in enumerate(cells, 1)]
