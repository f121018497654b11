"""The entries of a living leaderboard: copies of finished runs below ``FOLDER/entries``."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__, compare, registry, store
from bench.config import digest
from bench.errors import BenchError
from bench.show import find_runs
from leaderboards.living.foreign import tame

ENTRIES, ABOUT = "entries", "entry.json"
REQUIRED = ("run.json", "summary.json", "done.json", "cases.jsonl", "reports.jsonl")
OPTIONAL = ("facts.json", "resources.json")
FOLDERS = {"stats": ".jsonl", "tables": ".csv"}
"""Folders of a run whose files of that ending are copied: the statistics of its cases and its metrics' tables."""
LONGEST = 100
"""Most letters of a name that is made of a label: it names files."""
PLACES = ("label", "dataset", "split", "system")
"""What the pattern of a name may hold, in braces."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of a living leaderboard."""

    name: str
    folder: Path
    digest: str
    """Hash of all its files but entry.json."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one run that was to be added."""

    name: str
    run: Path
    new: bool
    """False: the same content is there already, under that name."""
    credentialed: bool
    notes: Sequence[str]
    """Metrics whose statistics could not be looked at here."""


def is_credentialed(*told: Mapping[str, Any]) -> bool:
    """Tell whether a run's texts must stay here: one of its files says so, or none says that they need not.

    A dataset that is credentialed by its nature (mimic-cxr) stays so whatever run.json says.
    """
    answers = [one["credentialed"] is not False for one in told if "credentialed" in one]
    return not answers or any(answers) or any(_by_nature(one.get("dataset")) for one in told)


def is_private(entry: Entry) -> bool:
    """Tell whether an entry's texts must stay here; one whose files cannot be read is."""
    try:
        return is_credentialed(*(store.read_json(entry.folder / name) for name in ("run.json", "summary.json", ABOUT)))
    except BenchError:
        return True


def is_signed(folder: Path, summary: Mapping[str, Any]) -> bool:
    """Tell whether a run's done.json has the digest of its summary; no number of a summary is NaN or infinite."""
    try:
        own = digest(summary)
    except ValueError:
        return False
    return store.read_json(folder / "done.json").get("summary_digest") == own


def _by_nature(dataset: Any) -> bool:
    if not isinstance(dataset, str) or dataset not in registry.table("dataset"):
        return False
    try:
        return getattr(registry.find("dataset", dataset).plugin, "credentialed", None) is True
    except BenchError:
        return False


def content(folder: Path) -> dict[str, str]:
    """Return file → SHA-256 of what an entry consists of, its own entry.json left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: _sha256(path) for name, path in names.items() if name != ABOUT}


def content_digest(folder: Path) -> str:
    """Return the hash of names and contents of an entry's files."""
    return digest(content(folder))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> list[Entry]:
    """Return the entries of a living leaderboard, by name. Raises BenchError where the folder is none, or is empty."""
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder; bench leaderboard add RUN --to {folder} makes one")
    home = folder / ENTRIES
    if not home.is_dir():
        raise BenchError(f"{folder}: no living leaderboard (it has no folder {ENTRIES}); name the folder given to --to")
    if not (found := names(folder)):
        raise BenchError(f"{folder}: no entry yet; add one with bench leaderboard add RUN --to {folder}")
    return [Entry(name, home / name, content_digest(home / name)) for name in found]


def names(folder: Path) -> list[str]:
    """Return the names of the entries there are; what a killed copy left is none."""
    return sorted(p.name for p in (folder / ENTRIES).iterdir() if p.is_dir() and not p.name.startswith("."))


# ------------------------------------------------------------------ adding


def add(
    runs: Sequence[Path], folder: Path, pattern: str | None = None, run_code: Sequence[Path] = ()
) -> Iterator[Added]:
    """Copy the finished runs at or below `runs` into the leaderboard at `folder`; yield what became of each.

    pattern: name of the entry; for several runs with {label}, {dataset}, {split} or {system} in it. run_code: files of
    code that may be run to look at statistics. Nothing is copied unless all can be. Raises BenchError where a run is
    not finished or damaged, its statistics do not give its summary, or a name is taken by another run.
    """
    _check_home(folder)
    chosen = list(dict.fromkeys(path.resolve() for run in runs for path in find_runs(run)))
    if pattern is not None and len(chosen) > 1 and not any(f"{{{place}}}" in pattern for place in PLACES):
        places = ", ".join(f"{{{place}}}" for place in PLACES)
        raise BenchError(f"--as {pattern}: {len(chosen)} runs would share this name; put one of {places} into it")
    (folder / ENTRIES).mkdir(parents=True, exist_ok=True)
    with store.locked(folder, wait=True):
        for left in (folder / ENTRIES).glob(store.PARTS):  # of a killed process: we hold the lock
            shutil.rmtree(left)
        known = {entry.digest: entry.name for entry in read(folder)} if names(folder) else {}
        planned = _planned(chosen, folder, pattern, known, run_code)
        for one in planned:
            if one.new:
                _copy(one.run, folder / ENTRIES / one.name, private=one.credentialed)
            yield one


def _check_home(folder: Path) -> None:
    """Raise BenchError where `folder` is something else than a living leaderboard or a place for one."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BenchError(f"--to {folder}: is a file; name a folder")
    if (folder / ENTRIES).is_dir():
        return
    if there := sorted(path.name for path in folder.iterdir() if path.name != ".lock"):
        raise BenchError(
            f"--to {folder}: holds {there[0]} and is no living leaderboard; name a new folder, or an empty one"
        )


def _planned(
    chosen: Sequence[Path], folder: Path, pattern: str | None, known: Mapping[str, str], run_code: Sequence[Path]
) -> Sequence[Added]:
    """Check all runs and their names before any is copied. known: digest → name of what is there."""
    planned: list[Added] = []
    there, taken = dict(known), dict.fromkeys(known.values(), f"an entry of {folder}")
    for path in chosen:
        run, notes = examine(path, run_code)
        own = digest(_chosen_content(path))
        new = own not in there
        name = _name(run, pattern) if new else there[own]
        if new and name in taken:
            raise BenchError(
                f"{path}: the name {name!r} is taken by another run ({taken[name]}); give this one a name of its own: "
                "--as NAME, or --as '{dataset}-{split}-{label}'"
            )
        there[own] = name
        taken.setdefault(name, str(path))
        planned.append(Added(name, path, new, is_credentialed(run.run, run.summary), notes))
    return planned


def _name(run: compare.Run, pattern: str | None) -> str:
    """Return the entry's name, which names a folder and a page."""
    if pattern is None:
        return registry.as_label(str(run.summary["label"]))[:LONGEST]
    given = pattern
    for place in PLACES:
        given = given.replace(f"{{{place}}}", registry.as_label(Path(str(run.summary.get(place, ""))).name))
    if registry.as_label(given) != given or len(given) > LONGEST:
        raise BenchError(
            f"--as {pattern}: {given!r} is no name; use letters, digits and . _ + -, at most {LONGEST}, e.g. "
            f"{registry.as_label(given)[:LONGEST]}"
        )
    return given


def examine(folder: Path, run_code: Sequence[Path] = ()) -> tuple[compare.Run, list[str]]:
    """Read a finished run and see that it is whole; return it, and which statistics could not be looked at here.

    Raises BenchError where it is not finished, damaged, or its statistics do not give its summary.
    """
    run = compare.read_run(folder)
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise BenchError(f"{folder}: no {', '.join(missing)}: the run is damaged")
    if not run.pairs:
        raise BenchError(f"{folder}: its cases.jsonl has no case: the run is damaged")
    if not is_signed(folder, run.summary):
        raise BenchError(
            f"{folder}: summary.json was changed after the run was finished (done.json has another digest); score "
            "again with the command that made the run"
        )
    tamed = tame(run, run_code)
    _, notes = compare.units([tamed.run], list(run.pairs), all_pairs=True, least=1)
    refused = [f"{label}: not looked at: {tamed.why(label)}" for label in tamed.refused]
    return run, [*refused, *(note.replace(f"not compared with {run.label}", "not looked at") for note in notes)]


def _sources(folder: Path) -> dict[str, Path]:
    """Return name → file of what is copied of a run."""
    found = {name: folder / name for name in (*REQUIRED, *OPTIONAL) if (folder / name).is_file()}
    for below, ending in FOLDERS.items():
        files = sorted((folder / below).glob(f"*{ending}"))
        found.update({f"{below}/{path.name}": path for path in files if path.is_file()})
    return found


def _chosen_content(folder: Path) -> dict[str, str]:
    return {name: _sha256(path) for name, path in sorted(_sources(folder).items())}


def _copy(run: Path, target: Path, *, private: bool) -> None:
    """Copy a run beside its place and move it there in one step; readable by its owner only where it is `private`."""
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))  # mode 700
    try:
        for name, source in _sources(run).items():
            (part / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, part / name)
        about = {
            "name": target.name,
            "added": datetime.now(UTC).isoformat(timespec="seconds"),
            "credentialed": private,
            "digest": content_digest(part),
            "cxr-report-bench": __version__,
        }
        store.write_json(part / ABOUT, about)
        _set_modes(part, private)
        os.rename(part, target)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(part)


def _set_modes(folder: Path, private: bool) -> None:
    """Give an entry the permissions its data asks for."""
    for path in (folder, *folder.rglob("*")):
        executable = 0o100 if path.is_dir() else 0
        opened = 0 if private else (0o055 if path.is_dir() else 0o044) & ~_umask()
        path.chmod(0o600 | executable | opened)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
