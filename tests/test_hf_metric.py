from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bench.context import RunContext
from bench.contracts import FAILED, OK, UNDEFINED, Pair, SmallTable
from bench.errors import BenchError, Unavailable
from metrics.hf import HFMetric, HFOptions, pick

evaluate = pytest.importorskip("evaluate")

MODULE = """
import datasets
import evaluate


class WordShare(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Share of the reference's words that the prediction holds.",
            citation="",
            inputs_description="predictions, references: lists of texts",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references, bonus=0.0):
        if "boom" in predictions[0]:
            raise ValueError("cannot read this\\nat all")
        true = references[0].split()
        share = sum(w in predictions[0].split() for w in true) / len(true) if true else float("nan")
        return {"word_share": share + bonus, "each": [2 * share], "n_words": len(true), "note": "text"}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evaluate.loading, "init_dynamic_modules", _modules_in(tmp_path / "modules", monkeypatch))
    folder = tmp_path / "word_share"
    folder.mkdir()
    (folder / "word_share.py").write_text(MODULE, encoding="utf-8")
    return folder


def _modules_in(folder: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Keep evaluate's copies of module code out of the home folder."""
    original = evaluate.loading.init_dynamic_modules
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda: original(hf_modules_cache=str(folder))


def build(context: RunContext, **options: object) -> HFMetric:
    return HFMetric(HFOptions.model_validate(options), context)


def pair(candidate: str, reference: str, name: str = "1") -> Pair:
    return Pair(name, "p", candidate, reference)


def test_mean_of_single_examples(module: Path, context: RunContext) -> None:
    metric = build(context, module=str(module))
    stats = metric.observe([pair("no effusion", "no effusion"), pair("clear", "lungs clear"), pair("", "a b")])
    assert stats.values.tolist() == [[1.0, 1.0], [0.5, 1.0], [0.0, 1.0]]
    assert stats.status.tolist() == [[OK]] * 3
    assert metric.finish(stats.values.sum(axis=0)) == pytest.approx([0.5])
    assert [column.key for column in metric.columns] == ["hf/word_share"]


def test_key_kwargs_and_display(module: Path, context: RunContext) -> None:
    metric = build(
        context, module=str(module / "word_share.py"), key="each", kwargs={"bonus": 5}, scale=100, decimals=1
    )
    assert metric.observe([pair("a", "a b")]).values.tolist() == [[1.0, 1.0]]
    column = metric.columns[0]
    assert (column.key, column.heading, column.scale, column.decimals) == ("hf/word_share:each", "each", 100, 1)
    plain = build(context, module=str(module))
    assert plain.signature() != metric.signature()
    assert "module:word_share" in plain.signature()


def test_failed_and_undefined_pairs_are_kept_apart(module: Path, context: RunContext) -> None:
    metric = build(context, module=str(module))
    stats = metric.observe([pair("boom", "a", "7"), pair("a", ""), pair("a", "a")])
    assert stats.status.tolist() == [[FAILED], [UNDEFINED], [OK]]
    assert stats.values.tolist() == [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    (problem,) = context.problems.values()
    assert (problem.file, problem.id, problem.why) == ("metric hf/word_share", "7", "ValueError: cannot read this")


def test_a_key_that_names_no_number_is_an_error_with_the_known_ones(module: Path, context: RunContext) -> None:
    with pytest.raises(BenchError, match="each, n_words, word_share"):
        build(context, module=str(module), key="share").observe([pair("a", "a")])


def test_explain_lists_what_the_module_returns(module: Path, context: RunContext) -> None:
    (table,) = build(context, module=str(module)).explain(pair("a", "a b"))
    assert isinstance(table, SmallTable)
    assert ("note", "text") in table.rows


@pytest.mark.parametrize(
    ("result", "key", "expected"),
    [
        ({"rouge": 0.5, "other": 1}, None, 0.5),
        ({"f1": [0.25], "hashcode": "x"}, None, 0.25),
        ({"f1": np.float32(0.25), "precision": 1.0}, "precision", 1.0),
        ({"ok": True}, None, 1.0),
    ],
)
def test_pick(result: dict[str, object], key: str | None, expected: float) -> None:
    assert pick(result, key, "rouge") == expected


@pytest.mark.parametrize("result", [{}, {"a": 1, "b": 2}, {"a": [1, 2]}, {"a": None}])
def test_pick_refuses_to_guess(result: dict[str, object]) -> None:
    with pytest.raises(BenchError, match="set key"):
        pick(result, None, "rouge")


def test_a_hub_module_out_of_reach_is_unavailable(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host\nmore")

    monkeypatch.setattr(evaluate, "load", no_network)
    with pytest.raises(Unavailable) as caught:
        build(context, module="exact_match")
    assert "ConnectionError: no route to host" in caught.value.reason
    assert "hf/PATH" in caught.value.remedy


def test_a_module_that_cannot_be_imported_is_unavailable(
    module: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module / "word_share.py").write_text("import no_such_package_at_all\n", encoding="utf-8")
    with pytest.raises(Unavailable, match="no_such_package_at_all"):
        build(context, module=str(module))


def test_without_the_package_it_is_unavailable(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evaluate", None)
    with pytest.raises(Unavailable) as caught:
        build(context, module="exact_match")
    assert caught.value.remedy == "pip install 'cxr-report-bench[evaluate]'"


def test_foreign_hub_code_needs_a_revision() -> None:
    with pytest.raises(ValidationError, match="revision"):
        HFOptions(module="someone/some_metric")
    assert HFOptions(module="someone/some_metric", revision="0123abc").name == "some_metric"
    assert HFOptions(module="rouge").name == "rouge"


def test_the_registry_fills_the_module_from_the_name() -> None:
    assert HFMetric.argument == "module"
    assert HFMetric.argument in HFOptions.model_fields
