"""RadFact (Bannur et al. 2024): which statements of one report follow from the other, as a judge decides."""

from metrics.radfact.metric import RadFact, RadFactOptions

__all__ = ["RadFact", "RadFactOptions"]
