"""A system, a metric and a command for cxr-report-bench."""
