"""Times the annotator chexbert against the package f1chexbert on the same weights, and asserts identical labels.

    python benchmarks/chexbert.py [--reports FILE] [--texts N] [--device cuda] [--threads N] [--wall] [--turns N]

Random weights of the real size (bert-base) with heads that vary; a WordPiece vocabulary of the reports' own words. Both
sides take turns on chunks of texts of like length, as the harness cuts them, so that a busy machine slows both alike.
Three disjoint thirds of distinct reports are the references, the first system's candidates and the second system's.
Then the metric is run over both systems with one cache of annotations. The share of the machine's limit is the
arithmetic that the labels need (padding not counted), by the fastest matrix product seen in the same run.

CPU seconds are counted on a CPU, seconds on a GPU. On a machine that is busy otherwise, threads that wait for each
other burn CPU seconds, the package's many small products most of all: take --threads 1 there, or --wall and several
--turns of each side on each chunk, of which the best counts.
"""

from __future__ import annotations

import argparse
import random
import re
import string
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nlg_metrics import read_reports, synthetic_reports, systems

from bench.context import RunContext
from bench.contracts import Pair
from metrics.chexbert import CheXbert, CheXbertF1
from metrics.observations import LABELS

CHUNK = 32
VOCABULARY, DIM, WIDE, LAYERS = 30522, 768, 3072, 12


def write_vocabulary(folder: Path, reports: Sequence[str]) -> Path:
    """Write BERT's special tokens, letters and the reports' most frequent words, filled up to BERT's size."""
    letters = [*string.ascii_lowercase, *string.digits]
    frequent = Counter(word for report in reports for word in re.findall("[a-z]+", report.lower())).most_common(8000)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = dict.fromkeys([*special, *string.punctuation, *letters, *(f"##{c}" for c in letters), *dict(frequent)])
    file = folder / "vocab.txt"
    file.write_text("\n".join([*known, *(f"[unused{i}]" for i in range(VOCABULARY - len(known)))]) + "\n")
    return file


def package(folder: Path, samples: Sequence[str], device: str) -> Any:
    """Return f1chexbert's scorer on random weights, saved as folder/chexbert.pth.

    Shims: configuration and tokenizer come from here instead of the hub, its cache is the folder, and encode_plus,
    which left transformers with version 5, is put back.
    """
    import f1chexbert.f1chexbert as module
    import torch
    from transformers import BertConfig, BertTokenizer

    class Configuration:
        from_pretrained = staticmethod(lambda _: BertConfig())

    class Tokenizer(BertTokenizer):
        def encode_plus(self, tokens: list[str]) -> dict[str, list[int]]:
            return {"input_ids": [self.cls_token_id, *self.convert_tokens_to_ids(tokens), self.sep_token_id]}

        @classmethod
        def from_pretrained(cls, _: str) -> Tokenizer:
            return cls(vocab=str(folder / "vocab.txt"))

    module.AutoConfig, module.BertTokenizer, module.CACHE_DIR = Configuration, Tokenizer, str(folder)
    torch.manual_seed(0)
    model = module.bert_labeler(inference=True).eval().requires_grad_(False)
    tokens = module.tokenize(module.pd.Series(list(samples)), Tokenizer.from_pretrained(""))
    mean = torch.stack([model.bert(torch.tensor([ids]))[0][0, 0] for ids in tokens]).mean(0)
    for head in model.linear_heads:
        weight = torch.randn(head.weight.shape)
        weight -= (weight @ mean / (mean @ mean))[:, None] * mean
        head.weight.copy_(weight / weight.norm(dim=1, keepdim=True))
        head.bias.zero_()
    weights = {f"module.{name}": weight for name, weight in model.state_dict().items()}
    torch.save({"model_state_dict": weights}, folder / "chexbert.pth")
    return module.F1CheXbert(device=device)


def flops(tokens: int) -> float:
    """Return the operations that a text's labels need: 11 whole layers, then keys, values and the first token's row."""
    whole = 2 * tokens * (4 * DIM * DIM + 2 * DIM * WIDE) + 4 * tokens * tokens * DIM
    last = 2 * tokens * 2 * DIM * DIM + 2 * (2 * DIM * DIM + 2 * DIM * WIDE) + 4 * tokens * DIM
    return (LAYERS - 1) * whole + last


class Clock:
    """CPU seconds on a CPU (all threads), or seconds: on a GPU, its queue emptied, and where asked."""

    def __init__(self, device: str, *, wall: bool = False) -> None:
        self.device, self.wall = device, wall or device != "cpu"
        self.unit = "s" if self.wall else "CPU s"

    def time(self, work: Callable[[], Any]) -> tuple[float, Any]:
        before = self._now()
        answer = work()
        return self._now() - before, answer

    def _now(self) -> float:
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter() if self.wall else time.process_time()


def peak(clock: Clock, dtype: str) -> float:
    """Return operations a second of the encoder's largest product, the better of this torch's two ways to do it."""
    import torch

    from metrics.chexbert.model import dense

    rows = 1024 if clock.device == "cpu" else 16384
    weight = torch.randn(WIDE, DIM, device=clock.device, dtype=getattr(torch, dtype))
    x, bias = weight.new_zeros(rows, DIM), weight.new_zeros(WIDE)
    best = 0.0
    with torch.inference_mode():
        for product in (dense(weight, bias), lambda x: torch.nn.functional.linear(x, weight, bias)):
            for _ in range(3):
                spent, _ = clock.time(lambda product=product: [product(x) for _ in range(4)])
                best = max(best, 4 * 2 * rows * DIM * WIDE / spent)
    return best


def race(theirs: Any, ours: CheXbert, texts: Sequence[str], clock: Clock, turns: int, *, same: bool) -> None:
    """Print labels per second of both over the same texts, taking turns, and the share of the machine's limit."""
    ordered = sorted(texts, key=len, reverse=True)
    spent, limit, different = [0.0, 0.0], 0.0, 0
    for start in range(0, len(ordered), CHUNK):
        chunk = ordered[start : start + CHUNK]
        best = [float("inf")] * 2
        for _ in range(turns):
            limit = max(limit, peak(clock, ours.dtype))
            seconds, expected = clock.time(lambda chunk=chunk: [theirs.get_label(t, "classification") for t in chunk])
            best[0] = min(best[0], seconds)
            seconds, found = clock.time(lambda chunk=chunk: ours.annotate(chunk))
            best[1] = min(best[1], seconds)
        spent = [total + seconds for total, seconds in zip(spent, best, strict=True)]
        labels = [["" if value is None else value for value in one["labels"].values()] for one in found]
        different += sum(a != b for x, y in zip(labels, expected, strict=True) for a, b in zip(x, y, strict=True))
    assert different == 0 or not same, f"{different} labels differ"
    n = len(texts)
    tokens = [len(ids) for ids in ours._tokens.ids(list(texts))]
    share = sum(map(flops, tokens)) / spent[1] / limit
    unit = clock.unit
    print(
        f"{n} texts, {sum(tokens) / n:.0f} tokens  f1chexbert {14 * n / spent[0]:.1f} labels/{unit}  "
        f"ours {14 * n / spent[1]:.1f} labels/{unit}  ratio {spent[0] / spent[1]:.2f}x  "
        f"{different} of {14 * n} labels differ  {100 * share:.0f} % of {limit / 1e9:.0f} GFLOP/{unit}",
        flush=True,
    )


def second_system(context: RunContext, both: Sequence[Sequence[Pair]], clock: Clock) -> None:
    """Print what a second system costs over the same references, annotations kept."""
    metric = CheXbertF1(CheXbertF1.Options(), context)
    first, second = (clock.time(lambda pairs=pairs: metric.observe(pairs))[0] for pairs in both)
    again, _ = clock.time(lambda: metric.observe(both[1]))
    print(
        f"first system {first:.2f} s  second {second:.2f} s  ({second / first:.2f} of the first)  again {again:.3f} s"
    )


def varied(found: Sequence[dict[str, Any]]) -> int:
    """Return how many labels have two or more values on 10 % of the texts each."""
    values = [Counter(one["labels"][name] for one in found) for name in LABELS]
    return sum(sum(count >= 0.1 * len(found) for count in counter.values()) >= 2 for counter in values)


def main() -> None:
    """Print the ratios."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="JSONL or CSV of reports, as benchmarks/nlg_metrics.py reads them")
    parser.add_argument("--texts", type=int, default=64, help="reports in each of the three roles")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto", help="auto, float32 or bfloat16; identity is asserted in float32")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--wall", action="store_true", help="seconds instead of CPU seconds; for a quiet machine")
    parser.add_argument("--turns", type=int, default=1, help="of each side on each chunk, the best of which counts")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    reports = read_reports(given.reports) if given.reports else synthetic_reports(3 * given.texts)
    reports = list(dict.fromkeys(reports))
    both = systems(reports, given.texts)
    texts = [side for pair in both[0] for side in (pair.candidate, pair.reference)]
    clock = Clock(given.device, wall=given.wall)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_vocabulary(folder, reports)
        theirs = package(folder, random.Random(0).sample(texts, min(32, len(texts))), given.device)
        entry = {"checkpoint": str(folder / "chexbert.pth"), "tokenizer": name, "dtype": given.dtype}
        parts = {"annotators": {"chexbert": entry}}
        context = RunContext(workdir=folder / "w", cache_root=folder / "c", device=given.device, parts=parts)
        ours = CheXbert(CheXbert.Options(**entry), context)
        print(f"{varied(ours.annotate(texts))} of 14 labels vary; {torch.get_num_threads()} threads, {ours.dtype}")
        theirs.get_label(texts[0])
        race(theirs, ours, texts, clock, given.turns, same=ours.dtype == "float32")
        context.annotator("chexbert").annotate(["the model is loaded, and not timed"])
        second_system(context, both, clock)


if __name__ == "__main__":
    main()
