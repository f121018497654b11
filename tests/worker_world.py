"""What the tests of workers share: cases with real files, a dataset of them, and systems that run a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from bench.context import RunContext
from bench.contracts import Case, Count, Image, Prior, Problem
from bench.options import Options
from bench.workers.options import ScriptOptions
from bench.workers.system import ScriptSystem

OBEDIENT = Path(__file__).with_name("workers") / "obedient.py"
HERE = f"python:{sys.executable}"
"""The runner that needs no environment to be built: this Python."""


def picture(path: Path, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.new("L", (side, side), side % 256).save(path)
    return path


def cases(folder: Path, n: int = 6) -> list[Case]:
    """Cases of growing images; every second has a lateral, every third a prior study with its image."""
    made = []
    for i in range(n):
        images = [Image(picture(folder / f"secret{i}.png", 8 + i), "PA")]
        priors: tuple[Prior, ...] = ()
        if i % 2:
            images.append(Image(picture(folder / f"side{i}.png", 30 + i), "LATERAL"))
        if i % 3 == 0:
            images.append(Image(picture(folder / f"old{i}.png", 50 + i), "AP", role="prior"))
            priors = (Prior(f"EXAMINATION: old {i}.", f"old findings {i}", 60),)
        indication = f"Cough {i}." if i != 4 else None
        made.append(Case(f"case{i}", f"patient{i // 2}", tuple(images), indication, priors=priors, study=f"study{i}"))
    return made


class PicturesOptions(Options):
    folder: Path
    n: int = 6
    credentialed: bool = False


class Pictures:
    """The cases above as a dataset."""

    Options = PicturesOptions

    def __init__(self, options: PicturesOptions, context: Any) -> None:
        self.options, self.credentialed = options, options.credentialed

    def fingerprint(self) -> str:
        return f"pictures-{self.options.n}"

    def splits(self) -> Sequence[str]:
        return ("train", "test")

    def cases(self, split: str) -> Sequence[Case]:
        return cases(self.options.folder, self.options.n) if split == "test" else []

    def references(self, split: str) -> Mapping[str, str]:
        return {case.id: f"Saw {sum(i.path.stat().st_size for i in case.images)} bytes." for case in self.cases(split)}

    def problems(self) -> Sequence[Problem]:
        return []

    def census(self) -> Sequence[Count]:
        return [Count("cases", self.options.n)]


def system(context: RunContext, diary: Path | None = None, script: Path = OBEDIENT, **options: Any) -> ScriptSystem:
    """Return the system of a script, run by this Python; options of `ScriptOptions` by name, others to the script."""
    known = {key: options.pop(key) for key in list(options) if key in ScriptOptions.model_fields}
    given = {**options, **({"diary": str(diary)} if diary else {})}
    settings = {"script": str(script), "runner": HERE, "devices": ["cpu"], "options": given, **known}
    return ScriptSystem(ScriptOptions.model_validate(settings), context)


def diary_of(path: Path, key: str) -> list[Any]:
    """Return what a worker wrote into its diary under a key."""
    return [line[key] for line in map(json.loads, path.read_text().splitlines()) if key in line]


FOREIGN = Path(__file__).with_name("foreign_models.py")


def ask_in(python: Path, *arguments: object) -> list[Any]:
    """Run foreign_models.py in an environment of a worker's; what its lines of JSON hold."""
    done = subprocess.run(
        [str(python), str(FOREIGN), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(('"', "{"))]
