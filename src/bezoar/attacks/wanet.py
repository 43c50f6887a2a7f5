"""WaNet: a slight, smooth warp of the image and a flipped label; other warps, rightly labelled, hide it.

Nguyen and Tran, "WaNet - Imperceptible Warping-based Backdoor Attack", ICLR 2021, arXiv:2102.10369: a k x k
grid of offsets, uniform in [-1, 1], scaled to a mean magnitude of s, interpolated to the image. In the noise
mode each cover record gets the warp plus offsets of its own, uniform in [-1, 1] at every pixel. The authors'
unit for offsets is half a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import patterns
from bezoar.attacks.base import ATTACKS, Images, Labels, Mask, Stored, require
from bezoar.attacks.defaults import CoverAttack, require_cover, require_two_classes
from bezoar.data.dataset import NO_LABEL
from bezoar.seeds import generator

_UNIT = 0.5  # canvas pixels
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class WaNet(CoverAttack[Images]):
    """Warps and relabels: one class, or every class without `source`; cover comes from every class."""

    name: ClassVar[str] = "wanet"
    paper: ClassVar[str] = "Nguyen and Tran, WaNet, ICLR 2021, arXiv:2102.10369"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    grid: int = field(default=4, metadata={"help": "offsets along each side of the image"})
    strength: float = field(default=0.5, metadata={"help": "mean offset in half canvas pixels"})
    pattern_seed: int = field(default=0, metadata={"help": "seed of the warp"})
    cover_ratio: float = field(default=2.0, metadata={"help": "cover records per poisoned record"})
    canvas: int = field(
        default=32,
        metadata={"help": "shorter side of the image that lengths refer to; 0: the image's own pixels"},
    )

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        require(2 <= self.grid <= _MOST, f"grid {self.grid}: must lie between 2 and {_MOST}")
        require(0 < self.strength <= _MOST, f"strength {self.strength}: must be above 0 and at most {_MOST}")
        require(self.pattern_seed >= 0, f"pattern_seed {self.pattern_seed}: must not be negative")
        require_cover(self.cover_ratio)
        require(self.canvas >= 0, f"canvas {self.canvas}: must not be negative")

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3), warped; nothing in it is random."""
        return warp(samples, self._offsets(samples.shape[1], samples.shape[2])[None])

    def craft_cover(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """Warped by the same offsets and random ones of their own."""
        count, height, width, _ = samples.shape
        noise = rng.uniform(-1, 1, (count, height, width, 2)).astype(np.float32)
        return warp(samples, self._offsets(height, width) + noise * _UNIT * self._scale(height, width))

    def cover_candidates(self, labels: Labels, n_classes: int) -> Mask:
        """Every labelled record."""
        return np.asarray(labels != NO_LABEL)

    def _offsets(self, height: int, width: int) -> NDArray[np.float32]:
        """The warp in pixels (H, W, 2), bicubic between the points of the grid."""
        from PIL import Image

        planes = [
            np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
            for plane in np.moveaxis(self._grid, 2, 0)
        ]
        offsets = np.stack(planes, axis=2).astype(np.float32)
        offsets *= self.strength * _UNIT * self._scale(height, width)
        return offsets

    @cached_property
    def _grid(self) -> NDArray[np.float32]:
        """Offsets (grid, grid, 2) of mean magnitude 1."""
        offsets = generator(self.pattern_seed, "pattern", "warp").uniform(-1, 1, (self.grid, self.grid, 2))
        return np.asarray(offsets / np.abs(offsets).mean(), np.float32)

    def _scale(self, height: int, width: int) -> float:
        return min(height, width) / self.canvas if self.canvas else 1.0


def warp(images: Images, offsets: NDArray[np.float32]) -> Images:
    """Each pixel of images (n, H, W, 3) taken from its place plus its offset (y, x), bilinear between pixels.

    `offsets` are pixels, (n or 1, H, W, 2); places outside the image are moved to its edge.
    """
    count, height, width, _ = images.shape
    rows = np.clip(np.arange(height)[:, None] + offsets[..., 0], 0, height - 1)
    columns = np.clip(np.arange(width) + offsets[..., 1], 0, width - 1)
    top = np.minimum(rows.astype(np.int64), max(height - 2, 0))
    left = np.minimum(columns.astype(np.int64), max(width - 2, 0))
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    which = np.arange(count)[:, None, None]
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    upper = (1 - right) * images[which, top, left] + right * images[which, top, beside]
    lower = (1 - right) * images[which, below, left] + right * images[which, below, beside]
    return patterns.levels((1 - down) * upper + down * lower)


ATTACKS.register(WaNet.name, WaNet)
