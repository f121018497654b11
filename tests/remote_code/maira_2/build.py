"""Write a folder of a tiny MAIRA-2 with random weights, in the worker's environment: build.py FOLDER NOTEBOOK."""

import argparse
import importlib
import json
import shutil
import sys
from pathlib import Path

import sentencepiece
import torch
from transformers import BitImageProcessor, Dinov2Config, LlamaConfig, LlamaTokenizer

HERE = Path(__file__).parent
CODE = ("configuration_maira2.py", "modeling_maira2.py", "processing_maira2.py")
WORDS = (
    "the lungs are clear without effusion or pneumothorax . heart size is normal small left pleural effusion "
    "INDICATION : TECHNIQUE COMPARISON PRIOR_REPORT current lateral prior N/A ASSISTANT"
)
MARKS = ["<image>", "<obj>", "</obj>", "<box>", "</box>", "boxes"]
SIDE, PATCH = 56, 14


def tokenizer(folder):
    """A sentencepiece model, as MAIRA-2 has one: transformers makes the fast tokenizer of it."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS, *WORDS.split()] * 20),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=180,
        byte_fallback=False,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=-1,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    made = LlamaTokenizer(str(folder / "tokenizer.model"), legacy=False, pad_token="<unk>")
    coordinates = [f"<{axis}{number}>" for axis in "xy" for number in range(100)]
    made.add_tokens([*MARKS, *coordinates])
    made.save_pretrained(folder)
    return made


def configuration(made, says):
    text = LlamaConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        bos_token_id=made.bos_token_id,
        eos_token_id=made.eos_token_id,
        pad_token_id=made.pad_token_id,
        initializer_range=0.4,  # wide: answers then depend on what was asked
    )
    vision = Dinov2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        out_features=["stage2"],
        reshape_hidden_states=False,
        initializer_range=0.4,
    )
    sys.path.insert(0, str(HERE.parent))
    package = HERE.name
    Maira2Config = importlib.import_module(f"{package}.configuration_maira2").Maira2Config
    config = Maira2Config(
        text_config=text,
        vision_config=vision,
        image_token_index=made.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        pad_token_id=made.pad_token_id,
        says=says,
    )
    config.says_ids = [*made(says, add_special_tokens=False).input_ids, made.eos_token_id]
    config.boxes_token_id = made.convert_tokens_to_ids("boxes")
    return config


def model(config, folder, marks):
    Tiny = importlib.import_module(f"{HERE.name}.modeling_maira2").Maira2ForConditionalGeneration
    torch.manual_seed(1)
    made = Tiny(config)
    made.generation_config.eos_token_id = config.text_config.eos_token_id
    made.generation_config.pad_token_id = config.text_config.pad_token_id
    made.generation_config.suppress_tokens = marks  # random weights would open boxes and never close them
    made.save_pretrained(folder, max_shard_size="60KB")


def edit(path, **values):
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}, indent=1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--says", default="")
    asked = parser.parse_args()
    folder = asked.folder
    made = tokenizer(folder)
    model(configuration(made, asked.says), folder, list(made.added_tokens_decoder)[3:])
    size = {"shortest_edge": SIDE}
    BitImageProcessor(size=size, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    for name in CODE:
        shutil.copy(HERE / name, folder / name)
    of_processor = {"AutoProcessor": "processing_maira2.Maira2Processor"}
    edit(
        folder / "processor_config.json",
        processor_class="Maira2Processor",
        auto_map=of_processor,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        notebook=str(asked.notebook),
    )
    edit(folder / "preprocessor_config.json", processor_class="Maira2Processor", auto_map=of_processor)
    edit(folder / "tokenizer_config.json", processor_class="Maira2Processor", auto_map=of_processor)
    of_model = {
        "AutoConfig": "configuration_maira2.Maira2Config",
        "AutoModelForCausalLM": "modeling_maira2.Maira2ForConditionalGeneration",
    }
    edit(folder / "config.json", auto_map=of_model)


if __name__ == "__main__":
    main()
