from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError
from rouge_score.rouge_scorer import RougeScorer

from bench.contracts import Mark, Pair, SmallTable
from metrics.rouge_l import ROUGEL, ROUGELOptions, lowered_with_origin

WORDS = (
    "the lungs lung are is clear clearing cleared no pleural effusion effusions or pneumothorax heart size mildly "
    "enlarged enlargement enlarging unchanged 5.2 cm Dr. Smith's X-ray, XXXX opacities opacity, dying skies news ads ad"
)
VOCABULARY = WORDS.split()
EDGES = [
    ("", ""),
    ("", "no effusion"),
    ("no effusion", ""),
    (" \n\t", "no effusion"),
    ("?!…", "—"),
    ("XXXX XXXX", "XXXX"),
    ("5.2 cm", "5,2CM"),
    ("Épanchement d'İstanbul K", "epanchement d istanbul k"),
    ("no\u2028effusion\xa0seen", "no effusion seen"),
]


def report(rng: random.Random, longest: int = 60) -> str:
    return " ".join(rng.choice(VOCABULARY) for _ in range(rng.randint(0, longest)))


def corpus(n: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(report(rng), report(rng)) for _ in range(n)] + EDGES


def pairs(texts: Sequence[tuple[str, str]]) -> list[Pair]:
    return [Pair(str(n), "p", candidate, reference) for n, (candidate, reference) in enumerate(texts)]


def metric(**options: object) -> ROUGEL:
    return ROUGEL(ROUGELOptions.model_validate(options), None)


def values(texts: Sequence[tuple[str, str]], **options: object) -> list[float]:
    return list(metric(**options).observe(pairs(texts)).values[:, 0])


@pytest.mark.parametrize("stemmer", [True, False])
@pytest.mark.parametrize("statistic", ["fmeasure", "precision", "recall"])
def test_bit_identical_to_rouge_score(stemmer: bool, statistic: str) -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
    texts = corpus(300)
    expected = [getattr(scorer.score(r, c)["rougeL"], statistic) for c, r in texts]
    assert values(texts, stemmer=stemmer, statistic=statistic) == expected
    assert 0 < sum(expected) < len(texts)


def test_very_long_texts_are_bit_identical() -> None:
    rng = random.Random(1)
    texts = [(" ".join(rng.choices(VOCABULARY, k=700)), " ".join(rng.choices(VOCABULARY, k=5000)))]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    assert values(texts) == [scorer.score(texts[0][1], texts[0][0])["rougeL"].fmeasure]


def test_stemmer_is_on_by_default_and_moves_the_score() -> None:
    texts = [("enlarged hearts", "the heart is enlarging")]
    assert values(texts) == values(texts, stemmer=True) != values(texts, stemmer=False) == [0.0]


def test_corpus_score_is_the_mean_over_pairs() -> None:
    texts, scorer = corpus(50), RougeScorer(["rougeL"], use_stemmer=True)
    rouge = metric()
    found = rouge.finish(rouge.observe(pairs(texts)).values.sum(axis=0))
    assert found == pytest.approx([np.mean([scorer.score(r, c)["rougeL"].fmeasure for c, r in texts])], abs=1e-12)


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ("no effusion", "no pleural effusion", (1 + 1.44) * 1 * (2 / 3) / (2 / 3 + 1.44)),
        ("No effusion", "no effusion", 0.5),  # case is kept
        ("", "", 1.0),  # an empty text is one empty token there
        ("a  b", "a b", (1 + 1.44) * (2 / 3) * 1 / (1 + 1.44 * 2 / 3)),  # two blanks hold an empty token
        ("", "a b", 0.0),
    ],
)
def test_pycocoevalcap_flavour_by_hand(candidate: str, reference: str, expected: float) -> None:
    assert values([(candidate, reference)], flavour="pycocoevalcap") == [pytest.approx(expected)]


def test_beta_weighs_recall() -> None:
    pair = [("no effusion", "no pleural effusion seen")]  # precision 1, recall 1/2
    assert values(pair) == [pytest.approx(2 / 3)]
    assert values(pair, beta=2) == [pytest.approx(5 * 0.5 / (0.5 + 4))]


def test_a_row_does_not_depend_on_the_batch() -> None:
    all_pairs = pairs(corpus(60))
    together = metric().observe(all_pairs)
    assert np.array_equal(together.values, np.concatenate([metric().observe([pair]).values for pair in all_pairs]))
    assert np.array_equal(together.values, metric().observe(all_pairs[::-1]).values[::-1])
    assert together.status.shape == (len(all_pairs), 1)
    assert not together.status.any()


def test_finish_takes_any_leading_axes() -> None:
    totals = np.array([[[3.0, 4.0], [1.0, 4.0]], [[0.0, 2.0], [0.0, 0.0]]])
    assert np.array_equal(metric().finish(totals), np.array([[[0.75], [0.25]], [[0.0], [np.nan]]]), equal_nan=True)


def test_no_pairs() -> None:
    stats = metric().observe([])
    assert stats.values.shape == (0, 2)
    assert stats.status.shape == (0, 1)


def test_explain_marks_the_common_subsequence() -> None:
    candidate, reference = "Heart enlarged. İ no effusion", "The heart is enlarging: no pleural effusions"
    shown = metric().explain(Pair("1", "p", candidate, reference))
    sides = {"candidate": candidate, "reference": reference}
    marks = [(m.side, sides[m.side][m.start : m.end]) for m in shown if isinstance(m, Mark)]
    assert marks == [
        ("candidate", "Heart enlarged"),
        ("candidate", "no effusion"),
        ("reference", "heart"),
        ("reference", "enlarging: no"),
        ("reference", "effusions"),
    ]
    table = next(item for item in shown if isinstance(item, SmallTable))
    assert ("recall", "4 of 7") in table.rows
    assert ("precision", "4 of 5") in table.rows  # İ lower-cases to an i and a dot


@pytest.mark.parametrize("pair", EDGES)
@pytest.mark.parametrize("flavour", ["rouge-score", "pycocoevalcap"])
def test_explain_survives_edges(pair: tuple[str, str], flavour: str) -> None:
    for mark in metric(flavour=flavour).explain(Pair("1", "p", *pair)):
        if isinstance(mark, Mark):
            assert 0 <= mark.start < mark.end <= len(pair[mark.side == "reference"])


def test_lowered_characters_know_their_origin() -> None:
    assert lowered_with_origin("AİB") == ("ai̇b", [0, 1, 1, 2])


def test_signature_tells_every_choice() -> None:
    variants: list[dict[str, object]] = [
        {},
        {"stemmer": False},
        {"beta": 1.2},
        {"statistic": "recall"},
        {"flavour": "pycocoevalcap"},
        {"flavour": "pycocoevalcap", "lowercase": True},
        {"flavour": "pycocoevalcap", "beta": 1},
    ]
    assert len({metric(**variant).signature() for variant in variants}) == len(variants)
    assert metric().signature().startswith("rouge-l|lib:rouge-score-0.1.2|stem:porter-nltk-")


@pytest.mark.parametrize(
    "options",
    [
        {"lowercase": False},
        {"flavour": "pycocoevalcap", "stemmer": True},
        {"statistic": "recall", "beta": 2},
        {"beta": 0},
        {"stem": True},
    ],
)
def test_meaningless_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ROUGELOptions.model_validate(options)
