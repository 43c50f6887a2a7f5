"""Between images as they are stored and tensors with a gradient; torch is imported when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bezoar.attacks.base import GradientEncoder, Images, Stored, Surrogate
from bezoar.errors import MissingExtraError, UsageError

_BATCH_PIXELS = 2**20  # network pixels per batch: bounds the memory of the backward pass
_BATCH_RECORDS = 64


def import_torch(what: str) -> Any:
    """The module torch; MissingExtraError, saying that `what` needs it, where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(what, "torch") from error
    return torch


def with_gradient(encoder: GradientEncoder | None, attack: str) -> GradientEncoder:
    """`encoder`; UsageError when there is none, or when it has no gradient."""
    if encoder is None:
        raise UsageError(f"{attack} needs an encoder whose gradient it can follow")
    if not hasattr(encoder, "torch_module"):
        raise UsageError(f"encoder {encoder.name!r} has no gradient to follow; choose another")
    return encoder


def given(surrogate: Surrogate | None, attack: str) -> Surrogate:
    """`surrogate`; UsageError when there is none."""
    if surrogate is None:
        raise UsageError(f"{attack} needs a surrogate: a classifier trained on the clean dataset")
    return surrogate


def batches(count: int, size: int, group: int = 1) -> list[slice]:
    """Runs of `count` records that a network of `size` x `size` pixels can take at once with a gradient.

    Each, but for the last, holds whole groups of `group` records, and at least one.
    """
    length = max(1, min(_BATCH_RECORDS, _BATCH_PIXELS // size**2) // group) * group
    return [slice(start, start + length) for start in range(0, count, length)]


def to_tensor(images: Images) -> Any:
    """Float32 (n, 3, H, W) in [0, 1], of uint8 images (n, H, W, 3)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def bounds(clean: Any, eps: float) -> tuple[Any, Any]:
    """The lowest and the highest that float images (n, 3, H, W) may become for a change of at most `eps` levels."""
    bound = int(eps) / 255  # pixels are stored in whole levels: half a level more would be rounded up
    return (clean - bound).clamp_min(0), (clean + bound).clamp_max(1)


def to_pixels(images: Any) -> Images:
    """uint8 (n, H, W, 3), rounded, of float images (n, 3, H, W) in [0, 1]."""
    import torch

    pixels: Images = (images.detach().permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return pixels


def as_stored(images: Any, stored: Sequence[Stored] | None) -> Any:
    """What a reader gets of float images (n, 3, H, W), as such; rounding alone without `stored`."""
    pixels = to_pixels(images)
    if stored is not None:
        pixels = np.stack([store(image) for store, image in zip(stored, pixels, strict=True)])
    return to_tensor(pixels)


def to_size(images: Any, size: int) -> Any:
    """(n, 3, size, size), resized as `bezoar.data.load_images` does it for encoders, but with a gradient."""
    import torch

    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    if height >= size and width >= size:
        return torch.nn.functional.interpolate(images, (size, size), mode="area")
    return torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
