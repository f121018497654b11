"""Times the RadGraph annotator against the package radgraph on the same weights, and asserts identical graphs.

    python benchmarks/radgraph_graphs.py [--reports FILE] [--texts N] [--device cuda]

The model has bert-base's size and random weights, with biases that give most reports entities and relations. Both
sides take turns on small blocks of distinct reports of like length, so that a busy machine slows both alike. The
package reads one report a forward pass whatever batch size it is given; it runs in inference mode here, which its own
call does not switch on.

Then RGER is scored for two systems on the same references through the cache of annotations; and the transformer's
useful arithmetic (padding not counted) is compared with the rate of a large matrix product on the same machine.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from nlg_metrics import read_reports, synthetic_reports

from bench.context import RunContext
from bench.contracts import Pair
from metrics.radgraph import RGER, RadGraphXL
from metrics.radgraph.annotators import RadGraphOptions
from metrics.radgraph.scores import RGEROptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from radgraph_model import USUAL, make_model, peer

NAME, BLOCK, CALIBRATION = "radgraph-xl", 32, 24
HIDDEN, LAYERS = 768, 12


def distinct(reports: Sequence[str], n: int) -> list[str]:
    """Return n reports in a random order, none twice."""
    known = sorted(set(reports))
    random.Random(0).shuffle(known)
    return known[:n]


class Clock:
    """Wall and CPU seconds of calls."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.wall = self.cpu = 0.0

    def __call__(self, call: Callable[[], Any]) -> Any:
        """Return the call's answer."""
        wall, cpu = time.perf_counter(), time.process_time()
        answer = call()
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return answer


def theirs_on(model: Any, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the package's graphs."""
    with torch.inference_mode():
        found = model(list(texts))
    return [{key: found[str(place)][key] for key in ("text", "entities")} for place in range(len(texts))]


def race(model: Any, ours: RadGraphXL, texts: Sequence[str], device: str) -> Iterator[str]:
    """Yield the rates, and what the graphs hold; asserts that the graphs are identical."""
    graphs: list[dict[str, Any]] = []
    blocks: list[tuple[Clock, Clock]] = []
    ordered = sorted(texts, key=len, reverse=True)  # as they come from the cache of annotations
    for start in range(0, len(texts), BLOCK):
        block = ordered[start : start + BLOCK]
        theirs, mine = Clock(device), Clock(device)
        expected = theirs(lambda block=block: theirs_on(model, block))  # type: ignore[misc]
        found = mine(lambda block=block: ours.annotate(block))  # type: ignore[misc]
        different = [text for text, a, b in zip(block, expected, found, strict=True) if a != b]
        assert not different, f"{len(different)} graphs of {len(block)} differ, the first for {different[0]!r}"
        graphs += expected
        blocks.append((theirs, mine))
    yield rates(len(texts), blocks)
    entities = [len(graph["entities"]) for graph in graphs]
    relations = [sum(len(entity["relations"]) for entity in graph["entities"].values()) for graph in graphs]
    yield (
        f"graphs identical; a report has {sum(entities) / len(graphs):.1f} entities and "
        f"{sum(relations) / len(graphs):.1f} relations; {sum(map(bool, relations))} of {len(graphs)} have a relation"
    )


def rates(n: int, blocks: Sequence[tuple[Clock, Clock]]) -> str:
    """Return graphs per second of both sides, and the ratio: its median over blocks and of their sums."""
    their_s, our_s, their_cpu, our_cpu = (
        [getattr(pair[side], kind) for pair in blocks] for kind in ("wall", "cpu") for side in (0, 1)
    )
    ratios = [a / b for a, b in zip(their_s, our_s, strict=True)]
    return (
        f"theirs {n / sum(their_s):.2f} graphs/s, ours {n / sum(our_s):.2f}; ratio {sum(their_s) / sum(our_s):.2f}x "
        f"(blocks {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}), "
        f"{sum(their_cpu) / sum(our_cpu):.2f}x in CPU seconds"
    )


def two_systems(context: RunContext, texts: Sequence[str]) -> str:
    """Return what RGER costs for a first and a second system on the same references."""
    third = len(texts) // 3
    references, *systems = (texts[k * third : (k + 1) * third] for k in range(3))
    metric = RGER(RGEROptions(), context)
    context.annotator(NAME).annotate(["Loading is not timed."])
    spent = []
    for candidates in systems:
        pairs = [Pair(str(k), str(k), *both) for k, both in enumerate(zip(candidates, references, strict=True))]
        clock = Clock(context.device)
        clock(lambda pairs=pairs: metric.observe(pairs))  # type: ignore[misc]
        spent.append(clock.cpu if context.device == "cpu" else clock.wall)
    first, second = spent
    return (
        f"RGER of two systems on the same {third} references: {first:.1f} s for the first and {second:.1f} s for the "
        f"second ({second / first:.2f} of it), in CPU seconds where there is no GPU"
    )


def useful_flops(ours: RadGraphXL, texts: Sequence[str]) -> float:
    """Return the transformer's multiplications and additions for the texts' own pieces."""
    lengths = [len(window) + 2 for text in texts for window in ours._network.pieces(text).windows]
    return float(sum(LAYERS * n * (24 * HIDDEN**2 + 4 * n * HIDDEN) for n in lengths))


def peak_flops(device: str) -> float:
    """Return the best rate of float32 matrix products of the transformer's shape, in FLOP/s."""
    a, b = torch.randn(1024, HIDDEN, device=device), torch.randn(HIDDEN, 4 * HIDDEN, device=device)
    seconds = []
    for _ in range(10):
        clock = Clock(device)
        clock(lambda: [a @ b for _ in range(5)])
        seconds.append(clock.wall)
    return 5 * 2 * 1024 * HIDDEN * 4 * HIDDEN / min(seconds)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="JSONL or CSV of reports; synthetic ones by default")
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    texts = distinct(read_reports(given.reports) if given.reports else synthetic_reports(given.texts), given.texts)
    with tempfile.TemporaryDirectory() as folder, peer():
        root = Path(folder)
        with redirect_stdout(StringIO()):  # the package prints its device
            model = make_model(root, NAME, texts[:CALIBRATION], real=True, rates=USUAL, corpus=texts)
        model.device = torch.device(given.device)
        model.to(model.device)
        options = {"use": NAME, "archive": str(root / NAME), "dtype": given.dtype}
        context = RunContext(
            workdir=root / "work",
            cache_root=root / "cache",
            device=given.device,
            parts={"annotators": {NAME: options}},
        )
        ours = RadGraphXL(RadGraphOptions(archive=options["archive"], dtype=given.dtype), context)
        for warm in texts[:2]:
            assert theirs_on(model, [warm]) == ours.annotate([warm])
        for line in race(model, ours, texts, given.device):
            print(line, flush=True)
        peak, flops = peak_flops(given.device), useful_flops(ours, texts)
        clock = Clock(given.device)
        clock(lambda: ours.annotate(texts))
        print(
            f"useful {flops / clock.wall / 1e9:.0f} GFLOP/s of {peak / 1e9:.0f} in matrix products: "
            f"{flops / clock.wall / peak:.0%} of the machine's limit, everything included"
        )
        print(two_systems(context, texts))


if __name__ == "__main__":
    main()
