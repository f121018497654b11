"""A new plugin package, written from a template: what ``bench new`` does."""

from bench.scaffold.write import Written, write

__all__ = ["Written", "write"]
