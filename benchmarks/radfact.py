"""How many questions RadFact asks a judge, beside one a report and statement; and what the harness costs a question.

    python benchmarks/radfact.py [--reports FILE] [--pairs N]

The reports of a CSV (column `findings`; default: $BENCH_IU_XRAY/indiana_reports.csv, else invented ones) are the
references; two "systems" answer each with another patient's report, drawn with fixed seeds. microsoft/RadFact splits
references anew for every system and asks about every statement of every study. Ours splits each text once and asks each
different question once, over all systems; the second system finds the first one's answers in the cache.

Then the same questions go through the real client and its cache to a backend that answers at once: what is left is the
harness's own time. The rule-based reader says what statements there are, so that no model is needed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.context import RunContext
from bench.contracts import Context, Pair, Question
from bench.llm.backend import Identity, LLMOptions, Reply
from bench.llm.gate import Place
from metrics.radfact import RadFact, RadFactOptions
from metrics.radfact.schemas import NOT_ENTAILED

HERE = Path(__file__)


class AtOnce:
    """A chat backend that answers at once: every text is its own statement, nothing is entailed."""

    Options = LLMOptions

    def __init__(self, options: LLMOptions, context: Context) -> None:  # noqa: ARG002 (every plugin is built so)
        self.options = options

    def place(self) -> Place:
        return Place("", model=self.options.model)

    def remedy(self) -> str:
        return ""

    async def identify(self) -> Identity:
        return Identity("at-once", self.options.model, "sha256:0")

    async def reply(self, question: Question) -> Reply:
        query = json.loads(question.messages[-1].content)
        return Reply(json.dumps({"phrase": query["hypothesis"], "evidence": [], "status": NOT_ENTAILED}))


def reports(file: Path | None) -> list[str]:
    """Return the findings of a CSV, or invented ones."""
    if file is None or not file.exists():
        rng = random.Random(0)
        signs = ["effusion", "pneumothorax", "consolidation", "edema", "atelectasis", "cardiomegaly", "nodule"]
        return [
            " ".join(f"{rng.choice(['No', 'Small', 'Left'])} {s}." for s in rng.sample(signs, 5)) for _ in range(4000)
        ]
    with file.open(newline="", encoding="utf-8") as handle:
        return [row["findings"] for row in csv.DictReader(handle) if row["findings"].strip()]


def system(texts: Sequence[str], seed: int) -> list[Pair]:
    """Return each text as the reference of another one, drawn with a seed."""
    said = list(texts)
    random.Random(seed).shuffle(said)
    return [Pair(str(i), str(i), candidate, true) for i, (candidate, true) in enumerate(zip(said, texts, strict=True))]


def plain(pairs: Sequence[Pair], phrases: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Return how many reports are split and statements judged where nothing is asked once only."""
    return 2 * len(pairs), sum(len(phrases[text]) for pair in pairs for text in (pair.candidate, pair.reference))


def main() -> None:
    parser = argparse.ArgumentParser()
    folder = os.environ.get("BENCH_IU_XRAY")
    parser.add_argument("--reports", type=Path, default=Path(folder) / "indiana_reports.csv" if folder else None)
    parser.add_argument("--pairs", type=int, default=1000)
    given = parser.parse_args()
    texts = reports(given.reports)[: given.pairs]
    with tempfile.TemporaryDirectory() as cache:
        parts = {"llms": {"judge": {"use": f"{HERE}:AtOnce", "model": "at-once"}}}
        options = RadFactOptions(judge="judge", annotator="rules")
        split: set[str] = set()
        total = [0, 0, 0, 0]
        print(f"{len(texts)} pairs a system      official: splits  verdicts    ours: splits  verdicts")
        for number, seed in enumerate((1, 2), 1):
            pairs = system(texts, seed)
            context = RunContext(workdir=Path(cache) / str(number), cache_root=Path(cache), parts=parts)
            metric = RadFact(options, context)
            every = list(dict.fromkeys(text for pair in pairs for text in (pair.candidate, pair.reference)))
            phrases = {
                text: [p.text for p in found] for text, found in zip(every, metric.splitter.split(every), strict=True)
            }
            started, cpu = time.perf_counter(), time.process_time()
            metric.observe(pairs)
            seconds, busy = time.perf_counter() - started, time.process_time() - cpu
            usage = context.llms_used()[0]["usage"]
            theirs, ours = plain(pairs, phrases), (len({*every} - split), usage["calls"])
            split |= {*every}
            total = [a + b for a, b in zip(total, (*theirs, *ours), strict=True)]
            print(f"system {number}{theirs[0]:34}{theirs[1]:10}{ours[0]:16}{ours[1]:10}")
            asked = usage["calls"] + usage["cached"]
            print(
                f"    {asked} questions, {usage['cached']} from the cache, in {seconds:.1f} s "
                f"({busy:.1f} s CPU): {1000 * busy / asked:.2f} ms CPU a question"
            )
        print(f"both    {total[0]:34}{total[1]:10}{total[2]:16}{total[3]:10}")
        print(f"questions saved: {1 - (total[2] + total[3]) / (total[0] + total[1]):.1%}")


if __name__ == "__main__":
    main()
