"""Tiny models of random weights, and what transformers itself makes of them: run in the environments of workers.

    python foreign_models.py baseline FOLDER           # saves a Swin v2 encoder with a BERT decoder
    python foreign_models.py baseline-reports FOLDER '{"num_beams": 2}' image.png …   # a report a line, as JSON
    python foreign_models.py gemma FOLDER              # saves a Gemma 3 with a vision encoder
    python foreign_models.py gemma-reports FOLDER '[{"text": "<start_of_image> findings:", …}, …]' image.png …

It is a script because transformers of a worker's environment is another one than the tests'.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

WORDS = [
    *("the", "lungs", "are", "clear", "no", "pleural", "effusion", "heart", "size", "is", "normal", "mild", "small"),
    *("large", "left", "right", "lower", "upper", "lobe", "opacity", "edema", "unchanged", "##s", "##ing", ".", ","),
]


# ------------------------------------------------------------------ an encoder-decoder


def baseline(folder: Path) -> None:
    """Save a VisionEncoderDecoderModel with its tokenizer and processor, as the published ones are saved."""
    import torch
    from transformers import (
        BertConfig,
        BertLMHeadModel,
        BertTokenizer,
        Swinv2Config,
        Swinv2Model,
        VisionEncoderDecoderModel,
        ViTImageProcessor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    tokenizer = BertTokenizer(str(vocabulary))
    torch.manual_seed(7)
    encoder = Swinv2Model(
        Swinv2Config(
            image_size=32,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
            initializer_range=0.3,
        )
    )
    decoder = BertLMHeadModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.4,
            is_decoder=True,
            add_cross_attention=True,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():  # else a report is one word over and over
        decoder.bert.embeddings.position_embeddings.weight.mul_(3)
        decoder.cls.predictions.bias[tokenizer.sep_token_id] += 3
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.eos_token_id = tokenizer.sep_token_id
    model.config.bos_token_id = tokenizer.cls_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def baseline_reports(folder: Path, how: dict[str, Any], images: list[str]) -> list[str]:
    """Return what the snippet of the published model gives, one image at a time."""
    import torch
    from PIL import Image
    from transformers import BertTokenizer, GenerationConfig, VisionEncoderDecoderModel, ViTImageProcessor

    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    tokenizer = BertTokenizer.from_pretrained(folder)
    processor = ViTImageProcessor.from_pretrained(folder)
    arguments = {
        "bos_token_id": model.config.bos_token_id,
        "eos_token_id": model.config.eos_token_id,
        "pad_token_id": model.config.pad_token_id,
        "decoder_start_token_id": tokenizer.cls_token_id,
        "num_return_sequences": 1,
        "max_length": 128,
        "use_cache": True,
        **how,
    }
    texts = []
    for path in images:
        pixels = processor(Image.open(path).convert("RGB"), return_tensors="pt").pixel_values
        with torch.no_grad():
            ids = model.generate(pixels, generation_config=GenerationConfig(**arguments))
        texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts


# ------------------------------------------------------------------ a Gemma 3 that sees images

SPECIAL = {
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}
TURNS = ["<start_of_turn>", "<end_of_turn>"]
THINKING = ["<unused94>", "<unused95>"]
TEMPLATE = """{{ bos_token }}{% set ns = namespace(first='') %}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{% set ns.first = m.content[0].text + '\\n\\n' %}
{%- else -%}<start_of_turn>{{ m.role }}
{{ ns.first }}{% for c in m.content -%}
{%- if c.type == 'image' %}<start_of_image>{% else %}{{ c.text | trim }}{% endif -%}
{%- endfor %}<end_of_turn>
{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""


def gemma(folder: Path, std: float = 0.6) -> None:
    """Save a Gemma3ForConditionalGeneration with its processor, tokenizer and chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
        Gemma3TextConfig,
        PreTrainedTokenizerFast,
        SiglipVisionConfig,
    )

    bare = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    said = [" ".join(WORDS), "You are an expert radiologist. Describe this X-ray findings: impression: user model"]
    bare.train_from_iterator(
        said,
        trainers.BpeTrainer(vocab_size=420, special_tokens=list(SPECIAL.values()), initial_alphabet=alphabet),
    )
    bare.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", bare.token_to_id("<bos>"))]
    )
    extra = {name: SPECIAL[name] for name in ("boi_token", "eoi_token", "image_token")}
    plain = {name: SPECIAL[name] for name in ("pad_token", "eos_token", "bos_token", "unk_token")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, extra_special_tokens=extra, padding_side="left", **plain)
    tokenizer.add_tokens(TURNS, special_tokens=True)
    tokenizer.add_tokens(THINKING)
    tokenizer.chat_template = TEMPLATE
    pictures = Gemma3ImageProcessor(size={"height": 56, "width": 56})
    Gemma3Processor(pictures, tokenizer, chat_template=TEMPLATE, image_seq_length=4).save_pretrained(folder)
    torch.manual_seed(11)
    config = Gemma3Config(
        text_config=Gemma3TextConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=24,
            sliding_window=16,
            initializer_range=std,
            tie_word_embeddings=False,
        ),
        vision_config=SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        initializer_range=std,
        tie_word_embeddings=False,
    )
    model = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():  # the projection of images begins as zeros; and words are likelier than stray bytes
        model.model.multi_modal_projector.mm_input_projection_weight.normal_(0, 0.5)
        for layer in model.model.language_model.layers:  # what is attended to outweighs the last word
            layer.post_attention_layernorm.weight.fill_(4)
            layer.self_attn.q_norm.weight.fill_(1)
        rows = model.lm_head.weight
        for word in {*WORDS, "findings", "impression"}:
            rows[tokenizer(" " + word, add_special_tokens=False).input_ids] *= 2
        rows[tokenizer.convert_tokens_to_ids("<end_of_turn>")] *= 2
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    model.generation_config.do_sample, model.generation_config.top_k = True, 64
    model.save_pretrained(folder)


def gemma_inputs(processor: Any, how: dict[str, Any], image: Any) -> Any:
    """Return what the snippets of the models' pages give to the model."""
    if "text" in how:
        return processor(text=how["text"], images=image, return_tensors="pt")
    seen, said = {"type": "image", "image": image}, {"type": "text", "text": how["user"]}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": how["system"]}]},
        {"role": "user", "content": [seen, said] if how["image_first"] else [said, seen]},
    ]
    return processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def gemma_reports(folder: Path, how: dict[str, Any], images: list[str]) -> list[str]:
    """Return what the snippets of the models' pages give, one image at a time."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    dtype = getattr(torch, how["dtype"])
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
    processor = AutoProcessor.from_pretrained(folder)
    texts = []
    for path in images:
        inputs = gemma_inputs(processor, how, Image.open(path).convert("RGB"))
        inputs = inputs.to(model.device, dtype=dtype)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=how["max_new_tokens"], do_sample=False)
        texts.append(processor.decode(ids[0][inputs["input_ids"].shape[-1] :], skip_special_tokens=True))
    return texts


def gemma_worker(script: Path, helper: Path, how: dict[str, Any], images: list[str]) -> dict[str, Any]:
    """Return what the worker of medgemma does in its own environment.

    given and published: token ids of a case, by the worker and by `gemma_inputs`. alone, beside: reports of cases that
    differ in images and context, one by one and in one batch.
    """
    from importlib.util import module_from_spec, spec_from_file_location

    from PIL import Image

    sys.path.append(str(helper.parent))
    spec = spec_from_file_location("medgemma_worker", script)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    bench_worker = sys.modules["bench_worker"]
    model = module.MedGemma(how["options"], "cpu")
    plain = bench_worker.Case("plain", (bench_worker.Image(images[0], "PA"),))
    given: list[Any] = []
    generate = model.model.generate
    model.model.generate = lambda **inputs: (given.append(inputs["input_ids"]), generate(**inputs))[1]
    model.write([plain])
    published = gemma_inputs(model.processor, how["published"], Image.open(images[0]).convert("RGB"))["input_ids"]
    shown = [bench_worker.Image(images[1], "LATERAL"), bench_worker.Image(images[2], "AP", "prior")]
    cases = [
        bench_worker.Case("more", (bench_worker.Image(path, "PA"), *shown[:n]), "cough and fever " * n or None)
        for n, path in enumerate(images[:3])
    ]
    return {
        "given": given[0].tolist(),
        "published": published.tolist(),
        "alone": [model.write([case])[0].text for case in cases],
        "beside": [report.text for report in model.write(cases)],
    }


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "baseline":
        baseline(Path(folder))
    elif what == "baseline-reports":
        for text in baseline_reports(Path(folder), json.loads(rest[0]), rest[1:]):
            print(json.dumps(text))
    elif what == "gemma":
        gemma(Path(folder))
    elif what == "gemma-reports":
        for how in json.loads(rest[0]):
            print(json.dumps({"texts": gemma_reports(Path(folder), how, rest[1:])}))
    elif what == "gemma-worker":
        script, helper, hows, *images = rest
        for how in json.loads(hows):
            print(json.dumps(gemma_worker(Path(script), Path(helper), how, images)))
