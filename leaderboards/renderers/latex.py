"""LaTeX with booktabs, to be \\input into a document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leaderboards.model import MARKS, Cell, ColumnSpec, Row, Table, raised
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
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "§": r"\S{}",
    **{raised(digit): rf"\textsuperscript{{{digit}}}" for digit in range(1, 10)},
    "⁰": r"\textsuperscript{0}",
}
"""Brackets and stars are braced: after a row's \\\\ they would be its arguments."""
_PLAIN = re.compile(r"[ -~À-ÖØ-öø-ſ]")
_HEAD = """\
% Needs \\usepackage{booktabs}, \\usepackage{graphicx}, \\usepackage[T1]{fontenc} and \\usepackage{textcomp}.
\\begin{table}
\\centering
\\small
\\setlength{\\tabcolsep}{3pt}
"""
_NUMBERED = re.compile(r"^Table \d+: ")
"""LaTeX numbers tables itself."""
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def render(table: Table) -> str:
    """Return a table float: caption, tabular, shrunk where it is wider than the line, and the notes below it."""
    n = len(table.columns) + 1 + table.has_n
    lines = [
        f"\\caption{{{escape(_NUMBERED.sub('', table.title))}}}",
        _FIT,
        f"\\begin{{tabular}}{{l{'r' * (n - 1)}}}",
        r"\toprule",
    ]
    lines += [*_heading(table), *_body(table, n), r"\bottomrule", r"\end{tabular}%", "}"]
    return _HEAD + "\n".join([*lines, *_notes(table), r"\end{table}"]) + "\n"


def _heading(table: Table) -> Iterator[str]:
    if any(block for block, _ in table.blocks()):
        yield f" & {' & '.join(_span(block, n) for block, n in table.blocks())}{' &' if table.has_n else ''} \\\\"
        yield " ".join(_rules(table))
    names = (escape(_short(column) + column.arrow) for column in table.columns)
    yield f"Model & {' & '.join(names)}{' & n' if table.has_n else ''} \\\\"


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
            yield from _row(row, table.has_n)


def _row(row: Row, has_n: bool) -> Iterator[str]:
    """Yield a row, and below it the row of its intervals in small print."""
    yield _joined(row.name, [*map(_number, row.cells), *([escape(row.n_text)] if has_n else [])])
    small = [" ".join(filter(None, (cell.interval, row.support(cell)))) for cell in row.cells]
    if any(small):
        yield _joined("", [*(f"{{\\scriptsize {escape(text)}}}" if text else "" for text in small), *[""] * has_n])


def _joined(label: str, cells: Sequence[str]) -> str:
    return f"{escape(label)} & {' & '.join(cells)} \\\\"


def _number(cell: Cell) -> str:
    parts = split_power(cell.text)
    text = f"${parts[0]} \\times 10^{{{parts[1]}}}$" if parts else escape(cell.text)
    bold = f"\\textbf{{{text}}}" if cell.bold else text
    flags = MARKS[cell.mark] + (str(cell.footnote) if cell.footnote else "")
    return f"{bold}\\textsuperscript{{{escape(flags)}}}" if flags else bold


def _notes(table: Table) -> Iterator[str]:
    if table.notes:
        yield r"\par\smallskip"
        yield r"\begin{minipage}{\linewidth}\scriptsize\raggedright"
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
