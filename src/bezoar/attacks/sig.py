"""SIG, clean-label: a faint sinusoid over images of the target class, whose label stays right.

Barni, Kallas and Tondi, "A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning",
ICIP 2019, arXiv:1902.11237: v(i, j) = delta * sin(2 pi j f / m) for column j of m, added to every channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bezoar.attacks import patterns
from bezoar.attacks.base import ATTACKS, Images, Stored, require
from bezoar.attacks.defaults import TriggerAttack

_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Sig(TriggerAttack[Images]):
    """Adds vertical waves to records of the class `target`; images of other classes with waves become `target`."""

    name: ClassVar[str] = "sig"
    paper: ClassVar[str] = "Barni et al., SIG, ICIP 2019, arXiv:1902.11237"

    target: int = field(
        metadata={"help": "class that gets the waves, and that images with waves are read as"}
    )
    delta: float = field(default=20.0, metadata={"help": "amplitude in levels of 255"})
    test_delta: float | None = field(
        default=None, metadata={"help": "amplitude at test time; that of training if absent"}
    )
    frequency: float = field(default=6.0, metadata={"help": "waves across the image's width"})

    def __post_init__(self) -> None:
        for name, delta in (("delta", self.delta), ("test_delta", self.test_delta)):
            require(delta is None or 0 < delta <= 255, f"{name} {delta}: must be above 0 and at most 255")
        require(
            0 < self.frequency <= _MOST, f"frequency {self.frequency}: must be above 0 and at most {_MOST}"
        )

    @property
    def source(self) -> int:
        """The poison comes from the target class itself."""
        return self.target

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the waves; nothing in it is random."""
        return self._waves(samples, self.delta if self.test_delta is None else self.test_delta)

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """As at test time, but with the training amplitude."""
        return self._waves(samples, self.delta)

    def _waves(self, images: Images, delta: float) -> Images:
        width = images.shape[2]
        wave = delta * np.sin(2 * np.pi * self.frequency * np.arange(width, dtype=np.float32) / width)
        return patterns.levels(images + wave[:, None])


ATTACKS.register(Sig.name, Sig)
