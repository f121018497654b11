"""The atlas in a real browser: search, sort, a feature's page and a report's, at two widths."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from atlas_world import Place, column, make_run, table_of
from in_browser import CHROMIUM, Tab, launched

from systems.sae_rad.atlas.finished import find_run
from systems.sae_rad.atlas.site import Site, feature_page, report_page

pytest.importorskip("systems.sae_rad.trained")
drive = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

WIDTHS = (360, 1400)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH, none in BENCH_CHROMIUM"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = make_run(tmp_path_factory.mktemp("browser"))
    place.atlas("atlas", "--features", 400, run=place.run)
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched(drive) as browser:
        yield browser


@pytest.fixture(params=WIDTHS)
def tab(request: pytest.FixtureRequest, browser: Any, place: Place) -> Iterator[Tab]:
    tab = Tab(browser, place.root / "atlas", request.param)
    yield tab
    tab.check()
    tab.page.context.close()


@pytest.fixture(scope="module")
def table(place: Place) -> dict[str, Any]:
    return table_of(place.root / "atlas/data/features.js")


def test_search_sort_and_filters(tab: Tab, table: dict[str, Any]) -> None:
    page = tab.open("index.html")
    features, texts, counts = (column(table, key) for key in ("feature", "description", "count"))
    alive = [k for k, count in enumerate(counts) if count]
    assert f"{len(alive)} of 400 features" in page.inner_text("#status")
    busiest = sorted(alive, key=lambda k: (-counts[k], k))
    rows = page.locator("#table tbody tr")
    assert [int(text) for text in tab.texts("#table tbody th a")] == [features[k] for k in busiest[:50]]

    word = "effusion"
    labels = next(c for c in table["columns"] if c["key"] == "label")
    named = [labels["names"][k].lower() if k is not None else "" for k in labels["data"]]
    fits = [k for k in alive if word in texts[k].lower() or word in named[k]]
    page.fill("#search", word.upper())
    assert f"{len(fits)} of 400 features" in page.inner_text("#status")
    assert rows.count() == min(len(fits), 50)
    page.fill("#search", f"{word} zebra")
    assert "No feature fits" in page.inner_text("#status")
    assert not page.is_visible("#table")

    page.fill("#search", "")
    page.select_option("#sort", "feature")
    first = sorted(alive, key=lambda k: features[k])
    assert int(tab.texts("#table tbody th a")[0]) == features[first[0]]
    page.click("#direction")
    assert int(tab.texts("#table tbody th a")[0]) == features[first[-1]]
    page.select_option("#least-of", "count")
    page.fill("#least", "20")
    assert f"{sum(counts[k] >= 20 for k in alive)} of 400" in page.inner_text("#status")
    page.uncheck("#hide")
    page.fill("#least", "")
    assert page.inner_text("#status").startswith("400 of 400")
    page.click("#next")
    assert "51 to 100 shown" in page.inner_text("#status")
    page.reload()  # the address keeps what was chosen
    assert "51 to 100 shown" in page.inner_text("#status")


def test_columns_sort_by_their_headings(browser: Any, place: Place, table: dict[str, Any]) -> None:
    tab = Tab(browser, place.root / "atlas", 1400)
    page = tab.open("index.html")
    page.click("thead th[data-key=held_out] button")
    counts = [int(text) for text in tab.texts("tbody td[data-title='Images of test']")]
    assert counts == sorted(column(table, "held_out"), reverse=True)[:50]
    assert page.get_attribute("thead th[data-key=held_out]", "aria-sort") == "descending"
    page.click("thead th[data-key=held_out] button")
    assert page.get_attribute("thead th[data-key=held_out]", "aria-sort") == "ascending"
    tab.page.context.close()


def test_a_feature_page(tab: Tab, table: dict[str, Any]) -> None:
    counts = column(table, "count")
    busiest = column(table, "feature")[counts.index(max(counts))]
    page = tab.open("index.html")
    page.fill("#search", str(busiest))
    page.click(f"#table tbody th a[href='{feature_page(busiest)}']")
    page.wait_for_selector("h1")
    seen = [url for url in tab.asked if url.endswith(".jpg")]
    images = page.locator(".gallery img")
    assert images.count() >= 16
    assert len(seen) < page.locator("img").count()  # those far below are not loaded yet
    last = page.locator(".sources img").last
    last.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=last.element_handle())

    images.first.click()
    assert page.is_visible("dialog.viewer img")
    assert page.get_attribute("dialog.viewer img", "alt") == "Rank 1: chest radiograph, " + (
        page.locator(".gallery figcaption").first.inner_text().split("·")[1].split()[0] + " view"
    )
    page.keyboard.press("ArrowRight")
    assert "Rank 2" in (page.get_attribute("dialog.viewer img", "alt") or "")
    tab.check()
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog.viewer")

    partner = page.locator(".partners tbody a").first
    number = partner.inner_text()
    partner.click()
    page.wait_for_selector(f".kicker:has-text('Feature {number}')")


def test_a_report_page_shows_which_feature_led_to_which_sentence(tab: Tab, place: Place) -> None:
    run = find_run(place.run, None)
    page = tab.open(report_page(0))
    first = page.locator(".comparison:visible .sentence[data-features*='1'], .comparison:visible .sentence").first
    led = (first.get_attribute("data-features") or "").split()
    assert led
    first.hover()
    lit = [item.get_attribute("data-feature") for item in page.locator(".features .lit").all()]
    assert sorted(lit) == sorted(set(led))
    assert page.locator(".comparison:visible .sentence.lit").count() == 1
    item = page.locator(f".features li[data-feature='{led[0]}']")
    page.locator("h1").hover()
    assert page.locator(".lit").count() == 0
    item.hover()
    assert "lit" in (first.get_attribute("class") or "")
    page.locator("h1").hover()

    first.focus()  # by the keyboard as well
    assert "lit" in (item.get_attribute("class") or "")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.feature") == led[0]

    assert page.locator(".comparison").count() == 2
    page.click(".tabs button:has-text('chexbert-f1')")
    assert page.locator(".comparison:visible").get_attribute("id") == "by-1"
    page.click("a[rel=next] >> nth=0")
    page.wait_for_selector(".kicker:has-text('Report 2')")
    assert run.cases[1]["id"] in page.inner_text("h1")


def test_the_table_of_reports(tab: Tab, place: Place) -> None:
    page = tab.open("reports.html")
    assert "8 of 8 reports" in page.inner_text("#status")
    page.fill("#search", find_run(place.run, None).cases[3]["id"])  # not shown, but found
    assert tab.texts("#table tbody th a") == ["4"]


def test_a_large_table_keeps_few_rows_in_the_page(browser: Any, tmp_path: Path, place: Place) -> None:
    n = 49_152
    site = Site(tmp_path / "large", {})
    shutil.copytree(place.root / "atlas", tmp_path / "large")
    words = ("effusion", "edema", "pacemaker", "clear lungs")
    columns = [
        {"key": "feature", "title": "Feature", "kind": "feature", "data": list(range(n))},
        {
            "key": "description",
            "title": "Description",
            "kind": "text",
            "data": [f"{words[k % 4]} {k}" for k in range(n)],
        },
        {"key": "count", "title": "Training images", "kind": "count", "data": [k % 977 for k in range(n)]},
    ]
    site.data("data/features.js", "atlasTable", {"noun": "features", "sort": "count", "columns": columns})
    tab = Tab(browser, tmp_path / "large", 1400)
    page = tab.open("index.html")
    assert page.locator("#table tbody tr").count() == 50
    page.fill("#search", "edema")
    assert page.inner_text("#status") == "12,288 of 49,152 features, 1 to 50 shown"
    assert page.locator("#table tbody tr").count() == 50
    page.click("#last")
    assert page.locator("#table tbody tr").count() == 38
    tab.check()
    tab.page.context.close()
