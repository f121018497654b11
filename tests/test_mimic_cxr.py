"""MIMIC-CXR on a small synthetic tree in its layout."""

import gzip
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.context import RunContext
from bench.contracts import Case, Dataset, Problem
from bench.datasets import mimic_reports
from bench.datasets.mimic_cxr import MimicCXR
from bench.datasets.mimic_tables import seconds
from bench.errors import BenchError

METADATA = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,StudyDate,StudyTime\n"
SPLIT = "dicom_id,study_id,subject_id,split\n"

# dicom, subject, study, view, date, time, split
ROWS: list[tuple[str, ...]] = [
    # Patient 10000001 (train): four studies; 50000004 holds the smallest study id and yet is the latest.
    ("aa1", "10000001", "50000011", "PA", "21500101", "93000.5", "train"),
    ("aa2", "10000001", "50000011", "LATERAL", "21500101", "93100.0", "train"),
    ("aa3", "10000001", "50000011", "AP", "21500101", "93200.0", "train"),
    ("ab1", "10000001", "50000012", "AP", "21500102", "93000.5", "train"),
    ("ac1", "10000001", "50000013", "AP", "21500103", "000005", "train"),
    ("ad1", "10000001", "50000004", "PA", "21500103", "10.0", "train"),
    ("ae1", "10000001", "50000015", "LL", "21491231", "235959.999", "train"),
    # Patient 10000002 (validate): impression only.
    ("ba1", "10000002", "50000021", "AP", "21600101", "120000", "validate"),
    # Patient 10000003 (test): two studies at the same moment, one with a second view that does not count.
    ("ca1", "10000003", "50000031", "AP", "21600101", "120000", "test"),
    ("ca2", "10000003", "50000031", "AP AXIAL", "21600101", "120000", "test"),
    ("cb1", "10000003", "50000032", "PA", "21600101", "120000.0", "test"),
]


def report(findings: str, extra: str = "") -> str:
    return f"                                 FINAL REPORT\n{extra} FINDINGS: \n \n {findings}\n"


REPORTS = {
    ("10000001", "50000011"): report(
        "First study.", " INDICATION:  Cough.\n TECHNIQUE:  PA.\n COMPARISON:  None.\n \n"
    ),
    ("10000001", "50000012"): report("Second study.", " HISTORY:  Old cough.\n \n"),
    ("10000001", "50000013"): report("Third study."),
    ("10000001", "50000004"): report("Fourth study."),
    ("10000001", "50000015"): report("Study zero."),
    ("10000002", "50000021"): "                 FINAL REPORT\n IMPRESSION:  Validation study.\n",
    ("10000003", "50000031"): "                 FINAL REPORT\n CHEST\n \n Test study.\n",
    ("10000003", "50000032"): report("Same moment."),
}


def write_tables(root: Path, rows: Sequence[tuple[str, ...]]) -> None:
    meta = "".join(f'{d},{p},{s},"CHEST (PA, LAT)",{v},{day},{time}\n' for d, p, s, v, day, time, _ in rows)
    split = "".join(f"{d},{s},{p},{value}\n" for d, p, s, _, _, _, value in reversed(rows))
    root.mkdir(parents=True, exist_ok=True)
    (root / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(gzip.compress((METADATA + meta).encode(), mtime=0))
    (root / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(gzip.compress((SPLIT + split).encode(), mtime=0))


def report_path(root: Path, subject: str, study: str) -> Path:
    return root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}.txt"


def image_path(root: Path, subject: str, study: str, dicom: str) -> Path:
    return root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg"


def write_tree(root: Path, rows: Sequence[tuple[str, ...]] = ROWS) -> Path:
    write_tables(root, rows)
    for dicom, subject, study, *_ in rows:
        path = image_path(root, subject, study, dicom)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"jpg")
    for (subject, study), text in REPORTS.items():
        report_path(root, subject, study).write_text(text)
    return root


Open = Callable[..., MimicCXR]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "mimic")


@pytest.fixture
def read(root: Path, tmp_path: Path) -> Open:
    def build(**options: Any) -> MimicCXR:
        context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
        return MimicCXR(MimicCXR.Options(**{"root": root, **options}), context)

    return build


def ids(cases: Sequence[Case]) -> list[str]:
    return [case.id for case in cases]


def the(cases: Sequence[Case], name: str) -> Case:
    return next(case for case in cases if case.id == name)


# ------------------------------------------------------------------ cases


def test_images_are_the_unit_and_validation_is_training_data(read: Open, root: Path) -> None:
    data: Dataset = read()
    assert data.credentialed
    assert list(data.splits()) == ["train", "test"]
    # 50000004 comes before 50000011: by subject, study, dicom, whatever the time.
    assert ids(data.cases("train")) == ["ad1", "aa1", "aa3", "ab1", "ac1", "ba1"]
    assert ids(data.cases("test")) == ["ca1", "cb1"]
    case = the(data.cases("train"), "aa1")
    assert (case.group, case.study) == ("10000001", "50000011")
    assert (case.indication, case.technique, case.comparison) == ("Cough.", "PA.", "None.")
    assert [(i.path.name, i.view, i.role) for i in case.images] == [
        ("aa1.jpg", "PA", "current"),
        ("aa2.jpg", "LATERAL", "current"),
    ]
    assert case.images[0].path == image_path(root, "10000001", "50000011", "aa1")
    assert the(data.cases("train"), "ab1").indication == "Old cough."  # the history where there is no indication
    assert data.problems() == []


def test_references_and_tiers(read: Open) -> None:
    data = read()
    assert data.references("train") == {
        "ad1": "Fourth study.",
        "aa1": "First study.",
        "aa3": "First study.",
        "ab1": "Second study.",
        "ac1": "Third study.",
        "ba1": "Validation study.",
    }
    assert data.references("test") == {"ca1": "Test study.", "cb1": "Same moment."}


def test_population_of_findings(read: Open) -> None:
    data = read(population="findings")
    assert ids(data.cases("test")) == ["cb1"]
    assert list(data.references("test")) == ["cb1"]
    assert "ba1" not in ids(data.cases("train"))
    assert data.problems() == []


def test_held_out_validation(read: Open) -> None:
    data = read(validation="held-out")
    assert list(data.splits()) == ["train", "validate", "test"]
    assert ids(data.cases("validate")) == ["ba1"]
    assert "ba1" not in ids(data.cases("train"))


def test_studies_as_the_unit(read: Open) -> None:
    cases = read(unit="study").cases("train")
    assert ids(cases) == ["50000004", "50000011", "50000012", "50000013", "50000021"]
    assert [i.path.stem for i in the(cases, "50000011").images] == ["aa1", "aa3", "aa2"]


def test_views_are_taken_exactly(read: Open) -> None:
    assert ids(read(views=("AP",)).cases("train")) == ["aa3", "ab1", "ac1", "ba1"]
    assert ids(read(views=("AP AXIAL",)).cases("test")) == ["ca2"]


def test_any_split_of_the_table_is_offered(tmp_path: Path, read: Open) -> None:
    rows = [(*row[:-1], "test-novel" if row[0] == "cb1" else row[-1]) for row in ROWS]
    data = read(root=write_tree(tmp_path / "other", rows))
    assert list(data.splits()) == ["train", "test", "test-novel"]
    assert ids(data.cases("test-novel")) == ["cb1"]


# ------------------------------------------------------------------ priors


def test_priors_are_the_latest_strictly_earlier_studies(read: Open) -> None:
    case = the(read().cases("train"), "ad1")  # 2150-01-03 00:00:10
    assert [(p.findings, p.minutes_before) for p in case.priors] == [
        ("Third study.", 0),  # five seconds before
        ("Second study.", 14 * 60 + 30),  # 09:30:00.5 the day before: 14 h 30 min 9.5 s
        ("First study.", 38 * 60 + 30),
    ]
    assert case.priors[0].text == REPORTS["10000001", "50000013"]


def test_a_study_starts_with_its_earliest_image(read: Open) -> None:
    # 50000011 from 09:30:00.5 to 09:32:00; the one before is study zero (a lateral only).
    for name in ("aa1", "aa3"):
        case = the(read().cases("train"), name)
        assert [(p.findings, p.minutes_before) for p in case.priors] == [("Study zero.", 9 * 60 + 30)]


def test_the_same_moment_is_not_earlier(read: Open) -> None:
    assert [case.priors for case in read().cases("test")] == [(), ()]


@pytest.mark.parametrize(("n", "found"), [(0, 0), (1, 1), (2, 2), (10, 4)])
def test_number_of_priors(read: Open, n: int, found: int) -> None:
    assert len(the(read(priors=n).cases("train"), "ad1").priors) == found


def test_a_prior_may_lack_findings(tmp_path: Path, read: Open, root: Path) -> None:
    report_path(root, "10000001", "50000013").write_text("FINAL REPORT\n IMPRESSION:  Short.\n")
    report_path(root, "10000001", "50000012").unlink()
    priors = the(read().cases("train"), "ad1").priors
    assert [p.findings for p in priors] == [None, "First study.", "Study zero."]  # the one without a report is skipped


def shown(case: Case) -> list[tuple[str, str, str]]:
    return [(image.path.stem, image.view, image.role) for image in case.images]


def test_the_latest_earlier_studys_frontal_image_comes_last(read: Open, root: Path) -> None:
    cases = read().cases("train")
    assert shown(the(cases, "ab1")) == [("ab1", "AP", "current"), ("aa1", "PA", "prior")]
    assert shown(the(cases, "ac1")) == [("ac1", "AP", "current"), ("ab1", "AP", "prior")]
    assert shown(the(cases, "ad1")) == [("ad1", "PA", "current"), ("ac1", "AP", "prior")]
    assert the(cases, "ab1").images[1].path == image_path(root, "10000001", "50000011", "aa1")
    # Study zero, before this one, has a lateral image only; nothing comes before the validation study.
    assert shown(the(cases, "aa1")) == [("aa1", "PA", "current"), ("aa2", "LATERAL", "current")]
    assert shown(the(cases, "ba1")) == [("ba1", "AP", "current")]
    assert all(image.role == "current" for case in read().cases("test") for image in case.images)


def test_a_prior_image_is_of_the_study_of_the_latest_earlier_report(read: Open, root: Path) -> None:
    report_path(root, "10000001", "50000013").write_text(" \n")  # says nothing: the report before it is the prior
    ad1 = the(read().cases("train"), "ad1")
    assert ad1.priors[0].findings == "Second study."
    assert shown(ad1)[1:] == [("ab1", "AP", "prior")]


def test_a_prior_image_must_be_there(read: Open, root: Path, tmp_path: Path) -> None:
    listed = tmp_path / "out.txt"
    listed.write_text("ac1\n")
    assert shown(the(read(exclude=listed).cases("train"), "ad1")) == [("ad1", "PA", "current")]
    whole = read().fingerprint()
    image_path(root, "10000001", "50000011", "aa1").unlink()
    assert shown(the(read().cases("train"), "ab1"))[1:] == [("aa3", "AP", "prior")]  # the study's next frontal image
    image_path(root, "10000001", "50000013", "ac1").unlink()
    ad1 = the(read().cases("train"), "ad1")
    assert shown(ad1) == [("ad1", "PA", "current")]  # never that of another study than the report
    assert ad1.priors[0].findings == "Third study."
    assert read().fingerprint() != whole
    assert shown(the(read(check_files=False).cases("train"), "ad1"))[1:] == [("ac1", "AP", "prior")]


def test_a_missing_prior_image_of_another_view_is_in_the_fingerprint(read: Open, root: Path) -> None:
    only_ap = read(views=("AP",))
    assert shown(the(only_ap.cases("train"), "ab1"))[1:] == [("aa1", "PA", "prior")]
    before = only_ap.fingerprint()
    image_path(root, "10000001", "50000011", "aa1").unlink()
    assert read(views=("AP",)).fingerprint() != before


def test_prior_images_go_with_priors_and_with_studies(read: Open) -> None:
    assert shown(the(read(priors=0).cases("train"), "ad1")) == [("ad1", "PA", "current")]
    assert shown(the(read(unit="study").cases("train"), "50000012")) == [
        ("ab1", "AP", "current"),
        ("aa1", "PA", "prior"),
    ]


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        ("00010101", "0", 86_400.0),
        ("00010102", "10000.5", 2 * 86_400 + 3600 + 0.5),
        ("00010101", "235959.999", 86_400 + 86_399.999),
        ("00010101.0", "59.", 86_400 + 59.0),
        ("00010101", "93.0", None),  # 00:00:93 is no time
        ("21500231", "120000", None),
        ("2150-01-01", "120000", None),
        ("21500101", "250000", None),
        ("21500101", "126100", None),
        ("21500101", "", None),
        ("", "120000", None),
        ("21500101", "nan", None),
        ("21500101", "-5", None),
        ("21500101", ".5", None),
    ],
)
def test_seconds(day: str, time: str, expected: float | None) -> None:
    assert seconds(day, time) == (None if expected is None else pytest.approx(expected))


# ------------------------------------------------------------------ bad rows


def test_bad_rows_become_problems(read: Open, root: Path) -> None:
    image_path(root, "10000001", "50000012", "ab1").unlink()
    image_path(root, "10000001", "50000011", "aa2").unlink()
    report_path(root, "10000001", "50000013").unlink()
    report_path(root, "10000002", "50000021").write_text(" \n\n")
    report_path(root, "10000003", "50000031").write_bytes(b"x\n FINDINGS:  Caf\xe9.\n")
    report_path(root, "10000003", "50000032").write_text("x\n COMPARISON:  None.\n")
    data = read()
    assert ids(data.cases("train")) == ["ad1", "aa1", "aa3"]
    assert [i.path.stem for i in data.cases("train")[1].images] == ["aa1"]
    of_train = [
        Problem("files/p10/p10000001/s50000011/aa2.jpg", "aa2", "image file missing"),
        Problem("files/p10/p10000001/s50000012/ab1.jpg", "ab1", "image file missing"),
        Problem("files/p10/p10000001/s50000013.txt", "50000013", "report file missing"),
        Problem("files/p10/p10000002/s50000021.txt", "50000021", "report is empty"),
    ]
    assert list(data.problems()) == of_train
    assert data.references("test") == {"ca1": "Caf\N{REPLACEMENT CHARACTER}."}
    assert list(data.problems())[4:] == [
        Problem("files/p10/p10000003/s50000031.txt", "50000031", "byte 17 is not UTF-8: shown as U+FFFD"),
        Problem(
            "files/p10/p10000003/s50000032.txt",
            "50000032",
            "report has neither findings, impression nor a last paragraph",
        ),
    ]


def test_bad_table_rows(read: Open, root: Path) -> None:
    bad = [
        ("ab1", "10000001", "50000012", "AP", "21500102", "93000.5", "train"),  # again
        ("", "10000001", "50000012", "AP", "21500102", "93000.5", "train"),
        ("da1", "10000004", "50000041", "AP", "21500102", "noon", "train"),
    ]
    nowhere = ("ea2", "10000005", "50000051", "AP", "21500102", "1", "")
    write_tables(root, [*ROWS, *bad, nowhere])
    split = root / "mimic-cxr-2.0.0-split.csv.gz"
    split.write_bytes(gzip.compress(gzip.decompress(split.read_bytes()) + b"ea1,50000051,10000005,train\n"))
    image_path(root, "10000004", "50000041", "da1").parent.mkdir(parents=True)
    image_path(root, "10000004", "50000041", "da1").touch()
    report_path(root, "10000004", "50000041").write_text(report("No time."))
    data = read()
    cases = data.cases("train")
    assert ids(cases) == ["ad1", "aa1", "aa3", "ab1", "ac1", "ba1", "da1"]
    assert the(cases, "da1").priors == ()
    found = {(p.file.split("-")[-1], p.id, p.why.split(":")[0].split(" on line")[0]) for p in data.problems()}
    assert found == {
        ("metadata.csv.gz", "ab1", "dicom_id occurs again"),
        ("split.csv.gz", "ab1", "dicom_id occurs again"),
        ("metadata.csv.gz", f"line {len(ROWS) + 3}", "no dicom_id"),
        ("split.csv.gz", "line 4", "no dicom_id"),
        ("split.csv.gz", "ea2", "no split given"),
        ("metadata.csv.gz", "ea1", "named by the split table, but without a metadata row"),
        ("metadata.csv.gz", "da1", "StudyDate '21500102' or StudyTime 'noon' cannot be read"),
    }


def test_tables_that_disagree(read: Open, root: Path) -> None:
    split = root / "mimic-cxr-2.0.0-split.csv.gz"
    split.write_bytes(gzip.compress(gzip.decompress(split.read_bytes()).replace(b"ca1,50000031", b"ca1,50000032")))
    data = read()
    assert ids(data.cases("test")) == ["cb1"]
    assert [(p.id, p.why) for p in data.problems()] == [
        ("ca1", "study_id or subject_id differ between the split and the metadata table")
    ]


def test_without_looking_for_files(read: Open, root: Path) -> None:
    image_path(root, "10000001", "50000012", "ab1").unlink()
    assert "ab1" in ids(read(check_files=False).cases("train"))


def test_exclusions(read: Open, tmp_path: Path) -> None:
    listed = tmp_path / "out.txt"
    listed.write_text("aa1\ns50000012\n\n 50000013 \nzz9\n")
    data = read(exclude=listed)
    assert ids(data.cases("train")) == ["ad1", "aa3", "ba1"]
    assert [(p.id, p.why) for p in data.problems()] == [("zz9", "excluded, but no dicom_id or study_id of the tables")]
    # An excluded study is still part of the patient's past.
    assert the(data.cases("train"), "ad1").priors[0].findings == "Third study."


def test_contamination(read: Open, tmp_path: Path) -> None:
    listed = tmp_path / "training_images.csv"
    listed.write_text("dataset,image\nmimic,files/p10/p10000003/s50000032/cb1.dcm\nmimic,aa3\n")
    data = read(contamination=listed)
    assert data.contaminated("test") == {"cb1"}
    assert data.contaminated("train") == {"aa3"}
    assert read().contaminated("test") == frozenset()
    assert read(contamination=listed, unit="study").contaminated("train") == {"50000011"}


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("nowhere", ["is no folder", "files/p10"]),
        ("mimic/files", ["mimic-cxr-2.0.0-metadata.csv.gz", "Did you mean", "mimic?"]),
        ("", ["mimic-cxr-2.0.0-metadata.csv.gz", "Did you mean", "mimic?"]),
    ],
)
def test_wrong_root(read: Open, tmp_path: Path, root: Path, where: str, says: list[str]) -> None:
    with pytest.raises(BenchError) as err:
        read(root=tmp_path / where).cases("test")
    assert all(part in str(err.value) for part in says), err.value


def test_missing_column(read: Open, root: Path) -> None:
    (root / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(gzip.compress(b"dicom_id,study_id,split\na,b,test\n"))
    with pytest.raises(BenchError, match=r"mimic-cxr-2\.0\.0-split\.csv\.gz: no column subject_id"):
        read().splits()


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(METADATA.encode() + b"\xff\n"),
        gzip.compress(METADATA.encode())[:-12],
        gzip.compress(b""),
    ],
    ids=["no gzip", "not UTF-8", "cut off", "empty"],
)
def test_damaged_table(read: Open, root: Path, content: bytes) -> None:
    (root / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(content)
    with pytest.raises(BenchError, match=r"mimic-cxr-2\.0\.0-metadata\.csv\.gz"):
        read().splits()


def test_unknown_split(read: Open) -> None:
    with pytest.raises(BenchError, match=r"no split 'tset'.*Did you mean 'test'\? Known: train, test"):
        read().cases("tset")


def test_no_image_at_all(read: Open, root: Path) -> None:
    for path in root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(BenchError, match=r"none of the 2 images of split 'test'.*ca1\.jpg"):
        read().cases("test")


def test_no_report_at_all(read: Open, root: Path) -> None:
    for path in root.rglob("*.txt"):
        path.unlink()
    with pytest.raises(BenchError, match=r"dataset\.reports_root: no report of split 'test'.*report file missing"):
        read().cases("test")


def test_no_reports_folder(read: Open, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match=r"dataset\.reports_root: no reports at .*mimic-cxr-reports\.zip"):
        read(reports_root=tmp_path / "empty").cases("test")


def test_a_damaged_zip(read: Open, tmp_path: Path) -> None:
    bad = tmp_path / "mimic-cxr-reports.zip"
    bad.write_bytes(b"PK but no zip")
    with pytest.raises(BenchError, match="not a readable zip"):
        read(reports_root=bad).cases("test")


def test_no_case_left(read: Open) -> None:
    with pytest.raises(BenchError, match="split 'test' has no case"):
        read(views=("LATERAL",)).cases("test")


# ------------------------------------------------------------------ forms of the same data


def pack(root: Path, target: Path, folder: str = "") -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(root.rglob("*.txt")):
            packed.write(path, f"{folder}{path.relative_to(root)}")


@pytest.mark.parametrize("inner", ["", "mimic-cxr-reports/"])
@pytest.mark.parametrize("give", ["zip", "folder"])
def test_reports_from_the_zip(read: Open, root: Path, tmp_path: Path, inner: str, give: str) -> None:
    plain = read()
    expected, fingerprint = list(plain.cases("train")), plain.fingerprint()
    away = tmp_path / "reports"
    away.mkdir()
    pack(root, away / "mimic-cxr-reports.zip", inner)
    zipped = read(reports_root=away / "mimic-cxr-reports.zip" if give == "zip" else away)
    assert list(zipped.cases("train")) == expected
    assert zipped.fingerprint() == fingerprint


def test_a_bad_entry_of_the_zip_is_a_problem(read: Open, root: Path, tmp_path: Path) -> None:
    target = tmp_path / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(target, "w") as packed:
        for path in sorted(root.rglob("*.txt")):
            packed.write(path, path.relative_to(root))
    target.write_bytes(target.read_bytes().replace(b"Test study.", b"Best study."))
    data = read(reports_root=target)
    assert ids(data.cases("test")) == ["cb1"]
    assert "report cannot be read: Bad CRC-32" in data.problems()[0].why


def test_plain_tables_are_the_same(read: Open, root: Path) -> None:
    expected = read().fingerprint()
    for path in root.glob("*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert read().fingerprint() == expected


# ------------------------------------------------------------------ fingerprint and cache


def test_fingerprint_is_of_the_content_not_of_the_place(read: Open, root: Path, tmp_path: Path) -> None:
    first = read().fingerprint()
    assert read().fingerprint() == first
    shutil.copytree(root, tmp_path / "copy")
    assert read(root=tmp_path / "copy").fingerprint() == first


def test_fingerprint_follows_options_reports_tables_and_missing_images(read: Open, root: Path, tmp_path: Path) -> None:
    listed = tmp_path / "out.txt"
    listed.write_text("aa1\n")
    seen = {read().fingerprint()}
    for options in ({"unit": "study"}, {"population": "findings"}, {"priors": 1}, {"exclude": listed}):
        seen.add(read(**options).fingerprint())
    path = report_path(root, "10000003", "50000031")
    path.write_text(REPORTS["10000003", "50000031"].replace("Test", "Best"))  # same length
    seen.add(read().fingerprint())
    image_path(root, "10000003", "50000031", "ca1").unlink()
    seen.add(read().fingerprint())
    write_tables(root, ROWS[:-1])
    seen.add(read().fingerprint())
    assert len(seen) == 8


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    original = mimic_reports.FolderSource.read

    def counted(self: mimic_reports.FolderSource, key: mimic_reports.ReportKey) -> bytes | None:
        seen.append(key.study)
        return original(self, key)

    monkeypatch.setattr(mimic_reports.FolderSource, "read", counted)
    return seen


def test_a_report_is_read_once(read: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_reads(monkeypatch)
    read().cases("test")
    assert sorted(seen) == ["50000031", "50000032"]  # the test split does not read the others
    data = read()
    data.cases("train"), data.cases("test"), data.fingerprint(), data.census()
    assert sorted(seen) == sorted(study for _, study in REPORTS)


def test_a_changed_report_is_read_again(read: Open, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimic_reports, "SHARD", 1)
    read().cases("test")
    seen = count_reads(monkeypatch)
    path = report_path(root, "10000003", "50000031")
    path.write_text(REPORTS["10000003", "50000031"].replace("Test", "Best"))
    os.utime(path, ns=(1, 1))
    assert read().references("test")["ca1"] == "Best study."
    assert seen == ["50000031"]


def test_a_killed_start_goes_on(read: Open, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimic_reports, "SHARD", 2)
    expected = list(read(priors=2).cases("train"))
    shutil.rmtree(root.parent / "cache")
    seen = count_reads(monkeypatch)
    write, done = mimic_reports.write_text, []

    def killed(path: Path, text: str) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path)
        write(path, text)

    monkeypatch.setattr(mimic_reports, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        read(priors=2).cases("train")
    monkeypatch.setattr(mimic_reports, "write_text", write)
    seen.clear()
    assert list(read(priors=2).cases("train")) == expected
    assert len(seen) == 2  # of five train studies in three shards, the last one; and the validation study


def test_the_cache_is_private(read: Open, tmp_path: Path) -> None:
    read().cases("test")
    (folder,) = (tmp_path / "cache" / "mimic-sections").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


# ------------------------------------------------------------------ census


def test_census(read: Open, root: Path, tmp_path: Path) -> None:
    image_path(root, "10000003", "50000032", "cb1").unlink()
    listed = tmp_path / "training_images.csv"
    listed.write_text("aa1\nca1\n")
    counts = {c.name: (c.found, c.expected) for c in read(contamination=listed).census()}
    assert counts == {
        "train: images": (7, 368_960),
        "train: studies": (5, 222_758),
        "train: patients": (1, 64_586),
        "validate: images": (1, 2_991),
        "validate: studies": (1, 1_808),
        "validate: patients": (1, 500),
        "test: images": (3, 5_159),
        "test: studies": (2, 3_269),
        "test: patients": (1, 293),
        "AP/PA images, train + validate": (6, 239_931),
        "AP/PA images, test": (2, 3_403),
        "AP/PA images, all splits": (8, 243_334),
        "train: images, reference from findings": (5, None),
        "train: images, reference from impression": (1, None),
        "train: images, reference from last paragraph": (0, None),
        "train: images, report without usable text": (0, None),
        "train: images, file missing": (0, None),
        "train: cases": (6, None),
        "train: cases the encoder was trained on": (1, None),
        "test: images, reference from findings": (1, None),
        "test: images, reference from impression": (0, None),
        "test: images, reference from last paragraph": (1, None),
        "test: images, report without usable text": (0, None),
        "test: images, file missing": (1, None),
        "test: cases": (1, None),
        "test: cases the encoder was trained on": (1, None),
        "problems": (1, None),
    }
