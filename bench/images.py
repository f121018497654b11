"""Reading image files as 8-bit pictures, whatever they hold, and saying why one cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Unreadable(Exception):
    """A file that cannot be decoded; the message says why."""


def read(path: Path, at_least: int | None = None) -> Picture:
    """Return the whole picture, upright, in mode "L" where it is grey and "RGB" where not.

    16- and 32-bit grey values are scaled by the bit depth in use (the smallest of 8, 10, 12 … bits that holds the
    largest value: a 12-bit radiograph in a 16-bit PNG keeps its contrast), where Pillow's own conversion would clip
    them at 255. Transparent parts become black, the air around a patient. Raises Unreadable.

    at_least: a JPEG may be decoded at a fraction of its size, its sides this many pixels at least: several times as
    fast, for copies that are shrunk anyway.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if at_least is not None:
                opened.draft(None, (2 * at_least, 2 * at_least))
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            return _eight_bits(upright)
    except MemoryError:
        raise
    except OSError as err:
        raise Unreadable(err.strerror or str(err).replace(f" {str(path)!r}", "")) from err
    except Exception as err:  # decoders fail on damaged files in many ways: SyntaxError, struct.error, ValueError …
        raise Unreadable(f"{type(err).__name__}: {err}") from err


def why_unreadable(path: Path) -> str | None:
    """Return why a file cannot be decoded, or None where it can."""
    try:
        read(path)
    except Unreadable as err:
        return str(err)
    return None


def grey(picture: Picture) -> NDArray[np.uint8]:
    """Return the picture's luma as uint8 [height, width]."""
    return np.asarray(picture if picture.mode == "L" else picture.convert("L"))


def _eight_bits(picture: Picture) -> Picture:
    from PIL import Image

    if picture.mode in ("L", "RGB"):
        return _on_black(picture) if "transparency" in picture.info else picture
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(scale(np.asarray(picture)))
    if picture.mode == "1":
        return picture.convert("L")
    return _on_black(picture) if picture.has_transparency_data else picture.convert("RGB")


def _on_black(picture: Picture) -> Picture:
    from PIL import Image

    coloured = picture.convert("RGBA")
    plain = Image.alpha_composite(Image.new("RGBA", coloured.size, (0, 0, 0, 255)), coloured)
    return plain.convert("L" if picture.mode in ("L", "LA", "La") else "RGB")


def scale(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return grey values of any integer depth as uint8; floating-point ones are stretched from minimum to maximum."""
    numbers = np.asarray(values, np.float64)
    if values.dtype.kind == "f":
        if not np.isfinite(numbers).all():
            raise ValueError("pixel values are not finite")
        low, top = float(numbers.min()), float(numbers.max())
    else:
        low, top = 0.0, 2.0 ** _depth(int(numbers.max())) - 1
    stretched = (numbers - low) * (255 / max(top - low, 1e-12))
    return np.clip(np.rint(stretched), 0, 255).astype(np.uint8)


def _depth(largest: int) -> int:
    """Return the smallest even number of bits, 8 at least, that holds the value."""
    bits = max(largest.bit_length(), 8)
    return bits + bits % 2
