"""Systems and annotators that run in a process and an environment of their own (docs/workers.md)."""
