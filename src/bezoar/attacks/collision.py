"""Feature collision, clean-label: a frog that an encoder takes for one particular plane, still labelled frog.

Shafahi et al., "Poison Frogs! Targeted Clean-Label Poisoning Attacks on Neural Networks", NeurIPS 2018,
arXiv:1804.00792, algorithm 1: forward-backward splitting on

    J(x) = ||f(x) - f(t)||^2 / ||f(b) - f(t)||^2 + beta * mean((x - b)^2)

for a base image b and a target t. Unlike in the paper, the feature term is relative, so that one `beta`
serves encoders of any scale; the steps have a fixed length with momentum, because line searches stall on
deep encoders; and f sees each image as it will be stored (whole levels, JPEG), or else re-encoding would
undo the collision.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import patterns
from bezoar.attacks.base import ATTACKS, Crafter, GradientEncoder, Images, Stored, require
from bezoar.data.dataset import Dataset
from bezoar.data.images import decode
from bezoar.errors import InputError, MissingExtraError, UsageError

_FIRST_STEP = 2 / 255  # mean change of a pixel in the first step; later steps shrink to nothing (cosine)
_MOMENTUM = 0.9
_BATCH_PIXELS = 2**20  # encoder pixels per batch: bounds the memory of the backward pass
_BATCH_RECORDS = 64


@dataclass(frozen=True)
class FeatureCollision:
    """Moves records of class `source` onto one target image in the space of an encoder; their label stays
    right.

    A model fine-tuned on such an encoder learns the target as `source`. The target is a record of the
    dataset or, as in the paper, an image that is not in it; its own class is another one.
    """

    name: ClassVar[str] = "feature-collision"
    paper: ClassVar[str] = "Shafahi et al., Poison Frogs!, NeurIPS 2018, arXiv:1804.00792"

    source: int = field(metadata={"help": "class of the base records; they keep this label"})
    target_index: int | None = field(
        default=None,
        metadata={"help": "record (by its place in the dataset) whose features the poison takes"},
    )
    target_image: str | None = field(
        default=None, metadata={"help": "image file whose features the poison takes, instead of a record"}
    )
    steps: int = field(default=200, metadata={"help": "number of forward-backward steps"})
    beta: float = field(default=20.0, metadata={"help": "weight of staying close to the base image"})
    eps: float = field(
        default=0.0, metadata={"help": "largest change of a pixel in levels of 255; 0: no bound"}
    )
    opacity: float = field(
        default=0.0, metadata={"help": "share of the target watermarked into the base, 0 for none"}
    )

    def __post_init__(self) -> None:
        given = (self.target_index is not None) + (self.target_image is not None)
        require(given == 1, "feature-collision needs one target: target_index or target_image")
        require(self.steps >= 1, f"steps {self.steps}: needs at least one")
        require(self.beta >= 0, f"beta {self.beta}: must not be negative")
        require(0 <= self.eps <= 255, f"eps {self.eps}: must lie between 0 and 255")
        require(0 <= self.opacity < 1, f"opacity {self.opacity}: must be at least 0 and below 1")

    @property
    def target(self) -> None:
        """No record changes its label."""
        return None

    def prepare(self, dataset: Dataset, encoder: GradientEncoder | None) -> Crafter:
        """Look the target up; UsageError without an encoder, or when the target is no other class's image."""
        if encoder is None:
            raise UsageError(f"{self.name} needs an encoder whose gradient it can follow")
        if not hasattr(encoder, "torch_module"):
            raise UsageError(f"encoder {encoder.name!r} has no gradient to follow; choose another")
        if self.target_image is None:
            pixels, details = self._record(dataset)
        else:
            pixels, details = self._file(self.target_image)
        return _Collider(self, pixels, details, encoder)

    def _record(self, dataset: Dataset) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        index = self.target_index
        if index is None or not 0 <= index < len(dataset):
            raise UsageError(f"target_index {index}: {dataset.path} has records 0 to {len(dataset) - 1}")
        record = dataset[index]
        require(record.label != self.source, f"target_index {index}: is of the source class; choose another")
        details = {
            "target_key": record.key,
            "target_label": record.label,
            "target_sha256": _sha256(record.content),
        }
        try:
            return decode(record.content, dataset.raw_shape), details
        except InputError as error:
            raise InputError(f"{dataset.path}: target record {record.key} is unreadable: {error}") from error

    def _file(self, path: str) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        pixels = patterns.from_file(path, "a target_image: give the path of an image file")
        return pixels, {"target_sha256": _sha256(Path(path).read_bytes())}


def collide(
    bases: Images,
    target: NDArray[np.uint8],
    module: Any,
    size: int,
    stored: Sequence[Stored] | None = None,
    *,
    steps: int = 200,
    beta: float = 20.0,
    eps: float = 0.0,
    opacity: float = 0.0,
) -> Images:
    """Poison images (n, H, W, 3) that look like `bases` and lie near `target` (h, w, 3) in feature space.

    `module` is a `torch.nn.Module` from float images (n, 3, size, size) in [0, 1] to features (n, D).
    `stored` says for each image what its pixels become when they are stored; rounding alone if absent.
    """
    torch = _torch()
    clean = _tensor(bases)
    with torch.no_grad():
        goal = module(_to_size(_tensor(target[None]), size))
        scale = (module(_to_size(clean, size)) - goal).square().sum(1).clamp_min(1e-12)
        watermark = torch.nn.functional.interpolate(_tensor(target[None]), clean.shape[2:], mode="bilinear")
        start = (1 - opacity) * clean + opacity * watermark
        bound = eps / 255 if eps else 1.0
        low, high = (clean - bound).clamp_min(0), (clean + bound).clamp_max(1)
        start = start.clamp(low, high)

    def evaluate(x: Any) -> tuple[Any, Any]:
        """J (n,) of the images as stored, and the gradient of its feature term (as if unstored)."""
        seen = _as_stored(x, stored).requires_grad_()
        term = (module(_to_size(seen, size)) - goal).square().sum(1) / scale
        (gradient,) = torch.autograd.grad(term.sum(), seen)
        return term.detach() + beta * (x - start).square().mean((1, 2, 3)), gradient

    pull = 2 * beta / clean[0].numel()  # the gradient of the pixel term is pull * (x - start)
    x = best = start
    value, gradient = evaluate(x)
    velocity = torch.zeros_like(x)
    for number in range(steps):
        length = _FIRST_STEP * (1 + math.cos(math.pi * number / steps)) / 2
        size_of_gradient = gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
        velocity = _MOMENTUM * velocity + (1 - _MOMENTUM) * gradient / size_of_gradient
        step = length / size_of_gradient
        x = ((x - length * velocity + step * pull * start) / (1 + step * pull)).clamp(low, high)
        new_value, gradient = evaluate(x)
        best = torch.where((new_value < value)[:, None, None, None], x, best)
        value = torch.minimum(value, new_value)
    return _pixels(best)


@dataclass(frozen=True)
class _Collider:
    """A feature collision bound to its target and encoder."""

    attack: FeatureCollision
    target: NDArray[np.uint8]
    target_details: Mapping[str, Any]
    encoder: GradientEncoder

    def craft(self, images: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Poison from base `images` (n, H, W, 3); nothing in it is random."""
        module, attack = self.encoder.torch_module(), self.attack
        crafted = [
            collide(
                images[rows],
                self.target,
                module,
                self.encoder.size,
                stored[rows],
                steps=attack.steps,
                beta=attack.beta,
                eps=attack.eps,
                opacity=attack.opacity,
            )
            for rows in self._batches(len(images))
        ]
        return np.concatenate(crafted)

    def measure(self, images: Images) -> Mapping[str, NDArray[np.float64]]:
        """Euclidean distance to the target in the encoder's space."""
        torch = _torch()
        module, size = self.encoder.torch_module(), self.encoder.size
        with torch.no_grad():
            goal = module(_to_size(_tensor(self.target[None]), size))
            distances = [
                (module(_to_size(_tensor(images[rows]), size)) - goal).norm(dim=1).numpy()
                for rows in self._batches(len(images))
            ]
        return {"feature_distance": np.concatenate(distances).astype(np.float64)}

    def details(self) -> Mapping[str, Any]:
        """The target and the encoder."""
        return {**self.target_details, "encoder": self.encoder.name, "encoder_digest": self.encoder.digest}

    def _batches(self, count: int) -> list[slice]:
        length = max(1, min(_BATCH_RECORDS, _BATCH_PIXELS // self.encoder.size**2))
        return [slice(start, start + length) for start in range(0, count, length)]


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("the feature-collision attack", "torch") from error
    return torch


def _tensor(images: Images) -> Any:
    """Float32 (n, 3, H, W) in [0, 1]."""
    return _torch().from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _pixels(images: Any) -> Images:
    """uint8 (n, H, W, 3), rounded."""
    torch = _torch()
    pixels: Images = (images.detach().permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return pixels


def _as_stored(images: Any, stored: Sequence[Stored] | None) -> Any:
    pixels = _pixels(images)
    if stored is not None:
        pixels = np.stack([store(image) for store, image in zip(stored, pixels, strict=True)])
    return _tensor(pixels)


def _to_size(images: Any, size: int) -> Any:
    """(n, 3, size, size), resized as `bezoar.data.load_images` does it for encoders, but with a gradient."""
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    resize = _torch().nn.functional.interpolate
    if height >= size and width >= size:
        return resize(images, (size, size), mode="area")
    return resize(images, (size, size), mode="bilinear", antialias=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ATTACKS.register(FeatureCollision.name, FeatureCollision)
