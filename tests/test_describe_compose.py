from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.contracts import Case, Image
from systems.sae_rad import vectors
from systems.sae_rad.compose import ActiveFeature, Concat, Draft
from systems.sae_rad.describe import Consensus, Description, TopReports
from systems.sae_rad.sentences import (
    blemish,
    contradict,
    covers,
    drop_denials,
    negated,
    positive,
    split,
    terms,
    tidy,
    without_change,
)
from systems.sae_rad.vectors import SentenceSpace

# ------------------------------------------------------------------ sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Heart is normal. Lungs clear.", ["Heart is normal", "Lungs clear"]),
        ("  A 1.5 cm nodule.\n\nNo   effusion..  ", ["A 1.5 cm nodule", "No effusion"]),
        ("In the left apex.There are opacities.", ["In the left apex", "There are opacities"]),
        ("1. Emphysema. 2. No edema.", ["Emphysema", "No edema"]),
        ("Discussed with Dr. Smith by phone. Clear.", ["Discussed with Dr. Smith by phone", "Clear"]),
        ("Is there edema? Yes!", ["Is there edema?", "Yes!"]),
        ("- low volumes\n- clear", ["low volumes - clear"]),
        ("... .", []),
        ("", []),
    ],
)
def test_split(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("no effusion", "No effusion."),
        (" Heart ,  normal .", "Heart, normal."),
        ("", ""),
        ("ETT in place..", "ETT in place."),
    ],
)
def test_tidy(text: str, tidied: str) -> None:
    assert tidy(text) == tidied


@pytest.mark.parametrize(
    ("sentence", "asserted", "denied"),
    [
        ("No focal edema, pleural effusion, or mass.", "", "focal edema pleural effusion mass"),
        ("Lungs are clear without effusions", "lung clear", "effusion"),
        ("No pneumothorax, but there is a small effusion", "small effusion", "pneumothorax"),
        ("No effusion and the heart is enlarged", "cardiomegaly", "effusion"),
        ("A pneumothorax is not seen", "", "pneumothorax"),
        ("The lungs are free of consolidation", "lung", "consolidation"),
        ("Moderately enlarged heart", "moderate cardiomegaly", ""),
        ("The cardiac silhouette is mildly enlarged", "mild cardiomegaly", ""),
        ("Heart size is within normal limits", "heart normal", ""),
        ("Right-sided densities; no nodule", "right opacity", "nodule"),
        ("A mass cannot be excluded", "mass", ""),
        ("The chest tube is no longer seen", "", "chesttube"),
        ("The left effusion has resolved", "", "left effusion"),
        ("Bibasilar opacities", "bilateral base opacity", ""),
    ],
)
def test_terms(sentence: str, asserted: str, denied: str) -> None:
    assert positive(terms(sentence)) == frozenset(asserted.split())
    assert negated(terms(sentence)) == frozenset(denied.split())


@pytest.mark.parametrize(
    ("one", "two", "findings"),
    [
        ("No pleural effusion", "Small right pleural effusion", "effusion"),
        ("No pneumothorax or pleural effusion", "Small right pleural effusion", "effusion"),
        ("No large pleural effusion", "Small right pleural effusion", ""),
        ("No large pleural effusion", "Large right pleural effusion", "effusion"),
        ("No effusion or overt edema", "Bilateral moderate effusions", "effusion"),
        ("No pleural fluid is identified", "Bilateral moderate effusions", "effusion"),
        ("No right pneumothorax", "Left apical pneumothorax", ""),
        ("Heart size is normal", "Moderate cardiomegaly", "cardiomegaly"),
        ("The lungs are clear", "Left basilar opacity", "opacity"),
        ("Lung volumes are low", "Normal lung volumes", "low"),
        ("No pulmonary edema", "Pulmonary nodule", ""),
        ("No effusion", "No effusion", ""),
        ("Left effusion", "Right effusion", ""),
        ("No acute fracture", "Old rib fracture", ""),
    ],
)
def test_contradictions(one: str, two: str, findings: str) -> None:
    assert contradict(one, two) == contradict(two, one) == frozenset(findings.split())


@pytest.mark.parametrize(
    ("known", "sentence", "covered"),
    [
        (["No pneumothorax or effusion"], "No pneumothorax", True),
        (["No pneumothorax"], "No pneumothorax or effusion", False),
        (["Small right effusion"], "Moderate right pleural effusion", True),
        (["Small right effusion"], "Small left effusion", False),
        (["Small bilateral effusions"], "Small left effusion", True),
        (["Right effusion"], "Bilateral effusions", False),
        (["The lungs are clear"], "No consolidation", True),
        (["No consolidation"], "Consolidation", False),
        (["NG tube"], "The orogastric tube passes below the diaphragm, its tip not included", True),
        (["Clear lungs"], "Well-aerated lungs on both sides", True),
        (["Mild edema"], "Florid pulmonary edema with Kerley B lines", True),
        (["Heart size is normal"], "The heart is normal", True),
        ([], "No consolidation", False),
    ],
)
def test_what_adds_nothing(known: list[str], sentence: str, covered: bool) -> None:
    assert covers(known, sentence) is covered


@pytest.mark.parametrize(
    ("sentence", "findings", "left"),
    [
        ("No focal edema, pleural effusion, or mass", "effusion", "No focal edema or mass"),
        ("There is no effusion or pneumothorax seen", "effusion", "There is no pneumothorax seen"),
        ("No effusion, edema, mass or nodule is seen", "mass", "No effusion, edema, or nodule is seen"),
        ("No effusion", "effusion", None),
        ("No effusion or edema", "mass", None),
        ("Clear lungs", "effusion", None),
    ],
)
def test_lists_of_denials_lose_members(sentence: str, findings: str, left: str | None) -> None:
    assert drop_denials(sentence, frozenset(findings.split())) == left


@pytest.mark.parametrize(
    ("sentence", "bare"),
    [
        ("Biapical pleural thickening, unchanged from prior", "Biapical pleural thickening"),
        ("Stable mild cardiomegaly", "mild cardiomegaly"),
        ("Compared to the prior study, there is a small effusion", "there is a small effusion"),
        ("A left pacemaker is again seen", "A left pacemaker is seen"),
        ("There is now a new right effusion", "There is right effusion"),
        ("There is a small effusion", "There is a small effusion"),
        ("The left effusion has increased since the prior study", "left effusion"),
        ("A hiatal hernia is present that has increased in size", "A hiatal hernia is present"),
        ("No significant change in left PICC", "left PICC"),
        ("Again noted is a right chest tube", "right chest tube"),
        ("Interval development of moderate edema", "moderate edema"),
        ("No interval development of edema", "No interval development of edema"),
        ("The mediastinal contours are unchanged", "The mediastinal contours are unchanged"),
        ("No effusion", "No effusion"),
    ],
)
def test_remarks_on_earlier_images_go(sentence: str, bare: str) -> None:
    assert without_change(sentence) == bare


def test_blemishes() -> None:
    plain = blemish("There is a small effusion")
    assert plain == 1
    for worse in (
        "There is an unchanged effusion",
        "There is XXXX effusion",
        "Effusion as of 3/14",
        "PA view provided",
    ):
        assert blemish(worse) < plain
    assert blemish("Degenerative changes of the spine") == 1


# ------------------------------------------------------------------ consensus

UBIQUITOUS = "No pneumothorax."
FILLERS = (
    "The lungs are clear.", "Heart size is normal.", "No pleural effusion.", "Mild scoliosis.",
    "The aorta is tortuous.", "Bones are intact.", "Low lung volumes.", "Tracheostomy tube in place.",
)  # fmt: skip
PLANTED = (
    "There is a small left pleural effusion.", "Small left effusion is seen.", "A small pleural effusion on the left.",
)  # fmt: skip


def training_reports() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join([UBIQUITOUS, *rng.choice(FILLERS, 3, replace=False)]) for _ in range(300)]


@pytest.fixture(scope="module")
def space() -> SentenceSpace:
    others = [f"Small {side} pleural effusion." for side in ("left", "right")]
    return SentenceSpace([*training_reports(), *others], seed=0)


def consensus(space: SentenceSpace, **options: float) -> Consensus:
    return Consensus(space, **{"sentences": 1, "further": 0.6, "least": 0.0, **options})  # type: ignore[arg-type]


def described(describer: Consensus, reports: Sequence[str], activations: Sequence[float]) -> str:
    [found] = describer.describe([TopReports(0, tuple(reports), tuple(activations))])
    assert isinstance(found, Description)
    return found.text


def ten_reports(planted: Sequence[str]) -> list[str]:
    return [f"{report} {planted[k % len(planted)]}" for k, report in enumerate(training_reports()[:10])]


def test_consensus_is_the_planted_sentence_and_not_the_ubiquitous_one(space: SentenceSpace) -> None:
    text = described(consensus(space), ten_reports(PLANTED), [1.0] * 10)
    assert text in {tidy(s) for sentence in PLANTED for s in split(sentence)}


def test_side_and_denial_are_kept_apart(space: SentenceSpace) -> None:
    reports = ten_reports(["Small left pleural effusion."] * 7 + ["Small right pleural effusion."] * 3)
    assert described(consensus(space), reports, [1.0] * 10) == "Small left pleural effusion."
    reports = ten_reports(["No rib fracture."] * 7 + ["Rib fracture."] * 3)
    assert described(consensus(space), reports, [1.0] * 10) == "No rib fracture."


def test_activations_weigh_the_reports(space: SentenceSpace) -> None:
    reports = ten_reports(["Left rib fracture."] * 5 + ["Calcified nodule."] * 5)
    heavy_first = [5.0] * 5 + [1.0] * 5
    assert described(consensus(space), reports, heavy_first) == "Left rib fracture."
    assert described(consensus(space), reports, heavy_first[::-1]) == "Calcified nodule."


def test_a_sentence_is_not_its_own_witness(space: SentenceSpace) -> None:
    reports = ten_reports(["A unique azygos lobe."] + ["Left rib fracture."] * 9)
    assert described(consensus(space), reports, [9.0] + [1.0] * 9) == "Left rib fracture."


def test_a_second_sentence_must_add_something(space: SentenceSpace) -> None:
    reports = ten_reports(["Left rib fracture. A left-sided rib fracture is noted. Calcified hilar nodule."])
    two = described(consensus(space, sentences=3), reports, [1.0] * 10)
    assert sorted(split(two)) == ["Calcified hilar nodule", "Left rib fracture"]


def test_sentences_with_removed_words_or_changes_are_second_choice(space: SentenceSpace) -> None:
    reports = ten_reports(["Left rib fracture XXXX. Left rib fracture."])
    assert described(consensus(space), reports, [1.0] * 10) == "Left rib fracture."
    reports = ten_reports(["Left rib fracture, unchanged from prior."])
    assert described(consensus(space), reports, [1.0] * 10) == "Left rib fracture."


def test_least_leaves_a_feature_of_chance_reports_undescribed(space: SentenceSpace) -> None:
    chance = training_reports()[40:50]
    assert described(consensus(space, least=4.0), chance, [1.0] * 10) == ""
    assert described(consensus(space, least=4.0), ten_reports(PLANTED), [1.0] * 10) != ""


@pytest.mark.parametrize("reports", [[], [""], ["XXXX."], ["Left rib fracture."]])
def test_few_or_empty_reports(space: SentenceSpace, reports: list[str]) -> None:
    text = described(consensus(space), reports, [1.0] * len(reports))
    assert text in ("", "Left rib fracture.")


def test_the_seed_draws_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BASE_REPORTS", 40)
    one, two, other = (SentenceSpace(training_reports(), seed) for seed in (0, 0, 1))
    bases = [[s.base(filler.strip(".")) for filler in FILLERS] for s in (one, two, other)]
    assert bases[0] == bases[1] != bases[2]
    assert one.base("No pneumothorax") == pytest.approx((1.0, 0.0))
    assert one.place("No pneumothorax") == 0.0


def test_similarity_is_the_cosine_of_tf_idf() -> None:
    space = SentenceSpace(["Nodule. Mass.", "Nodule. Edema."], seed=0)
    log = np.log1p
    nodule, mass = log(2 / 2), log(2 / 1)
    expected = nodule**2 / (nodule * np.hypot(nodule, mass))
    found = space.similarity(["Nodule", "No nodule"], ["Nodule and mass", "Edema"])
    np.testing.assert_allclose(found, [[expected, 0], [0, 0]])
    assert space.base("Mass") == (pytest.approx(0.5), pytest.approx(0.25))


# ------------------------------------------------------------------ concat

CASE = Case("x", "p", (Image(Path("x.png"), "AP"),))


def composed(
    space: SentenceSpace,
    *said: tuple[float, str],
    max_sentences: int = 6,
    share: float = 0.0,
    order: str = "importance",
) -> str:
    features = tuple(ActiveFeature(k, importance, text) for k, (importance, text) in enumerate(said))
    concat = Concat(space, max_sentences=max_sentences, share=share, order=order)  # type: ignore[arg-type]
    [text] = concat.compose([Draft(CASE, features)])
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("said", "report"),
    [
        ([], ""),
        ([(1.0, "")], ""),
        ([(1.0, "mild scoliosis."), (0.5, "Low lung volumes.")], "Mild scoliosis. Low lung volumes."),
        ([(1.0, "No pleural effusion."), (0.5, "No pleural effusion.")], "No pleural effusion."),
        ([(1.0, "No pleural effusion."), (0.5, "There is no pleural effusion.")], "No pleural effusion."),
        ([(1.0, "No pleural effusion."), (0.9, "Small right pleural effusion.")], "No pleural effusion."),
        ([(0.9, "No pleural effusion."), (1.0, "Small right pleural effusion.")], "Small right pleural effusion."),
        (  # two that agree outweigh one that is more important
            [(1.0, "No pleural effusion."), (0.6, "Right pleural effusion."), (0.6, "Right pleural effusion.")],
            "Right pleural effusion.",
        ),
        (  # the list loses the member that is contradicted
            [(1.0, "Small left effusion."), (0.9, "No consolidation, effusion, or pneumothorax.")],
            "Small left effusion. No consolidation or pneumothorax.",
        ),
        ([(1.0, "Left effusion."), (0.9, "Right effusion.")], "Left effusion. Right effusion."),
        ([(1.0, "Left effusion."), (0.9, "Bilateral effusions.")], "Left effusion."),
        ([(1.0, "Bilateral effusions."), (0.9, "Left effusion.")], "Bilateral effusions."),
        ([(1.0, "The lungs are clear."), (0.9, "The remaining lung is clear.")], "The lungs are clear."),
        ([(1.0, "No edema."), (0.9, "No effusion or edema.")], "No edema. No effusion."),
    ],
)
def test_duplicates_and_contradictions(space: SentenceSpace, said: list[tuple[float, str]], report: str) -> None:
    assert composed(space, *said) == report


def test_limit_of_sentences(space: SentenceSpace) -> None:
    said = [(1 - k / 10, text) for k, text in enumerate(("Mild scoliosis.", "Tortuous aorta.", "Nodule.", "Hernia."))]
    assert composed(space, *said, max_sentences=2) == "Mild scoliosis. Tortuous aorta."


def test_light_sentences_are_left_out(space: SentenceSpace) -> None:
    said = [(1.0, "Mild scoliosis."), (0.5, "Tortuous aorta."), (0.49, "Nodule.")]
    assert composed(space, *said, share=0.5) == "Mild scoliosis. Tortuous aorta."


def test_sentences_in_the_order_of_reports() -> None:
    space = SentenceSpace(["Clear lungs. No effusion. Normal heart. Intact bones."] * 5, seed=0)
    said = [(1.0, "Intact bones."), (0.9, "Normal heart."), (0.8, "Clear lungs.")]
    assert composed(space, *said, order="report") == "Clear lungs. Normal heart. Intact bones."
    assert composed(space, *said) == "Intact bones. Normal heart. Clear lungs."
