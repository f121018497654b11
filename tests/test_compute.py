"""Operations, times and costs: formulas against PyTorch's own counter, numbers worked out by hand, and the paper's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from llm_servers import OpenAIServer  # noqa: E402
from test_leaderboards import cell, write_run  # noqa: E402
from test_sae_train import Bars, Stop, embeddings, stop_after  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import leaderboards  # noqa: E402
from bench.context import RunContext  # noqa: E402
from bench.errors import BenchError  # noqa: E402
from leaderboards.compute import Price  # noqa: E402
from systems.encoders import compute as encoders  # noqa: E402
from systems.encoders.pixels import Pixels, PixelsOptions  # noqa: E402
from systems.encoders.untrained import Untrained, UntrainedOptions  # noqa: E402
from systems.sae_rad import compute  # noqa: E402
from systems.sae_rad import train as training  # noqa: E402
from systems.sae_rad.model import SAE, build  # noqa: E402
from systems.sae_rad.options import Architecture, SAEOptions  # noqa: E402

ARCHITECTURES: tuple[Architecture, ...] = ("sae-rad", "standard", "gated", "conerly")
PAPER = {"n": 768, "m": 49_152, "batch": 2048, "steps": 200_000}
N, M, ROWS = 12, 48, 20


def counted(work: Any) -> int:
    """Return the operations that PyTorch counts while `work` is called."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


# ------------------------------------------------------------------ training


def test_forward_only_is_the_papers_number() -> None:
    flops = compute.forward_flops(**PAPER)
    assert flops == 2 * 2 * 768 * 49_152 * 2048 * 200_000 == 61_847_529_062_400_000
    assert float(f"{flops / 1e12:.1g}") == 60_000  # as Table 4 prints it
    assert float(f"{compute.dense_flops('sae-rad', **PAPER) / 1e12:.1g}") == 200_000
    with_auxiliary = compute.product(2048, 768, 49_152) * 3 * 200_000
    assert float(f"{with_auxiliary / 1e12:.1g}") == 90_000


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dense_training_is_what_pytorch_counts(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward with all features at once, as a trainer without our shortcut computes."""
    monkeypatch.setattr(SAE, "_firing", lambda self, x: None)
    sae = build(architecture, N, M, torch.Generator().manual_seed(0))
    z = torch.randn(ROWS, N)
    products = compute.PRODUCTS[architecture]
    assert counted(lambda: sae.loss(z, 0.1)) == products.forward * compute.product(ROWS, N, M)
    assert counted(lambda: sae.loss(z, 0.1)[0].backward()) == compute.dense_flops(architecture, N, M, ROWS, 1)


def fit(folder: Path, **options: Any) -> training._Fit:
    return training._Fit(embeddings(), 1.0, SAEOptions(batch_size=ROWS, **options), 0, {"n": 12, "m": M}, folder, "cpu")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("silent", [0, 30])
def test_our_step_is_what_pytorch_counts(tmp_path: Path, architecture: Architecture, silent: int) -> None:
    """With few features firing only these are computed with; with most firing, all are, after one product more."""
    one = fit(tmp_path, architecture=architecture)
    state = training._State.start(one)
    with torch.no_grad():
        state.sae.b_enc[:silent] = -100.0
    flops = counted(lambda: state.advance(one))
    features = state.features
    assert features is not None
    assert features == M if silent == 0 else 0 < features <= M - silent
    assert flops == compute.step_flops(architecture, 12, M, ROWS, 1, features)


SMALL: dict[str, Any] = {"expansion": 4, "steps": 30, "batch_size": 16, "lr": 5e-2, "sparsity": 200.0, "log_every": 5}


def test_a_whole_training_is_what_pytorch_counts(tmp_path: Path) -> None:
    options = SAEOptions(**SMALL)
    done: list[Any] = []

    def steps() -> None:
        one = training._Fit(
            embeddings(), 1.0, options, 0, {"n": 12, "m": M, "format": 1, "architecture": "sae-rad"}, tmp_path, "cpu"
        )
        done.append(training._fit(one, Bars()))

    flops = counted(steps)
    (state,) = done
    found = compute.training("sae-rad", 12, M, 16, 30, state.features / 30)
    assert found["train_flops_step"] == pytest.approx(flops, rel=1e-12)
    assert M > state.features / 30 > 0, "some steps computed with some of the features"


# ------------------------------------------------------------------ what training took


def train(folder: Path, **options: Any) -> Any:
    return training.train(
        embeddings(), SAEOptions(**SMALL | options), folder=folder, device="cpu", seed=0, progress=Bars()
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock by which every step takes 2 seconds."""
    now, taken = [100.0], training._Fit.batch

    def batch(self: Any, step: int) -> Any:
        now[0] += 2.0
        return taken(self, step)

    monkeypatch.setattr(training._Fit, "batch", batch)
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    return now


def test_a_killed_and_resumed_training_tells_the_whole_time(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "_save", stop_after(12, training._save))  # the 13th step is lost
        with pytest.raises(Stop):
            train(tmp_path, checkpoint_every_s=0)
    clock[0] += 5000.0  # the night in between
    cut = train(tmp_path)
    assert cut.took["seconds"] == 60.0
    assert cut.took["device"].startswith("cpu ")
    whole = train(tmp_path / "whole")
    assert whole.took["seconds"] == 60.0
    assert cut.facts == whole.facts
    assert 0 < cut.facts["features_per_step"] <= M


def test_a_cached_dictionary_keeps_its_first_time(tmp_path: Path, clock: list[float]) -> None:
    first = train(tmp_path)
    clock[0] += 5000.0
    assert train(tmp_path).took == first.took
    assert training.load(tmp_path, "cpu").took == first.took


def test_a_checkpoint_without_time_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training begun by a version that counted and timed nothing: what its first steps took is not known."""
    with monkeypatch.context() as patch:
        patch.setattr(training, "_save", stop_after(3, training._save))
        with pytest.raises(Stop):
            train(tmp_path, checkpoint_every_s=0)
    tensors, about = training.read_tensors(tmp_path / training.CHECKPOINT_FILE)
    old = {"recipe": about["recipe"], "step": about["step"]}
    training.write_tensors(tmp_path / training.CHECKPOINT_FILE, tensors, old)
    done = train(tmp_path)
    assert done.took["seconds"] is None
    assert "features_per_step" not in done.facts
    assert "train_flops_step" not in compute.training("sae-rad", 12, M, 16, 30, done.facts.get("features_per_step"))


# ------------------------------------------------------------------ encoders

SIZES = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 56, "patch_size": 14}
MODELS: dict[str, Any] = {
    "dinov2": lambda: transformers.Dinov2Config(**SIZES),
    "dinov2 with SwiGLU": lambda: transformers.Dinov2Config(**SIZES, use_swiglu_ffn=True, mlp_ratio=3),
    "dinov2 with registers": lambda: transformers.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=3),
    "vit": lambda: transformers.ViTConfig(**SIZES, intermediate_size=80),
    "deit": lambda: transformers.DeiTConfig(**SIZES, intermediate_size=80),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, (56, 56)) for name in MODELS), ("dinov2", (84, 56)), ("dinov2 with registers", (84, 56))],
)
def test_a_vision_transformer_is_what_pytorch_counts(name: str, size: tuple[int, int]) -> None:
    config = MODELS[name]()
    # eager: the counter does not see into the fused attention of CPUs
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    with torch.inference_mode():
        assert counted(lambda: model(pixel_values=torch.zeros(1, 3, *size))) == encoders.model_flops(config, size)


def test_rad_dino_by_hand() -> None:
    """ViT-B/14 at 518 pixels: 37² patches and a class token; the paper's 0.1 leaves out scores and counts once."""
    tokens, layers, width = 37 * 37 + 1, 12, 768
    weights = layers * 12 * width**2 * tokens
    scores = layers * 2 * tokens**2 * width
    patches = 37 * 37 * 3 * 14**2 * width
    flops = encoders.model_flops(transformers.Dinov2Config(image_size=518), (518, 518))
    assert flops == 2 * (weights + scores + patches) == 303_147_436_032
    assert f"{weights / 1e12:.1g}" == "0.1"
    assert f"{flops / 1e12:.1g}" == "0.3"


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"do_center_crop": True, "size": {"shortest_edge": 518}, "crop_size": {"height": 518, "width": 518}}, 518),
        ({"size": {"shortest_edge": 256}, "crop_size": 224}, 224),
        ({"size": {"height": 384, "width": 384}}, 384),
        ({"do_center_crop": False, "size": {"height": 64, "width": 64}, "crop_size": 56}, 64),
        ({"image_processor": {"size": {"height": 64, "width": 64}}}, 64),
        ({"size": {"shortest_edge": 518}}, None),
        ({}, None),
    ],
)
def test_the_size_that_a_processor_gives(settings: dict[str, Any], size: int | None) -> None:
    assert encoders.processed_size(settings) == (None if size is None else (size, size))


def test_an_architecture_that_is_not_counted_gives_none() -> None:
    assert encoders.model_flops(transformers.ResNetConfig(), (224, 224)) is None


def test_an_encoder_tells_its_own(context: RunContext) -> None:
    encoder = Untrained(UntrainedOptions(like="small", layers=1, image_size=28), context)
    with torch.inference_mode():
        model = encoder._network.model
        model.set_attn_implementation("eager")
        assert encoder.flops() == counted(lambda: model(pixel_values=torch.zeros(1, 3, 28, 28)))


def test_pixels_by_hand(context: RunContext) -> None:
    twelve_maps = 12 * (8 * 192 * 192 + 8 * 192 * 6)
    brightness = 16 * 192 * 192 + 16 * 192 * 12
    assert Pixels(PixelsOptions(), context).flops() == 2 * (twelve_maps + brightness)


# ------------------------------------------------------------------ what a run took

PLUGIN = """
import time
import json
from pathlib import Path
from bench.contracts import Report
from bench.options import Options

class SlowOptions(Options):
    encoder: str = "{encoder}"

class Slow:
    Options = SlowOptions
    def __init__(self, options, context): self.encoder, self.context = options.encoder, context
    def fingerprint(self): return "slow"
    def prepare(self, train): pass
    def generate(self, cases):
        self.context.embeddings(self.encoder, cases)
        for case in cases:
            time.sleep(0.02)
            yield Report(case.id, "clear", error="no" if case.id.endswith("3") else None)
    def facts(self): return {{}}
    def measured(self): return {{"train_seconds": 90.0, "trained_on": "a device"}}

class SlowEncoder:
    Options = Options
    dim = 2
    def __init__(self, options, context): pass
    def fingerprint(self): return "slow"
    def why_unreadable(self, image): return None
    def encode(self, images):
        import numpy as np
        time.sleep(0.1 * len(images))
        return np.ones((len(images), 2), np.float32)
"""


@pytest.fixture
def slow() -> Path:
    file = Path("slow.py").resolve()
    file.write_text(PLUGIN.format(encoder=f"{file}:SlowEncoder"))
    plugins = Path(__file__).with_name("plugins.py")
    for i in range(12):
        Path(f"{i}.png").write_bytes(b"an image")
    Path("bench.yaml").write_text(
        f"dataset: {{use: '{plugins}:TinyDataset'}}\nsystems: {{slow: {{use: '{file}:Slow'}}}}\n"
        f"metrics: {{w: {{use: '{plugins}:WordF1'}}}}\nrun: {{bootstrap: 0}}\n"
    )
    return file


def test_a_run_tells_what_it_took(bench: Any, slow: Path) -> None:
    answer = bench("run", "--out", "o", "--allow-failed")
    assert answer.code == 0, answer.err
    found = json.loads(Path("o/slow/resources.json").read_text())
    n = len(Path("o/slow/reports.jsonl").read_text().splitlines())
    assert found["n_timed"] < n, "failed reports are left out"
    # Encoding is not in the reports' time, though it is the first report that waits for it.
    assert 0.02 <= found["seconds_per_report"] < 0.1
    (seconds,) = found["encoding"].values()
    assert seconds >= 0.1
    assert found["measured"] == {"train_seconds": 90.0, "trained_on": "a device"}
    assert [device.split()[0] for device in found["devices"]] == ["cpu"]
    assert "llm" not in found
    # Encoded before: the time an image takes is known all the same.
    assert bench("run", "--out", "p", "--allow-failed").code == 0
    again = json.loads(Path("p/slow/resources.json").read_text())
    assert list(again["encoding"].values()) == [seconds]
    assert Path("o/slow/summary.json").read_bytes() == Path("p/slow/summary.json").read_bytes()


def test_shards_are_gathered(bench: Any, slow: Path) -> None:
    for shard in ("1/2", "2/2"):
        assert bench("run", "--out", "o", "--shard", shard, "--allow-failed", "--set", "run.limit=2").code == 0
    assert bench("run", "--out", "o", "--allow-failed", "--set", "run.limit=2").code == 0
    found = json.loads(Path("o/slow/resources.json").read_text())
    assert found["n_timed"] == 2
    assert found["measured"]["train_seconds"] == 90.0
    assert len(found["encoding"]) == len(found["devices"]) == 1


@pytest.mark.parametrize(("value", "said"), [("[]", "must give a mapping"), ("{'a': None}", "finite numbers")])
def test_measurements_that_cannot_be_kept_are_refused(bench: Any, slow: Path, value: str, said: str) -> None:
    slow.write_text(slow.read_text().replace('{"train_seconds": 90.0, "trained_on": "a device"}', value))
    answer = bench("run", "--out", "o", "--allow-failed")
    assert answer.code == 2
    assert said in answer.err


WRITER = """
from bench.contracts import Message, Question, Report
from bench.options import Options

class Writer:
    Options = Options
    def __init__(self, options, context): self.llm = context.llm("writer")
    def fingerprint(self): return "writer"
    def prepare(self, train): pass
    def generate(self, cases):
        asked = [Question((Message("user", "prompt of " + case.id),)) for case in cases]
        for case, answer in zip(cases, self.llm.ask(asked)):
            yield Report(case.id, answer.text)
    def facts(self): return {"n_parameters": 5.0}
"""


def test_what_a_systems_questions_cost_is_in_the_cost_per_report(bench: Any) -> None:
    """12 questions of 11 and 7 tokens at $3 and $15 a million: $0.001656 in all, $0.000138 a report."""
    plugins = Path(__file__).with_name("plugins.py")
    Path("writer.py").write_text(WRITER)
    with OpenAIServer(lambda prompt: "clear") as server:
        writer = {"use": "openai/judge", "base_url": f"{server.url}/v1", "price_input": 3.0, "price_output": 15.0}
        config = {
            "dataset": {"use": f"{plugins}:TinyDataset"},
            "systems": {"w": {"use": "./writer.py:Writer"}},
            "metrics": {"m": {"use": f"{plugins}:WordF1"}},
            "llms": {"writer": writer},
            "run": {"bootstrap": 0},
        }
        Path("bench.yaml").write_text(json.dumps(config))
        assert bench("run", "--out", "o").code == 0
        assert bench("run", "--out", "again").code == 0
    found = json.loads(Path("o/w/resources.json").read_text())
    assert found["llm"] == {
        "calls": 12, "cached": 0, "input_tokens": 132, "output_tokens": 84, "cost_usd": pytest.approx(0.001656)
    }  # fmt: skip
    table = leaderboards.build("table4", Path("o"), "full", price=Price(3.6))
    assert cell(table, "w", "report_llm_cost").text == "$0.000138"
    cost = cell(table, "w", "report_cost").value
    assert cost == pytest.approx(0.000138 + 3.6 / 3600 * found["seconds_per_report"])
    assert any("asked 12 times for 12 reports, $0.001656 in all" in note for note in table.notes)
    # What the cache answered cost nothing here, which is not what a report costs.
    table = leaderboards.build("table4", Path("again"), "full", price=Price(3.6))
    assert not cell(table, "w", "report_cost").present
    assert "came from the cache" in cell(table, "w", "report_llm_cost").reason


# ------------------------------------------------------------------ the table


def finished(folder: Path, resources: dict[str, Any] | None, **facts: float) -> Path:
    write_run(folder, {}, facts={"n_train": 800.0, **facts})
    if resources is not None:
        (folder / "resources.json").write_text(json.dumps(resources))
    return folder


TOOK = {
    "devices": ["GPU A"],
    "n_timed": 100,
    "seconds_per_report": 0.4,
    "encoding": {"rad-dino": 0.1},
    "measured": {"train_seconds": 4680.0, "trained_on": "GPU A"},
}


def shown(folder: Path, *keys: str, price: Price | None = None) -> list[str]:
    table = leaderboards.build("table4", folder, "full", price=price)
    return [cell(table, "mine", key).text for key in keys]


def test_the_papers_training_stands_beside_the_papers_numbers(tmp_path: Path) -> None:
    facts = compute.training("sae-rad", **PAPER, features=4000.0) | compute.encoding(303_147_436_032, 239_931, 0.0, 0.0)
    finished(tmp_path / "a", TOOK, **facts, n_parameters=75_596_544.0)
    keys = ("n_parameters", "train_tflops", "train_tflops_dense", "train_tflops_step", "encode_tflops", "report_tflops")
    assert shown(tmp_path, *keys) == ["76M", "61,848", "247,390", "51,056", "72,734", "0.303"]
    table = leaderboards.build("table4", tmp_path)
    assert [c.text for c in next(iter(table.rows())).cells] == ["239,931", "76M", "60,000", "$3.25", "0.1", "$0.00005"]


def test_costs_are_seconds_at_the_stated_price(tmp_path: Path) -> None:
    """1.3 hours at $2.50 are the paper's $3.25; half a second is 2.50 / 7200."""
    finished(tmp_path / "a", TOOK)
    keys = ("train_seconds", "trained_on", "train_cost", "report_seconds", "report_cost", "report_llm_cost")
    price = Price.parse("2.50/h  one GPU, on demand")
    assert shown(tmp_path, *keys, price=price) == ["4,680", "GPU A", "$3.25", "0.500", "$0.000347", "$0.00"]
    table = leaderboards.build("table4", tmp_path, price=price)
    assert any("$2.50 an hour of the device (one GPU, on demand), as stated" in note for note in table.notes)
    assert "mine (a): trained on GPU A, reports made on GPU A." in table.notes


def test_runs_of_one_label_are_told_apart_in_the_notes_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        finished(tmp_path / name, TOOK)
    notes = leaderboards.build("table4", tmp_path).notes
    assert "mine (a), mine (b): trained on GPU A, reports made on GPU A." in notes


def test_without_a_price_costs_are_missing_with_the_remedy(tmp_path: Path) -> None:
    finished(tmp_path / "a", TOOK)
    table = leaderboards.build("table4", tmp_path)
    for key in ("train_cost", "report_cost"):
        assert "--price" in cell(table, "mine", key).remedy
        assert not cell(table, "mine", key).present


@pytest.mark.parametrize(
    ("resources", "key", "reason"),
    [
        (None, "train_cost", "before times were kept"),
        (None, "report_seconds", "before times were kept"),
        ({**TOOK, "measured": {"trained_on": "GPU A"}}, "train_cost", "was not timed"),
        ({**TOOK, "measured": {}}, "trained_on", "does not say"),
        ({**TOOK, "encoding": {"rad-dino": None}}, "report_cost", "embedded (rad-dino) on another device"),
        ({**TOOK, "seconds_per_report": None}, "report_seconds", "no report of the run was timed"),
        ({**TOOK, "llm": {"calls": 3, "cost_usd": None}}, "report_cost", "prices of the system's chat model"),
    ],
)
def test_a_missing_time_says_why(tmp_path: Path, resources: dict[str, Any] | None, key: str, reason: str) -> None:
    finished(tmp_path / "a", resources)
    found = cell(leaderboards.build("table4", tmp_path, "full", price=Price(1.0)), "mine", key)
    assert not found.present
    assert reason in found.reason


def test_parameters_that_a_worker_tells_are_shown(tmp_path: Path) -> None:
    finished(tmp_path / "a", TOOK, parameters=8.2e9)
    assert shown(tmp_path, "n_parameters") == ["8.2B"]


def test_damaged_times_skip_the_run_and_say_where(tmp_path: Path) -> None:
    finished(tmp_path / "a", {**TOOK, "seconds_per_report": "soon"})
    table = leaderboards.build("table4", tmp_path)
    assert any("resources.json: seconds_per_report: " in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("2.50", Price(2.5)),
        ("$.8/h", Price(0.8)),
        ("3 / h", Price(3.0)),
        ("0.80 one A6000,\n on demand", Price(0.8, "one A6000, on demand")),
    ],
)
def test_prices_as_people_write_them(text: str, price: Price) -> None:
    assert Price.parse(text) == price


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "nan", "inf", "1e3", "free", "2,50", "2.5€", "9" * 400, "1 " + "x" * 101]
)
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="--price"):
        Price.parse(text)


def test_the_command_takes_a_price(bench: Any, tmp_path: Path) -> None:
    finished(tmp_path / "runs" / "a", TOOK)
    answer = bench("leaderboard", "table4", "--runs", tmp_path / "runs", "--price", "2.50")
    assert answer.code == 0, answer.err
    assert "$3.25 |" in answer.out.split("mine")[1]
    for table, price, said in (("table4", "much", "--price 'much'"), ("table1", "2.50", "no column")):
        refused = bench("leaderboard", table, "--price", price)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err


def test_nothing_trained_costs_nothing() -> None:
    assert set(compute.UNTRAINED) >= set(compute.training("sae-rad", 2, 4, 1, 1, 2.0))
    assert not any(compute.UNTRAINED.values())
