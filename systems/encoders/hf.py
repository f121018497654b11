"""Encoders from transformers: RAD-DINO, and any other vision model of the Hugging Face hub or a folder.

The embedding of an image is the model's class token: `pooler_output` where the model gives one (for a Dinov2 such as
RAD-DINO the class token after the final layer norm), else `last_hidden_state[:, 0]`.
"""

from __future__ import annotations
