"""Writes this package's language tables as a data folder that nltk itself reads, to compare with nltk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from metrics.data_files import lines

WORDNET_NAMES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
PUNKT_FILES = {
    "abbreviation": "abbrev_types.txt",
    "collocation": "collocations.tab",
    "starter": "sent_starters.txt",
    "context": "ortho_context.tab",
}


def write(root: Path) -> None:
    """Write ``corpora/wordnet`` and ``tokenizers/punkt_tab/english`` below `root`, which must not hold them yet.

    WordNet comes without glosses, pointers, satellites and order of senses: enough for ``synsets`` and METEOR.
    """
    _write_wordnet(root / "corpora" / "wordnet")
    _write_punkt(root / "tokenizers" / "punkt_tab" / "english")


def _write_wordnet(folder: Path) -> None:
    folder.mkdir(parents=True)
    tables: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for line in lines("wordnet-synsets"):
        key, *words = line.split(" ")
        tables[key[0]][int(key[1:])] = words
    for pos, name in WORDNET_NAMES.items():
        (folder / f"data.{name}").write_text(_data(pos, tables[pos]), encoding="ascii")
        (folder / f"index.{name}").write_text(_index(pos, tables[pos]), encoding="ascii")
        exceptions = [line[2:] for line in lines("wordnet-exceptions") if line[0] == pos]
        (folder / f"{name}.exc").write_text("".join(f"{line}\n" for line in exceptions), encoding="ascii")
    (folder / "lexnames").write_text("00\tall\t1\n", encoding="ascii")
    for empty in ("index.sense", "cntlist.rev"):
        (folder / empty).write_text("", encoding="ascii")


def _data(pos: str, table: Mapping[int, Sequence[str]]) -> str:
    """Return data.<pos>: each synset's line starts at the byte that is its number, as wndb(5WN) has it."""
    parts: list[str] = []
    end = 0
    for offset, words in table.items():
        line = f"{offset:08d} 00 {pos} {len(words):02x} {' '.join(f'{word} 0' for word in words)} 000 |"
        parts += [" " * (offset - end - 1), "\n", line]
        end = offset + len(line)
    return "".join([*parts, "\n"])


def _index(pos: str, table: Mapping[int, Sequence[str]]) -> str:
    """Return index.<pos>: lemma, pos, counts, and the offsets of its synsets."""
    index: defaultdict[str, list[str]] = defaultdict(list)
    for offset, words in table.items():
        for lemma in dict.fromkeys(word.lower() for word in words):
            index[lemma].append(f"{offset:08d}")
    rows = (f"{lemma} {pos} {len(at)} 0 {len(at)} 0 {' '.join(at)}\n" for lemma, at in sorted(index.items()))
    return "".join(rows)


def _write_punkt(folder: Path) -> None:
    folder.mkdir(parents=True)
    tables: defaultdict[str, list[str]] = defaultdict(list)
    for line in lines("punkt-english"):
        table, _, row = line.partition("\t")
        tables[table].append(row)
    for table, name in PUNKT_FILES.items():
        (folder / name).write_text("".join(f"{row}\n" for row in tables[table]), encoding="utf-8")
