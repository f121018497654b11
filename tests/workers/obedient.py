# /// script
# requires-python = ">=3.8"
# dependencies = []
# ///
"""A worker that does what its options say, misbehaviour included."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from bench_worker import Report, Unavailable, serve


class Scalar:
    """A number as numpy and torch have it."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


class Obedient:
    """Describes the files and texts it is given."""

    def __init__(self, options, device):
        self.options, self.settings, self.facts = options, {"beams": 2, "device": device}, {"parameters": 7.0}
        if options.get("unavailable"):
            raise Unavailable("the model is on the moon", "fetch it")
        if options.get("exit_at_start") is not None:
            print("I shall not work", file=sys.stderr)
            sys.exit(options["exit_at_start"])
        if options.get("sleep_at_start"):
            time.sleep(options["sleep_at_start"])
        print("printed by a library while it loads")
        if options.get("odd_settings"):
            self.settings = {"temperature": float("nan"), "beams": Scalar(3)}
            self.facts = {"parameters": 7.0, "loss": float("inf"), "many": 10**400}

    def write(self, cases):
        self._note("batch", len(cases))
        if len(cases) > self.options.get("memory", 1000):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return [self._one(case) for case in cases]

    def _one(self, case):
        misbehave(self.options.get("on", {}).get(case.id), self.options)
        self._note("case", case.id)
        if self.options.get("mute"):
            return None
        seen = {
            "sizes": [os.path.getsize(image.path) for image in case.images],
            "lateral": case.lateral and os.path.basename(case.lateral),
            "prior": case.prior_frontal and os.path.basename(case.prior_frontal),
            "paths": [image.path for image in case.images],
            "indication": case.indication,
            "priors": [prior.text for prior in case.priors],
            "environment": sorted(os.environ),
            "pid": os.getpid(),
        }
        self._note("seen", seen)
        text = "Saw {} bytes. {}".format(sum(seen["sizes"]), case.indication or "")
        return Report(text, [("files", str(len(case.images)))]) if self.options.get("notes") else text

    def annotate(self, texts):
        return [self._labels(text) for text in texts]

    def _labels(self, text):
        self._note("text", text)
        if text == self.options.get("bad_text"):
            raise ValueError("cannot read this")
        misbehave(self.options.get("on", {}).get(text), self.options)
        return {"labels": {"Edema": int("edema" in text)}}

    def _note(self, key, value):
        if "diary" in self.options:
            with open(self.options["diary"], "a") as diary:
                diary.write(json.dumps({key: value}) + "\n")


def misbehave(how, options):
    """Do what is asked: once, where a mark can be left, so that the next process behaves."""
    if how is None or (how.endswith("-once") and os.path.exists(options["mark"])):
        return
    if how.endswith("-once"):
        open(options["mark"], "w").close()
    print(f"about to {how}", file=sys.stderr, flush=True)
    kind = how.replace("-once", "")
    if kind == "raise":
        raise KeyError("a bug of the model")
    if kind == "exit":
        os._exit(1)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if kind == "fork":  # a child that holds the pipes and outlives its parent
        if os.fork():
            os._exit(1)
        time.sleep(600)
    if kind == "flood":
        for _ in range(400):
            sys.stderr.write("x" * 99_999 + "\n")
        sys.stderr.write("the end of the flood\n")
    if kind == "garbage":
        os.write(garbage_fd(), b"Traceback or whatever\n")


def garbage_fd():
    """Return the descriptor that messages go to: the lowest duplicate of standard output as it was."""
    import stat

    for descriptor in range(3, 20):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                return descriptor
        except OSError:
            continue
    raise RuntimeError("no pipe")


if __name__ == "__main__":
    serve(Obedient)
