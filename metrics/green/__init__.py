"""GREEN: errors of a report and findings that match, counted by a language model (Ostmeier et al. 2024)."""

from metrics.green.annotator import GreenAnswers
from metrics.green.metric import GREEN

__all__ = ["GREEN", "GreenAnswers"]
