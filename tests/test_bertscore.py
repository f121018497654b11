"""BERTScore against the package bert-score on the same weights."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from bench.context import RunContext
from bench.contracts import FAILED, OK, HubFiles, Mark, Pair, SmallTable
from bench.errors import BenchError, Unavailable
from metrics.bertscore import BERTScore
from metrics.bertscore import scorer as scorer_module
from metrics.bertscore.network import Network
from metrics.bertscore.options import KNOWN, BERTScoreOptions
from metrics.bertscore.scorer import Scorer

sys.path.insert(0, str(Path(__file__).parent))
from roberta_model import make_roberta
from test_chexbert import synthetic_texts, write_vocabulary

TEXTS = synthetic_texts(40)
ODD = [
    ("", TEXTS[0]), (TEXTS[0], ""), ("", ""), (" \n ", TEXTS[1]), (TEXTS[2], TEXTS[2]),
    (f"  {TEXTS[3]}\n", TEXTS[4]), ("Café 心臓 naïve \u200b", TEXTS[5]), (" ".join(TEXTS), TEXTS[6]),
    ("two  blanks   here\n\nand lines", TEXTS[7]), ("\u00a0odd\u2003space", "a"),
]  # fmt: skip
PAIRS = [*zip(TEXTS[:20], TEXTS[20:], strict=True), *ODD]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_roberta(tmp_path_factory.mktemp("models") / "distilroberta-base", TEXTS)


def wordpiece_model(folder: Path, kind: str) -> Path:
    """Write a BERT or DistilBERT of four layers with a WordPiece vocabulary."""
    folder.mkdir(parents=True)
    write_vocabulary(folder, 400)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 512, "do_lower_case": True})
    )
    torch.manual_seed(1)
    model: Any
    if kind == "bert":
        config: Any = BertConfig(
            vocab_size=400, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64
        )
        model = BertForMaskedLM(config)
    else:
        model = DistilBertForMaskedLM(DistilBertConfig(vocab_size=400, dim=32, n_layers=4, n_heads=4, hidden_dim=64))
    model.save_pretrained(folder)
    return folder


@contextmanager
def peer() -> Iterator[Any]:
    """Give bert-score as it works on transformers 4. Shims: version 5 takes RoBERTa's leading blank when a tokeniser is
    loaded, not when it is called, and has no build_inputs_with_special_tokens."""
    import bert_score.scorer
    import bert_score.utils
    from transformers import PreTrainedTokenizerBase

    def tokenizer(model: str, use_fast: bool = False) -> Any:
        kind = json.loads((Path(model) / "config.json").read_text())["model_type"]
        return AutoTokenizer.from_pretrained(model, **({"add_prefix_space": True} if kind == "roberta" else {}))

    def special(self: Any, ids: list[int]) -> list[int]:
        return [self.cls_token_id, *ids, self.sep_token_id]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bert_score.scorer, "get_tokenizer", tokenizer)
        patch.setattr(PreTrainedTokenizerBase, "build_inputs_with_special_tokens", special, raising=False)
        yield bert_score.scorer


def theirs(folder: Path, layer: int, pairs: Sequence[tuple[str, str]], *, rescale: bool = False) -> np.ndarray:
    """Return bert-score's P, R, F, one pair a call: in a padded batch negative cosines become 0 there."""
    with peer() as package:
        extra = {}
        if rescale:
            tables = Path(package.__file__).parent / "rescale_baseline/en"
            extra = {"lang": "en", "rescale_with_baseline": True, "baseline_path": str(tables / f"{folder.name}.tsv")}
        scorer = package.BERTScorer(model_type=str(folder), num_layers=layer, device="cpu", **extra)
        return np.array([[float(x) for x in scorer.score([said], [true])] for said, true in pairs])


def ours(folder: Path, context: RunContext, **options: Any) -> Scorer:
    return Scorer(BERTScoreOptions(model=str(folder), **options), context, "metric bertscore")


def metric(folder: Path, context: RunContext, **options: Any) -> BERTScore:
    return BERTScore(BERTScore.Options(model=str(folder), **options), context)


def as_pairs(texts: Sequence[tuple[str, str]]) -> list[Pair]:
    return [Pair(str(i), str(i), said, true) for i, (said, true) in enumerate(texts)]


# ------------------------------------------------------------------ equal to bert-score


@pytest.mark.filterwarnings("ignore")
def test_equal_to_bert_score(roberta: Path, context: RunContext) -> None:
    scorer = ours(roberta, context)
    expected = theirs(roberta, 5, PAIRS)
    assert expected[:20].std() > 0.005
    np.testing.assert_allclose(scorer.raw(PAIRS), expected, rtol=0, atol=1e-6)
    rescaled = theirs(roberta, 5, PAIRS, rescale=True)
    np.testing.assert_allclose(scorer.scores(PAIRS), rescaled, rtol=0, atol=5e-6)
    assert rescaled[0, 2] != pytest.approx(expected[0, 2], abs=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("layer", [0, 3])
def test_equal_on_other_kinds_of_models(kind: str, layer: int, tmp_path: Path, context: RunContext) -> None:
    folder = wordpiece_model(tmp_path / kind, kind)
    found = ours(folder, context, layer=layer, rescale=False).raw(PAIRS)
    np.testing.assert_allclose(found, theirs(folder, layer, PAIRS), rtol=0, atol=1e-6)


def test_layers_and_baselines_are_bert_scores() -> None:
    import bert_score

    tables = Path(bert_score.__file__).parent / "rescale_baseline/en"
    for name, known in KNOWN.items():
        assert known.layer == bert_score.utils.model2layers[name]
        layer, *row = (tables / f"{name}.tsv").read_text().splitlines()[known.layer + 1].split(",")
        assert (int(layer), tuple(map(float, row))) == (known.layer, known.baseline)


def test_an_empty_side_scores_zero_before_rescaling(roberta: Path, context: RunContext) -> None:
    pairs = [("", "clear"), ("clear", " \n"), ("", "")]
    assert (ours(roberta, context).raw(pairs) == 0).all()
    p, r, f = KNOWN["distilroberta-base"].baseline
    np.testing.assert_allclose(ours(roberta, context).scores(pairs), [[-p / (1 - p), -r / (1 - r), -f / (1 - f)]] * 3)


# ------------------------------------------------------------------ tokens and batches


def test_the_first_word_is_read_as_any_other(roberta: Path, context: RunContext) -> None:
    network = ours(roberta, context).network
    first, later = network.ids(["effusion", "no effusion"])
    assert first[1:] == later[-len(first) + 1 :]


def test_long_texts_are_cut_before_the_last_token(roberta: Path, context: RunContext) -> None:
    (ids,) = ours(roberta, context).network.ids(["effusion " * 600])
    assert (len(ids), ids[0], ids[-1]) == (512, 0, 2)


def test_a_pair_scores_the_same_alone_and_in_any_batch(
    roberta: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ours(roberta, context).scores(PAIRS)
    alone = np.concatenate([ours_one.scores([pair]) for ours_one in [ours(roberta, context)] for pair in PAIRS])
    np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-6)
    for budget in (200, 100_000):
        np.testing.assert_allclose(
            ours(roberta, context, batch_tokens=budget).scores(PAIRS[::-1]), whole[::-1], rtol=0, atol=1e-6
        )
    monkeypatch.setattr(scorer_module, "HELD_TOKENS", 100)
    np.testing.assert_allclose(ours(roberta, context).scores(PAIRS), whole, rtol=0, atol=1e-6)


def test_equal_texts_are_encoded_once_and_memory_is_bounded(
    roberta: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[list[int]] = []
    forward = Network._forward
    monkeypatch.setattr(
        Network, "_forward", lambda self, batch: (sizes.append([len(ids) for ids in batch]), forward(self, batch))[1]
    )
    scorer = ours(roberta, context, batch_tokens=150)
    scorer.raw([(TEXTS[0], TEXTS[1])] * 5 + [(TEXTS[0], TEXTS[2])] * 5)
    assert sum(map(len, sizes)) == 3
    sizes.clear()
    scorer.raw(PAIRS)
    assert all(len(batch) * max(batch) <= 150 or len(batch) == 1 for batch in sizes)
    assert max(map(len, sizes)) > 1


def test_out_of_memory_halves_the_batch(roberta: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ours(roberta, context).raw(PAIRS)
    forward, limit = Network._forward, 2

    def scarce(self: Network, batch: Sequence[list[int]]) -> Any:
        if len(batch) > limit:
            raise torch.OutOfMemoryError
        return forward(self, batch)

    monkeypatch.setattr(Network, "_forward", scarce)
    np.testing.assert_allclose(ours(roberta, context).raw(PAIRS), expected, rtol=0, atol=1e-6)
    limit = 0
    with pytest.raises(BenchError, match="not even one text fits"):
        ours(roberta, context).raw(PAIRS[:1])


# ------------------------------------------------------------------ the metric


def test_statistics_add_up_to_means(roberta: Path, context: RunContext) -> None:
    found = metric(roberta, context)
    stats = found.observe(as_pairs(PAIRS))
    scores = ours(roberta, context).scores(PAIRS)
    assert [column.key for column in found.columns] == ["BERTScore", "BERTScore-P", "BERTScore-R"]
    np.testing.assert_allclose(found.finish(stats.values.sum(axis=0)), scores[:, [2, 0, 1]].mean(axis=0))
    assert np.isnan(found.finish(np.zeros((2, 4)))).all()
    assert (stats.status == OK).all()
    assert found.observe([]).values.shape == (0, 4)


def test_what_is_no_text_fails_alone(roberta: Path, context: RunContext) -> None:
    found = metric(roberta, context)
    stats = found.observe(as_pairs([PAIRS[0], ("half \ud800", TEXTS[0]), (TEXTS[0], "\udfff")]))
    assert stats.status.tolist() == [[OK] * 3, [FAILED] * 3, [FAILED] * 3]
    assert not stats.values[1:].any()
    (table,) = found.explain(Pair("1", "1", "\ud800", "clear"))
    assert table.rows == (("candidate", "not a text"),)


def test_the_page_marks_pieces_by_their_best_match(roberta: Path, context: RunContext) -> None:
    candidate, reference = "  No EFFUSION; heart is clear.", "effusion\nheart is clear."
    shown = metric(roberta, context).explain(Pair("1", "1", candidate, reference))
    marks = [one for one in shown if isinstance(one, Mark)]
    texts = {"candidate": candidate, "reference": reference}
    said = [(mark.side, texts[mark.side][mark.start : mark.end].strip(), mark.kind) for mark in marks]
    assert ("candidate", "clear", "match") in said
    assert {kind for _, _, kind in said} == {"match", "partial"}
    joined = "".join(text for side, text, _ in said if side == "candidate")
    assert joined == candidate.replace(" ", "")  # each character belongs to one piece
    summary, worst = (one for one in shown if isinstance(one, SmallTable))
    raw = ours(roberta, context).raw([(candidate, reference)])[0]
    assert [row[1] for row in summary.rows] == [f"{value:.4f}" for value in raw]
    assert [float(row[3]) for row in worst.rows if row[0] == "reference"] == sorted(
        float(row[3]) for row in worst.rows if row[0] == "reference"
    )
    assert metric(roberta, context).explain(Pair("1", "1", "", ""))


def test_the_signature_tells_what_moves_scores(roberta: Path, tmp_path: Path, context: RunContext) -> None:
    def signature(folder: Path = roberta, **options: Any) -> str:
        return metric(folder, context, **options).signature()

    other = make_roberta(tmp_path / "other" / "distilroberta-base", TEXTS, seed=1)
    words = shutil.copytree(roberta, tmp_path / "words" / "distilroberta-base")
    merges = (words / "merges.txt").read_text().splitlines()
    (words / "merges.txt").write_text("\n".join(merges[:-1]) + "\n")
    moved = shutil.copytree(roberta, tmp_path / "moved" / "distilroberta-base")
    variants = [
        signature(), signature(other), signature(words), signature(rescale=False), signature(dtype="bfloat16"),
        signature(layer=4, rescale=False), signature(baseline=(0.1, 0.2, 0.3)),
    ]  # fmt: skip
    assert len(set(variants)) == len(variants)
    assert signature() == signature(moved) == signature(batch_tokens=7) == signature(layer=5)
    assert "layer:5|idf:no|rescale:0.84732,0.84759504,0.8473319" in signature()


def test_half_precision_is_close(roberta: Path, context: RunContext) -> None:
    exact, rough = (ours(roberta, context, dtype=dtype).raw(PAIRS[:8]) for dtype in ("float32", "bfloat16"))
    assert 1e-7 < np.abs(exact - rough).max() < 0.02


# ------------------------------------------------------------------ what is not there, or is another thing


def test_without_weights_it_is_unavailable_with_a_remedy(
    roberta: Path, tmp_path: Path, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    default = BERTScore(BERTScore.Options(), context)
    with pytest.raises(Unavailable, match="distilroberta-base is not in") as err:
        default.signature()
    assert "set model to a folder" in err.value.remedy
    (asset,) = default.assets()
    assert isinstance(asset, HubFiles)
    assert (asset.repository, "config.json" in asset.files) == ("distilroberta-base", True)
    assert metric(roberta, context).assets() == []
    with pytest.raises(Unavailable, match="no folder"):
        metric(tmp_path / "distilroberta-base", context).signature()


def without(roberta: Path, folder: Path, change: Callable[[Path], object]) -> Path:
    copy = shutil.copytree(roberta, folder / "distilroberta-base")
    change(copy)
    return copy


def configured(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
        (lambda f: (f / "vocab.json").unlink(), "has no tokeniser"),
        (lambda f: (f / "model.safetensors").unlink(), r"lacks model\.safetensors"),
        (pickled, "only as a pickle"),
        (lambda f: (f / "model.safetensors").write_bytes(b"damaged"), "transformers cannot load it"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json"),
        (lambda f: configured(f, num_hidden_layers=8), "weights are missing or misshapen"),
        (lambda f: configured(f, num_hidden_layers=4), "layer 5: .* has 4 layers"),
        (lambda f: configured(f, vocab_size=100), r"its tokeniser has \d+ tokens, its model 100"),
        (lambda f: configured(f, intermediate_size=64), r"weights are missing or misshapen, e\.g\. .*intermediate"),
        (lambda f: configured(f, model_type="gpt2"), "not a model of|weights are missing|cannot load"),
    ],
)
def test_another_checkpoint_is_refused(
    roberta: Path, tmp_path: Path, context: RunContext, change: Callable[[Path], object], said: str
) -> None:
    found = metric(without(roberta, tmp_path, change), context)
    with pytest.raises(BenchError, match=said):
        found.observe(as_pairs(PAIRS[:1])) if found.signature() else None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "me/mine"}, "which layer of mine"),
        ({"model": "me/mine", "layer": 3}, "no baseline is known for layer 3 of mine"),
        ({"layer": 4}, "no baseline is known for layer 4"),
        ({"rescale": False, "baseline": [0.1, 0.1, 0.1]}, "no meaning"),
        ({"baseline": [0.1, 1.0, 0.1]}, "below 1"),
        ({"layer": -1}, "greater than or equal to 0"),
        ({"idf": True}, "Extra inputs"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BERTScore.Options(**options)


def test_a_folder_has_no_revision(roberta: Path, context: RunContext) -> None:
    with pytest.raises(BenchError, match="is a folder; leave the option out"):
        metric(roberta, context, revision="v1").signature()
