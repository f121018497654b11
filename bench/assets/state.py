"""Which of the assets are here, where, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import hub
from bench.assets import wheels
from bench.assets.needs import Need
from bench.contracts import Asset, Context, HubFiles, LocalFile, ServerModel, WorkerScript
from bench.workers import environment

Kind = Literal["hub", "worker", "server", "file"]


@dataclass(frozen=True, slots=True)
class State:
    """One asset as it is on this machine."""

    need: Need
    kind: Kind
    name: str
    where: Path | None
    """Folder or file; None where it is missing, or on a server."""
    size: int | None
    """Bytes, where it is here."""
    wheels: Path | None = None
    """Folder of the wheels that a worker's environment is built from without a network."""

    @property
    def missing(self) -> bool:
        """Whether it has to be fetched or brought before a run; what a server holds cannot be told."""
        return self.kind != "server" and self.where is None and self.wheels is None

    @property
    def note(self) -> str:
        """What a person has to do about it."""
        asset = self.need.asset
        if isinstance(asset, ServerModel):
            return "to be run where the server is"
        if isinstance(asset, LocalFile):
            return "carry it by hand"
        if isinstance(asset, HubFiles) and asset.gated:
            return f"gated: accept the terms at {hub.PAGE}/{asset.repository}, log in (hf auth login)"
        return ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        asset = self.need.asset
        found: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "needed_by": list(self.need.by),
            "where": str(self.where) if self.where else None,
            "bytes": self.size,
            "missing": self.missing,
        }
        if isinstance(asset, HubFiles):
            found |= {"repository": asset.repository, "revision": asset.revision, "files": list(asset.files)}
            found |= {"gated": asset.gated, "page": f"{hub.PAGE}/{asset.repository}"}
            found["commit"] = self.where.name if self.where else None
        elif isinstance(asset, WorkerScript):
            found |= {"script": str(asset.script), "wheels": str(self.wheels) if self.wheels else None}
        elif isinstance(asset, ServerModel):
            found["command"] = asset.command
        return found


def name_of(asset: Asset) -> str:
    """Return what an asset is called."""
    if isinstance(asset, HubFiles):
        return hub.named(asset)
    if isinstance(asset, WorkerScript):
        return f"environment of {environment.called(asset.script)}"
    return asset.command if isinstance(asset, ServerModel) else str(asset.path)


def look(need: Need, context: Context) -> State:
    """Return how an asset is on this machine; no network is asked."""
    asset, name = need.asset, name_of(need.asset)
    if isinstance(asset, HubFiles):
        folder = hub.cached_snapshot(asset)
        size = sum(path.stat().st_size for path in hub.wanted_files(folder, asset)) if folder else None
        return State(need, "hub", name, folder, size)
    if isinstance(asset, WorkerScript):
        python = environment.built(asset.script, context)
        place = python.parent.parent if python else None
        return State(need, "worker", name, place, _size(place) if place else None, wheels.wheelhouse(asset.script))
    if isinstance(asset, LocalFile):
        file = asset.path if asset.path.is_file() else None
        return State(need, "file", name, file, file.stat().st_size if file else None)
    return State(need, "server", name, None, None)


def look_at_all(needs: Sequence[Need], context: Context) -> list[State]:
    """Return how all assets are on this machine: the hub's first, then environments, files and servers' models."""
    order = ("hub", "worker", "file", "server")
    return sorted((look(need, context) for need in needs), key=lambda state: order.index(state.kind))


def _size(folder: Path) -> int:
    """Return the bytes below a folder, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))
