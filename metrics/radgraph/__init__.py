"""RadGraph: graphs of a report's entities and relations, and the metrics that compare them.

Inside this package ``import radgraph`` is the PyPI package of that name, whose weights, label vocabulary and
preprocessing are used.
"""

from metrics.radgraph.annotators import ModernRadGraphXL, RadGraph, RadGraphXL
from metrics.radgraph.scores import RGER, RadGraphF1

__all__ = ["RGER", "ModernRadGraphXL", "RadGraph", "RadGraphF1", "RadGraphXL"]
