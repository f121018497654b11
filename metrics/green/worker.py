# /// script
# requires-python = ">=3.10,<3.13"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==4.40.0",
#   "tokenizers==0.19.1",
#   "sentencepiece>=0.2,<0.3",
#   "protobuf>=4,<7",
#   "numpy==1.26.4",
# ]
# ///
"""GREEN's model: a Llama that answers one question a pair of reports, greedily.

As the published code asks it: each turn ends with </s>, the text gets <s> before and </s> behind, batches are padded on
the left, question and answer share max_length tokens. The repository's own tokenizer class is Llama's with additions
for images, which no question has; so Llama's is used here, and no code of the repository runs.
"""

from __future__ import annotations

import torch
from bench_worker import need_files, need_weights, serve
from transformers import AutoModelForCausalLM, LlamaTokenizer


class Green:
    """A causal language model that was trained to count errors."""

    def __init__(self, options: dict, device: str) -> None:
        """Load the folder options["model"] in options["dtype"]."""
        folder, self.options, self.device = options["model"], options, device
        need_files(folder, "config.json", "tokenizer.model", "tokenizer_config.json", "*.safetensors")
        self.tokenizer = LlamaTokenizer.from_pretrained(
            folder, add_bos_token=True, add_eos_token=True, padding_side="left", local_files_only=True
        )
        self.tokenizer.pad_token = self.tokenizer.eos_token
        dtype = options["dtype"]
        if dtype == "auto":
            dtype = "float32" if device == "cpu" else "float16"
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            torch_dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        need_weights(folder, model, told["missing_keys"])
        self.model = model.to(device).eval()
        self.facts = {"parameters": self.model.num_parameters()}
        self.settings = {
            "dtype": dtype,
            "do_sample": False,
            "max_length": options["max_length"],
            "asked": self.chat("…"),
        }

    def chat(self, question: str) -> str:
        """Return the text of a chat that is to be answered."""
        end = self.tokenizer.eos_token
        empty = f"<|assistant|>\n{end}\n" if self.options["empty_turn"] else ""
        return f"<|user|>\n{question}{end}\n{empty}<|assistant|>\n"

    def annotate(self, texts: list[str]) -> list[dict]:
        """Return {"answer": text} of each question, which has as many tokens left in a batch as alone."""
        given = [self.chat(text) for text in texts]
        left = [self.options["max_length"] - len(ids) for ids in self.tokenizer(given)["input_ids"]]
        if min(left) < 1:
            raise ValueError(f"a question leaves no token of max_length = {self.options['max_length']} for an answer")
        batch = self.tokenizer(given, return_tensors="pt", padding=True).to(self.device)
        with torch.inference_mode():
            rows = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
                do_sample=False,
                temperature=None,
                top_p=None,
                max_new_tokens=max(left),
            )[:, batch["input_ids"].shape[1] :].tolist()
        return [self.read(row[:n]) for row, n in zip(rows, left, strict=True)]

    def read(self, ids: list[int]) -> dict:
        """Return the text of an answer."""
        return {"answer": self.tokenizer.decode(ids, skip_special_tokens=True).strip()}


if __name__ == "__main__":
    serve(Green)
