"""Configuration of a tiny stand-in for CheXagent-8b, for tests."""

from transformers import CONFIG_MAPPING, PretrainedConfig


class CheXagentConfig(PretrainedConfig):
    model_type = "chexagent"

    def __init__(self, text_config=None, image_size=32, patch=8, num_query_tokens=4, num_max_images=2, **rest):
        text = dict(text_config or {"model_type": "mistral"})
        self.text_config = CONFIG_MAPPING[text["model_type"]](**text)
        self.image_size, self.patch = image_size, patch
        self.num_query_tokens, self.num_max_images = num_query_tokens, num_max_images
        super().__init__(**rest)
