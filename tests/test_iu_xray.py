"""IU X-Ray in both forms: small synthetic folders, and the real files where they are."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.context import RunContext
from bench.contracts import Dataset, Problem
from bench.datasets.iu_xray import ImageKey, IUXray, guess_views, image_key
from bench.errors import BenchError

HERE = Path(__file__).resolve().parent.parent
REAL = Path(os.environ.get("BENCH_IU_XRAY") or HERE.parent / "shared" / "data" / "iu_xray")

# uid → (findings, impression, indication, comparison, images: (name, view, is there))
Images = list[tuple[str, str, bool]]
STUDIES: dict[str, tuple[str, str, str, str, Images]] = {
    "1": (
        "The XXXX are\n clear.",
        "Normal.",
        "Cough",
        "None.",
        [("IM-1-3001", "Lateral", True), ("IM-1-4001", "Frontal", True)],
    ),
    "2": ("", "No acute disease.", "", "", [("IM-2-1001", "Frontal", True), ("IM-2-1002", "Frontal", True)]),
    "3": ("", "", "Pain", "", [("IM-3-1001", "Frontal", True)]),
    "10": ("Effusion.", "", "", "", [("IM-10-1001", "Frontal", False), ("IM-10-2001", "Lateral", True)]),
    "11": ("Nodule.", "", "", "", []),
    "12": ("Fracture.", "", "", "", [("IM-12-0001-0001", "Frontal", True)]),
}


def openi_name(uid: str, name: str) -> str:
    return f"CXR{uid}_1_{name}" if uid == "1" else f"CXR{uid}_{name}"


def write_xml(root: Path) -> Path:
    reports, images = root / "ecgen-radiology", root / "NLMCXR_png"
    reports.mkdir(parents=True), images.mkdir()
    for uid, (findings, impression, indication, comparison, named) in STUDIES.items():
        texts = {"COMPARISON": comparison, "INDICATION": indication, "FINDINGS": findings, "IMPRESSION": impression}
        body = "".join(f'<AbstractText Label="{label}">{text}</AbstractText>' for label, text in texts.items())
        parents = "".join(f'<parentImage id="{openi_name(uid, name)}"/>' for name, _, _ in named)
        (reports / f"{uid}.xml").write_text(f'<eCitation><uId id="CXR{uid}"/>{body}{parents}</eCitation>')
        for name, _, there in named:
            if there:
                (images / f"{openi_name(uid, name)}.png").touch()
    return root


def write_projections(root: Path) -> None:
    rows = [f"{uid},{uid}_{name}.dcm.png,{view}\n" for uid, s in STUDIES.items() for name, view, _ in s[4]]
    (root / "indiana_projections.csv").write_text("uid,filename,projection\n" + "".join(rows))


def write_csv(root: Path) -> Path:
    images = root / "images" / "images_normalized"
    images.mkdir(parents=True)
    write_projections(root)
    rows = ["uid,MeSH,Problems,image,indication,comparison,findings,impression\n"]
    for uid, (findings, impression, indication, comparison, named) in STUDIES.items():
        rows.append(f'{uid},normal,normal,Chest,{indication},{comparison},"{findings}",{impression}\n')
        for name, _, there in named:
            if there:
                (images / f"{uid}_{name}.dcm.png").touch()
    (root / "indiana_reports.csv").write_text("".join(rows))
    return root


Open = Callable[..., IUXray]


@pytest.fixture
def read(tmp_path: Path) -> Open:
    def build(root: Path, **options: Any) -> IUXray:
        context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
        return IUXray(IUXray.Options(root=root, **options), context)

    return build


@pytest.fixture(params=["xml", "csv"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "csv":
        return write_csv(tmp_path / "iu")
    write_xml(tmp_path / "iu")
    write_projections(tmp_path / "iu")
    return tmp_path / "iu"


def everything(data: Dataset) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
    """Cases (paths by name) and references of both splits."""
    cases = {
        c.id: (c.group, c.study, [i.view for i in c.images], c.indication, c.technique, c.comparison, c.priors)
        for split in data.splits()
        for c in data.cases(split)
    }
    references: dict[str, str] = {}
    for split in data.splits():
        references |= data.references(split)
    return cases, references


def test_both_forms_say_the_same(read: Open, root: Path) -> None:
    data = read(root, test_fraction=0.5)
    cases, references = everything(data)
    assert not data.credentialed
    assert cases == {
        "1_IM-1-4001": ("1", "1", ["Frontal", "Lateral"], "Cough", None, "None.", ()),
        "2_IM-2-1001": ("2", "2", ["Frontal"], None, None, None, ()),
        "2_IM-2-1002": ("2", "2", ["Frontal"], None, None, None, ()),
        "12_IM-12-0001-0001": ("12", "12", ["Frontal"], None, None, None, ()),
    }
    assert references == {
        "1_IM-1-4001": "The XXXX are clear.",
        "2_IM-2-1001": "No acute disease.",
        "2_IM-2-1002": "No acute disease.",
        "12_IM-12-0001-0001": "Fracture.",
    }
    assert {(p.id, p.why) for p in data.problems()} == {
        ("3", "report has neither findings nor impression"),
        ("10_IM-10-1001", "image file missing"),
        ("11", "report names no image"),
    }


def test_forms_share_the_fingerprint(read: Open, tmp_path: Path) -> None:
    write_projections(write_xml(tmp_path / "a"))
    first = read(tmp_path / "a").fingerprint()
    assert read(write_csv(tmp_path / "b")).fingerprint() == first
    next((tmp_path / "b").rglob("1_IM-1-4001*")).unlink()
    assert read(tmp_path / "b").fingerprint() != first
    assert read(tmp_path / "a", unit="study").fingerprint() != first


def test_study_unit_and_population(read: Open, root: Path) -> None:
    cases, _ = everything(read(root, unit="study", test_fraction=0.5))
    assert {name: case[2] for name, case in cases.items()} == {
        "1": ["Frontal", "Lateral"],
        "2": ["Frontal", "Frontal"],
        "12": ["Frontal"],
    }
    cases, _ = everything(read(root, population="findings", test_fraction=0.42))
    assert list(cases) == ["1_IM-1-4001", "12_IM-12-0001-0001"]


def test_order_is_by_number(read: Open, root: Path) -> None:
    data = read(root, test_fraction=0.01)
    assert [case.group for case in data.cases("train")] == ["1", "2", "2", "12"]


def test_xml_comes_first_where_both_are(read: Open, tmp_path: Path) -> None:
    both = write_xml(write_csv(tmp_path / "iu"))
    assert {c.name for c in read(both).census()} >= {"reports (xml)"}
    assert {c.name for c in read(both, form="csv").census()} >= {"reports (csv)"}


def test_views_without_projections_are_guessed_and_counted(read: Open, tmp_path: Path) -> None:
    data = read(write_xml(tmp_path / "iu"), test_fraction=0.5)
    cases, _ = everything(data)
    # The first image that is no known lateral is called frontal: wrong for study 1, whose numbers do not tell.
    assert set(cases) == {"1_IM-1-3001", "2_IM-2-1001", "12_IM-12-0001-0001"}
    counts = {c.name: c.found for c in data.census()}
    assert counts["images whose view is guessed from the names (9 of 10 right)"] == 8


@pytest.mark.parametrize(
    ("names", "frontal"),
    [
        (["1001", "2001"], ["1001"]),
        (["2001", "1001"], ["1001"]),
        (["3003", "4004"], ["4004"]),
        (["1001", "4004"], ["4004"]),
        (["2001", "3001"], ["3001"]),
        (["1001", "2001", "3001"], ["1001"]),
        (["2001"], []),
        (["0001-0001", "0001-0002"], ["0001-0001"]),
        ([], []),
    ],
)
def test_guess_views(names: list[str], frontal: list[str]) -> None:
    views = guess_views([ImageKey("7", f"IM-7-{name}") for name in names])
    assert sorted(key.name for key, view in views.items() if view == "Frontal") == [f"IM-7-{name}" for name in frontal]
    assert len(views) == len(names)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("CXR1_1_IM-0001-4001.png", ("1", "IM-0001-4001")),
        ("CXR1_1_IM-0001-4001", ("1", "IM-0001-4001")),
        ("1_IM-0001-4001.dcm.png", ("1", "IM-0001-4001")),
        ("CXR12_IM-0001-0001-0002.png", ("12", "IM-0001-0001-0002")),
        ("CXR12_1_IM-0001-4001.png", None),
        ("notes.png", None),
    ],
)
def test_image_names_of_both_forms(name: str, key: tuple[str, str] | None) -> None:
    assert image_key(name) == key


def test_split_is_by_the_hash_of_the_uid(read: Open, root: Path) -> None:
    # The first digits of SHA-256 as a fraction: "1" 6b86… .42002, "12" 6b51… .41922, "2" d473… .82989
    data = read(root, test_fraction=0.4201)
    assert [case.group for case in data.cases("test")] == ["1", "12"]
    assert [case.group for case in data.cases("train")] == ["2", "2"]
    data = read(root, test_fraction=0.42)
    assert [case.group for case in data.cases("test")] == ["12"]


def test_bad_entries_of_the_xml_form(read: Open, tmp_path: Path) -> None:
    root = write_xml(tmp_path / "iu")
    reports = root / "ecgen-radiology"
    (reports / "20.xml").write_text("<eCitation><uId")
    (reports / "21.xml").write_text("<eCitation/>")
    (reports / "22.xml").write_text((reports / "2.xml").read_text())
    (root / "NLMCXR_png" / "CXR99_IM-99-1001.png").touch()
    (root / "NLMCXR_png" / "photo.PNG").touch()
    data = read(root, test_fraction=0.5)
    cases, _ = everything(data)
    assert len(cases) == 3
    found = {(p.file, p.id, p.why.split(": ")[0]) for p in data.problems()}
    assert found >= {
        ("ecgen-radiology/20.xml", "20", "report cannot be read"),
        ("ecgen-radiology/21.xml", "21", "report cannot be read"),
        ("ecgen-radiology/22.xml", "2", "uid occurs again"),
        ("NLMCXR_png/CXR99_IM-99-1001.png", "CXR99_IM-99-1001.png", "no report names this image"),
        ("NLMCXR_png/photo.PNG", "photo.PNG", "no report names this image"),
    }


def test_bad_entries_of_the_csv_form(read: Open, tmp_path: Path) -> None:
    root = write_csv(tmp_path / "iu")
    with (root / "indiana_projections.csv").open("a") as file:
        file.write("1,1_IM-1-4001.dcm.png,Lateral\n2,2_IM-2-9.dcm.png,Oblique\n")
        file.write("2,3_IM-3-9.dcm.png,Frontal\n50,50_IM-5-1.dcm.png,Frontal\n")
    with (root / "indiana_reports.csv").open("a") as file:
        file.write("x,,,,,,Odd.,\n12,,,,,,Again.,\n")
    data = read(root, test_fraction=0.5)
    _, references = everything(data)
    assert references["12_IM-12-0001-0001"] == "Fracture."
    assert Problem("indiana_projections.csv", "1_IM-1-4001", "image occurs again on line 10") in data.problems()
    found = {(p.file, p.id) for p in data.problems()}
    assert found >= {
        ("indiana_projections.csv", "2_IM-2-9"),
        ("indiana_projections.csv", "line 12"),
        ("indiana_projections.csv", "50_IM-5-1"),
        ("indiana_reports.csv", "line 9"),
        ("indiana_reports.csv", "12"),
    }


def test_problems_are_those_of_the_splits_asked_for(read: Open, root: Path) -> None:
    next(root.rglob("*2_IM-2-1002*")).unlink()  # study 2 is in train, studies 3, 10, 11 and 12 are in test
    data = read(root, test_fraction=0.42)
    assert data.problems() == []
    data.cases("train")
    assert [p.id for p in data.problems()] == ["2_IM-2-1002"]
    data.cases("test")
    assert {p.id for p in data.problems()} == {"2_IM-2-1002", "3", "10_IM-10-1001", "11"}


@pytest.mark.parametrize(
    ("where", "options", "says"),
    [
        ("nowhere", {}, "is no folder"),
        ("iu/NLMCXR_png", {}, "Did you mean"),
        ("iu", {"form": "csv"}, "in the form 'csv'"),
        ("empty", {}, "expected ecgen-radiology"),
    ],
)
def test_wrong_root(read: Open, tmp_path: Path, where: str, options: dict[str, str], says: str) -> None:
    write_xml(tmp_path / "iu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match=says):
        read(tmp_path / where, **options).cases("test")


def test_missing_parts(read: Open, tmp_path: Path) -> None:
    root = write_csv(tmp_path / "iu")
    (root / "indiana_reports.csv").write_text("uid,findings\n1,Clear.\n")
    with pytest.raises(BenchError, match=r"indiana_reports\.csv: no column indication, comparison, impression"):
        read(root).cases("test")
    (root / "indiana_projections.csv").unlink()
    with pytest.raises(BenchError, match=r"indiana_projections\.csv is missing"):
        read(root).cases("test")
    shutil.rmtree(root / "images")
    write_csv(tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "images")
    with pytest.raises(BenchError, match="no folder NLMCXR_png/ or images"):
        read(tmp_path / "other").cases("test")
    with pytest.raises(BenchError, match=r"no split 'tests'.*Did you mean 'test'"):
        read(tmp_path / "other").cases("tests")


def test_no_case_left(read: Open, tmp_path: Path) -> None:
    root = write_csv(tmp_path / "iu")
    for path in root.rglob("*.png"):
        path.unlink()
    with pytest.raises(BenchError, match=r"split 'train'.* has no case .*image file missing"):
        read(root).cases("train")


# ------------------------------------------------------------------ the real files

real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no IU X-Ray files at {REAL} (set BENCH_IU_XRAY)")


@real
@pytest.mark.parametrize("form", ["xml", "csv"])
def test_real_files(read: Open, form: str) -> None:
    data = read(REAL, form=form)
    cases, references = everything(data)
    counts = {c.name: c.found for c in data.census()}
    assert (counts["images there"], counts["frontal images there"], counts["lateral images there"]) == (54, 31, 23)
    assert len(cases) == len(references) == 31
    assert references["1_IM-0001-4001"].startswith("The cardiac silhouette and mediastinum size are within normal")
    assert {p.why for p in data.problems()} <= {"image file missing", "report has neither findings nor impression"}
    everything_with_findings, _ = everything(read(REAL, form=form, population="findings"))
    assert len(everything_with_findings) == 26


@real
def test_real_forms_agree(read: Open) -> None:
    assert everything(read(REAL, form="xml")) == everything(read(REAL, form="csv"))
