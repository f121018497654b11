"""The section rules of MIMIC-CXR on synthetic reports, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.sections import (
    BODY_AT,
    BODY_UNDER,
    ReportSections,
    canonical_name,
    read_report,
    section_spans,
    sections_at,
    split_sections,
)

TITLE = "                                 FINAL REPORT\n"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("FINDINGS", "findings"),
        ("FINDGINGS", "findings"),
        ("FINIDNGS", "findings"),
        ("FINDING", "findings"),
        ("IMPRSSION", "impression"),
        ("MPRESSION", "impression"),
        ("CONCLUSION", "impression"),
        ("NDICATION", "impression"),  # the table's own reading of this one report
        ("IDICATION", "indication"),
        ("REASON FOR EXAM", "indication"),
        ("COMPARSION", "comparison"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("FINDINGS/ IMPRESSION", "impression"),
        ("PROVISIONAL FINDINGS IMPRESSION (PFI)", "impression"),  # contains both main names: impression is first
        ("PRIOR FINDINGS", "findings"),
        ("CLINICAL INFORMATION", "history"),
        ("PFI", "history"),
        ("CHEST, TWO VIEWS", "findings"),
        ("PORTABLE AP", "findings"),
        ("LEFT RIBS", "findings"),
        ("WETREAD", "wet read"),
        ("RECOMMENDATION(S)", "recommendations"),
        (" TECHNIQUE ", "technique"),
        ("NOTE", "note"),
    ],
)
def test_header_names(header: str, name: str) -> None:
    assert canonical_name(header) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            TITLE + " EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  Cough and fever.\n \n TECHNIQUE:  Two views.\n"
            " \n COMPARISON:  None.\n \n FINDINGS: \n \n The heart is   normal.\n No effusion.\n \n"
            " IMPRESSION: \n \n No acute disease.\n",
            ReportSections(
                findings="The heart is normal. No effusion.",
                impression="No acute disease.",
                indication="Cough and fever.",
                technique="Two views.",
                comparison="None.",
            ),
            id="all sections",
        ),
        pytest.param(
            TITLE + " FINDGINGS:  Left basal opacity.\n \n IMPRSSION:  Pneumonia.\n",
            ReportSections(findings="Left basal opacity.", impression="Pneumonia."),
            id="typing errors in headers",
        ),
        pytest.param(
            TITLE + " FINDINGS:  No change. IMPRESSION: as before, see COMPARISON: old film.\n",
            ReportSections(findings="No change. IMPRESSION: as before, see COMPARISON: old film."),
            id="a header in the middle of a line is none",
        ),
        pytest.param(
            TITLE + " FINDINGS:  Clear lungs.\nIMPRESSION: not indented.\n   IMPRESSION:  Normal.\n",
            ReportSections(findings="Clear lungs. IMPRESSION: not indented.", impression="Normal."),
            id="a header is indented",
        ),
        pytest.param(
            TITLE + " FINDINGS:  Clear lungs.\n Lung volumes: low.\n HEART:normal.\n",
            ReportSections(findings="Clear lungs. Lung volumes: low. HEART:normal."),
            id="lower case, or no blank after the colon, is no header",
        ),
        pytest.param(
            TITLE + " INDICATION:  Fall.\n \n FINDINGS AND IMPRESSION:  No fracture.\n",
            ReportSections(impression="No fracture.", indication="Fall."),
            id="findings and impression in one",
        ),
        pytest.param(
            " WET READ: 8:14 PM\n  Line tip in the right atrium.\n"
            " ______________\n" + TITLE + " INDICATION:  Line.\n \n FINDINGS:  Line tip at the junction.\n",
            ReportSections(findings="Line tip at the junction.", indication="Line."),
            id="wet read before the final report",
        ),
        pytest.param(
            TITLE + " FINDINGS:  First film: edema.\n \n COMPARISON:  Earlier.\n \n FINDINGS:  Second film: clear.\n",
            ReportSections(findings="Second film: clear.", comparison="Earlier."),
            id="the last section of a name counts",
        ),
        pytest.param(
            TITLE + " FINDINGS:  Edema.\n \n IMPRESSION:  Edema, mild.\n \n FINDINGS: \n \n",
            ReportSections(findings="Edema.", impression="Edema, mild."),
            id="unless it is empty",
        ),
        pytest.param(
            TITLE + " FINDINGS: \n \n IMPRESSION:  Normal chest.\n",
            ReportSections(impression="Normal chest."),
            id="empty findings with impression",
        ),
        pytest.param(
            TITLE + " CHEST, PA AND LATERAL:\n \n HISTORY:  Pain.\n \n FINDINGS:  Normal.\n",
            ReportSections(findings="Normal.", history="Pain."),
            id="a title above the sections is an empty description",
        ),
        pytest.param(
            TITLE + " CHEST, TWO VIEWS:  Hyperinflated lungs.\n",
            ReportSections(findings="Hyperinflated lungs."),
            id="a description of the images is findings",
        ),
        pytest.param(
            TITLE + " HISTORY:  Chest pain.\n \n PA and lateral chest.\n \n The lungs are clear.\n",
            ReportSections(history="Chest pain.", last_paragraph="PA and lateral chest. The lungs are clear."),
            id="neither: what follows the first blank line of the last section",
        ),
        pytest.param(
            TITLE + " PORTABLE CHEST\n \n The tube is in place.\n",
            ReportSections(last_paragraph="The tube is in place."),
            id="no header, several paragraphs",
        ),
        pytest.param(
            TITLE + " The lungs are clear.\n",
            ReportSections(last_paragraph="The lungs are clear."),
            id="no header, one paragraph: without the title",
        ),
        pytest.param(TITLE, ReportSections(), id="title only"),
        pytest.param("", ReportSections(), id="empty"),
        pytest.param(" \n \n", ReportSections(), id="blank"),
        pytest.param(
            TITLE + " COMPARISON:  None.\n \n",
            ReportSections(comparison="None."),
            id="a comparison is no reference",
        ),
        pytest.param(
            TITLE + " CHEST:\n INDICATION:  Cough.\n \n FINDINGS:  Clear.\n",
            ReportSections(findings="Clear."),
            id="a header directly below a bare title belongs to it",
        ),
        pytest.param(
            "x\r\n INDICATION:  Cough.\r\n \r\n The lungs\r\n are clear.\r\n",
            ReportSections(last_paragraph="The lungs are clear.", indication="Cough."),
            id="Windows line ends",
        ),
    ],
)
def test_read_report_by_hand(text: str, expected: ReportSections) -> None:
    assert read_report(text, "50000001") == expected


@pytest.mark.parametrize(
    ("sections", "tier", "reference"),
    [
        (ReportSections(findings="a", impression="b"), "findings", "a"),
        (ReportSections(impression="b"), "impression", "b"),
        (ReportSections(last_paragraph="c"), "last paragraph", "c"),
        (ReportSections(indication="d"), None, None),
    ],
)
def test_tier_and_reference(sections: ReportSections, tier: str | None, reference: str | None) -> None:
    assert (sections.tier, sections.reference) == (tier, reference)


def test_split_sections_says_where_a_text_starts() -> None:
    text = TITLE + " HISTORY:  Fall.\n \n First.\n \n Second.\n"
    sections = split_sections(text)
    assert [s.name for s in sections] == ["preamble", "history", "last_paragraph"]
    assert [text[s.start : s.start + len(s.text)] for s in sections] == [s.text for s in sections]
    assert sections[-1].text == " First.\n \n Second.\n"


def test_exception_by_name_keeps_the_report_out_of_the_case() -> None:
    study = next(s for s, name in BODY_UNDER.items() if name == "indication")
    text = TITLE + " INDICATION:  The lungs are clear.\n \n COMPARISON:  None.\n"
    expected = ReportSections(last_paragraph="The lungs are clear.", comparison="None.")
    assert read_report(text, study) == read_report(text, f"s{study}") == expected
    assert read_report(text, "50000001").indication == "The lungs are clear."


def test_exception_by_place() -> None:
    start, end = BODY_AT["50196495"]
    head = "\n HISTORY:  Pain.\n".ljust(start)
    text = head + "The lungs are clear.".ljust(end - start) + "Dictated by nobody."
    assert read_report(text, "50196495").reference == "The lungs are clear."
    # The history's section runs over the body: handing it out would give the reference away.
    assert read_report(text, "50196495").history is None


def test_exception_without_a_report() -> None:
    study = next(s for s, span in BODY_AT.items() if span == (0, 0))
    text = TITLE + " INDICATION:  Cough.\n \n FINDINGS:  See the next report.\n"
    assert read_report(text, study) == ReportSections(indication="Cough.")


def test_number_of_exceptions() -> None:
    assert (len(BODY_UNDER), len(BODY_AT)) == (23, 31)


HEADERS = st.sampled_from(
    ["\n FINDINGS: ", "\n IMPRESSION:\n", "\n INDICATION: ", "\n PORTABLE CHEST:", "\n \n", "\r\n"]
)
REPORTS = st.lists(HEADERS | st.text("ab .:\n\t", max_size=20), max_size=12).map("".join)


@given(REPORTS)
def test_sections_are_pieces_of_the_report(text: str) -> None:
    sections = sections_at(text, section_spans(text))
    assert sections == read_report(text)
    collapsed = " ".join(text.split())
    for name in ReportSections.__dataclass_fields__:
        piece = getattr(sections, name)
        assert piece is None or (piece and piece in collapsed)
    assert (sections.findings or sections.impression) is None or sections.last_paragraph is None
