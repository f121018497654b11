"""RadCliQ-v1: a composite of four metrics fitted to radiologists' error counts (Yu et al. 2023)."""

from metrics.radcliq.metric import RadCliQ

__all__ = ["RadCliQ"]
