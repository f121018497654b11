"""Small JPEG copies of radiographs, one file an image, shared by all pages that show it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bench.pages.folder import written
from bench.pages.pictures import QUALITY, opened, shrunk

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Thumbnails:
    """Writes copies into ``images/``, each once; a second call finds what the first one left.

    `unreadable` maps the images that could not be copied to the reason.
    """

    def __init__(self, folder: Path, side: int, dataset: str) -> None:
        self._folder, self._side, self._dataset = folder, side, dataset
        self.unreadable: dict[Path, str] = {}
        self._asked: set[str] = set()

    def name(self, image: Path) -> str:
        """Return the copy's path inside the atlas; it tells nothing of patient or file."""
        key = hashlib.sha256(f"{self._dataset}\0{self._side}\0{image}".encode(errors="surrogatepass")).hexdigest()
        return str(PurePosixPath("images", key[:2], f"{key[2:20]}.jpg"))

    def there(self, image: Path) -> bool:
        """Return whether the image has been copied."""
        return written(self._folder / self.name(image))

    def make(self, images: Iterable[Path]) -> int:
        """Copy the images that have not been; return how many were written. Raises OSError on a full disk."""
        wanted = list(dict.fromkeys(images))
        self._asked.update(map(self.name, wanted))
        todo = [image for image in wanted if not self.there(image)]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            faults = dict(zip(todo, pool.map(self._copy, todo), strict=True))
        bad = {image: why for image, why in faults.items() if why is not None}
        self.unreadable.update(bad)
        return len(todo) - len(bad)

    def prune(self) -> int:
        """Delete copies that this call's pages do not show, and return how many are left."""
        left = 0
        for part in (self._folder / "images").glob("*/.*.part"):  # of a command that was killed
            part.unlink()
        for file in (self._folder / "images").glob("*/*.jpg"):
            if file.relative_to(self._folder).as_posix() in self._asked:
                left += 1
            else:
                file.unlink()
        return left

    def _copy(self, image: Path) -> str | None:
        picture = opened(image)
        if isinstance(picture, str):
            return picture
        self._write(shrunk(picture, self._side), self._folder / self.name(image))
        return None

    def _write(self, picture: Picture, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        try:
            picture.save(part, "JPEG", quality=QUALITY, optimize=True)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
