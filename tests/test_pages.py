"""``bench report``: what the pages hold, that any text is safe there, what is refused, what a stopped command finds."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import errno
import hashlib
import html
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import llm_servers as servers
import numpy as np
import pytest
import test_radfact as radfact
from atlas_world import Page
from hypothesis import given
from hypothesis import strategies as st
from pages_world import HOSTILE, N, Place, make_place
from PIL import Image as Pillow

from bench import case_values, compare, store
from bench.contracts import Answer, Check, Mark, Message, NoAnswer, Pair, Question, SmallTable
from bench.pages import build
from bench.pages.case import comparison
from bench.pages.explain import Explainer, KeptAnswers
from bench.pages.folder import Folder
from bench.pages.html import clean, environment
from bench.pages.marks import clipped, cut
from bench.pages.overview import BINS, histograms, score_rows
from bench.pages.pictures import embedded
from bench.pages.reading import _tables, read, worst


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def runs(place: Place) -> tuple[Path, Path]:
    return place.run("plain"), place.run("wordy", words=6)


@pytest.fixture(scope="module")
def one(place: Place, runs: tuple[Path, Path]) -> Path:
    """The page of the first run, where it goes by default."""
    code, out, err = place.call("report", runs[0])
    assert code == 0, err
    assert Path(out.strip()) == runs[0] / "page/index.html"
    return runs[0] / "page"


@pytest.fixture(scope="module")
def both(place: Place, runs: tuple[Path, Path]) -> Path:
    code, _, err = place.call("report", *runs, "--out", "both", "--draws", 200, "--trials", 200)
    assert code == 0, err
    return place.root / "both"


class Sides(HTMLParser):
    """The texts of the elements with a `data-side`, as a browser would have them, and their marks."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[tuple[str, str]] = []
        self.marks: list[str] = []
        self._side: str | None = None
        self._in_mark = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if side := dict(attrs).get("data-side"):
            self._side = side
            self.texts.append((side, ""))
        if tag == "mark" and self._side:
            self._in_mark = True
            self.marks.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_mark = self._in_mark and tag != "mark"
        if tag == "p":
            self._side = None

    def handle_data(self, data: str) -> None:
        if self._side:
            side, text = self.texts[-1]
            self.texts[-1] = side, text + data
        if self._in_mark:
            self.marks[-1] += data


def case_list(index: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', index.read_text(), re.DOTALL)
    assert found
    value: dict[str, Any] = json.loads(found[1])
    return value


def data(source: dict[str, Any], key: str) -> list[Any]:
    return next(list(column["data"]) for column in source["columns"] if column["key"] == key)


def case(folder: Path, number: int) -> str:
    return (folder / f"cases/{number:05d}.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------ what the pages hold


def test_the_list_holds_what_the_run_says_of_each_case(one: Path, runs: tuple[Path, Path]) -> None:
    source, table = case_list(one / "index.html"), case_values.read(runs[0])
    assert data(source, "id") == list(table.ids)
    assert data(source, "group") == [pair.group for pair in table.run.pairs.values()]
    assert data(source, "report:0") == [pair.candidate for pair in table.run.pairs.values()]
    assert data(source, "reference") == [pair.reference for pair in table.run.pairs.values()]
    for key, column in table.columns.items():
        found = data(source, f"score:0:{key}")
        expected = [None if np.isnan(v) else v * column.column.scale for v in column.values]
        assert found == [e if e is None else pytest.approx(e, abs=0.51 * 10 ** -(column.column.decimals + 2))
                         for e in expected]  # fmt: skip
    assert found[8] is None
    assert source["sort"] == "score:0:Clear"
    by_key = {column["key"]: column for column in source["columns"]}
    assert (by_key["score:0:Clear"]["first"], by_key["score:0:Cost"]["first"]) == ("low", "high")
    names = by_key["status"]["names"]
    said = [[names[k] for k in flags] for flags in by_key["status"]["data"]]
    assert said[5] == ["no report: error"]
    assert said[6] == ["empty report"]
    assert said[8] == ["Teller undefined", "Fallen undefined"] or said[8] == ["Fallen undefined", "Teller undefined"]
    assert sorted(said[9]) == ["Fallen failed", "Teller failed"]
    assert said[4] == said[11] == []


def test_scores_intervals_and_tables_are_those_of_the_run(one: Path, runs: tuple[Path, Path]) -> None:
    page, summary = Page(one / "index.html"), store.read_json(runs[0] / "summary.json")
    for score in summary["scores"].values():
        row = " ".join(next(row for row in page.by_tag["tr"] if row.strip().startswith(score["heading"])).split())
        for value in (score["value"], score["ci_low"], score["ci_high"]):
            assert f"{value * score['scale']:.{score['decimals']}f}" in row
        assert "1 failed, 1 undefined" in row
        assert score["signature"] in page.text
    assert "<clear>" in page.by_tag["th"]
    assert "other, more" in page.text
    assert "failed reports, scored as empty: 1" in page.text


def test_two_runs_differ_as_bench_compare_says(both: Path, runs: tuple[Path, Path]) -> None:
    source, page = case_list(both / "index.html"), " ".join(Page(both / "index.html").text.split())
    compared = compare.compare(compare.read_runs(runs), compare.Settings(200, 200), full=True)
    (clear,) = [c for c in compared.comparisons if c.column == "Clear"]
    assert clear.difference is not None
    assert clear.ci_low is not None
    assert f"{100 * clear.difference:+.1f} {100 * clear.ci_low:+.1f} to" in page
    assert f"p = {clear.p_randomization_holm:.3f}" in page
    ours, theirs = data(source, "score:0:Clear"), data(source, "score:1:Clear")
    for a, b, d in zip(ours, theirs, data(source, "difference:1:Clear"), strict=True):
        assert d is None if a is None or b is None else d == pytest.approx(b - a, abs=0.002)
    labels = [run["label"] for run in source["runs"]]
    assert labels == ["plain", "wordy"]


def test_equal_scores_are_neither_better_nor_worse(place: Place, runs: tuple[Path, Path]) -> None:
    found = read(list(runs), None, compare.Settings(draws=0, trials=0))
    assert found.compared is not None
    alike = [dataclasses.replace(c, difference=0.0) for c in found.compared.comparisons]
    found = dataclasses.replace(found, compared=dataclasses.replace(found.compared, comparisons=alike))
    assert {delta.look for row in score_rows(found) for delta in row.deltas if delta} == {""}


def test_a_significant_difference_is_marked(place: Place, runs: tuple[Path, Path]) -> None:
    """Twelve patients, each better: the swaps give p = 2 / 2^12 a column before Holm's correction."""
    far = [place.run("low", n=N, recipe="x"), place.run("high", words=40, recipe="x")]
    for folder in far:
        lines = [{**line, "group": line["id"]} for line in store.read_lines(folder / "cases.jsonl")]
        store.write_text(folder / "cases.jsonl", "".join(map(store.json_line, lines)))
    code, _, err = place.call("report", *far, "--out", "far", "--explain", "none", "--images", "none")
    assert code == 0, err
    page = (place.root / "far/index.html").read_text()
    assert 'class="better sure"' in page
    assert 'class="worse sure"' in page  # Cost, of which less is better


def test_histograms_count_every_case_that_has_a_value(runs: tuple[Path, Path]) -> None:
    found = read(runs, None, compare.Settings(draws=0, trials=0))
    for of in histograms(found):
        for strip in of.strips:
            values = found.runs[strip.place].columns[of.key].values
            known = values[np.isfinite(values)] * found.column(of.key).scale
            assert sum(strip.counts) == len(known) == strip.n
            assert strip.missing == len(values) - len(known)
            assert len(of.edges) == BINS + 1
            inside = ((known >= of.edges[0]) & (known <= of.edges[1] - 1e-12)).sum()
            assert strip.counts[0] == pytest.approx(inside, abs=1)


def test_a_case_shows_texts_marks_tables_evidence_and_scores(one: Path, runs: tuple[Path, Path]) -> None:
    page = Page(one / "cases/00005.html")
    table = case_values.read(runs[0])
    pair = table.run.pairs["test004"]
    sides = Sides(case(one, 5))
    assert sides.texts[:2] == [("candidate", pair.candidate), ("reference", pair.reference)]
    assert sides.marks[0] == pair.candidate[:2]
    assert "strange <kind>" in page.text
    assert "gave 2 marks that lie beside the texts" in " ".join(page.text.split())
    assert [a["value"] for a in page.all("meter")] == ["1.0000", "0.2500"]
    assert "a <note>" in page.text
    assert f"{100 * table.columns['Clear'].values[4]:.1f}" in page.text
    assert "its weights are gone; fetch them" in page.text
    assert page.all("a", rel="prev")[0]["href"] == "00004.html"
    assert page.all("a", rel="next")[0]["href"] == "00006.html"
    assert "the <model> gave up" in Page(one / "cases/00006.html").text
    assert "The report is empty" in Page(one / "cases/00007.html").text
    scores = next(item for item in Page(one / "cases/00009.html").by_tag["ul"] if "Clear" in item)
    assert "Clear undefined" in " ".join(scores.split())


def test_a_metric_that_raises_costs_its_own_box(one: Path) -> None:
    page = Page(one / "cases/00011.html")
    assert "ZeroDivisionError: a bug of the <metric>" in page.text
    assert "its weights are gone" in page.text
    assert len(Sides(case(one, 11)).texts) == 4


@pytest.mark.parametrize(
    "given",
    [
        Mark("candidate", 0, 3, cast(Any, None)),
        Mark("candidate", 0, 3, "match", cast(Any, 7)),
        Mark("candidate", cast(Any, 0.5), 3, "match"),
        Mark(cast(Any, "both"), 0, 3, "match"),
        SmallTable("t", ("a",), cast(Any, None)),
        SmallTable("t", ("a",), (cast(Any, (1,)),)),
        SmallTable(cast(Any, None), ("a",), ()),
        "a text",
    ],
)
def test_what_is_no_mark_and_no_table_costs_its_own_box(given: Any) -> None:
    metric = cast(Any, SimpleNamespace(explain=lambda pair: [given]))
    found = Explainer("M", metric).explain(Pair("1", "1", "clear lungs", "clear lungs"))
    assert found.fault.startswith("TypeError: explain gave ")
    assert comparison("clear lungs", "clear lungs", found).legend == []


def test_a_pipe_or_a_device_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to read it would wait for ever
    for file in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        assert embedded(file, 64).why == "not a file"


def test_a_full_disk_names_the_file_and_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"x\.html") as stop:
        Folder(tmp_path, "a run page", "page.json", {"page.json"}).write("x.html", b"content")
    assert stop.value.filename == str(tmp_path / "x.html")
    assert not list(tmp_path.glob(".*"))


def test_cells_of_tables_keep_their_lines(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/odd.csv").write_text('label,n\n"two\nlines\u2028here",1\n')
    (found,) = _tables(tmp_path)
    assert found.rows == (("two\nlines\u2028here", "1"),)


def test_images_are_small_copies_inside_the_page(one: Path) -> None:
    page = Page(one / "cases/00002.html")
    assert len(page.all("img")) == 2
    assert "Earlier image" in page.text
    for image in page.all("img"):
        kind, _, content = (image["src"] or "").partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Pillow.open(io.BytesIO(base64.b64decode(content)))
        assert picture.size == (398, 512)
        assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
    missing, damaged = Page(one / "cases/00004.html"), Page(one / "cases/00008.html")
    assert not missing.all("img")
    assert not damaged.all("img")
    assert "Image cannot be shown: no such file" in missing.text
    assert "Image cannot be shown: cannot identify image file" in damaged.text


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    shade = np.add.outer(np.arange(2400), np.arange(3000)) // 22
    Pillow.fromarray(shade.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    copy = embedded(tmp_path / "a.jpg", 256)
    assert copy.src is not None
    small = Pillow.open(io.BytesIO(base64.b64decode(copy.src.partition(",")[2])))
    assert small.size == (256, 205)
    direct = Pillow.open(tmp_path / "a.jpg").resize((256, 205), Pillow.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(direct, float)).mean() < 2


# ------------------------------------------------------------------ any text is safe


def test_hostile_texts_stay_texts(one: Path, both: Path, runs: tuple[Path, Path]) -> None:
    pairs = list(case_values.read(runs[0]).run.pairs.values())
    for number, hostile in enumerate(HOSTILE, 1):
        page = case(one, number)
        found = dict(Sides(page).texts)
        assert found["candidate"] == clean(pairs[number - 1].candidate)
        assert found["reference"] == clean(pairs[number - 1].reference)
        assert len(clean(hostile)) == len(hostile)
    for file in [*one.rglob("*.html"), *both.rglob("*.html")]:
        text = file.read_text(encoding="utf-8")
        allowed = {"application/json", None}
        assert all(script.get("type") in allowed for script in Page(file).all("script"))
        assert text.count("<script") == text.count("</script>") == (2 if file.name == "index.html" else 1)
        assert not any(key.startswith("on") for _, attributes in Page(file).tags for key in attributes)
        assert "\0" not in text
    assert [data(case_list(one / "index.html"), "reference")[k].startswith(HOSTILE[k]) for k in range(4)] == [True] * 4


def test_the_policy_lets_in_what_the_page_holds_and_nothing_else(one: Path) -> None:
    for file in (one / "index.html", one / "cases/00001.html"):
        text = file.read_text(encoding="utf-8")
        policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
        assert policy.startswith("default-src 'none'; img-src data:; ")
        assert "unsafe" not in policy
        for tag, rule in (("style", "style-src"), ("script", "script-src")):
            content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            assert content
            digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
            assert f"{rule} 'sha256-{digest}'" in policy
        page = Page(file)
        assert not page.all("link")
        assert not [a for _, attributes in page.tags for a in attributes if a == "style"]
        for address in page.links():
            assert re.match(r"(#|data:image/jpeg;base64,|(\.\./)?(index|cases/\d{5}|\d{5})\.html$)", address), address
        assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|innerHTML|insertAdjacent|document\.write", text)


TEMPLATES = environment()
marks = st.lists(
    st.builds(
        Mark,
        st.just("candidate"),
        st.integers(-5, 30),
        st.integers(-5, 30),
        st.sampled_from(["match", "extra", "1-gram", "<odd>", "positive"]),
        st.text(max_size=4),
    ),
    max_size=6,
)


@given(st.text(st.characters(categories=None), max_size=24) | st.sampled_from(HOSTILE), marks)
def test_marks_never_change_a_text(text: str, given_marks: Sequence[Mark]) -> None:
    """Joined, the stretches are the text; each character has just the marks over it; a parser reads the text again."""
    stretches = cut(text, given_marks)
    assert "".join(stretch.text for stretch in stretches) == text
    at = 0
    for stretch in stretches:
        assert stretch.text
        for place in range(at, at + len(stretch.text)):
            over = [mark for mark in given_marks if mark.start <= place < mark.end]
            assert sorted(map(repr, clipped(over, len(text)))) == sorted(map(repr, stretch.marks))
        widths = [mark.end - mark.start for mark in stretch.marks]
        assert widths == sorted(widths)
        at += len(stretch.text)
    macro = TEMPLATES.get_template("marks.html").module.stretches  # type: ignore[attr-defined]
    assert Sides(f'<p data-side="candidate">{macro(stretches)}</p>').texts == [("candidate", clean(text))]


# ------------------------------------------------------------------ who explains


def test_what_is_computed_otherwise_today_is_not_shown_as_the_score(place: Place, runs: tuple[Path, Path]) -> None:
    (place.root / "changed").touch()
    try:
        code, _, err = place.call("report", runs[0], "--out", "changed-page", "--images", "none")
        assert code == 0
        assert (
            "Teller is not explained: it is teller|recipe:a|changed here, but the scores are of teller|recipe:a;" in err
        )
        assert not Sides(case(place.root / "changed-page", 5)).marks
        code, _, _ = place.call("report", runs[0], "--out", "forced", "--images", "none", "--explain", "Teller")
        page = case(place.root / "forced", 5)
        assert Sides(page).marks
        assert "Explained by teller|recipe:a|changed, but scored by teller|recipe:a: these may differ." in page
    finally:
        (place.root / "changed").unlink()


def test_a_metric_that_cannot_work_is_asked_once(place: Place, one: Path) -> None:
    assert len(set((place.root / "asked").read_text().splitlines())) == 1
    code, _, _ = place.call("report", place.root / "runs-plain", "--out", "quiet", "--explain", "none")
    assert code == 0
    assert not Sides(case(place.root / "quiet", 5)).marks


class Judge:
    """Keeps one answer; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def fingerprint(self) -> str:
        return "judge"

    def ask(
        self, questions: Sequence[Question], check: Check | None = None, title: str = ""
    ) -> list[Answer | NoAnswer]:
        self.asked += [q.messages[0].content for q in questions]
        return [Answer("yes") for _ in questions]

    async def answer(self, question: Question, check: Check | None = None) -> Answer | NoAnswer:
        raise AssertionError("not asked this way")

    def missing(self, questions: Sequence[Question], check: Check | None = None) -> int:
        return sum(q.messages[0].content != "kept" for q in questions)

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return 1.0


def test_a_chat_model_is_asked_nothing_that_is_not_kept() -> None:
    judge = Judge()
    kept = KeptAnswers(judge)
    new, old = (Question((Message("user", text),)) for text in ("new", "kept"))
    answers = kept.ask([new, old, new])
    assert [isinstance(answer, NoAnswer) for answer in answers] == [True, False, True]
    assert isinstance(asyncio.run(kept.answer(new)), NoAnswer)
    assert isinstance(asyncio.run(kept.answer(old)), Answer)
    assert judge.asked == ["kept", "kept"]


def test_verdicts_come_from_the_cache_with_and_without_the_judge(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real client before a server of Ollama's protocol: the page sends it no question, whatever is kept."""
    Path("pairs.csv").write_text("id,candidate,reference\np0,No edema. Old clip.,No edema. No mass.\n")
    Path("c.yaml").write_text("metrics: {radfact: {}}\nrun: {bootstrap: 0}\n")
    with servers.OllamaServer(lambda user: str(radfact.literal(user, 0))) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert bench("score", "pairs.csv", "-c", "c.yaml", "--out", "o", "--public").code == 0
        asked = len(server.asked)
        assert asked
        kept = os.environ["BENCH_CACHE"]
        monkeypatch.setenv("BENCH_CACHE", str(Path("elsewhere").absolute()))
        assert bench("report", "o", "--out", "without").code == 0
        monkeypatch.setenv("BENCH_CACHE", kept)
        assert bench("report", "o", "--out", "with").code == 0
        assert len(server.asked) == asked
    assert bench("report", "o", "--out", "gone").code == 0
    verdicts = {name: Page(Path(name, "cases/00001.html")).by_tag["td"] for name in ("without", "with", "gone")}
    assert "not entailed" in verdicts["with"]
    assert verdicts["gone"] == verdicts["with"]
    assert not {"entailed", "not entailed"} & set(verdicts["without"])
    assert any("a page asks no chat model" in cell for cell in verdicts["without"])


# ------------------------------------------------------------------ the folder


def test_credentialed_pages_are_private_and_say_so(place: Place, one: Path) -> None:
    run = place.run("held", credentialed=True)
    (run / "page").mkdir(mode=0o755)
    code, _, err = place.call("report", run)
    assert code == 0
    assert "must not be shared" in err
    for file in [run / "page", *(run / "page").rglob("*")]:
        assert file.stat().st_mode & 0o077 == 0, file
    for page in (run / "page").rglob("*.html"):
        assert "Credentialed data." in page.read_text(encoding="utf-8")
    assert "Credentialed data." not in (one / "index.html").read_text()
    recorded = store.read_json(run / "run.json")
    for unsaid in ({}, {"credentialed": None}, {"credentialed": 0}):  # who does not say "false" is held to be
        rest = {key: value for key, value in recorded.items() if key != "credentialed"}
        store.write_json(run / "run.json", rest | unsaid)
        assert "must not be shared" in place.call("report", run, "--images", "none")[2]


def test_a_killed_command_goes_on_and_another_recipe_begins_anew(
    place: Place, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = place.root / "killed"
    real = build._Page._write_case

    def dying(self: Any, folder: Any, number: int, *more: Any) -> None:
        if number == 7:
            raise KeyboardInterrupt
        real(self, folder, number, *more)

    monkeypatch.setattr(build._Page, "_write_case", dying)
    assert place.call("report", runs[0], "--out", out)[0] == 130
    monkeypatch.setattr(build._Page, "_write_case", real)
    assert not (out / "index.html").exists()
    (out / "cases/.00009.html.part").write_text("half")
    times = {page: page.stat().st_mtime_ns for page in (out / "cases").glob("*.html")}
    assert len(times) == 7
    code, _, err = place.call("report", runs[0], "--out", out)
    assert code == 0
    assert "12 of 12 cases have a page (7 were there)" in err
    assert all(page.stat().st_mtime_ns == before for page, before in times.items())
    assert not list((out / "cases").glob(".*"))
    assert {p.name: p.read_bytes() for p in (out / "cases").iterdir()} == {
        p.name: p.read_bytes() for p in (runs[0] / "page/cases").iterdir()
    }
    assert "(12 were there)" in place.call("report", runs[0], "--out", out)[2]
    assert "(" not in place.call("report", runs[0], "--out", out, "--again")[2].rpartition("12 of 12")[2]
    assert "(" not in place.call("report", runs[0], "--out", out, "--side", 100)[2].rpartition("12 of 12")[2]


def test_another_run_in_the_folder_begins_anew(place: Place, runs: tuple[Path, Path]) -> None:
    out = place.root / "shared"
    assert place.call("report", runs[0], "--out", out, "--images", "none")[0] == 0
    code, _, err = place.call("report", runs[1], "--out", out, "--images", "none", "--cases", 3)
    assert code == 0
    assert "3 of 12 cases have a page." in err
    assert len(list((out / "cases").iterdir())) == 3


def test_pages_for_the_worst_cases(place: Place, runs: tuple[Path, Path], one: Path) -> None:
    found = read([runs[0]], None, compare.Settings())
    values = found.runs[0].columns["Cost"].values
    order = worst(found, "Cost")
    known = [values[k] for k in order if np.isfinite(values[k])]
    assert known == sorted(known, reverse=True)  # less is better
    assert {order[-1], order[-2]} == {8, 9}
    code, _, err = place.call("report", runs[0], "--out", "few", "--cases", 4, "--worst", "Cost", "--images", "none")
    assert code == 0, err
    pages = data(case_list(place.root / "few/index.html"), "page")
    assert sorted(k for k, number in enumerate(pages) if number) == sorted(order[:4])
    assert all(number in (0, k + 1) for k, number in enumerate(pages))
    links = [page.links() for page in map(Page, sorted((place.root / "few/cases").iterdir()))]
    assert f"{sorted(order[:4])[1] + 1:05d}.html" in links[0]


# ------------------------------------------------------------------ runs that do not fit


def test_runs_of_different_cases_are_shown_on_those_they_share(place: Place, runs: tuple[Path, Path]) -> None:
    fewer = place.root / "fewer"
    shutil.copytree(runs[1], fewer, ignore=shutil.ignore_patterns("page"))
    recorded = store.read_json(fewer / "run.json")
    store.write_json(fewer / "run.json", {**recorded, "dataset_fingerprint": None})
    for name in ("cases.jsonl", "reports.jsonl"):
        lines = store.read_lines(fewer / name)
        store.write_text(fewer / name, "".join(map(store.json_line, lines)))
    lines = store.read_lines(fewer / "cases.jsonl")
    lines[11]["id"] = "another011"
    store.write_text(fewer / "cases.jsonl", "".join(map(store.json_line, lines)))
    reports = store.read_lines(fewer / "reports.jsonl")
    reports[11]["id"] = "another011"
    store.write_text(fewer / "reports.jsonl", "".join(map(store.json_line, reports)))
    shutil.rmtree(fewer / "stats")
    summary = store.read_json(fewer / "summary.json")
    for score in summary["scores"].values():
        score.update(value=None, reason="not scored <again>", remedy="score it")
    store.write_json(fewer / "summary.json", summary)
    code, _, err = place.call("report", runs[0], fewer, "--out", "shared-cases", "--images", "none")
    assert code == 0, err
    page = Page(place.root / "shared-cases/index.html").text
    assert "plain: 1 of 12 cases are not in every run, left out" in page
    assert "The runs share no metric that was computed alike, so nothing is compared" in page
    assert "not scored <again>; score it" in page
    assert data(case_list(place.root / "shared-cases/index.html"), "id") == list(case_values.read(runs[0]).ids)[:11]


def refused(place: Place, *arguments: object) -> str:
    before = sorted(place.root.rglob("*"))
    code, out, err = place.call("report", *arguments)
    assert code == 2
    assert not out
    assert "Traceback" not in err
    assert sorted(place.root.rglob("*")) == before, "something was written"
    return err


def test_what_is_refused(place: Place, runs: tuple[Path, Path], one: Path, tmp_path: Path) -> None:
    assert "no such folder" in refused(place, "nowhere")
    assert "holds no run" in refused(place, place.root / "images")
    assert "--explain" in refused(place, runs[0], "--explain", "Tellr", "--out", "x")
    assert "Teller" in refused(place, runs[0], "--explain", "Tellr", "--out", "x")
    assert "--worst" in refused(place, runs[0], "--worst", "Claer", "--out", "x")
    assert "--baseline" in refused(place, *runs, "--baseline", "none", "--out", "x")
    assert "say by --out where" in refused(place, *runs)
    assert "holds 0.png, 1.png, 10.png, and is no run page" in refused(place, runs[0], "--out", place.root / "images")
    assert "is no folder" in refused(place, runs[0], "--out", place.root / "bench.yaml")
    (place.root / "linked").mkdir(exist_ok=True)
    (place.root / "linked/cases").symlink_to(place.root / "images")
    assert "is a link to elsewhere" in refused(place, runs[0], "--out", place.root / "linked")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("done.json", None, "not finished: 12 of 12 reports"),
        ("cases.jsonl", ('"images": [', '"images": [3, '), "cases.jsonl, line 1: images: a list of file names"),
        ("cases.jsonl", ('"indication": ', '"indication": 7, "was": '), "line 1: indication: a string is required"),
        ("reports.jsonl", ('"kind": "feature"', '"sort": "feature"'), "a line is no report"),
        ("summary.json", ('"split": "test"', '"split": 3'), "summary.json: split"),
        ("summary.json", ("{", "["), "not valid JSON"),
        ("tables/Teller.csv", ("label,n", "label,n,more"), "its rows are of different lengths"),
        ("stats/Teller.jsonl", ('"values": [', '"values": ["a", '), "damaged"),
    ],
)
def test_damaged_runs_are_refused(
    place: Place, runs: tuple[Path, Path], tmp_path: Path, name: str, change: tuple[str, str] | None, said: str
) -> None:
    shutil.copytree(runs[1], tmp_path / "bad", ignore=shutil.ignore_patterns("page"))
    file = tmp_path / "bad" / name
    if change is None:
        file.unlink()
    else:
        text = file.read_text(errors="surrogateescape")
        assert change[0] in text
        file.write_text(text.replace(*change, 1), errors="surrogateescape")
    assert said in refused(place, tmp_path / "bad")
    assert not (tmp_path / "bad/page").exists()


def test_other_data_is_refused(place: Place, runs: tuple[Path, Path]) -> None:
    other = place.run("other", n=9)
    assert "are not on the same data" in refused(place, runs[0], other, "--out", "x")
