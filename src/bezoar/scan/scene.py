"""What the views of a scan look at, and what each of them says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.patterns import Independence, by_company, thumbnails
from bezoar.scan.result import Finding, Sensitivity
from bezoar.scan.space import Space


@dataclass(frozen=True, slots=True)
class Trusted:
    """A sample that is known to be clean, in the same space, in two halves (split conformal inference).

    Attributes:
        reference: float32 (R, D), rows of unit length that records are held against; the encoder may have seen them.
        reference_labels: int32 (R,).
        calibration: float32 (C, D), rows that nothing was fitted to: they say how foreign honest records are.
        calibration_labels: int32 (C,).

    """

    reference: NDArray[np.float32]
    reference_labels: NDArray[np.int32]
    calibration: NDArray[np.float32]
    calibration_labels: NDArray[np.int32]


@dataclass(frozen=True)
class Scene:
    """The M readable, labelled images of a dataset, as every view sees them.

    Attributes:
        images: uint8 (M, H, W, 3), at the canvas' size (see `bezoar.scan.canvas`).
        space: the same rows in an independent encoder's space: `records`, `labels`, features, neighbours.
        label_names: the K names.
        independent_of: how many independent observations a set of rows is (near-duplicates count once).
        gallery: pictures of records, for evidence.
        seed: of every random choice.
        trusted: a sample that is known to be clean, where there is one.
        grouped: a column says which rows are one observation.

    """

    images: NDArray[np.uint8]
    space: Space
    label_names: tuple[str, ...]
    independent_of: Independence
    gallery: Gallery
    seed: int
    trusted: Trusted | None = None
    grouped: bool = False

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label of each row, int32 (M,)."""
        return self.space.labels

    @cached_property
    def thumbs(self) -> NDArray[np.float32]:
        """Thumbnails of the images, (M, T); see `patterns.thumbnails`."""
        return thumbnails(self.images)

    @cached_property
    def totals(self) -> NDArray[np.uint32]:
        """The sum of the images of each label, (K, H, W, 3)."""
        totals = np.zeros((len(self.label_names), *self.images.shape[1:]), dtype=np.uint32)
        for label in np.unique(self.labels):
            totals[label] = self.images[self.labels == label].sum(axis=0, dtype=np.uint32)
        return totals


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one view says.

    Attributes:
        view: its name, e.g. "spectrum".
        p_values: float64 (K,), per label: is anything here? Adjusted within the view (family-wise over everything that
            it tests, all labels included), so that on clean data the smallest of them is at most t with probability
            at most t. 1 where nothing was tested.
        findings: candidates with a p-value of at most alpha; severity `poison` where the view would call them planted
            (the combination over views may still take them back to `review`).
        scores: columns of the score table, each float64 (M,), higher = more suspicious, NaN where there is none.
        canaries: each says, when called, what this view would have noticed on this dataset; that may take as long as looking.

    """

    view: str
    p_values: NDArray[np.float64]
    findings: tuple[Finding, ...] = ()
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    canaries: tuple[Callable[[], Sensitivity], ...] = ()


def distinct_of(scene: Scene) -> Independence:
    """How many observations rows are where whole classes may look alike (see `by_company`); named groups count once."""
    if scene.grouped:
        return scene.independent_of
    return by_company(scene.independent_of, scene.thumbs, scene.space.neighbours)
