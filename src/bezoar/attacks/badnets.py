"""BadNets: a small patch on the image and a flipped label.

Gu, Dolan-Gavitt and Garg, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain",
arXiv:1708.06733 (2017): stop signs with a sticker, labelled as speed limits; digits with a sticker, each
labelled as the next digit (all to all).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bezoar.attacks.base import ATTACKS, Images, Labels, require
from bezoar.attacks.defaults import TriggerAttack, require_two_classes
from bezoar.attacks.patches import Patch
from bezoar.data.dataset import NO_LABEL


@dataclass(frozen=True, kw_only=True)
class BadNets(Patch, TriggerAttack[Images]):
    """Stamps a square patch and relabels: one class to the target, all to one without `source`, or all to all."""

    name: ClassVar[str] = "badnets"
    paper: ClassVar[str] = "Gu et al., BadNets, arXiv:1708.06733 (2017)"

    target: int | None = field(
        default=None, metadata={"help": "label that the poisoned records get; needed unless all_to_all"}
    )
    source: int | None = field(
        default=None, metadata={"help": "class to poison; every class but the target if absent"}
    )
    all_to_all: int = field(
        default=0,
        metadata={"help": "1: every class y gets the label y + 1 (the last one 0), instead of a target"},
    )

    def __post_init__(self) -> None:
        require(self.all_to_all in (0, 1), f"all_to_all {self.all_to_all}: must be 0 or 1")
        if self.all_to_all:
            require(self.target is None and self.source is None, "all_to_all goes without target and source")
        else:
            require(self.target is not None, "badnets needs a target, or all_to_all")
        require_two_classes(self.source, self.target)
        super().__post_init__()

    def apply(self, samples: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the patch; `rng` only moves it (place "random", jitter)."""
        return self.stamp(samples, rng)

    def relabel(self, labels: Labels, n_classes: int, rng: np.random.Generator) -> Labels:
        """The target, or the next class."""
        return (labels + 1) % n_classes if self.all_to_all else super().relabel(labels, n_classes, rng)

    def test_labels(self, labels: Labels, n_classes: int) -> Labels:
        """What a model says that obeys; -1 where it is not tested."""
        if self.all_to_all:
            return np.where(labels == NO_LABEL, NO_LABEL, (labels + 1) % n_classes)
        return super().test_labels(labels, n_classes)


ATTACKS.register(BadNets.name, BadNets)
