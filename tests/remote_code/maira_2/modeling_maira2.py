"""A tiny stand-in for MAIRA-2, for tests: DINOv2, projector, Llama; random weights in transformers' LLaVA."""

import torch
from transformers import AutoBackbone, AutoModelForCausalLM, LlavaForConditionalGeneration, LlavaPreTrainedModel

from .configuration_maira2 import Maira2Config


class Projector(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        wide = config.text_config.hidden_size
        steps = [torch.nn.Linear(config.vision_config.hidden_size, wide)]
        for _ in range(1, config.projector_n_layers):
            steps += [torch.nn.GELU(), torch.nn.Linear(wide, wide)]
        self.layers = torch.nn.Sequential(*steps)

    def forward(self, features):
        return self.layers(features)


class Maira2ForConditionalGeneration(LlavaForConditionalGeneration):
    config_class = Maira2Config

    def __init__(self, config):
        LlavaPreTrainedModel.__init__(self, config)
        self.vision_tower = AutoBackbone.from_config(config.vision_config)
        self.multi_modal_projector = Projector(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.vocab_size = config.text_config.vocab_size
        self.pad_token_id = config.pad_token_id
        self.post_init()

    def get_image_features(self, pixel_values, vision_feature_layer, vision_feature_select_strategy, **rest):
        maps = self.vision_tower(pixel_values).feature_maps[vision_feature_layer]
        return self.multi_modal_projector(maps[:, 1:] if vision_feature_select_strategy == "default" else maps)

    def generate(self, input_ids=None, **rest):
        """Answer; a prompt that asks for boxes with the configuration's words, which no random weights would find."""
        if not self.config.says or self.config.boxes_token_id not in input_ids:
            return super().generate(input_ids=input_ids, **rest)
        said = torch.tensor([self.config.says_ids] * len(input_ids))[:, : rest["max_new_tokens"]]
        return torch.cat([input_ids, said.to(input_ids.device)], dim=1)
