"""A tiny stand-in for CheXagent-2-3b, for tests: SigLIP and Phi with random weights.

As the published one it asserts its version of transformers, loads its vision tower and its tokenizer by their names in
the hub, and opens images by the paths that it reads out of the prompt.
"""

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoModel, AutoTokenizer, PhiForCausalLM

from .configuration_chexagent import CheXagentConfig

assert transformers.__version__ == "4.40.0", "Please install transformers==4.40.0"


class Visual(torch.nn.Module):
    def __init__(self, vision_model_name_or_path, image_size, output_dim):
        super().__init__()
        self.image_size = image_size
        self.model = AutoModel.from_pretrained(vision_model_name_or_path).vision_model
        self.proj = torch.nn.Parameter(torch.zeros(self.model.config.hidden_size, output_dim))

    def encode(self, paths):
        images = []
        for path in paths:
            image = Image.open(path).convert("RGB").resize((self.image_size, self.image_size), Image.BICUBIC)
            images.append(torch.from_numpy(np.asarray(image).astype(np.float32) / 127.5 - 1).permute(2, 0, 1))
        pixels = torch.stack(images).to(device=self.proj.device, dtype=self.proj.dtype)
        return self.model(pixels, output_hidden_states=True).hidden_states[-1] @ self.proj


class CheXagentForCausalLM(PhiForCausalLM):
    config_class = CheXagentConfig

    def __init__(self, config):
        super().__init__(config)
        self.visual = Visual(**config.visual)
        self.tokenizer = AutoTokenizer.from_pretrained("StanfordAIMI/CheXagent-2-3b", trust_remote_code=True)
        self.post_init()

    def forward(self, input_ids=None, past_key_values=None, inputs_embeds=None, **rest):
        start, end, pad = self.tokenizer.convert_tokens_to_ids(["<|img|>", "<|/img|>", "<|imgpad|>"])
        if input_ids is None or not (input_ids == start).any():
            return super().forward(
                input_ids=input_ids, past_key_values=past_key_values, inputs_embeds=inputs_embeds, **rest
            )
        embeddings = self.get_input_embeddings()(input_ids)
        spans = [
            (row, first, last)
            for (row, first), (_, last) in zip(
                (input_ids == start).nonzero().tolist(), (input_ids == end).nonzero().tolist(), strict=True
            )
        ]
        paths = [
            self.tokenizer.decode([token for token in input_ids[row, first + 1 : last].tolist() if token != pad])
            for row, first, last in spans
        ]
        for (row, first, last), seen in zip(spans, self.visual.encode(paths), strict=True):
            embeddings[row, first + 1 : last] = seen
        return super().forward(past_key_values=past_key_values, inputs_embeds=embeddings, **rest)
