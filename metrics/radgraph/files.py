"""The files of a RadGraph model: found, fetched, unpacked, and identified by their content."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.contracts import Asset, Context, HubFiles
from bench.errors import BenchError, Unavailable
from bench.hub import cached_file, cached_snapshot, fetch_file, fetch_snapshot, file_sha256
from bench.store import read_json, write_json

REPOSITORY = "StanfordAIMI/RRG_scorers"
CONFIG, WEIGHTS, VOCABULARY, PADDING = "config.json", "weights.th", "vocabulary", "non_padded_namespaces.txt"
UNPACKED = ".unpacked.json"
"""File → size, written into an unpacked folder before it takes its place."""
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")
ENCODER_FILES = (CONFIG, *TOKENIZERS, "tokenizer_config.json", "merges.txt", "special_tokens_map.json")
"""What is read of the encoder: its weights come with the model's own."""
ENCODER_WANTED = (CONFIG, "tokenizer*.json", "vocab.*", "merges.txt*", "special_tokens_map.json*")
"""What is fetched of the encoder: a configuration, and what there is of a tokeniser."""
PROVENANCE = frozenset({"_name_or_path", "_commit_hash", "transformers_version"})
"""Keys of an encoder's configuration that say where it was made, not what it computes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is read of a model's config.json."""

    encoder: str
    """Hub id or folder of the transformer and its tokeniser."""
    max_length: int | None
    """Word pieces of one window, special ones included; None: a text is one window."""
    max_span_width: int
    """Words of the longest candidate span."""
    model: Mapping[str, Any]
    """The arguments of the package's DyGIE class besides vocabulary and embedder."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model folder that is whole, and the folder of its encoder's configuration and tokeniser."""

    folder: Path
    encoder: Path
    settings: Settings

    @property
    def vocabulary(self) -> list[Path]:
        """The files of the label vocabulary, by name."""
        return sorted(file for file in (self.folder / VOCABULARY).iterdir() if file.suffix == ".txt")

    def identity(self, context: Context) -> Mapping[str, Any]:
        """Return all that a graph depends on, the files by content: the same wherever they lie."""
        encoder = [file for name in ENCODER_FILES if (file := self.encoder / name).is_file()]
        return {
            "weights": file_sha256(self.folder / WEIGHTS, context),
            "max_length": self.settings.max_length,
            "max_span_width": self.settings.max_span_width,
            "model": self.settings.model,
            "vocabulary": {file.name: _content(file) for file in self.vocabulary},
            "encoder": {file.name: _content(file) for file in encoder},
        }


def _content(file: Path) -> Any:
    if file.name == CONFIG:
        return {key: value for key, value in read_json(file).items() if key not in PROVENANCE}
    return hashlib.sha256(file.read_bytes()).hexdigest()


def locate(name: str, archive: str | None, revision: str | None, encoder: str | None, context: Context) -> ModelFiles:
    """Return the files of the model `name`: of `archive` (a .tar.gz or an unpacked folder), else of the hub.

    Raises Unavailable where something is not to be had, BenchError where it is not such a model.
    """
    folder = _folder(name, archive, revision, context)
    settings = read_settings(folder)
    return ModelFiles(folder, _encoder(encoder or settings.encoder, context), settings)


def assets(name: str, archive: str | None, revision: str | None, encoder: str | None, context: Context) -> list[Asset]:
    """Return what `locate` needs of the hub. Which encoder a model names is known once its archive is here."""
    wanted = HubFiles(REPOSITORY, revision, (f"{name}.tar.gz",))
    found: list[Asset] = [wanted] if archive is None else []
    if encoder is None:
        file = cached_file(wanted) if archive is None else Path(archive).expanduser()
        if file is None or not file.exists():
            return found
        encoder = read_settings(file if file.is_dir() else unpack(file, context)).encoder
    if not Path(encoder).expanduser().is_dir():
        found.append(HubFiles(encoder, None, ENCODER_WANTED))
    return found


def _folder(name: str, archive: str | None, revision: str | None, context: Context) -> Path:
    if archive is None:
        return unpack(fetch_file(REPOSITORY, f"{name}.tar.gz", revision, context, "archive"), context)
    if revision is not None:
        raise BenchError(f"{name}: revision {revision!r} is of the hub's archive; leave it out where archive is set")
    given = Path(archive).expanduser()
    if not given.exists():
        raise Unavailable(f"{name}: no file or folder {given}", "set archive to the model's .tar.gz or its folder")
    return given if given.is_dir() else unpack(given, context)


def read_settings(folder: Path) -> Settings:
    """Return the settings of a model folder. Raises BenchError where it is not whole."""
    missing = [name for name in (CONFIG, WEIGHTS, f"{VOCABULARY}/{PADDING}") if not (folder / name).is_file()]
    if missing:
        raise BenchError(f"{folder}: not a RadGraph model, {', '.join(missing)} missing")
    config = read_json(folder / CONFIG)
    try:
        reader, model = config["dataset_reader"], config["model"]
        indexer, embedder = reader["token_indexers"]["bert"], model["embedder"]["token_embedders"]["bert"]
        left_out = ("type", "embedder", "initializer", "module_initializer")
        settings = Settings(
            embedder["model_name"],
            embedder.get("max_length"),
            int(reader["max_span_width"]),
            {key: value for key, value in model.items() if key not in left_out},
        )
        propagated = model["modules"]["coref"].get("coref_prop", 0)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise BenchError(f"{folder / CONFIG}: not a RadGraph model's configuration: {err!r}") from None
    if indexer.get("max_length") != settings.max_length or indexer["model_name"] != settings.encoder:
        raise BenchError(f"{folder / CONFIG}: token_indexers and token_embedders name two encoders or lengths")
    if propagated:
        raise BenchError(f"{folder / CONFIG}: coref_prop {propagated}: spans changed by coreference are not supported")
    return settings


# ------------------------------------------------------------------ archives


def unpack(archive: Path, context: Context) -> Path:
    """Return the folder of an archive's files, unpacked once into the shared cache.

    The folder takes its place in one step, with the list of its files; one that has lost any is unpacked again.
    """
    place = context.cache("radgraph", file_sha256(archive, context)[:24])
    folder = place / "model"
    if _intact(folder):
        return folder
    with (
        context.progress(f"unpacking {archive.name}", None),
        tempfile.TemporaryDirectory(dir=place, prefix=".part-") as part,
    ):
        made = Path(part) / "model"
        _extract(archive, made)
        write_json(made / UNPACKED, _sizes(made))
        if folder.exists():
            folder.rename(Path(part) / "damaged")
        try:
            made.rename(folder)
        except OSError:  # another process was first
            if not _intact(folder):
                raise
    return folder


def _extract(archive: Path, folder: Path) -> None:
    """Extract plain files, none outside `folder`; by hand, since Python has filters for it from 3.11.4 on only."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isdir():
                    _extract_file(tar, member, archive, folder)
    except (tarfile.TarError, EOFError, zlib.error):
        shutil.rmtree(folder, ignore_errors=True)
        raise BenchError(
            f"{archive}: no whole .tar.gz archive of a model: set the option archive of the annotator to one"
        ) from None


def _extract_file(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path, folder: Path) -> None:
    name = PurePosixPath(member.name)
    packed = tar.extractfile(member) if member.isfile() else None
    if packed is None or name.is_absolute() or ".." in name.parts:
        raise BenchError(f"{archive}: refused: {member.name} is a link, or would be written outside its folder")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with packed, (folder / name).open("wb") as out:
        shutil.copyfileobj(packed, out)


def _sizes(folder: Path) -> dict[str, int]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != UNPACKED)
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def _intact(folder: Path) -> bool:
    if not (folder / UNPACKED).is_file():
        return False
    found = _sizes(folder)
    return all(found.get(name) == size for name, size in read_json(folder / UNPACKED).items())


# ------------------------------------------------------------------ the encoder's configuration and tokeniser


def _encoder(name: str, context: Context) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not _usable(folder):
            raise BenchError(f"{folder}: no encoder, {CONFIG} or a tokeniser ({', '.join(TOKENIZERS)}) is missing")
        return folder
    wanted = HubFiles(name, None, ENCODER_WANTED)
    cached = cached_snapshot(wanted)
    if cached is not None and _usable(cached):
        return cached
    fetched = fetch_snapshot(wanted, context, "encoder")
    if not _usable(fetched):
        raise BenchError(f"{name} on the Hugging Face hub has no tokeniser ({', '.join(TOKENIZERS)}): set encoder")
    return fetched


def _usable(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in TOKENIZERS)
