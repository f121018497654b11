"""Makes the tiny stand-ins for CheXagent and asks them as the published snippets do: run in the workers' environments.

python chexagent_models.py make-8b FOLDER
python chexagent_models.py make-2-3b HUB_CACHE
python chexagent_models.py ask-8b FOLDER QUESTIONS.json        # prints a JSON list of answers
HF_HUB_CACHE=HUB_CACHE python chexagent_models.py ask-2-3b FOLDER QUESTIONS.json
"""

import json
import shutil
import string
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMMIT = "1234567890" * 4
TOWER = "StanfordAIMI/XraySigLIP__vit-l-16-siglip-384__webli"
CHARACTERS = [*string.printable, "é"]


def make_8b(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import BlipImageProcessor, PreTrainedTokenizerFast
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    folder.mkdir(parents=True)
    for name in ("configuration", "modeling", "processing"):
        shutil.copy(HERE / "chexagent" / f"{name}_chexagent.py", folder)
    words = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *CHARACTERS])}
    tokens = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokens.decoder = decoders.Fuse()
    tokens.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    change(
        folder / "preprocessor_config.json",
        processor_class="CheXagentProcessor",
        auto_map={"AutoProcessor": "processing_chexagent.CheXagentProcessor"},
    )
    text = {
        "model_type": "mistral",
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = get_class_from_dynamic_module("configuration_chexagent.CheXagentConfig", str(folder))(text_config=text)
    torch.manual_seed(3)
    model = get_class_from_dynamic_module("modeling_chexagent.CheXagentForConditionalGeneration", str(folder))(config)
    with torch.no_grad():
        model.query_tokens.normal_()
        model.language_model.lm_head.weight[2] *= 3  # some answers end by themselves
    model.save_pretrained(folder)
    change(
        folder / "config.json",
        architectures=["CheXagentForConditionalGeneration"],
        auto_map={
            "AutoConfig": "configuration_chexagent.CheXagentConfig",
            "AutoModelForCausalLM": "modeling_chexagent.CheXagentForConditionalGeneration",
        },
    )
    how = {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "do_sample": False,
        "num_beams": 5,
        "min_length": 0,
        "max_length": 256,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
        "length_penalty": 1.0,
        "temperature": 1,
    }
    (folder / "generation_config.json").write_text(json.dumps(how))


def make_2_3b(hub: Path) -> None:
    """Make both repositories in a cache as huggingface_hub lays it out."""
    import torch
    from transformers import SiglipConfig, SiglipModel
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    torch.manual_seed(5)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 2,
    }
    words = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
    }
    SiglipModel(SiglipConfig(vision_config=vision, text_config=words)).save_pretrained(snapshot(hub, TOWER))
    folder = snapshot(hub, "StanfordAIMI/CheXagent-2-3b")
    for name in ("configuration", "modeling", "tokenization"):
        shutil.copy(HERE / "chexagent_2" / f"{name}_chexagent.py", folder)
    tokens = ["<|endoftext|>", "<|img|>", "<|/img|>", "<|imgpad|>", *CHARACTERS]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CheXagentTokenizer",
                "clean_up_tokenization_spaces": False,
                "auto_map": {"AutoTokenizer": ["tokenization_chexagent.CheXagentTokenizer", None]},
            }
        )
    )
    config = get_class_from_dynamic_module("configuration_chexagent.CheXagentConfig", str(folder))(
        visual={"vision_model_name_or_path": TOWER, "image_size": 64, "output_dim": 32},
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    change(folder / "config.json", **config.to_dict())
    torch.manual_seed(8)
    model = get_class_from_dynamic_module("modeling_chexagent.CheXagentForCausalLM", str(folder))(config)
    with torch.no_grad():
        model.visual.proj.normal_(std=4.0)
        for parameter in model.visual.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # the model's tower is not the tower's own
        model.lm_head.weight[0] *= 2
    model.save_pretrained(folder)
    change(
        folder / "config.json",
        auto_map={
            "AutoConfig": "configuration_chexagent.CheXagentConfig",
            "AutoModelForCausalLM": "modeling_chexagent.CheXagentForCausalLM",
        },
    )


def snapshot(hub: Path, repository: str) -> Path:
    place = hub / ("models--" + repository.replace("/", "--"))
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    return place / "snapshots" / COMMIT


def change(path: Path, **more: object) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **more}))


def ask_8b(folder: str, questions: list[dict]) -> list[str]:
    """Return what the model card's snippet gives, in float32 on a CPU; lengths counted as its transformers did."""
    import torch
    from PIL import Image
    from transformers import AutoModelForCausalLM, AutoProcessor, GenerationConfig

    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, trust_remote_code=True)
    answers = []
    for question in questions:
        how = GenerationConfig.from_pretrained(folder)
        how.max_new_tokens, how.num_beams = question["max_new_tokens"], question["num_beams"]
        inputs = processor(
            images=[Image.open(path).convert("RGB") for path in question["images"]],
            text=f" USER: <s>{question['prompt']} ASSISTANT: <s>",
            return_tensors="pt",
        ).to(device="cpu", dtype=torch.float32)
        output = model.generate(**inputs, generation_config=how)[0]
        answers.append(processor.tokenizer.decode(output, skip_special_tokens=True))
    return answers


def ask_2_3b(folder: str, questions: list[dict]) -> list[str]:
    """Return what the model card's snippet gives, in float32 on a CPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).to(torch.float32).eval()
    answers = []
    for question in questions:
        query = tokenizer.from_list_format(
            [*[{"image": path} for path in question["images"]], {"text": question["prompt"]}]
        )
        talk = [{"from": "system", "value": "You are a helpful assistant."}, {"from": "human", "value": query}]
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt")
        output = model.generate(
            ids,
            do_sample=False,
            num_beams=question["num_beams"],
            temperature=1.0,
            top_p=1.0,
            use_cache=True,
            max_new_tokens=question["max_new_tokens"],
        )[0]
        ended = int(output[-1]) == tokenizer.eos_token_id  # the snippet cuts the last token, whatever it is
        answers.append(tokenizer.decode(output[ids.size(1) : len(output) - ended]))
    return answers


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what.startswith("make"):
        {"make-8b": make_8b, "make-2-3b": make_2_3b}[what](Path(where))
    else:
        asked = json.loads(Path(rest[0]).read_text())
        print(json.dumps({"ask-8b": ask_8b, "ask-2-3b": ask_2_3b}[what](where, asked)))
