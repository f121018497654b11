"""`bench check`: what is sound passes, and each broken rule is caught by the check that is meant for it."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.check import Checked, check_metric, check_system, other
from bench.errors import BenchError

BROKEN = Path(__file__).with_name("broken_plugins.py")
CASES = f"{BROKEN}:Cases"
broken_plugins = sys.modules[registry.find("system", f"{BROKEN}:Sound").plugin.__module__]
QUICK = ("run.device=cpu",)  # "auto" would import torch to look for a GPU
ELSEWHERE = ("Hashes", "HashForFingerprint", "HashesWords", "HashForSignature")
"""What another process alone can show."""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what another process does be done in this one, which is quicker; it has heavy packages imported already."""
    monkeypatch.setattr(other, "HEAVY", frozenset())
    monkeypatch.setattr(other.subprocess, "run", lambda command, **_: _in_this_process(command))


def _in_this_process(command: list[str]) -> Any:
    other.main(Path(command[-1]))
    return other.subprocess.CompletedProcess(command, 0, b"", b"")


def system(name: str, **more: Any) -> Checked:
    return check_system(f"{BROKEN}:{name}", dataset=CASES, assignments=QUICK, **more)


def metric(name: str, **more: Any) -> Checked:
    return check_metric(f"{BROKEN}:{name}", assignments=QUICK, **more)


def statuses(checked: Checked) -> dict[str, str]:
    return {outcome.name: outcome.status for outcome in checked.outcomes}


def notes(checked: Checked) -> dict[str, str]:
    return {outcome.name: outcome.note for outcome in checked.outcomes}


def broken(base: type) -> list[Any]:
    """Return the plugins whose docstring is the name of the rule that they break."""
    plugins = [p for p in vars(broken_plugins).values() if inspect.isclass(p) and issubclass(p, base)]
    return [pytest.param(p.__name__, p.__doc__, id=p.__name__) for p in plugins if (p.__doc__ or "X")[0].islower()]


# ------------------------------------------------------------------ what is sound


def test_a_sound_system_passes_every_check() -> None:
    checked = system("Sound")
    assert set(statuses(checked).values()) == {"ok"}, str(checked)
    assert notes(checked)["options told"] == "told: prefix, loud; moves nothing: batch"
    assert notes(checked)["bad image"] == "an error that names it"


def test_a_sound_metric_passes_every_check() -> None:
    checked = metric("Fair")
    assert set(statuses(checked).values()) == {"ok"}, str(checked)
    assert notes(checked)["options told"] == "told: lower; moves nothing: batch"
    assert notes(checked)["left out"] == "3 left out"  # both texts empty, the reference empty, the reference blank


# ------------------------------------------------------------------ what is broken


@pytest.mark.parametrize(("name", "rule"), broken(broken_plugins.Sound))
def test_a_broken_system_fails_the_check_that_is_meant_for_it(
    name: str, rule: str, request: pytest.FixtureRequest
) -> None:
    if name not in ELSEWHERE:
        request.getfixturevalue("here")
    checked = system(name)
    assert [outcome.name for outcome in checked.failed] == [rule], str(checked)
    assert checked.failed[0].note
    assert not checked.ok


@pytest.mark.parametrize(("name", "rule"), broken(broken_plugins.Fair))
def test_a_broken_metric_fails_the_check_that_is_meant_for_it(
    name: str, rule: str, request: pytest.FixtureRequest
) -> None:
    if name not in ELSEWHERE:
        request.getfixturevalue("here")
    checked = metric(name)
    assert [outcome.name for outcome in checked.failed] == [rule], str(checked)
    assert checked.failed[0].note
    assert not checked.ok


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", ["system", "metric"])
def test_every_check_is_seen_to_fail(kind: str) -> None:
    """No check is one that nothing can fail; two only advise, and one has a test of its own below."""
    checked = system("Sound") if kind == "system" else metric("Fair")
    base = broken_plugins.Sound if kind == "system" else broken_plugins.Fair
    seen = {parameters.values[1] for parameters in broken(base)}
    assert set(statuses(checked)) - {"described", "sense", "import"} == seen


def test_a_module_that_imports_something_heavy(tmp_path: Path) -> None:
    file = tmp_path / "heavy.py"
    file.write_text(BROKEN.read_text().replace("import itertools\n", "import itertools\n\nimport pandas\n"))
    checked = check_system(f"{file}:Sound", dataset=CASES, assignments=QUICK)
    assert [outcome.name for outcome in checked.failed] == ["import"], str(checked)
    assert "imports pandas too" in notes(checked)["import"]


@pytest.mark.usefixtures("here")
def test_messages_say_what_was_expected_and_seen() -> None:
    order, prepare = notes(system("Numbers"))["order"], notes(system("PreparesOnce"))["prepare"]
    assert ": '0. Chest. test" in order
    assert "became '5. Chest. test" in order
    assert "it raised RuntimeError: prepared already (broken_plugins.py, line " in prepare
    assert "loud: True gives other reports and the same fingerprint" in notes(system("SilentOption"))["options told"]
    assert "float64" in notes(metric("Float32"))["observe"]
    assert "empty candidate" in notes(metric("StumblesOverNothing"))["odd texts"]
    assert "'NoneType' object has no attribute 'lower'" in notes(system("NeedsAnIndication"))["bare case"]


@pytest.mark.usefixtures("here")
def test_advice_is_no_failure() -> None:
    for checked, name in ((system("Undocumented"), "described"), (metric("WrongWay"), "sense")):
        assert [o.name for o in checked.outcomes if o.status == "warning"] == [name], str(checked)
        assert checked.ok
    checked = system("AllFail")
    assert statuses(checked)["reports"] == "warning"
    assert "no answer came" in notes(checked)["reports"]


@pytest.mark.usefixtures("here")
def test_what_cannot_work_here_is_told_with_its_remedy(bench: Callable[..., Any]) -> None:
    checked = system("NotHere")
    assert statuses(checked)["prepare"] == "unavailable"
    assert statuses(checked)["reports"] == "not tried"
    assert not checked.ok
    answer = bench("check", "metric", f"{BROKEN}:NoDictionary", "--set", "run.device=cpu")
    assert answer.code == 2
    assert "cannot be checked here: the dictionary is not here" in answer.err
    assert "fetch the dictionary" in answer.out


# ------------------------------------------------------------------ the command


@pytest.mark.usefixtures("here")
def test_the_command_prints_a_table_and_its_exit_code_tells(bench: Callable[..., Any]) -> None:
    good = bench("check", "metric", f"{BROKEN}:Fair", "--set", "run.device=cpu", "--set", "lower=false")
    assert good.code == 0, good.err
    assert "told: lower" in good.out
    bad = bench("check", "system", f"{BROKEN}:Twice", "--dataset", CASES, "--set", "run.device=cpu", "--limit", "3")
    assert bad.code == 2
    assert bad.err == f"bench: system '{BROKEN}:Twice' does not keep its contract: reports failed\n"
    assert "two reports on the case" in bad.out


@pytest.mark.usefixtures("here")
def test_the_command_prints_json(bench: Callable[..., Any]) -> None:
    answer = bench("check", "metric", f"{BROKEN}:Sums", "--set", "run.device=cpu", "--json")
    told = json.loads(answer.out)
    assert (answer.code, told["ok"], told["kind"]) == (2, False, "metric")
    assert {check["name"]: check["status"] for check in told["checks"]}["adds up"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("system", "sae-rat"), "Did you mean sae-rad"),
        (("metric", "bleu-4", "--set", "smoth=exp"), "metrics.bleu-4.smoth: unknown key. Did you mean smooth"),
        (("system", "predictions"), "--set KEY=VALUE gives the plugin a value"),
        (("system", f"{BROKEN}:text"), "a plugin is a class with an attribute Options"),
        (("system", f"{BROKEN}:Nobody"), "No system in"),
        (("system", "constant", "--set", "run.seed=x"), "run.seed"),
        (("system", "constant", "--config", "nowhere.yaml"), "nowhere.yaml: no such file"),
    ],
)
def test_bad_input_ends_in_a_message(bench: Callable[..., Any], arguments: tuple[str, ...], words: str) -> None:
    answer = bench("check", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_a_label_of_a_configuration_is_checked_with_its_options(bench: Callable[..., Any]) -> None:
    Path("mine.yaml").write_text(
        f"dataset: {{use: '{CASES}'}}\n"
        f"systems: {{shout: {{use: '{BROKEN}:Sound', loud: true}}, other: {{use: nothing}}}}\n"
        "metrics: {}\nrun: {device: cpu}\n"
    )
    checked = check_system("shout", {"prefix": "Hear."}, config="mine.yaml")
    assert checked.ok, str(checked)
    with pytest.raises(BenchError, match=r"systems\.shout\.prefx: unknown key"):
        check_system("shout", {"prefx": "Hear."}, config="mine.yaml")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    system("Sound")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list(Path().iterdir()) == []


# ------------------------------------------------------------------ the plugins that come with the package

SYSTEMS: tuple[Any, ...] = ("constant", "random-report", "copy-prior", "nearest-neighbour")
METRICS = ("bleu-4", "rouge-l", "meteor", "rger", "chexbert-f1", "chexpert-rules-f1", "radfact")


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_systems_that_come_with_the_package(name: str) -> None:
    checked = check_system(name, assignments=QUICK)
    assert set(statuses(checked).values()) == {"ok"}, str(checked)


def test_a_file_of_predictions() -> None:
    ids = [f"test{i:03d}" for i in range(12)]
    Path("p.jsonl").write_text("".join(json.dumps({"id": i, "text": f"On {i}."}) + "\n" for i in ids))
    checked = check_system("predictions", {"file": "p.jsonl"}, dataset=CASES, assignments=QUICK)
    assert checked.ok, str(checked)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sae-rad", "sae-rad-neurons", "sae-rad-other-image", "sae-rad-untrained-sae"])
def test_sae_rad(name: str) -> None:
    """With the demo's settings, on a smaller demo, and a short training."""
    options = {"encoder": "pixels", "sae": {"expansion": 1, "steps": 60, "batch_size": 32}}
    own = {k: v for k, v in options.items() if k == "encoder" or name != "sae-rad-neurons"}
    checked = check_system(name, own, assignments=("dataset.images=48", "dataset.test_images=12"))
    assert checked.ok, str(checked)


@pytest.mark.parametrize("name", METRICS)
def test_the_metrics_that_come_with_the_package(name: str) -> None:
    checked = check_metric(name, assignments=QUICK)
    assert set(statuses(checked).values()) == {"ok"}, str(checked)
