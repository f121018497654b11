"""RadGraph's annotators against the package `radgraph` on the same weights, and the metrics over graphs."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.context import RunContext
from bench.contracts import FAILED, OK, Mark, Pair, SmallTable, Unannotated
from bench.errors import BenchError, Unavailable
from metrics.radgraph import RGER, ModernRadGraphXL, RadGraph, RadGraphF1, RadGraphXL, files, network
from metrics.radgraph.annotators import RadGraphOptions
from metrics.radgraph.heads import kept_spans, pair_table, span_table
from metrics.radgraph.scores import RadGraphF1Options, RGEROptions

sys.path.insert(0, str(Path(__file__).parent))
from radgraph_model import make_model, peer, their_graphs

ANNOTATORS = {"radgraph": RadGraph, "radgraph-xl": RadGraphXL, "modern-radgraph-xl": ModernRadGraphXL}
KINDS = {"radgraph": ("bert", 512), "radgraph-xl": ("bert", 24), "modern-radgraph-xl": ("modernbert", 512)}
"""Encoder and window of each model here; with 24 pieces most texts of radgraph-xl take several windows."""
LEVELS = ("simple", "partial", "complete")


def reports(n: int) -> list[str]:
    """Return texts of one to four sentences, with what the two preprocessings treat each in its own way."""
    rng = random.Random(1)
    signs = ["opacity", "atelectasis", "pleural effusion", "consolidation", "cardiomegaly", "pneumothorax", "nodule"]
    places = ["left lower lobe", "right apex", "lingula", "bases", "left/right hilum", "costophrenic angle"]
    forms = [
        "There is {size} {sign} in the {place}.",
        "No {sign}, no {other}.",
        "{size} {sign} (of the {place}) is unchanged: {cm} cm.",
        "Heart size is normal.\nThe {place} is clear;",
        'About {cm}% of the {place} shows "{sign}" and/or {other}.',
        "Interval increase of {sign}\\n in the patient's {place}?",
    ]

    def sentence() -> str:
        sign, other = rng.sample(signs, 2)
        size, cm = rng.choice(["mild", "a small", "Dense", "minimal"]), f"{rng.uniform(0.3, 9):.1f}"
        return rng.choice(forms).format(sign=sign, other=other, place=rng.choice(places), size=size, cm=cm)

    return [" ".join(sentence() for _ in range(1 + k % 4)) for k in range(n)]


TEXTS = reports(32)


@dataclass(frozen=True)
class Made:
    """A model folder, what the package makes of `TEXTS` with it, and the package's model."""

    root: Path
    name: str
    graphs: list[dict[str, Any]]
    theirs: Any

    @property
    def folder(self) -> Path:
        return self.root / self.name


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose more to threads that wait for each other than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Make a model on first use."""
    known: dict[str, Made] = {}

    def get(name: str) -> Made:
        if name not in known:
            root = tmp_path_factory.mktemp(name)
            kind, max_length = KINDS[name]
            theirs = make_model(root, name, TEXTS, kind=kind, max_length=max_length)
            known[name] = Made(root, name, their_graphs(theirs, TEXTS), theirs)
        return known[name]

    return get


@pytest.fixture
def made(models: Callable[[str], Made]) -> Made:
    return models("radgraph")


def annotator(made: Made, context: RunContext, **options: Any) -> Any:
    given = {"archive": str(made.folder), **options}
    return ANNOTATORS[made.name](RadGraphOptions(**given), context)


def n_relations(graph: Mapping[str, Any]) -> int:
    return sum(len(entity["relations"]) for entity in graph["entities"].values())


# ------------------------------------------------------------------ graphs


@pytest.mark.parametrize("name", ANNOTATORS)
def test_graphs_are_the_packages_at_every_batch_size(
    models: Callable[[str], Made], context: RunContext, name: str
) -> None:
    made = models(name)
    assert np.mean([len(graph["entities"]) > 0 for graph in made.graphs]) >= 0.9
    assert np.mean([n_relations(graph) > 0 for graph in made.graphs]) >= 0.9
    assert len({n_relations(graph) for graph in made.graphs}) > 10
    labels = {entity["label"] for graph in made.graphs for entity in graph["entities"].values()}
    assert len(labels) == 3
    ours = annotator(made, context, tokens_per_batch=100_000)
    for size in (1, 8, 32):
        found = [graph for start in range(0, len(TEXTS), size) for graph in ours.annotate(TEXTS[start : start + size])]
        assert found == made.graphs, size
    assert annotator(made, context, tokens_per_batch=150).annotate(TEXTS[::-1]) == made.graphs[::-1]


@pytest.mark.parametrize("name", ANNOTATORS)
def test_an_empty_text_is_read_as_the_package_reads_it(
    models: Callable[[str], Made], context: RunContext, name: str
) -> None:
    made = models(name)
    (empty,) = their_graphs(made.theirs, [""])
    assert empty["text"] == "None"
    assert annotator(made, context).annotate(["", TEXTS[0], " \n"]) == [empty, made.graphs[0], empty]


def test_spans_that_are_not_a_reports_own_would_change_graphs(
    made: Made, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard of the batches: with the padded number of spans, as in the package's own batches, graphs differ."""
    longest = max(len(graph["text"].split()) for graph in made.graphs)
    monkeypatch.setattr(network, "kept_spans", lambda n_words, per_word: kept_spans(longest, per_word))
    found = annotator(made, context, tokens_per_batch=100_000).annotate(TEXTS)
    different = sum(ours != theirs for ours, theirs in zip(found, made.graphs, strict=True))
    assert different >= 3


def test_the_packages_own_batches_have_the_defect_that_ours_avoid(made: Made) -> None:
    from radgraph.utils import get_entity, preprocess_reports

    sentences = [preprocess_reports([text], "radgraph")[0]["sentences"][0] for text in TEXTS]
    with peer(), torch.inference_mode():
        found = _their_batch(made.theirs, sentences)
    graphs = [
        {"text": " ".join(words), "entities": get_entity(ner, relations, words)}
        for words, ner, relations in zip(sentences, *found, strict=True)
    ]
    assert sum(batched != alone for batched, alone in zip(graphs, made.graphs, strict=True)) >= 3


def _their_batch(theirs: Any, sentences: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    """Return what the package predicts for reports that are the sentences of one document."""
    from radgraph.allennlp.data import Batch

    document = {"doc_key": "0", "sentences": [list(words) for words in sentences], "dataset": "radgraph"}
    batch = Batch([theirs.reader.text_to_instance(document)])
    batch.index_instances(theirs.model.vocab)
    output = theirs.model(**batch.as_tensor_dict())
    sentences_read = theirs.model.make_output_human_readable(output).sentences
    ner = [[[*n.span.span_sent, n.label] for n in sentence.predicted_ner] for sentence in sentences_read]
    relations = [
        [[*r.pair[0].span_sent, *r.pair[1].span_sent, r.label] for r in sentence.predicted_relations]
        for sentence in sentences_read
    ]
    return ner, relations


def test_half_precision_moves_only_the_transformer(made: Made, context: RunContext) -> None:
    half = annotator(made, context, dtype="bfloat16")
    found = half.annotate(TEXTS)
    assert [graph["text"] for graph in found] == [graph["text"] for graph in made.graphs]
    assert sum(n_relations(graph) for graph in found) == pytest.approx(sum(map(n_relations, made.graphs)), rel=0.2)
    assert half.fingerprint() != annotator(made, context).fingerprint()


def test_tables_by_hand() -> None:
    assert span_table(3, 2).T.tolist() == [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]]
    assert pair_table(2).T.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert [kept_spans(n, 0.5) for n in (1, 2, 3, 40)] == [1, 1, 2, 20]


# ------------------------------------------------------------------ failures, silence, cache


def test_a_text_that_fails_alone_fails_alone(made: Made, context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = annotator(made, context, tokens_per_batch=100_000)
    whole = network.Network._words

    def breaks(self: Any, batch: Sequence[network.Pieces]) -> Any:
        if any("".join(report.words).startswith("Bad") for report in batch):
            raise RuntimeError("no room for this one")
        return whole(self, batch)

    monkeypatch.setattr(network.Network, "_words", breaks)
    found = ours.annotate([*TEXTS[:5], "Bad luck.", *TEXTS[5:9]])
    assert found.pop(5) == Unannotated("RuntimeError: no room for this one")
    assert found == made.graphs[:9]


def test_words_without_any_piece_are_read_as_the_package_reads_them(made: Made, context: RunContext) -> None:
    texts = ["\u200d", f"{TEXTS[0]} \u200d clear"]
    assert annotator(made, context).annotate(texts) == their_graphs(made.theirs, texts)
    assert annotator(made, context).annotate(texts[:1]) == their_graphs(made.theirs, texts[:1])


def test_nothing_is_said(made: Made, tmp_path: Path) -> None:
    script = (
        "import sys, warnings, logging\n"
        "from pathlib import Path\n"
        "from bench.context import RunContext\n"
        "from metrics.radgraph import RadGraph\n"
        "from metrics.radgraph.annotators import RadGraphOptions\n"
        "import torch\n"
        "before = list(warnings.filters), torch.get_rng_state().tolist()\n"
        "context = RunContext(workdir=Path('w'), cache_root=Path('c'))\n"
        "found = RadGraph(RadGraphOptions(archive=sys.argv[1]), context).annotate(['No effusion.', '', 'Clear.'])\n"
        "assert all(isinstance(graph, dict) for graph in found)\n"
        "assert before == (list(warnings.filters), torch.get_rng_state().tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(made.folder)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_annotations_are_kept_and_failures_are_not(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = network.Network.pieces

    def counting(self: Any, text: str) -> Any:
        asked.append(text)
        if text == "Bad.":
            raise ValueError("bad")
        return read(self, text)

    monkeypatch.setattr(network.Network, "pieces", counting)
    parts = {"annotators": {"mine": {"use": "radgraph", "archive": str(made.folder)}}}
    for _ in range(2):
        context = RunContext(workdir=tmp_path / "w", cache_root=tmp_path / "c", parts=parts)
        found = context.annotator("mine").annotate([*TEXTS[:3], "Bad.", TEXTS[0]])
        assert [found[k] for k in (0, 1, 2, 4)] == [made.graphs[k] for k in (0, 1, 2, 0)]
        assert found[3] == Unannotated("ValueError: bad")
    assert sorted(asked) == sorted([*TEXTS[:3], "Bad.", "Bad."])


# ------------------------------------------------------------------ files


def packed(made: Made, file: Path) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for entry in sorted(made.folder.iterdir()):
            tar.add(entry, entry.name)
    return file


def test_an_archive_is_unpacked_once_and_mended(made: Made, context: RunContext, tmp_path: Path) -> None:
    archive = packed(made, tmp_path / "radgraph.tar.gz")
    folder = files.unpack(archive, context)
    assert sorted(p.name for p in folder.iterdir()) == [".unpacked.json", "config.json", "vocabulary", "weights.th"]
    before = (folder / "weights.th").stat().st_ino
    assert files.unpack(archive, context) == folder
    assert (folder / "weights.th").stat().st_ino == before
    (folder / "weights.th").write_bytes(b"torn")
    assert annotator(made, context, archive=str(archive)).annotate(TEXTS[:2]) == made.graphs[:2]
    (folder / ".unpacked.json").unlink()
    files.unpack(archive, context)
    assert (folder / "weights.th").read_bytes() == (made.folder / "weights.th").read_bytes()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("kind", ["outside", "link"])
def test_an_archive_that_reaches_outside_is_refused(context: RunContext, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../../../evil" if kind == "outside" else "weights.th")
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member, io.BytesIO(b""))
    with pytest.raises(BenchError, match=r"evil\.tar\.gz: refused"):
        files.unpack(archive, context)
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("model"))


def test_a_cut_archive_is_named(made: Made, context: RunContext, tmp_path: Path) -> None:
    archive = packed(made, tmp_path / "radgraph.tar.gz")
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(BenchError, match=r"radgraph\.tar\.gz: no whole"):
        files.unpack(archive, context)
    assert not list(tmp_path.rglob("model"))


def copied(made: Made, place: Path) -> Path:
    shutil.copytree(made.root, place)
    return place / made.name


def test_the_fingerprint_tells_content_not_place(made: Made, context: RunContext, tmp_path: Path) -> None:
    whole = annotator(made, context).fingerprint()
    assert whole.startswith("radgraph-float32-")
    archive = packed(made, tmp_path / "a.tar.gz")
    assert annotator(made, context, archive=str(archive), tokens_per_batch=7).fingerprint() == whole
    folder = copied(made, tmp_path / "moved")
    encoder = tmp_path / "moved" / "radgraph-encoder"
    assert annotator(made, context, archive=str(folder), encoder=str(encoder)).fingerprint() == whole
    for file in (folder / "weights.th", folder / "vocabulary" / "radgraph__relation_labels.txt"):
        kept = file.read_bytes()
        file.write_bytes(kept.replace(b"modify", b"MODIFY") if file.suffix == ".txt" else kept + b"\0")
        assert annotator(made, context, archive=str(folder)).fingerprint() != whole
        file.write_bytes(kept)
    tokenizer = encoder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert annotator(made, context, archive=str(folder), encoder=str(encoder)).fingerprint() != whole


class Opens:
    """Pickled, it would write a file when it is read."""

    def __reduce__(self) -> Any:
        return open, ("opened", "w")


def test_weights_are_loaded_strictly_and_as_tensors_only(made: Made, context: RunContext, tmp_path: Path) -> None:
    folder = copied(made, tmp_path / "other")
    state = torch.load(folder / "weights.th", weights_only=True)
    old = {**state, "_embedder.token_embedder_bert._matched_embedder.transformer_model.embeddings.position_ids": None}
    torch.save({key: torch.arange(4) if value is None else value for key, value in old.items()}, folder / "weights.th")
    assert annotator(made, context, archive=str(folder)).annotate(TEXTS[:1]) == made.graphs[:1]
    lost = next(key for key in state if "_relation_scorers" in key)
    torch.save({key: value for key, value in state.items() if key != lost}, folder / "weights.th")
    with pytest.raises(BenchError, match=r"not loadable.*Missing key"):
        annotator(made, context, archive=str(folder)).annotate(["x"])
    torch.save({**state, "extra": Opens()}, folder / "weights.th")
    with pytest.raises(BenchError, match="not loadable"):
        annotator(made, context, archive=str(folder)).annotate(["x"])
    assert not Path("opened").exists()


def test_what_is_no_model_is_named(made: Made, context: RunContext, tmp_path: Path) -> None:
    folder = copied(made, tmp_path / "other")
    with pytest.raises(BenchError, match=r"vocabulary has .*radgraph__ner_labels.*, not radgraph-xl__ner_labels"):
        RadGraphXL(RadGraphOptions(archive=str(folder)), context).annotate(["x"])
    (folder / "weights.th").unlink()
    with pytest.raises(BenchError, match=r"not a RadGraph model, weights\.th missing"):
        annotator(made, context, archive=str(folder)).fingerprint()
    (folder / "weights.th").touch()
    config = folder / "config.json"
    whole = config.read_text()
    config.write_text(whole.replace('"coref_prop": 0', '"coref_prop": 2'))
    with pytest.raises(BenchError, match="coref_prop 2"):
        annotator(made, context, archive=str(folder)).fingerprint()
    config.write_text(whole.replace("token_indexers", "indexers"))
    with pytest.raises(BenchError, match="not a RadGraph model's configuration"):
        annotator(made, context, archive=str(folder)).fingerprint()
    with pytest.raises(Unavailable, match=r"no file or folder .*nowhere"):
        annotator(made, context, archive="nowhere").annotate(["x"])
    with pytest.raises(BenchError, match="revision"):
        annotator(made, context, revision="main").fingerprint()
    with pytest.raises(BenchError, match="no encoder"):
        annotator(made, context, encoder=str(tmp_path)).fingerprint()


def test_without_weights_or_encoder_the_remedy_is_told(
    made: Made, context: RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    absent = RadGraphXL(RadGraphOptions(), context)
    for call in (absent.fingerprint, lambda: absent.annotate(["x"])):
        with pytest.raises(Unavailable) as told:
            call()
        assert "radgraph-xl.tar.gz of StanfordAIMI/RRG_scorers" in told.value.reason
        assert "archive" in told.value.remedy
    with pytest.raises(Unavailable) as told:
        annotator(made, context, encoder="some/encoder").fingerprint()
    assert "some/encoder" in told.value.reason
    assert "hf download some/encoder" in told.value.remedy


# ------------------------------------------------------------------ metrics


def graph(*entities: tuple[str, str, Sequence[tuple[str, int]]]) -> dict[str, Any]:
    """Return an annotation of (tokens, label, [(relation, number of the target)])."""
    words = " ".join(tokens for tokens, _, _ in entities).split()
    made, start = {}, 0
    for number, (tokens, label, relations) in enumerate(entities, start=1):
        end = start + len(tokens.split())
        related = [[name, str(target)] for name, target in relations]
        made[str(number)] = {
            "tokens": tokens, "label": label, "start_ix": start, "end_ix": end - 1, "relations": related,
        }  # fmt: skip
        start = end
    return {"text": " ".join(words), "entities": made}


SMALL = graph(("small", "obs", [("modify", 2)]), ("effusion", "obs", [("located_at", 3)]), ("left", "anat", []))
LARGE = graph(("Large", "obs", [("modify", 2)]), ("effusion", "obs", [("located_at", 3)]), ("left", "anat", []))
BARE = graph(("effusion", "obs", []), ("left", "anat", []))
GRAPHS: dict[str, Any] = {
    "small effusion left": SMALL,
    "Large effusion left": LARGE,
    "effusion left": BARE,
    "EFFUSION LEFT": graph(("EFFUSION", "obs", []), ("LEFT", "anat", [])),
    "nothing": graph(),
    "broken": Unannotated("why not"),
    "labels": {"labels": {}},
}


class Scripted:
    def fingerprint(self) -> str:
        return "scripted"

    def annotate(self, texts: Sequence[str]) -> list[Any]:
        assert all(text.strip() for text in texts), "an empty text needs no graph"
        return [GRAPHS[text] for text in texts]


class Stage:
    def annotator(self, spec: str) -> Any:
        return Scripted()


def rger(**options: Any) -> RGER:
    return RGER(RGEROptions(**options), Stage())  # type: ignore[arg-type]


def radgraph_f1() -> RadGraphF1:
    return RadGraphF1(RadGraphF1Options(), Stage())  # type: ignore[arg-type]


def one(metric: Any, candidate: str, reference: str) -> tuple[float, int]:
    stats = metric.observe([Pair("1", "p", candidate, reference)])
    assert stats.values[0, 1] == (stats.status[0, 0] == OK)
    return float(stats.values[0, 0]), int(stats.status[0, 0])


@pytest.mark.parametrize("level", LEVELS)
def test_rger_is_the_packages_reward_to_the_last_bit(models: Callable[[str], Made], level: str) -> None:
    from radgraph.rewards import compute_reward

    metric = rger(level=level)
    graphs = [*models("radgraph").graphs, *models("radgraph-xl").graphs, SMALL, LARGE, BARE, graph()]
    graphs += [{"entities": {k: {**e, "tokens": e["tokens"].upper()} for k, e in SMALL["entities"].items()}}]
    values = []
    for said in graphs:
        for true in graphs[::3]:
            values.append(metric._compare(said["entities"], true["entities"]))
            assert values[-1] == compute_reward(said, true, level)
    assert len(set(values)) > 50


@pytest.mark.parametrize(
    ("candidate", "reference", "simple", "partial", "complete", "f1"),
    [
        ("small effusion left", "small effusion left", 1.0, 1.0, 1.0, 1.0),
        ("small effusion left", "Large effusion left", 2 / 3, 2 / 3, 2 / 3, (2 / 3 + 1 / 2) / 2),
        ("effusion left", "small effusion left", 4 / 5, 2 / 5, 2 / 5, (4 / 5 + 0) / 2),
        ("effusion left", "effusion left", 1.0, 1.0, 1.0, 0.5),
        ("EFFUSION LEFT", "effusion left", 0.0, 0.0, 0.0, 0.0),
        ("nothing", "effusion left", 0.0, 0.0, 0.0, 0.0),
        ("nothing", "nothing", 0.0, 0.0, 0.0, 0.0),
        ("", "effusion left", 0.0, 0.0, 0.0, 0.0),
        ("effusion left", " ", 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_values_by_hand(
    candidate: str, reference: str, simple: float, partial: float, complete: float, f1: float
) -> None:
    for level, expected in zip(LEVELS, (simple, partial, complete), strict=True):
        assert one(rger(level=level), candidate, reference) == (pytest.approx(expected), OK)
    assert one(radgraph_f1(), candidate, reference) == (pytest.approx(f1), OK)


def test_case_can_be_folded() -> None:
    assert one(rger(lowercase=True), "EFFUSION LEFT", "effusion left") == (1.0, OK)
    assert rger(lowercase=True).signature() != rger().signature()


def test_a_report_without_annotation_fails_its_pair_alone() -> None:
    pairs = [Pair(str(k), "p", said, "effusion left") for k, said in enumerate(("effusion left", "broken", ""))]
    for metric in (rger(), radgraph_f1()):
        stats = metric.observe(pairs)
        assert stats.status[:, 0].tolist() == [OK, FAILED, OK]
        assert stats.values[1].tolist() == [0, 0]
        assert metric.finish(stats.values.sum(0))[0] == metric.finish(stats.values[[0, 2]].sum(0))[0]


def test_an_annotator_without_entities_is_refused() -> None:
    with pytest.raises(BenchError, match="no RadGraph entities"):
        one(rger(), "labels", "labels")


def test_the_annotator_may_be_called_model() -> None:
    assert RGEROptions().annotator == "radgraph-xl"
    assert RadGraphF1Options().annotator == "radgraph"
    assert RGEROptions(model="rules").annotator == RGEROptions(annotator="rules").annotator == "rules"
    with pytest.raises(ValidationError, match="two names of one option"):
        RGEROptions(model="rules", annotator="rules")


def test_signatures_tell_what_moves_a_score() -> None:
    assert rger().signature() == "rger|level:partial|case:mixed|annotator:scripted|v:1"
    assert radgraph_f1().signature() == "radgraph-f1|of:yu-2023|case:mixed|empty:0|annotator:scripted|v:1"


def test_pages_show_what_agrees() -> None:
    shown = rger(level="complete").explain(Pair("1", "p", "small effusion left", "Large effusion left"))
    marks = [mark for mark in shown if isinstance(mark, Mark)]
    assert [(mark.side, mark.start, mark.end, mark.kind) for mark in marks] == [
        ("candidate", 0, 5, "unmatched"),
        ("candidate", 6, 14, "match"),
        ("candidate", 15, 19, "match"),
        ("reference", 0, 5, "unmatched"),
        ("reference", 6, 14, "match"),
        ("reference", 15, 19, "match"),
    ]
    entities, summary = (table for table in shown if isinstance(table, SmallTable))
    assert entities.rows[1] == ("candidate", "effusion", "obs", "located_at left", "match")
    assert summary.rows[-1] == ("F1", "66.7")
    partly = radgraph_f1().explain(Pair("1", "p", "small effusion left", "effusion left"))
    assert [mark.kind for mark in partly if isinstance(mark, Mark)] == [
        "unmatched", "partial", "match", "match", "match",
    ]  # fmt: skip
    assert rger().explain(Pair("1", "p", "broken", "effusion left")) == [
        SmallTable("Not annotated", ("side", "why"), (("candidate", "why not"),))
    ]
    alone = rger().explain(Pair("1", "p", "", "effusion left"))
    assert [mark.kind for mark in alone if isinstance(mark, Mark)] == ["unmatched", "unmatched"]
