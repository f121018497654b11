"""Assets carried from a connected machine to one without a network: real hub client, real uv, a real archive."""

from __future__ import annotations

import ensurepip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("huggingface_hub")

from hub_server import HubServer, Repository, hub_server, point_client

from bench import cachedir, hub
from bench.assets import archive, unpack, wheels
from bench.assets.staging import staging
from bench.context import RunContext
from bench.contracts import HubFiles
from bench.workers import environment

Bench = Callable[..., Any]
SIDE = 28


def checkpoint(folder: Path) -> dict[str, bytes]:
    """Return the files of a tiny vision model as a hub repository holds them."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 14}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).save_pretrained(folder)
    settings = {
        "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": SIDE}, "do_convert_rgb": True,
        "crop_size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.3] * 3, "resample": 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A machine that reaches a hub with two open repositories and one behind terms."""
    (tmp_path / "model").mkdir()
    repositories = {
        "tiny__dino": Repository({**checkpoint(tmp_path / "model"), "README.md": b"# Tiny"}),
        "StanfordAIMI__RRG_scorers": Repository({"chexbert.pth": b"weights" * 1000}),
        "bert-base-uncased": Repository({"vocab.txt": b"[PAD]\n", "config.json": b"{}"}),
        "shut__dino": Repository({"config.json": b"{}"}, gated=True),
    }
    with hub_server(**repositories) as server:
        point_client(monkeypatch, tmp_path / "hub", endpoint=server.url)
        yield server


@pytest.fixture
def enclave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Return a function after which this is a machine with empty caches and no network; it returns the hub's cache."""

    def move() -> Path:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "enclave-cache"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "enclave-uv"))
        monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("UV_OFFLINE", "1")
        monkeypatch.delenv("UV_FIND_LINKS", raising=False)
        return point_client(monkeypatch, tmp_path / "enclave-hub", offline=True)

    return move


CONFIG = """
dataset: {use: mimic-cxr, root: "${NO_SUCH_MIMIC}"}
systems:
  nearest-neighbour: {encoder: eye}
metrics:
  chexbert-f1: {annotator: chexbert}
  radfact: {judge: "ollama/llama3:70b-instruct"}
encoders:
  eye: {use: "hf:tiny/dino"}
"""


@pytest.fixture
def config() -> Path:
    Path("bench.yaml").write_text(CONFIG)
    return Path("bench.yaml")


# ------------------------------------------------------------------ what is needed


def test_what_the_paper_needs_is_told_without_its_dataset(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_client(monkeypatch, tmp_path / "hub", offline=True)
    monkeypatch.delenv("MIMIC_CXR_JPG", raising=False)
    answer = bench("assets", "list", "-c", "paper", "--json")
    assert answer.code == 0, answer.err
    told = {asset["name"]: asset for asset in json.loads(answer.out)["assets"]}
    by = {name: set(asset["needed_by"]) for name, asset in told.items()}
    assert by == {
        "microsoft/rad-dino": {"encoder rad-dino", "system sae-rad", "system nearest-neighbour"},
        "chexbert.pth of StanfordAIMI/RRG_scorers": {"annotator chexbert", "metric chexbert-f1"},
        "vocab.txt of bert-base-uncased": {"annotator chexbert", "metric chexbert-f1"},
        "radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers": {"annotator radgraph-xl", "metric rger"},
        "ollama pull llama3:70b-instruct": {
            "llm writer", "llm ollama/llama3:70b-instruct", "system sae-rad", "metric radfact",
        },
    }  # fmt: skip
    assert told["ollama pull llama3:70b-instruct"]["command"] == "ollama pull llama3:70b-instruct"
    assert all(asset["missing"] for asset in told.values() if asset["kind"] == "hub")


def test_the_demo_needs_nothing(bench: Bench) -> None:
    answer = bench("assets", "list", "-c", "demo")
    assert answer.code == 0
    assert "Nothing is needed from a network" in answer.out


def test_files_by_path_and_hosted_models(bench: Bench, config: Path) -> None:
    def kinds(judge: str) -> list[str]:
        answer = bench("assets", "list", "--json", "--metrics", "radfact", "--set", f"metrics.radfact.judge={judge}")
        assert answer.code == 0, answer.err
        assets = json.loads(answer.out)["assets"]
        return [f"{a['kind']} {a['name']}" for a in assets if a["kind"] != "hub"]

    assert kinds("llama.cpp/judge.gguf") == ["file judge.gguf"]
    assert kinds("anthropic/claude-x") == []
    assert kinds("ollama/big:120b-cloud") == []


def test_gated_weights_name_the_page(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_client(monkeypatch, tmp_path / "hub", offline=True)
    answer = bench("assets", "list", "--system", "maira-2", "--metrics", "rouge-l", "--set",
                   f"systems.maira-2.revision={'ab' * 20}")  # fmt: skip
    assert "accept the terms at https://huggingface.co/microsoft/maira-2" in answer.out
    assert "environment of maira_2/worker.py" in answer.out


# ------------------------------------------------------------------ fetching


def test_all_is_tried_and_then_what_failed_is_told(bench: Bench, connected: HubServer, config: Path) -> None:
    config.write_text(CONFIG.replace("hf:tiny/dino", "hf:shut/dino"))
    answer = bench("assets", "pull", "--metrics", "chexbert-f1")
    assert answer.code == 2
    assert "  shut/dino is gated" in answer.err
    assert "https://huggingface.co/shut/dino" in answer.err
    assert connected.downloads().count("chexbert.pth") == connected.downloads().count("vocab.txt") == 1
    config.write_text(CONFIG)
    answer = bench("assets", "pull", "--metrics", "chexbert-f1,radfact")
    assert answer.code == 0, answer.err
    assert connected.downloads().count("chexbert.pth") == 1
    assert "to be run where the server is: ollama pull llama3:70b-instruct" in answer.err
    assert "missing" not in answer.out


def test_what_an_archive_names_is_fetched_too(bench: Bench, connected: HubServer, config: Path, tmp_path: Path) -> None:
    pytest.importorskip("radgraph")
    from radgraph_model import dygie_config

    model = {
        "config.json": json.dumps(dygie_config(Path("tiny/bert"), 512, 24)), "weights.th": "w",
        "vocabulary/non_padded_namespaces.txt": "*tags",
    }  # fmt: skip
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in model.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    connected.repositories["StanfordAIMI/RRG_scorers"] = Repository({"radgraph-xl.tar.gz": packed.getvalue()})
    connected.repositories["tiny/bert"] = Repository({"config.json": b"{}", "vocab.txt": b"x", "m.safetensors": b""})
    answer = bench("assets", "pull", "--system", "constant", "--metrics", "rger")
    assert answer.code == 0, answer.err
    assert sorted(connected.downloads()) == ["config.json", "radgraph-xl.tar.gz", "vocab.txt"]
    told = json.loads(bench("assets", "list", "--system", "constant", "--metrics", "rger", "--json").out)["assets"]
    assert [(asset["name"], asset["missing"]) for asset in told] == [
        ("radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers", False), ("tiny/bert", False),
    ]  # fmt: skip


# ------------------------------------------------------------------ there and back


def test_the_encoder_works_on_the_other_side(
    bench: Bench, connected: HubServer, config: Path, tmp_path: Path, enclave: Callable[[], Path]
) -> None:
    Image.fromarray(np.arange(40 * 40, dtype=np.uint8).reshape(40, 40)).save("x.png")
    assert bench("assets", "pull").code == 0
    here = _encoded(tmp_path / "here")
    answer = bench("assets", "export", "carried.tar")
    assert answer.code == 0, answer.err
    assert "a server holds it: ollama pull llama3:70b-instruct" in answer.out
    bench("assets", "export", "again.tar")
    assert Path("carried.tar").read_bytes() == Path("again.tar").read_bytes()
    place, asked = enclave(), len(connected.asked)
    assert bench("assets", "list", "--system", "nearest-neighbour", "--metrics", "rouge-l").out.count("missing") >= 1
    answer = bench("assets", "import", "carried.tar")
    assert answer.code == 0, answer.err
    assert "all checksums hold" in answer.out
    assert not [path for path in place.rglob("*") if path.is_symlink() or path.name.startswith(".importing")]
    there = _encoded(tmp_path / "there")
    assert np.array_equal(here, there)
    folder = hub.cached_snapshot(HubFiles("tiny/dino", None, ("config.json", "*.safetensors")))
    assert folder is not None
    assert folder.name == connected.repositories["tiny/dino"].commit
    assert "missing" not in bench("assets", "list").out
    assert len(connected.asked) == asked
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    assert "0 files put in place" in bench("assets", "import", "carried.tar").out
    assert before == {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


def _encoded(work: Path) -> Any:
    context = RunContext(workdir=work, cache_root=cachedir.cache_root())
    encoder = context.encoder("hf:tiny/dino")
    return encoder.encode([Path("x.png")])


def test_another_process_finds_it_offline(
    bench: Bench, connected: HubServer, config: Path, enclave: Callable[[], Path]
) -> None:
    assert bench("assets", "pull").code == bench("assets", "export", "carried.tar").code == 0
    place = enclave()
    assert bench("assets", "import", "carried.tar").code == 0
    code = (
        "from huggingface_hub import snapshot_download, hf_hub_download as f; print(snapshot_download('tiny/dino', "
        "allow_patterns=['*.json'], local_files_only=True)); print(f('bert-base-uncased', 'vocab.txt'))"
    )
    variables = {**os.environ, "HF_HUB_CACHE": str(place), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(place / "models--tiny--dino" / "snapshots" / connected.repositories["tiny/dino"].commit) in done.stdout


def test_what_is_missing_is_named_or_left_out(
    bench: Bench, connected: HubServer, config: Path, enclave: Callable[[], Path]
) -> None:
    assert bench("assets", "pull", "--system", "constant").code == 0
    answer = bench("assets", "export", "carried.tar")
    assert answer.code == 2
    assert "tiny/dino: it is not in the hub's cache" in answer.err
    assert not Path("carried.tar").exists()
    answer = bench("assets", "export", "carried.tar", "--partial")
    assert answer.code == 0
    assert "not in the archive: tiny/dino" in answer.out
    enclave()
    assert "not in the archive: tiny/dino" in bench("assets", "import", "carried.tar").out


@pytest.mark.parametrize("name", [".", "nowhere/x.tar"])
def test_where_no_archive_can_be(bench: Bench, connected: HubServer, config: Path, name: str) -> None:
    assert bench("assets", "export", name, "--partial").code == 2


def test_a_full_disk_is_told_first(
    bench: Bench, connected: HubServer, config: Path, enclave: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("assets", "pull")
    bench("assets", "export", "carried.tar")
    place = enclave()
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    answer = bench("assets", "import", "carried.tar")
    assert answer.code == 2
    assert "GB are free" in answer.err
    assert _left(place) == []
    monkeypatch.setenv("BENCH_CACHE", "c")
    assert "GB are free" in bench("assets", "export", "other.tar", "--partial").err


def _left(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


# ------------------------------------------------------------------ archives that are not what they should be


CONTENT = {"hub/models--a--b/snapshots/" + "c" * 40 + "/config.json": b"{}", "hub/models--a--b/refs/main": b"c" * 40}


def written(
    path: str = "carried.tar",
    files: dict[str, bytes] | None = None,
    told: dict[str, bytes] | None = None,
    extra: list[tarfile.TarInfo] | None = None,
    manifest: dict[str, Any] | None = None,
) -> Path:
    """Write an archive of `files`, whose manifest tells of `told`."""
    files = CONTENT if files is None else files
    entries = [
        {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in (files if told is None else told).items()
    ]
    whole = {"format": archive.FORMAT, "version": 1, "assets": [], "missing": [], "files": entries, **(manifest or {})}
    with tarfile.open(path, "w") as tar:
        for name, content in {"manifest.json": json.dumps(whole).encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in extra or ():
            tar.addfile(member)
    return Path(path)


def _refused(bench: Bench, place: Path, said: str, file: str = "carried.tar") -> None:
    answer = bench("assets", "import", file)
    assert answer.code == 2, answer.out
    assert said in answer.err, answer.err
    assert _left(place) == []
    assert not list((cachedir.cache_root() / "wheels").glob("*"))


def test_the_archives_made_here_are_good_ones(bench: Bench, enclave: Callable[[], Path]) -> None:
    place = enclave()
    written()
    answer = bench("assets", "import", "carried.tar")
    assert answer.code == 0, answer.err
    assert {path.read_bytes() for path in _left(place)} == set(CONTENT.values())
    other = {name: content.replace(b"c", b"d") for name, content in CONTENT.items()}
    written(files={name.replace("c" * 40, "d" * 40): content for name, content in other.items()})
    assert "models--a--b: main was cccccccccccc here" in bench("assets", "import", "carried.tar").out


def test_damage_is_found_before_anything_is_in_place(bench: Bench, enclave: Callable[[], Path]) -> None:
    place = enclave()
    first, second = CONTENT
    written(told={**CONTENT, first: b"[]"})
    _refused(bench, place, "is not what the manifest says")
    written(told={**CONTENT, second: b"longer" * 100})
    _refused(bench, place, "is not what the manifest says")
    written(files={first: CONTENT[first]}, told=CONTENT)
    _refused(bench, place, "refs/main is missing")
    content = written().read_bytes()
    Path("cut.tar").write_bytes(content[: content.index(b"c" * 40 + b"\0") + 20])
    _refused(bench, place, "no whole archive", "cut.tar")
    Path("cut.tar").write_bytes(content[:700])
    _refused(bench, place, "no whole archive", "cut.tar")
    Path("text.tar").write_text("no tar" * 1000)
    _refused(bench, place, "no whole archive", "text.tar")
    Path("empty.tar").write_bytes(b"")
    _refused(bench, place, "no whole archive", "empty.tar")
    _refused(bench, place, "no such file", "nowhere.tar")


SNAPSHOT = "hub/models--a--b/snapshots/" + "c" * 40


@pytest.mark.parametrize(
    "path",
    [
        "../escaped", "/etc/escaped", f"{SNAPSHOT}/../../../../escaped", f"{SNAPSHOT}/./x", f"{SNAPSHOT}//x",
        f"{SNAPSHOT}\\..\\x", "hub/version.txt", "hub/models--a--b/blobs/x", "hub/../models--a--b/refs/main",
        "hub/models--../refs/main/../../../x", "wheels/0123456789abcdef/../x.whl", "wheels/short/x.whl",
        "wheels/0123456789abcdef/x.py", "manifest.json",
    ],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused(bench: Bench, enclave: Callable[[], Path], path: str) -> None:
    place = enclave()
    written(files={path: b"x"} if path != "manifest.json" else {}, told={path: b"x"})
    _refused(bench, place, "is none that an asset has")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", [next(iter(CONTENT)), "elsewhere"])
def test_links_and_strangers_are_refused(bench: Bench, enclave: Callable[[], Path], kind: bytes, name: str) -> None:
    place = enclave()
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    written(extra=[member])
    _refused(bench, place, "refused")
    written(files={k: v for k, v in CONTENT.items() if k != name}, told=CONTENT, extra=[member])
    _refused(bench, place, "refused")


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"format": "other"}, "not the manifest"),
        ({"version": 2}, "version 2, this program reads version 1"),
        ({"files": 3}, "not the manifest"),
        ({"files": [{"path": "x"}]}, "not the manifest"),
        (
            {"assets": [{"kind": "worker", "digest": "../../x", "python": "3.11", "platform": {}, "files": []}]},
            "digest",
        ),
        ({"assets": [{"kind": "worker", "digest": "0" * 16, "python": "x; y", "platform": {}, "files": []}]}, "Python"),
        (
            {"assets": [{"kind": "worker", "digest": "0" * 16, "python": "3.11", "platform": {}, "files": ["x"]}]},
            "wheel",
        ),
    ],
)
def test_manifests_that_are_none(bench: Bench, enclave: Callable[[], Path], manifest: Any, said: str) -> None:
    place = enclave()
    written(manifest=manifest)
    _refused(bench, place, said)


# ------------------------------------------------------------------ wheels

SCRIPT = """# /// script
# requires-python = ">=3.8"
# dependencies = ["bench-tiny-dependency>=1"]
# ///
import bench_tiny_dependency
print(bench_tiny_dependency.WORD)
"""


def wheel(folder: Path, version: str = "1.0") -> Path:
    """Write a wheel of one module, as the wheel format asks for, by hand."""
    path = folder / f"bench_tiny_dependency-{version}-py3-none-any.whl"
    info = f"bench_tiny_dependency-{version}.dist-info"
    files = {
        "bench_tiny_dependency.py": f"WORD = 'carried {version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: bench-tiny-dependency\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as out:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            out.writestr(name, text)
    return path


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker script whose dependency is found in a folder; pip comes from Python's own ensurepip."""
    pytest.importorskip("uv")
    links = tmp_path / "links"
    links.mkdir()
    wheel(links)
    for bundled in (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"):
        (links / bundled.name).write_bytes(bundled.read_bytes())
    monkeypatch.setenv("UV_FIND_LINKS", str(links))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    script = tmp_path / "here" / "worker.py"
    script.write_text(SCRIPT)
    return script


WORKER = """
dataset: {use: demo}
systems: {mine: {use: "worker:worker.py"}}
metrics: {rouge-l: {}}
"""


@pytest.mark.slow
def test_an_environment_is_built_on_the_other_side(
    bench: Bench, worker: Path, enclave: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("bench.yaml").write_text(WORKER)
    point_client(monkeypatch, tmp_path / "hub")
    answer = bench("assets", "pull")
    assert answer.code == 0, answer.err
    wheel(tmp_path / "links", "1.5")  # newer than what the environment holds, which is what is carried
    answer = bench("assets", "export", "carried.tar")
    assert answer.code == 0, answer.err
    enclave()
    monkeypatch.delenv("UV_NO_INDEX")
    answer = bench("assets", "import", "carried.tar")
    assert answer.code == 0, answer.err
    assert [path.name for path in wheels.files(wheels.wheelhouse(worker) or Path())] == [
        "bench_tiny_dependency-1.0-py3-none-any.whl"
    ]
    listed = bench("assets", "list").out
    assert "built from its wheels when first used" in listed
    assert "missing" not in listed
    context = RunContext(workdir=tmp_path / "work", cache_root=cachedir.cache_root())
    python = environment.uv_python(worker, context)
    assert tmp_path / "enclave-uv" in python.parents
    assert subprocess.run([python, worker], capture_output=True, text=True, check=True).stdout == "carried 1.0\n"
    assert "0 files put in place" in bench("assets", "import", "carried.tar").out
    worker.write_text(SCRIPT.replace(">=1", ">=1.2"))
    assert wheels.wheelhouse(worker) is None


@pytest.mark.slow
def test_wheels_that_cannot_be_had_are_told(
    bench: Bench, worker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("bench.yaml").write_text(WORKER)
    point_client(monkeypatch, tmp_path / "hub")
    assert bench("assets", "pull").code == 0
    next((tmp_path / "links").glob("bench_tiny*")).unlink()
    answer = bench("assets", "export", "carried.tar")
    assert answer.code == 2
    assert "the wheels of the worker" in answer.err
    assert not Path("carried.tar").exists()
    assert wheels.wheelhouse(worker) is None


def _with_wheels(python: str, platform: dict[str, str], name: str = "x-1-py3-none-any.whl") -> None:
    path = f"wheels/{'0' * 16}/{name}"
    asset = {
        "kind": "worker", "digest": "0" * 16, "python": python, "platform": platform, "files": [path], "script": "w.py",
        "name": "w", "needed_by": [],
    }  # fmt: skip
    written(files={path: b"x"}, manifest={"assets": [asset]})


def test_wheels_for_another_machine_are_refused(bench: Bench, enclave: Callable[[], Path]) -> None:
    place = enclave()
    here = wheels.this_platform()
    _with_wheels("3.11", {"system": "Plan9", "machine": "mips"})
    _refused(bench, place, f"wheels are for Plan9 mips and Python 3.11, and this is {here['system']}")
    _with_wheels("2.7", here)
    _refused(bench, place, "wheels are for Python 2.7")
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.platform == "linux":
        _with_wheels(ours, here, "x-1-py3-none-manylinux_2_999_x86_64.whl")
        _refused(bench, place, "needs glibc 2.999")
    _with_wheels(ours, here)
    assert bench("assets", "import", "carried.tar").code == 0


@pytest.mark.slow
@pytest.mark.network
def test_packages_of_the_real_index_are_carried(
    bench: Bench, enclave: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("uv")
    Path("worker.py").write_text(
        '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["six", "docopt==0.6.2"]\n# ///\n'
        "import docopt, six\nprint(docopt.__version__, six.PY3)\n"
    )
    Path("bench.yaml").write_text(WORKER)
    point_client(monkeypatch, tmp_path / "hub")
    answer = bench("assets", "pull", "--wheels")
    assert answer.code == 0, answer.err
    answer = bench("assets", "export", "carried.tar")
    assert answer.code == 0, answer.err
    enclave()
    assert bench("assets", "import", "carried.tar").code == 0
    context = RunContext(workdir=tmp_path / "work", cache_root=cachedir.cache_root())
    python = environment.uv_python(Path("worker.py"), context)
    said = subprocess.run([python, "worker.py"], capture_output=True, text=True, check=True).stdout
    assert said == "0.6.2 True\n"  # docopt has a source distribution alone: its wheel was built before


def test_a_stopped_import_leaves_nothing(
    enclave: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, context: RunContext
) -> None:
    place = enclave()
    written()
    monkeypatch.setattr(unpack, "_place_hub", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        unpack.bring(Path("carried.tar"), context)
    assert _left(place) == []
    monkeypatch.undo()


PARTS = {f"{SNAPSHOT}/{name}": name.encode() for name in ("model.safetensors", "config.json", "vocab.txt")}


@pytest.mark.parametrize("here", ["", "config.json"])
@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_an_import_that_is_killed_leaves_no_part_that_is_taken_for_the_whole(
    enclave: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, context: RunContext, moves: int, here: str
) -> None:
    place, wanted = enclave(), HubFiles("a/b", "c" * 40)
    snapshot = place / SNAPSHOT.removeprefix("hub/")
    if here:  # by another program, of the same commit
        snapshot.mkdir(parents=True)
        (snapshot / here).write_bytes(here.encode())
    written(files=PARTS)
    real, moved = os.replace, []

    def killed(source: Path, target: Path) -> None:
        if str(target).startswith(str(snapshot)):
            if len(moved) == moves:
                raise KeyboardInterrupt
            moved.append(target)
        real(source, target)

    monkeypatch.setattr(unpack.os, "replace", killed)
    with suppress(KeyboardInterrupt):
        unpack.bring(Path("carried.tar"), context)
    found = hub.cached_snapshot(wanted)
    whole = {file.name for file in snapshot.glob("*")} == {"model.safetensors", "config.json", "vocab.txt"}
    assert (found is not None) == whole
    monkeypatch.setattr(unpack.os, "replace", real)
    unpack.bring(Path("carried.tar"), context)
    assert hub.cached_snapshot(wanted) == snapshot


def test_what_a_killed_import_left_is_removed_and_what_another_writes_is_not(
    enclave: Callable[[], Path], context: RunContext
) -> None:
    place = enclave()
    left = place / ".staging-left" / "models--a--b"
    left.mkdir(parents=True)
    young = place / ".staging-young"
    young.mkdir()
    os.utime(left.parent, (0, 0))
    written()
    with staging(place) as busy:
        os.utime(busy, (0, 0))
        left.mkdir(parents=True)
        os.utime(left.parent, (0, 0))
        unpack.bring(Path("carried.tar"), context)
        assert sorted(place.glob(".*")) == sorted([busy, young])


def test_a_file_that_changes_while_it_is_exported(
    bench: Bench, connected: HubServer, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("assets", "pull")
    right = hub.file_sha256
    monkeypatch.setattr(hub, "file_sha256", lambda path, context: right(path, context)[::-1])
    answer = bench("assets", "export", "carried.tar")
    assert answer.code == 2
    assert "changed while it was read" in answer.err
    assert not Path("carried.tar").exists()
