"""The harness's own commands, one module each; each parses, calls the library once, prints."""
