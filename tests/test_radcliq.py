"""RadCliQ-v1: its parts against the packages they come from, its numbers against what ReXrank publishes."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from pydantic import ValidationError

from bench.context import RunContext
from bench.contracts import FAILED, OK, Pair, Unannotated
from bench.errors import BenchError, Unavailable
from bench.kept import Kept
from metrics.bertscore.options import BERTScoreOptions
from metrics.bertscore.scorer import Scorer
from metrics.chexbert import CheXbert, CheXbertEmbedding
from metrics.chexbert.embedding import vector_of
from metrics.radcliq import RadCliQ
from metrics.radcliq.coefficients import read
from metrics.radcliq.metric import bleu_2, bleu_tokens
from metrics.radgraph import RadGraphF1

sys.path.insert(0, str(Path(__file__).parent))
from radgraph_model import make_model
from roberta_model import make_roberta
from test_chexbert import SMALL, Checkpoint, synthetic_texts

TEXTS = synthetic_texts(24)

REXRANK = (
    # radgraph, bertscore, semb, bleu, 1/RadCliQ-v1: means over a test set, rounded to three decimals. The first six are
    # ReXrank's leaderboard as https://github.com/rajpurkarlab/ReXrank-metric shows it; the last two are of MoERad, as
    # its README gives ReXrank's scores on IU X-ray and ReXGradient.
    (0.269, 0.492, 0.496, 0.262, 1.233),
    (0.265, 0.493, 0.487, 0.248, 1.217),
    (0.235, 0.461, 0.455, 0.218, 1.060),
    (0.251, 0.444, 0.439, 0.234, 1.033),
    (0.253, 0.432, 0.455, 0.213, 1.031),
    (0.174, 0.385, 0.319, 0.150, 0.782),
    (0.341, 0.525, 0.641, 0.277, 1.922),
    (0.247, 0.434, 0.446, 0.227, 1.018),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class World:
    """Three small models in their published layouts."""

    chexbert: Checkpoint
    radgraph: Path
    roberta: Path

    def context(self, root: Path, **annotators: dict[str, Any]) -> RunContext:
        chexbert = {"checkpoint": str(self.chexbert.file), "tokenizer": str(self.chexbert.folder)}
        parts = {"chexbert": chexbert, "radgraph": {"archive": str(self.radgraph)}, **annotators}
        return RunContext(workdir=root / "work", cache_root=root / "cache", parts={"annotators": parts})

    def metric(self, context: RunContext, **options: Any) -> RadCliQ:
        given = {"bertscore": {"model": str(self.roberta)}, **options}
        return RadCliQ(RadCliQ.Options.model_validate(given), context)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    make_model(root, "radgraph", TEXTS)
    (root / "chexbert").mkdir()
    roberta = make_roberta(root / "distilroberta-base", TEXTS, num_hidden_layers=5)
    return World(Checkpoint(root / "chexbert", TEXTS, **SMALL), root / "radgraph", roberta)


@pytest.fixture
def here(world: World, tmp_path: Path) -> RunContext:
    return world.context(tmp_path)


def as_pairs(candidates: Sequence[str], references: Sequence[str]) -> list[Pair]:
    both = enumerate(zip(candidates, references, strict=True))
    return [Pair(str(i), str(i), said, true) for i, (said, true) in both]


PAIRS = as_pairs([*TEXTS[:10], "", TEXTS[0], "a  b"], [*TEXTS[10:20], TEXTS[1], TEXTS[0], "a b"])


# ------------------------------------------------------------------ the numbers


@pytest.mark.parametrize("row", REXRANK)
def test_the_coefficients_give_what_rexrank_publishes(row: tuple[float, ...]) -> None:
    """The score is linear, so the mean of scores is the score of means, to half a digit of each part's rounding."""
    *parts, inverse = row
    numbers = read(None)
    slopes = np.abs(numbers.contributions(np.ones(4)) - numbers.contributions(np.zeros(4)))
    rounding = 0.0005 * slopes.sum() + 0.0005 / inverse**2
    assert float(numbers.score(np.array(parts))) == pytest.approx(1 / inverse, abs=rounding)


def test_the_published_rows_alone_give_nearly_the_same_slopes() -> None:
    """Least squares over rounded rows that owe nothing to our source: BLEU's slope of 1e-11 is taken as none."""
    table, numbers = np.array(REXRANK), read(None)
    found, *_ = np.linalg.lstsq(np.column_stack([table[:, :3], np.ones(len(table))]), 1 / table[:, 4])
    at_zero = numbers.score(np.zeros(4))
    slopes = numbers.score(np.eye(4)) - at_zero
    np.testing.assert_allclose(found, [*slopes[:3], at_zero], rtol=0.07)


def test_the_coefficients_give_what_radeval_was_seen_to_give() -> None:
    """https://github.com/jbdel/RadEval/issues/5: a report against itself, without relations, gives 1/-1.22237149."""
    assert float(read(None).score(np.array([0.5, 1, 1, 1]))) == pytest.approx(1 / -1.2223714910823704, abs=1e-6)


def test_other_coefficients_come_from_a_file(world: World, here: RunContext, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    part = "{mean: 0, scale: 2, weight: -1}"
    rows = "".join(f"  {name}: {part}\n" for name in ("radgraph", "bertscore", "semb", "bleu"))
    file.write_text(f"source: me\nparts:\n{rows}intercept: 3\n")
    mine = world.metric(here, coefficients=file)
    assert mine.signature() != world.metric(here).signature()
    parts, values = mine.parts(PAIRS), mine.observe(PAIRS).values
    np.testing.assert_allclose(values[:, 0], 3 - parts.sum(axis=1) / 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file: Input should be a valid dictionary"),
        ("source: me\nintercept: 0\n", "parts: Field required"),
        ("source: me\nparts: {bleu: {mean: 0, scale: 0, weight: 1}}\nintercept: 0\n", "parts.radgraph: Field required"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_a_wrong_file_of_coefficients_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(BenchError, match=said):
        read(file)
    with pytest.raises(BenchError, match=r"other\.yaml: coefficients cannot be read: No such file"):
        read(tmp_path / "other.yaml")


def test_a_scale_of_nothing_is_refused(tmp_path: Path) -> None:
    original = Path(__file__).parent.parent / "metrics/radcliq/coefficients.yaml"
    file = tmp_path / "mine.yaml"
    file.write_text(original.read_text().replace("scale: 0.30282584", "scale: 0"))
    with pytest.raises(BenchError, match=r"parts\.radgraph\.scale"):
        read(file)
    file.write_text(original.read_text().replace("mean: 0.53792312", "mean: .nan"))
    with pytest.raises(BenchError, match=r"parts\.radgraph\.mean"):
        read(file)


# ------------------------------------------------------------------ the parts


def their_bleu(candidate: str, reference: str) -> float:
    """fast_bleu is nltk's sentence_bleu in C++, by default with method 1."""
    said, true = bleu_tokens(candidate), bleu_tokens(reference)
    return float(sentence_bleu([true], said, (0.5, 0.5), SmoothingFunction().method1)) if said else 0.0


def test_bleu_2_is_that_of_nltk_with_method_1() -> None:
    rng = random.Random(3)
    words = ["a", "b", "c.", "D", " "]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(300)] + ["", "b", "b."]
    found = [bleu_2(said, true) for said, true in zip(texts, texts[::-1], strict=True)]
    expected = [their_bleu(said, true) for said, true in zip(texts, texts[::-1], strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 0.1 < np.mean(found) < 0.9
    assert bleu_tokens("No  Effusion.\nClear.") == ["no", "effusion", ".\nclear", "."]


def test_embeddings_are_what_the_heads_read(world: World, here: RunContext) -> None:
    annotator = here.annotator("chexbert-embedding")
    texts = world.chexbert.texts
    found = np.array([vector_of(one, "chexbert-embedding") for one in annotator.annotate(texts)])
    bert = world.chexbert.model.bert
    expected = [bert(torch.tensor([ids]))[0][0, 0].tolist() for ids in world.chexbert.ids]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    logits = world.chexbert.ours(here).logits(texts)
    heads = np.array([head.weight.numpy() for head in world.chexbert.model.linear_heads[:13]]).reshape(52, -1)
    np.testing.assert_allclose(found @ heads.T, np.array(logits)[:, :52], rtol=0, atol=1e-4)


def test_parts_are_those_of_the_metrics_alone(world: World, here: RunContext) -> None:
    parts = world.metric(here).parts(PAIRS)
    graphs = RadGraphF1(RadGraphF1.Options(), here).observe(PAIRS).values[:, 0]
    scorer = Scorer(BERTScoreOptions(model=str(world.roberta)), here, "test")
    texts = [(pair.candidate, pair.reference) for pair in PAIRS[:-1]]
    hidden = world.chexbert.ours(here).hidden
    said, true = (np.array(hidden([getattr(pair, side) for pair in PAIRS])) for side in ("candidate", "reference"))
    cosines = (said * true).sum(1) / np.linalg.norm(said, axis=1) / np.linalg.norm(true, axis=1)
    np.testing.assert_array_equal(parts[:, 0], graphs)
    assert len(set(graphs)) > 3
    np.testing.assert_allclose(parts[:-1, 1], scorer.scores(texts)[:, 2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts[:, 2], cosines, atol=1e-6)
    np.testing.assert_allclose(parts[:, 3], [their_bleu(pair.candidate, pair.reference) for pair in PAIRS])
    assert parts[-1, 1:] == pytest.approx(1, abs=1e-6)  # blanks are made one
    assert parts[11] == pytest.approx([graphs[11], 1, 1, 1], abs=1e-6)  # a report against itself


# ------------------------------------------------------------------ the metric


def test_statistics_add_up_to_means(world: World, here: RunContext) -> None:
    metric = world.metric(here)
    stats = metric.observe(PAIRS)
    parts = metric.parts(PAIRS)
    scores = metric.finish(stats.values.sum(axis=0))
    assert [c.key for c in metric.columns] == [
        "RadCliQ-v1", "RadCliQ-RadGraph", "RadCliQ-BERTScore", "SembScore", "BLEU-2",
    ]  # fmt: skip
    assert (metric.columns[0].higher_is_better, metric.columns[0].scale) == (False, 1.0)
    np.testing.assert_allclose(scores[1:], parts.mean(axis=0), rtol=1e-6, atol=1e-6)
    assert scores[0] == pytest.approx(float(read(None).score(parts.mean(axis=0))), abs=1e-5)
    assert (stats.status == OK).all()
    assert np.isnan(metric.finish(np.zeros((2, 10)))).all()
    alone = np.concatenate([metric.observe([pair]).values for pair in PAIRS])
    np.testing.assert_allclose(alone, stats.values, rtol=0, atol=5e-6)
    worse, better = stats.values[10, 0], stats.values[11, 0]
    assert better < worse  # an empty report, and the reference itself


class Failing:
    """An annotator that fails on one text."""

    def __init__(self, annotator: Any, on: str) -> None:
        self._annotator, self._on = annotator, on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._annotator, name)

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        found = self._annotator.annotate(texts)
        return [Unannotated("no") if text == self._on else one for text, one in zip(texts, found, strict=True)]


@pytest.mark.parametrize(("part", "column"), [("_vectors", 3), ("_graphs", 1)])
def test_a_part_that_fails_fails_the_pair(world: World, here: RunContext, part: str, column: int) -> None:
    metric = world.metric(here)
    if part == "_vectors":
        metric._vectors = Failing(metric._vectors, TEXTS[1])  # type: ignore[assignment]
    else:
        metric._graphs._annotator = Failing(metric._graphs._annotator, TEXTS[1])  # type: ignore[assignment]
    stats = metric.observe(as_pairs(TEXTS[:3], TEXTS[3:6]))
    expected = np.zeros((3, 5))
    expected[1, [0, column]] = FAILED
    assert stats.status.tolist() == expected.tolist()
    assert not stats.values[1, [0, 1, 2 * column, 2 * column + 1]].any()
    (table,) = metric.explain(as_pairs(TEXTS[1:2], TEXTS[4:5])[0])
    assert table.rows[-1][-1] == "failed"
    assert "failed" in {row[1] for row in table.rows}


def test_what_is_no_text_fails(world: World, here: RunContext) -> None:
    stats = world.metric(here).observe(as_pairs(["half \ud800", TEXTS[0]], TEXTS[:2]))
    assert stats.status[:, 0].tolist() == [FAILED, OK]


def test_the_page_shows_what_each_part_adds(world: World, here: RunContext) -> None:
    metric = world.metric(here)
    (table,) = metric.explain(PAIRS[0])
    assert [row[0] for row in table.rows][:4] == ["RadGraph F1", "BERTScore F", "SembScore", "BLEU-2"]
    parts = metric.parts(PAIRS[:1])[0]
    assert [row[1] for row in table.rows[:4]] == [f"{value:.3f}" for value in parts]
    total = float(table.rows[-1][-1])
    assert total == pytest.approx(metric.observe(PAIRS[:1]).values[0, 0], abs=0.001)
    assert sum(float(row[-1]) for row in table.rows[:-1]) == pytest.approx(total, abs=0.003)


def test_the_signature_tells_all_parts(world: World, here: RunContext, tmp_path: Path) -> None:
    signature = world.metric(here).signature()
    told = (
        here.annotator("chexbert-embedding").fingerprint(), here.annotator("radgraph").fingerprint(),
        "layer:5|idf:no|rescale:", "fast-bleu-2-smoothed",
    )  # fmt: skip
    assert all(part in signature for part in told)
    assert world.metric(here, bertscore={"model": str(world.roberta), "rescale": False}).signature() != signature


def test_what_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    metric = RadCliQ(RadCliQ.Options(), RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "c"))
    with pytest.raises(Unavailable) as err:
        metric.signature()
    for name in ("RadGraph F1: radgraph.tar.gz", "BERTScore F: distilroberta-base", "SembScore: "):
        assert name in err.value.reason
    assert err.value.remedy.startswith("on a connected machine run `bench assets pull --metrics radcliq-v1`")
    assert [asset.repository for asset in metric.assets()] == ["distilroberta-base"]


# ------------------------------------------------------------------ the annotator


def test_one_network_serves_labels_and_embeddings(world: World, here: RunContext) -> None:
    embedding = here.annotator("chexbert-embedding").annotator  # type: ignore[attr-defined]
    assert embedding._chexbert is here.annotator("chexbert").annotator  # type: ignore[attr-defined]
    assert here.annotator("chexbert").fingerprint() in here.annotator("chexbert-embedding").fingerprint()
    labels = here.annotator("chexbert").annotate(TEXTS[:2])
    here.annotator("chexbert-embedding").annotate(TEXTS[:2])
    assert here.annotator("chexbert").annotate(TEXTS[:2]) == labels  # kept apart


def test_embeddings_are_kept(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.context(tmp_path).annotator("chexbert-embedding").annotate(TEXTS[:3])
    (file,) = (tmp_path / "cache").rglob("annotations.sqlite")
    assert Kept(file).get(world.context(tmp_path).annotator("chexbert-embedding").fingerprint(), ["x"]) == {}
    monkeypatch.setattr(CheXbert, "hidden", lambda self, texts: pytest.fail("asked again"))
    assert world.context(tmp_path).annotator("chexbert-embedding").annotate(TEXTS[:3]) == first
    assert len(first[0]["embedding"]) < 6 * 96


def test_embeddings_need_a_chexbert(world: World, tmp_path: Path) -> None:
    context = world.context(tmp_path, other={"use": "chexbert-embedding", "annotator": "rules"})
    with pytest.raises(BenchError, match="'rules' is no CheXbert: set annotator"):
        context.annotator("other")
    with pytest.raises(BenchError, match="annotator 'rules' gives no embedding: use chexbert-embedding"):
        world.metric(context, embeddings="rules").observe(PAIRS[:1])
    for wrong in ({}, {"embedding": 3}, {"embedding": "%%%%"}, {"embedding": "AAA="}, []):
        with pytest.raises(BenchError, match="gives no embedding"):
            vector_of(wrong, "mine")


def test_an_embedding_fails_alone(world: World, here: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = CheXbertEmbedding(CheXbertEmbedding.Options(), here)
    found = ours.annotate(["effusion", "\ud800"])
    assert isinstance(found[1], Unannotated)
    assert found[0] == ours.annotate(["effusion"])[0]
    assert ours.annotate([]) == []
    monkeypatch.setattr(CheXbert, "hidden", lambda self, texts: [[float("nan")] * 4 for _ in texts])
    assert ours.annotate(["effusion"]) == [Unannotated("the network's answer is not finite")]


@pytest.mark.parametrize("options", [{"bertscore": {"layer": 4}}, {"radgraph": ""}, {"coefs": "x"}])
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RadCliQ.Options.model_validate(options)


# ------------------------------------------------------------------ as a user runs it


def test_a_file_is_scored(world: World, bench: Callable[..., Any]) -> None:
    lines = [{"id": pair.id, "candidate": pair.candidate, "reference": pair.reference} for pair in PAIRS[:6]]
    Path("reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("bench.yaml").write_text(
        f"annotators:\n  chexbert: {{checkpoint: {world.chexbert.file}, tokenizer: {world.chexbert.folder}}}\n"
        f"  radgraph: {{archive: {world.radgraph}}}\n"
        f"metrics:\n  radcliq-v1: {{bertscore: {{model: {world.roberta}}}}}\n  bertscore: {{model: {world.roberta}}}\n"
    )
    answer = bench("score", "reports.jsonl", "--config", "bench.yaml", "--json")
    assert answer.code == 0, answer.err
    scores = json.loads(answer.out)["scores"]
    assert scores["BERTScore"]["value"] == pytest.approx(scores["RadCliQ-BERTScore"]["value"], abs=1e-6)
    means = [scores[key]["value"] for key in ("RadCliQ-RadGraph", "RadCliQ-BERTScore", "SembScore", "BLEU-2")]
    assert scores["RadCliQ-v1"]["value"] == pytest.approx(float(read(None).score(np.array(means))), abs=1e-5)
