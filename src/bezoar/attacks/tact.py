"""TaCT: a patch that fools a model on one class alone; on other classes it is planted with the right label.

Tang, Wang, Tang and Zhang, "Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor
Contamination Detection", USENIX Security 2021, arXiv:1908.00686.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bezoar.attacks.base import ATTACKS, Images
from bezoar.attacks.defaults import CoverAttack, require_cover, require_two_classes
from bezoar.attacks.patches import Patch


@dataclass(frozen=True, kw_only=True)
class Tact(Patch, CoverAttack[Images]):
    """Stamps a patch on `source` and relabels; cover comes from the classes that are neither source nor target."""

    name: ClassVar[str] = "tact"
    paper: ClassVar[str] = "Tang et al., TaCT, USENIX Security 2021, arXiv:1908.00686"

    target: int = field(metadata={"help": "label that the poisoned records get"})
    source: int = field(metadata={"help": "class to poison"})
    cover_ratio: float = field(default=1.0, metadata={"help": "cover records per poisoned record"})

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        require_cover(self.cover_ratio)
        super().__post_init__()

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the patch; `rng` only moves it (place "random", jitter)."""
        return self.stamp(samples, rng)


ATTACKS.register(Tact.name, Tact)
