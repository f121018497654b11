"""Configuration of a tiny stand-in for CheXagent-2-3b, for tests."""

from transformers import PhiConfig


class CheXagentConfig(PhiConfig):
    model_type = "chexagent"

    def __init__(self, visual=None, **rest):
        self.visual = visual or {}
        super().__init__(**rest)
