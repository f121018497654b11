"""The plugin in another process, as a run that was stopped and continued meets it.

The other process hashes strings with another seed (`PYTHONHASHSEED`), so that what hangs on the order of a set or on
`hash()` shows. It writes a line of JSON for each thing it did; what is missing, it did not come to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.check.outcome import Broken, told
from bench.errors import Unavailable

HEAVY = frozenset(
    """torch torchvision transformers tensorflow jax keras onnxruntime evaluate datasets pandas sklearn scipy nltk spacy
    PIL cv2 skimage pydicom matplotlib""".split()  # noqa: SIM905 (one a line is no better)
)
"""Packages that a plugin's module must not import: `bench list` imports all plugins."""
TOLD = 2000
"""Characters kept of what the other process wrote to standard error."""


class Other:
    """What another process found out: "heavy", "identity", "reports" or "stats", "facts"."""

    def __init__(self, lines: Mapping[str, Any], stderr: str) -> None:
        self._lines, self._stderr = lines, stderr

    def get(self, what: str) -> Any:
        """Return one finding. Raises what kept the other process from it."""
        if what in self._lines:
            return self._lines[what]
        if "unavailable" in self._lines:
            raise Unavailable(*self._lines["unavailable"])
        raise Broken(f"in another process {self._lines.get('error') or 'it ended: ' + self._stderr[-TOLD:].strip()}")


def ask(request: Mapping[str, Any], use: str, folder: Path, **more: Any) -> Other:
    """Start the other process, wait for it, and return what it found. `use` is the plugin's spec, never a label."""
    questions, answers = folder / "asked.json", folder / "answered.jsonl"
    questions.write_text(
        json.dumps({"request": request, "use": use, "answers": str(answers), **more}), encoding="utf-8"
    )
    answers.write_text("", encoding="utf-8")
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "bench.check.other", str(questions)]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    lines: dict[str, Any] = {}
    for line in answers.read_text(encoding="utf-8").splitlines():
        lines.update(json.loads(line))
    return Other(lines, done.stderr.decode(errors="replace"))


def main(questions: Path) -> None:
    """Be the other process."""
    asked = json.loads(questions.read_text(encoding="utf-8"))
    with Path(asked["answers"]).open("a", encoding="utf-8") as file:

        def say(**lines: Any) -> None:
            file.write(json.dumps(lines) + "\n")
            file.flush()

        try:
            _work(asked, questions.parent / "other", say)
        except Unavailable as err:
            say(unavailable=[err.reason, err.remedy])
        except Exception as err:
            say(error=told(err))


def _work(asked: Mapping[str, Any], folder: Path, say: Any) -> None:
    from bench import registry

    request = asked["request"]
    registry.find(request["kind"], asked["use"])
    say(heavy=sorted(HEAVY.intersection(sys.modules)))

    from bench.check.subject import Request, Subject

    subject = Subject(Request(**request), folder)
    if request["kind"] == "metric":
        _score(subject.build(), asked["pairs"], say)
        return
    plugin = subject.build(work=Path(asked["work"]))
    say(identity=plugin.fingerprint())
    plugin.prepare(subject.train)
    wanted = [case for case in subject.split.cases if case.id in asked["ids"]]
    say(reports=[asdict(report) for report in plugin.generate(wanted)])
    say(facts=dict(plugin.facts()))


def _score(metric: Any, pairs: Sequence[Sequence[str]], say: Any) -> None:
    from bench.contracts import Pair

    say(identity=metric.signature())
    stats = metric.observe([Pair(*pair) for pair in pairs])
    say(values=stats.values.tolist(), status=stats.status.tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
