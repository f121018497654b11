"""The pages of ``bench report`` in a real browser: the list sorts and filters, cases open, hostile texts stay texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_browser import CHROMIUM, Tab, launched
from pages_world import HOSTILE, Place, make_place

from bench import case_values
from bench.pages.html import clean

drive = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH, none in BENCH_CHROMIUM"),
]
WIDTHS = (360, 1400)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def runs(place: Place) -> tuple[Path, Path]:
    return place.run("plain"), place.run("wordy", words=6)


@pytest.fixture(scope="module")
def folder(place: Place, runs: tuple[Path, Path]) -> Path:
    code, _, err = place.call("report", *runs, "--out", "both", "--draws", 50, "--trials", 50)
    assert code == 0, err
    return place.root / "both"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched(drive) as browser:
        yield browser


@pytest.fixture(params=WIDTHS)
def tab(request: pytest.FixtureRequest, browser: Any, folder: Path) -> Iterator[Tab]:
    tab = Tab(browser, folder, request.param)
    yield tab
    tab.check()
    tab.page.context.close()


@pytest.fixture
def wide(browser: Any, folder: Path) -> Iterator[Tab]:
    tab = Tab(browser, folder, 1400)
    yield tab
    tab.page.context.close()


def listed(tab: Tab) -> list[int]:
    return [int(text) for text in tab.texts("#table tbody .casecell a")]


def values(run: Path, key: str) -> dict[int, float]:
    """Case number → value, of the cases that have one."""
    found = case_values.read(run).columns[key].values
    return {number: float(v) for number, v in enumerate(found, 1) if v == v}


def test_worst_first_then_as_chosen(tab: Tab, runs: tuple[Path, Path]) -> None:
    page = tab.open("index.html")
    ours, theirs = (values(run, "Clear") for run in runs)
    assert listed(tab) == [*sorted(ours, key=lambda n: (ours[n], n)), 9, 10]  # those without a value last
    page.select_option("#sort", "score:0:Cost")
    cost = values(runs[0], "Cost")
    assert listed(tab)[:10] == sorted(cost, key=lambda n: (-cost[n], n))  # less is better
    page.click("#direction")
    assert listed(tab)[:10] == sorted(cost, key=lambda n: (cost[n], n))
    page.select_option("#sort", "difference:1:Clear")
    gains = {n: round(100 * (theirs[n] - ours[n]), 3) for n in ours}
    assert listed(tab)[:10] == sorted(gains, key=lambda n: (gains[n], n))


def test_filters_and_the_address_that_keeps_them(tab: Tab, runs: tuple[Path, Path]) -> None:
    page = tab.open("index.html")
    page.fill("#search", "NUMBER 7")
    assert listed(tab) == [8]
    page.fill("#search", "onerror='window.pwned")
    assert listed(tab) == [1]
    page.fill("#search", "")
    page.select_option("#category", "status\0A: no report: error")
    assert listed(tab) == [6]
    page.select_option("#category", "status\0B: Teller failed")
    assert listed(tab) == [10]
    page.select_option("#category", "")
    page.select_option("#least-of", "score:0:Clear")
    page.fill("#least", "30")
    page.fill("#most", "70")
    found = values(runs[0], "Clear")
    assert listed(tab) == sorted((n for n, v in found.items() if 0.3 <= v <= 0.7), key=lambda n: (found[n], n))
    before = listed(tab)
    page.reload()
    assert listed(tab) == before
    assert page.input_value("#most") == "70"
    page.fill("#search", "zebra")
    assert page.inner_text("#status").startswith("No case fits")


def test_the_address_keeps_a_direction_that_is_the_first_columns_usual_one(wide: Tab) -> None:
    page = wide.open("index.html")
    page.select_option("#sort", "score:0:Cost")  # less is better: the highest first
    page.click("#direction")  # as Clear, the first column, begins
    before = listed(wide)
    page.reload()
    assert listed(wide) == before
    assert page.get_attribute("#direction", "aria-pressed") == "false"
    page.click("nav a[href='#cases']")  # a link to a part of the page takes nothing away
    page.wait_for_function("location.hash !== '#cases'")
    page.reload()
    assert listed(wide) == before
    page.evaluate("location.hash = 'query=number+7'")  # an address that is put in by hand
    page.wait_for_function("document.querySelectorAll('#table tbody tr').length === 1")
    assert listed(wide) == [8]
    wide.check()


def test_the_banner_of_credentialed_data_is_as_wide_as_the_page(place: Place, browser: Any) -> None:
    code, _, err = place.call("report", place.run("held", credentialed=True), "--out", "held", "--cases", 1)
    assert code == 0, err
    tab = Tab(browser, place.root / "held", 1400)
    assert tab.open("index.html").locator(".banner").bounding_box()["width"] == 1400
    tab.check()
    tab.page.context.close()


def test_a_bar_lists_its_cases_and_columns_are_chosen(wide: Tab, runs: tuple[Path, Path]) -> None:
    page = wide.open("index.html")
    bar = page.locator("rect[data-column='score:1:Clear']").last
    count = int(str(bar.locator("title").text_content()).split(": ")[1].split()[0])
    bar.click()
    assert len(listed(wide)) == count
    top = values(runs[1], "Clear")
    assert set(listed(wide)) == set(sorted(top, key=lambda n: -top[n])[:count])
    assert page.locator("#table thead th").count() == 6
    page.click("#choose summary")
    page.uncheck("#columns label:has-text('Cost') input")
    assert wide.texts("#table thead th") == ["Case", "Reference and reports", "Clear", "Fallen", "Fallen 2"]
    page.click("#table thead th[data-key='score:0:Fallen'] button")
    assert page.get_attribute("#table thead th[data-key='score:0:Fallen']", "aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.textContent") == "Fallen"
    wide.check()


def test_from_the_list_through_the_cases_and_back(tab: Tab) -> None:
    page = tab.open("index.html")
    page.select_option("#sort", "difference:1:Clear")
    order, address = listed(tab), page.url.partition("#")[2]
    assert address
    page.keyboard.press("Tab")
    page.locator("body").press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h1[data-number='{order[1]}']")
    assert "2 of 12 in the list" in page.inner_text(".kicker")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f"h1[data-number='{order[2]}']")
    tab.check()
    page.click("a[rel=prev] >> nth=0")
    page.wait_for_selector(f"h1[data-number='{order[1]}']")
    page.click("a.back:has-text('All cases') >> nth=0")
    page.wait_for_selector("#table tbody tr")
    assert page.url.partition("#")[2] == address
    assert listed(tab) == order


def test_marks_are_shown_by_one_metric_at_a_time(tab: Tab) -> None:
    page = tab.open("cases/00005.html")
    assert page.locator(".comparison:visible").count() == 2  # one a run
    assert page.locator(".comparison:visible mark").count() > 4
    page.click(".tabs button:has-text('Fallen')")
    assert page.locator(".comparison:visible .report mark").count() == 0
    assert page.locator(".comparison:visible").first.inner_text().count("its weights are gone") == 1
    page.click("a[rel=next] >> nth=0")  # the next case keeps the choice
    page.wait_for_selector("h1[data-number='6']")
    assert page.get_attribute(".tabs button:has-text('Fallen')", "aria-pressed") == "true"
    tab.open("cases/00002.html")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.locator(".films img").count() == 2


def test_hostile_texts_do_nothing(wide: Tab, runs: tuple[Path, Path]) -> None:
    pairs = list(case_values.read(runs[0]).run.pairs.values())
    assert wide.open("index.html").evaluate("window.pwned") is None
    for number in range(1, len(HOSTILE) + 1):
        page = wide.open(f"cases/{number:05d}.html")
        for side, text in (("candidate", pairs[number - 1].candidate), ("reference", pairs[number - 1].reference)):
            shown = page.evaluate(f"JSON.stringify(document.querySelector('[data-side={side}]').textContent)")
            assert json.loads(shown) == clean(text)
        assert page.evaluate("window.pwned") is None
    wide.check()


def test_the_policy_stops_a_script_that_got_in(wide: Tab) -> None:
    page = wide.open("index.html")
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.pwned = 3";
      document.body.append(script);
      const image = document.createElement("img");
      image.src = "https://example.org/x.png";
      document.body.append(image);
    }""")
    page.wait_for_timeout(100)
    assert page.evaluate("window.pwned") is None
    assert sum("Content Security Policy" in fault for fault in wide.faults) >= 2
