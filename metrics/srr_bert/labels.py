"""What the outputs of the four published SRR-BERT models mean, in order.

Source: the ``*_mapping.json`` beside the models' code (https://github.com/jbdel/RadEval, radeval/metrics/SRRBert, MIT
licence); the card of StanfordAIMI/SRR-BERT-Leaves-with-Statuses prints its own.
"""

from __future__ import annotations

from typing import Literal

Variant = Literal["leaves-with-statuses", "leaves", "upper-with-statuses", "upper"]

LEAVES = (
    "Lung Lesion", "Edema", "Pneumonia", "Atelectasis", "Aspiration", "Lung collapse", "Perihilar airspace opacity",
    "Air space opacity–multifocal", "Mass/Solitary lung mass", "Nodule/Solitary lung nodule",
    "Cavitating mass with content", "Cavitating masses", "Emphysema", "Fibrosis", "Pulmonary congestion",
    "Hilar lymphadenopathy", "Bronchiectasis", "Simple pneumothorax", "Loculated pneumothorax", "Tension pneumothorax",
    "Simple pleural effusion", "Loculated pleural effusion", "Pleural scarring", "Hydropneumothorax", "Pleural Other",
    "Cardiomegaly", "Pericardial effusion", "Inferior mediastinal mass", "Superior mediastinal mass", "Tortuous Aorta",
    "Calcification of the Aorta", "Enlarged pulmonary artery", "Hernia", "Pneumomediastinum", "Tracheal deviation",
    "Acute humerus fracture", "Acute rib fracture", "Acute clavicle fracture", "Acute scapula fracture",
    "Compression fracture", "Shoulder dislocation", "Subcutaneous Emphysema", "Suboptimal central line",
    "Suboptimal endotracheal tube", "Suboptimal nasogastric tube", "Suboptimal pulmonary arterial catheter",
    "Pleural tube", "PICC line", "Port catheter", "Pacemaker", "Implantable defibrillator", "LVAD",
    "Intraaortic balloon pump", "Pneumoperitoneum",
)  # fmt: skip
UPPER = (
    "Pleural Effusion", "Upper abdominal finding", "Widened cardiac silhouette", "Lung Finding",
    "Widened aortic contour", "Pleural Thickening", "Vascular finding", "Consolidation", "Pneumothorax",
    "Subdiaphragmatic gas", "Masslike opacity", "Chest wall finding", "Focal air space opacity", "Segmental collapse",
    "Fracture", "Mediastinal mass", "Solitary masslike opacity", "Support Devices", "Mediastinal finding",
    "Pleural finding", "Air space opacity", "Diffuse air space opacity", "Multiple masslike opacities",
    "Musculoskeletal finding",
)  # fmt: skip
NO_FINDING = "No Finding"
STATUSES = ("Present", "Uncertain", "Absent")


def _with_statuses(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"{name} ({status})" for status in STATUSES for name in names), NO_FINDING)


LABELS: dict[Variant, tuple[str, ...]] = {
    "leaves-with-statuses": _with_statuses(LEAVES),
    "leaves": (NO_FINDING, *LEAVES),
    "upper-with-statuses": _with_statuses(UPPER),
    "upper": (*UPPER[:4], NO_FINDING, *UPPER[4:]),
}
"""Name of each output, in the order of the model's."""
MODELS: dict[Variant, str] = {
    "leaves-with-statuses": "StanfordAIMI/SRR-BERT-Leaves-with-Statuses",
    "leaves": "StanfordAIMI/SRR-BERT-Leaves",
    "upper-with-statuses": "StanfordAIMI/SRRG-BERT-Upper-with-Statuses",
    "upper": "StanfordAIMI/SRR-BERT-Upper",
}
"""Repository of each model on the Hugging Face hub."""
