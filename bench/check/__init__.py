"""Whether a plugin keeps its contract: what ``bench check`` runs, and what a plugin's own tests can call.

    from bench.check import check_system

    def test_contract():
        checked = check_system("my-reader")
        assert checked.ok, str(checked)

A system is tried on a small demo unless a configuration or a dataset is given, a metric on texts of this package.
"""

from bench.check.metric import check_metric
from bench.check.outcome import Checked, Outcome
from bench.check.system import check_system

__all__ = ["Checked", "Outcome", "check_metric", "check_system"]
