"""SRR-BERT on tiny models: labels as one forward pass a sentence gives them, scores as scikit-learn's report."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.annotations import CachedAnnotator
from bench.context import RunContext
from bench.contracts import FAILED, Mark, Pair, SmallTable, Unannotated
from bench.errors import BenchError, Unavailable
from metrics.srr_bert import SRRBertF1, SRRLeavesWithStatuses, SRRUpper
from metrics.srr_bert.annotators import SRRBertOptions
from metrics.srr_bert.f1 import SRRBertF1Options
from metrics.srr_bert.labels import LABELS, Variant
from metrics.srr_bert.sentences import sentences

WORDING = "the lungs are clear no pleural effusion heart size is normal mild small left right lobe opacity edema"
WORDS = WORDING.split()
REPORTS = [
    "The lungs are clear. No pleural effusion.",
    "1. Small left effusion. 2. Mild edema.",
    "Heart size is normal",
    "",
    "Opacity in the right lobe, 3.5 cm. The heart is small.No edema!",
]


def save(folder: Path, n_labels: int, seed: int = 5) -> Path:
    """Save a BertForSequenceClassification as the published ones are saved, with the tokenizer's files beside it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder.mkdir(parents=True, exist_ok=True)
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "!"]
    (folder / "vocab.txt").write_text("\n".join([*marks, *WORDS]) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 512}')
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(marks) + len(WORDS),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=n_labels,
        problem_type="multi_label_classification",
        initializer_range=0.6,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("srr") / "leaves", 163)


def context_with(folder: Path, tmp_path: Path, variant: Variant = "leaves-with-statuses", **options: Any) -> RunContext:
    parts = {"annotators": {f"srr-bert-{variant}": {"model": str(folder), "tokenizer": str(folder), **options}}}
    return RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache", parts=parts)


def pairs_of(candidates: list[str], references: list[str]) -> list[Pair]:
    return [Pair(f"c{i}", f"p{i}", c, r) for i, (c, r) in enumerate(zip(candidates, references, strict=True))]


# ------------------------------------------------------------------ the tables and the sentences


def test_the_labels_are_the_published_ones() -> None:
    assert {variant: len(labels) for variant, labels in LABELS.items()} == {
        "leaves-with-statuses": 163,
        "leaves": 55,
        "upper-with-statuses": 73,
        "upper": 25,
    }
    # from the card of StanfordAIMI/SRR-BERT-Leaves-with-Statuses and the mappings beside it
    spots = {0: "Lung Lesion (Present)", 61: "Air space opacity–multifocal (Uncertain)", 133: "Cardiomegaly (Absent)"}
    assert {place: LABELS["leaves-with-statuses"][place] for place in spots} == spots
    assert LABELS["leaves-with-statuses"][162] == LABELS["leaves"][0] == LABELS["upper"][4] == "No Finding"
    assert LABELS["upper"][24] == "Musculoskeletal finding"
    assert all(len(set(labels)) == len(labels) for labels in LABELS.values())


@pytest.mark.parametrize(
    ("text", "expected"),  # as the reference implementation splits them
    [
        ("1. Small left effusion. 2. Mild edema.", ["Small left effusion.", "Mild edema."]),
        ("Clear lungs.2. Normal heart", ["Clear lungs.", "Normal heart."]),
        ("Effusion2. Edema", ["Effusion.", "Edema."]),
        ("Effusion 2. Edema", ["Effusion.", "Edema."]),
        ("A nodule of 3.5 cm.No edema", ["A nodule of 3.5 cm.", "No edema."]),
        ("Is it new? 2. Yes!", ["Is it new?", "Yes!"]),
        ("", ["."]),
        ("   \n ", ["."]),
    ],
)
def test_sentences_lose_the_numbers_of_lists(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


# ------------------------------------------------------------------ labels


def one_by_one(folder: Path, text: str, labels: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Return what transformers gives for each sentence of a text alone."""
    import torch
    from transformers import BertForSequenceClassification, BertTokenizer

    model = BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = BertTokenizer.from_pretrained(folder)
    found = []
    for sentence in sentences(text):
        given = tokenizer([sentence], add_special_tokens=True, max_length=512, truncation=True, return_tensors="pt")
        with torch.no_grad():
            said = torch.sigmoid(model(**given).logits)[0] > 0.5
        found.append((sentence, [label for label, yes in zip(labels, said.tolist(), strict=True) if yes]))
    return found


def test_labels_are_those_of_each_sentence_alone_in_any_batch(leaves: Path, tmp_path: Path) -> None:
    expected = [one_by_one(leaves, text, LABELS["leaves-with-statuses"]) for text in REPORTS]
    assert any(labels for one in expected for _, labels in one)
    for budget in (1, 24, 4096):
        options = SRRBertOptions(model=str(leaves), tokenizer=str(leaves), batch_tokens=budget)
        annotator = SRRLeavesWithStatuses(options, RunContext(workdir=tmp_path, cache_root=tmp_path))
        made = annotator.annotate(REPORTS)
        assert [[(one["sentence"], one["labels"]) for one in text["srr"]] for text in made] == expected


def test_a_text_that_is_none_fails_alone(leaves: Path, tmp_path: Path) -> None:
    options = SRRBertOptions(model=str(leaves), tokenizer=str(leaves))
    annotator = SRRLeavesWithStatuses(options, RunContext(workdir=tmp_path, cache_root=tmp_path))
    made = annotator.annotate(["broken \ud800", REPORTS[0]])
    assert isinstance(made[0], Unannotated)
    assert len(made[1]["srr"]) == 2


# ------------------------------------------------------------------ scores


class Planted:
    """An annotator that reads labels out of the text: "3 17" has the labels 3 and 17 in a sentence each."""

    Options = SRRBertOptions
    variant: Variant = "leaves-with-statuses"

    def __init__(self, options: Any, context: Any) -> None:
        pass

    def fingerprint(self) -> str:
        return "planted"

    def annotate(self, texts: list[str]) -> list[Any]:
        if texts and "nothing" in texts[0]:
            return [{"labels": {}} for _ in texts]
        labels = LABELS[self.variant]
        return [
            Unannotated("told to fail")
            if text == "fail"
            else {"srr": [{"sentence": word, "labels": [labels[int(word)]]} for word in text.split()]}
            for text in texts
        ]


@pytest.fixture
def planted(tmp_path: Path) -> RunContext:
    context = RunContext(workdir=tmp_path / "work", cache_root=tmp_path / "cache")
    names = ("srr-bert-leaves-with-statuses", "rules")
    context._built |= {("annotator", name): Planted(None, None) for name in names}
    return context


def random_texts(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(str(rng.randrange(163)) for _ in range(rng.randrange(12))) for _ in range(n)]


@pytest.mark.parametrize("average", ["weighted", "macro", "micro"])
def test_scores_equal_scikit_learns_report(planted: RunContext, average: str) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    candidates, references = random_texts(60, 1), random_texts(60, 2)
    vectors = [np.zeros((60, 163), int), np.zeros((60, 163), int)]
    for vector, texts in zip(vectors, (candidates, references), strict=True):
        for row, text in enumerate(texts):
            vector[row, [int(word) for word in text.split()]] = 1
    expected = precision_recall_fscore_support(vectors[1], vectors[0], average=average, zero_division=0)[:3]
    metric = SRRBertF1(SRRBertF1Options(average=average), planted)  # type: ignore[arg-type]
    stats = metric.observe(pairs_of(candidates, references))
    assert stats.values.shape == (60, 490)
    assert (stats.status == 0).all()
    np.testing.assert_allclose(metric.finish(stats.values.sum(axis=0)), expected, rtol=0, atol=1e-12)
    both = metric.finish(np.stack([stats.values.sum(axis=0), np.zeros(490)]))
    assert np.isnan(both[1]).all()


def test_where_no_label_is_had_the_score_is_0_as_scikit_learns(planted: RunContext) -> None:
    metric = SRRBertF1(SRRBertF1Options(), planted)
    stats = metric.observe(pairs_of([""], [""]))
    assert metric.finish(stats.values.sum(axis=0)).tolist() == [0, 0, 0]


def test_a_side_that_is_not_labelled_fails_the_pair_alone(planted: RunContext) -> None:
    metric = SRRBertF1(SRRBertF1Options(), planted)
    stats = metric.observe(pairs_of(["3", "fail", "4"], ["3", "3", "fail"]))
    assert stats.status[:, 0].tolist() == [0, FAILED, FAILED]
    assert (stats.values[1:] == 0).all()


def test_the_table_lists_the_labels_that_a_side_has(planted: RunContext) -> None:
    metric = SRRBertF1(SRRBertF1Options(), planted)
    totals = metric.observe(pairs_of(["0 1", "0"], ["0", "2"])).values.sum(axis=0)
    (table,) = metric.tables(totals)
    assert table.rows == (
        ("Lung Lesion (Present)", "1", "1", "0", "50.0", "100.0", "66.7", "1"),
        ("Edema (Present)", "0", "1", "0", "0.0", "0.0", "0.0", "0"),
        ("Pneumonia (Present)", "0", "0", "1", "0.0", "0.0", "0.0", "1"),
    )


def test_an_annotator_of_other_labels_is_told(planted: RunContext) -> None:
    with pytest.raises(BenchError, match=r"finds no SRR-BERT labels: use srr-bert-leaves-with-statuses"):
        SRRBertF1(SRRBertF1Options(annotator="rules"), planted).observe(pairs_of(["nothing"], ["nothing at all"]))
    with pytest.raises(BenchError, match=r"'Lung Lesion \(Present\)', which upper has not: set the metric's option"):
        SRRBertF1(SRRBertF1Options(annotator="rules", variant="upper"), planted).observe(pairs_of(["0"], ["0"]))


# ------------------------------------------------------------------ the whole, its identity, and what is missing


def test_the_metric_on_a_model_explains_itself(leaves: Path, tmp_path: Path) -> None:
    context = context_with(leaves, tmp_path)
    metric = SRRBertF1(SRRBertF1Options(), context)
    stats = metric.observe(pairs_of(REPORTS, REPORTS))
    assert metric.finish(stats.values.sum(axis=0)).tolist() == [1, 1, 1]
    shown = metric.explain(Pair("a", "p", REPORTS[0], REPORTS[1]))
    assert isinstance(shown[-1], SmallTable)
    assert {row[1] for row in shown[-1].rows} <= {"hit", "extra", "missed"}
    for mark in shown[:-1]:
        assert isinstance(mark, Mark)
        text = REPORTS[0] if mark.side == "candidate" else REPORTS[1]
        assert text[mark.start : mark.end] in {
            "The lungs are clear",
            "No pleural effusion",
            "Small left effusion",
            "Mild edema",
        }
    again = SRRBertF1(SRRBertF1Options(), context_with(leaves, tmp_path))
    broken = again.annotator
    assert isinstance(broken, CachedAnnotator)
    broken.annotator._labels = None  # type: ignore[attr-defined]  # a call would fail: all of it is kept
    np.testing.assert_array_equal(again.observe(pairs_of(REPORTS, REPORTS)).values, stats.values)


def test_the_signature_tells_weights_variant_and_average(leaves: Path, tmp_path: Path) -> None:
    signature = SRRBertF1(SRRBertF1Options(), context_with(leaves, tmp_path)).signature()
    assert signature.endswith("|leaves-with-statuses|weighted|zero-division:0|v:1")
    other = save(tmp_path / "other", 163, seed=6)
    assert SRRBertF1(SRRBertF1Options(), context_with(other, tmp_path)).signature() != signature


def test_weights_of_another_variant_are_told(leaves: Path, tmp_path: Path) -> None:
    options = SRRBertOptions(model=str(leaves), tokenizer=str(leaves))
    upper = SRRUpper(options, RunContext(workdir=tmp_path, cache_root=tmp_path))
    with pytest.raises(BenchError, match=r"is not SRR-BERT upper \(25 labels\): classifier"):
        upper.annotate(["clear"])


def test_what_is_missing_is_told_when_it_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="StanfordAIMI/SRR-BERT-Leaves-with-Statuses"):
        SRRBertF1(SRRBertF1Options(), RunContext(workdir=tmp_path, cache_root=tmp_path)).signature()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Unavailable, match=r"has no config.json\n  set model to the folder"):
        SRRBertF1(SRRBertF1Options(), context_with(empty, tmp_path)).signature()


def test_assets_are_what_the_hub_holds(leaves: Path, tmp_path: Path) -> None:
    context = RunContext(workdir=tmp_path, cache_root=tmp_path)
    repositories = [asset.repository for asset in SRRUpper(SRRBertOptions(), context).assets()]  # type: ignore[union-attr]
    assert repositories == ["StanfordAIMI/SRR-BERT-Upper", "microsoft/BiomedVLP-CXR-BERT-general"]
    local = SRRBertOptions(model=str(leaves), tokenizer=str(leaves))
    assert SRRUpper(local, context).assets() == []
