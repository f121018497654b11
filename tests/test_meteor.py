"""METEOR against nltk, which reads WordNet and punkt_tab from folders written from this package's own tables."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.contracts import Mark, Pair, SmallTable
from metrics import nltk_folder, text
from metrics.data_files import lines
from metrics.meteor import METEOR, METEOROptions
from metrics.wordnet import POS, wordnet

IU_XRAY = Path(os.environ.get("BENCH_IU_XRAY", Path(__file__).parents[1] / ".." / "shared" / "data" / "iu_xray"))
"""Open-i's reports, not part of the project."""

SENTENCES = (
    "The lungs are clear.",
    "Lungs clear bilaterally, no focal airspace disease.",
    "No pleural effusion or pneumothorax is seen.",
    "There is no evidence of pleural fluid or of a pneumothorax.",
    "The heart is enlarged.",
    "Cardiac silhouette is mildly increased in size; mild cardiomegaly.",
    "Endotracheal tube ends 5.2 cm above the carina, as discussed with Dr. Smith at 10:30 a.m.",
    "The ET tube's tip terminates 4 cm from the carina.",
    "Degenerative changes of the thoracic spine.",
    "Thoracic vertebrae show degeneration.",
    'XXXX catheter tip "in the right atrium" (unchanged).',
    "Rib fractures are healing; healed broken ribs.",
    "Feet, geese and x-ray_films were worse than before; aching children ate leaves.",
)
EDGES = [
    ("", ""),
    ("", "No effusion."),
    ("No effusion.", ""),
    (" \n\t ", "No effusion."),
    ("...", "…"),
    ("XXXX", "XXXX XXXX"),
    ("5.2 cm.", "5.2cm"),
    ("Dr. Smith. Seen.", "dr. smith. seen."),
    ("Épanchement “pleural”", "épanchement 'pleural'"),
    ("cannot gonna can't", "can not going to"),
    ("a_b ice_cream", "frozen dessert ice-cream"),
]


def reports(n: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)

    def report() -> str:
        return " ".join(rng.choice(SENTENCES) for _ in range(rng.randint(0, 6)))

    return [(report(), report()) for _ in range(n)] + EDGES


def pairs(texts: Sequence[tuple[str, str]]) -> list[Pair]:
    return [Pair(str(n), "p", candidate, reference) for n, (candidate, reference) in enumerate(texts)]


def metric(**options: object) -> METEOR:
    return METEOR(METEOROptions.model_validate(options), None)


@pytest.fixture(scope="module")
def nltk_wordnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """nltk's own reader, and nltk.word_tokenize made to find a punkt_tab folder, for this module only."""
    import nltk.data
    import nltk.tokenize
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    root = tmp_path_factory.mktemp("nltk_data")
    nltk_folder.write(root)
    before = list(nltk.data.path)
    nltk.data.path[:] = [str(root)]
    with pytest.warns(UserWarning, match="multilingual"):
        reader = WordNetCorpusReader(nltk.data.find("corpora/wordnet"), None)
    nltk.tokenize._get_punkt_tokenizer.cache_clear()
    yield reader
    nltk.data.path[:] = before
    nltk.tokenize._get_punkt_tokenizer.cache_clear()


def nltk_score(reader: Any, candidate: str, reference: str, **parameters: Any) -> float:
    from nltk import word_tokenize
    from nltk.translate.meteor_score import single_meteor_score

    return single_meteor_score(word_tokenize(reference), word_tokenize(candidate), wordnet=reader, **parameters)


def test_bit_identical_to_nltk(nltk_wordnet: Any) -> None:
    texts = reports(250)
    expected = [nltk_score(nltk_wordnet, c, r) for c, r in texts]
    stats = metric().observe(pairs(texts))
    assert list(stats.values[:, 0]) == expected
    assert metric().finish(stats.values.sum(axis=0)) == pytest.approx([np.mean(expected)], abs=1e-12)
    assert len(set(expected)) > 100


def test_parameters_are_nltks(nltk_wordnet: Any) -> None:
    texts = reports(40, seed=1)
    for parameters in [{"alpha": 0.5}, {"beta": 1.0}, {"gamma": 0.1}, {"alpha": 1.0, "beta": 0.0, "gamma": 1.0}]:
        expected = [nltk_score(nltk_wordnet, c, r, **parameters) for c, r in texts]
        assert list(metric(**parameters).observe(pairs(texts)).values[:, 0]) == expected


def test_very_long_texts_are_bit_identical(nltk_wordnet: Any) -> None:
    rng = random.Random(2)
    words = [word for sentence in SENTENCES for word in sentence.split()]
    candidate, reference = (" ".join(rng.choices(words, k=5000)) for _ in range(2))
    found = metric().observe([Pair("1", "p", candidate, reference)]).values[0, 0]
    assert found == nltk_score(nltk_wordnet, candidate, reference)


def test_synonyms_are_nltks(nltk_wordnet: Any) -> None:
    rng = random.Random(3)
    table = [line.split(" ") for line in lines("wordnet-synsets")]
    all_lemmas = {pos: sorted({w for key, *words in table for w in words if key[0] == pos}) for pos in POS}
    lemmas = rng.sample(sorted(set(chain(*all_lemmas.values()))), 1500)
    inflected = [lemma + rng.choice(["s", "es", "ed", "ing", "er", "est", "men", "ies"]) for lemma in lemmas]
    exceptions = rng.sample([line.split(" ")[1] for line in lines("wordnet-exceptions")], 500)
    by_rule = [
        lemma[: len(lemma) - len(base)] + ending
        for pos in POS
        for ending, base in nltk_wordnet.MORPHOLOGICAL_SUBSTITUTIONS[pos]
        for lemma in rng.sample([w for w in all_lemmas[pos] if w.endswith(base)], 20)
    ]
    for word in [*lemmas, *inflected, *by_rule, *exceptions, *map(text.stem, lemmas), "", "s", "_", ".", "é"]:
        found = {name for s in nltk_wordnet.synsets(word) for name in s.lemma_names() if "_" not in name}
        assert wordnet().synonyms(word) == found, word


def test_word_tokenize_is_nltks(nltk_wordnet: Any) -> None:
    from nltk import word_tokenize

    for side in {side for pair in reports(60, seed=4) for side in pair}:
        assert text.word_tokenize(side) == word_tokenize(side)
    assert text.word_tokenize("Seen by Dr. Smith. Ends at 5.2 cm.") == (
        ["Seen", "by", "Dr.", "Smith", ".", "Ends", "at", "5.2", "cm", "."]
    )


PIECES = [
    "a",
    "B-2",
    "5.2",
    "no",
    "cannot",
    "I-gotta",
    "Dr.",
    "x/y",
    ",",
    ", ",
    " ",
    "  ",
    ".",
    "..",
    "'s",
    '"',
    ":",
    "é",
]


@settings(max_examples=500)
@given(st.lists(st.sampled_from([*PIECES, " a", ", b", " 3.", " wanna"]), max_size=9).map("".join))
def test_words_of_a_sentence_are_nltks(sentence: str) -> None:
    from nltk.tokenize import NLTKWordTokenizer

    assert list(text._words(sentence)) == NLTKWordTokenizer().tokenize(sentence)


def test_stages_by_hand() -> None:
    # exact: "the"; stems: lungs/lung; WordNet: clear/open. Three of four matched, in order, in one chunk.
    pair = Pair("1", "p", "the lungs clear XXXX", "the lung open today")
    precision = recall = 3 / 4
    fmean = precision * recall / (0.9 * precision + 0.1 * recall)
    assert metric().observe([pair]).values[0, 0] == pytest.approx(fmean * (1 - 0.5 * (1 / 3) ** 3))
    assert metric(wordnet=False).observe([pair]).values[0, 0] == pytest.approx(0.5 * (1 - 0.5 * (1 / 2) ** 3))


def test_an_empty_side_scores_zero() -> None:
    stats = metric().observe(pairs(EDGES[:4]))
    assert list(stats.values[:, 0]) == [0.0] * 4
    assert list(stats.values[:, 1]) == [1.0] * 4


def test_case_is_an_option(nltk_wordnet: Any) -> None:
    texts = [("no NO", "NO no"), *reports(40, seed=6)]
    expected = [nltk_score(nltk_wordnet, c, r, preprocess=str) for c, r in texts]
    found = list(metric(lowercase=False).observe(pairs(texts)).values[:, 0])
    assert found == expected
    assert found[0] < metric().observe(pairs(texts)).values[0, 0]


def test_a_row_does_not_depend_on_the_batch() -> None:
    all_pairs = pairs(reports(40, seed=5))
    together = metric().observe(all_pairs)
    assert np.array_equal(together.values, np.concatenate([metric().observe([pair]).values for pair in all_pairs]))
    assert np.array_equal(together.values, metric().observe(all_pairs[::-1]).values[::-1])
    assert together.status.shape == (len(all_pairs), 1)
    assert not together.status.any()


def test_explain_marks_by_stage() -> None:
    candidate, reference = "The lungs clear.", "The lung open."
    shown = metric().explain(Pair("1", "p", candidate, reference))
    sides = {"candidate": candidate, "reference": reference}
    assert [(m.side, sides[m.side][m.start : m.end], m.kind) for m in shown if isinstance(m, Mark)] == [
        ("candidate", "The", "exact"),
        ("candidate", "lungs", "stem"),
        ("candidate", "clear", "synonym"),
        ("candidate", ".", "exact"),
        ("reference", "The", "exact"),
        ("reference", "lung", "stem"),
        ("reference", "open", "synonym"),
        ("reference", ".", "exact"),
    ]
    table = next(item for item in shown if isinstance(item, SmallTable))
    assert ("chunks", "1") in table.rows
    assert ("synonym match", "clear = open") in table.rows


@pytest.mark.parametrize("pair", EDGES)
def test_explain_survives_edges(pair: tuple[str, str]) -> None:
    for mark in metric().explain(Pair("1", "p", *pair)):
        if isinstance(mark, Mark):
            assert 0 <= mark.start < mark.end <= len(pair[mark.side == "reference"])


def test_quotes_that_the_tokeniser_rewrites_keep_their_place() -> None:
    given = 'tip "in the right atrium" (unchanged)'
    places = text.spans(given, text.word_tokenize(given))
    assert [given[place[0] : place[1]] if place else None for place in places] == (
        ["tip", '"', "in", "the", "right", "atrium", '"', "(", "unchanged", ")"]
    )


def test_signature_tells_every_choice() -> None:
    variants: list[dict[str, object]] = [
        {},
        {"alpha": 0.5},
        {"beta": 1},
        {"gamma": 0.1},
        {"wordnet": False},
        {"lowercase": False},
    ]
    assert len({metric(**variant).signature() for variant in variants}) == len(variants)
    assert "syn:wordnet-3.0" in metric().signature()


@pytest.mark.parametrize("options", [{"alpha": 1.1}, {"beta": -1}, {"gamma": 2}, {"lower": True}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        METEOROptions.model_validate(options)


def real_pairs(n: int) -> list[tuple[str, str]]:
    """Pair the findings (else the impression) of Open-i's reports with those of another report."""
    table = IU_XRAY / "indiana_reports.csv"
    if not table.is_file():
        pytest.skip(f"needs Open-i's {table.name}: set BENCH_IU_XRAY to its folder")
    with table.open(newline="", encoding="utf-8") as handle:
        found = [row["findings"] or row["impression"] for row in csv.DictReader(handle)]
    reports_ = [report for report in found if report]
    others = list(reports_)
    random.Random(0).shuffle(others)
    return list(zip(reports_, others, strict=True))[:n]


@pytest.mark.slow
def test_real_reports_score_as_in_the_libraries(nltk_wordnet: Any) -> None:
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    from metrics.bleu import BLEU, BLEUOptions
    from metrics.rouge_l import ROUGEL, ROUGELOptions

    texts = real_pairs(3000)
    assert len(texts) == 3000
    bleu, rouge = BLEU(BLEUOptions(), None), ROUGEL(ROUGELOptions(), None)
    found = bleu.finish(bleu.observe(pairs(texts)).values.sum(axis=0))[0]
    expected = sacrebleu.corpus_bleu([c for c, _ in texts], [[r for _, r in texts]], smooth_method="none", force=True)
    assert found == pytest.approx(expected.score / 100, abs=1e-9)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    by_rouge = [scorer.score(r, c)["rougeL"].fmeasure for c, r in texts]
    assert list(rouge.observe(pairs(texts)).values[:, 0]) == by_rouge
    stats = metric().observe(pairs(texts))
    by_nltk = [nltk_score(nltk_wordnet, c, r) for c, r in texts]
    assert list(stats.values[:, 0]) == by_nltk
    assert metric().finish(stats.values.sum(axis=0))[0] == pytest.approx(np.mean(by_nltk), abs=1e-9)
