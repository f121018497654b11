"""CheXpert's 14 observations (Irvin et al. 2019, https://arxiv.org/abs/1901.07031), whoever finds them in a text."""

from __future__ import annotations

LABELS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)
"""In the order of CheXbert's heads."""
