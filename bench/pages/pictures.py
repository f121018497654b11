"""Small JPEG copies of radiographs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images import Unreadable, read

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

QUALITY = 82
MISSING, NO_FILE = "no such file", "not a file"


@dataclass(frozen=True, slots=True)
class Copy:
    """An image inside a page, or why it is not there."""

    src: str | None
    """A data address."""
    width: int = 0
    height: int = 0
    why: str = ""


def shrunk(picture: Picture, side: int) -> Picture:
    """Return the picture with its longer side at most `side` pixels, its shape kept, without any metadata."""
    from PIL import Image

    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info.clear()
    return small


def opened(image: Path, at_least: int | None = None) -> Picture | str:
    """Return an image, or why it cannot be read; `at_least` as `bench.images.read` takes it."""
    try:
        if not image.exists():
            return MISSING
        if not image.is_file():
            return NO_FILE  # reading a pipe or a device may never end
        return read(image, at_least)
    except OSError as err:  # a name that is too long, a folder that may not be entered
        return str(err.strerror)
    except ValueError as err:  # a name with a NUL in it
        return str(err)
    except Unreadable as err:
        return str(err)


def embedded(image: Path, side: int) -> Copy:
    """Return a copy for a page that fetches nothing, its longer side at most `side` pixels."""
    picture = opened(image, side)
    if isinstance(picture, str):
        return Copy(None, why=picture)
    small = shrunk(picture, side)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY, optimize=True)
    data = base64.b64encode(content.getvalue()).decode()
    return Copy(f"data:image/jpeg;base64,{data}", small.width, small.height)
