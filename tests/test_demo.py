"""The demo dataset: what is planned, drawn and written agrees, and is read as MIMIC-CXR is."""

from __future__ import annotations

import csv
import gzip
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.context import RunContext
from bench.datasets.demo import Demo, DemoOptions, writer
from bench.datasets.demo.findings import CATALOGUE, Finding, change, names_of, possible
from bench.datasets.demo.phrases import WORDINGS
from bench.datasets.demo.plan import Picture, Study, plan, stream
from bench.datasets.demo.radiograph import radiograph
from bench.datasets.demo.reports import LABELS, expand, write_report
from bench.errors import BenchError

SMALL = DemoOptions(images=30, test_images=8)


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    """The default plan."""
    return plan(800, 100, 0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A small demo, drawn once."""
    return demo(tmp_path_factory.mktemp("demo"))


def demo(folder: Path, options: DemoOptions = SMALL) -> Demo:
    return Demo(options, RunContext(workdir=folder / "work", cache_root=folder / "cache"))


def frontals(studies: list[Study], *splits: str) -> int:
    return sum(p.view != "LATERAL" for s in studies if s.split in splits for p in s.pictures)


def combinations(studies: list[Study], *splits: str) -> set[frozenset[str]]:
    return {names_of(s.findings) for s in studies if s.split in splits}


# ------------------------------------------------------------------ the plan


@pytest.mark.parametrize(("images", "tests", "seed"), [(800, 100, 0), (800, 100, 1), (30, 8, 2), (4, 1, 3)])
def test_split_sizes_are_exact(images: int, tests: int, seed: int) -> None:
    made = plan(images, tests, seed)
    assert frontals(made, "train", "validate") == images
    assert frontals(made, "test") == frontals(made, "test-novel") == tests


@pytest.mark.parametrize("seed", range(4))
def test_novel_combinations_are_new_and_test_combinations_are_not(seed: int) -> None:
    made = plan(300, 60, seed)
    trained = combinations(made, "train", "validate")
    assert not combinations(made, "test-novel") & trained
    assert combinations(made, "test") <= trained
    assert all(possible(names) for names in combinations(made, "train", "validate", "test", "test-novel"))


def test_every_finding_is_often_in_train(studies: list[Study]) -> None:
    seen = Counter(
        f.code
        for s in studies
        if s.split in ("train", "validate")
        for f in s.findings
        for p in s.pictures
        if p.view != "LATERAL"
    )
    assert set(seen) == set(CATALOGUE)
    assert min(seen.values()) >= 15, seen.most_common()[-3:]
    assert len(CATALOGUE) >= 12


def test_about_a_third_is_normal_and_patients_return(studies: list[Study]) -> None:
    trained = [s for s in studies if s.split in ("train", "validate")]
    assert 0.22 < sum(not s.findings for s in trained) / len(trained) < 0.4
    assert sum(s.earlier is not None for s in trained) > 150
    assert sum(len([p for p in s.pictures if p.view != "LATERAL"]) > 1 for s in trained) > 80
    assert {p.view for s in trained for p in s.pictures} == {"AP", "PA", "LATERAL"}


def test_patients_stay_in_one_split_and_in_time(studies: list[Study]) -> None:
    by_patient: dict[int, list[Study]] = defaultdict(list)
    for study in studies:
        by_patient[study.subject].append(study)
    for history in by_patient.values():
        assert len({s.split for s in history}) == 1
        assert [s.when for s in history] == sorted({s.when for s in history})
        assert history[0].earlier is None
        assert all(b.earlier == a.findings for a, b in pairwise(history))


def test_ids_cannot_be_real_ones(studies: list[Study]) -> None:
    """Real subject ids are 10000032…19999987, real study ids 50000014…59999994."""
    assert all(90_000_001 <= s.subject < 91_000_000 and 90_000_001 <= s.id < 91_000_000 for s in studies)
    dicoms = [p.dicom_id for s in studies for p in s.pictures]
    assert len(set(dicoms)) == len(dicoms)
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", d) for d in dicoms)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (Finding("effusion", "left", "large"), Finding("effusion", "left", "small"), "worse"),
        (Finding("effusion", "left", "small"), Finding("effusion", "left", "moderate"), "better"),
        (Finding("effusion", "left", "small"), Finding("effusion", "left", "small"), "same"),
        (Finding("effusion", "left", "small"), Finding("effusion", "right", "small"), "new"),
        (Finding("effusion", "left", "small"), Finding("edema", "", "mild"), "new"),
        (Finding("pacemaker", "left"), Finding("pacemaker", "left"), "same"),
    ],
)
def test_change_by_hand(now: Finding, before: Finding, expected: str) -> None:
    assert change(now, [before]) == expected


# ------------------------------------------------------------------ what is drawn


def chest_with(*findings: Finding, view: str = "PA", subject: int = 5) -> np.ndarray:
    picture = Picture("x", view, 0)
    study = Study(subject, 77, "train", 0, datetime(2120, 1, 1), True, 60, findings, None, (picture,))
    return np.asarray(radiograph(study, picture, 0), np.float64)


def example(code: str, side: str, severity: str | None = None) -> Finding:
    kind = CATALOGUE[code]
    grade = severity if severity is not None else next(reversed(kind.severities), "")
    return Finding(code, side, grade, next(iter(kind.zones), ""), kind.sizes.get(grade, (0, 0))[1])


def sided() -> list[tuple[str, str]]:
    return [(code, side) for code, kind in CATALOGUE.items() for side in ("left", "right") if side in kind.sides]


@pytest.mark.parametrize(("code", "side"), [pair for pair in sided() if pair[0] not in {"scoliosis", "picc"}])
@pytest.mark.parametrize("subject", [5, 6])
def test_findings_are_drawn_on_their_side(code: str, side: str, subject: int) -> None:
    """The patient's right is image left: nearly all that changes lies in that half."""
    changed = np.abs(chest_with(example(code, side), subject=subject) - chest_with(subject=subject))
    half = changed.shape[1] // 2
    image_left, image_right = changed[:, :half].sum(), changed[:, half:].sum()
    own, other = (image_right, image_left) if side == "left" else (image_left, image_right)
    lead = 1.15 if code in {"pacemaker", "central_line"} else 2.5  # their leads and tips cross to the right heart
    assert own > lead * other


@pytest.mark.parametrize("side", ["left", "right"])
def test_picc_comes_from_its_side(side: str) -> None:
    changed = np.abs(chest_with(example("picc", side)) - chest_with())
    edge = changed.shape[1] // 4
    image_left, image_right = changed[:, :edge].sum(), changed[:, -edge:].sum()
    assert (image_right > 5 * image_left) if side == "left" else (image_left > 5 * image_right)


@pytest.mark.parametrize("side", ["left", "right"])
def test_opacities_are_brighter_and_air_is_darker(side: str) -> None:
    normal = chest_with()
    half = normal.shape[1] // 2
    where = np.s_[:, half:] if side == "left" else np.s_[:, :half]
    for code in ("effusion", "consolidation", "mass", "atelectasis"):
        assert chest_with(example(code, side))[where].mean() > normal[where].mean() + 0.5
    lateral = np.s_[70:150, -75:-35] if side == "left" else np.s_[70:150, 35:75]
    assert chest_with(example("pneumothorax", side))[lateral].mean() < normal[lateral].mean() - 2


@pytest.mark.parametrize("code", list(CATALOGUE))
@pytest.mark.parametrize("view", ["AP", "PA"])
def test_every_finding_shows(code: str, view: str) -> None:
    side = next(iter(CATALOGUE[code].sides), "")
    changed = np.abs(chest_with(example(code, side), view=view) - chest_with(view=view))
    assert (changed > 12).sum() >= 20


@pytest.mark.parametrize("code", [code for code, kind in CATALOGUE.items() if kind.graded or code == "scoliosis"])
def test_grades_are_graded(code: str) -> None:
    side = next(iter(CATALOGUE[code].sides), "")
    normal = chest_with()
    less = 0.0 if code == "pneumothorax" else -255.0  # the collapsed lung grows denser: count what grows darker
    changes = [normal - chest_with(example(code, side, grade)) for grade in CATALOGUE[code].severities]
    amounts = [np.abs(np.clip(change, less, None)).mean() for change in changes]
    assert all(a * 1.2 < b for a, b in pairwise(amounts)), amounts


def test_patients_and_images_differ() -> None:
    assert np.abs(chest_with() - chest_with(subject=6)).mean() > 5
    other = Picture("y", "PA", 1)
    study = Study(5, 77, "train", 0, datetime(2120, 1, 1), True, 60, (), None, (other,))
    assert np.abs(chest_with() - np.asarray(radiograph(study, other, 0), np.float64)).mean() > 3


@pytest.mark.parametrize("view", ["AP", "PA", "LATERAL"])
def test_metadata_gives_the_size_that_is_drawn(view: str) -> None:
    image = chest_with(view=view)
    assert image.shape == writer.image_shape(view)
    assert image.std() > 30


# ------------------------------------------------------------------ what is written

MENTION = {
    "endotracheal_tube": r"(endotracheal|et) tube|intubated",
    "nasogastric_tube": r"(nasogastric|enteric|orogastric|feeding|ng) tube",
    "central_line": r"(jugular|ij\b|central venous)",
    "picc": r"picc",
    "chest_tube": r"chest tube|pleural drain|thoracostomy",
    "pacemaker": r"pacemaker|pacing device",
    "sternotomy": r"sternotomy|sternal wires",
    "low_lung_volumes": r"lung volumes",
    "hyperinflation": r"hyperinflat|hyperexpand",
    "consolidation": r"opacit|consolidation",
    "atelectasis": r"atelectasis",
    "edema": r"edema",
    "nodule": r"nodul",
    "mass": r"\bmass(?!ive)",
    "effusion": r"effusion|pleural fluid",
    "pneumothorax": r"pneumothora",
    "elevated_hemidiaphragm": r"(elevat|raised).*hemidiaphragm|hemidiaphragm is (elevat|raised)",
    "cardiomegaly": r"cardiomegaly|(heart|cardiac).*enlarge|enlarge.*(heart|cardiac)",
    "aortic_tortuosity": r"tortuo|unfolded",
    "aortic_calcification": r"calcifi",
    "rib_fracture": r"fracture",
    "scoliosis": r"scoliosis",
}
DENIAL = re.compile(
    r"\b(no|without evidence of|free of) (?!(significant|interval|appreciable) change)|cannot be|difficult to exclude"
    r"|resol|cleared|no longer|removed|removal|withdrawn",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?])\s+(?=[A-Z])", text)


def affirmed(text: str, code: str) -> list[str]:
    """Sentences that mention a finding without denying it, by reading them naively."""
    without_asides = re.sub(r"without evidence of tension|without (significant )?change", "", text)
    hits = [s for s in sentences(without_asides) if re.search(MENTION[code], s, re.IGNORECASE)]
    return [s for s in hits if not DENIAL.search(s)]


@pytest.fixture(scope="module")
def reports(studies: list[Study]) -> list[tuple[Study, str]]:
    return [(s, write_report(s, stream(0, 200, s.id)).body) for s in studies]


@pytest.mark.parametrize("code", list(CATALOGUE))
def test_reports_say_what_is_drawn(code: str, reports: list[tuple[Study, str]]) -> None:
    missing = [body for s, body in reports if code in names_of(s.findings) and not affirmed(body, code)]
    assert not missing, missing[:3]


@pytest.mark.parametrize("code", [c for c in CATALOGUE if c != "consolidation"])
def test_reports_say_nothing_that_is_not_drawn(code: str, reports: list[tuple[Study, str]]) -> None:
    invented = [said for s, body in reports if code not in names_of(s.findings) for said in affirmed(body, code)]
    assert not invented, invented[:3]


def test_sides_are_said_right(reports: list[tuple[Study, str]]) -> None:
    told = 0
    for study, body in reports:
        for finding in study.findings:
            if finding.side not in ("left", "right") or finding.code in {"chest_tube", "scoliosis"}:
                continue
            text = " ".join(affirmed(body, finding.code)).lower()
            text = re.sub(r"relative to the \w+|right (atrium|ventricle)|upper quadrant", "", text)
            other = "right" if finding.side == "left" else "left"
            assert finding.side in text, (finding, body)
            if not {other, "bilateral"} & {f.side for f in study.findings}:
                assert other not in text, (finding, body)
            told += 1
    assert told > 200


def test_text_has_no_leftovers(studies: list[Study]) -> None:
    for study in studies:
        text = write_report(study, stream(0, 200, study.id)).text
        assert not re.search(r"[\[\]{}|^~!]| [.,]|\.\.|,\.|\b[Aa] [aeio]", text.replace("___", "X")), text
        body = write_report(study, stream(0, 200, study.id)).body
        assert all(re.match(r"[A-Z0-9]", s) for s in sentences(body)), body


def test_changes_are_told_in_follow_ups_only(reports: list[tuple[Study, str]]) -> None:
    change = r"unchanged|stable|increase|decrease|worse|improve|resol|no longer|interval|prior|again|persistent|similar"
    words = re.compile(
        change + r"|\b(new|placed|removed|removal|cleared)\b|(significant|appreciable) change", re.IGNORECASE
    )
    told = [bool(words.search(body)) for s, body in reports if s.earlier]
    first = [body for s, body in reports if s.earlier is None and words.search(body)]
    assert np.mean(told) > 0.8
    first = [body for body in first if "prior median sternotomy" not in body.lower()]
    assert not first, first[:3]


def test_wording_varies(reports: list[tuple[Study, str]]) -> None:
    import sacrebleu

    same: dict[tuple[Finding, ...], list[str]] = defaultdict(list)
    for study, body in reports:
        same[study.findings].append(body)
    texts = same[()][:40]
    assert len(set(texts)) > 30
    scores = [sacrebleu.sentence_bleu(a, [b]).score for a, b in pairwise(texts)]
    assert 5 < np.mean(scores) < 55
    words = {w for _, body in reports for w in re.findall(r"[a-z]+", body.lower())}
    assert len(words) > 300


def test_labels_follow_the_truth(studies: list[Study]) -> None:
    for study in studies:
        labels = write_report(study, stream(0, 200, study.id)).labels
        true = {WORDINGS[code].label for code in names_of(study.findings)} - {""}
        assert all(labels[label] == 1 for label in true)
        wrong = {k for k, v in labels.items() if v == 1} - true - {"No Finding", "Lung Opacity"}
        assert not wrong
        if labels.get("No Finding") == 1:
            assert true <= {"Support Devices"}
    values = {v for s in studies for v in write_report(s, stream(0, 200, s.id)).labels.values()}
    assert values == {1.0, 0.0, -1.0}


def test_grammar_by_hand() -> None:
    rng = np.random.default_rng(0)
    assert expand("A {grade} effusion.", {"grade": "[enlarged]"}, rng) == "An enlarged effusion."
    assert expand("{Side} lung [|] clear .", {"side": "left"}, rng).lower() == "left lung clear."
    assert {expand("[a|b [c|d]]", {}, rng) for _ in range(60)} == {"a", "b c", "b d"}


# ------------------------------------------------------------------ read as MIMIC-CXR


def test_read_by_the_mimic_reader(small: Demo) -> None:
    assert list(small.splits()) == ["train", "test", "test-novel"]
    assert [len(small.cases(s)) for s in small.splits()] == [30, 8, 8]
    for split in small.splits():
        cases = small.cases(split)
        assert set(small.references(split)) == {c.id for c in cases}
        assert all(small.references(split)[c.id] for c in cases)
        assert all(c.images[0].view in ("AP", "PA") and i.path.is_file() for c in cases for i in c.images)
        assert all(c.indication and c.comparison for c in cases)
    assert small.problems() == []
    assert small.credentialed is False
    first = small.cases("train")[0]
    assert first.images[0].path.parts[-4:-1] == ("p90", f"p{first.group}", f"s{first.study}")


def test_priors_are_earlier_reports(small: Demo) -> None:
    cases = [c for split in small.splits() for c in small.cases(split)]
    assert any(c.priors for c in cases)
    assert all(p.minutes_before > 0 for c in cases for p in c.priors)
    before = [image for c in cases for image in c.images if image.role == "prior"]
    assert before
    assert all(image.path.exists() and image.view in ("AP", "PA") for image in before)
    assert all(c.images[0].role == "current" for c in cases)
    none = demo(small.root.parents[3], SMALL.model_copy(update={"priors": 0}))
    assert not any(c.priors or len(c.images) > 2 for c in none.cases("train"))


def test_options_reach_the_reader(small: Demo) -> None:
    folder = small.root.parents[3]
    studies = demo(folder, SMALL.model_copy(update={"unit": "study", "validation": "held-out"}))
    assert studies.root == small.root
    assert list(studies.splits()) == ["train", "validate", "test", "test-novel"]
    assert len(studies.cases("train")) + len(studies.cases("validate")) < 30
    assert all(c.id == c.study for c in studies.cases("train"))


def test_truth_names_every_image(small: Demo) -> None:
    planned = {p.dicom_id: s.findings for s in plan(30, 8, 0) for p in s.pictures}
    assert dict(small.truth) == planned
    assert {c.id for split in small.splits() for c in small.cases(split)} <= set(small.truth)


def test_census_counts_findings(small: Demo) -> None:
    counts = {c.name: c for c in small.census()}
    trained = [small.truth[c.id] for c in small.cases("train")]
    for code in CATALOGUE:
        assert counts[f"train, {code}"].found == sum(code in names_of(f) for f in trained)
    assert all(c.expected is None for c in counts.values())


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def test_tables_have_the_real_columns(small: Demo) -> None:
    split = rows(small.root / "mimic-cxr-2.0.0-split.csv.gz")
    metadata = rows(small.root / "mimic-cxr-2.0.0-metadata.csv.gz")
    labels = rows(small.root / "mimic-cxr-2.0.0-chexpert.csv.gz")
    assert list(split[0]) == ["dicom_id", "study_id", "subject_id", "split"]
    assert list(metadata[0]) == [
        "dicom_id",
        "subject_id",
        "study_id",
        "PerformedProcedureStepDescription",
        "ViewPosition",
        "Rows",
        "Columns",
        "StudyDate",
        "StudyTime",
        "ProcedureCodeSequence_CodeMeaning",
        "ViewCodeSequence_CodeMeaning",
        "PatientOrientationCodeSequence_CodeMeaning",
    ]
    assert list(labels[0]) == ["subject_id", "study_id", *LABELS]
    assert {v for row in labels for k, v in row.items() if k in LABELS} <= {"", "1.0", "0.0", "-1.0"}
    assert {row["ViewPosition"] for row in metadata} == {"AP", "PA", "LATERAL"}
    assert {row["split"] for row in split} == {"train", "validate", "test", "test-novel"}


def test_fingerprint_draws_nothing_and_tells_demos_apart(tmp_path: Path) -> None:
    prints = {
        demo(tmp_path, options).fingerprint()
        for options in (SMALL, DemoOptions(images=31, test_images=8), DemoOptions(images=30, test_images=8, seed=1))
    }
    assert len(prints) == 3
    assert demo(tmp_path).fingerprint() in prints
    assert not (tmp_path / "cache").exists()


def test_the_same_twice(small: Demo, tmp_path: Path) -> None:
    def contents(root: Path) -> dict[str, bytes]:
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    again = contents(demo(tmp_path).root)
    assert again == contents(small.root)
    assert len(again) > 80


# ------------------------------------------------------------------ kills, and two at once


@contextmanager
def no_progress(*_: object) -> Iterator[object]:
    class Ticker:
        def advance(self, n: int = 1) -> None: ...
        def note(self, text: str) -> None: ...

    yield Ticker()


def test_a_killed_generation_leaves_nothing_that_counts(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from bench.context import RunContext
        from bench.datasets.demo import Demo, DemoOptions, writer
        drawn = []
        def dying(*args):
            drawn.append(args)
            if len(drawn) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)
        real, writer.radiograph = writer.radiograph, dying
        folder = Path({str(tmp_path)!r})
        Demo(DemoOptions(images=6, test_images=2), RunContext(workdir=folder, cache_root=folder / "cache")).root
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (left,) = (tmp_path / "cache" / "demo").glob("*/.*.part")
    assert list(left.rglob("*.jpg"))
    assert not list((tmp_path / "cache" / "demo").glob("*/mimic-cxr-jpg"))
    again = demo(tmp_path, DemoOptions(images=6, test_images=2))
    assert len(again.cases("train")) == 6
    assert left.exists(), "another process may still be writing it"
    for path in [left, *left.glob("files/*")]:
        os.utime(path, (0, 0))
    writer._sweep(again.root)
    assert not left.exists()


def test_two_at_once_both_end_well(tmp_path: Path) -> None:
    target, made = tmp_path / "here" / "it", plan(4, 1, 0)

    @contextmanager
    def slow(*_: object) -> Iterator[object]:
        with no_progress() as ticker:
            yield ticker
        if not target.exists():  # the other process overtakes this one
            writer.ensure(target, lambda: made, 0, no_progress)

    assert writer.ensure(target, lambda: made, 0, slow) == target
    assert list((tmp_path / "here").iterdir()) == [target]
    assert len(list(target.rglob("*.jpg"))) == sum(len(s.pictures) for s in made)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x.jpg")

    monkeypatch.setattr(writer, "_write_study", full)
    with pytest.raises(BenchError, match=r"No space left.*x\.jpg"):
        writer.ensure(tmp_path / "here" / "it", lambda: plan(4, 1, 0), 0, no_progress)
    assert list((tmp_path / "here").iterdir()) == []


def test_what_stays_looks_the_same_in_the_next_study() -> None:
    nodule = example("nodule", "left")
    picture = Picture("x", "PA", 0)
    first = Study(5, 77, "train", 0, datetime(2120, 1, 1), True, 60, (nodule,), None, (picture,))

    def spot(study: Study) -> tuple[float, float]:
        changed = np.abs(
            np.asarray(radiograph(study, picture, 0), float)
            - np.asarray(radiograph(replace(study, findings=()), picture, 0), float)
        )
        y, x = np.unravel_index(changed.argmax(), changed.shape)
        return float(y), float(x)

    assert np.hypot(*np.subtract(spot(first), spot(replace(first, id=78)))) < 20
