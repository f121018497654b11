"""The worker's side of cxr-report-bench: one file, standard library only, any Python from 3.8.

A worker is a script with inline dependency metadata (PEP 723) and a class:

    # /// script
    # requires-python = ">=3.9"
    # dependencies = ["torch==2.13.0", "transformers==4.40.0", "pillow"]
    # ///
    from bench_worker import serve

    class Model:
        def __init__(self, options, device): ...      # load; options is a dict, device "cpu", "cuda:0" …
        def write(self, cases): ...                   # a list of Case -> a list of texts (or of Report)

    if __name__ == "__main__":
        serve(Model)

An annotator has ``annotate(texts)``, a list of dictionaries, in place of ``write``. A model may also have ``settings``
(a dictionary: how it generates, kept in the run) and ``facts`` (a dictionary of numbers: parameters …).

`serve` speaks the protocol of docs/workers.md where the harness started it, and is a small command line by hand:

    python worker.py --options '{"model": "/models/x"}' image.png [lateral.png] --indication "Cough."
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import platform
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

PROTOCOL = 1
LATERAL_VIEWS = ("LATERAL", "LL")
GRACE_S = 0.5
"""Seconds after which a worker that the harness has left ends, whatever it does."""


class Image(NamedTuple):
    """A radiograph: a copy that lives while its case is under way."""

    path: str
    view: str = ""
    role: str = "current"
    """"current", or "prior" for an image of an earlier study."""


class Prior(NamedTuple):
    """An earlier report of the same patient."""

    text: str
    findings: str | None = None
    minutes_before: int = 0


class Case(NamedTuple):
    """What a radiologist would have at hand."""

    id: str
    images: tuple[Image, ...]
    """Frontal first; never empty."""
    indication: str | None = None
    technique: str | None = None
    comparison: str | None = None
    priors: tuple[Prior, ...] = ()
    """Latest first."""

    @property
    def frontal(self) -> str:
        """Path of the image to report on."""
        return self.images[0].path

    @property
    def lateral(self) -> str | None:
        """Path of the first lateral image of this study beside it."""
        beside = [i for i in self.images[1:] if i.role == "current" and i.view.upper() in LATERAL_VIEWS]
        return beside[0].path if beside else None

    @property
    def prior_frontal(self) -> str | None:
        """Path of the earlier study's frontal image."""
        earlier = [i for i in self.images if i.role == "prior" and i.view.upper() not in LATERAL_VIEWS]
        return earlier[0].path if earlier else None


class Report(NamedTuple):
    """A text with notes on how it came about (each a label and a text), shown beside the report."""

    text: str
    notes: tuple[tuple[str, str], ...] = ()


class Unavailable(Exception):
    """The model cannot work here: why, and what to do. The harness shows both, without a traceback."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason + "\n  " + remedy)
        self.reason, self.remedy = reason, remedy


def picture(path: str) -> Any:
    """Return a radiograph as a Pillow image in RGB, upright; needs pillow and numpy.

    Gray values of more than 8 bits are scaled by the depth in use (10, 12, 16 …); Pillow itself would clip them at 255.
    """
    import numpy as np
    from PIL import Image as Pictures
    from PIL import ImageOps

    with Pictures.open(path) as opened:
        opened.load()
        upright = ImageOps.exif_transpose(opened)
    if upright.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose range is not known: store whole numbers")
    if not upright.mode.startswith("I"):
        return upright.convert("RGB")
    values = np.asarray(upright).astype(np.float64)
    bits = max(int(values.max()).bit_length(), 8)
    scaled = np.rint(values * (255 / (2.0 ** (bits + bits % 2) - 1)))
    return Pictures.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")


# ------------------------------------------------------------------ folders of weights


def need_files(folder: str | os.PathLike[str], *patterns: str) -> None:
    """Raise Unavailable where a folder has no file of one of these names or glob patterns."""
    for pattern in patterns:
        if not glob.glob(os.path.join(glob.escape(os.fspath(folder)), pattern)):
            remedy = "Name a folder with all files of the model's repository, or the repository itself."
            if pattern == "*.safetensors":
                remedy += " Weights in another format can run code when they are read: convert them to safetensors."
            raise Unavailable(f"{folder} has no {pattern}", remedy)


def need_weights(folder: str | os.PathLike[str], model: Any, missing: Iterable[str], spare: str = "") -> None:
    """Raise Unavailable where weights lack a parameter of a torch module: transformers would draw it at random.

    missing: the missing_keys that from_pretrained tells; spare: how the names end of parameters that nothing uses.
    """
    names = {name for name, _ in model.named_parameters() if not (spare and name.endswith(spare))}
    if random := sorted(names.intersection(missing)):
        raise Unavailable(
            f"{folder} has no weights for {len(random)} parameters ({random[0]} …)",
            "Name a folder with all files of the model's repository, and of that model.",
        )


# ------------------------------------------------------------------ devices and memory


def best_device(wanted: str) -> str:
    """Return `wanted`, or for "auto" the best that this environment's torch knows; "cpu" without torch."""
    if wanted != "auto":
        return wanted
    try:
        import torch
    except ImportError:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    mps = getattr(torch.backends, "mps", None)
    return "mps" if mps is not None and mps.is_available() else "cpu"


def out_of_memory(err: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or not."""
    return isinstance(err, MemoryError) or type(err).__name__ == "OutOfMemoryError" or "out of memory" in str(err)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def installed() -> dict[str, str]:
    """Return distribution → version of all that is installed here."""
    from importlib.metadata import distributions

    found = {
        str(d.metadata["Name"]).lower().replace("_", "-"): d.version for d in distributions() if d.metadata["Name"]
    }
    return dict(sorted(found.items()))


# ------------------------------------------------------------------ batches


class _Batches:
    """Asks a model in batches that fit into memory: a batch that does not is halved, for good."""

    def __init__(self, ask: Any, size: int, note: Any) -> None:
        self.ask, self.size, self.note = ask, max(1, size), note

    def answers(self, items: Sequence[Any]) -> Any:
        """Yield (item, answer, error, seconds) of each item; error is None or why it has no answer."""
        start = 0
        while start < len(items):
            part = list(items[start : start + self.size])
            began = time.perf_counter()
            answers, errors = self._attempt(part)
            if answers is None:
                continue
            seconds = (time.perf_counter() - began) / len(part)
            for item, answer, error in zip(part, answers, errors):
                yield item, answer, error, seconds
            start += len(part)

    def _attempt(self, part: list[Any]) -> Any:
        """Return answers and errors of a batch, or (None, None) where it is to be tried again, smaller."""
        try:
            return self._asked(part), [None] * len(part)
        except Exception as err:
            memory, error = out_of_memory(err), f"{type(err).__name__}: {err}"
            if not memory:
                traceback.print_exc()
        if memory:
            _free_memory()
        if len(part) == 1:
            return [None], [error]
        if memory:
            self.size = len(part) // 2
            self.note(f"out of memory: {self.size} at a time from here on")
            return None, None
        alone = [self._attempt([item]) for item in part]
        return [answers[0] for answers, _ in alone], [errors[0] for _, errors in alone]

    def _asked(self, part: list[Any]) -> list[Any]:
        answers = list(self.ask(part))
        if len(answers) != len(part):
            raise ValueError(f"the model gave {len(answers)} answers for {len(part)} cases")
        return answers


# ------------------------------------------------------------------ the protocol


class _Channel:
    """Messages, one JSON object a line. What anything else prints to standard output goes to the log (stderr)."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        self._in = os.dup(0)
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        sys.stdout = sys.stderr
        self._heard = queue.Queue()  # type: queue.Queue[dict[str, Any] | None]
        self._idle = True
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, type: str, **fields: Any) -> None:
        self._out.write(json.dumps(dict(fields, type=type), default=_plain) + "\n")
        self._out.flush()

    def hear(self) -> dict[str, Any] | None:
        self._idle = True
        message = self._heard.get()
        self._idle = message is None
        return message

    def _listen(self) -> None:
        left = b""
        while True:
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                break
            lines = (left + chunk).split(b"\n")
            left = lines.pop()
            for line in lines:
                self._heard.put(json.loads(line.decode("utf-8")))
        self._heard.put(None)
        time.sleep(GRACE_S)
        if not self._idle:  # the harness is gone, and nobody waits for what is under way
            _vanish()


def _plain(value: Any) -> Any:
    """Return a number or an array of numpy or torch as JSON has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _clear() -> None:
    """Remove the copies of images, where the harness that made them is gone."""
    if os.environ.get("BENCH_WORKER_IMAGES"):
        shutil.rmtree(os.environ["BENCH_WORKER_IMAGES"], ignore_errors=True)


def _vanish() -> None:
    """End at once, with what was started from here."""
    _clear()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def serve(model: Any) -> None:
    """Be a worker: load `model` and answer until the harness closes the line; by hand, a command line."""
    if os.environ.get("BENCH_WORKER") != str(PROTOCOL):
        _by_hand(model)
        return
    channel = _Channel()
    start = channel.hear()
    if start is None:
        _clear()
        return
    channel.say("hello", protocol=PROTOCOL, python=platform.python_version(), versions=installed())
    try:
        device = best_device(start["device"])
        built = model(start["options"], device)
    except Unavailable as err:
        channel.say("unavailable", reason=err.reason, remedy=err.remedy)
        sys.exit(3)
    channel.say("ready", device=device, settings=getattr(built, "settings", {}), facts=getattr(built, "facts", {}))
    answer, ask = (_write, built.write) if start["task"] == "write" else (_annotate, _of_texts(built.annotate))
    batches = _Batches(ask, start["batch_size"], lambda text: channel.say("note", text=text))
    while True:
        message = channel.hear()
        if message is None:
            return
        answer(channel, batches, message["items"])
        channel.say("done")


def _write(channel: _Channel, batches: _Batches, items: Sequence[dict[str, Any]]) -> None:
    for case, answer, error, seconds in batches.answers([_case(item) for item in items]):
        report = answer if isinstance(answer, Report) else Report(answer)
        if error is None and not isinstance(report.text, str):
            error = f"the model gave a {type(report.text).__name__}, not a text"
        told = {"text": report.text, "notes": report.notes} if error is None else {"error": error}
        channel.say("answer", id=case.id, seconds=round(seconds, 4), **told)


def _of_texts(annotate: Any) -> Any:
    return lambda items: annotate([item["text"] for item in items])


def _annotate(channel: _Channel, batches: _Batches, items: Sequence[dict[str, Any]]) -> None:
    for item, answer, error, _ in batches.answers(items):
        told = {"annotation": answer} if error is None else {"error": error}
        channel.say("answer", id=item["id"], **told)


def _case(item: dict[str, Any]) -> Case:
    images = tuple(Image(**image) for image in item["images"])
    priors = tuple(Prior(**prior) for prior in item.get("priors", ()))
    return Case(**dict(item, images=images, priors=priors))


# ------------------------------------------------------------------ by hand


def _by_hand(model: Any) -> None:
    parser = argparse.ArgumentParser(description=(model.__doc__ or "A worker of cxr-report-bench.").splitlines()[0])
    parser.add_argument("inputs", nargs="+", help="image files, the frontal one first; texts for an annotator")
    parser.add_argument("--options", default="{}", help="the model's options: JSON, or a file that holds it")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--indication")
    parser.add_argument("--technique")
    parser.add_argument("--comparison")
    parser.add_argument("--prior", help="an earlier report: its text")
    given = parser.parse_args()
    text = given.options
    if not text.lstrip().startswith("{"):
        with open(text, encoding="utf-8") as file:
            text = file.read()
    built = model(json.loads(text), best_device(given.device))
    if not hasattr(built, "write"):
        for annotation in built.annotate(given.inputs):
            print(json.dumps(annotation))
        return
    views = ["PA", *["LATERAL"] * (len(given.inputs) - 1)]
    images = tuple(Image(path, view) for path, view in zip(given.inputs, views))
    priors = (Prior(given.prior),) if given.prior else ()
    case = Case("by-hand", images, given.indication, given.technique, given.comparison, priors)
    for report in built.write([case]):
        print(report.text if isinstance(report, Report) else report)
