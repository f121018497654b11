"""The wheels of a worker's environment: collected where there is a network, found where there is none.

One folder a dependency block, in the cache's folder ``wheels``: every wheel that the environment is built from, and
`ABOUT`, which says for which Python and platform they are.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import cachedir, store
from bench.assets.staging import staging
from bench.contracts import Context, Ticker
from bench.errors import BenchError, Unavailable
from bench.workers import environment
from bench.workers.words import last_words

ABOUT = "wheels.json"
"""Written into a folder of wheels before it takes its place: a folder without it does not count."""
LOOK_EVERY_S = 0.5
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(==| @ )")
_INDEX_LINES = ("--index-url", "--extra-index-url", "--find-links")


def digest(script: Path) -> str:
    """Return 16 hex digits of a script's dependency block, which names the folder of its wheels."""
    return environment.identity(script)


def folder_of(name: str) -> Path:
    """Return where the wheels of a dependency block of this digest are, or would be."""
    return cachedir.cache_root() / "wheels" / name


def wheelhouse(script: Path) -> Path | None:
    """Return the folder of the wheels that are here for a script as it is now, or None."""
    folder = folder_of(digest(script))
    return folder if (folder / ABOUT).is_file() else None


def sync_options(script: Path) -> list[str]:
    """Return what makes ``uv sync --script`` build from the wheels that are here alone; [] where there are none."""
    if (folder := wheelhouse(script)) is None:
        return []
    python = str(store.read_json(folder / ABOUT).get("python", ""))
    return [
        "--no-config", "--offline", "--no-index", "--no-sources", "--no-build", "--find-links", str(folder),
        *(["--python", python] if python else []),
    ]  # fmt: skip


def this_platform() -> dict[str, str]:
    """Return what wheels depend on beside the Python: operating system and processor."""
    return {"system": platform.system(), "machine": platform.machine()}


def files(folder: Path) -> list[Path]:
    """Return the wheels of a folder, by name."""
    return sorted(folder.glob("*.whl"))


# ------------------------------------------------------------------ collecting


def collect(script: Path, context: Context) -> Path:
    """Return the folder of a script's wheels, made where it is not there: what its built environment holds, exactly.

    Source distributions are built here, so that nothing needs a compiler there. Raises Unavailable.
    """
    if (folder := wheelhouse(script)) is not None:
        return folder
    python = environment.uv_python(script, context)
    pins = _pins(script, python)
    folder = folder_of(digest(script))
    with (
        staging(folder.parent) as part,
        context.progress(f"wheels of {environment.called(script)}", len(pins), "wheels") as ticker,
    ):
        made = part / "wheels"
        made.mkdir()
        _fetch(script, python, pins, made, ticker)
        _check_whole(script, pins, made)
        store.write_json(made / ABOUT, about(script.name, _version(python)))
        if wheelhouse(script) is None:  # another process may have been as fast
            put(made, folder)
    return folder


def about(script: str, python: str) -> dict[str, Any]:
    """Return what `ABOUT` says."""
    return {"script": script, "python": python, "platform": this_platform()}


def put(made: Path, folder: Path) -> None:
    """Move a whole folder of wheels to its place, and what was there out of the way."""
    if folder.exists():
        old = made.with_name(f"{made.name}.old")
        folder.rename(old)
        made.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        made.rename(folder)


def _pins(script: Path, python: Path) -> list[str]:
    """Return what an environment holds, as requirements: name==version, or name @ address."""
    lines = _run(["pip", "freeze", "--python", str(python)], script).splitlines()
    pins = [line.strip() for line in lines if line.strip()]
    if odd := [pin for pin in pins if not _PINNED.match(pin)]:
        raise BenchError(f"worker {script}: its environment holds {odd[0]!r}, of which no wheel can be made")
    return pins


def _fetch(script: Path, python: Path, pins: Sequence[str], made: Path, ticker: Ticker) -> None:
    requirements = made.parent / "requirements.txt"
    store.write_text(requirements, "\n".join([*_indices(script), *pins]) + "\n")
    if not pins:
        return
    argv = [
        environment.uv_binary(), "run", "--no-project", "--quiet", "--python", str(python), "--with", "pip", "--",
        "python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(made), "--requirement", str(requirements),
    ]  # fmt: skip
    log = made.parent / "log"
    with log.open("wb") as out:
        running = subprocess.Popen(argv, stdout=out, stderr=out, env=environment.uv_settings())
        try:
            _wait(running, made, ticker)
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()
    if running.returncode:
        said = log.read_text(errors="replace")
        raise Unavailable(
            f"the wheels of the worker {script} cannot be had:\n{last_words(said)}",
            "a package index is needed; once it can be reached the same command tries again",
        )


def _wait(running: subprocess.Popen[bytes], made: Path, ticker: Ticker) -> None:
    shown = 0
    while True:
        ended = running.poll() is not None
        found = len(files(made))
        if found > shown:
            ticker.advance(found - shown)
            shown = found
        if ended:
            return
        time.sleep(LOOK_EVERY_S)


def _indices(script: Path) -> list[str]:
    """Return the lines that tell pip the indices which uv uses: those of its settings, and those of the script."""
    lines = _run(["pip", "compile", "-", "--emit-index-url", "--emit-find-links", "--no-header", "--quiet"], script)
    own = tomllib.loads(environment.metadata(script)).get("tool", {}).get("uv", {})
    extra = [str(index["url"]) for index in own.get("index", ())] + list(own.get("extra-index-url", ()))
    return [
        *(line for line in lines.splitlines() if line.startswith(_INDEX_LINES)),
        *(f"--extra-index-url {url}" for url in extra),
        *(f"--find-links {place}" for place in own.get("find-links", ())),
    ]


def _check_whole(script: Path, pins: Sequence[str], made: Path) -> None:
    """Raise Unavailable where a package of the environment has no wheel among those that were made."""
    have = {_plain(path.name.partition("-")[0]) for path in files(made)}
    names = [match[1] for pin in pins if (match := _PINNED.match(pin))]
    if lacking := [name for name in names if _plain(name) not in have]:
        raise Unavailable(f"the worker {script}: no wheel of {', '.join(lacking)} came", "try again")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(python: Path) -> str:
    """Return "3.11" for a Python."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{python} does not start:\n{last_words(done.stderr)}", "remove it, and try again")
    return done.stdout.strip()


def _run(arguments: Sequence[str], script: Path) -> str:
    """Run uv without any input and return what it prints. Raises Unavailable with its last words."""
    argv, none = [environment.uv_binary(), *arguments], subprocess.DEVNULL
    done = subprocess.run(
        argv, stdin=none, capture_output=True, text=True, errors="replace", env=environment.uv_settings(), check=False
    )
    if done.returncode:
        raise Unavailable(
            f"the wheels of the worker {script} cannot be had: uv {arguments[0]} {arguments[1]}:\n"
            f"{last_words(done.stderr)}",
            "bench assets pull builds the environment anew where it is gone",
        )
    return done.stdout


# ------------------------------------------------------------------ can they be used here


def check_usable(python: str, made_on: Mapping[str, Any], wheels: Sequence[str]) -> None:
    """Raise BenchError where wheels made for a Python on a platform are of no use on this machine; both are named."""
    here = this_platform()
    theirs, ours = (" ".join(map(str, found.values())) for found in (made_on, here))
    if dict(made_on) != here:
        raise BenchError(
            f"the archive's wheels are for {theirs} and Python {python}, and this is {ours} and Python "
            f"{platform.python_version()}: export on a machine like this one"
        )
    argv = [environment.uv_binary(), "python", "find", "--offline", "--no-python-downloads", "--no-project", python]
    if subprocess.run(argv, capture_output=True, env=environment.uv_settings(), check=False).returncode:
        raise BenchError(
            f"the archive's wheels are for Python {python} on {theirs}, and uv finds no Python {python} here (this is "
            f"Python {platform.python_version()} on {ours}): install Python {python}, or export with one that is here"
        )
    _check_libc(wheels)


def _check_libc(wheels: Sequence[str]) -> None:
    kind, version = platform.libc_ver()
    if kind != "glibc":
        return
    ours = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    for name in wheels:
        needed = [(int(a), int(b)) for a, b in re.findall(r"manylinux_(\d+)_(\d+)_", name)]
        if needed and "manylinux1" not in name and "manylinux20" not in name and min(needed) > ours:
            wanted = ".".join(map(str, min(needed)))
            raise BenchError(f"the archive's {name} needs glibc {wanted}, and this machine has glibc {version}")
