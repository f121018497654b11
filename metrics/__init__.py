"""The metrics: plugins that score pairs of report and reference. See `bench.contracts.Metric`."""
