"""Publishing a living leaderboard: a static site, built beside its place and moved there when it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import registry, store
from bench.errors import BenchError
from leaderboards import tables as tables_module
from leaderboards.living import entries as entries_module
from leaderboards.living import pages
from leaderboards.living.shown import Shown, collect
from leaderboards.renderers import render

MARKER = "site.json"
MADE_BY = "bench leaderboard publish"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a site is made."""

    title: str = "Leaderboard"
    tables: Sequence[str] = ()
    """Leaderboards (names or files of a definition) that become pages of their own."""
    texts: bool = False
    """Also the reports of entries whose data are not credentialed."""
    unverified: bool = False
    """Also entries that were not verified, marked."""


def publish(folder: Path, site: Path, settings: Settings) -> Iterator[str]:
    """Write the leaderboard at `folder` as a site; yield what its maintainer should know.

    Raises BenchError where `site` holds anything that is no such site, and where an entry was not checked or differs
    from what its reports give, unless `settings.unverified`.
    """
    _check_site(folder, site)
    _check_tables(settings.tables)
    found = collect(folder, entries_module.read(folder), texts=settings.texts)
    yield from _refused(found, folder, settings)
    site.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{site.name}.", suffix=".part", dir=site.parent))
    try:
        files = {**_data(found, settings), **pages.site(found, settings.title, _names(settings.tables))}
        files |= _tables(found, settings)
        for name, text in files.items():
            _write(part / name, text)
        names = sorted([*files, MARKER])
        store.write_json(part / MARKER, {"made_by": MADE_BY, "files": names})
        _open(part)
        _swap(part, site)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(part)
    yield from _left_out(found, settings)


# ------------------------------------------------------------------ what is refused


def _check_site(folder: Path, site: Path) -> None:
    """Raise BenchError where the site's place is taken, or lies where the entries do."""
    if site.is_symlink():
        raise BenchError(f"--out {site}: is a link; name the folder itself")
    board, place = folder.resolve(), site.resolve()
    if place == board or place in board.parents or board in place.parents:
        raise BenchError(
            f"--out {site}: the site would lie with the entries of {folder}, whose texts must not be served; name a "
            "folder elsewhere"
        )
    if not site.exists():
        return
    if not site.is_dir():
        raise BenchError(f"--out {site}: is a file; name a folder")
    there = {path.relative_to(site).as_posix() for path in site.rglob("*") if not path.is_dir()}
    if not there:
        return
    marker = store.read_json(site / MARKER) if MARKER in there else {}
    ours = marker.get("files") if marker.get("made_by") == MADE_BY else None
    strangers = sorted(there - set(ours if isinstance(ours, list) else ()))
    if strangers:
        raise BenchError(
            f"--out {site}: holds {strangers[0]}, which is no part of a site made here and would be deleted; name a "
            "new folder"
        )


def _check_tables(names: Sequence[str]) -> None:
    for name in names:
        tables_module.definition(name)
    stems = _names(names)
    if len(set(stems)) < len(stems):
        raise BenchError(f"--table {','.join(names)}: two tables would have one page; name each once")


def _names(names: Sequence[str]) -> list[str]:
    """Return the names of the tables' pages."""
    return [registry.as_label(Path(name).stem if name.endswith((".yaml", ".yml")) else name) for name in names]


def _refused(found: Sequence[Shown], folder: Path, settings: Settings) -> Iterator[str]:
    """Raise BenchError for entries that were not verified, or say what becomes of them."""
    failed = [one.name for one in found if one.overall == "failed"]
    unchecked = [one.name for one in found if one.overall == "unchecked"]
    if (failed or unchecked) and not settings.unverified:
        said = [f"{', '.join(failed)}: not what their reports give, or cannot be read"] * bool(failed)
        said += [f"{', '.join(unchecked)}: not checked since they were last changed"] * bool(unchecked)
        lines = "\n  ".join(said)
        raise BenchError(
            f"{folder}: not published, since entries are not verified:\n  {lines}\n"
            f"  bench leaderboard check {folder} verifies them; --unverified publishes the rest, and marks these."
        )
    if len(failed) == len(found):
        raise BenchError(f"{folder}: no entry is what its reports give; there is nothing to publish")
    if failed:
        yield f"Named without a number, since the check failed: {', '.join(failed)}"
    if unchecked:
        yield f"Marked as not verified: {', '.join(unchecked)}"


def _left_out(found: Sequence[Shown], settings: Settings) -> Iterator[str]:
    private = [one.name for one in found if one.credentialed and one.overall != "failed"]
    if private:
        texts = "; their reports are not published" if settings.texts else ""
        yield f"Credentialed data, scores only: {', '.join(private)}{texts}"
    partly = [one.name for one in found if one.overall == "partly"]
    if partly:
        yield f"Verified in part; the other scores are marked: {', '.join(partly)}"


# ------------------------------------------------------------------ data files


def _data(found: Sequence[Shown], settings: Settings) -> dict[str, str]:
    """Return the data files: scores as JSON and CSV, and reports that may be published."""
    shown = [one for one in found if one.overall != "failed"]
    files = {
        "scores.json": json.dumps(_json(found, settings.title), indent=1, sort_keys=True, allow_nan=False) + "\n",
        "scores.csv": _csv(shown),
    }
    for one in shown:
        if one.reports:
            files[f"reports/{one.name}.jsonl"] = "".join(map(store.json_line, one.reports))
    return files


def _json(found: Sequence[Shown], title: str) -> dict[str, Any]:
    return {"title": title, "entries": [_entry_json(one) for one in found]}


def _entry_json(one: Shown) -> dict[str, Any]:
    told = {"name": one.name, "verification": one.overall, "credentialed": one.credentialed, "digest": one.digest}
    if one.overall == "failed":
        return told
    scores = {
        key: {**score, "verification": one.states.get(key, "unasked"), "verification_detail": one.details.get(key, "")}
        for key, score in one.summary["scores"].items()
    }
    kept = {key: value for key, value in one.summary.items() if key != "scores"}
    return {
        **told,
        **kept,
        "scores": scores,
        "facts": dict(one.facts),
        "checked": list(one.checked),
        "notes": list(one.notes),
        "created": one.about["created"],
        "versions": one.about["versions"],
        "config": one.about["config"],
    }


_FIELDS = ("entry", "label", "system", "dataset", "split", "n_cases", "n_groups", "column")
_SCORE = ("value", "ci_low", "ci_high", "n", "n_undefined", "n_failed", "scale", "signature")


def _csv(shown: Sequence[Shown]) -> str:
    """Return a row an entry and column; values as fractions, times `scale` as tables show them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_FIELDS, *_SCORE, "verification"])
    for one in shown:
        about = [one.name, *(one.summary.get(key, "") for key in _FIELDS[1:-1])]
        for key, score in one.summary["scores"].items():
            values = ["" if score[name] is None else score[name] for name in _SCORE]
            writer.writerow([_cell(v) for v in (*about, key, *values, one.states.get(key, "unasked"))])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


# ------------------------------------------------------------------ tables of ours


def _tables(found: Sequence[Shown], settings: Settings) -> dict[str, str]:
    """Return the tables asked for in all formats, built from what may be published and from nothing else."""
    if not settings.tables:
        return {}
    files = {}
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as name:
        shown = [one for one in found if one.overall in ("verified", "partly")]
        for one in shown:
            _write_run(one, Path(name) / one.name)
        for given, stem in zip(settings.tables, _names(settings.tables), strict=True):
            table = tables_module.build(given, Path(name) if shown else None)
            table = replace(table, notes=(*table.notes, *_verification_notes(found)))
            for fmt in ("html", "md", "csv", "tex"):
                files[f"tables/{stem}.{fmt}"] = render(table, fmt)
    return files


def _write_run(one: Shown, folder: Path) -> None:
    """Write what may be published of an entry as a run folder, as leaderboards read it."""
    folder.mkdir(parents=True)
    store.write_json(folder / "run.json", dict(one.about))
    store.write_json(folder / "summary.json", dict(one.summary))
    store.write_json(folder / "facts.json", dict(one.facts))
    store.write_json(folder / "done.json", {})


def _verification_notes(found: Sequence[Shown]) -> Iterator[str]:
    if left := [one.name for one in found if one.overall in ("failed", "unchecked")]:
        yield f"Left out, not verified by scoring the reports again: {', '.join(left)}."
    for one in found:
        if one.overall == "partly":
            keys = [key for key, state in one.states.items() if state not in ("verified", "nothing")]
            yield f"Not verified of {one.name}: {', '.join(keys)}."
    if any(one.overall in ("verified", "partly") for one in found):
        yield "All other measured scores were verified by scoring the reports again."


# ------------------------------------------------------------------ the folder


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode("utf-8", "xmlcharrefreplace"))


def _open(folder: Path) -> None:
    """Let a web server read the site, as far as the user's umask allows."""
    mask = os.umask(0o022)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o755 if path.is_dir() else 0o644) & ~mask)


def _swap(part: Path, site: Path) -> None:
    """Put the new site in the place of the old one, which is put back where that fails."""
    if not site.exists():
        os.rename(part, site)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{site.name}.", suffix=".old", dir=site.parent))
    os.rename(site, old / "site")
    try:
        os.rename(part, site)
    except OSError:
        os.rename(old / "site", site)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
