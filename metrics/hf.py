"""Any metric module of HF `evaluate` that can score one example at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from bench.contracts import FAILED, OK, UNDEFINED, Column, Context, Floats, Mark, Pair, Problem, SmallTable, Stats
from bench.errors import BenchError, Unavailable, missing_package
from bench.options import Options
from metrics.means import mean


class HFOptions(Options):
    """Which module, which of its values, and how to show it."""

    module: str
    """A name on the Hub ("exact_match", "owner/name") or the path of a module's folder or .py file."""
    key: str | None = None
    """Which of the returned values; default: the one named as the module, else the only number."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the module's `compute`."""
    revision: str | None = None
    """Git revision of a Hub module; a module of another owner than HF needs one, since its code is run."""
    scale: float = Field(1.0, gt=0)
    """Tables show value * scale."""
    decimals: int = Field(3, ge=0, le=10)
    """Decimals in tables."""
    higher_is_better: bool = True
    """Whether the best value of a column is its greatest."""

    @model_validator(mode="after")
    def _foreign_code_is_pinned(self) -> HFOptions:
        if "/" in self.module and self.revision is None and not self.local:
            raise ValueError(
                f"module {self.module!r} is no file or folder here; as a Hub module it runs its owner's code: "
                "name the revision too (revision: <commit>)"
            )
        return self

    @property
    def local(self) -> bool:
        """Whether the module is a file or folder of this machine."""
        return Path(self.module).exists()

    @property
    def name(self) -> str:
        """The module's name: the last part of the path, without .py."""
        return Path(self.module).stem if self.module.endswith(".py") else Path(self.module).name


class HFMetric:
    """A module of HF evaluate, hf/<name or path>, run pair by pair; the mean of its values.

    A corpus-only module (HF's ``bleu``) gives the mean of its one-pair scores here, which is another number: use the
    metric of that name. A pair for which the module raises is FAILED and noted, one whose value is not finite is
    UNDEFINED. Local modules need no network.
    """

    Options = HFOptions
    argument = "module"
    group = "nlg"
    table1 = False
    columns: tuple[Column, ...] = (Column("hf", "hf"),)

    def __init__(self, options: HFOptions, context: Context) -> None:
        self.options = options
        self._context = context
        self._module = _load(options, context)
        key = f"hf/{options.name}" + (f":{options.key}" if options.key else "")
        heading = options.key or options.name
        self.columns = (Column(key, heading, options.scale, options.decimals, options.higher_is_better),)

    def signature(self) -> str:
        """Return the module's name and hash, the key, the arguments, and evaluate's version."""
        o = self.options
        code = str(getattr(self._module, "_hash", None) or o.revision)[:12]
        arguments = json.dumps(o.kwargs, sort_keys=True, ensure_ascii=True)
        return f"hf|module:{o.name}|code:{code}|key:{o.key or 'auto'}|kwargs:{arguments}|evaluate:{_version()}|v:1"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        """Return [value, 1] of each pair, one call of the module each."""
        values = np.zeros((len(pairs), 2))
        status = np.full((len(pairs), 1), OK, dtype=np.int8)
        for row, pair in enumerate(pairs):
            value = self._value(pair)
            if value is None or not math.isfinite(value):
                status[row, 0] = FAILED if value is None else UNDEFINED
            else:
                values[row] = value, 1.0
        return Stats(values, status)

    def finish(self, totals: Floats) -> Floats:
        """Return the mean over the pairs that have a value, [..., 1]."""
        return mean(totals)

    def explain(self, pair: Pair) -> Sequence[Mark | SmallTable]:
        """List everything the module returns for the pair."""
        rows = tuple((str(name), str(value)) for name, value in self._compute(pair).items())
        return [SmallTable(f"evaluate: {self.options.name}", ("key", "value"), rows)]

    def _compute(self, pair: Pair) -> Mapping[str, Any]:
        result = self._module.compute(predictions=[pair.candidate], references=[pair.reference], **self.options.kwargs)
        return result if isinstance(result, Mapping) else {}

    def _value(self, pair: Pair) -> float | None:
        """Return the pair's value; None, and a noted problem, where the module raised."""
        try:
            result = self._compute(pair)
        except Exception as err:  # a foreign module may raise anything
            why = f"{type(err).__name__}: {err}".splitlines()[0].rstrip(".")
            self._context.problem(Problem(f"metric hf/{self.options.name}", pair.id, why))
            return None
        return pick(result, self.options.key, self.options.name)


def _version() -> str:
    return version("evaluate")


def _load(options: HFOptions, context: Context) -> Any:
    """Load the module with its data in memory. Raises Unavailable where the package or the module is out of reach."""
    try:
        import evaluate
    except ImportError as err:
        raise missing_package(f"metric hf/{options.name}", "evaluate", "evaluate") from err
    folder = context.cache("hf-evaluate", options.name)
    try:
        return evaluate.load(
            options.module, revision=options.revision, keep_in_memory=True, cache_dir=str(folder), seed=context.seed
        )
    except ImportError as err:
        raise Unavailable(
            f"HF module {options.module!r} needs packages that are not installed: {err}", "pip install them"
        ) from err
    except Exception as err:
        raise _unreachable(options, err) from err


def _unreachable(options: HFOptions, err: Exception) -> Unavailable:
    why = f"{type(err).__name__}: {err}".splitlines()[0].rstrip(".")
    if options.local:
        return Unavailable(f"HF module {options.module!r} cannot be loaded: {why}", "mend the module's code")
    return Unavailable(
        f"HF module {options.module!r} is no file here and could not be fetched from the Hub: {why}",
        "check the name and the network, or copy the module's folder here and use hf/PATH",
    )


def pick(result: Mapping[str, Any], key: str | None, name: str) -> float:
    """Return the number under `key`; without one, under the module's name, else the only number there is.

    A list of one number (modules that answer per example) counts as that number. Raises BenchError where no value, or
    more than one, would do: that is a choice for the configuration.
    """
    numbers = {k: v for k, v in ((k, _number(v)) for k, v in result.items()) if v is not None}
    wanted = key if key is not None else name if name in numbers else next(iter(numbers), "")
    if wanted not in numbers or (key is None and wanted != name and len(numbers) > 1):
        raise BenchError(
            f"metric hf/{name}: key {key!r} does not name one number of a pair. "
            f"It returns the numbers {', '.join(sorted(numbers)) or 'none'}: set key to one of them."
        )
    return numbers[wanted]


def _number(value: Any) -> float | None:
    if isinstance(value, (list, tuple, np.ndarray)):
        return _number(value[0]) if len(value) == 1 else None
    if isinstance(value, (bool, int, float, np.integer, np.floating, np.bool_)):
        return float(value)
    return None
