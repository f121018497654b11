"""RaTEScore: entities of report and reference compared by meaning and type (Zhao et al. 2024)."""

from metrics.ratescore.annotator import RaTEPairs
from metrics.ratescore.metric import RaTEScore

__all__ = ["RaTEPairs", "RaTEScore"]
