"""What a configuration needs from a network, and who needs it: nothing is loaded, fetched or asked for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from bench import cachedir, registry
from bench.config import WithoutDataset
from bench.context import RunContext
from bench.contracts import LLM, Asset
from bench.errors import BenchError, Unavailable


@dataclass(frozen=True, slots=True)
class Need:
    """An asset, and the parts of the configuration that need it ("system maira-2", "encoder rad-dino")."""

    asset: Asset
    by: tuple[str, ...]


@dataclass(slots=True)
class Needs:
    """What is needed, and what could not be told."""

    needs: list[Need] = field(default_factory=list)
    untold: dict[str, Unavailable] = field(default_factory=dict)
    """Part → why it could not even be built here."""


class NeedsContext(RunContext):
    """A context that notes which system or metric uses which encoder, annotator and chat model."""

    def __init__(self, parts: Mapping[str, Mapping[str, Mapping[str, Any]]], console: Console) -> None:
        root = cachedir.cache_root()
        super().__init__(workdir=root / "assets", cache_root=root, parts=parts, console=console)
        self._owner = ""
        self.users: dict[tuple[registry.Kind, str], dict[str, None]] = {}

    @contextmanager
    def of(self, owner: str) -> Iterator[None]:
        """Note what is asked for in the block as used by `owner`."""
        before, self._owner = self._owner, owner
        try:
            yield
        finally:
            self._owner = before

    def _part(self, kind: registry.Kind, spec: str) -> Any:
        self.users.setdefault((kind, spec), {})[self._owner] = None
        with self.of(f"{kind} {spec}"):
            return super()._part(kind, spec)

    def llm(self, spec: str) -> LLM:
        """Return the chat model, noted also where the model was handed out before."""
        self._part("llm", spec)
        return super().llm(spec)


def find(config: WithoutDataset, context: NeedsContext) -> Needs:
    """Return every asset that the configuration's systems and metrics, and the parts that they use, say they need."""
    found = Needs()
    by_asset: dict[Asset, dict[str, None]] = {}
    for kind, entries in (("system", config.systems), ("metric", config.scoring.metrics)):
        for entry in entries:
            owner = f"{kind} {entry.label}"
            with context.of(owner), _told(owner, found):
                plugin = context.build(kind, entry.use, entry.options, f"{kind}s.{entry.label}")  # type: ignore[arg-type]
                _add(plugin, [owner], by_asset)
    asked: set[tuple[str, str]] = set()
    while waiting := [key for key in context.users if key not in asked]:  # a part may use another
        for kind, spec in waiting:
            asked.add((kind, spec))
            part = context.built(kind).get(spec)
            users = [f"{kind} {spec}", *(user for user in context.users[kind, spec] if user)]
            with context.of(f"{kind} {spec}"), _told(f"{kind} {spec}", found):
                _add(part, users, by_asset)
    found.needs = [Need(asset, tuple(by)) for asset, by in by_asset.items()]
    return found


@contextmanager
def _told(owner: str, found: Needs) -> Iterator[None]:
    """Note in `found` why a part cannot work here; what it needs beyond is not known then."""
    try:
        yield
    except Unavailable as err:
        found.untold.setdefault(owner, err)
    except (BenchError, OSError):
        raise
    except Exception as err:
        raise BenchError(f"{owner}: what it needs cannot be told: {type(err).__name__}: {err}") from err


def _add(plugin: Any, users: Sequence[str], by_asset: dict[Asset, dict[str, None]]) -> None:
    if not hasattr(plugin, "assets"):
        return
    for asset in plugin.assets():
        if not isinstance(asset, Asset):
            raise BenchError(f"{users[0]}: its assets() gives {asset!r}, which is no asset")
        by_asset.setdefault(asset, {}).update(dict.fromkeys(users))
