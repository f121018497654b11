"""LaTeX with booktabs, to be \\input into a document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leaderboards.model import Cell, ColumnSpec, Row, Table
from leaderboards.numbers import split_power

_DASH = "\0"
"""Stands for an en dash until hyphens side by side, which would become one, are kept apart."""
_NAMED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar\allowbreak{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": _DASH,
    "—": "---",
    "…": r"\dots{}",
    "·": r"\textperiodcentered{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "‖": r"$\|$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
    "β": r"$\beta$",
    "μ": r"$\mu$",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
}
"""Brackets and stars are braced: after a row's \\\\ they would be its arguments."""
_PLAIN = re.compile(r"[ -~À-ÖØ-öø-ſ]")
_HEAD = """\
% Needs \\usepackage{booktabs}, \\usepackage[T1]{fontenc} and \\usepackage{textcomp}.
\\begin{table}
\\centering
\\small
\\setlength{\\tabcolsep}{3pt}
"""


def render(table: Table) -> str:
    """Return a table float: caption, tabular, and the notes below it."""
    n = len(table.columns) + 2
    lines = [f"\\caption{{{escape(table.title)}}}", f"\\begin{{tabular}}{{l{'r' * (n - 2)}l}}", r"\toprule"]
    lines += [*_heading(table), *_body(table, n), r"\bottomrule", r"\end{tabular}", *_notes(table), r"\end{table}"]
    return _HEAD + "\n".join(lines) + "\n"


def _heading(table: Table) -> Iterator[str]:
    if any(block for block, _ in table.blocks()):
        yield f" & {' & '.join(_span(block, n) for block, n in table.blocks())} & \\\\"
        yield " ".join(_rules(table))
    names = (escape(_short(column) + column.arrow) for column in table.columns)
    yield f"Model & {' & '.join(names)} & Origin \\\\"


def _short(column: ColumnSpec) -> str:
    return column.short or column.heading


def _span(block: str, n: int) -> str:
    return f"\\multicolumn{{{n}}}{{c}}{{{escape(block)}}}"


def _rules(table: Table) -> Iterator[str]:
    start = 2
    for block, n in table.blocks():
        if block:
            yield f"\\cmidrule(lr){{{start}-{start + n - 1}}}"
        start += n


def _body(table: Table, n: int) -> Iterator[str]:
    for group in table.groups:
        yield r"\midrule"
        yield f"\\multicolumn{{{n}}}{{l}}{{\\textit{{{escape(group.full_heading)}}}}} \\\\"
        for row in group.rows:
            yield from _row(row)


def _row(row: Row) -> Iterator[str]:
    """Yield a row, and below it the row of its intervals in small print."""
    yield _joined(row.label, [_number(cell) for cell in row.cells], row.origin)
    if any(cell.interval for cell in row.cells):
        yield _joined("", [f"{{\\scriptsize {escape(c.interval)}}}" if c.interval else "" for c in row.cells], "")


def _joined(label: str, cells: Sequence[str], origin: str) -> str:
    return f"{escape(label)} & {' & '.join(cells)} & {escape(origin)} \\\\"


def _number(cell: Cell) -> str:
    parts = split_power(cell.text)
    text = f"${parts[0]} \\times 10^{{{parts[1]}}}$" if parts else escape(cell.text)
    return f"\\textbf{{{text}}}" if cell.bold else text


def _notes(table: Table) -> Iterator[str]:
    if table.notes:
        yield r"\par\smallskip"
        yield r"\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield from (f"{escape(note)}\\par" for note in table.notes)
        yield r"\end{minipage}"


def escape(text: str) -> str:
    """Return the text on one line, showing as it is; letters that pdflatex lacks become their code points."""
    line = " ".join(text.split())
    return re.sub("-(?=-)", "-{}", "".join(map(_character, line))).replace(_DASH, "--")


def _character(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    return char if _PLAIN.fullmatch(char) else f"{{[}}U+{ord(char):04X}{{]}}"
