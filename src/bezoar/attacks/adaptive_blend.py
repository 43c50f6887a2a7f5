"""Adaptive-Blend: each poisoned image shows only some pieces of the pattern, and rightly labelled ones do too.

Qi, Xie, Li, Mahloujifar and Mittal, "Revisiting the Assumption of Latent Separability for Backdoor
Defenses", ICLR 2023: the pattern is cut into 16 pieces, half of which are left out at random in training; at
test time all of it is shown, and a little more opaque.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import patterns
from bezoar.attacks.base import ATTACKS, Images, Stored, require
from bezoar.attacks.defaults import CoverAttack, require_cover, require_two_classes

_MOST = 4096


@dataclass(frozen=True, kw_only=True)
class AdaptiveBlend(CoverAttack[Images]):
    """Mixes pieces of a pattern into the image and relabels: one class, or every class without `source`."""

    name: ClassVar[str] = "adaptive-blend"
    paper: ClassVar[str] = "Qi et al., Revisiting the Assumption of Latent Separability, ICLR 2023"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    alpha: float = field(default=0.15, metadata={"help": "share of the pattern in the mixture"})
    test_alpha: float = field(default=0.2, metadata={"help": "its share at test time"})
    pieces: int = field(default=16, metadata={"help": "pieces of the pattern: a square number"})
    mask_rate: float = field(default=0.5, metadata={"help": "share of the pieces left out in training"})
    pattern: str = field(
        default="noise",
        metadata={"help": "what is mixed in: noise, smooth (low-frequency noise), or an image file"},
    )
    pattern_seed: int = field(default=0, metadata={"help": "seed of the noise"})
    cover_ratio: float = field(default=1.0, metadata={"help": "cover records per poisoned record"})

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        for name, alpha in (("alpha", self.alpha), ("test_alpha", self.test_alpha)):
            require(0 < alpha <= 1, f"{name} {alpha}: must be above 0 and at most 1")
        require(
            1 <= self.pieces <= _MOST and math.isqrt(self.pieces) ** 2 == self.pieces,
            f"pieces {self.pieces}: must be a square number up to {_MOST}",
        )
        require(0 <= self.mask_rate < 1, f"mask_rate {self.mask_rate}: must be at least 0 and below 1")
        require(self._shown >= 1, f"mask_rate {self.mask_rate}: leaves none of {self.pieces} pieces")
        require(self.pattern_seed >= 0, f"pattern_seed {self.pattern_seed}: must not be negative")
        require_cover(self.cover_ratio)
        _ = self._picture  # an unreadable pattern is reported here, not after the dataset was read

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the whole pattern mixed in; nothing in it is random."""
        return patterns.blend(samples, self._stretched(samples), self.test_alpha)

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """With some pieces only, other ones on every image."""
        opacity = np.float32(self.alpha) * self._mask(rng, samples.shape)
        return patterns.blend(samples, self._stretched(samples), opacity)

    def _mask(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """1 where an image shows the pattern, (n, H, W, 1)."""
        (count, height, width), side = shape[:3], math.isqrt(self.pieces)
        ranks = rng.permuted(np.tile(np.arange(self.pieces), (count, 1)), axis=1)
        shown = (ranks < self._shown).reshape(count, side, side)
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        return shown[:, rows[:, None], columns, None].astype(np.float32)

    @property
    def _shown(self) -> int:
        return round(self.pieces * (1 - self.mask_rate))

    def _stretched(self, images: Images) -> patterns.Pattern:
        height, width = images.shape[1:3]
        return patterns.resize(self._picture, height, width, sharp=self.pattern == "noise")

    @cached_property
    def _picture(self) -> patterns.Pattern:
        return patterns.whole_image(self.pattern, self.pattern_seed)


ATTACKS.register(AdaptiveBlend.name, AdaptiveBlend)
