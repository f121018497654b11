"""Pairs of texts that a metric is tried on; invented, like all texts of this package."""

from __future__ import annotations

from bench.contracts import Pair

FINDINGS = (
    "The lungs are clear. There is no focal consolidation, pleural effusion, or pneumothorax. Heart size is normal.",
    "There is a small left pleural effusion with adjacent atelectasis. The right lung is clear. No pneumothorax.",
    "The cardiac silhouette is moderately enlarged. Mild pulmonary vascular congestion without overt edema.",
    "Patchy opacity in the right lower lobe may represent pneumonia. No pleural effusion. Cardiomediastinal contours "
    "are unremarkable.",
    "A right internal jugular catheter ends in the upper SVC. No pneumothorax is seen. Low lung volumes with bibasilar "
    "atelectasis.",
    "Moderate right pneumothorax with collapse of the right upper lobe. No shift of the mediastinum.",
    "An endotracheal tube ends 4 cm above the carina. Large bilateral pleural effusions, unchanged. Moderate edema.",
    "Healed fractures of the left sixth and seventh ribs. Otherwise no acute abnormality.",
)

LONG = 25
"""How often a findings section is repeated to make a very long text (about 400 words)."""


def pairs() -> list[Pair]:
    """Return ordinary pairs: every section against itself, against the next, and against the one after that."""
    n = len(FINDINGS)
    return [
        Pair(f"p{i}-{shift}", f"patient{i}", FINDINGS[(i + shift) % n], FINDINGS[i])
        for shift in (0, 1, 2)
        for i in range(n)
    ]


def odd_pairs() -> list[Pair]:
    """Return pairs that metrics stumble over: nothing, blanks, other scripts, marks only, very long texts."""
    plain = FINDINGS[1]
    texts = {
        "empty candidate": ("", plain),
        "empty reference": (plain, ""),
        "both empty": ("", ""),
        "blanks": (" \n\t ", plain),
        "blank reference": (plain, " \n "),
        "no finding named": ("Thank you.", "As above."),
        "marks only": ("... ___ ?!", plain),
        "numbers": ("1.5 x 2 cm, 12/34", "4 cm"),
        "other scripts": (
            "Pleuraerguß links. 左侧胸腔积液。 🫁 e\u0301",
            "Épanchement pleural gauche. 右肺清晰。",
        ),
        "invisible": ("\ufeffNo\u00a0effusion\u200b.\x00", "No effusion."),
        "no end of sentence": ("no effusion " * 3, plain),
        "very long candidate": (" ".join([plain] * LONG), plain),
        "very long reference": (plain, " ".join([plain] * LONG)),
        "one long word": ("x" * 3000, plain),
    }
    return [Pair(name, name, candidate, reference) for name, (candidate, reference) in texts.items()]
