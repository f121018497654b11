"""Annotations are made once for each text: an annotator behind a cache shared by all systems, runs and splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bench.contracts import Annotator, Ticker, Unannotated
from bench.errors import BenchError
from bench.kept import Kept

CHUNK = 256
Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]


class Entity(BaseModel):
    """One entity of a graph in RadGraph's form."""

    model_config = ConfigDict(strict=True)
    tokens: str
    label: str
    relations: list[tuple[str, str]]
    """Name and the target's key."""
    start_ix: int = 0
    end_ix: int = 0


class Annotation(BaseModel):
    """The keys of an annotation that have fixed meanings (`bench.contracts.Annotator`); others pass."""

    model_config = ConfigDict(strict=True)
    labels: dict[str, int | None] = {}
    text: str = ""
    entities: dict[str, Entity] = {}
    phrases: list[str] = []

    @model_validator(mode="after")
    def _keeps_its_word(self) -> Annotation:
        if wrong := {name: value for name, value in self.labels.items() if value not in (1, 0, -1, None)}:
            raise ValueError(f"labels are 1, 0, -1 or None, not {wrong}")
        for key, entity in self.entities.items():
            if lost := [target for _, target in entity.relations if target not in self.entities]:
                raise ValueError(f"entity {key!r} is related to {lost[0]!r}, which is no entity")
        return self


class CachedAnnotator:
    """An annotator whose annotations are kept by (fingerprint, text).

    Equal texts are annotated once. What is missing goes to the annotator in chunks of texts of like length, each of
    which is checked and kept before the next is asked for: a crash loses at most the chunk in flight. Failures are not
    kept.
    """

    def __init__(self, label: str, annotator: Annotator, identity: str, kept: Kept, progress: Progress) -> None:
        """identity: what tells this annotator's code from others' that may have the same fingerprint."""
        self.label = label
        self.annotator = annotator
        self.stand_in: str | None = getattr(annotator, "stand_in", None)
        self._identity, self._kept, self._progress = identity, kept, progress

    def fingerprint(self) -> str:
        """Return what identifies code, weights and options of the annotator."""
        own = self.annotator.fingerprint()
        return own if own.startswith(self._identity) else f"{self._identity}:{own}"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return one annotation a text, an `Unannotated` where it failed.

        Raises BenchError where the annotator breaks its contract.
        """
        by_key = {_key(text): text for text in texts}
        found = self._kept.get(self.fingerprint(), list(by_key))
        todo = sorted(by_key.keys() - found.keys(), key=lambda key: (-len(by_key[key]), key))
        if todo:
            found.update(self._make(todo, by_key))
        return [found[_key(text)] for text in texts]

    def _make(self, todo: Sequence[str], by_key: Mapping[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        size = getattr(self.annotator, "chunk", CHUNK)
        with self._progress(f"annotating with {self.label}", len(todo), "texts") as bar:
            for start in range(0, len(todo), size):
                keys = todo[start : start + size]
                annotations = self.annotator.annotate([by_key[key] for key in keys])
                chunk = dict(zip(keys, self._checked(annotations, len(keys)), strict=True))
                self._kept.put(self.fingerprint(), {k: a for k, a in chunk.items() if not isinstance(a, Unannotated)})
                made.update(chunk)
                bar.advance(len(keys))
        return made

    def _checked(self, annotations: Any, n: int) -> list[Any]:
        """Return the annotations as the cache will give them back."""
        if not isinstance(annotations, list | tuple):
            raise BenchError(f"annotator {self.label!r} gave a {type(annotations).__name__}, not a list of annotations")
        if len(annotations) != n:
            raise BenchError(f"annotator {self.label!r} gave {len(annotations)} annotations for {n} texts")
        return [one if isinstance(one, Unannotated) else self._one(one) for one in annotations]

    def _one(self, annotation: Any) -> Any:
        try:
            text = json.dumps(annotation, allow_nan=False)
            Annotation.model_validate_json(text)
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise self._fault(f"{where}: {first['msg']}" if where else first["msg"]) from None
        except (TypeError, ValueError) as err:
            raise self._fault(str(err)) from None
        return json.loads(text)

    def _fault(self, why: str) -> BenchError:
        return BenchError(f"annotator {self.label!r} gave what is no annotation: {why}")


def _key(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
