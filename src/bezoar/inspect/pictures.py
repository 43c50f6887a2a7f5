"""A recovered trigger as pictures: where it is, what it is, and images before and after. Loads torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bezoar.inspect.result import Picture
from bezoar.inspect.trigger import Trigger

_SIDE = 96  # pixels below which a picture is enlarged


def trigger_pictures(
    trigger: Trigger, images: torch.Tensor, before: Sequence[str], after: Sequence[str]
) -> tuple[Picture, ...]:
    """The mask, the pattern, and each of the images (N, C, H, W) in [0, 1] without and with the trigger.

    `before` and `after` (N) name what the network makes of them.
    """
    with torch.no_grad():
        stamped = trigger.apply(images)
    found = [
        Picture(_pixels(_mask(trigger)), _EXTENT[trigger.kind]),
        Picture(_pixels(_pattern(trigger)), _WHAT[trigger.kind]),
    ]
    for plain, marked, old, new in zip(images, stamped, before, after, strict=True):
        found += [
            Picture(_pixels(plain.cpu().numpy()), f"as it is: {old}"),
            Picture(_pixels(marked.cpu().numpy()), f"with the trigger: {new}"),
        ]
    return tuple(found)


_EXTENT = {
    "patch": "mask: bright where the trigger covers the image",
    "shift": "extent: bright where the trigger changes the image most",
    "warp": "extent: bright where the trigger moves pixels furthest",
}
_WHAT = {
    "patch": "the recovered patch on grey",
    "shift": "the recovered change, enlarged: grey is none",
    "warp": "the recovered warp, shown on a grid",
}


def _mask(trigger: Trigger) -> NDArray[np.float32]:
    """(1, H, W), in [0, 1]."""
    if trigger.kind == "patch":
        return trigger.mask[None]
    moved = np.linalg.norm(trigger.pattern * trigger.mask, axis=0)
    return np.asarray(moved / max(float(moved.max()), 1e-9), np.float32)[None]


def _pattern(trigger: Trigger) -> NDArray[np.float32]:
    """(C, H, W), in [0, 1]."""
    if trigger.kind == "patch":
        return np.asarray(trigger.pattern * trigger.mask + 0.5 * (1 - trigger.mask), np.float32)
    if trigger.kind == "shift":
        change = trigger.pattern * trigger.mask
        return np.asarray(0.5 + 0.5 * change / max(float(np.abs(change).max()), 1e-9), np.float32)
    height, width = trigger.mask.shape
    every = max(height // 8, 2)
    lines = (np.arange(height)[:, None] % every == 0) | (np.arange(width)[None] % every == 0)
    grid = torch.from_numpy(lines.astype(np.float32))[None, None]
    with torch.no_grad():
        return np.asarray(trigger.apply(grid)[0].numpy())


def _pixels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(C, H, W) in [0, 1] to uint8 (H', W', 3), every pixel repeated until the picture can be seen."""
    levels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    levels = np.repeat(levels, 3, 2) if levels.shape[2] == 1 else levels
    times = max(1, -(-_SIDE // max(levels.shape[:2])))
    return np.ascontiguousarray(levels.repeat(times, 0).repeat(times, 1))
