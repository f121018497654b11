"""From a planned study to its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo.chest import draw_chest, draw_pose, shaped
from bench.datasets.demo.drawing import develop, mark, paint
from bench.datasets.demo.findings import CATALOGUE
from bench.datasets.demo.lateral import draw_lateral
from bench.datasets.demo.plan import Picture, Study, stream
from bench.datasets.demo.shadows import cast

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SIZE = 272
"""Pixels of an image's longer side."""

_CODES = {code: number for number, code in enumerate(CATALOGUE)}
_ANATOMY, _BODY, _POSE, _FILM, _SHADOW = range(100, 105)


def _look(study: Study, code: str, seed: int) -> np.random.Generator:
    """Return the random stream of a finding's look: what stays looks the same in the patient's next study."""
    owner = study.subject if CATALOGUE[code].course == "fixed" else study.id
    return stream(seed, _SHADOW, owner, _CODES[code])


def radiograph(study: Study, picture: Picture, seed: int) -> PILImage:
    """Return one image of a study, 8-bit grey; the patient's right is image left on frontal ones.

    Anatomy is the patient's, and a finding's look the patient's or the study's, so that images of one patient or study
    resemble each other; position, exposure and grain are the image's own. All are independent streams: leaving a
    finding out changes nothing else.
    """
    chest = shaped(draw_chest(stream(seed, _ANATOMY, study.subject), study.female, study.age), study.findings)
    film = stream(seed, _FILM, study.id, picture.number)
    if picture.view == "LATERAL":
        return draw_lateral(chest, study.findings, SIZE, film)
    pose = draw_pose(stream(seed, _POSE, study.id, picture.number), picture.view, SIZE)
    scene = paint(chest, pose, stream(seed, _BODY, study.subject), film)
    cast(scene, study.findings, lambda code: _look(study, code, seed))
    image = develop(scene, pose, film)
    mark(image, pose, picture.view == "AP", film)
    return image
