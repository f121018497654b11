"""CheXbert's labels against the package f1chexbert on the same weights, and F1 against scikit-learn."""

from __future__ import annotations

import json
import pickle
import random
import sqlite3
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import f1chexbert.f1chexbert as package
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report
from transformers import BertConfig, BertTokenizer

from bench.context import RunContext
from bench.contracts import FAILED, OK, Pair, Unannotated
from bench.errors import BenchError, Unavailable
from metrics.chexbert import CheXbert, CheXbertF1, CheXpertRulesF1
from metrics.chexbert import model as network_module
from metrics.chexbert.labels import FIVE, HEADS
from metrics.chexbert.model import Network, Shape, load_weights
from metrics.observations import LABELS

SMALL: dict[str, float] = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "initializer_range": 0.2,
}
SENTENCE = (
    "the a is in of no there small large left right lower upper lobe effusion opacity edema fracture line "
    "tube heart enlarged normal clear pneumothorax consolidation possible unchanged increased since prior "
    "mild moderate severe "
)
WORDS = SENTENCE.split()
ODD = (
    "",
    " \n\t ",
    "\u200b",
    "No\r\n\r\n  EFFUSION ,\u00a0or\u2003edema\x1c.",
    "Café naïve 心臓 enlarged [SEP] [PAD] x",
    "xyzzy" * 40,
    "##ing ]] a-b_c 3.5cm",
)


def synthetic_texts(n: int) -> list[str]:
    rng = random.Random(7)
    texts = []
    for _ in range(n):
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 60))]
        texts.append(" ".join(word if rng.random() < 0.8 else word.capitalize() + "." for word in words))
    return texts


def write_vocabulary(folder: Path, size: int) -> Path:
    """Write a WordPiece vocabulary of `size` tokens, BERT's special ones among them."""
    letters = [*string.ascii_lowercase, *string.digits]
    real = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *letters, *(f"##{c}" for c in letters)]
    known = dict.fromkeys([*real, *WORDS, "##ed", "##ing", "##s", "心"])
    file = folder / "vocab.txt"
    file.write_text("\n".join([*known, *(f"[unused{i}]" for i in range(size - len(known)))]) + "\n", encoding="utf-8")
    return file


@contextmanager
def configured_offline(config: BertConfig) -> Iterator[pytest.MonkeyPatch]:
    """Shim: the package asks the hub for bert-base-uncased's configuration; it is given this one."""

    class Given:
        @staticmethod
        def from_pretrained(name: str) -> BertConfig:
            return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "AutoConfig", Given)
        yield patch


def their_model(config: BertConfig) -> Any:
    """Return the package's network with random weights."""
    torch.manual_seed(0)
    with configured_offline(config):
        return package.bert_labeler(inference=True).eval().requires_grad_(False)


def spread_labels(model: Any, ids: Sequence[list[int]]) -> None:
    """Aim random heads across the texts' mean hidden state, so that no class is everywhere.

    Rows have the norm 1, the order of a trained head's: float32 sums of a network of the real size are good to 1e-5
    then, and neither side's logits are nearer to the exact ones.
    """
    mean = torch.stack([model.bert(torch.tensor([text]))[0][0, 0] for text in ids]).mean(0)
    for head in model.linear_heads:
        weight = torch.randn(head.weight.shape)
        weight -= (weight @ mean / (mean @ mean))[:, None] * mean
        head.weight.copy_(weight / weight.norm(dim=1, keepdim=True))
        head.bias.zero_()


class Checkpoint:
    """A checkpoint as published, on disk, with the package's own objects over the same weights."""

    def __init__(self, folder: Path, texts: Sequence[str], **shape: float) -> None:
        self.folder, self.texts = folder, [*texts, *ODD, " ".join(texts)]
        config = BertConfig(**{"vocab_size": 400, **shape})
        vocabulary = write_vocabulary(folder, config.vocab_size)
        (folder / "config.json").write_text(json.dumps(config.to_dict(), default=str))
        self.tokenizer = BertTokenizer(vocab=str(vocabulary))
        # Shim: encode_plus left transformers with version 5; given tokens it looked them up and framed them.
        self.tokenizer.encode_plus = lambda tokens: {
            "input_ids": [
                self.tokenizer.cls_token_id,
                *self.tokenizer.convert_tokens_to_ids(tokens),
                self.tokenizer.sep_token_id,
            ]
        }
        self.model = their_model(config)
        self.ids = [self.their_ids(text) for text in self.texts]
        spread_labels(self.model, self.ids)
        self.file = folder / "chexbert.pth"
        weights = {f"module.{name}": weight for name, weight in self.model.state_dict().items()}
        torch.save({"epoch": 7, "model_state_dict": weights}, self.file)

    def their_ids(self, text: str) -> list[int]:
        return package.tokenize(package.pd.Series([text]), self.tokenizer)[0]

    def their_logits(self, text: str) -> list[float]:
        ids = torch.tensor([self.their_ids(text)])
        heads = self.model(ids, package.generate_attention_masks(ids, [ids.shape[1]], "cpu"))
        return [value for head in heads for value in head[0].tolist()]

    def theirs(self) -> Any:
        """Return the package's scorer. Shims: tokenizer and configuration of this folder, its cache this folder, and
        scikit-learn's _check_targets cut to the three values it returned before 1.8."""
        with configured_offline(self.model.bert.config) as patch:
            patch.setattr(package, "CACHE_DIR", str(self.folder))
            patch.setattr(package.BertTokenizer, "from_pretrained", lambda name: self.tokenizer)
            return package.F1CheXbert(device="cpu")

    def ours(self, context: RunContext, **options: Any) -> CheXbert:
        given: dict[str, Any] = {"checkpoint": self.file, "tokenizer": str(self.folder), **options}
        return CheXbert(CheXbert.Options(**given), context)

    def shape(self) -> Shape:
        return network_module.read_shape(self.folder / "config.json")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(tmp_path_factory.mktemp("small"), synthetic_texts(60), **SMALL)


def heads(logits: Sequence[float]) -> list[int]:
    return [int(np.argmax(logits[4 * i : 4 * i + 4])) for i in range(len(LABELS))]


def assert_labels_vary(all_logits: Sequence[Sequence[float]]) -> None:
    """At least 10 of 14 heads give two or more classes on 10 % of the texts each."""
    said = np.array([heads(logits) for logits in all_logits])
    varied = [sum((said[:, head] == c).mean() >= 0.1 for c in range(4)) >= 2 for head in range(len(LABELS))]
    assert sum(varied) >= 10, said


def assert_equal_to_the_package(checkpoint: Checkpoint, context: RunContext) -> None:
    annotator, scorer = checkpoint.ours(context), checkpoint.theirs()
    expected = [checkpoint.their_logits(text) for text in checkpoint.texts]
    assert_labels_vary(expected)
    np.testing.assert_allclose(annotator.logits(checkpoint.texts), expected, rtol=0, atol=1e-5)
    annotations = annotator.annotate(checkpoint.texts)
    assert [list(a["labels"]) for a in annotations] == [scorer.target_names] * len(annotations)
    for text, annotation in zip(checkpoint.texts, annotations, strict=True):
        ours = ["" if label is None else label for label in annotation["labels"].values()]
        assert ours == scorer.get_label(text, mode="classification"), text


def assert_scores_equal_the_package(checkpoint: Checkpoint, context: RunContext, n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "_check_targets", lambda a, b: ("multilabel-indicator", np.array(a), np.array(b)))
        patch.setattr(package, "count_nonzero", np.count_nonzero)
        candidates, references = checkpoint.texts[:n], checkpoint.texts[n : 2 * n]
        _, _, of_14, of_5 = checkpoint.theirs()(hyps=candidates, refs=references)
    metric = metric_over(checkpoint.ours(context))
    found = metric.finish(metric.observe(pairs(candidates, references)).values.sum(axis=0))
    means = [of_5["macro avg"], of_14["macro avg"], of_5["micro avg"], of_14["micro avg"]]
    assert found == pytest.approx([mean["f1-score"] for mean in means], abs=1e-12)


class Single:
    """A context with one annotator, uncached."""

    def __init__(self, annotator: Any) -> None:
        self._annotator = annotator

    def annotator(self, spec: str) -> Any:
        return self._annotator


def metric_over(annotator: Any, **options: Any) -> CheXbertF1:
    return CheXbertF1(CheXbertF1.Options(**options), Single(annotator))  # type: ignore[arg-type]


def pairs(candidates: Sequence[str], references: Sequence[str]) -> list[Pair]:
    both = enumerate(zip(candidates, references, strict=True))
    return [Pair(str(i), str(i), candidate, reference) for i, (candidate, reference) in both]


# ------------------------------------------------------------------ the annotator


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_equal_to_the_package_on_a_small_model(small: Checkpoint, context: RunContext) -> None:
    assert_equal_to_the_package(small, context)
    assert_scores_equal_the_package(small, context, 30)


@pytest.mark.slow
def test_equal_to_the_package_at_the_real_size(tmp_path: Path, context: RunContext) -> None:
    real = Checkpoint(tmp_path, synthetic_texts(8), vocab_size=30522)
    try:
        assert real.shape() == Shape()
        assert_equal_to_the_package(real, context)
    finally:
        real.file.unlink()


PIECES = [*" \t\n\r\x0b\x1c\x85\u00a0\u2003\u200bAbé.,-[]#_3心", "effusion ", "[SEP]", "[PAD]"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_token_ids_are_the_package_s(small: Checkpoint, text: str) -> None:
    context = RunContext(workdir=small.folder, cache_root=small.folder / "cache")
    assert small.ours(context)._tokens.ids([text]) == [small.their_ids(text)]


def test_long_texts_are_cut_before_the_last_token(small: Checkpoint, context: RunContext) -> None:
    (ids,) = small.ours(context)._tokens.ids(["effusion " * 600])
    assert (len(ids), ids[0], ids[-1]) == (512, small.tokenizer.cls_token_id, small.tokenizer.sep_token_id)


def test_a_text_is_labelled_the_same_alone_and_in_any_batch(small: Checkpoint, context: RunContext) -> None:
    whole = np.array(small.ours(context, batch_tokens=100_000).logits(small.texts))  # one batch, much of it padding
    for tokens in (1, 150, 1024):
        found = small.ours(context, batch_tokens=tokens).logits(small.texts)
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5)
    order = random.Random(0).sample(range(len(small.texts)), len(small.texts))
    shuffled = small.ours(context).logits([small.texts[i] for i in order])
    np.testing.assert_allclose(shuffled, whole[order], rtol=0, atol=1e-5)


def test_without_onednn_the_logits_are_the_same(
    small: Checkpoint, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small.ours(context).logits(small.texts)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    np.testing.assert_allclose(small.ours(context).logits(small.texts), expected, rtol=0, atol=1e-5)


def test_bfloat16_is_close(small: Checkpoint, context: RunContext) -> None:
    exact, rough = (small.ours(context, dtype=dtype).logits(small.texts) for dtype in ("float32", "bfloat16"))
    assert 1e-5 < np.abs(np.subtract(exact, rough)).mean() < 0.1


def test_out_of_memory_halves_the_batch(
    small: Checkpoint, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small.ours(context).logits(small.texts)
    sizes: list[int] = []
    forward = Network.logits

    def scarce(self: Network, batch: Sequence[Sequence[int]]) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > limit:
            raise torch.OutOfMemoryError
        return forward(self, batch)

    monkeypatch.setattr(Network, "logits", scarce)
    limit = 3
    np.testing.assert_allclose(small.ours(context).logits(small.texts), expected, rtol=0, atol=1e-5)
    assert max(sizes) > 3
    limit = 0
    with pytest.raises(BenchError, match="not even one text fits"):
        small.ours(context).logits(small.texts)


def test_one_text_that_fails_leaves_the_others(small: Checkpoint, context: RunContext) -> None:
    whole = small.ours(context).annotate(["effusion", "no edema"])
    found = small.ours(context).annotate(["effusion", "broken \ud800 text", "no edema"])
    assert [found[0], found[2]] == whole
    assert isinstance(found[1], Unannotated)
    assert "surrogates" in found[1].why
    assert small.ours(context).annotate([]) == []


def rewritten(small: Checkpoint, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    weights = torch.load(small.file, weights_only=True)["model_state_dict"]
    change(weights)
    torch.save({"model_state_dict": weights}, folder / "other.pth")
    return folder / "other.pth"


HEAD = "module.linear_heads.3.bias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop(HEAD), r"missing: linear_heads\.3\.bias"),
        (lambda w: w.update({"module.extra": torch.ones(2)}), "unexpected: extra"),
        (lambda w: w.update({HEAD: torch.ones(7)}), r"another shape: linear_heads\.3\.bias \[7\], not \[4\]"),
        (lambda w: w.update({HEAD: 3}), r"another shape: linear_heads\.3\.bias \[\]"),
        (lambda w: w.update({HEAD: torch.full((4,), torch.nan)}), r"not finite: linear_heads\.3\.bias"),
        (lambda w: w.clear(), r"missing: bert\.embeddings.* and \d+ more"),
    ],
)
def test_another_checkpoint_is_refused(
    small: Checkpoint, context: RunContext, tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    annotator = small.ours(context, checkpoint=rewritten(small, tmp_path, change))
    with pytest.raises(BenchError, match=said):
        annotator.annotate(["effusion"])


def test_what_does_not_matter_is_tolerated(small: Checkpoint, context: RunContext, tmp_path: Path) -> None:
    def change(weights: dict[str, Any]) -> None:
        weights["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
        for name in network_module.POOLER:
            del weights[f"module.{name}"]

    annotator = small.ours(context, checkpoint=rewritten(small, tmp_path, change))
    assert annotator.annotate(["effusion"]) == small.ours(context).annotate(["effusion"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_not_opened(small: Checkpoint, context: RunContext, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model_state_dict": Evil()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "c.pth").write_bytes(b"<html>")
    (tmp_path / "d.pth").write_bytes(small.file.read_bytes()[:5000])
    for name in "abcd":
        with pytest.raises(BenchError, match="not a checkpoint of tensors alone"):
            load_weights(tmp_path / f"{name}.pth", small.shape())
    torch.save([1], tmp_path / "e.pth")
    with pytest.raises(BenchError, match="holds a list"):
        load_weights(tmp_path / "e.pth", small.shape())
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there_is_unavailable_with_a_remedy(
    small: Checkpoint, context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(Unavailable, match=r"no file .*nowhere\.pth"):
        small.ours(context, checkpoint=tmp_path / "nowhere.pth").fingerprint()
    with pytest.raises(Unavailable, match=r"chexbert\.pth of StanfordAIMI/RRG_scorers at revision v9") as err:
        CheXbert(CheXbert.Options(tokenizer=str(small.folder), revision="v9"), context).fingerprint()
    assert "set checkpoint to the path" in err.value.remedy
    with pytest.raises(Unavailable, match=r"vocab\.txt of bert-base-uncased") as err:
        CheXbert(CheXbert.Options(checkpoint=small.file), context).fingerprint()
    assert err.value.remedy.endswith("set tokenizer to the folder that holds vocab.txt")
    for tokenizer in (str(tmp_path), "./nowhere"):
        with pytest.raises(Unavailable, match=r"no folder|has no vocab"):
            small.ours(context, tokenizer=tokenizer).fingerprint()
    with pytest.raises(ValueError, match="is a file; leave the option out"):
        CheXbert.Options(checkpoint=small.file, revision="v9")


def test_a_foreign_vocabulary_or_configuration_is_refused(
    small: Checkpoint, context: RunContext, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text((small.folder / "config.json").read_text())
    write_vocabulary(tmp_path, 401)
    with pytest.raises(BenchError, match="has 401 tokens, the checkpoint 400"):
        small.ours(context, tokenizer=str(tmp_path)).annotate(["effusion"])
    vocabulary = write_vocabulary(tmp_path, 400).read_text()
    (tmp_path / "vocab.txt").write_text(vocabulary.replace("[PAD]", "[pad]"))
    with pytest.raises(BenchError, match=r"it has no \[PAD\]"):
        small.ours(context, tokenizer=str(tmp_path)).annotate(["effusion"])
    for config, said in (('{"model_type": "roberta"}', "a roberta with gelu"), ("[]", "not the configuration")):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(BenchError, match=said):
            small.ours(context, tokenizer=str(tmp_path)).fingerprint()


def test_the_fingerprint_tells_what_moves_labels(small: Checkpoint, context: RunContext, tmp_path: Path) -> None:
    def fingerprint(**options: Any) -> str:
        return small.ours(context, **options).fingerprint()

    other = rewritten(small, tmp_path, lambda weights: weights[HEAD].add_(1))
    (tmp_path / "config.json").write_text((small.folder / "config.json").read_text())
    vocabulary = (small.folder / "vocab.txt").read_text().replace("effusion", "infusion")
    (tmp_path / "vocab.txt").write_text(vocabulary)
    variants = [{}, {"checkpoint": other}, {"tokenizer": str(tmp_path)}, {"dtype": "bfloat16"}]
    assert len({fingerprint(**options) for options in variants}) == len(variants)
    assert fingerprint(batch_tokens=7) == fingerprint(dtype="float32") == fingerprint()


# ------------------------------------------------------------------ through the cache


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that went through the network."""
    sizes: list[int] = []
    forward = Network.logits

    def counted(self: Network, batch: Sequence[Sequence[int]]) -> torch.Tensor:
        sizes.append(len(batch))
        return forward(self, batch)

    monkeypatch.setattr(Network, "logits", counted)
    return sizes


def configured(small: Checkpoint, folder: Path) -> RunContext:
    entry = {"checkpoint": str(small.file), "tokenizer": str(small.folder)}
    return RunContext(workdir=folder / "w", cache_root=folder / "cache", parts={"annotators": {"chexbert": entry}})


def test_what_was_labelled_is_not_labelled_again(small: Checkpoint, tmp_path: Path, passes: list[int]) -> None:
    first = configured(small, tmp_path).annotator("chexbert").annotate(small.texts)
    assert sum(passes) == len(set(small.texts))
    passes.clear()
    assert configured(small, tmp_path).annotator("chexbert").annotate(small.texts) == first
    assert passes == []
    configured(small, tmp_path).annotator("chexbert").annotate([*small.texts, "a new one"])
    assert passes == [1]


def test_a_crash_loses_one_chunk_at_most(
    small: Checkpoint, tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = synthetic_texts(100)
    monkeypatch.setattr("metrics.chexbert.annotator.CPU_CHUNK", 16)
    annotate, calls = CheXbert.annotate, []

    def dies(self: CheXbert, chunk: Sequence[str]) -> list[Any]:
        calls.append(len(chunk))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return annotate(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(CheXbert, "annotate", dies)
        with pytest.raises(KeyboardInterrupt):
            configured(small, tmp_path).annotator("chexbert").annotate(texts)
    kept = sqlite3.connect(tmp_path / "cache/annotations/v1/annotations.sqlite").execute("SELECT count(*) FROM kept")
    assert kept.fetchone() == (48,)
    passes.clear()
    assert len(configured(small, tmp_path).annotator("chexbert").annotate(texts)) == 100
    assert sum(passes) == len(set(texts)) - 48


# ------------------------------------------------------------------ F1


class Told:
    """An annotator that reads its labels out of the text: 14 letters p(resent) a(bsent) u(ncertain) -(blank)."""

    def fingerprint(self) -> str:
        return "told-1"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        code = {"p": 1, "a": 0, "u": -1, "-": None}
        return [
            Unannotated("illegible")
            if text == "?"
            else {"labels": {name: code[letter] for name, letter in zip(LABELS, text, strict=True)}}
            for text in texts
        ]


def drawn(rng: random.Random, n: int, empty: Sequence[int]) -> list[str]:
    """Return n texts for `Told`; the labels in `empty` are never present nor uncertain."""
    return ["".join(rng.choice("a-" if i in empty else "pau-") for i in range(14)) for _ in range(n)]


def binary(texts: Sequence[str], positive: str) -> np.ndarray:
    return np.array([[int(letter in positive) for letter in text] for text in texts])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("uncertain", ["positive", "negative"])
@pytest.mark.parametrize("empty", [(), (4, 10), (1, 4, 5, 7, 9), tuple(range(14))])
def test_f1_as_scikit_learn_reports_it(uncertain: str, empty: tuple[int, ...]) -> None:
    rng = random.Random(len(empty))
    candidates, references = drawn(rng, 50, empty), drawn(rng, 50, empty)
    metric = metric_over(Told(), uncertain=uncertain)
    totals = metric.observe(pairs(candidates, references)).values.sum(axis=0)
    said, true = (binary(side, "pu" if uncertain == "positive" else "p") for side in (candidates, references))
    five = [LABELS.index(name) for name in FIVE]
    of_14 = classification_report(true, said, target_names=LABELS, output_dict=True)
    of_5 = classification_report(true[:, five], said[:, five], target_names=FIVE, output_dict=True)
    expected = [report[f"{mean} avg"]["f1-score"] for mean in ("macro", "micro") for report in (of_5, of_14)]
    assert metric.finish(totals) == pytest.approx(expected, abs=1e-12)

    (table,) = metric.tables(totals)
    for name, _, _, _, precision, recall, f1, support in table.rows:
        report = of_14[name]
        assert float(f1) == pytest.approx(100 * report["f1-score"], abs=0.0501)
        assert int(support) == report["support"]
        for shown, value in ((precision, report["precision"]), (recall, report["recall"])):
            assert (
                shown == "–"
                if name in [LABELS[i] for i in empty]
                else float(shown) == pytest.approx(100 * value, abs=0.0501)
            )


def test_five_labels_by_hand() -> None:
    #            E C L L E C P A P P P F S N   of the five: Cardiomegaly, Edema, Consolidation, Atelectasis, Effusion
    candidate = "-p--u--a-p---p"
    reference = "pp--a--p-u---p"
    metric = metric_over(Told())
    found = metric.finish(metric.observe(pairs([candidate], [reference])).values.sum(axis=0))
    # hits: Cardiomegaly, Effusion, No Finding; extra: Edema; missed: Enlarged Cardiomediastinum, Atelectasis
    assert found == pytest.approx([2 / 5, 3 / 14, 4 / 6, 6 / 9])
    negative = metric_over(Told(), uncertain="negative")
    found = negative.finish(negative.observe(pairs([candidate], [reference])).values.sum(axis=0))
    assert found == pytest.approx([1 / 5, 2 / 14, 2 / 4, 4 / 7])


def test_a_text_without_labels_fails_its_pair_alone() -> None:
    metric = metric_over(Told())
    stats = metric.observe(pairs(["p" * 14, "?", "p" * 14], ["p" * 14, "p" * 14, "?"]))
    assert stats.status.tolist() == [[OK] * 4, [FAILED] * 4, [FAILED] * 4]
    assert (stats.values[0].sum(), stats.values[1:].any()) == (15, False)
    assert np.isnan(metric.finish(stats.values[1:].sum(axis=0))).all()  # nothing measured is no zero


def test_finish_is_the_same_for_many_totals_at_once() -> None:
    rng = random.Random(1)
    metric = metric_over(Told())
    totals = metric.observe(pairs(drawn(rng, 12, ()), drawn(rng, 12, ()))).values.reshape(3, 4, -1)
    assert metric.finish(totals).shape == (3, 4, 4)
    np.testing.assert_array_equal(metric.finish(totals)[2, 1], metric.finish(totals[2, 1]))


def test_the_page_shows_both_sides() -> None:
    candidate, reference = "p-u" + "-" * 11, "pau" + "-" * 10 + "p"
    metric = metric_over(Told(), uncertain="negative")
    (table,) = metric.explain(Pair("1", "1", candidate, reference))
    assert table.headings == ("label", "candidate", "reference", "counts as")
    assert table.rows[:3] == (
        ("Enlarged Cardiomediastinum", "present", "present", "hit"),
        ("Cardiomegaly", "–", "absent", ""),
        ("Lung Opacity", "uncertain", "uncertain", ""),
    )
    assert table.rows[-1] == ("No Finding", "–", "present", "missed")
    (table,) = metric.explain(Pair("1", "1", "?", reference))
    assert table.rows == (("candidate", "illegible"),)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"phrases": []}, "annotator 'chexbert' gives no labels"),
        ({"labels": {"Edema": 1}}, "says nothing about 'Enlarged Cardiomediastinum'"),
        ({"labels": dict.fromkeys(LABELS, 2)}, "says 2 about 'Enlarged Cardiomediastinum'"),
    ],
)
def test_an_annotator_without_labels_is_named(annotation: Any, said: str) -> None:
    class Other(Told):
        def annotate(self, texts: Sequence[str]) -> list[Any]:
            return [annotation for _ in texts]

    with pytest.raises(BenchError, match=said):
        metric_over(Other()).observe(pairs(["x"], ["y"]))


def test_columns_and_signatures() -> None:
    assert [column.key for column in CheXbertF1.columns] == ["Ma-5", "Ma-14", "Mi-5", "Mi-14"]
    assert metric_over(Told()).signature() == ("chexbert-f1|annotator:told-1|uncertain:positive|zero-division:0|v:1")
    rules = CheXpertRulesF1(CheXpertRulesF1.Options(), Single(Told()))  # type: ignore[arg-type]
    assert rules.options.annotator == "rules"
    assert rules.signature().startswith("chexpert-rules-f1|")
    assert [(c.key, c.heading) for c in rules.columns][:2] == [("Rules-Ma-5", "R-Ma-5"), ("Rules-Ma-14", "R-Ma-14")]
    assert sum(HEADS) == 54
