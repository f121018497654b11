"""How fast a run page opens, filters and sorts: two synthetic runs of 3,403 cases in a real headless browser.

    python benchmarks/report_page.py [--cases 3403] [--keep FOLDER]

Needs playwright and a chromium (on the PATH, or named by BENCH_CHROMIUM). Times are medians of several tries.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from bench.cli import run_command

SENTENCES = (
    "The heart is mildly enlarged",
    "The cardiac silhouette is within normal limits",
    "There is a small left pleural effusion with adjacent atelectasis",
    "There is no focal consolidation, pleural effusion or pneumothorax",
    "Increased interstitial markings are consistent with mild pulmonary edema",
    "The endotracheal tube ends four centimeters above the carina",
    "A right internal jugular catheter ends in the lower superior vena cava",
    "Opacity at the right base may reflect pneumonia in the appropriate clinical setting",
    "Low lung volumes accentuate the bronchovascular markings",
    "The mediastinal and hilar contours are unremarkable",
    "Old healed fractures of several left ribs are noted",
    "Median sternotomy wires are intact and aligned",
    "A nodular density projects over the left upper lobe",
    "The aorta is tortuous and calcified",
)
METRICS = "bleu-4,rouge-l,meteor,chexpert-rules-f1"
TRIES = 7


def report(draw: random.Random) -> str:
    return ". ".join(draw.sample(SENTENCES, 7)) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=3403)
    parser.add_argument("--keep", type=Path, help="write runs and page here, and leave them")
    given = parser.parse_args()
    root = given.keep or Path(tempfile.mkdtemp())
    try:
        measure(root, given.cases)
    finally:
        if given.keep is None:
            shutil.rmtree(root)


def measure(root: Path, n: int) -> None:
    runs = [make_run(root, label, n, seed) for seed, label in enumerate(("ours", "theirs"), 1)]
    out = root / "page"
    seconds = timed(lambda: call("report", *runs, "--out", out, "--images", "none"))
    pages = list((out / "cases").glob("*.html"))
    size = sum(page.stat().st_size for page in pages)
    print(f"{n} cases, 2 runs, {METRICS}")
    print(f"written in {seconds:.1f} s ({len(pages) / seconds:.0f} pages/s, each metric explained, no images)")
    print(
        f"index.html {(out / 'index.html').stat().st_size / 1e6:.2f} MB; a case's page {size / len(pages) / 1e3:.0f} kB"
    )
    browse(out / "index.html", pages[0])


def make_run(root: Path, label: str, n: int, seed: int) -> Path:
    """Score a file of predictions; the references are the same whatever the seed."""
    draw, truth = random.Random(seed), random.Random(0)
    root.mkdir(parents=True, exist_ok=True)
    file, folder = root / f"{label}.csv", root / label
    with file.open("w", newline="") as out:
        rows = [(f"case-{i:05d}", f"patient-{i // 2}", report(draw), report(truth)) for i in range(n)]
        csv.writer(out).writerows([("id", "group", "candidate", "reference"), *rows])
    call("score", file, "--metrics", METRICS, "--out", folder, "--label", label, "--public")
    return folder


def call(*arguments: object) -> None:
    from bench.cli import bench

    code = run_command(lambda: bench.main(args=[str(a) for a in arguments], prog_name="bench", standalone_mode=False))
    assert code == 0, arguments


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# From the event to the frame after the table is drawn.
STEP = """async ([id, event, value]) => {
  const element = document.getElementById(id), start = performance.now();
  element.value = value;
  element.dispatchEvent(new Event(event));
  const drawn = performance.now() - start;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [drawn, performance.now() - start, document.getElementById("status").textContent];
}"""
# Ready: every script has run. Asked by a promise, since the pages' policy lets no text be evaluated.
LOADED = """() => new Promise((done) => {
  const entry = performance.getEntriesByType("navigation")[0];
  new PerformanceObserver((list) => {
    const paint = list.getEntriesByName("first-contentful-paint")[0];
    if (paint) done([entry.domContentLoadedEventEnd, paint.startTime]);
  }).observe({ type: "paint", buffered: true });
})"""


def browse(index: Path, case: Path) -> None:
    chromium = os.environ.get("BENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, file in (("index.html", index), ("a case's page", case)):
            times = [opened(browser, file) for _ in range(TRIES)]
            whole, paint = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"{name}: ready after {whole:.0f} ms, first painted after {paint:.0f} ms")
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(index.as_uri())
        nodes = page.evaluate("document.querySelectorAll('*').length")
        print(f"index.html: {nodes:,} elements in the document")
        step(page, "first search", "search", "input", ["effusion"])
        step(page, "search, a word more", "search", "input", ["effusion left", "effusion", "edema", "case-0012"] * 2)
        page.evaluate(STEP, ["search", "input", ""])
        keys = [option.get_attribute("value") for option in page.locator("#sort option").all()]
        step(page, "sort by another column", "sort", "change", [key for key in keys if key and ":" in key][:14])
        step(page, "values in a range", "least", "input", ["5", "10", "15", "20", "25"])
        browser.close()


def opened(browser: Any, file: Path) -> tuple[float, float]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(file.as_uri())
    ready, paint = page.evaluate(LOADED)
    page.close()
    return ready, paint


def step(page: Any, name: str, element: str, event: str, values: list[str]) -> None:
    found = [page.evaluate(STEP, [element, event, value]) for value in values]
    drawn, shown = (statistics.median(one[k] for one in found) for k in (0, 1))
    print(f"{name}: {drawn:.0f} ms, on the screen after {shown:.0f} ms ({found[-1][2]})")


if __name__ == "__main__":
    main()
