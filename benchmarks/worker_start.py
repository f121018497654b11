"""What it costs to start a worker whose environment is built, beside the imports of its script alone.

    python benchmarks/worker_start.py [--packages "torch==2.13.0" "transformers==4.57.6"] [--imports transformers]

Both are measured in turns, in fresh processes: (a) the environment's Python imports what the script imports, (b) the
harness starts the worker until it is ready, and ends it. Needs a package registry, or wheels, for the first build.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.context import RunContext
from bench.workers.environment import uv_python
from bench.workers.options import ScriptOptions
from bench.workers.system import ScriptSystem

SCRIPT = """# /// script
# requires-python = ">=3.9"
# dependencies = [{packages}]
# ///
{imports}
from bench_worker import serve


class Model:
    def __init__(self, options, device): ...

    def write(self, cases):
        return ["" for case in cases]


serve(Model)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", nargs="*", default=["numpy", "pillow"])
    parser.add_argument("--imports", nargs="*", default=["numpy", "PIL.Image"])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    imports = "\n".join(f"import {name}" for name in given.imports)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "model.py")
        packages = ", ".join(f'"{package}"' for package in given.packages)
        script.write_text(SCRIPT.format(packages=packages, imports=imports))
        context = RunContext(workdir=Path(folder, "work"), cache_root=Path(folder, "cache"))
        began = time.perf_counter()
        python = uv_python(script, context)
        print(f"building the environment: {time.perf_counter() - began:.1f} s")
        alone: list[float] = []
        whole: list[float] = []
        for _ in range(given.rounds):
            alone.append(seconds_of_imports(python, imports))
            whole.append(seconds_of_start(script, context))
    a, b = statistics.median(alone), statistics.median(whole)
    print(f"imports alone {a:.2f} s, worker ready {b:.2f} s: ratio {b / a:.2f}, {1000 * (b - a):.0f} ms more")


def seconds_of_imports(python: Path, imports: str) -> float:
    began = time.perf_counter()
    subprocess.run([python, "-c", imports], check=True)
    return time.perf_counter() - began


def seconds_of_start(script: Path, context: RunContext) -> float:
    system = ScriptSystem(ScriptOptions(script=str(script), devices=("cpu",)), context)
    began = time.perf_counter()
    system.prepare(None)  # type: ignore[arg-type]
    taken = time.perf_counter() - began
    system._worker.close()
    return taken


if __name__ == "__main__":
    main()
