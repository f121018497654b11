from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import sacrebleu.metrics
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.contracts import Mark, Pair, SmallTable
from metrics.bleu import BLEU, BLEUOptions, coverage, ngrams

CLEAR = "Lungs are clear. No pleural effusion or pneumothorax."
TUBE = "The endotracheal tube ends 5.2 cm above the carina; Dr. X was told."
HEART = "Heart size is mildly enlarged, unchanged. No pleural effusion."
EDGES = [
    ("", ""),
    ("", CLEAR),
    (CLEAR, ""),
    (" \n\t ", CLEAR),
    ("...", "..."),
    ("no nodule -\n", "no nodule -"),
    ("XXXX", "XXXX XXXX XXXX"),
    ("no no no no no", "no no"),
    ("5.2 cm, 10-12 mm", "5.2 cm 10-12 mm."),
    ("a &quot;nodule&quot; &amp; scar", 'a "nodule" & scar'),
    ("Épanchement — pleural… “left”", "épanchement pleural left"),
    ("NO PLEURAL EFFUSION", "no pleural effusion"),
    (CLEAR * 700, TUBE * 700),
]
TEXTS = [CLEAR, TUBE, HEART, *(side for pair in EDGES for side in pair)]


def pairs(texts: Sequence[tuple[str, str]]) -> list[Pair]:
    return [Pair(str(n), "p", candidate, reference) for n, (candidate, reference) in enumerate(texts)]


def score(texts: Sequence[tuple[str, str]], **options: object) -> float:
    metric = BLEU(BLEUOptions.model_validate(options), None)
    return float(metric.finish(metric.observe(pairs(texts)).values.sum(axis=0))[0])


def sacre(texts: Sequence[tuple[str, str]], **options: object) -> float:
    scorer = sacrebleu.metrics.BLEU(force=True, **{"smooth_method": "none", **options})
    return scorer.corpus_score([c for c, _ in texts], [[r for _, r in texts]]).score / 100


def test_by_hand() -> None:
    # candidate: 6 tokens, 1-grams 5/6, 2-grams 3/5, 3-grams 1/4, 4-grams 0/3; reference 7 tokens
    pair = [("no effusion seen in lungs .", "no effusion is seen in lungs today")]
    assert score(pair, max_order=3) == pytest.approx((5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3) * math.exp(1 - 7 / 6))
    assert score(pair) == 0.0
    assert score([(CLEAR, CLEAR)]) == pytest.approx(1.0)


@pytest.mark.parametrize("tokenize", ["13a", "none", "intl", "char"])
@pytest.mark.parametrize("smooth", ["none", "floor", "add-k", "exp"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_equals_sacrebleu(tokenize: str, smooth: str, lowercase: bool) -> None:
    corpora = [[edge] for edge in EDGES] + [EDGES, [(CLEAR, HEART), (TUBE, CLEAR), (HEART, HEART)]]
    for texts in corpora:
        expected = sacre(texts, tokenize=tokenize, smooth_method=smooth, lowercase=lowercase)
        found = score(texts, tokenize=tokenize, smooth=smooth, lowercase=lowercase)
        assert found == pytest.approx(expected, abs=1e-12), texts


@pytest.mark.parametrize("order", [1, 2, 6])
def test_orders_and_smoothing_values_equal_sacrebleu(order: int) -> None:
    texts = [(CLEAR, HEART), ("clear lungs", CLEAR)]
    for smooth, value in [("floor", 0.5), ("add-k", 2.0)]:
        expected = sacre(texts, smooth_method=smooth, smooth_value=value, max_ngram_order=order)
        assert score(texts, smooth=smooth, smooth_value=value, max_order=order) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from(TEXTS[:3]), st.integers(0, 9), st.sampled_from(TEXTS[:3])), min_size=1))
def test_cut_reports_equal_sacrebleu(cuts: list[tuple[str, int, str]]) -> None:
    texts = [(" ".join(c.split()[:n]), r) for c, n, r in cuts]
    assert score(texts) == pytest.approx(sacre(texts), abs=1e-12)


def test_nltk_flavour_equals_corpus_bleu() -> None:
    from nltk.translate.bleu_score import corpus_bleu

    texts = [("lungs clear", "lungs are clear"), ("no effusion is seen today", "no effusion is seen"), ("", "a b")]
    expected = corpus_bleu([[r.split()] for _, r in texts], [c.split() for c, _ in texts])
    assert score(texts, flavour="nltk", tokenize="none") == pytest.approx(expected, abs=1e-12)
    assert score(texts, tokenize="none") != pytest.approx(expected, abs=1e-3)


def test_pycocoevalcap_flavour_by_its_formula() -> None:
    texts = [("lungs are clear .", "the lungs are clear ."), ("no effusion", "no pleural effusion")]
    hits, guesses, lengths = (6, 3, 2, 1), (6, 4, 2, 1), (6, 8)
    product = math.prod((h + 1e-15) / (g + 1e-9) for h, g in zip(hits, guesses, strict=True))
    expected = product**0.25 * math.exp(1 - 1 / ((lengths[0] + 1e-15) / (lengths[1] + 1e-9)))
    assert score(texts, flavour="pycocoevalcap") == pytest.approx(expected, abs=1e-15)
    # no 4-gram matches: not 0, but the constant's share
    assert 0 < score([("a b c d e", "a b c x y")], flavour="pycocoevalcap") < 1e-3


def test_pycocoevalcap_flavour_equals_the_package_on_recorded_numbers() -> None:
    """Numbers of pycocoevalcap 1.2's Bleu(4).compute_score, recorded for these synthetic texts."""
    recorded = {
        (f"{HEART} {CLEAR}", f"{CLEAR} Heart size is mildly enlarged."): 0.5635190097714435,
        (TUBE, f"{TUBE} No change."): 0.8574039190192148,
        (CLEAR, HEART): 5.1837418805413775e-09,
    }
    for pair, expected in recorded.items():
        assert score([pair], flavour="pycocoevalcap") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("flavour", ["sacrebleu", "pycocoevalcap", "nltk"])
def test_a_row_does_not_depend_on_the_batch(flavour: str) -> None:
    metric = BLEU(BLEUOptions(flavour=flavour, tokenize="13a"), None)
    all_pairs = pairs([(a, b) for a in TEXTS[:6] for b in TEXTS[:6]])
    together = metric.observe(all_pairs)
    alone = np.concatenate([metric.observe([pair]).values for pair in all_pairs])
    assert np.array_equal(together.values, alone)
    assert np.array_equal(metric.observe(all_pairs[::-1]).values, alone[::-1])
    assert together.status.shape == (len(all_pairs), 1)
    assert not together.status.any()


def test_finish_takes_any_leading_axes() -> None:
    for options in [BLEUOptions(), BLEUOptions(smooth="exp"), BLEUOptions(flavour="pycocoevalcap")]:
        metric = BLEU(options, None)
        rows = metric.observe(pairs([(CLEAR, HEART), (TUBE, TUBE), ("", CLEAR), (CLEAR, CLEAR)])).values
        draws = np.array([[[2, 0, 1, 1], [1, 1, 1, 1]], [[0, 0, 4, 0], [0, 0, 0, 0]], [[3, 1, 0, 0], [0, 4, 0, 0]]])
        found = metric.finish(draws @ rows)
        assert found.shape == (3, 2, 1)
        for where in np.ndindex(3, 2):
            assert found[where] == pytest.approx(metric.finish(draws[where] @ rows), abs=1e-15)
        assert np.isfinite(found).all()


def test_no_pairs() -> None:
    metric = BLEU(BLEUOptions(), None)
    assert metric.observe([]).values.shape == (0, 10)
    assert metric.observe([]).status.shape == (0, 1)


def test_coverage_prefers_the_longest_ngram_and_counts_repeats() -> None:
    candidate, reference = ["no", "no", "effusion", "seen", "no"], ["no", "effusion", "seen", "today"]
    common = [ngrams(candidate, n) & ngrams(reference, n) for n in (1, 2, 3)]
    assert coverage(candidate, common) == [1, 3, 3, 3, 0]


def test_explain_marks_text() -> None:
    metric = BLEU(BLEUOptions(), None)
    candidate, reference = "Lungs are clear. 5.2 cm", "The lungs are clear, 5.2 cm"
    shown = metric.explain(Pair("1", "p", candidate, reference))
    marks = [mark for mark in shown if isinstance(mark, Mark)]
    texts = {"candidate": candidate, "reference": reference}
    assert [(m.side, texts[m.side][m.start : m.end], m.kind) for m in marks] == [
        ("candidate", "are clear", "2-gram"),
        ("candidate", "5.2 cm", "2-gram"),
        ("reference", "are clear", "2-gram"),
        ("reference", "5.2 cm", "2-gram"),
    ]
    table = next(item for item in shown if isinstance(item, SmallTable))
    assert table.rows[:2] == (("1-grams", "4 of 6"), ("2-grams", "2 of 5"))


@pytest.mark.parametrize("pair", EDGES[:-1])
@pytest.mark.parametrize("options", [{}, {"lowercase": True}, {"tokenize": "char"}, {"flavour": "pycocoevalcap"}])
def test_explain_survives_edges(pair: tuple[str, str], options: dict[str, object]) -> None:
    shown = BLEU(BLEUOptions.model_validate(options), None).explain(Pair("1", "p", *pair))
    for mark in shown:
        if isinstance(mark, Mark):
            assert 0 <= mark.start < mark.end <= len(pair[mark.side == "reference"])


def test_signature_tells_every_choice() -> None:
    assert BLEU(BLEUOptions(), None).signature() == (
        f"bleu-4|lib:sacrebleu-{sacrebleu.__version__}|tok:13a|case:mixed|smooth:none|v:1"
    )
    variants: list[dict[str, object]] = [
        {"tokenize": "none"},
        {"lowercase": True},
        {"smooth": "exp"},
        {"smooth": "floor"},
        {"smooth": "floor", "smooth_value": 0.2},
        {"max_order": 2},
        {"flavour": "pycocoevalcap"},
        {"flavour": "nltk"},
        {"flavour": "nltk", "tokenize": "13a"},
    ]
    signatures = {BLEU(BLEUOptions.model_validate(v), None).signature() for v in [{}, *variants]}
    assert len(signatures) == len(variants) + 1


def test_columns_follow_the_order() -> None:
    assert BLEU.columns[0].key == "BL4"
    assert BLEU(BLEUOptions(max_order=2), None).columns[0].key == "BL2"


@pytest.mark.parametrize(
    "options",
    [{"flavour": "pycocoevalcap", "smooth": "exp"}, {"smooth_value": 0.1}, {"max_order": 0}, {"tokenise": "13a"}],
)
def test_meaningless_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BLEUOptions.model_validate(options)
