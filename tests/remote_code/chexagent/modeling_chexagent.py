"""A tiny stand-in for CheXagent-8b, for tests: patches, queries that look at them, Mistral; random weights.

`generate` takes what the published one is given and refuses everything else.
"""

import torch
from einops import rearrange
from transformers import AutoModelForCausalLM, PreTrainedModel

from .configuration_chexagent import CheXagentConfig


class CheXagentForConditionalGeneration(PreTrainedModel):
    config_class = CheXagentConfig

    def __init__(self, config):
        super().__init__(config)
        wide = config.text_config.hidden_size
        self.vision_model = torch.nn.Conv2d(3, wide, config.patch, config.patch)
        self.query_tokens = torch.nn.Parameter(torch.zeros(1, config.num_query_tokens, wide))
        self.language_projection = torch.nn.Linear(wide, wide)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Embedding)):
            module.weight.data.normal_(std=0.5)

    @torch.no_grad()
    def generate(self, pixel_values, input_ids, attention_mask, generation_config):
        if pixel_values.dim() != 5 or pixel_values.shape[1] > self.config.num_max_images:
            raise ValueError(f"images of shape {tuple(pixel_values.shape)}")
        if pixel_values.dtype != self.dtype or input_ids.dtype != torch.int64:
            raise TypeError(f"{pixel_values.dtype} and {input_ids.dtype}")
        cases = pixel_values.shape[0]
        patches = self.vision_model(rearrange(pixel_values, "b i c h w -> (b i) c h w"))
        patches = rearrange(patches, "(b i) d h w -> b (i h w) d", b=cases)
        queries = self.query_tokens.expand(cases, -1, -1)
        looked = torch.softmax(queries @ patches.transpose(1, 2), dim=-1) @ patches
        seen = self.language_projection(looked)
        inputs = torch.cat([seen, self.language_model.get_input_embeddings()(input_ids)], dim=1)
        mask = torch.cat([torch.ones(seen.shape[:-1], dtype=torch.long, device=inputs.device), attention_mask], dim=1)
        return self.language_model.generate(
            inputs_embeds=inputs, attention_mask=mask, generation_config=generation_config
        )
