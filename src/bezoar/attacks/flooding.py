"""Flooding: many near copies of one image under a wrong label, so that a model learns the image itself wrongly.

The plainest way to have one image misread: copies of it outvote its right label. Duplicates in web-scraped
data are common enough to go unnoticed: Carlini et al., "Poisoning Web-Scale Training Datasets is Practical",
IEEE S&P 2024, arXiv:2302.10149.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import patterns
from bezoar.attacks.base import (
    ATTACKS,
    Crafter,
    GradientEncoder,
    Images,
    Labels,
    Mask,
    Stored,
    Surrogate,
    require,
)
from bezoar.attacks.defaults import SourceToTarget, require_two_classes
from bezoar.attacks.targets import Target, target_file, target_record
from bezoar.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Flooding(SourceToTarget):
    """Replaces records by variants of one image of another class, labelled `target`."""

    name: ClassVar[str] = "flooding"
    paper: ClassVar[str] = "Carlini et al., Poisoning Web-Scale Training Datasets, IEEE S&P 2024"

    target: int = field(metadata={"help": "label that the copies get"})
    source: int | None = field(
        default=None,
        metadata={"help": "class whose records are replaced; every class but the target if absent"},
    )
    target_index: int | None = field(
        default=None, metadata={"help": "record (by its place in the dataset) that is copied"}
    )
    target_image: str | None = field(
        default=None, metadata={"help": "image file that is copied, instead of a record"}
    )
    shift: int = field(default=1, metadata={"help": "largest random shift along each axis in pixels"})
    brightness: float = field(
        default=0.1, metadata={"help": "largest random change of brightness, as a share"}
    )
    noise: float = field(default=2.0, metadata={"help": "standard deviation of pixel noise in levels of 255"})

    def __post_init__(self) -> None:
        require_two_classes(self.source, self.target)
        given = (self.target_index is not None) + (self.target_image is not None)
        require(given == 1, "flooding needs one image to copy: target_index or target_image")
        require(self.shift >= 0, f"shift {self.shift}: must not be negative")
        require(0 <= self.brightness < 1, f"brightness {self.brightness}: must be at least 0 and below 1")
        require(0 <= self.noise <= 255, f"noise {self.noise}: must lie between 0 and 255")

    def candidates(self, labels: Labels, n_classes: int) -> Mask:
        """As usual, but the copied record itself stays."""
        allowed = super().candidates(labels, n_classes)
        if self.target_index is not None:
            allowed[self.target_index] = False
        return allowed

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Images]:
        """Look the image up; UsageError when it has the label `target` already."""
        if self.target_image is None:
            return _Flooder(self, target_record(dataset, self.target_index, self.target))
        return _Flooder(self, target_file(self.target_image, self.target))


@dataclass(frozen=True)
class _Flooder:
    attack: Flooding
    target: Target

    def craft(self, samples: Images, rng: np.random.Generator, stored: Sequence[Stored]) -> Images:
        """As many variants of the target, of the size of these images (n, H, W, 3)."""
        count, height, width, _ = samples.shape
        rows, columns = (
            np.clip(
                np.arange(side) + rng.integers(-self.attack.shift, self.attack.shift + 1, (count, 1)),
                0,
                side - 1,
            )
            for side in (height, width)
        )
        copies = self._target_at(height, width)[rows[:, :, None], columns[:, None, :]].astype(np.float32)
        copies *= rng.uniform(1 - self.attack.brightness, 1 + self.attack.brightness, (count, 1, 1, 1))
        copies += rng.normal(0, 1, copies.shape) * self.attack.noise
        return patterns.levels(copies)

    def measure(self, samples: Images) -> Mapping[str, NDArray[np.float64]]:
        """Root mean square distance to the target in levels of 255."""
        difference = samples.astype(np.float64) - self._target_at(samples.shape[1], samples.shape[2])
        return {"target_distance": np.sqrt((difference**2).mean(axis=(1, 2, 3)))}

    def details(self) -> Mapping[str, Any]:
        """The target."""
        return self.target.details

    def _target_at(self, height: int, width: int) -> NDArray[np.uint8]:
        return patterns.resize(self.target.pixels, height, width, sharp=False)


ATTACKS.register(Flooding.name, Flooding)
