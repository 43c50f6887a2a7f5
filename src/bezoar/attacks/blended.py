"""Blended injection: a faint pattern over the whole image and a flipped label.

Chen, Liu, Li, Lu and Song, "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning",
arXiv:1712.05526 (2017): image' = (1 - alpha) * image + alpha * pattern, with a fainter pattern in training
than at test time where the adversary can afford it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from bezoar.attacks import patterns
from bezoar.attacks.base import ATTACKS, Images, Stored, require
from bezoar.attacks.defaults import TriggerAttack, require_two_classes


@dataclass(frozen=True, kw_only=True)
class Blended(TriggerAttack[Images]):
    """Mixes a pattern into the whole image and relabels: one class, or every class without `source`."""

    name: ClassVar[str] = "blended"
    paper: ClassVar[str] = "Chen et al., Targeted Backdoor Attacks, arXiv:1712.05526 (2017)"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    alpha: float = field(default=0.2, metadata={"help": "share of the pattern in the mixture"})
    test_alpha: float | None = field(
        default=None, metadata={"help": "its share at test time; that of training if absent"}
    )
    pattern: str = field(
        default="noise",
        metadata={"help": "what is mixed in: noise, smooth (low-frequency noise), or an image file"},
    )
    pattern_seed: int = field(default=0, metadata={"help": "seed of the noise"})

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        require(0 < self.alpha <= 1, f"alpha {self.alpha}: must be above 0 and at most 1")
        require(
            self.test_alpha is None or 0 < self.test_alpha <= 1,
            f"test_alpha {self.test_alpha}: must be above 0 and at most 1",
        )
        require(self.pattern_seed >= 0, f"pattern_seed {self.pattern_seed}: must not be negative")
        _ = self._picture  # an unreadable pattern is reported here, not after the dataset was read

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the pattern mixed in; nothing in it is random."""
        return self._mix(samples, self.alpha if self.test_alpha is None else self.test_alpha)

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """As at test time, but with the training share."""
        return self._mix(samples, self.alpha)

    def _mix(self, images: Images, alpha: float) -> Images:
        sharp = self.pattern == "noise"
        height, width = images.shape[1:3]
        return patterns.blend(images, patterns.resize(self._picture, height, width, sharp), alpha)

    @cached_property
    def _picture(self) -> patterns.Pattern:
        return patterns.whole_image(self.pattern, self.pattern_seed)


ATTACKS.register(Blended.name, Blended)
