"""Encoders from transformers: RAD-DINO, and any other vision model of the Hugging Face hub or a folder.

The embedding of an image is the model's class token: `pooler_output` where the model gives one with trained weights
(for a Dinov2 such as RAD-DINO it is the class token after the final layer norm), else `last_hidden_state[:, 0]`.

Images are decoded and preprocessed by threads ahead of the model. The model always runs at one batch shape, the last
batch filled up with zeros: kernels are chosen by shape, so a row is the same bits whatever it is encoded with. On a
CPU the batch is one image: a ViT-B/14 at 518 pixels has 1,370 tokens, enough to fill its cores, and nothing is wasted.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from pydantic import Field

from bench.contracts import Asset, Context, Embeddings
from bench.errors import BenchError, Unavailable, missing_package
from bench.hub import quiet
from bench.images import Unreadable, read
from bench.options import Options
from systems.encoders import checkpoints, compute

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image as Picture

Precision = Literal["float32", "tf32", "float16", "bfloat16"]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

POOLING = "pooler_output where the checkpoint has its weights, else last_hidden_state[:, 0]"
VERSION = 1
"""Raised with every change of the reading or preprocessing that moves a number."""
LARGEST_BATCH = 128
LONGEST_SIDES = 50
"""A picture longer than so many times its width is no radiograph; resizing its short side would fill the memory."""
AMPERE = (8, 0)
"""First CUDA compute capability with TF32."""
UNLOADABLE = (OSError, ValueError, KeyError, ImportError, AttributeError, RuntimeError)
"""What transformers raises for a checkpoint it does not understand, or that is damaged."""


class PassOptions(Options):
    """Options of every encoder that runs a model of transformers."""

    batch_size: int | None = Field(None, ge=1)
    """Images a forward pass; by default 1 on a CPU and, by memory, up to 128 on a GPU."""
    workers: int | None = Field(None, ge=1)
    """Threads that decode and preprocess; by default 2 on a CPU, one a core (16 at most) beside a GPU."""
    precision: Literal["auto", "float32", "tf32", "float16", "bfloat16"] = "auto"
    """Arithmetic of the model. auto: tf32 on CUDA from Ampere on, else float32. float16 and bfloat16 are autocast."""


class HFOptions(PassOptions):
    """Options of `HFEncoder`."""

    model: str = Field(min_length=1)
    """Id on the Hugging Face hub, or a folder with config.json, preprocessor_config.json and safetensors weights."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; by default the one in the local cache, else the newest."""


class RadDinoOptions(HFOptions):
    """Options of `RadDino`."""

    model: str = Field("microsoft/rad-dino", min_length=1)
    """Id on the Hugging Face hub, or the folder of a copy."""


class VisionEncoder:
    """What encoders that run a vision model of transformers share: preprocessing, forward passes, refusals.

    A subclass says what the model is: `folder`, where its files lie; `_config`, its configuration; `_network`, the
    model with its image processor; `_identity`, what its weights and preprocessing are known by. `name` stands for
    it in messages.
    """

    def __init__(self, name: str, options: PassOptions, context: Context) -> None:
        self.name, self.context = name, context
        self.precision: Precision = resolve_precision(options.precision, context.device)
        self.batch_size = options.batch_size or default_batch_size(context.device)
        self.workers = options.workers or default_workers(context.device)

    @property
    def folder(self) -> Path:
        """Where config.json and the processor's settings lie."""
        raise NotImplementedError

    @property
    def _config(self) -> Any:
        raise NotImplementedError

    @property
    def _network(self) -> Network:
        raise NotImplementedError

    def _identity(self) -> Mapping[str, Any]:
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        sizes = getattr(self._config, "hidden_sizes", None)
        dim = getattr(self._config, "hidden_size", None) or (sizes[-1] if sizes else None)
        if not isinstance(dim, int):
            raise BenchError(f"{self.name}: its config.json names no hidden_size; is it a vision model?")
        return dim

    def fingerprint(self) -> str:
        """Return a hash of weights, configuration, processor settings, precision and pooling rule.

        The same wherever a checkpoint lies and for every batch size; its weights are read once to be hashed, and no
        model is loaded.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        parts = {
            **self._identity(),
            "precision": self.precision,
            "pooling": POOLING,
            "version": VERSION,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{self._config.model_type}-{self.precision}-{digest[:24]}"

    def flops(self) -> float | None:
        """Return the floating-point operations of one image; None for an architecture that is not counted."""
        processor = checkpoints.read_json(checkpoints.processor_file(self.folder, self.name))
        return compute.model_flops(self._config, compute.processed_size(processor))

    def encode(self, images: Sequence[Path]) -> Embeddings:
        """Return float32 [n, dim]; a row of NaN where the file could not be decoded."""
        rows = np.full((len(images), self.dim), np.nan, np.float32)
        if not images:
            return rows
        network = self._network
        places: list[int] = []
        outputs: list[torch.Tensor] = []
        window = 2 * self.batch_size + self.workers
        with (
            ThreadPoolExecutor(self.workers, "decode") as pool,
            closing(_ahead(pool, self._pixels, images, window)) as pixels,
        ):
            readable = ((place, found) for place, found in enumerate(pixels) if found is not None)
            while batch := list(islice(readable, self.batch_size)):
                places.extend(place for place, _ in batch)
                outputs.append(network.forward([found for _, found in batch], self.batch_size))
        if places:
            rows[places] = self._checked(network.gathered(outputs))
        return rows

    def why_unreadable(self, image: Path) -> str | None:
        """Return why a file cannot be decoded, or None where it can."""
        try:
            _picture(image)
        except Unreadable as err:
            return str(err)
        return None

    def _pixels(self, image: Path) -> np.ndarray | None:
        try:
            picture = _picture(image)
        except Unreadable:
            return None
        return self._network.preprocess(picture)

    def _checked(self, found: Embeddings) -> Embeddings:
        if found.shape[1:] != (self.dim,):
            raise BenchError(f"{self.name} gives embeddings of {list(found.shape[1:])}, not of [{self.dim}]")
        if not np.isfinite(found).all():
            raise BenchError(
                f"{self.name} gives embeddings that are not finite in {self.precision}: set precision to "
                "float32, and if that does not help fetch the weights again"
            )
        return found


class HFEncoder(VisionEncoder):
    """Any vision model of transformers, from the hub or a folder.

    Cheap to build: the checkpoint is looked for on the first use of `dim` or `fingerprint`, the model loaded by the
    first `encode`. No code of a repository is ever run, and no pickle opened.
    """

    Options: type[HFOptions] = HFOptions
    argument = "model"

    def __init__(self, options: HFOptions, context: Context) -> None:
        super().__init__(options.model, options, context)
        self.options = options

    def assets(self) -> Sequence[Asset]:
        """Return the checkpoint, where it is the hub's."""
        return checkpoints.assets(self.options.model, self.options.revision)

    @cached_property
    def folder(self) -> Path:
        """Where the checkpoint lies. Raises Unavailable where it is not to be had."""
        need_packages(self.name)
        return checkpoints.locate(self.options.model, self.options.revision, self.context)

    @cached_property
    def _config(self) -> Any:
        return vision_config(self.folder, self.name)

    @cached_property
    def _network(self) -> Network:
        with quiet():
            processor = load_processor(self.folder, self.name)
            model, trained_pooler = _load_model(self.folder, self.name, self._config)
        return Network(self.name, processor, model, trained_pooler, self.context.device, self.precision)

    def _identity(self) -> Mapping[str, Any]:
        return checkpoints.identity(self.folder, self.context)


class RadDino(HFEncoder):
    """RAD-DINO (Pérez-García et al. 2024): ViT-B/14 trained on chest radiographs; 768-d class token at 518 pixels."""

    Options: type[HFOptions] = RadDinoOptions


class Network:
    """A model of transformers with its image processor, on a device; `use_pooler` where its pooler may be used."""

    def __init__(
        self, name: str, processor: Any, model: Any, use_pooler: bool, device: str, precision: Precision
    ) -> None:
        self.name, self.device, self.precision = name, device, precision
        self.processor, self.use_pooler = processor, use_pooler
        self.model = model.eval().requires_grad_(False).to(device)
        self._grey_first = _resizes_bands_alone(self.processor)

    def preprocess(self, picture: Picture) -> np.ndarray:
        """Return the image processor's float32 [3, height, width] of an 8-bit picture.

        A grey picture is resized before it is spread to three channels: Pillow resizes each band by itself, so the
        numbers are the same and most of the time is saved.
        """
        given: dict[str, Any] = {}
        if self._grey_first and picture.mode == "L":
            picture = self._resized(picture)
            given["do_resize"] = False
        try:
            found = self.processor(images=picture, return_tensors="np", **given)["pixel_values"]
        except (ValueError, TypeError, KeyError) as err:
            raise BenchError(f"{self.name}: its image processor fails: {err}") from err
        return np.asarray(found[0], np.float32)

    def _resized(self, picture: Picture) -> Picture:
        from PIL import Image

        grey = np.asarray(picture)[None]
        return Image.fromarray(self.processor.resize(grey, self.processor.size, self.processor.resample)[0])

    def forward(self, pixels: Sequence[np.ndarray], batch_size: int) -> torch.Tensor:
        """Return the class tokens [len(pixels), dim] on the device; the batch is filled up to `batch_size`."""
        import torch

        batch = self._batch(pixels, batch_size)
        try:
            with torch.inference_mode(), _arithmetic(self.device, self.precision):
                output = self.model(pixel_values=batch)
        except torch.OutOfMemoryError:
            raise BenchError(f"{self.name}: {batch_size} images do not fit into memory: lower batch_size") from None
        except ValueError as err:  # the processor's crop is not the size the model was made for, and the like
            raise BenchError(f"{self.name}: the model refuses its processor's images: {err}") from err
        return self._pooled(output)[: len(pixels)].float()

    def _batch(self, pixels: Sequence[np.ndarray], batch_size: int) -> torch.Tensor:
        import torch

        shapes = {array.shape for array in pixels}
        if len(shapes) > 1:
            raise BenchError(f"{self.name}: its image processor gives several sizes ({sorted(shapes)}), one is needed")
        on_cuda = self.device.startswith("cuda")
        batch = torch.zeros((batch_size, *shapes.pop()), pin_memory=on_cuda)
        for place, array in enumerate(pixels):
            batch[place] = torch.from_numpy(array)
        return batch.to(self.device, non_blocking=on_cuda)

    def _pooled(self, output: Any) -> torch.Tensor:
        pooled: torch.Tensor | None = getattr(output, "pooler_output", None) if self.use_pooler else None
        if pooled is None:
            return output.last_hidden_state[:, 0]  # type: ignore[no-any-return]
        return pooled.flatten(1)  # convolutional models keep two axes of length 1

    def gathered(self, outputs: Sequence[torch.Tensor]) -> Embeddings:
        """Return the outputs of several batches as one array; waits for the device once."""
        import torch

        return np.asarray(torch.cat(list(outputs)).cpu().numpy(), np.float32)


def resolve_precision(wanted: Literal["auto"] | Precision, device: str) -> Precision:
    """Return the precision a device computes in.

    "auto" is float32 on a CPU and TF32 on CUDA where there is TF32: products of 10-bit mantissas summed in float32,
    with float32 activations. That is float16's mantissa without its overflow and several times float32's speed, when
    decoding images is the slower part already; bfloat16 (7 bits) would add noise for an SAE to reconstruct.
    Raises BenchError for tf32 on a device that has none.
    """
    has_tf32 = device.startswith("cuda") and _capability(device) >= AMPERE
    if wanted == "auto":
        return "tf32" if has_tf32 else "float32"
    if wanted == "tf32" and not has_tf32:
        raise BenchError(
            f"precision tf32 needs a CUDA device of the Ampere generation or later, not {device}: use auto"
        )
    return wanted


def _capability(device: str) -> tuple[int, int]:
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    return major, minor


def default_batch_size(device: str) -> int:
    """Return 1 on a CPU; on CUDA the largest power of two up to 4 images a GiB, from 8 to `LARGEST_BATCH`."""
    if not device.startswith("cuda"):
        return 1
    import torch

    gib = torch.cuda.get_device_properties(device).total_memory / 2**30
    return max(8, min(LARGEST_BATCH, 1 << int(4 * gib).bit_length() - 1))


def default_workers(device: str) -> int:
    """Return the number of decoding threads; on a CPU the model itself needs the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 2 if device == "cpu" else 16)


def need_packages(model: str) -> None:
    """Raise Unavailable where torch or transformers is not installed."""
    for package in ("torch", "transformers"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise missing_package(f"the encoder {model}", package, "hf") from None


def _picture(image: Path) -> Picture:
    """Return the picture. Raises Unreadable."""
    picture = read(image)
    short, long = sorted(picture.size)
    if long > LONGEST_SIDES * short:
        raise Unreadable(f"{picture.width} × {picture.height} pixels: too narrow for a radiograph")
    return picture


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Asked], Answer], items: Sequence[Asked], window: int
) -> Generator[Answer, None, None]:
    """Yield function(item) in order, computed by the pool up to `window` items ahead."""
    waiting: deque[Future[Answer]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def vision_config(folder: Path, name: str) -> Any:
    """Return the configuration of a checkpoint; of a model of images and texts that of its image side."""
    from transformers import AutoConfig

    with explained(name), quiet():
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return getattr(config, "vision_config", None) or config


def load_processor(folder: Path, name: str) -> Any:
    """Return the checkpoint's image processor on Pillow; torchvision's resizes to slightly other numbers."""
    from transformers import AutoImageProcessor

    with explained(name):
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False, local_files_only=True
        )
    if getattr(processor, "backend", "pil") != "pil" or type(processor).__name__.endswith("Fast"):
        kind = type(processor).__name__
        raise Unavailable(f"{name}: this transformers has no Pillow form of {kind}", "pip install -U transformers")
    return processor


def _load_model(folder: Path, name: str, config: Any) -> tuple[Any, bool]:
    """Return the model in float32, and whether a pooler in it has trained weights.

    Raises BenchError where weights are missing in the checkpoint, which transformers would draw at random.
    """
    from transformers import AutoModel

    with explained(name):
        model, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype="float32",
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    missing = _faulty(report)
    if others := [key for key in missing if "pooler." not in key]:
        raise BenchError(f"{name}: {len(others)} weights are missing or misshapen in the checkpoint, e.g. {others[0]}")
    return model, not missing


def _faulty(report: Mapping[str, Any]) -> list[str]:
    mismatched = (str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"])
    return sorted([*map(str, report["missing_keys"]), *mismatched])


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what transformers raises about a checkpoint into a BenchError."""
    from safetensors import SafetensorError

    try:
        yield
    except (*UNLOADABLE, SafetensorError) as err:
        lines = str(err).strip().splitlines() or [""]
        raise BenchError(f"{name}: transformers cannot load it: {type(err).__name__}: {lines[0]}") from err


def _resizes_bands_alone(processor: Any) -> bool:
    """Return whether the processor resizes first, by Pillow, as transformers' own base class does."""
    try:
        from transformers.image_processing_backends import PilBackend
    except ImportError:
        return False
    kind = type(processor)
    return bool(
        isinstance(processor, PilBackend)
        and processor.do_resize
        and processor.do_convert_rgb
        and kind._preprocess is PilBackend._preprocess
        and kind.resize is PilBackend.resize
    )


@contextmanager
def _arithmetic(device: str, precision: Precision) -> Iterator[None]:
    """Compute in a precision; the settings of torch are put back."""
    import torch

    with ExitStack() as stack:
        if precision in ("float16", "bfloat16"):
            stack.enter_context(torch.autocast(torch.device(device).type, getattr(torch, precision)))
        if device.startswith("cuda"):
            tf32 = precision == "tf32"
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=tf32))
        yield
