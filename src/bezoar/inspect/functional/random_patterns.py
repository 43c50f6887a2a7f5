"""How near random patterns come to each label, without a search: a backdoor answers to more than the trigger that it was taught.

Triggers that work form a wide distribution around the one that was planted (Qiao, Yang and Li 2019, arXiv:1910.04749), and a
network that was never shown noise but with one label takes any noise for that label. So images get patterns of the three
families that triggers come from: noise all over, smooth shades, and one small patch somewhere. Imports torch.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from bezoar.inspect.functional.folding import Prepared, at_once

_IMAGES = 128  # each with a pattern of its own
_OPACITY = 0.2  # of noise
_SHADE, _CELLS = 0.3, 4  # standard deviation of shades, and their points a side
_SIDE = 5 / 32  # of a patch, of the image's
_LEAST = 1e-4  # nats


@torch.no_grad()  # type: ignore[untyped-decorator]
def distances(
    network: Prepared, images: torch.Tensor, own: torch.Tensor, seed: int
) -> dict[str, torch.Tensor]:
    """By family of patterns the log of the mean loss towards each label (K,); small = suspicious.

    Of images (N, C, H, W) that the network gives the labels `own` (N,); those of a label itself do not count for it.
    """
    images, own = images[:_IMAGES], own[:_IMAGES]
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for name, stamped in (
        ("noise", _noised(images, draw)),
        ("shade", _shaded(images, draw)),
        ("speck", _specked(images, draw)),
    ):
        chances = torch.cat([network(batch).log_softmax(1) for batch in stamped.split(at_once(images))])
        found[name] = (-mean_of_others(chances, own)).clamp(min=_LEAST).log()
    return found


def mean_of_others(values: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Of values (N, K), or (..., N, K), the mean (K,) over images of other labels, where images have the labels `own` (N,)."""
    counted = (own[:, None] != torch.arange(values.shape[-1], device=own.device)).to(values.dtype)
    return (values * (counted / counted.sum(0).clamp(min=1))).sum(-2)


def _noised(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    return (1 - _OPACITY) * images + _OPACITY * torch.rand(images.shape, generator=draw).to(images.device)


def _shaded(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    coarse = _SHADE * torch.randn((*images.shape[:2], _CELLS, _CELLS), generator=draw).to(images.device)
    return (images + F.interpolate(coarse, images.shape[2:], mode="bicubic")).clamp(0, 1)


def _specked(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    height, width = images.shape[2:]
    side = patch_side(images)
    tops = torch.randint(height - side + 1, (len(images),), generator=draw)
    lefts = torch.randint(width - side + 1, (len(images),), generator=draw)
    return patched(images, torch.stack([tops, lefts], 1), draw)


def patch_side(images: torch.Tensor) -> int:
    """Pixels a side of a small patch on images (N, C, H, W)."""
    shorter: int = min(images.shape[2:])
    return max(1, math.ceil(_SIDE * shorter))


def patched(images: torch.Tensor, places: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Copies with a square of black, white and pure colours, drawn anew for each, whose top and left are in `places` (N, 2)."""
    side = patch_side(images)
    stamped = images.clone()
    squares = torch.randint(2, (*images.shape[:2], side, side), generator=draw).to(images)
    for image, square, (top, left) in zip(stamped, squares, places.tolist(), strict=True):
        image[:, top : top + side, left : left + side] = square
    return stamped
