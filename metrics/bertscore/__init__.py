"""BERTScore: how alike two texts are by the vectors of their tokens (Zhang et al. 2020, arXiv 1904.09675)."""

from metrics.bertscore.metric import BERTScore

__all__ = ["BERTScore"]
