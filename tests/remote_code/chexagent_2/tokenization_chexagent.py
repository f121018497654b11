"""Tokenizer of a tiny stand-in for CheXagent-2-3b, for tests: characters, images as spans of 1,024 path characters."""

import json
import os

from transformers import PreTrainedTokenizer

SPAN = 1024
START, END, PAD = "<|img|>", "<|/img|>", "<|imgpad|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['from'] + '>' + message['value'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<gpt>' }}{% endif %}"
)


class CheXagentTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "vocab.json"}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file, eos_token="<|endoftext|>", unk_token="<|endoftext|>", **rest):
        with open(vocab_file) as file:
            self.encoder = json.load(file)
        self.decoder = {number: token for token, number in self.encoder.items()}
        rest.pop("additional_special_tokens", None)
        super().__init__(eos_token=eos_token, unk_token=unk_token, additional_special_tokens=[START, END, PAD], **rest)
        self.chat_template = TEMPLATE

    @property
    def vocab_size(self):
        return len(self.encoder)

    def get_vocab(self):
        return dict(self.encoder, **self.added_tokens_encoder)

    def _tokenize(self, text):
        return list(text)

    def tokenize(self, text, **rest):
        tokens, spread, inside = super().tokenize(text, **rest), [], None
        for token in tokens:
            if token == START:
                inside = []
            elif token == END:
                if len(inside) > SPAN:
                    raise ValueError(f"a path of {len(inside)} characters")
                spread += [START, *inside, *[PAD] * (SPAN - len(inside)), END]
                inside = None
            else:
                (spread if inside is None else inside).append(token)
        return spread

    def _convert_token_to_id(self, token):
        return self.encoder[token]

    def _convert_id_to_token(self, index):
        return self.decoder[index]

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        path = os.path.join(save_directory, "vocab.json")
        with open(path, "w") as file:
            json.dump(self.encoder, file)
        return (path,)

    def from_list_format(self, parts):
        text, number = "", 0
        for part in parts:
            (kind, value), *more = part.items()
            if more or kind not in ("image", "text"):
                raise ValueError(f"part {part}")
            number += kind == "image"
            text += f"Picture {number}:{START}{value}{END}\n" if kind == "image" else value
        with open(os.path.join(self.name_or_path, ".calls.jsonl"), "a") as file:
            file.write(json.dumps(parts) + "\n")
        return text
