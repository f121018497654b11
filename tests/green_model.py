"""A tiny Llama of random weights in the layout of GREEN's repository, and what it answers, greedily, step by step.

    python green_model.py save FOLDER
    python green_model.py answers FOLDER MAX_LENGTH < questions.json     # an answer a line, as JSON

It runs in the environment of GREEN's worker, whose transformers still has the tokenizer of sentencepiece.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

SAID = [
    "[Explanation]: [Clinically Significant Errors]: (a) (b) [Matched Findings]: 1. 2. 3.",
    "Objective: Evaluate the accuracy of a candidate radiology report in comparison to a reference radiology report",
    "The heart is enlarged. No pleural effusion. Small left pneumothorax. The lungs are clear. <|user|> <|assistant|>",
]


def save(folder: Path) -> None:
    import sentencepiece
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SAID * 20), model_writer=model, vocab_size=320, model_type="bpe", byte_fallback=True,
        character_coverage=1.0, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2,
        remove_extra_whitespaces=False, normalization_rule_name="identity", hard_vocab_limit=False,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": False, "padding_side": "right"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "CheXagentTokenizer"}))
    torch.manual_seed(4)
    shape = LlamaConfig(
        vocab_size=sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.5,
    )
    llama = LlamaForCausalLM(shape)
    llama.generation_config.do_sample, llama.generation_config.temperature, llama.generation_config.top_p = (
        True,
        0.6,
        0.9,
    )
    llama.save_pretrained(folder)


def answers(folder: Path, max_length: int, questions: list[str]) -> list[str]:
    """Return the likeliest token after the other, of each question alone, as the published code puts it."""
    import torch
    from transformers import LlamaForCausalLM, LlamaTokenizer

    model = LlamaForCausalLM.from_pretrained(folder).eval()
    tokenizer: Any = LlamaTokenizer.from_pretrained(folder, legacy=False)
    found = []
    for question in questions:
        text = f"<|user|>\n{question}</s>\n<|assistant|>\n</s>\n<|assistant|>\n"
        ids = [1, *tokenizer(text, add_special_tokens=False)["input_ids"], 2]
        said: list[int] = []
        while len(ids) + len(said) < max_length:
            with torch.no_grad():
                said.append(int(model(torch.tensor([ids + said])).logits[0, -1].argmax()))
            if said[-1] == 2:
                break
        found.append(tokenizer.decode(said, skip_special_tokens=True).strip())
    return found


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "save":
        save(Path(folder))
    else:
        for answer in answers(Path(folder), int(rest[0]), json.load(sys.stdin)):
            print(json.dumps(answer))
