"""Times BERTScore against the package bert-score on the same weights, and asserts equal scores.

    python benchmarks/bertscore.py [--reports FILE] [--pairs N] [--block N] [--device cuda] [--threads N] [--turns N]

Random weights of distilroberta-base's size and shape, of which five layers are used; a tokeniser of the reports' own
words. Both sides take turns on blocks of pairs, so that a busy machine slows both alike, and of several --turns on a
block the best of each side counts. The package is called as CXR-Report-Metric calls it (batches of 256 texts, sorted by
their number of words); it, too, encodes equal texts once a call. CPU seconds are counted on a CPU, seconds on a GPU.

Shims for transformers 5: the package's tokeniser is loaded with RoBERTa's leading blank, which version 4 took with
each call.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from chexbert import Clock
from nlg_metrics import read_reports, synthetic_reports, systems

from bench.context import RunContext
from metrics.bertscore.options import BERTScoreOptions
from metrics.bertscore.scorer import Scorer, Texts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from roberta_model import make_roberta

REAL = {
    "hidden_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "initializer_range": 0.02,
}
LAYER, BATCH = 5, 256


def package(folder: Path, device: str) -> Any:
    """Return bert-score's scorer on the folder."""
    import bert_score.scorer as module
    from transformers import AutoTokenizer

    module.get_tokenizer = lambda name, _: AutoTokenizer.from_pretrained(name, add_prefix_space=True)
    return module.BERTScorer(model_type=str(folder), num_layers=LAYER, batch_size=BATCH, device=device)


def race(theirs: Any, ours: Scorer, pairs: list[Texts], clock: Clock, block: int, turns: int) -> None:
    """Print pairs per second of both, taking turns, and how far the scores are apart."""
    spent, apart = [0.0, 0.0], 0.0
    for start in range(0, len(pairs), block):
        chunk = pairs[start : start + block]
        said, true = map(list, zip(*chunk, strict=True))
        best = [float("inf")] * 2
        for _ in range(turns):
            seconds, answer = clock.time(lambda said=said, true=true: theirs.score(said, true, batch_size=BATCH))
            best[0] = min(best[0], seconds)
            seconds, found = clock.time(lambda chunk=chunk: ours.raw(chunk))
            best[1] = min(best[1], seconds)
        spent = [total + seconds for total, seconds in zip(spent, best, strict=True)]
        apart = max(apart, float(np.abs(found - np.stack([part.numpy() for part in answer], axis=1)).max()))
    assert apart < 1e-5 or ours.options.dtype != "float32", f"scores differ by {apart}"
    n, unit = len(pairs), clock.unit
    tokens = np.mean([len(ids) for ids in ours.network.ids([text for pair in pairs for text in pair])])
    print(
        f"{n} pairs, {tokens:.0f} tokens a text  bert-score {n / spent[0]:.2f} pairs/{unit}  "
        f"ours {n / spent[1]:.2f} pairs/{unit}  ratio {spent[0] / spent[1]:.2f}x  scores differ by {apart:.1e} at most",
        flush=True,
    )


def main() -> None:
    """Print the ratio."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="JSONL or CSV of reports, as benchmarks/nlg_metrics.py reads them")
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--block", type=int, default=48, help="pairs of a call; the harness gives 256 at once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="ours; equality is asserted in float32")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--wall", action="store_true", help="seconds instead of CPU seconds; for a quiet machine")
    parser.add_argument("--turns", type=int, default=1, help="of each side on each block, the best of which counts")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    reports = read_reports(given.reports) if given.reports else synthetic_reports(3 * given.pairs)
    first, _ = systems(list(dict.fromkeys(reports)), given.pairs)
    pairs = [(pair.candidate, pair.reference) for pair in first]
    clock = Clock(given.device, wall=given.wall)
    with tempfile.TemporaryDirectory() as name:
        folder = make_roberta(Path(name) / "distilroberta-base", reports, vocabulary=5000, **REAL)
        context = RunContext(workdir=Path(name) / "w", cache_root=Path(name) / "c", device=given.device)
        ours = Scorer(BERTScoreOptions(model=str(folder), dtype=given.dtype), context, "benchmark")
        theirs = package(folder, given.device)
        theirs.score(["loaded"], ["and warm"])
        ours.raw([("loaded", "and warm")])
        print(f"{torch.get_num_threads()} threads, {given.device}, ours in {given.dtype}")
        race(theirs, ours, pairs, clock, given.block, given.turns)


if __name__ == "__main__":
    main()
