"""CheXbert: 14 observations of a report (Smit et al. 2020, https://arxiv.org/abs/2004.09167), and F1 over them."""

from metrics.chexbert.annotator import CheXbert
from metrics.chexbert.embedding import CheXbertEmbedding
from metrics.chexbert.f1 import CheXbertF1, CheXpertRulesF1

__all__ = ["CheXbert", "CheXbertEmbedding", "CheXbertF1", "CheXpertRulesF1"]
