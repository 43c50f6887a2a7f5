"""View 4: what networks learn from the suspect data, asked about records that they never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from bezoar.models.dynamics import Dynamics, cross_fit
from bezoar.scan.functional.scan_decomposition import scan_decomposition
from bezoar.scan.functional.spectral_signatures import spectral_signatures
from bezoar.scan.functional.spread_inflow import Inflow, planted_margin, spread_inflow
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example
from bezoar.seeds import generator

_SIDE, _LEAST_SIDE = 32, 16  # of the images that networks are trained on
_LINKED = 4  # nearest neighbours that may be near-duplicates
_MOST_IN_HALF = 0.6
_MARGINS = (0.3, 0.5)  # by which another label is more probable: both are tested
_ORIGINS, _SHOWN = 5, 12


def training(scene: Scene, alpha: float) -> Evidence:
    """Labels under which records of nearly every other label lie, as networks that never saw them say (MissingExtraError)."""
    half = _half(scene)  # near-duplicates stay together
    learned = cross_fit(small(scene.images), scene.labels, len(scene.label_names), half, seed=scene.seed)
    margin, other = margins(np.asarray((learned.fine + learned.coarse) / 2, np.float32), scene.labels)
    tests = [_tested(scene, margin, other, least) for least in _MARGINS]
    p_values = np.minimum(1.0, len(tests) * np.min([test.p_values for test in tests], axis=0))
    findings = []
    for label in np.flatnonzero(p_values <= alpha):
        test = min(tests, key=lambda test: float(test.p_values[label]))
        findings.append(_finding(scene, margin, other, int(label), float(p_values[label]), test))
    scores = {
        "training_margin": margin.astype(np.float64),
        "training_loss": learned.loss.astype(np.float64),
        "training_dropout_shift": -learned.dropout_shift.astype(np.float64),
    } | layer_scores(learned, scene.labels, half)
    return Evidence("training", p_values, tuple(findings), scores)


def margins(
    probability: NDArray[np.float32], labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """How much more probable (N,) the strongest other label is than the given one, and that label; probabilities (N, K)."""
    at = np.arange(len(labels))
    others = probability.copy()
    others[at, labels] = -1.0
    other = others.argmax(axis=1)
    return np.asarray(others[at, other] - probability[at, labels]), other.astype(np.int32)


def layer_scores(
    learned: Dynamics, labels: NDArray[np.int32], half: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Spectral signatures and SCAn, each (N,), at the last hidden layer and at the pooled convolutions.

    Per half (N,): the records of one are seen by one network, and another network's features are another space.
    """
    layers = {"": learned.features, "_pooled": learned.pooled}
    scores = {
        f"training_{name}{layer}": np.zeros(len(labels)) for name in ("spectral", "scan") for layer in layers
    }
    for layer, features in layers.items():
        for ours in (half, ~half):
            scores[f"training_spectral{layer}"][ours] = spectral_signatures(features[ours], labels[ours])
            scores[f"training_scan{layer}"][ours] = scan_decomposition(features[ours], labels[ours]).scores
    return scores


def small(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, H, W, 3) with sides of 16 to 32 pixels, averaged where they are larger and repeated where smaller."""
    for axis in (1, 2):
        side = images.shape[axis]
        if side < _LEAST_SIDE:
            images = np.repeat(images, -(-_LEAST_SIDE // side), axis=axis)
        elif side > _SIDE:
            edges = np.linspace(0, side, _SIDE + 1).round().astype(np.int64)
            shape = [1, 1, 1, 1]
            shape[axis] = _SIDE
            sums = np.add.reduceat(images, edges[:-1], axis=axis, dtype=np.uint32)
            images = (sums / np.diff(edges).reshape(shape)).round().astype(np.uint8)
    return images


def _half(scene: Scene) -> NDArray[np.bool_]:
    """About half of the rows, bool (M,): whole groups of near-duplicates, so that no network has seen a copy."""
    n = len(scene.labels)
    rng = generator(scene.seed, "training halves")
    near = scene.space.neighbours[:, :_LINKED]
    rows = np.repeat(np.arange(n), near.shape[1])
    pairs = np.column_stack([rows, near.ravel()])
    linked = np.array([scene.independent_of(pair) == 1 for pair in pairs])
    links = csr_array((np.ones(int(linked.sum())), (pairs[linked, 0], pairs[linked, 1])), shape=(n, n))
    count, group = connected_components(links, directed=False)
    half = (rng.permutation(count) % 2 == 0)[group]
    if not 1 - _MOST_IN_HALF <= half.mean() <= _MOST_IN_HALF:  # one huge group of look-alikes
        half = rng.permutation(n) % 2 == 0
    return np.asarray(half, dtype=np.bool_)


def _tested(scene: Scene, margin: NDArray[np.float32], other: NDArray[np.int32], least: float) -> Inflow:
    n_labels = len(scene.label_names)
    moved = np.zeros((n_labels, n_labels), dtype=np.int64)
    rows = np.flatnonzero(margin >= least)
    cell = scene.labels[rows].astype(np.int64) * n_labels + other[rows]
    for here in np.unique(cell):
        moved.flat[here] = scene.independent_of(rows[cell == here])
    return spread_inflow(moved, np.bincount(scene.labels, minlength=n_labels))


def _finding(
    scene: Scene,
    margin: NDArray[np.float32],
    other: NDArray[np.int32],
    label: int,
    p_value: float,
    test: Inflow,
) -> Finding:
    name = scene.label_names[label]
    least = planted_margin(margin, scene.labels, label)
    certain = least is not None
    rows = np.flatnonzero((scene.labels == label) & (margin >= (max(_MARGINS) if least is None else least)))
    rows = rows[np.argsort(-margin[rows], kind="stable")]
    origin, count = np.unique(other[rows], return_counts=True)
    excluded = np.zeros(len(margin), dtype=bool)
    excluded[rows] = True
    return Finding(
        kind="foreign-content",
        severity=Severity.POISON if certain else Severity.REVIEW,
        title=f"{len(rows)} records labelled {name!r} are taken for other labels by networks that never saw them",
        explanation=(
            "Two networks were each trained on half of the records and asked about the other half. They take "
            f"{test.count[label]} independent records labelled {name!r} for records of other labels, and of nearly every other "
            f"label; what other labels receive from the same ones explains about {test.expected[label]:.0f}. Backdoors that "
            "relabel images of every class look like this, whatever their trigger. "
            + (
                "A class that was labelled carelessly does too: look at the examples."
                if certain
                else "But single records do not stand out from what networks get wrong in other classes: look at the examples."
            )
        ),
        records=scene.space.records[rows],
        p_value=p_value,
        target=label,
        origins=tuple(int(o) for o in origin[np.argsort(-count, kind="stable")][:_ORIGINS]),
        examples=tuple(
            example(scene.space, int(row), scene.gallery, excluded, int(other[row])) for row in rows[:_SHOWN]
        ),
        details={
            "received": int(test.count[label]),
            "expected": round(float(test.expected[label]), 2),
            "z": round(float(test.z[label]), 3),
        },
    )
