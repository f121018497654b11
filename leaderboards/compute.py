"""Time and cost of runs: what they measured, and what that costs at a price the user states."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from leaderboards import numbers
from leaderboards.model import ABSENT, Cell, ColumnSpec, Took
from leaderboards.runs import Asked, Resources, Run

_PRICE = re.compile(r"\$?(?P<usd>\d+(?:\.\d+)?|\.\d+)(?:\s*/\s*h)?(?:\s+(?P<of>\S.*))?", re.DOTALL)
LONGEST_LABEL = 100
_BEFORE = Cell(
    ABSENT,
    reason="the folder has no resources.json: the run was made before times were kept, or copied without it",
    remedy="bench run into another folder: what is trained, encoded and answered is taken from the cache",
)
_NO_PRICE = Cell(ABSENT, reason="no price is stated", remedy="--price 2.50 (USD for an hour of the device)")


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour of the device costs that trained and reported, as the user states it."""

    usd: float
    of: str = ""
    """What it is the price of, in the user's words."""

    @classmethod
    def parse(cls, text: str) -> Price:
        """Read "2.50", "$2.50/h", or "0.80/h one A6000, on demand". Raises BenchError."""
        match = _PRICE.fullmatch(text.strip())
        usd = float(match["usd"]) if match else 0.0
        if match is None or not 0 < usd < math.inf:
            raise BenchError(
                f"--price {text!r}: give USD for an hour of the device, above 0, and behind it what it is a price of, "
                'if you like: --price 2.50, or --price "0.80/h one A6000, on demand"'
            )
        of = " ".join((match["of"] or "").split())
        if len(of) > LONGEST_LABEL:
            raise BenchError(f"--price: what it is the price of has {len(of)} characters, {LONGEST_LABEL} at most")
        return cls(usd, of)

    def cost(self, seconds: float) -> float:
        """Return what so many seconds cost, in USD."""
        return self.usd * seconds / 3600

    def __str__(self) -> str:
        digits = f"{self.usd:.2f}" if self.usd == round(self.usd, 2) else f"{self.usd:g}"
        return f"${digits} an hour of the device" + (f" ({self.of})" if self.of else "")


def cell(run: Run, column: ColumnSpec, price: Price | None) -> Cell:
    """Return what a run took, or why that is not known."""
    if run.resources is None:
        return _BEFORE
    return _CELLS[column.took](run.resources, column, price)


def _shown(column: ColumnSpec, value: float, dollars: bool = False) -> Cell:
    """Return a number; of money where `dollars`, of which all digits below a cent count."""
    text = numbers.format_value(column, value)
    if not dollars:
        return Cell(text, value=value * column.factor)
    return Cell(f"${value:,.2f}" if value >= 1 or value == 0 else f"${text}", value=value)


def _train_seconds(took: Resources, column: ColumnSpec, price: Price | None) -> Cell:  # noqa: ARG001
    seconds = took.measured.train_seconds
    return _shown(column, seconds) if seconds is not None else _untimed()


def _untimed() -> Cell:
    return Cell(
        ABSENT,
        reason="its training was not timed, or the system trains nothing here and says no time",
        remedy="train again with another cache folder (BENCH_CACHE) where the time is wanted",
    )


def _trained_on(took: Resources, column: ColumnSpec, price: Price | None) -> Cell:  # noqa: ARG001
    named = took.measured.trained_on
    return Cell(named) if named else Cell(ABSENT, reason="the system does not say, or trains nothing")


def _train_cost(took: Resources, column: ColumnSpec, price: Price | None) -> Cell:
    seconds = took.measured.train_seconds
    if seconds is None:
        return _untimed()
    return _NO_PRICE if price is None else _shown(column, price.cost(seconds), dollars=True)


def _report_seconds(took: Resources, column: ColumnSpec, price: Price | None) -> Cell:  # noqa: ARG001
    seconds = _seconds(took)
    return seconds if isinstance(seconds, Cell) else _shown(column, seconds)


def _seconds(took: Resources) -> float | Cell:
    """Return the time of a report with that of its image's embedding, or why it is not known."""
    if took.seconds_per_report is None:
        return Cell(ABSENT, reason="no report of the run was timed")
    unknown = [encoder for encoder, seconds in took.encoding.items() if seconds is None]
    if unknown:
        return Cell(
            ABSENT,
            reason=f"the images were embedded ({', '.join(unknown)}) on another device than reported on, or untimed",
            remedy="run it with another cache folder (BENCH_CACHE), where they are embedded again",
        )
    return took.seconds_per_report + sum(seconds for seconds in took.encoding.values() if seconds is not None)


def _report_llm_cost(took: Resources, column: ColumnSpec, price: Price | None) -> Cell:  # noqa: ARG001
    cost = _llm_cost(took)
    return cost if isinstance(cost, Cell) else _shown(column, cost, dollars=True)


def _llm_cost(took: Resources) -> float | Cell:
    """Return what questions to chat models cost a report, in USD; 0 where none was asked."""
    asked = took.llm
    if asked is None:
        return 0.0
    if asked.cost_usd is None:
        reason = "the prices of the system's chat model are not given"
        return Cell(ABSENT, reason=reason, remedy="price_input and price_output of the model, under llms, in a new run")
    if not asked.calls or not took.n_timed:
        reason = "all answers of the system's chat model came from the cache, where their cost is not kept"
        return Cell(ABSENT, reason=reason, remedy="the run that asked it has usage.jsonl")
    return asked.cost_usd / took.n_timed


def _report_cost(took: Resources, column: ColumnSpec, price: Price | None) -> Cell:
    seconds, asked = _seconds(took), _llm_cost(took)
    if isinstance(seconds, Cell):
        return seconds
    if isinstance(asked, Cell):
        return asked
    return _NO_PRICE if price is None else _shown(column, price.cost(seconds) + asked, dollars=True)


_CELLS: Mapping[Took, Callable[[Resources, ColumnSpec, Price | None], Cell]] = {
    "train_seconds": _train_seconds,
    "trained_on": _trained_on,
    "train_cost": _train_cost,
    "report_seconds": _report_seconds,
    "report_llm_cost": _report_llm_cost,
    "report_cost": _report_cost,
}


# ------------------------------------------------------------------ notes


def notes(runs: Sequence[Run], columns: Sequence[ColumnSpec], price: Price | None) -> list[str]:
    """Return the price, the devices and what chat models were asked; nothing for a leaderboard without such columns.

    Raises BenchError where a price is stated for one.
    """
    if not any(column.took for column in columns):
        if price is not None:
            raise BenchError("--price: no column of this leaderboard is a cost; table4 has some")
        return []
    return [*_priced(price), *_devices(runs), *_asked(runs)]


def _priced(price: Price | None) -> Iterator[str]:
    if price is not None:
        yield (
            f"Costs of measured rows: {price}, as stated with --price, times the seconds measured, whatever the device "
            "was; published costs are at prices their source does not state."
        )


def _devices(runs: Sequence[Run]) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for run in runs:
        if (took := run.resources) is not None:
            parts = [f"trained on {took.measured.trained_on}"] if took.measured.trained_on else []
            parts += [f"reports made on {' and '.join(took.devices)}"] if took.devices else []
            told.setdefault(", ".join(parts), []).append(_name(run))
    for text, names in told.items():
        if text:
            yield f"{', '.join(names)}: {text}."


def _name(run: Run) -> str:
    """Return label and folder; the label has the folder where two runs share one."""
    return run.label if run.label.endswith(f"({run.folder})") else f"{run.label} ({run.folder})"


def _asked(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        if run.resources is not None and run.resources.llm is not None:
            yield f"{_name(run)}: {_told(run.resources.llm, run.resources.n_timed)}"


def _told(asked: Asked, n_reports: int) -> str:
    cost = "at prices not given" if asked.cost_usd is None else f"${asked.cost_usd:,.4g} in all"
    free = f"; {asked.cached:,} more answers came from the cache and cost nothing here" if asked.cached else ""
    return (
        f"chat models were asked {asked.calls:,} times for {n_reports:,} reports, {cost}{free}. Their operations are "
        "in no column, their cost (descriptions of features, made once, included) is in the cost per report."
    )
