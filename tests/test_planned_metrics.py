from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench.errors import Unavailable
from metrics.planned import RGER, CheXbertF1, RadFact


@pytest.mark.parametrize(
    ("plugin", "keys"),
    [
        (RGER, ["RGER"]),
        (CheXbertF1, ["Ma-5", "Ma-14", "Mi-5", "Mi-14"]),
        (RadFact, ["RadFact-P", "RadFact-R", "RadFact"]),
    ],
)
def test_columns_are_known_and_building_says_what_to_do(plugin: Any, keys: list[str]) -> None:
    assert [column.key for column in plugin.columns] == keys
    assert plugin.group == "clinical"
    with pytest.raises(Unavailable) as caught:
        plugin(plugin.Options(), None)
    assert caught.value.reason == f"{plugin.name} is not implemented in this version"
    assert "reports.jsonl" in caught.value.remedy
    assert "--metrics nlg" in caught.value.remedy


def test_options_of_the_example_config_are_valid() -> None:
    assert RGER.Options(annotator="radgraph-xl").annotator == "radgraph-xl"
    assert CheXbertF1.Options(annotator="chexbert", uncertain="negative").uncertain == "negative"
    assert RadFact.Options(judge="ollama/llama3:70b-instruct", max_failed=0.01).max_failed == 0.01


@pytest.mark.parametrize(
    ("plugin", "options"),
    [(RGER, {"anotator": "x"}), (CheXbertF1, {"uncertain": "maybe"}), (RadFact, {"max_failed": 2})],
)
def test_wrong_options_are_refused(plugin: Any, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        plugin.Options.model_validate(options)
