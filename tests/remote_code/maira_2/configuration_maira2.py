"""Configuration of a tiny stand-in for MAIRA-2, for tests: LLaVA's, and what the projector and the answers are like."""

from transformers import LlavaConfig


class Maira2Config(LlavaConfig):
    model_type = "maira2"

    def __init__(self, projector_n_layers=2, says="", **rest):
        super().__init__(**rest)
        self.projector_n_layers = projector_n_layers
        self.says = says
        """What the model answers to a prompt that asks for boxes; "": whatever its random weights say."""
