"""Encoders: radiograph → embedding."""
