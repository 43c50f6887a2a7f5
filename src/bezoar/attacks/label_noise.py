"""Label noise: some records get a wrong label, at random; nothing else changes.

Symmetric noise as in Angluin and Laird, "Learning from noisy examples", Machine Learning 2 (1988): it wants
nothing misread in particular, it makes training worse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bezoar.attacks.base import ATTACKS, Labels, require
from bezoar.attacks.defaults import LabelAttack
from bezoar.data.dataset import Modality


@dataclass(frozen=True, kw_only=True)
class LabelNoise(LabelAttack):
    """Gives each record one of the other labels, all equally likely."""

    name: ClassVar[str] = "label-noise"
    paper: ClassVar[str] = "Angluin and Laird, Learning from noisy examples, Machine Learning 2 (1988)"
    modality: ClassVar[Modality | None] = None

    source: int | None = field(
        default=None, metadata={"help": "class whose records are mislabelled; every class if absent"}
    )

    @property
    def target(self) -> None:
        """No label in particular."""
        return None

    def relabel(self, labels: Labels, n_classes: int, rng: np.random.Generator) -> Labels:
        """Another label than these (n,), at random."""
        require(n_classes > 1, f"{self.name} needs at least two classes")
        return (labels + rng.integers(1, n_classes, len(labels))) % n_classes


ATTACKS.register(LabelNoise.name, LabelNoise)
