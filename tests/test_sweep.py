"""Sweeps: variants laid over a base, run on the same cases, continued, and printed as tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import sweep
from bench.config import Choices
from bench.errors import BenchError
from leaderboards.tables import definition

Bench = Callable[..., Any]
PLUGINS = Path(__file__).with_name("plugins.py")
PARROT = f"{PLUGINS}:Parrot"
TWIN = f"{PLUGINS.parent}/./plugins.py:Parrot"
"""The same class under another name."""
MEMBER = f'use: "{PARROT}", fail: []'
BASE = f"""
dataset: {{use: "{PLUGINS}:TinyDataset", n: 6}}
systems:
  a: {{use: "{PARROT}", fail: [test001], log: said.txt}}
  copy-prior: {{}}
metrics:
  words: {{use: "{PLUGINS}:WordF1"}}
run: {{bootstrap: 10}}
"""
SWEEP = f"""
base: base.yaml
sweep: {{tables: [table1]}}
systems:
  x1: {{{MEMBER}}}
  x2: {{{MEMBER}, skip: []}}
dataset: {{n: 5}}
run: {{seed: 3}}
"""


@pytest.fixture
def tiny() -> Path:
    Path("base.yaml").write_text(BASE)
    Path("tiny.yaml").write_text(SWEEP)
    return Path("tiny.yaml")


def loaded(text: str, *, base: str | None = None, only: str | None = None, **choices: Any) -> sweep.Sweep:
    Path("s.yaml").write_text(text)
    return sweep.load("s.yaml", base, Choices(**choices), only)


# ------------------------------------------------------------------ one over the other


@pytest.mark.parametrize(
    ("below", "above", "both"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 9}}, {"a": 1, "b": {"c": 9, "d": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"use": "x", "root": "/r"}, {"use": "y", "n": 1}, {"use": "y", "n": 1}),
        ({"use": "x", "root": "/r"}, {"use": "x", "n": 1}, {"use": "x", "root": "/r", "n": 1}),
        ({"use": "x", "root": "/r"}, {"n": 1}, {"use": "x", "root": "/r", "n": 1}),
    ],
)
def test_laid_over_by_hand(below: Any, above: Any, both: Any) -> None:
    assert sweep.laid_over(below, above) == both


tree = st.recursive(st.integers() | st.text(max_size=2), lambda t: st.dictionaries(st.sampled_from("abc"), t))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), tree), st.dictionaries(st.sampled_from("abc"), tree))
def test_what_is_above_wins_and_nothing_else_changes(below: Any, above: Any) -> None:
    both = sweep.laid_over(below, above)
    assert both.keys() == below.keys() | above.keys()
    assert sweep.laid_over(both, above) == both
    assert {key: both[key] for key in below.keys() - above.keys()} == {
        key: below[key] for key in below.keys() - above.keys()
    }


def test_members_take_the_options_of_the_bases_system_of_their_plugin(tiny: Path) -> None:
    found = sweep.load(str(tiny))
    options = {entry.label: entry.options for entry in found.members}
    assert options == {"x1": {"fail": [], "log": "said.txt"}, "x2": {"fail": [], "log": "said.txt", "skip": []}}
    assert found.config.dataset.options == {"n": 5}
    assert (found.config.run.seed, found.config.run.bootstrap) == (3, 10)
    assert found.config.source == "tiny.yaml over base.yaml"


def test_choices_of_the_command_line_win(tiny: Path) -> None:
    chosen = Choices(seed=8, limit=2, assignments=["systems.*.skip=[test002]", "systems.x1.fail=[test000]"])
    found = sweep.load(str(tiny), None, chosen)
    assert (found.config.run.seed, found.config.run.limit) == (8, 2)
    assert [entry.options["skip"] for entry in found.members] == [["test002"]] * 2
    assert [entry.options["fail"] for entry in found.members] == [["test000"], []]


def test_another_base_and_paths_relative_to_the_sweep(tiny: Path) -> None:
    Path("other.yaml").write_text(BASE.replace("said.txt", "other.txt"))
    assert sweep.load(str(tiny), "other.yaml").members[0].options["log"] == "other.txt"
    Path("deep").mkdir()
    Path("deep/s.yaml").write_text(SWEEP.replace("base.yaml", "../base.yaml"))
    assert sweep.load("deep/s.yaml").config.source == "deep/s.yaml over deep/../base.yaml"


def test_the_folder_is_the_same_whichever_members_are_asked_for(tiny: Path) -> None:
    every, one = sweep.load(str(tiny)), sweep.load(str(tiny), only="x2")
    assert [entry.label for entry in one.members] == ["x2"]
    assert every.default_out == one.default_out
    assert every.default_out != sweep.load(str(tiny), None, Choices(seed=9)).default_out


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("base: base.yaml\n", "", "base: name demo, paper or a configuration file"),
        ("base.yaml", "nowhere.yaml", "base: no file nowhere.yaml"),
        ("base.yaml", "[1]", "base: demo or paper, or the path"),
        ("base.yaml", "tiny.yaml", "bench sweep tiny.yaml"),
        ("sweep:", "sweeep:", "unknown section 'sweeep'. Did you mean sweep?"),
        ("tables:", "table:", "sweep.table: unknown key. Did you mean tables or title?"),
        ("n: 5", "m: 5", "dataset.m: unknown key"),
        ("skip:", "skipp:", "systems.x2.skipp: unknown key. Did you mean skip?"),
        ("x2:", "x1:", "line 6, column 3: not valid YAML: key 'x1' is given twice"),
        ("x2:", "X1:", "differ in capitals only"),
        ("x2:", "x1/deeper:", "would lie in the folder of 'x1'"),
        ("x2:", "×2:", "a label is made of letters"),
        (f"x2: {{{MEMBER}, skip: []}}", "x2: {n: 1}", "systems.x2: No system named 'x2'"),
        (
            f"x2: {{{MEMBER}, skip: []}}",
            "constan:",
            "systems.constan: No system named 'constan'. Did you mean constant?",
        ),
        (f"x2: {{{MEMBER}, skip: []}}", "x2: {from: b}", "x2.from: No system in the base (base.yaml) named 'b'"),
        (
            f"x2: {{{MEMBER}, skip: []}}",
            "x2: {from: [a]}",
            "x2.from: No system in the base (base.yaml) named \"['a']\"",
        ),
        (f"x2: {{{MEMBER}, skip: []}}", "x2: {from: {a: 1}}", "x2.from: No system in the base"),
        (f"x2: {{{MEMBER}, skip: []}}", f"7: {{{MEMBER}}}\n  '7': {{{MEMBER}}}", "systems.7: the label is given twice"),
        (f"x2: {{{MEMBER}, skip: []}}", "x2: 7", "must be a mapping of options, not 7"),
    ],
)
def test_faults_name_file_and_key(tiny: Path, old: str, new: str, why: str) -> None:
    assert old in SWEEP
    with pytest.raises(BenchError, match=r"s\.yaml|tiny\.yaml|systems|dataset") as fault:
        loaded(SWEEP.replace(old, new))
    assert why in str(fault.value)


def test_a_plugin_that_stands_twice_in_the_base_is_ambiguous(tiny: Path) -> None:
    Path("base.yaml").write_text(BASE.replace("  copy-prior: {}", f'  b: {{use: "{PARROT}"}}'))
    with pytest.raises(BenchError, match=r"several systems .* from: a or b"):
        sweep.load(str(tiny))
    found = loaded(SWEEP.replace(MEMBER, "from: b"))
    assert [(entry.use, entry.options) for entry in found.members] == [(PARROT, {}), (PARROT, {"skip": []})]


def test_a_fault_of_the_base_names_the_base(tiny: Path) -> None:
    Path("base.yaml").write_text(BASE.replace("copy-prior: {}", "copy-prior: 7"))
    with pytest.raises(BenchError, match=r"base.yaml: systems.copy-prior: must be a mapping"):
        loaded("base: base.yaml\nsystems: {copy-prior: {}}")


def test_from_takes_the_options_of_another_plugins_system(tiny: Path) -> None:
    """As a control does, which has the options of what it is a control of."""
    found = loaded("base: base.yaml\nsystems: {other: {use: PARROT2, from: a, skip: [b]}}".replace("PARROT2", TWIN))
    (member,) = found.members
    assert (member.use, member.options) == (TWIN, {"fail": ["test001"], "log": "said.txt", "skip": ["b"]})


def test_a_plugin_that_is_not_in_the_base_has_the_options_given_only(tiny: Path) -> None:
    found = loaded(f"base: base.yaml\nsystems: {{other: {{use: '{TWIN}', skip: [b]}}, constant: }}")
    assert [(entry.use, entry.options) for entry in found.members] == [(TWIN, {"skip": ["b"]}), ("constant", {})]


def test_a_merged_key_may_be_given_again_but_no_key_twice(tiny: Path) -> None:
    text = SWEEP.replace("x1: {", "x1: &x1 {").replace("x2: {" + MEMBER + ", skip: []}", "x2: {<<: *x1, fail: [a]}")
    assert [entry.options["fail"] for entry in loaded(text).members] == [[], ["a"]]
    with pytest.raises(BenchError, match="'fail' is given twice"):
        loaded(text.replace("fail: [a]", "fail: [a], fail: [b]"))


@pytest.mark.parametrize("text", ["", "- a\n", "base: demo\n", "base: demo\nsystems: {}\n"])
def test_a_sweep_without_members_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match=r"s\.yaml"):
        loaded(text)


def test_an_unknown_member_is_named(tiny: Path) -> None:
    with pytest.raises(BenchError, match=r"--only: No member named 'x3'\. Known: x1, x2"):
        sweep.load(str(tiny), only="x1,x3")


def test_bench_run_sends_a_sweep_to_bench_sweep(bench: Bench, tiny: Path) -> None:
    answer = bench("run", "-c", tiny)
    assert answer.code == 2
    assert "bench sweep tiny.yaml" in answer.err


# ------------------------------------------------------------------ the sweeps of the package


EMBEDDED = ("table2", "table2-demo", "table3", "table3-demo")


@pytest.fixture
def mimic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIC_CXR_JPG", "/nowhere")
    monkeypatch.setenv("MIMIC_CXR_REPORTS", "/nowhere")


def saes(name: str) -> dict[str, tuple[float, float]]:
    """Return label → (expansion, λ) of a sweep's members."""
    systems = sweep.load(name).config.resolved["systems"]
    return {label: (s["sae"]["expansion"], s["sae"]["sparsity"]) for label, s in systems.items()}


def published(name: str) -> dict[str, tuple[float, float]]:
    """Return label → (expansion, λ) of a leaderboard's published rows."""
    rows = (row for group in definition(name).groups for row in group.rows)
    return {row.label: (float(row.values["expansion"]), float(row.values["sparsity"])) for row in rows}


def test_the_saes_of_table_2_are_those_of_table_5(mimic: None) -> None:
    printed = {label.replace("×", "x").replace(" ", "-"): values for label, values in published("table5").items()}
    auxiliary = dict.fromkeys(("x64-inds", "x64-inds-prevreps"), printed["x64"])
    assert saes("table2") == {**printed, **auxiliary}
    demo = {
        f"x{int(e) // 16}{'-dense' * ('dense' in label)}": (e / 16, weight) for label, (e, weight) in printed.items()
    }
    assert saes("table2-demo") == demo


def test_the_saes_of_table_3(mimic: None) -> None:
    printed = published("table3")
    assert saes("table3") == {
        "conerly-x64": printed["Conerly et al. (2024) SAE"],
        "sae-rad-x64": printed["SAE-Rad"],
    }
    assert [weight for _, weight in saes("table3-demo").values()] == [weight for _, weight in printed.values()]
    for name in ("table3", "table3-demo"):
        systems = sweep.load(name).config.resolved["systems"].values()
        assert [s["sae"]["architecture"] for s in systems] == ["conerly", "sae-rad"]


def test_the_sweeps_of_the_paper_keep_its_settings(mimic: None) -> None:
    for name in ("table2", "table3"):
        config = sweep.load(name).config
        assert config.dataset.use == "mimic-cxr"
        assert (config.run.limit, config.run.seed, config.split) == (60, 0, "test")
        for system in config.resolved["systems"].values():
            sae = system["sae"]
            assert system["encoder"] == "rad-dino"
            assert (sae["steps"], sae["batch_size"], sae["lr"]) == (200_000, 2048, 5e-5)
            assert (sae["lr_warmup"], sae["lr_decay"], sae["sparsity_warmup"]) == (0.01, 0.2, 0.05)


def test_context_is_what_tells_the_last_rows_of_table_2_apart(mimic: None) -> None:
    systems = sweep.load("table2").config.resolved["systems"]
    assert {label: tuple(s["compose"]["context"]) for label, s in systems.items() if s["compose"]["context"]} == {
        "x64-inds": ("indication",),
        "x64-inds-prevreps": ("indication", "priors"),
    }
    without = [{**s, "compose": {**s["compose"], "context": ()}} for label, s in systems.items() if "x64" in label]
    assert without[0] == without[-1]


def test_the_demos_sweeps_ask_no_language_model() -> None:
    for name in ("table2-demo", "table3-demo"):
        for system in sweep.load(name).config.resolved["systems"].values():
            assert (system["describe"]["by"], system["compose"]["by"]) == ("consensus", "concat")


def test_without_a_file_the_sweeps_of_the_package_are_listed(bench: Bench) -> None:
    answer = bench("sweep")
    assert answer.code == 0
    assert {line.split()[0] for line in answer.out.splitlines()} >= set(EMBEDDED)
    assert all(len(line.split()) > 3 for line in answer.out.splitlines())


@pytest.mark.parametrize(("name", "why"), [("table9", "Did you mean table"), ("./table2.yaml", "cannot be read")])
def test_an_unknown_sweep_is_an_error(bench: Bench, name: str, why: str) -> None:
    answer = bench("sweep", name)
    assert answer.code == 2
    assert why in answer.err


def test_a_file_wins_over_the_package_and_checkouts_hold_the_same() -> None:
    root = Path(sweep.__file__).parent.parent
    named, by_path = (sweep.load(spec) for spec in ("table2-demo", str(root / "configs/ablations/table2-demo.yaml")))
    assert named.config.resolved == by_path.config.resolved
    assert named.default_out == by_path.default_out
    Path("table2-demo").write_text("base: demo\nsystems: {constant: {}}\n")
    assert [entry.label for entry in sweep.load("table2-demo").members] == ["constant"]


def test_a_variable_that_is_not_set_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIMIC_CXR_JPG", raising=False)
    answer = bench("sweep", "table3", "--dry-run")
    assert answer.code == 2
    assert "MIMIC_CXR_JPG" in answer.err


def test_every_sweep_of_the_package_is_valid_and_names_known_tables(mimic: None) -> None:
    from bench.commands.sweep import check_tables

    for name in sweep.names():
        found = sweep.load(name)
        assert found.tables
        check_tables(found)


def test_the_command_imports_click_and_little_else() -> None:
    code = (
        "import sys, bench.commands.sweep; "
        "heavy = {'yaml', 'pydantic', 'numpy', 'rich', 'torch', 'leaderboards'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------ running


def said() -> list[str]:
    return Path("said.txt").read_text().splitlines() if Path("said.txt").exists() else []


def scores(folder: str) -> Any:
    return json.loads(Path(folder, "summary.json").read_text())["scores"]


def test_members_are_run_and_their_tables_printed(bench: Bench, tiny: Path) -> None:
    answer = bench("sweep", tiny, "--out", "o")
    assert answer.code == 0, answer.err
    assert "x1 (1 of 2)" in answer.err
    assert "Word F1" in answer.out
    assert "**Table 1: Report generation" in answer.out
    assert answer.out.count("*Measured: ") == 1
    assert all(f"| {label} " in answer.out.partition("*Measured: ")[2] for label in ("x1", "x2"))
    assert scores("o/x1") == scores("o/x2")
    assert len(said()) == 10


def test_the_members_are_what_bench_run_makes_of_them(bench: Bench, tiny: Path) -> None:
    assert bench("sweep", tiny, "--out", "o").code == 0
    merged = {**yaml.safe_load(BASE), "run": {"bootstrap": 10, "seed": 3}, "systems": {"x1": {"use": PARROT}}}
    merged["dataset"]["n"] = 5
    merged["systems"]["x1"]["log"] = "said.txt"
    Path("one.yaml").write_text(yaml.safe_dump(merged))
    assert bench("run", "-c", "one.yaml", "--out", "r").code == 0
    for name in ("summary.json", "facts.json", "reports.jsonl"):
        lines = [json.loads(line) for line in Path("o/x1", name).read_text().splitlines()] if "jsonl" in name else []
        if not lines:
            assert Path("o/x1", name).read_bytes() == Path("r/x1", name).read_bytes()
            continue
        again = [json.loads(line) for line in Path("r/x1", name).read_text().splitlines()]
        assert [{**line, "seconds": 0} for line in lines] == [{**line, "seconds": 0} for line in again]


def test_the_same_command_repeats_nothing(bench: Bench, tiny: Path) -> None:
    assert bench("sweep", tiny, "--only", "x2").code == 0
    assert len(said()) == 5
    assert bench("sweep", tiny).code == 0
    assert len(said()) == 10
    assert bench("sweep", tiny).code == 0
    assert len(said()) == 10
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("tiny-")


BROKEN = """
from pathlib import Path
from bench.contracts import Report
from bench.errors import BenchError, StorageFault, Unavailable
from bench.options import Options

class Moody:
    class Options(Options):
        mood: str = ""
    def __init__(self, options, context): self.mood = options.mood
    def fingerprint(self): return "moody"
    def prepare(self, train):
        faults = {"bench": BenchError("no weights"), "unavailable": Unavailable("no server", "start it"),
                  "bug": ZeroDivisionError("oops"), "disk": StorageFault("the cache is full"),
                  "full": OSError(28, "No space left on device", "/here"), "odd": OSError(2, "No such file", "/there")}
        if self.mood in faults and not Path("mended").exists(): raise faults[self.mood]
    def generate(self, cases):
        for case in cases:
            with open("asked.txt", "a") as file: file.write(f"{self.mood}\\n")
            yield Report(case.id, "clear")
    def facts(self): return {}
"""


def moody(*moods: str) -> None:
    Path("moody.py").write_text(BROKEN)
    members = {f"m{k}": {"use": "./moody.py:Moody", "mood": mood} for k, mood in enumerate(moods)}
    base = {**yaml.safe_load(BASE), "systems": {"moody": {"use": "./moody.py:Moody"}}}
    Path("base.yaml").write_text(yaml.safe_dump(base))
    Path("s.yaml").write_text(yaml.safe_dump({"base": "base.yaml", "sweep": {"tables": []}, "systems": members}))


def test_a_member_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    moody("bench", "fine", "bug", "bench", "unavailable", "well")
    answer = bench("sweep", "s.yaml", "--out", "o")
    assert answer.code == 2
    assert "Traceback" not in answer.err
    said_at_the_end = answer.err.partition("bench: ")[2]
    assert said_at_the_end.startswith(
        "4 of 6 members of the sweep failed.\nm0, m3: no weights\nm2: preparing m2 failed"
    )
    assert "m4: no server\n  start it" in said_at_the_end
    assert Path("o/m2/error.log").exists()
    assert [Path(f"o/m{k}/done.json").exists() for k in range(6)] == [False, True, False, False, False, True]
    assert "m1" in answer.out
    assert "m0" not in answer.out
    Path("mended").touch()
    again = bench("sweep", "s.yaml", "--out", "o")
    assert again.code == 0, again.err
    asked = Path("asked.txt").read_text().split()
    assert sorted(asked) == sorted(6 * ["bench", "fine", "bug", "bench", "unavailable", "well"])


def test_where_all_fail_no_table_is_shown(bench: Bench) -> None:
    moody("bench")
    answer = bench("sweep", "s.yaml", "--out", "o")
    assert (answer.code, answer.out) == (2, "")
    assert "1 of 1 members" in answer.err


def test_a_cache_at_fault_stops_the_sweep(bench: Bench) -> None:
    moody("disk", "fine")
    answer = bench("sweep", "s.yaml", "--out", "o")
    assert answer.code == 2
    assert answer.err.endswith("bench: the cache is full\n")
    assert not Path("asked.txt").exists()


def test_a_full_disk_stops_the_sweep_and_another_fault_of_a_file_does_not(bench: Bench) -> None:
    moody("odd", "full", "fine")
    answer = bench("sweep", "s.yaml", "--out", "o")
    assert answer.code == 2
    assert answer.err.endswith("bench: /here: No space left on device\n")
    assert "m0 failed: [Errno 2] No such file: '/there'" in answer.err
    assert not Path("asked.txt").exists()
    Path("mended").touch()
    assert bench("sweep", "s.yaml", "--out", "o").code == 0


def test_a_failed_report_fails_the_member_unless_allowed(bench: Bench, tiny: Path) -> None:
    tiny.write_text(SWEEP.replace("fail: [], skip: []", "fail: [test002]"))
    answer = bench("sweep", tiny, "--out", "o")
    assert answer.code == 2
    assert "x2: o/x2: 1 of 5 cases have no report" in answer.err
    assert bench("sweep", tiny, "--out", "o", "--allow-failed").code == 0


def test_a_fault_of_all_members_ends_at_once_and_writes_nothing(bench: Bench, tiny: Path) -> None:
    for more in (["--split", "nowhere"], ["--set", "metrics.words.missing=true", "--strict"]):
        answer = bench("sweep", tiny, "--out", "o", *more)
        assert answer.code == 2
        assert "members" not in answer.err
        assert not Path("o").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_an_out_that_is_a_file_is_refused_before_anything_is_run(bench: Bench, tiny: Path, more: list[str]) -> None:
    Path("afile").write_text("mine")
    answer = bench("sweep", tiny, "--out", "afile", *more)
    assert (answer.code, answer.out) == (2, "")
    assert "--out afile: is a file; name a folder" in answer.err
    assert "members" not in answer.err
    assert Path("afile").read_text() == "mine"


def test_strict_makes_a_missing_value_a_failure_of_the_member(bench: Bench, tiny: Path) -> None:
    answer = bench("sweep", tiny, "--out", "o", "--set", "metrics.words.missing=true")
    assert answer.code == 0
    assert "the dictionary is not installed" in answer.out


@pytest.mark.parametrize("name", ["tabel1", "", "--format"])
def test_an_unknown_table_is_an_error_before_anything_is_run(bench: Bench, tiny: Path, name: str) -> None:
    tiny.write_text(SWEEP.replace("[table1]", f"[table2, '{name}']"))
    answer = bench("sweep", tiny, "--out", "o")
    assert (answer.code, answer.out) == (2, "")
    assert f"sweep.tables: No leaderboard named {name!r}" in answer.err
    assert not Path("o").exists()


def test_a_dry_run_plans_all_members_and_writes_nothing(bench: Bench, tiny: Path) -> None:
    answer = bench("sweep", tiny, "--dry-run", "--out", "o")
    assert answer.code == 0, answer.err
    assert answer.out.count("fingerprint parrot-1") == 2
    assert not Path("o").exists()
    assert said() == []


@pytest.mark.slow
def test_a_dry_run_counts_encoding_once(bench: Bench) -> None:
    small = ["--set", "dataset.images=24", "--set", "dataset.test_images=4"]
    answer = bench("sweep", "table2-demo", "--dry-run", *small)
    assert answer.code == 0, answer.err
    assert answer.out.count("images to encode") == 1
    assert "28 of 28 images to encode" in answer.out
    assert answer.out.count("SAE training: 1,000 steps") == 6


# ------------------------------------------------------------------ kill -9


SMALL = """
base: demo
sweep: {tables: [table2, table5]}
dataset: {images: 48, test_images: 12}
systems:
  x2: {use: sae-rad, sae: &sae {expansion: 2, steps: 60, batch_size: 32, sparsity: 2.0e-3, checkpoint_every_s: 0.05}}
  x1: {use: sae-rad, sae: {<<: *sae, expansion: 1}}
  x2-few: {use: sae-rad, sae: *sae, describe: {images: 4}}
run: {limit: 8, bootstrap: 20}
"""
KILL = """
import os, signal, sys
from pathlib import Path
from bench import store
from systems.encoders.pixels import Pixels
wanted, log = sys.argv[1], Path("encoded.txt")
counts = {}
def tick(event):
    counts[event] = counts.get(event, 0) + 1
    if wanted == f"{event}:{counts[event]}": os.kill(os.getpid(), signal.SIGKILL)
encode, write, replace = Pixels.encode, store.Appender.write, os.replace
def counted_encode(self, images):
    with log.open("a") as file: file.write("".join(f"{image}\\n" for image in images))
    return encode(self, images)
def counted_write(self, *values):
    write(self, *values)
    if self._path.name == "reports.jsonl": tick("report")
def counted_replace(source, target, **more):
    replace(source, target, **more)
    if Path(target).name == "sae.safetensors": tick("trained")
Pixels.encode, store.Appender.write, os.replace = counted_encode, counted_write, counted_replace
from bench.cli import main
main(sys.argv[2:])
"""


def members(folder: Path) -> dict[str, Any]:
    """Return what the members' folders hold that must not depend on a kill."""
    found = {}
    for label in ("x2", "x1", "x2-few"):
        lines = [json.loads(line) for line in (folder / label / "reports.jsonl").read_text().splitlines()]
        found[label] = (
            json.loads((folder / label / "summary.json").read_text()),
            json.loads((folder / label / "facts.json").read_text()),
            [{**line, "seconds": 0} for line in lines],
        )
    return found


@pytest.mark.slow
def test_killed_and_continued_equals_uninterrupted(tmp_path: Path) -> None:
    """Killed as the first training ends and among the reports of the second member; what is shared is made once."""
    Path("s.yaml").write_text(SMALL)
    results = {}
    for name, kills in (("whole", []), ("killed", ["trained:1", "report:12"])):
        cache = tmp_path / f"cache-{name}"
        environment = {**os.environ, "BENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        for event in [*kills, "none"]:
            command = [sys.executable, "-c", KILL, event, "sweep", "s.yaml", "--out", name, "--metrics", "radfact"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == (0 if event == "none" else -9), (event, done.stderr)
        assert done.stdout.count("*Measured: demo test, 8 cases") == 2
        assert len(list((cache / "sae").iterdir())) == 2
        results[name] = members(Path(name))
    assert results["whole"] == results["killed"]
    encoded = Path("encoded.txt").read_text().splitlines()
    assert len(encoded) == 2 * 56
