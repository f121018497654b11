from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from atlas_world import SMALL, Page, Place, column, make_run, pages, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_servers import OpenAIServer
from PIL import Image as Pillow

from bench.contracts import Mark, NoAnswer, SmallTable
from bench.datasets.demo import Demo
from bench.errors import BenchError
from bench.pages.html import script_json
from bench.pages.marks import verdict
from systems.sae_rad.atlas import thumbnails as thumbs
from systems.sae_rad.atlas.activity import BINS, ByFeature, histogram
from systems.sae_rad.atlas.finished import find_run
from systems.sae_rad.atlas.passages import attribute, completed, passages, spans
from systems.sae_rad.atlas.reports import ago
from systems.sae_rad.atlas.scores import Setting, read_scores
from systems.sae_rad.atlas.site import Site, feature_page, report_page, title_of
from systems.sae_rad.describe import Description
from systems.sae_rad.system import SAERad
from systems.sae_rad.vectors import SentenceSpace

trained = pytest.importorskip("systems.sae_rad.trained")
HOSTILE = "</script><script>alert(1)</script> \"quoted\" 'single' & <b>bold</b> \u2028\u2029 \ud800 ]]> -->"
SHOWN = HOSTILE.replace("\ud800", "\ufffd")


# ------------------------------------------------------------------ activations


@pytest.fixture
def dense() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(60, 9)).round(1) * (rng.random((60, 9)) < 0.3)
    values[:, 4] = 0  # never active
    return values.astype(np.float32)


@pytest.fixture
def by_feature(dense: np.ndarray) -> ByFeature:
    rows, features = np.nonzero(dense)
    counts = np.bincount(rows, minlength=len(dense))
    indptr = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    return ByFeature.of(trained.Active(indptr, features.astype(np.int32), dense[rows, features]), dense.shape[1])


def test_images_of_a_feature_are_its_rows_highest_first(by_feature: ByFeature, dense: np.ndarray) -> None:
    assert by_feature.counts.tolist() == (dense > 0).sum(0).tolist()
    for feature in range(dense.shape[1]):
        rows, activations = by_feature.images(feature)
        expected = sorted(np.flatnonzero(dense[:, feature]).tolist(), key=lambda r: (-dense[r, feature], r))
        assert rows.tolist() == expected
        assert activations.tolist() == dense[expected, feature].tolist()


def test_partners_are_counted_as_by_brute_force(by_feature: ByFeature, dense: np.ndarray) -> None:
    on = dense > 0
    for feature in range(dense.shape[1]):
        found = {p.feature: p for p in by_feature.partners(feature, 99)}
        for other in set(range(dense.shape[1])) - {feature}:
            both = int((on[:, feature] & on[:, other]).sum())
            assert (other in found) == (both > 0)
            if both:
                share = both / on[:, feature].sum()
                assert found[other].together == both
                assert found[other].share == pytest.approx(share)
                assert found[other].lift == pytest.approx(share / on[:, other].mean())
        jaccard = [(on[:, feature] & on[:, p]).sum() / (on[:, feature] | on[:, p]).sum() for p in found]
        assert jaccard == sorted(jaccard, reverse=True)


def test_label_correlation_is_pearsons(by_feature: ByFeature, dense: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    labels = {"A": rng.random(60) < 0.5, "B": dense[:, 2] > 0, "none": np.zeros(60, bool)}
    found = {link.label: link for link in by_feature.labels(2, labels)}
    assert set(found) == {"A", "B"}
    assert found["B"].phi == pytest.approx(1)
    assert found["A"].phi == pytest.approx(np.corrcoef(dense[:, 2] > 0, labels["A"])[0, 1])
    assert found["A"].rate == pytest.approx(labels["A"][dense[:, 2] > 0].mean())
    assert by_feature.labels(4, labels) == []


def test_a_histogram_counts_every_activation_once() -> None:
    values = np.array([0.1, 0.5, 0.5, 2.0, 4.0])
    found = histogram(values, np.array([0.2, 9.0]))
    assert found is not None
    assert len(found.training) == BINS
    assert sum(found.training) == 5
    assert found.training == tuple(np.histogram(values, BINS, (0, 4.0))[0].tolist())
    assert (found.held_out[1], found.held_out[-1]) == (1, 1)  # above the last edge counts in the last bin
    assert histogram(np.zeros(0), None) is None


# ------------------------------------------------------------------ texts


@pytest.fixture(scope="module")
def space() -> SentenceSpace:
    reports = [
        "There is a left pleural effusion. No pneumothorax. The heart is enlarged.",
        "The lungs are clear. Heart size is normal. No effusion or pneumothorax.",
        "A pacemaker is present. The lungs are clear.",
    ]
    return SentenceSpace(reports, 0)


def test_sentences_are_found_where_they_stand() -> None:
    text = "  Heart is big.\n\n1. Small   left effusion!  No pneumothorax"
    assert [text[a:b] for a, b in spans(text)] == ["Heart is big.", "Small   left effusion!", "No pneumothorax"]


TEXTS = st.text(st.sampled_from("Ab c.\n!é1"), max_size=40)
SPANS = st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45)), max_size=6)


@given(TEXTS, SPANS)
@settings(max_examples=200, deadline=None)
def test_pieces_joined_are_the_text(text: str, places: Sequence[tuple[int, int]]) -> None:
    marks = [Mark("candidate", min(p), max(p), "match") for p in places]
    for led in (None, [()] * len(spans(text))):
        found = passages(text, marks, led)
        assert "".join(piece.text for passage in found for piece in passage.pieces) == text
    assert [p.number for p in found if p.number is not None] == list(range(len(spans(text))))


def test_marks_are_drawn_on_their_words_across_sentences() -> None:
    found = passages("Big heart. Effusion.", [Mark("candidate", 4, 19, "not entailed", "why")], [(), ()])
    marked = [(p.number, piece.text) for p in found for piece in p.pieces if piece.verdict == "differ"]
    assert marked == [(0, "heart."), (None, " "), (1, "Effusion")]


def test_kinds_of_marks_have_a_verdict() -> None:
    kinds = ("entailed", "4-gram", "1-gram", "not entailed", "partial", "no verdict (failed)", "anything else")
    verdicts = ["agree", "agree", "partly", "differ", "partly", "unknown", "unknown"]
    assert [verdict(kind) for kind in kinds] == verdicts


def test_a_sentence_is_put_to_the_features_that_say_it(space: SentenceSpace) -> None:
    descriptions = {7: "Left pleural effusion.", 3: "A pacemaker is present. There is a left pleural effusion.", 5: ""}
    led = attribute(["There is a left pleural effusion", "The lungs are clear"], descriptions, space)
    assert [[x.feature for x in by] for by in led] == [[7, 3], []]
    assert led[0][0].similarity == pytest.approx(1)
    assert attribute([], descriptions, space) == []
    assert attribute(["The lungs are clear"], {}, space) == [()]


def test_statements_without_a_place_mark_the_sentence_they_came_from(space: SentenceSpace) -> None:
    text = "The heart is enlarged. No effusion or pneumothorax. A pacemaker is present."
    table = SmallTable(
        "Statements",
        ("direction", "statement", "verdict", "evidence"),
        (
            ("precision", "Enlarged heart.", "not entailed", ""),
            ("precision", "No pneumothorax.", "entailed", ""),
            ("precision", "No effusion.", "not entailed", ""),
            ("recall", "A pacemaker.", "entailed", ""),
            ("precision", "–", "undefined", "no statement"),
        ),
    )
    own = [Mark("candidate", 54, 63, "match")]
    found = completed(text, "candidate", own, table, space)
    assert [(text[m.start : m.end], m.kind) for m in found] == [
        ("pacemaker", "match"),
        ("The heart is enlarged.", "not entailed"),
        ("No effusion or pneumothorax.", "mixed"),
    ]
    other = SmallTable("Observations", ("label", "candidate", "reference"), (("precision", "Enlarged heart.", "x"),))
    assert completed(text, "candidate", own, other, space) == own


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0, "less than a minute before"),
        (1, "1 minute before"),
        (61, "1 hour and 1 minute before"),
        (1440 * 366 + 59, "1 year and 1 day before"),
        (1440 * 730, "2 years before"),
    ],
)
def test_time_before_in_words(minutes: int, words: str) -> None:
    assert ago(minutes) == words


# ------------------------------------------------------------------ files


def test_json_cannot_leave_its_script() -> None:
    text = script_json({"a": HOSTILE})
    assert text.isascii()
    assert not set(text) & set("<>&")
    assert json.loads(text) == {"a": HOSTILE}


def test_names_of_pages() -> None:
    assert (feature_page(7), feature_page(49151)) == ("features/000/7.html", "features/049/49151.html")
    assert report_page(12) == "reports/00012.html"
    assert title_of("detection_auroc") == "Detection AUROC"


def test_a_copy_is_small_shared_and_without_metadata(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010E] = "patient 1234"
    source = tmp_path / "p1234.jpg"
    Pillow.new("L", (900, 600), 90).save(source, exif=exif)
    made = thumbs.Thumbnails(tmp_path / "atlas", 300, "demo")
    assert made.make([source, source]) == 1
    copy = tmp_path / "atlas" / made.name(source)
    with Pillow.open(copy) as picture:
        assert picture.size == (300, 200)
        assert not picture.getexif()
    assert b"1234" not in copy.read_bytes()
    assert "1234" not in made.name(source)
    assert made.make([source]) == 0


def test_what_cannot_be_copied_is_said_and_what_is_not_shown_goes(tmp_path: Path) -> None:
    broken, gone, whole = tmp_path / "broken.png", tmp_path / "gone.png", tmp_path / "whole.png"
    broken.write_bytes(b"no image")
    Pillow.new("I;16", (40, 40), 3000).save(whole)
    made = thumbs.Thumbnails(tmp_path / "atlas", 300, "demo")
    assert made.make([broken, gone, whole]) == 1
    assert set(made.unreadable) == {broken, gone}
    assert made.unreadable[gone] == "no such file"
    assert thumbs.Thumbnails(tmp_path / "atlas", 300, "demo").prune() == 0
    assert not (tmp_path / "atlas" / made.name(whole)).exists()


def write_scores(folder: Path, *lines: dict[str, Any], **evaluation: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "features.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


def test_scores_are_read_as_evaluate_writes_them(tmp_path: Path) -> None:
    labels = {"Edema": {"auroc": 0.9, "ap": 0.5, "prevalence": 0.1}, "Fracture": {"auroc": 0.95}}
    matched = {"finding": "edema", "precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    line = {"feature": 3, "detection": 0.7, "fuzzing": None, "auroc_labels": 0.9, "labels": labels, "matched": matched}
    rows = {"sae-rad": {"detection": {"value": 0.6}}, "neurons": {"L0": {"value": 9.0}}}
    folder = write_scores(tmp_path / "s", line, {"feature": 4, "detection": 0.5}, rows=rows)
    effects = {"recipe": "now", "feature": 4, "beta": 1.0, "rows_on": 16, "rows_off": 15, "share": {"median": 0.9},
               "missed": {"median": 2.0}}  # fmt: skip
    (folder / "interventions.jsonl").write_text(json.dumps(effects) + "\n" + json.dumps({**effects, "recipe": "old"}))
    recipe = {"beta": "max", "split": "val", "rows": 32}
    (folder / "interventions.json").write_text(json.dumps({"digest": "now", "recipe": recipe}))
    scores = read_scores(folder, required=True)
    one, two = scores.of(3), scores.of(4)
    assert one.values == {"detection": 0.7}
    assert one.chosen is not None
    assert one.chosen.label == "Edema"  # chosen on the training images, not the best on held-out ones
    assert one.labels[0].label == "Fracture"
    assert one.matched is not None
    assert one.matched.f1 == pytest.approx(2 / 3)
    assert [(e.name, e.median) for e in two.effects] == [("its share of all change (1 is perfect)", 0.9)]
    assert (two.setting, one.setting) == (Setting(1.0, True, 16, 15, "val"), None)
    assert scores.compared == (["detection", "L0"], [("sae-rad", [0.6, None]), ("neurons", [None, 9.0])])
    assert scores.of(99).values == {}


def test_scores_that_are_none_are_refused(tmp_path: Path) -> None:
    assert read_scores(tmp_path, required=False).features == {}
    with pytest.raises(BenchError, match=r"holds no features\.jsonl"):
        read_scores(tmp_path, required=True)
    odd = {"feature": 3, "detection": 10**400, "fuzzing": 10**30, "x": {"y": "z"}, "labels": [], "matched": 3}
    assert read_scores(write_scores(tmp_path / "odd", odd), required=True).of(3).values == {"fuzzing": 1e30}
    folder = write_scores(tmp_path / "s", {"feature": "3"})
    with pytest.raises(BenchError, match=r"features.jsonl, line 1: 'feature'"):
        read_scores(folder, required=False)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("mine")
    with pytest.raises(BenchError, match=r"holds thesis\.tex, and is no atlas: choose another --out"):
        Site(tmp_path / "mine", {}).claim(public=False, private=False)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("public", [True, False])
def test_public_and_private_never_share_a_folder(tmp_path: Path, public: bool) -> None:
    Site(tmp_path / "a", {}).claim(public=public, private=False)
    Site(tmp_path / "a", {}).claim(public=public, private=False)
    with pytest.raises(BenchError, match="choose another --out"):
        Site(tmp_path / "a", {}).claim(public=not public, private=False)


# ------------------------------------------------------------------ a whole atlas


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_run(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def whole(place: Place) -> Path:
    """An atlas of all features and of the run's reports."""
    said = place.atlas("whole", run=place.run)
    assert "768 features, 8 reports; 776 pages written" in said
    return place.root / "whole"


@pytest.fixture(scope="module")
def busy(whole: Path) -> int:
    """The feature that most training images activate."""
    table = table_of(whole / "data/features.js")
    counts = column(table, "count")
    return int(column(table, "feature")[counts.index(max(counts))])


def system_of(place: Place) -> Any:
    """Return the run's system, prepared."""
    from systems.sae_rad import opened
    from systems.sae_rad.cli_atlas import _configuration

    with place.here(), _configuration(find_run(place.run, None), None) as file:
        settings, entry = opened.select(file, (), "sae-rad", None, None)
        with opened.opened(settings, entry) as found:
            return found


def test_every_link_leads_somewhere_inside_the_folder(whole: Path) -> None:
    files = pages(whole)
    assert len(files) == 768 + 8 + 2
    for file in files:
        for address in Page(file).links():
            assert not re.match(r"[a-z]+:|//|/", address), f"{file}: {address}"
            target = (file.parent / address.partition("#")[0]).resolve() if address[0] != "#" else file
            assert target.is_file(), f"{file}: {address}"
            assert target.is_relative_to(whole.resolve())


def test_pages_fetch_nothing_from_elsewhere(whole: Path) -> None:
    for file in (*(whole / "static").iterdir(), whole / "index.html", *pages(whole)[-3:]):
        assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest|<style", file.read_text()), file
    policy = next(a["content"] for a in Page(whole / "index.html").all("meta") if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_table_holds_what_the_system_knows(place: Place, whole: Path, busy: int) -> None:
    table, found = table_of(whole / "data/features.js"), system_of(place)
    assert column(table, "feature") == list(range(768))
    assert column(table, "count") == found.system.top.counts.tolist()
    assert column(table, "description")[busy] == found.system.description(busy)
    active, readable = found.system.active(found.cases("test"))
    assert column(table, "held_out") == np.bincount(active.features, minlength=768).tolist()
    assert readable.all()


def test_a_feature_page_shows_images_reports_and_numbers(place: Place, whole: Path, busy: int) -> None:
    system = system_of(place).system
    page = Page(whole / feature_page(busy))
    count = int(system.top.counts[busy])
    assert page.by_tag["h1"][0].split("\n")[1] == system.description(busy)
    assert f"Active on {count} of 120 training images" in page.text
    bars = [int(a["data-count"] or 0) for a in page.all("rect")]
    assert sum(bars) == count
    images = page.all("img")
    assert all(a.get("loading") == "lazy" and a.get("alt") for a in images)
    rows, _ = system.top.of(busy)
    shown = page.by_tag["li"]
    assert sum("activation" in item and "report read" in item for item in shown) == len(
        {*rows.tolist()} & {*ByFeature.of(system.train_active, 768).images(busy)[0][:16].tolist()}
    )
    for row in rows:
        assert system.train_reports[row] in page.text
    marked = " ".join(page.by_tag["mark"])
    assert system.description(busy).rstrip(".").split(". ")[0].lower().split()[-1] in marked.lower()


def test_a_feature_page_says_how_it_was_set_by_hand(place: Place, tmp_path: Path, busy: int) -> None:
    spread = {"median": 0.876, "q05": 0.5, "q95": 1.0}
    line = {"feature": busy, "beta": 9.324, "rows_on": 16, "rows_off": 12, "reached_on": spread, "missed": spread,
            "random": {"side": spread, "moved": spread}}  # fmt: skip
    (tmp_path / "interventions.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "interventions.json").write_text(json.dumps({"recipe": {"beta": "max", "split": "test"}}))
    place.atlas(tmp_path / "a", "--features", 1, "--scores", tmp_path)
    text = " ".join(Page(tmp_path / "a" / feature_page(busy)).text.split())
    assert "Set to β = 9.32, its largest value on a training image; measured on 28 images of test: " in text
    assert "16 with it on, 12 with it off." in text
    assert "of the way to β, reached where it was on (1 is perfect)" in text
    assert "the same after a step as long in a random direction (to compare with)" in text
    assert "missed" not in text
    assert text.count("0.876") == 2


def test_a_feature_that_is_never_active_says_so(whole: Path) -> None:
    table = table_of(whole / "data/features.js")
    dead = column(table, "count").index(0)
    page = Page(whole / feature_page(dead))
    assert "No training image activates this feature: it is dead" in page.text
    assert not page.all("img")
    assert not page.all("svg")


def test_a_report_page_links_each_sentence_to_its_features(place: Place, whole: Path) -> None:
    run = find_run(place.run, None)
    page = Page(whole / report_page(0))
    report = run.reports[run.cases[0]["id"]]
    features = {e.label: e.text for e in report.evidence}
    assert [a["data-feature"] for a in page.all("li") if "data-feature" in a] == list(features)
    half = len(page.all("span", **{"class": "sentence"})) // 2  # once for each of the two metrics
    sentences = page.all("span", **{"class": "sentence"})[:half]
    assert len(sentences) == len(spans(report.text))
    for (start, end), attributes in zip(spans(report.text), sentences, strict=True):
        said = report.text[start:end].rstrip(".").lower()
        led = (attributes["data-features"] or "").split()
        assert led or "no feature" in page.text
        for label, text in features.items():
            if said in text.lower():  # a composed sentence is one of its description's
                assert label in led
    assert run.cases[0]["reference"] in page.text
    meters = [float(a["value"] or 0) for a in page.all("meter")]
    assert meters == pytest.approx([e.score for e in report.evidence], abs=1e-4)


def test_a_report_page_marks_what_radfact_says(place: Place, whole: Path) -> None:
    run = find_run(place.run, None)
    for number in range(8):
        page = Page(whole / report_page(number))
        rows = re.findall(r"(precision|recall)\n?(.*?)(not entailed|entailed)", page.text)
        said = {verdict_ for _, _, verdict_ in rows}
        assert bool(page.all("mark", **{"class": "v-agree"})) >= ("entailed" in said)
        assert bool(page.all("mark", **{"class": "v-differ"})) or "not entailed" not in said
        own = {o.column.key: o.shown for o in run.own_scores[run.cases[number]["id"]]}
        assert f"RadFact {own['RadFact']}" in re.sub(r"\s+", " ", page.text)


def test_own_scores_agree_with_the_runs(place: Place) -> None:
    run = find_run(place.run, None)
    summary = json.loads((place.run / "summary.json").read_text())
    own = [{o.column.key: o.value for o in scores}["RG-L"] for scores in run.own_scores.values()]
    assert np.mean([value for value in own if value is not None]) == pytest.approx(summary["scores"]["RG-L"]["value"])


# ------------------------------------------------------------------ going on


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("atlas.json", ".lock")
    }


def of_report(page: Path) -> bool:
    return "reports" in page.relative_to(page.parents[2]).parts


def test_the_same_command_makes_only_what_is_missing(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert "20 pages written" in place.atlas(out, "--features", 12, run=place.run)
    before = tree(out)
    assert "0 pages written" in place.atlas(out, "--features", 12, run=place.run)
    page = pages(out / "features")[0]
    used = {file: [p for p in pages(out) if file.name in p.read_text()] for file in (out / "images").rglob("*.jpg")}
    # An image that reports show too is made again with the features' pages, and is then there for the reports'.
    image, uses = min((file, where) for file, where in used.items() if where and not any(map(of_report, where)))
    page.unlink()
    image.unlink()
    assert f"{len({page, *uses})} pages written" in place.atlas(out, "--features", 12, run=place.run)
    assert tree(out) == before


def test_another_recipe_makes_the_pages_anew(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "other"
    place.atlas(out, "--features", 3, "--images", 4)
    first = set(tree(out))
    assert "3 pages written" in place.atlas(out, "--features", 3, "--images", 2)
    assert set(tree(out)) < first  # images of the larger galleries are gone
    assert "2 pages written" in place.atlas(out, "--features", 2, "--images", 2)
    assert len(pages(out / "features")) == 2


def test_a_stopped_atlas_is_recognised_and_goes_on(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.atlas(tmp_path / "straight", "--features", 40)
    real, written = Site.page, 0

    def dies(self: Site, path: str, template: str, **values: Any) -> None:
        nonlocal written
        written += 1
        if written == 20:
            raise KeyboardInterrupt
        real(self, path, template, **values)

    monkeypatch.setattr(Site, "page", dies)
    with pytest.raises((KeyboardInterrupt, SystemExit, BaseException)):
        place.atlas(tmp_path / "stopped", "--features", 40)
    monkeypatch.setattr(Site, "page", real)
    assert json.loads((tmp_path / "stopped/atlas.json").read_text())["complete"] is False
    assert "not finished" in Page(tmp_path / "stopped/index.html").text
    assert "22 pages written" in place.atlas(tmp_path / "stopped", "--features", 40)
    assert json.loads((tmp_path / "stopped/atlas.json").read_text())["complete"] is True
    assert tree(tmp_path / "stopped") == tree(tmp_path / "straight")


def test_a_feature_without_an_answer_is_asked_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def describe(self: SAERad, features: Iterable[int]) -> dict[int, Description | NoAnswer]:
        part = list(features)
        asked.append(part)
        return {f: NoAnswer("refused", "not my field") if len(asked) == 1 and f == part[0] else Description(f"D{f}.")
                for f in part}  # fmt: skip

    monkeypatch.setattr(SAERad, "describe", describe)
    said = place.atlas(tmp_path / "a", "--features", 4)
    refused = asked[0][0]
    assert "1 features have no description; the same command asks again" in said
    assert "refused: not my field" in Page(tmp_path / "a" / feature_page(refused)).text
    place.atlas(tmp_path / "a", "--features", 4)
    assert asked[1:] == [[refused]]
    assert f"D{refused}." in Page(tmp_path / "a" / feature_page(refused)).text


# ------------------------------------------------------------------ hostile and missing input


def test_texts_are_shown_and_never_run(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    for name, keys in (("cases.jsonl", ("reference", "indication", "group")), ("reports.jsonl", ("text",))):
        lines = [json.loads(line) for line in (run / name).read_text().splitlines()]
        for key in keys:
            lines[0][key] = HOSTILE
        for item in lines[0].get("evidence", ()):
            item["text"] = HOSTILE
        (run / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(SAERad, "describe", lambda _, fs: {f: Description(HOSTILE, HOSTILE) for f in fs})
    place.atlas(tmp_path / "a", "--features", 3, "--explain", "rouge-l", run=run)
    for file in pages(tmp_path / "a"):
        page = Page(file)
        scripts = [attributes.get("src") for tag, attributes in page.tags if tag == "script"]
        assert all(scripts), file
        assert not page.all("b"), file
        assert all(not text.strip() for text in page.by_tag.get("script", ())), file
    feature = Page(pages(tmp_path / "a/features")[0])
    assert SHOWN in feature.by_tag["h1"][0]
    assert any(SHOWN in text for text in feature.by_tag["details"])
    report = Page(tmp_path / "a" / report_page(0))
    assert report.text.count(SHOWN) >= 4  # report, reference, indication, patient, features
    assert column(table_of(tmp_path / "a/data/features.js"), "description") == [HOSTILE] * 3
    for data in (tmp_path / "a/data").iterdir():
        assert "<" not in data.read_text(encoding="ascii")


def test_images_that_cannot_be_read_leave_a_word_and_a_count(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = thumbs.Thumbnails._copy
    lost: list[Path] = []

    def copy(self: thumbs.Thumbnails, image: Path) -> str | None:
        lost.extend([image] * (not lost))
        return "truncated file" if image == lost[0] else real(self, image)

    monkeypatch.setattr(thumbs.Thumbnails, "_copy", copy)
    said = place.atlas(tmp_path / "a", "--features", 3)
    assert f"1 images could not be shown, e.g. {lost[0]}: truncated file" in said
    shown = [file for file in pages(tmp_path / "a/features") if "Image cannot be shown" in Page(file).text]
    assert shown
    assert "1 images could not be read" in re.sub(r"\s+", " ", Page(tmp_path / "a/index.html").text)
    monkeypatch.setattr(thumbs.Thumbnails, "_copy", real)
    assert f"{len(shown)} pages written" in place.atlas(tmp_path / "a", "--features", 3)
    assert all("Image cannot be shown" not in Page(file).text for file in pages(tmp_path / "a/features"))


def test_a_run_of_another_system_is_refused(place: Place, tmp_path: Path) -> None:
    changed = [part for key in (*SMALL, "systems.sae-rad.sae.steps=3") for part in ("--set", key)]
    with pytest.raises(BenchError, match="was made by another system"):
        place.atlas(tmp_path / "a", *changed, run=place.run)
    assert not (tmp_path / "a/index.html").exists()


def test_a_run_that_is_not_finished_or_not_there_is_refused(place: Place, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    (run / "done.json").unlink()
    with pytest.raises(BenchError, match="not finished"):
        place.atlas(tmp_path / "a", run=run)
    with pytest.raises(BenchError, match="holds no run"):
        place.atlas(tmp_path / "a", run=tmp_path / "here")
    with pytest.raises(BenchError, match="--explain 'blue'"):
        place.atlas(tmp_path / "a", "--features", 1, "--explain", "blue", run=place.run)


def copy_of(run: Path, folder: Path, **recorded: Any) -> Path:
    """Copy a run folder, with other values in its run.json; None takes a key out."""
    copied = folder / "copied"
    shutil.copytree(run, copied, dirs_exist_ok=True)
    values = {**json.loads((copied / "run.json").read_text()), **recorded}
    (copied / "run.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return copied


@pytest.mark.parametrize("missing", ["config", "label"])
def test_a_run_that_names_no_system_is_refused(place: Place, tmp_path: Path, missing: str) -> None:
    run = copy_of(place.run, tmp_path, **{missing: None})
    with pytest.raises(BenchError, match="no run of bench run"):
        place.atlas(tmp_path / "a", run=run)


def test_damaged_lines_of_a_run_are_an_error_or_passed_over(place: Place, tmp_path: Path) -> None:
    run = copy_of(place.run, tmp_path)
    lines = [json.loads(line) for line in (run / "reports.jsonl").read_text().splitlines()]
    for report in lines:
        report["evidence"][0]["label"] = "9" * 5000
    (run / "reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    place.atlas(tmp_path / "a", "--features", 1, run=run)
    with (run / "cases.jsonl").open("a") as file:
        file.write('{"id": "x"}\n')
    with pytest.raises(BenchError, match=r"cases\.jsonl: a line is no case"):
        place.atlas(tmp_path / "b", "--features", 1, run=run)


def test_a_folder_that_is_no_unicode_can_hold_the_run(place: Place, tmp_path: Path) -> None:
    run = copy_of(place.run, tmp_path).rename(tmp_path / "r\udcff")
    place.atlas(tmp_path / "a", "--features", 1, run=run)
    assert json.loads((tmp_path / "a/atlas.json").read_text())["complete"] is True


def test_files_emptied_by_a_power_cut_are_made_again(place: Place, tmp_path: Path) -> None:
    place.atlas(tmp_path / "a", "--features", 2)
    before = tree(tmp_path / "a")
    page, image = pages(tmp_path / "a/features")[0], sorted((tmp_path / "a/images").rglob("*.jpg"))[0]
    page.write_bytes(b"")
    image.write_bytes(b"")
    (image.parent / ".x.jpg.part").write_bytes(b"half")
    place.atlas(tmp_path / "a", "--features", 2)
    assert tree(tmp_path / "a") == before


@pytest.mark.parametrize("line", ["{}", '{"feature": 1, "text": null, "reasoning": ""}'])
def test_a_damaged_line_of_descriptions_names_its_file(place: Place, tmp_path: Path, line: str) -> None:
    place.atlas(tmp_path / "a", "--features", 2)
    [file] = (tmp_path / "a/state").iterdir()
    file.write_text(f"{line}\n")
    with pytest.raises(BenchError, match="a line is no description"):
        place.atlas(tmp_path / "a", "--features", 2)


def test_pages_that_cannot_be_removed_stop_the_command(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.atlas(tmp_path / "a", "--features", 2, "--images", 2)

    real = shutil.rmtree

    def refuse(path: Path, **options: Any) -> None:
        if Path(path).name != "features":
            real(path, **options)
        elif not options.get("ignore_errors"):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError):
        place.atlas(tmp_path / "a", "--features", 2, "--images", 3)


def test_images_of_the_training_split_are_not_shown_as_held_out(place: Place, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--split train: .*; the held-out splits are test"):
        place.atlas(tmp_path / "a", "--features", 1, "--split", "train")


@pytest.mark.parametrize("given", ["0", "-1", "9" * 5000, "1.5", "²"])
def test_a_number_of_features_that_is_none_is_refused(place: Place, tmp_path: Path, given: str) -> None:
    with pytest.raises(click.BadParameter, match="neither all nor a number"):
        place.atlas(tmp_path / "a", f"--features={given}")


def test_what_a_language_model_left_without_a_description_is_no_error_the_next_time(
    place: Place, tmp_path: Path
) -> None:
    """One of thirty may be without one, also when it is the only one that is still asked about."""
    never: list[str] = []

    def answer(prompt: str) -> str:
        never.extend([prompt] * (not never))
        return "I cannot tell." if prompt == never[0] else "*This feature represents something."

    with OpenAIServer(answer) as server:
        llm = {"use": "openai/judge", "base_url": f"{server.url}/v1", "attempts": 1}
        values = [f"llms.writer.{key}={value}" for key, value in llm.items()]
        values += ["systems.sae-rad.describe.by=llm", "systems.sae-rad.describe.llm=writer"]
        settings = [part for value in values for part in ("--set", value)]
        for asked in (30, 31):
            said = place.atlas(tmp_path / "a", "--features", 30, *settings)
            assert "1 features have no description; the same command asks again" in said
            assert len(server.asked) == asked


# ------------------------------------------------------------------ scores in the atlas


def test_scores_are_shown_where_they_are_of_this_system(place: Place, tmp_path: Path, busy: int) -> None:
    fingerprint = json.loads((place.run / "run.json").read_text())["fingerprint"]
    line = {"feature": busy, "detection": 0.8125, "labels": {"Edema": {"auroc": 0.75}}, "auroc_labels": 0.75,
            "matched": {"finding": "pleural_effusion", "f1": 0.5}}  # fmt: skip
    rows = {"sae-rad": {"detection": {"value": 0.625}}, "shuffled": {"detection": {"value": 0.5}}}
    folder = write_scores(tmp_path / "s", line, rows=rows, recipe={"system_fingerprint": fingerprint})
    place.atlas(tmp_path / "a", "--features", 2, "--scores", folder, run=place.run)
    table = table_of(tmp_path / "a/data/features.js")
    row = column(table, "feature").index(busy)
    assert column(table, "score:detection")[row] == 0.8125
    matched = next(c for c in table["columns"] if c["key"] == "matched")
    assert matched["names"][matched["data"][row]] == "pleural effusion"
    assert "0.812" in Page(tmp_path / "a" / feature_page(busy)).text
    index = Page(tmp_path / "a/index.html")
    assert {"sae-rad", "shuffled", "Detection"} <= {text.strip() for text in index.by_tag["th"]}
    other = write_scores(tmp_path / "t", line, recipe={"system_fingerprint": "another"})
    with pytest.raises(BenchError, match="of another system"):
        place.atlas(tmp_path / "b", "--features", 2, "--scores", other)


# ------------------------------------------------------------------ what must not leave


def texts_of(place: Place) -> set[str]:
    """Return the sentences of all reports, training and test, that have more than two words."""
    found = system_of(place)
    reports = [*found.system.train_reports, *found.references("test").values()]
    sentences = {report[a:b].rstrip(".!? ") for report in reports for a, b in spans(report)}
    return {sentence for sentence in sentences if len(sentence.split()) > 2}


def test_public_leaves_no_report_and_no_image_behind(place: Place, tmp_path: Path, whole: Path) -> None:
    place.atlas(tmp_path / "p", "--public", run=place.run)
    out, sentences = tmp_path / "p", texts_of(place)
    ids = {case["id"] for case in find_run(place.run, None).cases}
    ids |= {case.id for case in system_of(place).system.train_cases}
    everything = "\n".join(Page(f).text for f in pages(out)) + "\n".join(
        f.read_text() for f in out.rglob("*") if f.is_file() and f.suffix != ".html"
    )
    raw = "\n".join(f.read_text() for f in out.rglob("*") if f.is_file())
    assert [s for s in sentences if s in everything or s in raw] == []
    assert [i for i in ids if i in raw] == []
    assert system_of(place).dataset.fingerprint() not in raw  # a plugin may put anything in it
    assert not list(out.rglob("*.jpg"))
    assert not (out / "reports").exists()
    assert not (out / "state").exists()
    assert "Public version" in Page(out / "index.html").text
    assert len(pages(out / "features")) == 768
    private = "\n".join(Page(f).text for f in pages(whole / "features"))
    assert sum(s in private for s in sentences) > 100  # the search above can find something


def test_credentialed_atlases_are_private_and_say_so(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Demo, "credentialed", True)
    (tmp_path / "a").mkdir(mode=0o755)
    with pytest.raises(BenchError, match="reports on other data"):
        place.atlas(tmp_path / "a", "--features", 4, run=place.run)
    run = copy_of(place.run, tmp_path, credentialed=True)
    place.atlas(tmp_path / "a", "--features", 4, run=run)
    for file in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        assert file.stat().st_mode & 0o077 == 0, file
    for file in pages(tmp_path / "a"):
        assert "Credentialed data." in Page(file).text, file
    with pytest.raises(BenchError, match="choose another --out"):
        place.atlas(tmp_path / "a", "--features", 4, "--public")
    place.atlas(tmp_path / "b", "--features", 4, "--public")
    assert "Credentialed data." not in Page(tmp_path / "b/index.html").text


def test_pages_from_before_the_data_were_credentialed_are_made_anew(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.atlas(tmp_path / "a", "--features", 4)
    monkeypatch.setattr(Demo, "credentialed", True)
    place.atlas(tmp_path / "a", "--features", 4)
    for file in pages(tmp_path / "a"):
        assert "Credentialed data." in Page(file).text, file
        assert file.stat().st_mode & 0o077 == 0, file


def test_reports_on_other_data_never_get_into_an_atlas(place: Place, tmp_path: Path) -> None:
    """The system is the same, so that nothing but the data tells: a credentialed run in an atlas of the demo."""
    run = copy_of(place.run, tmp_path, credentialed=True, dataset_fingerprint="mimic")
    settings = [part for assignment in SMALL for part in ("--set", assignment)]
    with pytest.raises(BenchError, match="reports on other data than demo"):
        place.atlas(tmp_path / "a", "--features", 2, *settings, run=run)
    assert not list((tmp_path / "a").rglob("*.html"))


def test_scores_on_other_data_are_left_out(place: Place, tmp_path: Path) -> None:
    line = {"feature": 1, "detection": 0.8125}
    folder = write_scores(tmp_path / "s", line, recipe={"dataset": {"fingerprint": "mimic"}})
    with pytest.raises(BenchError, match="measures features on other data than demo"):
        place.atlas(tmp_path / "b", "--features", 2, "--scores", folder)


def test_a_link_in_the_folder_is_never_followed(place: Place, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "p10"
    mine.mkdir(parents=True)
    (mine / "scan.jpg").write_bytes(b"mine")
    place.atlas(tmp_path / "a", "--features", 2)
    shutil.rmtree(tmp_path / "a/images")
    (tmp_path / "a/images").symlink_to(tmp_path / "mine")
    with pytest.raises(BenchError, match="images is a link"):
        place.atlas(tmp_path / "a", "--features", 2)
    assert (mine / "scan.jpg").read_bytes() == b"mine"
