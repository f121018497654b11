"""What a worker runs in: an environment built by uv for its script, a Python of the user's, or a container.

uv keeps one environment a script, the same that ``uv run --script`` uses by hand. Once built it is noted in the cache
and started without asking uv again; another dependency block, or an environment that is gone, has it built anew.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench import store
from bench.contracts import Context
from bench.errors import BenchError, Unavailable, missing_package
from bench.workers.words import last_words

HELPER = Path(__file__).parent / "helper" / "bench_worker.py"
_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The inline metadata of PEP 723, as its reference implementation finds it."""
PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TERM|TMPDIR|LD_LIBRARY_PATH|XDG_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE"
    r"|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|ROCR_\w+|HIP_\w+|HSA_\w+|TORCH\w*|PYTORCH_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+"
)
"""Environment variables that a worker is given: what it takes to run, no key, and no path of a dataset."""
PASSED_INSIDE = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
"""Those that mean something in a container: others name places of this machine."""
IMAGES = "images"
"""Folder of a work folder that holds the copies of the images under way."""
SHARED_MEMORY = "2g"
"""What a container may share between its processes: tensors, where a model loads by several; Docker's own is 64 MB."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a worker, and how to end what a signal to it does not reach."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    stop: tuple[str, ...] = field(default=())


def metadata(script: Path) -> str:
    """Return the inline metadata block of a script. Raises BenchError where it has none or more than one."""
    try:
        text = script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise BenchError(f"worker {script}: cannot be read: {err}") from None
    blocks = [match["content"] for match in _BLOCK.finditer(text)]
    if len(blocks) != 1:
        raise BenchError(
            f"worker {script}: {len(blocks) or 'no'} blocks of inline metadata; one is needed, that begins with the "
            "line '# /// script', ends with '# ///' and names the packages it needs (PEP 723)"
        )
    return "".join(line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines(keepends=True))


def called(script: Path) -> str:
    """Return what messages call a script: its folder's name and its own."""
    whole = script.absolute()
    return f"{whole.parent.name}/{whole.name}"


def script_digest(script: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a script, the modules beside it that it imports, and bench_worker."""
    whole = sha256()
    for file in (*_sources(script), HELPER):
        whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


def _sources(script: Path) -> list[Path]:
    """Return the script, then the modules of its folder that it or they import, sorted by name."""
    found: dict[Path, None] = {}
    todo = [script]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found[file] = None
        beside = (script.with_name(f"{name}.py") for name in _imported(file))
        todo.extend(path for path in beside if path.is_file())
    return [script, *sorted(found.keys() - {script})]


def _imported(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # perhaps of another Python's grammar, or broken: the worker itself will tell
        return set()
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def command(
    runner: str,
    script: Path,
    work: Path,
    weights: Sequence[Path],
    context: Context,
    wanted: Sequence[str] = (),
    gpu: bool = True,
) -> Command:
    """Return how `script` is started; with uv, its environment is built first where it is not there yet.

    work: the folder that the worker writes to; weights: folders that it reads. A container sees them, the script's own
    and no other. wanted: names of environment variables that it sees too. Raises Unavailable where it cannot be had.
    """
    script = script.resolve()
    kind, _, what = runner.partition(":")
    modules = context.cache("workers", f"modules-{script_digest(script)}").resolve()
    told = {
        "BENCH_WORKER": "1",
        "BENCH_WORKER_IMAGES": str(work / IMAGES),
        "PYTHONPATH": str(HELPER.parent),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",  # the weights are there before a worker starts; it fetches nothing by itself
        "TRANSFORMERS_OFFLINE": "1",  # what releases before 4.36 go by
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_MODULES_CACHE": str(modules),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if kind in ("uv", "python"):
        python = uv_python(script, context) if kind == "uv" else _executable(what)
        passed = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name) or name in wanted}
        return Command((str(python), str(script)), passed | told)
    passed = {name: os.environ[name] for name in (*wanted, *PASSED_INSIDE) if name in os.environ}
    read = {folder.resolve() for folder in (*weights, *_linked(weights), script.parent, HELPER.parent)}
    mounts = _mounts(read, {work.resolve(), modules})
    build = _apptainer if kind == "apptainer" else _docker
    return build(what, script, work, mounts, passed | told, gpu)


def _executable(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file() or not os.access(found, os.X_OK):
        raise BenchError(f"runner 'python:{path}': no such executable; name the python of an environment, …/bin/python")
    return found.absolute()


# ------------------------------------------------------------------ uv


def uv_binary() -> str:
    """Return the path of uv: the one on the PATH, else the package's. Raises Unavailable."""
    if found := shutil.which("uv"):
        return found
    try:
        from uv import find_uv_bin
    except ImportError:
        raise missing_package("a worker's environment", "uv", "workers") from None
    return str(find_uv_bin())


def uv_settings() -> dict[str, str]:
    """Return the environment variables that uv is run with: the caller's, less what belongs to the harness's Python.

    Without a cache of uv's an environment would be gone once it is built.
    """
    left_out = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_NO_CACHE")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def built(script: Path, context: Context) -> Path | None:
    """Return the Python of the environment built for a script as it is now, or None."""
    try:
        noted = json.loads(_note(script, context).read_text())
        python = Path(noted["python"])
        return python if noted["metadata"] == identity(script) and python.exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def uv_python(script: Path, context: Context) -> Path:
    """Return the Python of a script's environment, built where it is not there. Raises Unavailable."""
    if (python := built(script, context)) is not None:
        return python
    metadata(script)
    with context.progress(f"building the environment of {called(script)}", None):
        _uv("sync", script)
        python = Path(_uv("python", script, "find").strip().splitlines()[-1])
    store.write_json(_note(script, context), {"metadata": identity(script), "python": str(python)})
    return python


def _note(script: Path, context: Context) -> Path:
    return context.cache("workers", "environments") / f"{sha256(str(script.resolve()).encode()).hexdigest()[:16]}.json"


def identity(script: Path) -> str:
    """Return 16 hex digits of what an environment is built from: the dependency block."""
    return sha256(metadata(script).encode()).hexdigest()[:16]


def _uv(what: str, script: Path, *more: str) -> str:
    """Run one command of uv on a script. Raises Unavailable with uv's last words."""
    from bench.assets.wheels import sync_options

    offline = sync_options(script) if what == "sync" else []
    argv = [uv_binary(), what, *more, "--no-progress", *offline, "--script", str(script)]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", env=uv_settings(), check=False)
    if done.returncode == 0:
        return done.stdout
    raise Unavailable(
        f"the environment of the worker {script} cannot be built:\n{last_words(done.stderr)}",
        "a Python that uv cannot fetch has to be on the PATH; without a network, `bench assets import` brings the "
        "packages (docs/assets.md); the option runner takes an environment of your own (docs/workers.md)",
    )


# ------------------------------------------------------------------ containers


def _engine(*names: str) -> str:
    """Return the first program that is there."""
    for name in names:
        if found := shutil.which(name):
            return found
    name = names[0]
    raise Unavailable(f"the runner {name} is not installed: no {name} on the PATH", "install it, or set runner to uv")


def _linked(folders: Sequence[Path]) -> set[Path]:
    """Return the folders that links of files in `folders` lead to: the hub's cache holds its files as links."""
    links = (path for folder in folders for path in folder.rglob("*") if path.is_symlink())
    return {link.resolve().parent for link in links}


def _mounts(read: set[Path], written: set[Path]) -> list[str]:
    """Return place:place:mode of folders, those that are written not read-only, outer before inner."""
    if odd := sorted(str(folder) for folder in read | written if ":" in str(folder) or "," in str(folder)):
        raise BenchError(f"{odd[0]}: a container cannot be shown a folder whose name holds a colon or a comma")
    return [f"{folder}:{folder}:{'rw' if folder in written else 'ro'}" for folder in sorted(read | written)]


def _apptainer(
    image: str, script: Path, work: Path, mounts: list[str], inside: Mapping[str, str], gpu: bool
) -> Command:
    """The variables go by the environment: releases differ in how they split ``--env`` at commas and quotes."""
    own = {k: v for k, v in os.environ.items() if not re.match(r"(APPTAINER|SINGULARITY)(ENV_|_BIND)", k)}
    given = {f"{prefix}ENV_{k}": v for prefix in ("APPTAINER", "SINGULARITY") for k, v in inside.items()}
    argv = [
        _engine("apptainer", "singularity"), "exec", "--containall", "--cleanenv",
        *(["--nv"] if gpu and _nvidia() else []),
        "--workdir", str(work), "--pwd", str(work),  # what it writes to /tmp and its home would be memory, 64 MB of it
        *(part for mount in mounts for part in ("--bind", mount)),
        str(Path(image).expanduser()), "python3", str(script),
    ]  # fmt: skip
    return Command(tuple(argv), own | given)


def _docker(image: str, script: Path, work: Path, mounts: list[str], inside: Mapping[str, str], gpu: bool) -> Command:
    """The user is the caller, whom the image does not know: so it has a home and a name by variables."""
    docker, name = _engine("docker"), f"bench-worker-{uuid.uuid4().hex[:12]}"
    inside = {"HOME": str(work), "USER": "bench", **inside}
    argv = [
        docker, "run", "--rm", "--interactive", "--init", "--network", "none", "--name", name,
        "--user", f"{os.getuid()}:{os.getgid()}", "--workdir", str(work), "--shm-size", SHARED_MEMORY,
        *(["--gpus", "all"] if gpu and _nvidia() else []),
        *(part for mount in mounts for part in ("--volume", mount)),
        *(part for pair in inside.items() for part in ("--env", "=".join(pair))),
        image, "python3", str(script),
    ]  # fmt: skip
    return Command(tuple(argv), dict(os.environ), (docker, "kill", name))


def _nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None


def describe(runner: str, script: Path) -> dict[str, Any]:
    """Return what a run records of how a worker was started."""
    return {"script": script.name, "script_sha256": script_digest(script), "runner": runner.partition(":")[0]}
