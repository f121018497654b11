"""HTML from templates: everything escaped, nothing fetched, scripts and styles held to a hash."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
TEMPLATES, STATIC = HERE / "templates", HERE / "static"
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def clean(text: str) -> str:
    """Return a text that HTML can hold, as long as the text given: NUL and lone surrogates become U+FFFD."""
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def script_json(value: Any) -> str:
    """Return JSON that may stand inside a script: ASCII, without the characters by which one can be left."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def percent(share: float) -> str:
    """Return a share as text; small ones keep a digit that tells."""
    if share == 0:
        return "0 %"
    return f"{share:.1%}".replace("%", " %") if share >= 0.001 else "< 0.1 %"


def grouped(number: float) -> str:
    """Return a whole number with commas between thousands."""
    return f"{number:,.0f}"


def hash_of(content: str) -> str:
    """Return what a content security policy calls an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def exactly(text: str) -> Markup:
    """Return a text as HTML whose own text is `clean(text)`, its ends of line too: parsers turn a plain CR into LF."""
    from markupsafe import Markup, escape

    return escape(clean(text)).replace("\r", Markup("&#13;"))


def environment(*folders: Path, **shared: Any) -> Environment:
    """Return templates of the folders given, then of this package; all values are escaped, missing ones an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_writable,
    )
    made.globals.update(shared)
    made.filters.update(percent=percent, grouped=grouped, exactly=exactly)
    return made


def _writable(value: Any) -> Any:
    """Clean plain strings as they are written; what is HTML already was cleaned when it was made."""
    return clean(value) if type(value) is str else value


@cache
def static(name: str) -> str:
    """Return a style or script of this package."""
    return (STATIC / name).read_text(encoding="utf-8")


def look(*files: Iterable[Path]) -> str:
    """Return a digest of this package's templates, styles, scripts and code, and of the files given."""
    own = [*HERE.glob("*.py"), *TEMPLATES.iterdir(), *STATIC.iterdir()]
    found = hashlib.sha256()
    for file in sorted([*own, *(file for part in files for file in part)]):
        if file.is_file():
            found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]
