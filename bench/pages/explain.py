"""What a run's metrics say of single pairs: asked of nobody, refused where it would not be what was scored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import registry, scoring, show
from bench.compare import Run
from bench.config import Entry
from bench.context import RunContext
from bench.contracts import LLM, Answer, Check, Mark, Metric, NoAnswer, Pair, Question, SmallTable, Ticker
from bench.errors import BenchError, ServerLost, Unavailable
from bench.run_folder import context_of

NOT_ASKED = "this answer is not kept here, and a page asks no chat model"
ALL, NONE = "all", "none"


class KeptAnswers:
    """A chat model that gives the answers it gave before, and none to a question it was not asked."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def fingerprint(self) -> str:
        """Return what the model is known by."""
        return self._llm.fingerprint()

    def ask(
        self, questions: Sequence[Question], check: Check | None = None, title: str = "questions"
    ) -> list[Answer | NoAnswer]:
        """Return the kept answers; `NoAnswer` in the place of each other one."""
        return [self._kept(question, check, title) for question in questions]

    def _kept(self, question: Question, check: Check | None, title: str) -> Answer | NoAnswer:
        if self._llm.missing([question], check):
            return NoAnswer("failed", NOT_ASKED)
        return self._llm.ask([question], check, title)[0]

    async def answer(self, question: Question, check: Check | None = None) -> Answer | NoAnswer:
        """Return the answer to one question, as `ask` does."""
        return await asyncio.to_thread(self._kept, question, check, "questions")

    def missing(self, questions: Sequence[Question], check: Check | None = None) -> int:
        """Return how many questions have no kept answer."""
        return self._llm.missing(questions, check)

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what tokens would cost."""
        return self._llm.cost(input_tokens, output_tokens)


class PageContext(RunContext):
    """A context whose chat models are asked nothing, and whose parts show no progress of their own."""

    def llm(self, spec: str) -> LLM:
        """Return a chat model's kept answers."""
        return KeptAnswers(super().llm(spec))

    def progress(self, title: str, total: int | None, unit: str = "") -> AbstractContextManager[Ticker]:  # noqa: ARG002
        """Open a bar that shows nothing: the pages' own is under way."""
        return _quiet()


class _Silent:
    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


@contextmanager
def _quiet() -> Iterator[Ticker]:
    yield _Silent()


@dataclass(frozen=True, slots=True)
class Explained:
    """What one metric says of a pair."""

    label: str
    marks: tuple[Mark, ...] = ()
    tables: tuple[SmallTable, ...] = ()
    fault: str = ""
    """Why there is no explanation of this pair."""
    warning: str = ""
    """What differs from how the pair was scored."""


@dataclass(slots=True)
class Explainer:
    """A metric of a run that may explain its pairs."""

    label: str
    metric: Metric | None
    why_not: str = ""
    """Why it explains no pair; "" where it does."""
    warning: str = ""
    signature: str = ""
    keys: Sequence[str] = ()
    """Its columns, by whose place in tables it is ordered."""
    _down: str = field(default="", init=False)
    """Why it cannot explain any more (weights that turned out to be missing): it is not tried for every page."""

    def explain(self, pair: Pair) -> Explained:
        """Return marks and tables of a pair; whatever the metric raises costs this pair's box and no more."""
        if self.metric is None or self.why_not or self._down:
            return Explained(self.label, fault=self.why_not or self._down)
        try:
            return self._checked(self.metric.explain(pair))
        except (Unavailable, ServerLost) as err:
            self._down = reason(err)
            return Explained(self.label, fault=self._down)
        except Exception as err:  # a metric's own fault
            return Explained(self.label, fault=reason(err))

    def _checked(self, found: Sequence[Any]) -> Explained:
        marks = tuple(item for item in found if isinstance(item, Mark))
        tables = tuple(item for item in found if isinstance(item, SmallTable))
        if len(marks) + len(tables) < len(found):
            raise TypeError("explain gave something that is neither a Mark nor a SmallTable")
        if wrong := [mark for mark in marks if not _is_mark(mark)]:
            raise TypeError(f"explain gave {wrong[0]!r}, which marks no place of a text")
        if odd := [table for table in tables if not _is_table(table)]:
            raise TypeError(f"explain gave {odd[0]!r}, whose title, headings and cells are not all texts")
        return Explained(self.label, marks, tables, warning=self.warning)


def _is_mark(mark: Any) -> bool:
    whole = all(isinstance(number, int) for number in (mark.start, mark.end))
    return whole and mark.side in ("candidate", "reference") and _texts(mark.kind, mark.note)


def _is_table(table: Any) -> bool:
    rows = (table.headings, *table.rows) if isinstance(table.rows, tuple | list) else (None,)
    return _texts(table.title) and all(isinstance(row, tuple | list) and _texts(*row) for row in rows)


def _texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def reason(err: Exception) -> str:
    """Return an error as a line of a page."""
    if isinstance(err, Unavailable):
        return f"{err.reason}; {err.remedy}"
    text = " ".join(str(err).split()) or "no message"
    return text if isinstance(err, BenchError) else f"{type(err).__name__}: {text}"


def explainers(run: Run, asked: Sequence[str] | None) -> list[Explainer]:
    """Return the metrics of a run that are to explain; `asked`: labels, or None for all that explain what was scored.

    One that was not asked for is held back where it is computed otherwise today than when the run was scored.
    """
    given: Mapping[str, Mapping[str, Any]] = run.run["config"]["metrics"]
    context = context_of(run.folder, run.run, PageContext)
    labels = list(given) if asked is None else [label for label in given if label in asked]
    found = [_explainer(run, context, label, given[label], forced=asked is not None) for label in labels]
    order = show.column_keys([run.summary], full=True)
    return sorted(
        found, key=lambda one: min((order.index(key) for key in one.keys if key in order), default=len(order))
    )


def _explainer(run: Run, context: RunContext, label: str, given: Mapping[str, Any], *, forced: bool) -> Explainer:
    options = {key: value for key, value in given.items() if key != "use"}
    try:
        metric: Metric = context.build("metric", given["use"], options, f"metrics.{label}")
        now = metric.signature()
    except Exception as err:  # a package, a file or weights that are missing here, or the metric's own fault
        return Explainer(label, None, reason(err))
    keys = _keys(label, metric, given["use"])
    scored = next((str(s["signature"]) for s in map(run.summary["scores"].get, keys) if s and s.get("signature")), "")
    if scored == now:
        return Explainer(label, metric, signature=now, keys=keys)
    otherwise = (
        f"Explained by {now}, but scored by {scored}: these may differ." if scored else "Not scored in this run."
    )
    if forced:
        return Explainer(label, metric, warning=otherwise, signature=now, keys=keys)
    why = f"it is {now} here, but the scores are of {scored}" if scored else "it has no score in this run"
    return Explainer(label, None, f"{why}; bench report --explain {label} shows it all the same", keys=keys)


def _keys(label: str, metric: Metric, use: str) -> list[str]:
    """Return the keys of a metric's columns as the run reports them."""
    entry = Entry(label, use, {})
    return [
        column.key for column in scoring.columns_of(entry, metric, registry.default_label(registry.find("metric", use)))
    ]


def choose(runs: Sequence[Run], explain: str) -> list[str] | None:
    """Return the labels of ``--explain LABEL,…|all|none``. Raises BenchError where no run has a label."""
    if explain == ALL:
        return None
    names = [] if explain == NONE else [name.strip() for name in explain.split(",") if name.strip()]
    known = dict.fromkeys(label for run in runs for label in run.run["config"]["metrics"])
    for name in names:
        if name not in known:
            raise BenchError(f"--explain: {registry.miss('metric of the runs', name, list(known))}")
    return names
