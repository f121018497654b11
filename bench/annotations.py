"""Annotations are made once for each text: an annotator behind a cache shared by all systems, runs and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from bench.contracts import Annotator, Ticker, Unannotated
from bench.errors import BenchError
from bench.kept import Kept

CHUNK = 256
Progress = Callable[[str, int | None, str], AbstractContextManager[Ticker]]


class CachedAnnotator:
    """An annotator whose annotations are kept by (fingerprint, text).

    Equal texts are annotated once. What is missing goes to the annotator in chunks of texts of like length, each of
    which is kept before the next is asked for: a crash loses at most the chunk in flight. Failures are not kept.
    """

    def __init__(self, label: str, annotator: Annotator, kept: Kept, progress: Progress) -> None:
        self.label = label
        self.annotator = annotator
        self.stand_in: str | None = getattr(annotator, "stand_in", None)
        self._kept, self._progress = kept, progress

    def fingerprint(self) -> str:
        """Return what identifies code, weights and options of the annotator."""
        return self.annotator.fingerprint()

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        """Return one annotation a text, an `Unannotated` where it failed."""
        by_key = {_key(text): text for text in texts}
        found = self._kept.get(self.fingerprint(), list(by_key))
        todo = sorted(by_key.keys() - found.keys(), key=lambda key: (-len(by_key[key]), key))
        if todo:
            found.update(self._make(todo, by_key))
        return [found[_key(text)] for text in texts]

    def _make(self, todo: Sequence[str], by_key: dict[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        size = getattr(self.annotator, "chunk", CHUNK)
        with self._progress(f"annotating with {self.label}", len(todo), "texts") as bar:
            for start in range(0, len(todo), size):
                keys = todo[start : start + size]
                annotations = self.annotator.annotate([by_key[key] for key in keys])
                if len(annotations) != len(keys):
                    raise BenchError(
                        f"annotator {self.label!r} gave {len(annotations)} annotations for {len(keys)} texts"
                    )
                chunk = dict(zip(keys, annotations, strict=True))
                self._kept.put(self.fingerprint(), {k: a for k, a in chunk.items() if not isinstance(a, Unannotated)})
                made.update(chunk)
                bar.advance(len(keys))
        return made


def _key(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
