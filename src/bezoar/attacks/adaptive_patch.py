"""Adaptive-Patch: each poisoned image shows one of several faint patches; at test time all of them, opaque.

Qi, Xie, Li, Mahloujifar and Mittal, "Revisiting the Assumption of Latent Separability for Backdoor
Defenses", ICLR 2023: four patches at opacities 0.5, 0.2, 0.5 and 0.3, and twice as many rightly labelled
records with a patch as poisoned ones. Their patches are small pictures, of which they show two at test time;
these are coloured squares, one in each corner, and all are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from bezoar.attacks.base import ATTACKS, Images, Stored, require
from bezoar.attacks.defaults import CoverAttack, require_cover, require_two_classes
from bezoar.attacks.patches import Patch
from bezoar.errors import UsageError

_PLACES = ("top-left", "top-right", "bottom-left", "bottom-right", "center")


@dataclass(frozen=True, kw_only=True)
class AdaptivePatch(CoverAttack[Images]):
    """Stamps one of several patches and relabels: one class, or every class without `source`."""

    name: ClassVar[str] = "adaptive-patch"
    paper: ClassVar[str] = "Qi et al., Revisiting the Assumption of Latent Separability, ICLR 2023"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    opacities: str = field(
        default="0.5,0.2,0.5,0.3",
        metadata={"help": f"opacity of each patch in training, up to {len(_PLACES)} of them"},
    )
    test_opacity: float = field(default=1.0, metadata={"help": "opacity of all patches at test time"})
    size: int = field(default=6, metadata={"help": "side of the patches in canvas pixels"})
    pattern_seed: int = field(default=0, metadata={"help": "seed of the colours"})
    margin: int = field(default=1, metadata={"help": "distance from the image's edge in canvas pixels"})
    canvas: int = field(
        default=32,
        metadata={"help": "shorter side of the image that lengths refer to; 0: the image's own pixels"},
    )
    cover_ratio: float = field(default=2.0, metadata={"help": "cover records per poisoned record"})

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        require_cover(self.cover_ratio)
        require(
            0 < self.test_opacity <= 1, f"test_opacity {self.test_opacity}: must be above 0 and at most 1"
        )
        _ = self._patches

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with every patch; nothing in it is random."""
        for place in range(len(self._patches)):
            samples = self._patch(place, self.test_opacity).stamp(samples, rng)
        return samples

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """With one patch each, dealt out evenly."""
        dealt = rng.permutation(
            (np.arange(len(samples)) + rng.integers(len(self._patches))) % len(self._patches)
        )
        stamped = samples.copy()
        for place, patch in enumerate(self._patches):
            stamped[dealt == place] = patch.stamp(samples[dealt == place], rng)
        return stamped

    @cached_property
    def _patches(self) -> tuple[Patch, ...]:
        """As in training."""
        try:
            opacities = [float(part) for part in self.opacities.split(",")]
        except ValueError as error:
            raise UsageError(f"opacities {self.opacities!r}: must be numbers separated by commas") from error
        require(
            len(opacities) <= len(_PLACES), f"opacities {self.opacities!r}: at most {len(_PLACES)} patches"
        )
        return tuple(self._patch(place, opacity) for place, opacity in enumerate(opacities))

    def _patch(self, place: int, opacity: float) -> Patch:
        return Patch(
            size=self.size,
            pattern_seed=self.pattern_seed + place,
            place=_PLACES[place],
            margin=self.margin,
            opacity=opacity,
            canvas=self.canvas,
        )


ATTACKS.register(AdaptivePatch.name, AdaptivePatch)
