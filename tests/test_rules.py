"""The rule-based reader: hand-worked sentences, graphs and entailments, and what it makes of whole corpora."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

from bench.context import RunContext
from bench.datasets.demo.findings import names_of
from bench.datasets.demo.phrases import WORDINGS
from bench.datasets.demo.plan import plan, stream
from bench.datasets.demo.reports import write_report
from metrics.observations import LABELS
from metrics.rules import Rules, RulesOptions, annotation
from metrics.rules.entail import entails, statements
from metrics.rules.tables import load
from metrics.rules.words import LONGEST, TOKEN, lemma, sentences

HERE = Path(__file__).parent
REAL = Path(os.environ.get("BENCH_IU_XRAY") or HERE.parent.parent / "shared" / "data" / "iu_xray")


def said(text: str) -> list[str]:
    """Return "status finding" of each statement."""
    return [f"{s.status} {s.finding}" for s in statements(text)]


def labels(text: str) -> dict[str, int]:
    return {name: value for name, value in annotation(text)["labels"].items() if value is not None}


# ------------------------------------------------------------------ what is there, denied, left open

SENTENCES = {
    # negation and lists
    "There is no pleural effusion or pneumothorax.": ["absent effusion", "absent pneumothorax"],
    "No consolidation, pleural effusion, or pneumothorax is seen.": [
        "absent consolidation",
        "absent effusion",
        "absent pneumothorax",
    ],
    "No focal consolidation, effusion, pneumothorax.": [
        "absent consolidation",
        "absent effusion",
        "absent pneumothorax",
    ],
    "Neither effusion nor pneumothorax is present.": ["absent effusion", "absent pneumothorax"],
    "Without evidence of edema.": ["absent edema"],
    "Pleural effusions are absent.": ["absent effusion"],
    "Pneumothorax: none.": ["absent pneumothorax"],
    "No opacity to suggest pneumonia.": ["absent opacity", "absent pneumonia"],
    "There is no evidence that pneumonia has developed.": ["absent pneumonia"],
    "Effusions and edema have resolved.": ["absent effusion", "absent edema"],
    "No new consolidation.": ["absent consolidation"],
    "Negative for pneumothorax.": ["absent pneumothorax"],
    # where a denial ends
    "No pneumothorax, small left pleural effusion.": ["absent pneumothorax", "present effusion"],
    "No pneumothorax but there is a small left pleural effusion.": ["absent pneumothorax", "present effusion"],
    "No effusion and the heart is mildly enlarged.": ["absent effusion", "present cardiomegaly"],
    "No effusion; mild atelectasis.": ["absent effusion", "present atelectasis"],
    "No pneumothorax is identified, and a small left effusion is present.": ["absent pneumothorax", "present effusion"],
    "Cardiomegaly without overt edema.": ["present cardiomegaly", "absent edema"],
    "Small effusion, no pneumothorax.": ["present effusion", "absent pneumothorax"],
    "No pneumothorax. Effusion.": ["absent pneumothorax", "present effusion"],
    # only look like denials
    "No significant change in the moderate right effusion.": ["present effusion"],
    "There is no change in the small apical pneumothorax.": ["present pneumothorax"],
    "The effusion is not increased.": ["present effusion"],
    "Not only cardiomegaly but also edema.": ["present cardiomegaly", "present edema"],
    "Near complete resolution of the left pneumothorax.": ["present pneumothorax"],
    "Partially resolved edema.": ["present edema"],
    # gone
    "The previously seen right effusion has resolved.": ["absent effusion"],
    "Interval resolution of the opacities due to atelectasis.": ["absent opacity", "absent atelectasis"],
    "The pneumothorax is no longer seen.": ["absent pneumothorax"],
    "Resolved interstitial edema.": ["absent edema"],
    "Endotracheal tube has been removed.": ["absent endotracheal_tube"],
    # left open
    "Pneumonia cannot be excluded.": ["uncertain pneumonia"],
    "A small effusion is not excluded.": ["uncertain effusion"],
    "Cannot exclude pneumonia.": ["uncertain pneumonia"],
    "Opacity which may represent pneumonia or atelectasis.": [
        "present opacity",
        "uncertain pneumonia",
        "uncertain atelectasis",
    ],
    "Atelectasis versus pneumonia.": ["uncertain atelectasis", "uncertain pneumonia"],
    "Possible small left effusion, cardiomegaly.": ["uncertain effusion", "present cardiomegaly"],
    "Effusion is unlikely.": ["uncertain effusion"],
    "Left basilar opacity most likely reflects atelectasis, although pneumonia is possible.": [
        "present opacity",
        "uncertain atelectasis",
        "uncertain pneumonia",
    ],
    "No effusion, possible pneumonia.": ["absent effusion", "uncertain pneumonia"],
    "Findings are consistent with mild pulmonary edema.": ["present edema"],
    # only supposed, or asked for
    "Recommend follow-up CT to exclude malignancy.": [],
    "History of pneumonia.": [],
    "If there is concern for pneumothorax, an expiratory view could be obtained.": [],
    "Comparison is made to the prior study.": [],
    "": [],
    # anatomy with a state
    "The heart is not enlarged.": ["absent cardiomegaly"],
    "Heart size is at the upper limits of normal.": ["absent cardiomegaly"],
    "The cardiac silhouette is markedly enlarged.": ["present cardiomegaly"],
    "Stable enlargement of the cardiac silhouette.": ["present cardiomegaly"],
    "Unremarkable cardiomediastinal silhouette.": ["absent cardiomediastinal_enlargement"],
    "Normal heart size and mediastinal contours.": ["absent cardiomegaly", "absent mediastinal_widening"],
    "Heart size and pulmonary vascularity are normal.": ["absent cardiomegaly", "absent congestion"],
    "Heart is normal in size and the lungs are clear.": ["absent cardiomegaly", "absent lung_abnormality"],
    "The heart is enlarged and the lungs are clear.": ["present cardiomegaly", "absent lung_abnormality"],
    "The costophrenic angles are sharp.": ["absent blunted_angle"],
    "Blunting of both costophrenic angles.": ["present blunted_angle"],
    "Tortuous and calcified aorta.": ["present tortuous_aorta", "present aortic_calcification"],
    "The right hemidiaphragm is elevated.": ["present elevated_hemidiaphragm"],
    "The left lung is opacified.": ["present opacity"],
    "The lungs are clear of focal consolidation.": ["absent consolidation"],
    "The lungs and pleural spaces show no acute abnormality.": ["absent lung_abnormality"],
    "No acute osseous abnormality.": ["absent bone_abnormality"],
    "Low lung volumes with prominent perihilar opacities.": ["present low_volumes", "present opacity"],
    "The lungs are otherwise clear.": ["absent lung_abnormality"],
    "The left lung shows a nodule and the heart is normal.": ["present nodule", "absent cardiomegaly"],
    "The lungs are hyperinflated, mediastinum normal.": ["present hyperinflation", "absent mediastinal_widening"],
    "Effusion is suspected.": ["uncertain effusion"],
    "Suspected effusion and atelectasis.": ["uncertain effusion", "uncertain atelectasis"],
    # patterns: answers, denied change, members that assert, earlier studies, exceptions, other organs
    "Pneumothorax: No.": ["absent pneumothorax"],
    "Pleural effusion: no. Pneumothorax: no.": ["absent effusion", "absent pneumothorax"],
    "Heart: Enlarged.": ["present cardiomegaly"],
    "HEART SIZE: Moderately enlarged.": ["present cardiomegaly"],
    "LUNGS: clear.": ["absent lung_abnormality"],
    "Pneumothorax: No, effusion: small.": ["absent pneumothorax", "present effusion"],
    "Lungs: No consolidation.": ["absent consolidation"],
    "Effusion: Yes.": ["present effusion"],
    "LUNGS: Clear. HEART: Normal. MEDIASTINUM: Widened.": [
        "absent lung_abnormality",
        "absent cardiomegaly",
        "present mediastinal_widening",
    ],
    "FINDINGS: Enlarged heart.": ["present cardiomegaly"],
    "Heart: mildly enlarged. Lungs: no effusion.": ["present cardiomegaly", "absent effusion"],
    "No appreciable interval change in the right effusion.": ["present effusion"],
    "No radiographic change in edema.": ["present edema"],
    "No detectable change in effusion.": ["present effusion"],
    "No interval increase in the right effusion.": ["present effusion"],
    "No interval improvement in the edema.": ["present edema"],
    "No evidence of worsening of the pneumonia.": ["present pneumonia"],
    "No change in the appearance of the cardiomegaly.": ["present cardiomegaly"],
    "No significant interval resolution of the effusion.": ["present effusion"],
    "No definite progression of the left pneumothorax.": ["present pneumothorax"],
    "Without significant increase in effusion.": ["present effusion"],
    "There has been no change in the size of the effusion.": ["present effusion"],
    "No interval change in the appearance of the chest.": [],
    "No worsening consolidation.": ["absent consolidation"],
    "No degenerative change.": ["absent degenerative"],
    "No pneumothorax, multiple rib fractures.": ["absent pneumothorax", "present fracture"],
    "No pneumothorax, rib fractures noted.": ["absent pneumothorax", "present fracture"],
    "No consolidation, cardiomegaly stable.": ["absent consolidation", "present cardiomegaly"],
    "No edema, linear atelectasis at the bases.": ["absent edema", "present atelectasis"],
    "No effusion, calcified granuloma in right upper lobe.": ["absent effusion", "present granuloma"],
    "No focal consolidation, small bilateral effusions are present.": ["absent consolidation", "present effusion"],
    "No pneumothorax, ET tube in standard position.": ["absent pneumothorax", "present endotracheal_tube"],
    "no consolidation, effusion, pneumothorax.": ["absent consolidation", "absent effusion", "absent pneumothorax"],
    "No consolidation, effusion, or pneumothorax in the left lung.": [
        "absent consolidation",
        "absent effusion",
        "absent pneumothorax",
    ],
    "No effusion, pneumothorax is seen.": ["absent effusion", "absent pneumothorax"],
    "No consolidation, effusion, pneumothorax seen.": [
        "absent consolidation",
        "absent effusion",
        "absent pneumothorax",
    ],
    "No effusion, left chest tube in place.": ["absent effusion", "present chest_tube"],
    "No pneumothorax, two right rib fractures.": ["absent pneumothorax", "present fracture"],
    "There is a small pneumothorax not seen on the prior study.": ["present pneumothorax"],
    "New nodule, which was not visible previously.": ["present nodule"],
    "Pneumothorax, not seen previously.": ["present pneumothorax"],
    "Effusion not present on the previous examination.": ["present effusion"],
    "No pneumothorax following chest tube placement.": ["absent pneumothorax", "present chest_tube"],
    "No pneumothorax after thoracentesis for large left effusion.": ["absent pneumothorax", "present effusion"],
    "No effusion in this patient with pneumonia.": ["absent effusion"],
    "No pneumothorax other than a tiny left apical one.": ["present pneumothorax"],
    "The tip of the endotracheal tube is not visualized.": ["present endotracheal_tube"],
    "Pneumothorax is not seen.": ["absent pneumothorax"],
    "No pneumothorax after chest tube removal.": ["absent pneumothorax", "absent chest_tube"],
    "Heart size is larger than normal.": ["present cardiomegaly"],
    "Lungs are not clear.": ["present lung_abnormality"],
    "Recommend follow up to ensure resolution of pneumonia.": ["uncertain pneumonia"],
    "No doubt there is pneumonia.": ["present pneumonia"],
    "Effusion has largely resolved.": ["present effusion"],
    "Patient with renal failure.": [],
    "Respiratory failure.": ["present elsewhere"],
    "Vertebral collapse.": ["present fracture"],
    "Collapse of the T8 vertebral body.": ["present fracture"],
    "Liver mass.": ["present elsewhere"],
    "Renal mass.": ["present elsewhere"],
    "Skin fold mimics pneumothorax.": [],
    "Compared to the prior study, which showed a large pneumothorax, the lungs are now clear.": [
        "absent lung_abnormality"
    ],
    "Effusion vs. atelectasis at the left base.": ["uncertain effusion", "uncertain atelectasis"],
    "Small if any pleural effusion.": ["uncertain effusion"],
    "Minimal, if any, edema.": ["uncertain edema"],
    "Right upper and left lower lobe opacities.": ["present opacity", "present opacity"],
    "The endotracheal tube was withdrawn by 3 cm.": ["present endotracheal_tube"],
    "The endotracheal tube was withdrawn.": ["absent endotracheal_tube"],
    "Bilateral effusions, larger on the left.": ["present effusion"],
    "No convincing radiographic evidence of progression of pneumonia.": ["present pneumonia"],
    "No new or increasing effusion.": ["absent effusion"],
    "No reaccumulation of effusion.": ["absent effusion"],
    "No pneumothorax, left PICC tip in the SVC.": ["absent pneumothorax", "present picc"],
    "No effusion, pneumothorax, or consolidation in the right lung.": [
        "absent effusion",
        "absent pneumothorax",
        "absent consolidation",
    ],
    "No infiltrates, edema present.": ["absent opacity", "absent edema"],
    "No consolidation, effusions, or pneumothorax are present.": [
        "absent consolidation",
        "absent effusion",
        "absent pneumothorax",
    ],
    "No pneumothorax, nodule in the left upper lobe.": ["absent pneumothorax", "present nodule"],
    "Nodule not identified on previous CT.": ["present nodule"],
    "The previously seen effusion is not seen on today's study.": ["absent effusion"],
    "No abnormality other than cardiomegaly.": ["absent any", "present cardiomegaly"],
    "The chest tube was removed.": ["absent chest_tube"],
    "ET tube should be removed.": ["present endotracheal_tube"],
    "The costophrenic angles are not sharp.": ["present blunted_angle"],
    "Follow up to document resolution of the opacity.": ["uncertain opacity"],
    "Interval resolution of pneumonia.": ["absent pneumonia"],
    "Edema has resolved.": ["absent edema"],
    "Effusion not yet resolved.": ["present effusion"],
    "Mass in the liver.": ["present elsewhere"],
    "Metastatic breast cancer.": ["present elsewhere"],
    "Chest: No acute cardiopulmonary process.": ["absent acute"],
    "Pleura: no effusion.": ["absent effusion"],
    "Heart and mediastinum: normal.": ["absent cardiomediastinal_enlargement"],
    "There is no question of pneumonia.": ["absent pneumonia"],
    "Pleural effusion, if any, is small.": ["uncertain effusion"],
    "The pneumothorax after biopsy has resolved.": ["absent pneumothorax"],
    "Congestive heart failure with renal failure.": ["present heart_failure", "present elsewhere"],
    "No mediastinal widening, heart enlarged.": ["absent mediastinal_widening", "present cardiomegaly"],
    # devices
    "Right IJ line with tip in the lower SVC, no pneumothorax.": ["present jugular_line", "absent pneumothorax"],
    "Status post median sternotomy.": ["present sternotomy"],
    "A dual-lead pacemaker is in place.": ["present pacemaker"],
}


@pytest.mark.parametrize(("sentence", "expected"), SENTENCES.items(), ids=range(len(SENTENCES)))
def test_sentences_worked_by_hand(sentence: str, expected: list[str]) -> None:
    assert said(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Small left pleural effusion, unchanged.", ("left", "1", "same", set(), set())),
        ("Interval increase in moderate right effusion.", ("right", "2", "worse", set(), set())),
        ("Large bilateral effusions.", ("bilateral", "3", "", set(), set())),
        ("Small effusions, right greater than left.", ("bilateral", "1", "", set(), set())),
        ("New patchy opacity in the right lower lobe.", ("right", "", "new", {"patchy"}, {"lower_lung"})),
        ("Opacity in the left and right lung bases.", ("bilateral", "", "", set(), {"lower_lung"})),
        ("Bibasilar linear atelectasis.", ("bilateral", "", "", {"linear"}, {"lower_lung"})),
        ("Pneumonia in the right clinical context.", ("", "", "", set(), set())),
        ("Bilateral effusions, larger on the left.", ("bilateral", "", "", set(), set())),
        ("Right effusion larger than left.", ("bilateral", "", "", set(), set())),
        ("Effusion: trace left.", ("left", "1", "", set(), set())),
        ("Effusion has largely resolved.", ("", "", "better", set(), set())),
        ("No appreciable change in the size of the right effusion.", ("right", "", "same", set(), set())),
        ("Right upper and lower lobe opacities.", ("right", "", "", set(), {"upper_lung", "lower_lung"})),
        ("A 12 mm nodule.", ("", "", "", {"1.2 cm"}, set())),
        ("A nodule of 14 x 22 mm.", ("", "", "", {"2.2 x 1.4 cm"}, set())),
        ("The endotracheal tube was withdrawn by 3 cm.", ("", "", "", set(), set())),
        ("Complete collapse of the left lung.", ("left", "3", "", set(), set())),
        ("Sternotomy wires are fractured.", ("", "", "", {"fractured"}, set())),
        ("A 2.5 cm mass projects over the left upper lobe.", ("left", "", "", {"2.5 cm"}, {"upper_lung"})),
        ("ET tube ends 4.2 cm above the carina.", ("", "", "", {"4.2 cm above the carina"}, set())),
        ("A nodule lies 4 cm below the carina.", ("", "", "", set(), set())),
        ("The heart is mildly enlarged.", ("", "1", "", set(), set())),
        ("Nondisplaced left rib fracture.", ("left", "", "", {"nondisplaced"}, {"rib"})),
        ("No focal acute consolidation.", ("", "", "", set(), set())),
        ("No large effusion.", ("", "3", "", set(), set())),
    ],
)
def test_qualifiers_by_hand(sentence: str, expected: tuple[str, str, str, set[str], set[str]]) -> None:
    (s,) = statements(sentence)
    assert (s.side, s.grade, s.change, s.kinds, s.places) == expected


def test_halves_with_grades_of_their_own() -> None:
    left, right = statements("Pleural effusions are seen, large on the left and small on the right.")
    assert (left.side, left.grade, right.side, right.grade) == ("left", "3", "right", "1")


def test_places_with_sides_of_their_own() -> None:
    right, left = statements("Right upper and left lower lobe opacities.")
    assert (right.side, right.places, left.side, left.places) == ("right", {"upper_lung"}, "left", {"lower_lung"})
    assert (right.phrase, left.phrase) == ("Right upper lobe opacities.", "Left lower lobe opacities.")


def test_phrases_leave_out_what_a_finding_may_be() -> None:
    made = annotation("Opacity in the left base, possibly reflecting aspiration. Possible small right effusion.")
    assert made["phrases"] == ["Opacity in the left base.", "Possible small right effusion."]


def test_each_finding_has_its_own_qualifiers() -> None:
    effusion, atelectasis = statements("Small left effusion and moderate right basilar atelectasis.")
    assert (effusion.side, effusion.grade, atelectasis.side, atelectasis.grade) == ("left", "1", "right", "2")
    assert not effusion.places


# ------------------------------------------------------------------ labels


def test_labels_of_a_report() -> None:
    report = (
        "FINDINGS: Right PICC in place. The heart is mildly enlarged. Bibasilar opacities likely reflect atelectasis. "
        "No pneumothorax. Mediastinal contours are normal. Old left rib fracture. 7 mm nodule in the lingula. "
        "Apical pleural thickening."
    )
    assert labels(report) == {
        "Support Devices": 1,
        "Cardiomegaly": 1,
        "Lung Opacity": 1,
        "Atelectasis": -1,
        "Pneumothorax": 0,
        "Enlarged Cardiomediastinum": 0,
        "Fracture": 1,
        "Lung Lesion": 1,
        "Pleural Other": 1,
    }


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("No effusion. Possible effusion.", -1),
        ("Possible effusion. Small effusion. No effusion.", 1),
        ("No effusion.", 0),
        ("Possible effusion.", -1),
    ],
)
def test_a_positive_mention_wins_over_an_uncertain_and_that_over_a_negative_one(report: str, expected: int) -> None:
    assert labels(report)["Pleural Effusion"] == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("The lungs are clear. Heart size is normal.", 1),
        ("Right PICC in place. The lungs are clear.", 1),
        ("", 1),
        ("Possible pneumonia.", None),
        ("Mild scoliosis. The lungs are clear.", None),
        ("The lungs are not clear.", None),
        ("Small effusion.", None),
    ],
)
def test_no_finding_is_positive_where_only_devices_are_seen(report: str, expected: int | None) -> None:
    assert annotation(report)["labels"]["No Finding"] == expected


def test_normal_anatomy_denies_labels_but_a_normal_rest_does_not() -> None:
    assert labels("The lungs are clear.")["Consolidation"] == 0
    assert "Consolidation" not in labels("The lungs are otherwise clear.")
    assert "Consolidation" not in labels("The right lung is clear.")
    assert labels("The cardiomediastinal silhouette is normal.") == {
        "Enlarged Cardiomediastinum": 0,
        "Cardiomegaly": 0,
        "No Finding": 1,
    }


def test_labels_are_the_fourteen_in_cheXberts_order() -> None:
    assert tuple(annotation("Effusion.")["labels"]) == LABELS
    assert len(set(LABELS)) == 14


# ------------------------------------------------------------------ graph


def graph(text: str) -> dict[str, tuple[str, set[tuple[str, str]]]]:
    """Return tokens → (label, {(relation, tokens)})."""
    entities = annotation(text)["entities"]
    return {
        e["tokens"]: (e["label"], {(name, entities[i]["tokens"]) for name, i in e["relations"]})
        for e in entities.values()
    }


def test_graph_of_hand_worked_sentences() -> None:
    here, gone, open_ = (f"Observation::{s}" for s in ("definitely present", "definitely absent", "uncertain"))
    place = "Anatomy::definitely present"
    assert graph("Small left pleural effusion.") == {
        "Small": (here, {("modify", "effusion")}),
        "left": (place, {("modify", "pleural")}),
        "pleural": (place, set()),
        "effusion": (here, {("located_at", "pleural")}),
    }
    assert graph("No focal consolidation or pneumothorax.") == {
        "focal": (gone, {("modify", "consolidation")}),
        "consolidation": (gone, set()),
        "pneumothorax": (gone, set()),
    }
    assert graph("The heart is mildly enlarged.") == {
        "heart": (place, set()),
        "mildly": (here, {("modify", "enlarged")}),
        "enlarged": (here, {("located_at", "heart")}),
    }
    assert graph("Opacity in the right base may represent pneumonia.") == {
        "Opacity": (here, {("located_at", "base"), ("suggestive_of", "pneumonia")}),
        "right": (place, {("modify", "base")}),
        "base": (place, set()),
        "pneumonia": (open_, set()),
    }
    assert graph("The lungs are clear.") == {"lungs": (place, set()), "clear": (here, {("located_at", "lungs")})}


def test_a_graph_of_nothing_is_empty() -> None:
    assert annotation("")["entities"] == annotation("Comparison: none.")["entities"] == {}
    assert annotation("") | {"labels": None} == {"labels": None, "text": "", "entities": {}, "phrases": []}


# ------------------------------------------------------------------ entailment

SMALL_LEFT = ["There is a small left pleural effusion.", "The lungs are clear."]


@pytest.mark.parametrize(
    ("phrase", "others", "evidence"),
    [
        ("Pleural effusion.", SMALL_LEFT, (0,)),
        ("Left effusion.", SMALL_LEFT, (0,)),
        ("Small left effusion.", SMALL_LEFT, (0,)),
        ("Right effusion.", SMALL_LEFT, None),
        ("Large left effusion.", SMALL_LEFT, None),
        ("Increased left effusion.", SMALL_LEFT, None),
        ("No effusion.", SMALL_LEFT, None),
        ("Possible effusion.", SMALL_LEFT, (0,)),
        ("No consolidation.", SMALL_LEFT, (1,)),
        ("No edema.", SMALL_LEFT, (1,)),
        ("No pneumothorax.", SMALL_LEFT, None),
        ("Bilateral effusions.", SMALL_LEFT, None),
        ("Bilateral effusions.", ["Right effusion.", "x", "Left effusion."], (0, 2)),
        ("Left effusion.", ["Bilateral effusions."], (0,)),
        ("Small left effusion.", ["Left effusion."], None),
        ("Effusion.", ["Possible effusion."], None),
        ("Possible effusion.", ["No effusion."], None),
        ("No large effusion.", ["No effusion."], (0,)),
        ("No effusion.", ["No large effusion."], None),
        ("No left effusion.", ["No effusion."], (0,)),
        ("No effusion.", ["No left effusion."], None),
        ("No bilateral effusion.", ["No left effusion."], None),
        ("No effusion or pneumothorax.", ["No pneumothorax.", "No effusion."], (0, 1)),
        ("No effusion or pneumothorax.", ["No pneumothorax."], None),
        ("Lung opacity.", ["Right lower lobe consolidation."], (0,)),
        ("Consolidation.", ["Right lower lobe opacity."], None),
        ("Right lower lobe opacity.", ["Right upper lobe opacity."], None),
        ("The heart is normal in size.", ["No cardiomegaly."], (0,)),
        ("No cardiomegaly.", ["The cardiomediastinal silhouette is normal."], (0,)),
        ("The cardiomediastinal silhouette is normal.", ["No cardiomegaly."], None),
        ("No pneumonia.", ["No acute cardiopulmonary process."], (0,)),
        ("No consolidation.", ["The lungs are otherwise clear."], None),
        ("Endotracheal tube.", ["Support devices."], None),
        ("Support device.", ["Endotracheal tube in place."], (0,)),
        ("Vague shimmering artifact.", ["There is a vague shimmering artifact."], (0,)),
        ("Vague shimmering artifact.", ["No vague shimmering artifact."], None),
        ("No pneumothorax.", ["No left pneumothorax.", "No right pneumothorax."], (0, 1)),
        ("Nodule.", ["14 mm calcified nodule."], (0,)),
        ("Loculated effusion.", ["Effusion."], None),
        ("No cardiomegaly.", ["No acute cardiopulmonary process."], None),
        ("No cardiomegaly.", ["Normal chest radiograph."], (0,)),
        ("Endotracheal tube 4 cm above the carina.", ["The ET tube ends 4 cm above the carina."], (0,)),
        ("Endotracheal tube 4 cm above the carina.", ["The ET tube ends 6 cm above the carina."], None),
        ("Pneumonia is unlikely.", ["Pneumonia is likely."], None),
        ("Pneumonia is likely.", ["Pneumonia is unlikely."], None),
        ("Pneumonia is unlikely.", ["Right lower lobe pneumonia."], None),
        ("Pneumonia is unlikely.", ["Pneumonia is unlikely."], (0,)),
        ("Complete collapse of the left lung.", ["Minimal left atelectasis."], None),
        (
            "Opacity in the right upper lobe and left lower lobe.",
            ["Opacity in the left upper lobe and right lower lobe."],
            None,
        ),
        ("Opacity in the RUL and LLL.", ["Opacity in the LUL and RLL."], None),
        ("Opacity in the RUL and LLL.", ["Opacity in the RUL and LLL."], (0,)),
        ("Right PICC terminates in the right atrium.", ["Right PICC terminates in the SVC."], None),
        ("1.2 x 1.4 cm nodule.", ["3.0 x 1.4 cm nodule."], None),
        ("1.2 x 1.4 cm nodule.", ["1.2 x 1.4 cm nodule."], (0,)),
        ("Empyema.", ["Pleural effusion."], None),
        ("Hemothorax.", ["Pleural effusion."], None),
        ("Pleural effusion.", ["Empyema."], (0,)),
        ("Pleural effusion.", ["Hemothorax."], (0,)),
        ("Tuberculosis.", ["Pneumonia."], None),
        ("Abscess.", ["Pneumonia."], None),
        ("Lung cancer.", ["Mass."], None),
        ("Metastasis.", ["Mass."], None),
        ("Cavitary lesion.", ["Nodule."], None),
        ("Mediastinal hematoma.", ["Widened mediastinum."], None),
        ("Right subclavian line.", ["Right internal jugular line."], None),
        ("Right central line.", ["Right internal jugular line."], (0,)),
        ("The effusion has increased.", ["Right effusion larger than left."], None),
        ("Sternotomy wires are intact.", ["Sternotomy wires are fractured."], None),
        ("Sternotomy wires are fractured.", ["Sternotomy wires are intact."], None),
        ("Sternotomy wires.", ["Sternotomy wires are intact."], (0,)),
        ("2 cm nodule.", ["2.0 cm nodule."], (0,)),
        ("2 cm nodule.", ["20 mm nodule."], (0,)),
        ("2 cm nodule.", ["21 mm nodule."], None),
        ("Right upper lobe opacity.", ["Right upper and left lower lobe opacities."], (0,)),
        ("RUL opacity.", ["Right upper and left lower lobe opacities."], (0,)),
        ("Left lower lobe opacity.", ["Right upper and left lower lobe opacities."], (0,)),
        ("Left upper lobe opacity.", ["Right upper and left lower lobe opacities."], None),
        ("Healed rib fracture.", ["Old rib fracture."], (0,)),
        ("Right PICC terminates in the lower SVC.", ["Right PICC terminates in the mid SVC."], None),
        ("Right PICC terminates in the SVC.", ["Right PICC terminates in the lower SVC."], (0,)),
        ("Pleural plaque.", ["Pleural thickening."], None),
        ("Pleural thickening.", ["Pleural plaque."], (0,)),
        ("Asthma.", ["Sarcoidosis."], None),
        ("ICD.", ["Pacemaker."], None),
        ("Effusion.", [], None),
        ("", ["Effusion."], None),
    ],
)
def test_entailment_by_hand(phrase: str, others: list[str], evidence: tuple[int, ...] | None) -> None:
    assert entails(phrase, others) == (evidence is not None, tuple(others[i] for i in evidence or ()))


# ------------------------------------------------------------------ the annotator


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    return Rules(RulesOptions(), RunContext(workdir=tmp_path, cache_root=tmp_path))


@pytest.fixture(scope="module")
def reports() -> list[str]:
    """Findings of the demo's first studies."""
    return [write_report(study, stream(0, 200, study.id)).body for study in plan(160, 20, 0)]


def test_a_text_alone_is_a_text_among_others(rules: Rules, reports: list[str]) -> None:
    together = rules.annotate(reports)
    assert together == [rules.annotate([text])[0] for text in reports]
    assert together == rules.annotate(reports[::-1])[::-1]


def test_the_fingerprint_is_the_same_in_another_process(rules: Rules) -> None:
    code = "from metrics.rules import Rules, RulesOptions; print(Rules(RulesOptions(), None).fingerprint())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == rules.fingerprint()


def test_reading_does_not_depend_on_the_hash_seed(reports: list[str]) -> None:
    code = f"from metrics.rules import annotation; print([annotation(text) for text in {reports[:40]!r}])"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout


def test_importing_the_reader_imports_nothing_heavy() -> None:
    code = (
        "import sys, metrics.rules as r; r.annotation('No effusion.');"
        "print(*({'numpy', 'torch', 'nltk', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) - {"numpy"}  # bench.contracts needs numpy


# ------------------------------------------------------------------ properties, over many texts


def check_annotation(text: str) -> None:
    made = annotation(text)
    tokens = made["text"].split(" ") if made["text"] else []
    assert tokens == TOKEN.findall(text)
    for number, (key, entity) in enumerate(made["entities"].items(), 1):
        assert key == str(number)
        assert " ".join(tokens[entity["start_ix"] : entity["end_ix"] + 1]) == entity["tokens"]
        for name, other in entity["relations"]:
            assert name in ("modify", "located_at", "suggestive_of")
            assert other in made["entities"]
            assert other != key
    starts = [e["start_ix"] for e in made["entities"].values()]
    assert starts == sorted(set(starts))
    for phrase in made["phrases"]:
        assert entails(phrase, made["phrases"])[0], phrase


def test_annotations_of_the_demo_hold_together(reports: list[str]) -> None:
    for text in reports:
        check_annotation(text)


@pytest.mark.parametrize(
    "text",
    [
        "...",
        "no",
        "no no no",
        "with",
        ", and or",
        "(effusion",
        "1. 2.",
        "-",
        "\n\n",
        "Ünïcode éffusion ≥ 3",
        "a" * 5000,
    ],
)
def test_odd_texts_are_read(text: str) -> None:
    check_annotation(text)


def test_the_time_grows_with_a_sentence_and_not_with_its_square() -> None:
    """Words differ from one cut to the next, so that no cut is read from memory."""

    def seconds(n: int, name: str) -> float:
        text = "".join(f"no effusion or {name}{i} " for i in range(n))
        start = time.process_time()
        annotation(text)
        return time.process_time() - start

    seconds(100, "warm")
    short, long = (min(seconds(n, f"{n}x{k}y") for k in range(3)) for n in (1000, 8000))
    assert long < 24 * short  # the square would be 64 times as long


def test_cuts_of_a_long_sentence_hold_its_tokens() -> None:
    text = "no effusion-or, " * 500
    parts = list(sentences(text))
    assert max(len(TOKEN.findall(part)) for part in parts) <= LONGEST
    assert [t for part in parts for t in TOKEN.findall(part)] == TOKEN.findall(text)


def test_phrases_carry_the_labels_of_their_text(reports: list[str]) -> None:
    """The reader finds in a text's phrases what it found in the text."""
    same = total = 0
    for text in reports:
        made = annotation(text)
        again = annotation(" ".join(made["phrases"]))["labels"]
        same += sum(made["labels"][name] in (again[name], -1) for name in LABELS)
        total += len(LABELS)
    assert same / total > 0.995


def test_phrases_read_back_as_what_they_were_made_of(reports: list[str]) -> None:
    found = [s for text in reports for s in statements(text)]
    wrong = [s.phrase for s in found if [replace_labels(r) for r in statements(s.phrase)] != [replace_labels(s)]]
    assert len(found) > 500
    assert len(wrong) / len(found) < 0.005, wrong


def replace_labels(s: object) -> tuple[object, ...]:
    """Return a statement without its labels and phrase."""
    return tuple(
        getattr(s, name) for name in ("finding", "status", "side", "grade", "change", "kinds", "places", "unlikely")
    )


# ------------------------------------------------------------------ the demo's truth


def test_the_demos_findings_are_recovered() -> None:
    """F1 of each label against the findings that were drawn, not against what the reports' author meant to say."""
    asked = set(LABELS) & {wording.label for wording in WORDINGS.values()} | {"No Finding"}
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for study in plan(800, 100, 0):
        report = write_report(study, stream(0, 200, study.id))
        read = annotation(report.body)["labels"]
        true = {WORDINGS[code].label for code in names_of(study.findings)}
        true |= {"No Finding"} if report.labels.get("No Finding") == 1 else set()
        if read["Lung Opacity"] == 1 and "Consolidation" in true:
            read["Consolidation"] = 1  # the demo also calls a consolidation an opacity
        for name in asked:
            hedged = report.labels.get(name) == -1  # left open, though nothing was drawn
            positive = read[name] == 1 or (read[name] == -1 and not hedged)
            counts[name][(1 if positive else 2) if positive != (name in true) else 0] += positive or name in true
    scores = {name: 2 * both / (2 * both + extra + missed) for name, (both, extra, missed) in counts.items()}
    assert len(scores) == 10
    assert min(scores.values()) >= 0.98, scores


# ------------------------------------------------------------------ real reports


@pytest.fixture(scope="module")
def iu() -> ModuleType:
    """The benchmark's module."""
    spec = importlib.util.spec_from_file_location("rules_iu", HERE.parent / "benchmarks" / "rules_iu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FLOORS = {
    "Cardiomegaly": 0.96,
    "Lung Opacity": 0.90,
    "Lung Lesion": 0.74,
    "Edema": 0.80,
    "Atelectasis": 0.89,
    "Pneumothorax": 0.85,
    "Pleural Effusion": 0.89,
    "Fracture": 0.77,
    "Support Devices": 0.83,
    "No Finding": 0.95,
}
"""F1 that the reader must keep; the table of docs/rules.md less about 0.02, more for rare labels."""


@pytest.mark.skipif(not (REAL / "indiana_reports.csv").is_file(), reason=f"no IU X-Ray reports at {REAL}")
def test_agreement_with_open_i_on_the_half_set_aside(iu: ModuleType) -> None:
    given = iu.half(iu.reports(REAL), "odd")
    found = iu.measure(given)
    below = {name: found[name].f1 for name, floor in FLOORS.items() if found[name].f1 < floor}
    assert not below
    assert len(given) > 1800


def test_counting_of_agreement(iu: ModuleType) -> None:
    terms = [{("Cardiomegaly", "mild")}, {("normal",)}, {("Cardiac Shadow", "enlarged")}, {("Stents",)}]
    texts = ["Heart is enlarged.", "Heart is enlarged.", "Lungs are clear.", "Aortic stent."]
    given = [iu.Report(i, t, frozenset(x)) for i, (t, x) in enumerate(zip(texts, terms, strict=True))]
    found = iu.measure(given)
    assert found["Cardiomegaly"] == iu.Agreement(1, 1, 1)
    assert found["Support Devices"] == iu.Agreement(1, 0, 0)
    assert found["No Finding"] == iu.Agreement(1, 1, 1)
    assert (found["Cardiomegaly"].precision, found["Cardiomegaly"].f1) == (0.5, 0.5)


# ------------------------------------------------------------------ the tables


def test_tables_hang_together() -> None:
    tables = load()
    assert set(tables.abnormal.values()) | set(tables.regions.values()) <= set(tables.concepts)
    assert all(set(c.labels) <= set(LABELS) for c in tables.concepts.values())
    assert all(c.above <= set(tables.concepts) for c in tables.concepts.values())


@pytest.mark.parametrize(
    ("word", "expected"),
    [("Opacities", "opacity"), ("bases", "base"), ("masses", "mass"), ("Pneumothoraces", "pneumothorax"),
     ("atelectasis", "atelectasis"), ("has", "has"), ("lungs", "lung"), ("pus", "pus")],
)  # fmt: skip
def test_lemmas(word: str, expected: str) -> None:
    assert lemma(word) == expected


def test_sentences_end_where_they_do() -> None:
    text = "Mass of 3.5 cm.Heart normal. No effusion; clear lungs\n\nAtelectasis vs. pneumonia"
    assert list(sentences(text)) == [
        "Mass of 3.5 cm.",
        "Heart normal.",
        "No effusion;",
        "clear lungs",
        "Atelectasis vs. pneumonia",
    ]
