"""What a configuration needs from a network, fetched and carried (docs/assets.md)."""
