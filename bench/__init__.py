"""The harness of cxr-report-bench: it lets systems report on radiographs, lets metrics score them, and keeps the runs.

Knows no particular system or metric: those are found by entry point (`bench.registry`). Plugin authors need
`bench.contracts`, `bench.options` and `bench.errors`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cxr-report-bench")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+unknown"
