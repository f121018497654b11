"""One HTML page that needs nothing else: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape as _escape

from leaderboards.model import MARKS, Cell, ColumnSpec, Row, Table
from leaderboards.numbers import split_power

_STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --soft: #59636e; --page: #fff; --band: #f3f5f7; --line: #d1d9e0; --strong: #0b57d0; --mine: #eef5ff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ee; --soft: #9aa4b1; --page: #0f1318; --band: #1a2028; --line: #313a45;
    --strong: #8ab4f8; --mine: #142238;
  }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem; background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 90rem; margin: 0 auto; }
h1 { font-size: 1.2rem; margin: 0 0 1rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
.scroll:focus-visible { outline: 2px solid var(--strong); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; font-weight: 600; background: var(--band); }
thead .block { text-align: center; color: var(--soft); font-weight: 500; padding-bottom: 0; }
.name, .group { text-align: left; }
.name { position: sticky; left: 0; background: var(--page); font-weight: 500; max-width: 16rem; white-space: normal; }
thead .name { background: var(--band); }
.group { background: var(--band); font-style: italic; font-weight: 500; }
.group span { position: sticky; left: .7rem; }
.measured td, .measured .name { background: var(--mine); }
td strong { color: var(--strong); }
.interval, .support { display: block; font-size: .75em; color: var(--soft); }
.n { color: var(--soft); }
sup { line-height: 0; }
ul { margin: 1rem 0 0; padding-left: 1.2rem; color: var(--soft); font-size: .85em; overflow-wrap: anywhere; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(table: Table) -> str:
    """Return a whole page; every text that comes from outside is escaped."""
    return "\n".join(_page(table)) + "\n"


def escape(text: str) -> str:
    """Return the text for an element or an attribute."""
    return _escape(text, quote=True)


def _page(table: Table) -> Iterator[str]:
    title = escape(table.title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<main>"
    yield f'<h1>{title}</h1>\n<div class="scroll" tabindex="0" role="region" aria-label="{title}">\n<table>'
    yield from _head(table)
    for group in table.groups:
        yield f'<tbody>\n<tr><th class="group" colspan="{len(table.columns) + 1 + table.has_n}" scope="rowgroup">'
        yield f"<span>{escape(group.full_heading)}</span></th></tr>"
        yield from (_row(row, table.has_n) for row in group.rows)
        yield "</tbody>"
    yield "</table>\n</div>"
    if table.notes:
        yield "<ul>"
        yield from (f"<li>{escape(note)}</li>" for note in table.notes)
        yield "</ul>"
    yield "</main>\n</body>\n</html>"


def _head(table: Table) -> Iterator[str]:
    yield "<thead>"
    n = '<th class="n" scope="col">n</th>' if table.has_n else ""
    if any(block for block, _ in table.blocks()):
        spans = "".join(f'<th class="block" colspan="{width}">{escape(b)}</th>' for b, width in table.blocks())
        yield f'<tr><th class="name"></th>{spans}{"<th></th>" if table.has_n else ""}</tr>'
    headings = "".join(f'<th scope="col">{escape(_short(c))}</th>' for c in table.columns)
    yield f'<tr><th class="name" scope="col">Model</th>{headings}{n}</tr>'
    yield "</thead>"


def _short(column: ColumnSpec) -> str:
    return (column.short or column.heading) + column.arrow


def _row(row: Row, has_n: bool) -> str:
    cells = "".join(f"<td>{_cell(cell, row.support(cell))}</td>" for cell in row.cells)
    name = f'<th class="name" scope="row">{escape(row.name)}</th>'
    n = f'<td class="n">{escape(row.n_text)}</td>' if has_n else ""
    return f'<tr class="{row.origin}">{name}{cells}{n}</tr>'


def _cell(cell: Cell, support: str) -> str:
    parts = split_power(cell.text)
    text = f"{parts[0]}×10<sup>{parts[1].replace('-', '−')}</sup>" if parts else escape(cell.text)
    if cell.bold:
        text = f"<strong>{text}</strong>"
    if cell.reason:
        text = f'<span title="{escape(cell.reason)}">{text}</span>'
    flags = MARKS[cell.mark] + (str(cell.footnote) if cell.footnote else "")
    text += f"<sup>{flags}</sup>" if flags else ""
    below = (("interval", cell.interval), ("support", support))
    return text + "".join(f'<span class="{kind}">{escape(small)}</span>' for kind, small in below if small)
