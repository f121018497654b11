"""Temporal F1: whether a report tells of the same kinds of change as the reference (Zhang et al. 2025, Libra)."""

from metrics.temporal_f1.annotator import StanzaRadiology
from metrics.temporal_f1.metric import TemporalF1

__all__ = ["StanzaRadiology", "TemporalF1"]
