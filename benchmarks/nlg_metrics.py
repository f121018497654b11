"""Times ROUGE-L and METEOR against rouge-score and nltk on the same pairs, and asserts that the scores are identical.

    python benchmarks/nlg_metrics.py [--reports FILE] [--pairs N] [--repeats N]

Both sides take turns on small blocks of pairs, so that a busy machine slows both alike; CPU seconds are counted. Three
disjoint thirds of the reports serve as references, as the first system's candidates ("cold": nothing cached) and as
the second system's ("references cached"). Ours starts with empty caches at each repeat. nltk reads WordNet
from a folder written from this package's tables; loading it is not counted on either side.

Share of the limit: what equal scores cannot do without, timed alone on the same pairs, over our whole time. "kernel" is
the comparison of texts that have been read: for ROUGE-L the longest common subsequence of numbers (rapidfuzz's
bit-parallel kernel, one call a pair), for METEOR the alignment of tokens, every stem and synonym looked up before.
"floor" adds the least reading: for ROUGE-L one regular expression over each new text and nltk's stemmer on each
distinct word, for METEOR nltk's sentence splitter on each new text.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rapidfuzz.distance import LCSseq

from bench.contracts import Pair
from bench.errors import BenchError
from metrics import nltk_folder, text
from metrics.meteor import METEOR, METEOROptions
from metrics.rouge_l import ROUGEL, ROUGELOptions, words

BLOCK = 20
FIELDS = ("findings", "report", "text", "reference", "impression")
Score = Callable[[Sequence[Pair]], list[float]]


def read_reports(file: Path) -> list[str]:
    """Return the reports of a JSONL or CSV file: the first non-empty of `FIELDS` in each row."""
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle)) if file.suffix == ".csv" else [json.loads(line) for line in handle]
    found = [next((row[name] for name in FIELDS if row.get(name)), "") for row in rows]
    if not any(found):
        raise BenchError(f"{file}: no row has any of the fields {', '.join(FIELDS)}")
    return [report for report in found if report]


def synthetic_reports(n: int) -> list[str]:
    """Return reports of sentences drawn from a small grammar; few are ever repeated whole."""
    rng = random.Random(0)
    places = ["left lower lobe", "right apex", "lingula", "both bases", "right middle lobe", "left costophrenic angle"]
    signs = ["opacity", "atelectasis", "consolidation", "effusion", "scarring", "nodule", "thickening", "oedema"]
    forms = [
        "There is {size} {sign} in the {place}.",
        "No {sign} is seen in the {place}.",
        "{size} {sign} of the {place} is unchanged, measuring {cm} cm.",
        "Interval increase of {size} {sign}, {place}.",
    ]
    sizes = ["mild", "moderate", "a small", "dense", "minimal", "patchy"]

    def sentence() -> str:
        values = {"size": rng.choice(sizes), "sign": rng.choice(signs), "place": rng.choice(places)}
        return rng.choice(forms).format(cm=f"{rng.uniform(0.3, 9):.1f}", **values)

    return [" ".join(sentence() for _ in range(rng.randint(2, 8))) for _ in range(n)]


def systems(reports: Sequence[str], n: int) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs of two systems over the same references; no text has two roles."""
    shuffled = list(reports)
    random.Random(0).shuffle(shuffled)
    third = min(n, len(shuffled) // 3)
    references, first, second = (shuffled[k * third : (k + 1) * third] for k in range(3))
    return _pairs(first, references), _pairs(second, references)


def _pairs(candidates: Sequence[str], references: Sequence[str]) -> list[Pair]:
    both = zip(candidates, references, strict=True)
    return [Pair(str(number), str(number), candidate, reference) for number, (candidate, reference) in enumerate(both)]


def race(theirs: Score, ours: Score, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Return CPU seconds of both on the same pairs, taking turns; asserts equality to the last bit."""
    spent = [0.0, 0.0]
    for start in range(0, len(pairs), BLOCK):
        block = pairs[start : start + BLOCK]
        answers = []
        for side, score in enumerate((theirs, ours)):
            before = time.process_time()
            answers.append(score(block))
            spent[side] += time.process_time() - before
        assert answers[0] == answers[1], f"scores differ in pairs {start} to {start + len(block)}"
    return spent[0], spent[1]


def forget() -> None:
    """Empty the caches that outlive a metric."""
    text._words.cache_clear()
    text.stem.cache_clear()


def rouge_score() -> Score:
    """Return rouge-score's ROUGE-L with its stemmer."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return lambda pairs: [scorer.score(p.reference, p.candidate)["rougeL"].fmeasure for p in pairs]


def nltk_meteor(folder: Path) -> Score:
    """Return nltk's METEOR, its data loaded."""
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.translate.meteor_score import single_meteor_score

    nltk_folder.write(folder)
    nltk.data.path[:] = [str(folder)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no multilingual WordNet
        reader = WordNetCorpusReader(nltk.data.find("corpora/wordnet"), None)

    def score(pairs: Sequence[Pair]) -> list[float]:
        tokens = nltk.word_tokenize
        return [single_meteor_score(tokens(p.reference), tokens(p.candidate), wordnet=reader) for p in pairs]

    return score


def ours(metric: ROUGEL | METEOR) -> Score:
    """Return the per-pair values of one of our metrics."""
    metric.observe([Pair("warm", "up", "imports are not timed", "imports")])
    return lambda pairs: metric.observe(pairs).values[:, 0].tolist()


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, the best of three."""
    spent = []
    for _ in range(3):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent)


def kernel_seconds(metric: ROUGEL | METEOR, pairs: Sequence[Pair]) -> float:
    """Return the CPU seconds of the comparison alone, on pairs that the metric has read."""
    read, kernel = (metric._ids, LCSseq.similarity) if isinstance(metric, ROUGEL) else (metric._tokens, metric._score)
    both = [(read(pair.candidate), read(pair.reference)) for pair in pairs]
    return seconds(lambda: [kernel(candidate, reference) for candidate, reference in both])


def reading_seconds(metric: ROUGEL | METEOR, texts: Sequence[str], before: Sequence[str]) -> float:
    """Return the CPU seconds of the least that has to be done with new texts; `before` have been read already."""
    if isinstance(metric, METEOR):
        split = text.sentence_splitter().tokenize
        return seconds(lambda: [split(given) for given in texts])
    known = {word for given in before for word in words(given)}
    unknown = {word for given in texts for word in words(given) if len(word) > 3} - known
    stem = text.stem.__wrapped__
    return seconds(lambda: [words(given) for given in texts]) + seconds(lambda: [stem(word) for word in unknown])


def lines(
    name: str, theirs: Score, make: Callable[[], ROUGEL | METEOR], both: Sequence[Sequence[Pair]]
) -> Iterator[str]:
    """Yield a line for the cold start and one for a second system over the same references."""
    forget()
    metric = make()
    mine = ours(metric)
    seen: list[str] = []
    for what, pairs in zip(("cold", "references cached"), both, strict=True):
        their_s, our_s = race(theirs, mine, pairs)
        kernel_s = kernel_seconds(metric, pairs)
        new = [pair.candidate for pair in pairs] + [pair.reference for pair in pairs if what == "cold"]
        floor_s = kernel_s + reading_seconds(metric, new, seen)
        seen += new
        per_pair = 1e6 / len(pairs)
        yield (
            f"{name:8} {what:18} {len(pairs):6} pairs  theirs {their_s * per_pair:7.0f} us/pair  "
            f"ours {our_s * per_pair:6.0f} us/pair  ratio {their_s / our_s:5.1f}x  bit-identical  "
            f"kernel {kernel_s * per_pair:5.1f} us = {kernel_s / our_s:3.0%}  "
            f"floor {floor_s * per_pair:5.0f} us = {floor_s / our_s:3.0%}"
        )


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="JSONL or CSV with a column " + ", ".join(FIELDS))
    parser.add_argument("--pairs", type=int, default=1000, help="pairs at most (a third of the reports)")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    reports = read_reports(given.reports) if given.reports else synthetic_reports(3 * given.pairs)
    both = systems(reports, given.pairs)
    with tempfile.TemporaryDirectory() as folder:
        rouge, meteor = rouge_score(), nltk_meteor(Path(folder))
        for _ in range(given.repeats):
            for line in lines("rouge-l", rouge, lambda: ROUGEL(ROUGELOptions(), None), both):
                print(line)
            for line in lines("meteor", meteor, lambda: METEOR(METEOROptions(), None), both):
                print(line)


if __name__ == "__main__":
    main()
