"""Datasets that come with the harness, each registered by entry point."""
