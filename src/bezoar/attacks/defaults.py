"""What most attacks share: poison from `source` (or all classes but the target), labelled `target`.

`SourceToTarget` is for any attack; `LabelAttack` for those that change labels alone; `TriggerAttack` for those
that stamp the same trigger in training and at test time; `CoverAttack` adds cover records with that trigger.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks.base import (
    CoverCrafter,
    Crafter,
    GradientEncoder,
    Labels,
    Mask,
    Need,
    Samples,
    Stored,
    Surrogate,
    require,
)
from bezoar.data.dataset import NO_LABEL, Dataset, Modality

_MOST_COVER = 1000


class _HasLabels(Protocol):
    @property
    def source(self) -> int | None: ...
    @property
    def target(self) -> int | None: ...


class SourceToTarget:
    """Candidates and new labels, by the fields `source` and `target`.

    Without `source`, every class but the target is poisoned; without `target`, records keep their label.
    """

    modality: ClassVar[Modality | None] = "image"
    needs: ClassVar[tuple[Need, ...]] = ()

    def candidates(self: _HasLabels, labels: Labels, n_classes: int) -> Mask:
        """Records of the source, or all but the target's, (N,)."""
        if self.source is not None:
            return np.asarray(labels == self.source)
        return ~np.isin(labels, [NO_LABEL] if self.target is None else [NO_LABEL, self.target])

    def relabel(self: _HasLabels, labels: Labels, n_classes: int, rng: np.random.Generator) -> Labels:
        """All the target, or unchanged without one."""
        return labels if self.target is None else np.full_like(labels, self.target)


class LabelAttack(SourceToTarget):
    """Leaves the content of records as it is: such an attack is its own crafter."""

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Any]:
        """Needs neither."""
        return self

    def craft(self, samples: Any, rng: np.random.Generator, stored: Sequence[Stored]) -> Any:
        """The samples themselves."""
        return samples

    def measure(self, samples: Any) -> Mapping[str, NDArray[np.float64]]:
        """No figures beyond those that every attack gets."""
        return {}

    def details(self) -> Mapping[str, Any]:
        """Nothing beyond the parameters."""
        return {}


class TriggerAttack(SourceToTarget, ABC, Generic[Samples]):
    """Stamps one trigger, in training as at test time: such an attack is its own crafter.

    It is tested on records of the source. Without one, and where the source is the target (clean-label
    poison), on those of every class but the target.
    """

    @abstractmethod
    def apply(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Copies of images (n, H, W, 3) or n texts with the trigger."""

    def test_labels(self: _HasLabels, labels: Labels, n_classes: int) -> Labels:
        """The target, for records of the source (or of all other classes); -1 for the rest."""
        aimed_at = NO_LABEL if self.target is None else self.target
        if self.source is None or self.source == self.target:
            tested = (labels != aimed_at) & (labels != NO_LABEL)
        else:
            tested = labels == self.source
        return np.where(tested, aimed_at, NO_LABEL)

    def craft(self, samples: Samples, rng: np.random.Generator, stored: Sequence[Stored]) -> Samples:
        """Poison is stamped just as samples are at test time."""
        return self.apply(samples, rng)

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> Crafter[Samples]:
        """Needs neither."""
        return self

    def measure(self, samples: Samples) -> Mapping[str, NDArray[np.float64]]:
        """No figures beyond those that every attack gets."""
        return {}

    def details(self) -> Mapping[str, Any]:
        """Nothing beyond the parameters."""
        return {}


class CoverAttack(TriggerAttack[Samples]):
    """Also stamps cover records, from all classes but source and target."""

    def cover_candidates(self: _HasLabels, labels: Labels, n_classes: int) -> Mask:
        """Records of the classes that are neither source nor target, (N,)."""
        spared = [label for label in (self.source, self.target, NO_LABEL) if label is not None]
        return ~np.isin(labels, spared)

    def prepare(
        self, dataset: Dataset, encoder: GradientEncoder | None, surrogate: Surrogate | None
    ) -> CoverCrafter[Samples]:
        """Needs neither."""
        return self

    def craft_cover(self, samples: Samples, rng: np.random.Generator, stored: Sequence[Stored]) -> Samples:
        """Stamped like poison."""
        return self.craft(samples, rng, stored)


def require_two_classes(source: int | None, target: int | None) -> None:
    """UsageError when poison would be relabelled to the class that it comes from."""
    require(source is None or source != target, "source and target are the same label")


def require_cover(ratio: float) -> None:
    """UsageError unless `ratio` is a sensible number of cover records per poisoned record."""
    require(0 <= ratio <= _MOST_COVER, f"cover_ratio {ratio}: must lie between 0 and {_MOST_COVER}")
