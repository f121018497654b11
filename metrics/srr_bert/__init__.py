"""SRR-BERT: the findings of a report's sentences, with statuses, and F1 over them (Delbrouck et al. 2025)."""

from metrics.srr_bert.annotators import SRRLeaves, SRRLeavesWithStatuses, SRRUpper, SRRUpperWithStatuses
from metrics.srr_bert.f1 import SRRBertF1

__all__ = ["SRRBertF1", "SRRLeaves", "SRRLeavesWithStatuses", "SRRUpper", "SRRUpperWithStatuses"]
