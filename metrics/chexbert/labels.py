"""What CheXbert's heads and their classes mean."""

from __future__ import annotations

FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
"""The competition's labels (Irvin et al. 2019), over which Ma-5 and Mi-5 are taken."""

Label = int | None
BLANK: Label = None
POSITIVE: Label = 1
NEGATIVE: Label = 0
UNCERTAIN: Label = -1
CLASSES: tuple[Label, ...] = (BLANK, POSITIVE, NEGATIVE, UNCERTAIN)
"""What class 0, 1 … of a head means."""
HEADS = (4,) * 13 + (2,)
"""Classes of each observation's head: the last, No Finding, is blank or positive only."""
