"""Files of the hub: the real huggingface_hub against a server of this machine that speaks its protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import hub
from bench.context import RunContext
from bench.contracts import HubFiles
from bench.errors import BenchError, Unavailable

pytest.importorskip("huggingface_hub")

from hub_server import NOWHERE, HubServer, Repository, hub_server, point_client

INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
TINY = {
    "config.json": b"{}",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "model-1.safetensors": b"one",
    "model-2.safetensors": b"two" * 1000,
    "README.md": b"# Tiny",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that sets the client's cache, endpoint and whether it is offline."""

    def put(cache: str = "hub", *, endpoint: str = NOWHERE, offline: bool = False) -> Path:
        return point_client(monkeypatch, tmp_path / cache, endpoint=endpoint, offline=offline)

    return put


@pytest.fixture
def served(place: Callable[..., Path]) -> Iterator[HubServer]:
    repositories = {
        "some__model": Repository(TINY, ("main", "v1")),
        "shut__model": Repository(TINY, gated=True),
        "bare__model": Repository({"README.md": b"-"}),
        "cut__model": Repository(TINY, cut=frozenset({"model-2.safetensors"})),
    }
    with hub_server(**repositories) as server:
        place(endpoint=server.url)
        yield server


def test_a_snapshot_is_fetched_once_and_found_offline(
    served: HubServer, place: Callable[..., Path], context: RunContext
) -> None:
    wanted = HubFiles("some/model", "v1", ("config.json", "model*"))
    assert hub.cached_snapshot(wanted) is None
    assert served.asked == []
    folder = hub.snapshot(wanted, context, "model")
    assert folder.name == served.repositories["some/model"].commit
    assert sorted(path.name for path in hub.wanted_files(folder, wanted)) == sorted(set(TINY) - {"README.md"})
    assert not (folder / "README.md").exists()
    asked = len(served.asked)
    assert hub.snapshot(wanted, context, "model") == folder
    assert len(served.asked) == asked
    place(offline=True)
    assert hub.snapshot(wanted, context, "model") == folder
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        hub.snapshot(HubFiles("some/model", "main", wanted.files), context, "model")


def test_a_part_of_what_is_wanted_is_not_taken_for_the_whole(served: HubServer, context: RunContext) -> None:
    hub.fetch_file("some/model", "config.json", None, context, "config")
    weights = HubFiles("some/model", None, ("config.json", "model*"))
    assert hub.cached_snapshot(weights) is None
    assert hub.cached_snapshot(HubFiles("some/model")) is None
    assert hub.cached_snapshot(HubFiles("some/model", None, ("*.json",))) is not None
    folder = hub.fetch_snapshot(weights, context, "model")
    assert hub.cached_snapshot(weights) == folder
    (folder / "model-2.safetensors").unlink()
    assert hub.lacking(folder, weights) == ["model-2.safetensors"]
    assert hub.cached_snapshot(weights) is None
    assert (hub.snapshot(weights, context, "model") / "model-2.safetensors").read_bytes() == TINY["model-2.safetensors"]


@pytest.mark.parametrize(
    ("repository", "revision", "files", "said", "remedy"),
    [
        (
            "shut/model",
            None,
            (),
            "shut/model is gated",
            "accept its terms at https://huggingface.co/shut/model, log in",
        ),
        ("no/model", None, (), "the Hugging Face hub has no no/model, or it is private", "hf auth login"),
        ("some/model", "v2", (), "some/model has no revision 'v2'", "commits/main"),
        ("bare/model", None, ("config.json", "*.md"), "the hub has no config.json there", "check repository"),
        ("cut/model", None, (), "cut/model cannot be fetched", "hf download cut/model"),
    ],
)
def test_what_the_hub_refuses_is_told(
    served: HubServer, context: RunContext, repository: str, revision: str, files: Any, said: str, remedy: str
) -> None:
    with pytest.raises(Unavailable) as told:
        hub.snapshot(HubFiles(repository, revision, files), context, "model")
    assert said in told.value.reason
    assert remedy in told.value.remedy


def test_an_id_that_cannot_be_one(place: Callable[..., Path], context: RunContext) -> None:
    place()
    for call in (hub.cached_snapshot, lambda wanted: hub.snapshot(wanted, context, "model")):
        with pytest.raises(BenchError, match="'rad dino!': neither a folder nor an id of the Hugging Face hub"):
            call(HubFiles("rad dino!"))


def test_the_hub_is_waited_for_once(place: Callable[..., Path], context: RunContext) -> None:
    place()
    with pytest.raises(Unavailable, match=r"a\.bin of some/model is not in .* cannot be reached"):
        hub.fetch_file("some/model", "a.bin", None, context, "checkpoint")
    with hub_server(some__model=Repository({"b.bin": b"b"})) as server:
        place(endpoint=server.url)
        with pytest.raises(Unavailable, match=r"b\.bin of some/model is not in .* cannot be reached"):
            hub.fetch_file("some/model", "b.bin", None, context, "checkpoint")
        assert server.asked == []


def test_one_file(served: HubServer, context: RunContext) -> None:
    assert hub.fetch_file("some/model", "README.md", None, context, "readme").read_bytes() == b"# Tiny"
    with pytest.raises(Unavailable, match=r"the Hugging Face hub has no LICENSE of some/model") as told:
        hub.fetch_file("some/model", "LICENSE", None, context, "licence")
    assert "`hf download some/model LICENSE`" in told.value.remedy
    assert told.value.remedy.endswith("or set licence to the path of the file")
