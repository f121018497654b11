"""``bench plot`` and pictures of leaderboards: what is drawn, how it is laid out, what is refused."""

from __future__ import annotations

import csv
import json
import math
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import store
from bench.compare import Settings
from bench.contracts import FAILED, OK, Column, Pair, Stats
from bench.errors import BenchError
from bench.options import Options
from bench.plots import correlation, forest, length, picture, radar, scales
from bench.plots import runs as reading

pytest.importorskip("matplotlib")

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.plots import style
from leaderboards import figures
from leaderboards.model import Cell, ColumnSpec, Group, Row, Table

Bench = Callable[..., Any]
SIGNATURE = "m|case:mixed|v:1"

# ------------------------------------------------------------------ runs made here


def score(value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "value": value, "ci_low": low, "ci_high": high, "n": 4, "n_undefined": 0, "n_failed": 0, "scale": 100.0,
        "decimals": 1, "heading": more.pop("heading", ""), "higher_is_better": True, "signature": SIGNATURE, **more,
    }  # fmt: skip


def a_run(label: str, scores: Mapping[str, Any], *, at: str = "runs", n: int = 4, salt: str = "", **more: Any) -> Path:
    """Write a finished run with these scores; the salt changes its references."""
    folder = Path(at) / (f"r{sum(map(ord, label))}-{len(label)}")
    folder.mkdir(parents=True)
    settings = {"bootstrap": 1000, "confidence": 0.95, "cluster": "group", "seed": 0} | more.pop("settings", {})
    store.write_json(folder / "run.json", {"config": {"metrics": {}}, **more})
    about = {"label": label, "dataset": "tiny", "split": "test", "run": settings, "scores": scores}
    store.write_json(folder / "summary.json", about)
    cases = [{"id": f"c{i}", "group": f"p{i // 2}", "reference": f"reference {i}{salt}"} for i in range(n)]
    store.write_text(folder / "cases.jsonl", "".join(map(store.json_line, cases)))
    reports = [{"id": f"c{i}", "text": f"report {i}"} for i in range(n)]
    store.write_text(folder / "reports.jsonl", "".join(map(store.json_line, reports)))
    store.write_json(folder / "done.json", {})
    return folder


def two(**more: Any) -> list[reading.Scored]:
    a = a_run("a", {"X": score(0.5, 0.4, 0.6), "Y": score(2.0, 1.5, 2.25, scale=1.0, higher_is_better=False)})
    b = a_run("b", {"X": score(0.25, 0.2, 0.3), "Y": score(1.0, 0.5, 1.5, scale=1.0, higher_is_better=False)}, **more)
    return reading.read([a, b])


class ValueOptions(Options):
    recipe: str = "plain"


class Value:
    """Reads its scores from the first two words: "0.5 3 and more words"; "fail" fails in the second column."""

    Options = ValueOptions
    columns = (
        Column("Val", "Value"),
        Column("Cost", "Cost", scale=1.0, higher_is_better=False),
        Column("Flat", "Flat"),
    )

    def __init__(self, options: ValueOptions, context: Any) -> None:
        self.options = options

    def signature(self) -> str:
        return f"value|recipe:{self.options.recipe}"

    def observe(self, pairs: Sequence[Pair]) -> Stats:
        values, status = np.zeros((len(pairs), 6)), np.full((len(pairs), 3), OK, np.int8)
        for row, pair in enumerate(pairs):
            first, second = pair.candidate.split()[:2]
            values[row] = float(first), 1, 0, 0, 0.5, 1
            if second == "fail":
                status[row, 1] = FAILED
            else:
                values[row, 2:4] = float(second), 1
        return Stats(values, status)

    def finish(self, totals: np.ndarray) -> np.ndarray:
        total, count = totals[..., 0::2], totals[..., 1::2]
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    def explain(self, pair: Pair) -> list[Any]:
        return []


VALUE = f"{Path(__file__)}:Value"


@pytest.fixture
def scored(bench: Bench) -> Callable[..., Path]:
    """Score candidates into a run folder, two cases a patient unless told."""

    def call(label: str, candidates: Sequence[str], *more: str, groups: Sequence[str] | None = None) -> Path:
        with Path("table.csv").open("w", newline="") as file:
            rows = [
                (f"c{i}", groups[i] if groups else f"p{i // 2}", candidate, "two words" + " more" * (i % 5))
                for i, candidate in enumerate(candidates)
            ]
            csv.writer(file).writerows([("id", "group", "candidate", "reference"), *rows])
        folder = Path("runs") / label
        answer = bench("score", "table.csv", "--metrics", VALUE, "--out", folder, "--label", label, *more)
        assert answer.code == 0, answer.err
        return folder

    return call


VARIED = [f"{(i * 7 % 11) / 10} {i * 5 % 13}" + " word" * (i * 3 % 8) for i in range(24)]

# ------------------------------------------------------------------ looking at figures


def drawn(make: Callable[[], Figure]) -> Figure:
    """Return the figure after it has been laid out as it is written."""
    with style.styled():
        figure = make()
        figure.canvas.draw()
    return figure


def texts(figure: Figure) -> list[Text]:
    """Return all text that is drawn."""
    found = list(figure.texts)
    for axes in figure.axes:
        found += axes.texts
        if axes.axison:
            found += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    return [text for text in found if text.get_visible() and text.get_text()]


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in texts(figure))


def check_layout(figure: Figure) -> None:
    """All text lies within the figure, and no two overlap, none is smaller than 5 points."""
    with style.styled():
        boxes = [(text.get_window_extent(), text) for text in texts(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    for box, text in boxes:
        assert min(box.x0, box.y0) >= -0.5, text
        assert max(box.x1 - width, box.y1 - height) <= 0.5, text
        assert text.get_fontsize() >= 5, text
        assert not text.get_parse_math()
    for (one, first), (other, second) in combinations(boxes, 2):
        overlap = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(overlap) < 1.0, f"{first.get_text()!r} on {second.get_text()!r}"


def points(axes: Any) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]


def bars(axes: Any) -> list[tuple[float, float]]:
    found = [c for c in axes.collections if isinstance(c, LineCollection) and c.get_gid() == "interval"]
    return [tuple(float(v) for v in one.get_segments()[0][:, 0]) for one in found]


# ------------------------------------------------------------------ forest


def test_a_forest_draws_the_summarys_values_and_intervals() -> None:
    found = forest.of_runs(two())
    figure = drawn(lambda: forest.draw(found, 89))
    x, y = figure.axes
    assert (x.get_label(), y.get_label()) == ("X", "Y")
    assert points(x) == pytest.approx([50, 25])
    assert bars(x) == [pytest.approx((40, 60)), pytest.approx((20, 30))]
    assert points(y) == pytest.approx([2, 1])  # scale 1
    assert bars(y) == [pytest.approx((1.5, 2.25)), pytest.approx((0.5, 1.5))]
    shown = words(figure)
    assert "X ↑" in shown
    assert "Y ↓" in shown
    assert shown.count("better →") == shown.count("← better") == 1
    assert "tiny test: 4 cases of 2 patients" in shown
    assert "95% intervals (1,000 resamples of patients)" in shown
    assert "Dashed line: a" in shown
    assert "X × 100" in shown
    assert "Y × 1" in shown
    check_layout(figure)
    assert figure.get_figwidth() * 25.4 == pytest.approx(89)
    first = found.numbers[0]
    assert (first["value"], first["ci_low"], first["ci_high"]) == pytest.approx((50, 40, 60))


def test_the_rows_of_a_forest_stand_beside_their_labels() -> None:
    figure = drawn(lambda: forest.draw(forest.of_runs(two()), 89))
    middles = {
        text.get_text(): text.get_window_extent().y0 + text.get_window_extent().height / 2 for text in texts(figure)
    }
    for axes in figure.axes:
        rows = [axes.transData.transform((0, line.get_ydata()[0]))[1] for line in axes.lines]
        assert rows == pytest.approx([middles["a"], middles["b"]], abs=2.5)


def test_the_baseline_is_a_line_through_its_block_only() -> None:
    runs = [*two(), *reading.read([a_run("c", {"X": score(0.75)}, at="other", salt="!")])]
    figure = drawn(lambda: forest.draw(forest.of_runs(runs, baseline="b", metrics="X"), 89))
    (axes,) = figure.axes
    (line,) = [c for c in axes.collections if isinstance(c, LineCollection) and "--" not in str(c.get_linestyle()) and
               c.get_linestyle()[0][1] is not None]  # fmt: skip
    ((x0, y0), (x1, y1)) = line.get_segments()[0]
    assert x0 == x1 == pytest.approx(25)
    rows = [float(one.get_ydata()[0]) for one in axes.lines]
    assert min(y0, y1) < rows[0] < rows[1] < max(y0, y1) < rows[2]
    assert points(axes) == pytest.approx([25, 50, 75])  # the baseline first


def test_other_cases_stand_in_a_block_of_their_own() -> None:
    """Equal labels of two populations, and headings that read alike, are told apart."""
    runs = reading.read([a_run("a", {"X": score(0.5)}), a_run("a", {"X": score(0.4)}, at="other", salt="!")])
    found = forest.of_runs(runs)
    assert [[row.label for row in block.rows] for block in found.blocks] == [["a"], ["a"]]
    headings = [block.heading for block in found.blocks]
    assert headings[0] != headings[1]
    assert all(h.startswith("tiny test: 4 cases of 2 patients (cases ") for h in headings)
    figure = drawn(lambda: forest.draw(found, 89))
    assert "compare within a block only" in words(figure)
    check_layout(figure)


def test_what_is_scored_otherwise_is_hollow_and_told() -> None:
    other = score(0.3, signature="m|case:lc|v:1")
    runs = reading.read([a_run("a", {"X": score(0.5)}), a_run("b", {"X": other}), a_run("c", {"X": score(0.2)})])
    found = forest.of_runs(runs)
    figure = drawn(lambda: forest.draw(found, 89))
    faces = {round(float(line.get_xdata()[0])): line.get_markerfacecolor() for line in figure.axes[0].lines}
    assert faces[30] == "white"
    assert faces[50] != "white"
    assert faces[20] != "white"
    assert "Hollow a: X scored otherwise, not comparable with filled: case:lc instead of case:mixed." in found.notes
    assert [t.get_text() for t in figure.axes[0].texts] == ["a"]
    assert [row["not_comparable"] for row in found.numbers] == ["", "a", ""]
    check_layout(figure)


def test_missing_values_are_dashes_with_their_reasons() -> None:
    none = score(None, reason="no server", remedy="start it")
    runs = reading.read([a_run("a", {"X": score(0.5), "Y": none}), a_run("b", {"X": score(0.5, n=2, n_failed=2)})])
    found = forest.of_runs(runs)
    figure = drawn(lambda: forest.draw(found, 89))
    assert [text.get_text() for text in figure.axes[1].texts] == ["–", "–"]
    assert "– Y of a: no server" in found.notes
    assert "– Y of b: not among the run's metrics" in found.notes
    assert "b: X: 2 of 4 cases without a verdict, left out" in found.notes
    check_layout(figure)


NASTY = [
    "$x_1$ \\frac{1}{2}", "_leading_underscore", "a" * 150, "name with many words " * 8, "<b>&amp;</b>", "Ωμέγα Привет",
    "\u202eevil\x07\nline", "100 %", "^{a}$b$", "e\u0301" * 60, "$$", "-1",
]  # fmt: skip


def test_twelve_runs_with_nasty_labels_and_columns() -> None:
    keys = ["$BL_4$", "x/Ma-14", "a very long column's heading of many words", "W" * 40, "p%", "μ"]
    folders = [
        a_run(label, {key: score(0.1 * (i + 1) % 1, 0.05, 0.99) for key in keys}, at=f"r{i}")
        for i, label in enumerate(NASTY)
    ]
    runs = reading.read(folders)
    for width in (60, 183):
        figure = drawn(lambda: forest.draw(forest.of_runs(runs), width))  # noqa: B023
        check_layout(figure)
    shown = words(figure)
    assert "$x_1$ \\frac{1}{2}" in shown
    assert "_leading_underscore" in shown
    assert "$$" in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    assert "…" in shown  # of the longest
    assert picture.render(lambda: forest.draw(forest.of_runs(runs), 89), ".svg", "t")
    check_layout(drawn(lambda: radar.draw(radar.of_runs(runs), 183)))


@pytest.mark.parametrize("value", [0.0, 1e-7, 1e9, -5.0])
def test_one_run_whose_values_are_all_the_same(value: float) -> None:
    runs = reading.read([a_run("only", {"X": score(value, value, value)})])
    figure = drawn(lambda: forest.draw(forest.of_runs(runs), 89))
    low, high = figure.axes[0].get_xlim()
    assert low < value * 100 < high
    assert bars(figure.axes[0]) == [pytest.approx((value * 100, value * 100))]
    assert "Dashed" not in words(figure)
    check_layout(figure)


def test_differences_are_those_of_bench_compare(scored: Callable[..., Path]) -> None:
    better = [f"{float(c.split()[0]) + 0.3} {float(c.split()[1]) - 1}" for c in VARIED]
    runs = reading.read([scored("base", VARIED), scored("better", better)])
    found = forest.differences(runs, Settings(400, 400))
    figure = drawn(lambda: forest.draw(found, 89))
    value, cost, flat = figure.axes
    assert points(value) == pytest.approx([30])
    assert points(cost) == pytest.approx([-1])
    assert points(flat) == [0]
    assert value.lines[0].get_markerfacecolor() != "white"
    assert flat.lines[0].get_markerfacecolor() == "white"
    assert "Cost ↓" in words(figure)
    assert "← better" in words(figure)
    assert [row["significant"] for row in found.numbers] == [True, True, False]
    check_layout(figure)
    with pytest.raises(BenchError, match="one run alone"):
        forest.differences(runs[:1], Settings(10, 10))


# ------------------------------------------------------------------ radar


def three(at: str = "runs", **more: Any) -> list[reading.Scored]:
    keys = ("X", "Y", "Z")
    a = {key: score(v, v - 0.05, v + 0.05) for key, v in zip(keys, (0.5, 0.41, 0.3), strict=True)}
    b = {key: score(v) for key, v in zip(keys, (0.1, 0.2, 0.3), strict=True)}
    a["Cost"] = score(2.0, 1.0, 3.0, scale=1.0, higher_is_better=False)
    b["Cost"] = score(1.0, scale=1.0, higher_is_better=False)
    return reading.read([a_run("a", a, at=at), a_run("b", b, at=at, **more)])


def test_a_radar_prints_its_scales_and_turns_what_is_better_low() -> None:
    found = radar.of_runs(three())
    ends = {spoke.key: (spoke.centre, spoke.rim) for spoke in found.spokes}
    assert ends == {"X": (0, 60), "Y": (0, 50), "Z": (0, 40), "Cost": (3, 0)}
    assert [spoke.key for spoke in found.spokes] == ["Cost", "X", "Y", "Z"]
    figure = drawn(lambda: radar.draw(found, 89))
    shown = words(figure)
    assert "0 → 60" in shown
    assert "3 → 0" in shown
    assert "Cost ↓" in shown
    assert "X ↑" in shown
    check_layout(figure)
    (axes,) = figure.axes
    (line,) = [one for one in axes.lines if one.get_gid() == "run-0"]
    radii = [math.hypot(x, y) for x, y in zip(*line.get_data(), strict=True)]
    assert radii == pytest.approx([1 / 3, 50 / 60, 41 / 50, 30 / 40, 1 / 3])
    assert line.get_xdata()[1] > 0
    assert line.get_ydata()[0] > 0
    bands = [patch for patch in axes.patches if str(patch.get_gid()).startswith("band-0")]
    assert len(bands) == 4
    assert [math.hypot(x, y) for x, y in bands[1].get_xy()[:4]] == pytest.approx([45 / 60, 55 / 60, 46 / 50, 36 / 50])
    assert not [patch for patch in axes.patches if str(patch.get_gid()).startswith("band-1")]
    styles = {(one.get_color(), one.get_marker(), str(one.get_linestyle())) for one in axes.lines if one.get_gid()}
    assert len(styles) == 2
    assert len({marker for _, marker, _ in styles}) == 2


def test_a_radar_with_a_common_scale() -> None:
    found = radar.of_runs(three(), metrics="X,Y,Z", scale="common")
    assert {(spoke.centre, spoke.rim) for spoke in found.spokes} == {(0, 60)}
    with pytest.raises(BenchError, match="different scales or directions"):
        radar.of_runs(three("again"), scale="common")


def test_a_gap_in_a_radar_stays_a_gap() -> None:
    scores = {key: score(0.5) for key in "XYZ"}
    runs = reading.read([a_run("a", scores), a_run("b", {**scores, "Y": score(None, reason="no server")})])
    found = radar.of_runs(runs)
    figure = drawn(lambda: radar.draw(found, 89))
    (line,) = [one for one in figure.axes[0].lines if one.get_gid() == "run-1"]
    assert np.isnan(line.get_xdata()).tolist() == [False, True, False, False]
    assert "– Y of b: no server" in found.notes


def test_more_than_four_runs_stand_side_by_side() -> None:
    runs = reading.read([a_run(f"run {i}", {key: score(0.1 * i) for key in "XYZ"}) for i in range(6)])
    figure = drawn(lambda: radar.draw(radar.of_runs(runs), 89))
    assert len(figure.axes) == 5
    assert "Grey, dashed: run 0" in words(figure)
    assert "X 0 → 50" in words(figure) or "0 → 50" in words(figure)
    check_layout(figure)


def test_what_a_radar_refuses() -> None:
    runs = two()
    with pytest.raises(BenchError, match="needs 3 columns"):
        radar.of_runs(runs)
    here = {key: score(0.5) for key in "XYZ"}
    one = reading.read([a_run("one", here, at="x")])
    elsewhere = reading.read([a_run("c", here, at="y", salt="!")])
    with pytest.raises(BenchError, match=r"on the same cases.*bench plot forest"):
        radar.of_runs([*one, *elsewhere])
    lower = reading.read([a_run("lc", {**here, "Y": score(0.5, signature="m|case:lc|v:1")}, at="z")])
    with pytest.raises(BenchError, match=r"Y: lc scored otherwise than one: case:lc instead of case:mixed"):
        radar.of_runs([*one, *lower])
    many = reading.read([a_run("m", {f"a long name {i}": score(0.5) for i in range(40)}, at="w")])
    with pytest.raises(BenchError, match=r"40 axes do not fit .* --width"):
        drawn(lambda: radar.draw(radar.of_runs(many), 60))


# ------------------------------------------------------------------ correlation


@pytest.mark.parametrize("coefficient", ["spearman", "kendall"])
def test_correlations_are_scipys(scored: Callable[..., Path], coefficient: correlation.Coefficient) -> None:
    stats = pytest.importorskip("scipy.stats")
    folder = scored("a", [*VARIED, "0.4 fail"])
    found = correlation.of_runs(reading.read([folder]), coefficient=coefficient, metrics="Val,Cost", draws=200)
    x = [float(c.split()[0]) for c in VARIED]
    y = [-float(c.split()[1]) for c in VARIED]  # turned
    oracle = (stats.spearmanr if coefficient == "spearman" else stats.kendalltau)(x, y).statistic
    cell = found.cells[1, 0]
    assert cell.value == pytest.approx(oracle)
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < oracle < cell.high
    assert (cell.n, cell.n_groups) == (24, 12)
    figure = drawn(lambda: correlation.draw(found, 89))
    assert f"{oracle:.2f}".replace("-", "−") in words(figure)
    assert "Turned, since lower is better: Cost." in words(figure)
    assert "a: Cost: 1 case without a value." in found.notes
    check_layout(figure)
    row = found.numbers[0]
    assert (row["column"], row["other"], row["value"], row["n"]) == ("Val", "Cost", cell.value, 24)
    assert (row["column_turned"], row["other_turned"]) == (False, True)


def test_a_correlation_with_what_never_changes_is_undefined(scored: Callable[..., Path]) -> None:
    found = correlation.of_runs(reading.read([scored("a", VARIED)]), metrics="Val,Cost,Flat", draws=50)
    assert found.cells[1, 0].value is not None
    assert found.cells[2, 0].value is None
    assert found.cells[2, 1].value is None
    assert "– undefined: all cases have the same value in Flat." in found.notes
    figure = drawn(lambda: correlation.draw(found, 89))
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 2
    assert [t.get_text() for t in figure.axes[0].texts].count("–") == 2


def test_runs_of_the_same_cases_share_their_patients(scored: Callable[..., Path]) -> None:
    runs = reading.read([scored("a", VARIED), scored("b", VARIED[::-1])])
    found = correlation.of_runs(runs, draws=50)
    assert (found.cells[1, 0].n, found.cells[1, 0].n_groups) == (48, 12)
    assert any("differences between systems count too" in note for note in found.notes)


def test_runs_on_other_cases_share_the_patients_of_their_dataset(scored: Callable[..., Path]) -> None:
    folders = [scored("a", VARIED), scored("b", VARIED[:12])]  # b: the first six patients
    for datasets, patients in ((("tiny", "tiny"), 12), (("tiny", "another"), 18)):
        for folder, dataset in zip(folders, datasets, strict=True):
            summary = store.read_json(folder / "summary.json")
            store.write_json(folder / "summary.json", {**summary, "dataset": dataset})
        cell = correlation.of_runs(reading.read(folders), draws=50).cells[1, 0]
        assert (cell.n, cell.n_groups) == (36, patients)


def test_a_single_case_and_a_single_patient(scored: Callable[..., Path]) -> None:
    one = correlation.of_runs(reading.read([scored("one", VARIED[:1])]), draws=50)
    assert one.cells[1, 0].value is None
    check_layout(drawn(lambda: correlation.draw(one, 89)))
    same = correlation.of_runs(reading.read([scored("same", VARIED, groups=["p"] * 24)]), metrics="Val,Cost", draws=50)
    assert same.cells[1, 0].value is not None
    assert same.cells[1, 0].low is None


def test_what_a_correlation_refuses(scored: Callable[..., Path]) -> None:
    a, b = scored("a", VARIED), scored("b", VARIED, "--set", "metrics.Value.recipe=other")
    with pytest.raises(BenchError, match=r"Cost: b scored otherwise than a: recipe:other instead of recipe:plain"):
        correlation.of_runs(reading.read([a, b]))
    with pytest.raises(BenchError, match="needs two columns"):
        correlation.of_runs(reading.read([a]), metrics="Val")
    with pytest.raises(BenchError, match=r"--metrics.*'Vals'.*Val"):
        correlation.of_runs(reading.read([a]), metrics="Val,Vals")
    names = tuple(f"column {i}" for i in range(20))
    cells = {(i, j): correlation.Cell(-0.5, None, None, 5, 5, 0) for i in range(20) for j in range(i)}
    large = correlation.Correlation("spearman", names, (False,) * 20, cells, "", (), ())
    with pytest.raises(BenchError, match="20 columns do not fit"):
        correlation.draw(large, 89)
    check_layout(drawn(lambda: correlation.draw(large, 183)))


# ------------------------------------------------------------------ length


def test_scores_against_length(scored: Callable[..., Path]) -> None:
    found = length.of_runs(reading.read([scored("a", [*VARIED, "0.4 fail"])]), "Cost", bins=3, draws=100)
    (trend,) = found.trends
    assert (len(trend.words), trend.n_lost) == (24, 1)
    own = sorted((len(c.split()), float(c.split()[1])) for c in VARIED)
    assert list(zip(trend.words.tolist(), trend.values.tolist(), strict=True)) == own
    assert sum(one.n for one in trend.bins) == 24
    assert len(trend.bins) == 3
    for one in trend.bins:
        inside = [value for words_, value in own if one.shortest <= words_ <= one.longest]
        assert one.mean == pytest.approx(np.mean(inside))
        assert one.n == len(inside)
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.mean <= one.high
    figure = drawn(lambda: length.draw(found, 89))
    (axes,) = figure.axes
    cases, line = axes.lines
    assert cases.get_ydata().tolist() == trend.values.tolist()
    assert line.get_xydata().tolist() == [[one.middle, one.mean] for one in trend.bins]
    assert "Cost ↓" in words(figure)
    assert "words of the report" in words(figure)
    assert "n = 24, ρ = " in words(figure)
    check_layout(figure)
    assert {row["what"] for row in found.numbers} == {"spearman", "bin", "case"}
    assert not any("id" in row or "group" in row for row in found.numbers)


def test_length_of_the_reference_without_points(scored: Callable[..., Path]) -> None:
    runs = reading.read([scored("a", VARIED), scored("b", VARIED[::-1])])
    found = length.of_runs(runs, "Val", side="reference", points=False, draws=50)
    assert {row["what"] for row in found.numbers} == {"spearman", "bin"}
    assert set(found.trends[0].words.tolist()) == {2, 3, 4, 5, 6}
    figure = drawn(lambda: length.draw(found, 183))
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    check_layout(figure)


def test_lengths_that_are_all_the_same_and_few_cases(scored: Callable[..., Path]) -> None:
    found = length.of_runs(reading.read([scored("a", ["0.5 1"] * 12)]), "Val", draws=20)
    assert len(found.trends[0].bins) == 1
    assert found.trends[0].rho is None
    assert "ρ undefined" in words(drawn(lambda: length.draw(found, 60)))
    single = length.of_runs(reading.read([scored("b", ["0.5 1"])]), "Val", draws=20)
    assert single.trends[0].bins[0].low is None
    check_layout(drawn(lambda: length.draw(single, 60)))
    nothing = length.of_runs(reading.read([scored("c", ["0.5 fail", "0.2 1"])]), "Cost", draws=20)
    assert len(nothing.trends[0].words) == 1
    with pytest.raises(BenchError, match=r"--metric: .*'Vall'.*Val"):
        length.of_runs(reading.read([Path("runs/a")]), "Vall")


def test_the_bins_of_lengths() -> None:
    lengths = np.sort(np.array([3] * 50 + [5] * 3 + list(range(10, 57))))
    places = length._places(lengths, 6)
    assert places.tolist() == sorted(places.tolist())
    assert places[0] == 0
    counts = np.bincount(places)
    assert (counts >= length.FEWEST).all()
    assert counts.sum() == 100
    for one in np.unique(lengths):
        assert len(set(places[lengths == one].tolist())) == 1


# ------------------------------------------------------------------ leaderboards


def a_table(*groups: Group, notes: tuple[str, ...] = ()) -> Table:
    columns = (
        ColumnSpec(key="x", heading="X", score="X", better="higher"),
        ColumnSpec(key="p", heading="Parameters", fact="n", better="lower", style="compact"),
    )
    return Table("t", "A table of $x$", columns, groups, notes)


def published(label: str, *cells: str, population: str = "all images", n: int | None = 3403) -> Row:
    return Row(label, "published", "s", population, "MIMIC-CXR", "test", n, tuple(map(Cell, cells)))


def test_a_leaderboard_as_a_picture() -> None:
    measured = Row("ours", "measured", "f", "p", "demo", "test", 10, (Cell("48.7", "42.5", "54.5", "sig"), Cell("–")))
    table = a_table(
        Group("Paper", (published("A", "37.2", "76M"), published("B", "30.0", "8B"))),
        Group("Measured: demo", (measured,)),
        notes=("A note",),
    )  # fmt: skip
    found = figures.of_table(table)
    figure = drawn(lambda: forest.draw(found, 183))
    x, parameters = figure.axes
    assert points(x) == pytest.approx([37.2, 30.0, 48.7])
    assert bars(x) == [pytest.approx((42.5, 54.5))]
    assert points(parameters) == pytest.approx([math.log10(76e6), math.log10(8e9)])
    assert [line.get_marker() for line in x.lines] == ["s", "s", "o"]
    shown = words(figure)
    assert "Paper (published): MIMIC-CXR test – n=3,403, all images" in shown
    assert "A table of $x$" in shown
    assert "A note" in shown
    assert "Numbers are compared within a block only." in shown
    check_layout(figure)


def test_published_rows_on_different_images_say_so() -> None:
    rows = (published("A", "37.2", "1"), published("B", "30.0", "2", population="60 images", n=60))
    found = figures.of_table(a_table(Group("Paper", rows)))
    (block,) = found.blocks
    assert [row.label for row in block.rows] == ["A (MIMIC-CXR test, n=3,403)", "B (MIMIC-CXR test, n=60)"]
    assert [row.points[0].hollow for row in block.rows] == [False, True]
    assert any("hollow" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "value"),
    [("37.2", 37.2), ("$3.25", 3.25), ("239,931", 239931), ("76M", 76e6), ("8.0e-3", 0.008), ("NA", None), ("–", None),
     ("3 ± 1", None), ("-2", -2)],
)  # fmt: skip
def test_printed_numbers(text: str, value: float | None) -> None:
    assert figures._parsed(text) == value


def test_bench_leaderboard_writes_pictures(bench: Bench) -> None:
    answer = bench("leaderboard", "table5", "--out", "t.png")
    assert answer.code == 0, answer.err
    assert Path("t.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["table4", "today"])
def test_the_papers_tables_are_laid_out_well(name: str) -> None:
    from leaderboards.tables import build

    check_layout(drawn(lambda: forest.draw(figures.of_table(build(name)), figures.WIDTH)))


# ------------------------------------------------------------------ the command


def test_the_command_writes_picture_and_numbers(bench: Bench) -> None:
    two()
    answer = bench("plot", "forest", "runs", "--out", "f.svg", "--width", "double")
    assert answer.code == 0, answer.err
    assert "Written: f.svg, f.csv" in answer.err
    assert "Points: scores" in answer.err
    svg = Path("f.svg").read_text()
    assert ">X ↑</text>" in svg
    assert "<dc:date>" not in svg
    rows = list(csv.DictReader(Path("f.csv").read_text().splitlines()))
    assert [(row["run"], row["column"], float(row["value"])) for row in rows][:2] == [("a", "X", 50), ("a", "Y", 2)]
    assert bench("plot", "forest", "runs", "--out", "g.csv").code == 0
    assert Path("g.csv").read_bytes() == Path("f.csv").read_bytes()
    assert bench("plot", "forest", "runs", "--out", "h.png", "--data", "numbers.csv").code == 0
    assert Path("numbers.csv").exists()
    assert not Path("h.csv").exists()


@pytest.mark.parametrize("suffix", picture.PICTURES)
def test_the_same_numbers_give_the_same_bytes(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    found = forest.of_runs(two())
    first = picture.render(lambda: forest.draw(found, 89), suffix, "t")
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)  # a user's own settings change nothing
    monkeypatch.setitem(mpl.rcParams, "text.color", "red")
    assert picture.render(lambda: forest.draw(found, 89), suffix, "t") == first
    if suffix == ".pdf":
        assert b"/CreationDate" not in first
        assert b"/CIDFontType2" in first
        assert b"/Type3" not in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forest", "runs", "--out", "f.jpg"], "the suffix tells no format"),
        (["forest", "runs", "--out", "f"], "the suffix tells no format"),
        (["forest", "runs", "--out", "none/f.png"], "there is no folder none"),
        (["forest", "runs", "--out", "f.png", "--data", "f.txt"], "must end in .csv"),
        (["forest", "runs", "--out", "f.csv", "--data", "g.csv"], "holds the numbers already"),
        (["forest", "runs", "--out", "f.png", "--width", "3"], "not within 60 and 1000 mm"),
        (["forest", "runs", "--out", "f.png", "--width", "nan"], "not within 60 and 1000 mm"),
        (["forest", "runs", "--out", "f.png", "--width", "wide"], "neither single, double"),
        (["forest", "absent", "--out", "f.png"], "absent: no such folder"),
        (["forest", "runs", "--out", "f.png", "--baseline", "bb"], "--baseline: "),
        (["forest", "runs", "--out", "f.png", "--metrics", "XX"], "--metrics: "),
        (["forest", "runs", "--out", "f.png", "--metrics", " ,"], "names no column"),
        (["forest", "runs", "--out", "f.png", "--draws", "5"], "--draws is for --differences"),
        (["radar", "runs", "--out", "f.png"], "needs 3 columns"),
        (["correlation", "runs", "--out", "f.png"], "needs two columns with values of single cases"),
        (["length", "runs", "--out", "f.png", "--metric", "X"], "no run has values of single cases"),
    ],
)
def test_what_the_command_refuses(bench: Bench, arguments: list[str], message: str) -> None:
    two()
    answer = bench("plot", *arguments)
    assert answer.code == 2
    assert message in " ".join(answer.err.split())
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_damaged_and_unfinished_runs(bench: Bench) -> None:
    folder = a_run("a", {"X": score(0.5)})
    summary = json.loads((folder / "summary.json").read_text())
    for key, bad in (("ci_low", "low"), ("scale", None), ("higher_is_better", "yes")):
        store.write_json(folder / "summary.json", {**summary, "scores": {"X": {**summary["scores"]["X"], key: bad}}})
        answer = bench("plot", "forest", "runs", "--out", "f.png")
        assert answer.code == 2
        assert "summary.json" in answer.err
        assert f"X.{key}" in answer.err
    (folder / "summary.json").write_text(json.dumps(summary).replace("0.5", "NaN"))
    assert "finite number" in bench("plot", "forest", "runs", "--out", "f.png").err
    (folder / "done.json").unlink()
    assert "not finished" in bench("plot", "forest", "runs", "--out", "f.png").err


def test_intervals_of_different_kinds_do_not_stand_side_by_side(bench: Bench) -> None:
    two(settings={"confidence": 0.9})
    answer = bench("plot", "forest", "runs", "--out", "f.png")
    assert answer.code == 2
    assert "a: 95% over patients; b: 90% over patients" in answer.err


def test_the_same_column_that_is_shown_otherwise_is_refused() -> None:
    runs = reading.read([a_run("a", {"X": score(0.5)}), a_run("b", {"X": score(0.5, scale=1.0)})])
    with pytest.raises(BenchError, match="shown otherwise"):
        forest.of_runs(runs)


def test_files_of_credentialed_runs_are_private(bench: Bench, scored: Callable[..., Path]) -> None:
    folder = scored("a", VARIED)  # not --public: may be credentialed
    os.umask(0o022)
    answer = bench("plot", "length", folder, "--metric", "Val", "--out", "l.png")
    assert answer.code == 0
    assert "Credentialed data" in answer.err
    for name in ("l.png", "l.csv"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    held = Path("l.csv").read_text()
    assert "c0" not in held
    assert "p0" not in held
    assert "word word" not in held


@pytest.mark.parametrize(("said", "private"), [(False, False), (True, True), (None, True), (0, True), ("unsaid", True)])
def test_only_what_says_that_it_is_public_is(said: Any, private: bool) -> None:
    more = {} if said == "unsaid" else {"credentialed": said}
    runs = reading.read([a_run("a", {"X": score(0.5)}, **more)])
    assert reading.credentialed(run.run for run in runs) is private


def test_a_plugins_dataset_is_named_without_its_folder() -> None:
    folder = a_run("a", {"X": score(0.5)})
    summary = store.read_json(folder / "summary.json")
    store.write_json(folder / "summary.json", {**summary, "dataset": "/home/someone/plug.py:World"})
    (run,) = reading.read([folder])
    assert run.population == "plug.py:World test: 4 cases of 2 patients"


def test_without_matplotlib_numbers_can_still_be_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    two()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = bench("plot", "forest", "runs", "--out", "f.png")
    assert answer.code == 2
    assert "pip install 'cxr-report-bench[plots]'" in answer.err
    assert "Traceback" not in answer.err
    assert not Path("f.png").exists()
    assert bench("plot", "forest", "runs", "--out", "f.csv").code == 0
    assert "cxr-report-bench[plots]" in bench("leaderboard", "table1", "--out", "t.png").err


def test_characters_without_a_glyph_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "families", lambda: (style.FAMILY,))
    style._characters.cache_clear()
    a_run("肺炎", {"X": score(0.5)})
    answer = bench("plot", "forest", "runs", "--out", "f.svg")
    style._characters.cache_clear()
    assert answer.code == 0
    assert "No font here has 肺 (U+80BA) 炎 (U+708E)" in answer.err
    assert "肺炎" in Path("f.svg").read_text()


# ------------------------------------------------------------------ text and numbers


def test_folding_keeps_within_the_width_and_loses_the_middle() -> None:
    lines = style.fold("nearest-neighbour with a very long name/" + "x" * 200 + " the end", 1.0)
    assert len(lines) == 3
    assert all(style.width_of(line) <= 1.0 for line in lines)
    assert lines[0].startswith("nearest-")
    assert lines[-1].endswith("the end")
    assert "…" in "".join(lines)
    assert style.fold("short", 1.0) == ["short"]
    assert style.fold("", 1.0) == [""]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-2.5, "−2.5"), (20000, "20K"), (3e6, "3M"), (5e-4, "5×10⁻⁴"), (1e-3, "10⁻³"), (0.25, "0.25"),
     (-1e-5, "−10⁻⁵")],
)  # fmt: skip
def test_numbers_of_axes(value: float, text: str) -> None:
    assert scales.tick_text(value) == text


@pytest.mark.parametrize(("value", "above"), [(0.0, 0.0), (55, 60), (60, 60), (0.07, 0.08), (1.01, 1.2), (-3, 0.0)])
def test_round_numbers_above(value: float, above: float) -> None:
    assert scales.nice_above(value) == pytest.approx(above)
