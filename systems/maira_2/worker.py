# /// script
# requires-python = ">=3.10,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==4.51.3",
#   "accelerate==1.10.1",
#   "numpy==2.2.6",
#   "pillow==12.3.0",
#   "protobuf==6.33.6",
#   "sentencepiece==0.2.1",
# ]
# ///
"""The worker of MAIRA-2: published processor, prompt and decoding, from a local folder of microsoft/maira-2."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench_worker import Case, Report, Unavailable, need_weights, serve

PAGE = "https://huggingface.co/microsoft/maira-2"
TOKENS, GROUNDED_TOKENS = 300, 450
"""New tokens at most, as the model card has it: without and with boxes."""
DEFAULTS: Mapping[str, Any] = {
    "grounding": False,
    "lateral": True,
    "prior": True,
    "prior_report": "whole",
    "indication": True,
    "technique": True,
    "comparison": True,
    "max_new_tokens": None,
    "num_beams": 1,
    "dtype": "float32",
}
MARKS = re.compile(r"<box>.*?(?:</box>|$)|</?(?:obj|box)>|<[xy]\d+>", re.DOTALL)
"""What a grounded text has beside its sentences; the last box of a text that was cut short has no end."""

Box = tuple[float, float, float, float]


# ------------------------------------------------------------------ what the model is given


class Inputs(NamedTuple):
    """One case as the processor takes it: paths of images, texts of sections; None where there is none."""

    current_frontal: str
    current_lateral: str | None
    prior_frontal: str | None
    indication: str | None
    technique: str | None
    comparison: str | None
    prior_report: str | None

    def given(self) -> str:
        """Return what the model sees beside the frontal image, in words."""
        names = [name.replace("_", " ") for name, value in self._asdict().items() if value is not None]
        return ", ".join(names)


def chosen(case: Case, options: Mapping[str, Any]) -> Inputs:
    """Return what of a case the options let the model see.

    The processor writes an earlier report into the prompt only beside an earlier frontal image, so neither is given
    where there is no such image.
    """
    prior_frontal = case.prior_frontal if options["prior"] else None
    return Inputs(
        current_frontal=case.frontal,
        current_lateral=case.lateral if options["lateral"] else None,
        prior_frontal=prior_frontal,
        indication=_section(case.indication, options["indication"]),
        technique=_section(case.technique, options["technique"]),
        comparison=_section(case.comparison, options["comparison"]),
        prior_report=prior_text(case, options["prior_report"]) if prior_frontal is not None else None,
    )


def prior_text(case: Case, part: str) -> str | None:
    """Return the latest earlier report on one line: "whole", its "findings", or None for "none"."""
    if part == "none" or not case.priors:
        return None
    latest = case.priors[0]
    return _section(latest.text if part == "whole" else latest.findings, True)


def _section(text: str | None, wanted: bool) -> str | None:
    """Return a text on one line; None (the prompt then says N/A) where it is empty or not wanted."""
    return " ".join(text.split()) or None if wanted and text else None


def picture(path: str) -> Any:
    """Return an image file as the processor can take it: upright, 8 bits a channel.

    The processor makes it grey and stretches it from its minimum to its maximum; Pillow would first clip 16- and 32-bit
    values at 255, so those are stretched here.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        opened.load()
        upright = ImageOps.exif_transpose(opened)
    return _eight_bits(upright) if upright.mode.startswith(("I", "F")) else upright


def _eight_bits(deep: Any) -> Any:
    import numpy as np
    from PIL import Image

    values = np.asarray(deep, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the image has pixel values that are not finite")
    spread = values.max() - values.min()
    return Image.fromarray(np.rint((values - values.min()) * (255 / (spread or 1.0))).astype(np.uint8))


# ------------------------------------------------------------------ what the model says


def read_answer(
    said: str, parse: Callable[[str], Any], original: Callable[[Box], Box]
) -> tuple[str, list[tuple[str, str]]]:
    """Return plain text and notes: a note a box, where the model located a finding.

    parse: the processor's own reader; it returns a text, or a list of (sentence, boxes or None), and fails on marks
    that do not pair up. original: a box of the square that the model saw → of the whole frontal image, both in shares
    of width and height.
    """
    try:
        parsed = parse(said)
    except (AssertionError, ValueError) as err:
        why = f"marks of the answer do not pair up, boxes are lost{': ' if str(err) else ''}{err}"
        return unmarked(said), [("grounding", why)]
    if isinstance(parsed, str):
        return " ".join(parsed.split()), []
    sentences = [" ".join(sentence.split()) for sentence, _ in parsed]
    notes = [
        ("box", f"{sentence} [{_shown(original(box))}]")
        for sentence, (_, boxes) in zip(sentences, parsed, strict=True)
        for box in boxes or ()
    ]
    return " ".join(sentence for sentence in sentences if sentence), notes


def unmarked(text: str) -> str:
    """Return a text without the marks of grounding."""
    return " ".join(MARKS.sub(" ", text).split())


def _shown(box: Box) -> str:
    return ", ".join(f"{side} {share:.3f}" for side, share in zip(("left", "top", "right", "bottom"), box, strict=True))


# ------------------------------------------------------------------ the model


class Model:
    """MAIRA-2 (Bannur et al. 2024): the findings of a study from its images, an earlier one, and the order's text."""

    def __init__(self, options: Mapping[str, Any], device: str) -> None:
        self.options = {**DEFAULTS, **options}
        folder = Path(self.options["model"])
        check_folder(folder)
        check_transformers()
        import torch
        from transformers import AutoModelForCausalLM, AutoProcessor

        self.device, self.dtype = device, getattr(torch, self.options["dtype"])
        self.processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True, local_files_only=True)
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"  # a decoder goes on from the last token
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            trust_remote_code=True,
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=self.dtype,
            device_map={"": device},  # straight to the device: 28 GB of float32 need not fit into memory twice
            output_loading_info=True,
        )
        need_weights(folder, model, told["missing_keys"], spare="mask_token")  # here no patch is hidden
        self.model = model.eval()
        self.generation = {
            "max_new_tokens": self.options["max_new_tokens"]
            or (GROUNDED_TOKENS if self.options["grounding"] else TOKENS),
            "num_beams": self.options["num_beams"],
            "do_sample": False,
            "use_cache": True,
        }
        self.settings = self._settings()
        self.facts = {"parameters": sum(p.numel() for p in self.model.parameters())}

    def _settings(self) -> dict[str, Any]:
        shown = [name for name in ("lateral", "prior", "indication", "technique", "comparison") if self.options[name]]
        return {
            "grounding": self.options["grounding"],
            "shown beside the frontal image, where a case has it": shown,
            "earlier report": self.options["prior_report"] if self.options["prior"] else "none",
            **self.generation,
            "dtype": self.options["dtype"],
            "attention": getattr(self.model.config, "_attn_implementation", ""),
            "image processor": type(self.processor.image_processor).__name__,
            "prompt": self._prompt(),
        }

    def _prompt(self) -> str:
        """Return the prompt of a case that has everything, with names of sections in the place of their texts."""
        from PIL import Image

        grey = Image.linear_gradient("L")
        names = {name: f"{{{name}}}" for name in ("indication", "technique", "comparison", "prior_report")}
        text, _ = self.processor.format_reporting_input(
            current_frontal=grey,
            current_lateral=grey if self.options["lateral"] else None,
            prior_frontal=grey if self.options["prior"] else None,
            get_grounding=self.options["grounding"],
            **names,
        )
        return str(text)

    def write(self, cases: Sequence[Case]) -> list[Report]:
        """Return the findings of each case, with notes: what the model saw, its boxes, whether it was cut short."""
        inputs = [chosen(case, self.options) for case in cases]
        frontals = [picture(one.current_frontal) for one in inputs]
        rows = self._generated(self._processed(inputs, frontals))
        return [self._report(*one) for one in zip(inputs, frontals, rows, strict=True)]

    def _processed(self, inputs: Sequence[Inputs], frontals: Sequence[Any]) -> Any:
        """Return the model's input: of one case by the published call, of more by the two calls that it is made of."""
        asked = [self._arguments(*one) for one in zip(inputs, frontals, strict=True)]
        if len(asked) == 1:
            processed = self.processor.format_and_preprocess_reporting_input(**asked[0], return_tensors="pt")
        else:
            texts, images = zip(*(self.processor.format_reporting_input(**one) for one in asked), strict=True)
            flat = [image for of_case in images for image in of_case]
            processed = self.processor(text=list(texts), images=flat, padding=True, return_tensors="pt")
        return processed.to(self.device, self.dtype)  # casts pixels only: tokens stay integers

    def _arguments(self, one: Inputs, frontal: Any) -> dict[str, Any]:
        images = {
            "current_frontal": frontal,
            "current_lateral": picture(one.current_lateral) if one.current_lateral else None,
            "prior_frontal": picture(one.prior_frontal) if one.prior_frontal else None,
        }
        return {**one._asdict(), **images, "get_grounding": self.options["grounding"]}

    def _generated(self, processed: Any) -> list[list[int]]:
        """Return the new tokens of each case."""
        import torch

        with torch.inference_mode():
            output = self.model.generate(**processed, **self.generation)
        return [row.tolist() for row in output[:, processed["input_ids"].shape[-1] :]]

    def _report(self, one: Inputs, frontal: Any, row: list[int]) -> Report:
        tokens, ended = up_to_end(row, self._ends())
        said = self.processor.decode(tokens, skip_special_tokens=True).lstrip()
        width, height = frontal.size
        text, notes = read_answer(
            said,
            self.processor.convert_output_to_plaintext_or_grounded_sequence,
            lambda box: self.processor.adjust_box_for_original_image_size(box, width=width, height=height),
        )
        cut = [] if ended else [("cut short", f"after {len(tokens)} tokens (max_new_tokens)")]
        return Report(text, (("given", one.given()), *notes, *cut))

    def _ends(self) -> frozenset[int]:
        ends = self.model.generation_config.eos_token_id
        return frozenset(ends if isinstance(ends, (list, tuple)) else [ends])


def up_to_end(row: Sequence[int], ends: frozenset[int]) -> tuple[list[int], bool]:
    """Return the tokens before the first that ends an answer, and whether there is one; after it comes padding."""
    for place, token in enumerate(row):
        if token in ends:
            return list(row[:place]), True
    return list(row), False


def check_folder(folder: Path) -> None:
    """Raise Unavailable where a folder cannot be MAIRA-2's."""
    names = ("config.json", "processor_config.json", "*.safetensors")
    missing = [name for name in names if not any(folder.glob(name))]
    if missing:
        raise Unavailable(
            f"{folder} is no folder of MAIRA-2: it lacks {', '.join(missing)}",
            f"set systems.maira-2.model to a snapshot of microsoft/maira-2 (terms at {PAGE})",
        )


def check_transformers() -> None:
    """Raise Unavailable where transformers (in an environment of the user's own) is too old or new for MAIRA-2."""
    from transformers import __version__

    if not (4, 48) <= tuple(int(part) for part in __version__.split(".")[:2]) < (4, 52):
        raise Unavailable(
            f"MAIRA-2's code works with transformers 4.48 to 4.51; this environment has {__version__}",
            'let uv build the environment (runner: uv), or pip install "transformers>=4.48,<4.52" into yours',
        )


if __name__ == "__main__":
    serve(Model)
