"""Writing pictures: the format by the suffix, the drawn numbers as CSV beside them, the same bytes each time."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import store
from bench.errors import BenchError, missing_package

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".pdf", ".svg")
SINGLE, DOUBLE = 89.0, 183.0
"""Widths of one and of two columns of a journal's page, in mm."""
INCH = 25.4
Numbers = Sequence[Mapping[str, Any]]


def need_matplotlib(what: str) -> None:
    """Raise Unavailable, with the command that installs it, where matplotlib is not here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing_package(what, "matplotlib", "plots") from None


def check_files(out: Path, data: Path | None) -> Path | None:
    """Return the file that the drawn numbers go to; None where `out` is that file.

    Raises BenchError, before anything is read, where one of the two cannot be written.
    """
    suffix = out.suffix.lower()
    if suffix not in (*PICTURES, ".csv"):
        raise BenchError(f"--out {out}: the suffix tells no format; name a file .png, .pdf, .svg, or .csv (no picture)")
    beside = data or out.with_suffix(".csv")
    if suffix == ".csv":
        if data is not None and data != out:
            raise BenchError(f"--data {data}: --out {out} holds the numbers already; name a picture by --out")
    elif beside.suffix.lower() != ".csv":
        raise BenchError(f"--data {beside}: the name must end in .csv")
    for option, file in (("--out", out), ("--data", beside)):
        if file.is_dir():
            raise BenchError(f"{option} {file}: is a folder; name a file")
        if not file.parent.is_dir():
            raise BenchError(f"{option} {file}: there is no folder {file.parent}")
    return None if suffix == ".csv" else beside


def check_picture(file: Path) -> None:
    """Raise BenchError where a file's suffix is none of a picture."""
    if file.suffix.lower() not in PICTURES:
        raise BenchError(
            f"{file}: the suffix tells no picture; name a file {', '.join(PICTURES[:-1])} or {PICTURES[-1]}"
        )


def write(
    out: Path, data: Path | None, numbers: Numbers, draw: Callable[[], Figure], title: str, what: str = "bench plot"
) -> list[Path]:
    """Write a picture, and its numbers as CSV to `data`; return the files. A file .csv has the numbers alone.

    Everything is drawn before anything is written. Raises Unavailable where matplotlib is missing.
    """
    if out.suffix.lower() == ".csv":
        store.write_text(out, as_csv(numbers))
        return [out]
    need_matplotlib(what)
    drawn = render(draw, out.suffix.lower(), title)
    with store.replacing(out) as file:
        file.write(drawn)
    if data is None:
        return [out]
    store.write_text(data, as_csv(numbers))
    return [out, data]


def render(draw: Callable[[], Figure], suffix: str, title: str) -> bytes:
    """Return a figure as a file of one of `PICTURES`: no date, no random name, fonts as text."""
    from bench.plots import style

    metadata: dict[str, dict[str, Any]] = {
        ".png": {"Software": None, "Title": title},
        ".pdf": {"CreationDate": None, "Title": title},
        ".svg": {"Date": None, "Title": title},
    }
    out = io.BytesIO()
    with style.styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # told by `lacking`
        draw().savefig(out, format=suffix[1:], metadata=metadata[suffix])
    return out.getvalue()


def lacking(texts: Sequence[str]) -> list[str]:
    """Say which characters of labels no font here has: a picture shows a box in their place."""
    from bench.plots import style

    unknown = style.unknown_characters(texts)
    if not unknown:
        return []
    told = " ".join(f"{char} (U+{ord(char):04X})" for char in unknown[:8]) + " …" * (len(unknown) > 8)
    return [
        f"No font here has {told}: a PNG or PDF shows boxes. Install one that has them, such as Noto Sans CJK for "
        "Chinese, Japanese and Korean, or write an SVG, which is drawn with the reader's fonts"
    ]


def as_csv(numbers: Numbers) -> str:
    """Return rows as CSV with a header; None is an empty field, floats are written in full."""
    text = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in numbers for name in row))
    table = csv.DictWriter(text, names, lineterminator="\n", restval="")
    table.writeheader()
    table.writerows({name: _plain(value) for name, value in row.items()} for row in numbers)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Return a value as CSV holds it; a lone surrogate of a label as "?"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def inches(width_mm: float) -> float:
    """Return a width in inches."""
    return width_mm / INCH


def too_narrow(what: str, width: float) -> BenchError:
    """Return the error for a figure whose parts do not fit on its width in inches."""
    return BenchError(f"{what} on {width * INCH:.0f} mm: --width gives it more room, --metrics draws fewer columns")
