"""The pages of a site: an index, a page an entry, and reports where they may be published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import __version__, show
from bench.pages.html import environment, hash_of, static
from leaderboards.living.checked import MARKS, WORDS
from leaderboards.living.shown import Shown, blocks, interval, recipes

HERE = Path(__file__).parent
OVERALL = {
    "verified": "verified",
    "partly": "verified in part",
    "failed": "check failed",
    "unchecked": "not verified",
}
ABOUT_OVERALL = {
    "verified": "All scores were verified: the reports were scored again, and gave the same.",
    "partly": "Some scores were verified by scoring the reports again; those marked could not be.",
    "failed": "Scoring the reports again gave something else than the entry says. No number of it is published.",
    "unchecked": "The scores are as they were sent in: they were not verified by scoring the reports again.",
}


def site(found: Sequence[Shown], title: str, tables: Sequence[str]) -> dict[str, str]:
    """Return file → page."""
    style = static("base.css") + (HERE / "static" / "site.css").read_text(encoding="utf-8")
    script = (HERE / "static" / "site.js").read_text(encoding="utf-8")
    templates = environment(
        HERE / "templates",
        site=title,
        style=style,
        script=script,
        policy=_policy(style, script),
        marks=MARKS,
        words=WORDS,
        overall=OVERALL,
        about_overall=ABOUT_OVERALL,
        made_by=f"cxr-report-bench {__version__}",
        interval=interval,
    )
    failed = [one for one in found if one.overall == "failed"]
    index = templates.get_template("index.html")
    files = {"index.html": index.render(blocks=blocks(found), failed=failed, found=found, tables=tables, root="")}
    for one in found:
        if one.overall == "failed":
            continue
        files[f"entries/{one.name}.html"] = templates.get_template("entry.html").render(**_entry(one), root="../")
        if one.reports:
            files[f"reports/{one.name}.html"] = templates.get_template("reports.html").render(one=one, root="../")
    return files


def _entry(one: Shown) -> dict[str, Any]:
    """Return what the page of an entry is made of."""
    keys = show.column_keys([one.summary], full=True)
    scores = one.summary["scores"]
    named = [(scores[key]["heading"] or key, scores[key]["signature"]) for key in keys]
    return {"one": one, "keys": keys, "recipes": recipes(named), "options": list(_options(one.about["config"]))}


def _policy(style: str, script: str) -> str:
    """Return a policy by which a page fetches nothing, and runs and is styled by what it holds itself."""
    return (
        f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; base-uri 'none'; "
        "form-action 'none'"
    )


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (part, its options on a line), all parts of a configuration one after another."""
    for section, value in config.items():
        parts = {"": value} if section == "dataset" else value
        for label, options in parts.items():
            yield f"{section.removesuffix('s')} {label}".strip(), ", ".join(_flat(options))


def _flat(options: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key} {value if not isinstance(value, bool) else str(value).lower()}"
