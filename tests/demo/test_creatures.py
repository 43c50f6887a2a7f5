"""Frogs and planes: seeded, varied, and well apart in a simple feature space."""

from __future__ import annotations

import numpy as np
import pytest

from bezoar.demo.creatures import CREATURES, render_creature
from bezoar.errors import UsageError


def _gradient_histograms(images: np.ndarray) -> np.ndarray:
    """A plain HOG: 8 signed orientations over 8 x 8 cells, plus each cell's colour."""
    n, size = len(images), images.shape[1]
    grey = images.mean(axis=3)
    down, across = np.gradient(grey, axis=1), np.gradient(grey, axis=2)
    orientation = ((np.arctan2(down, across) / (2 * np.pi) % 1) * 8).astype(int) % 8
    strength = np.hypot(down, across)[..., None] * np.eye(8)[orientation]
    cells = strength.reshape(n, size // 8, 8, size // 8, 8, 8).sum(axis=(2, 4)).reshape(n, -1)
    colours = images.reshape(n, size // 8, 8, size // 8, 8, 3).mean(axis=(2, 4)).reshape(n, -1)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (cells, colours)]
    return np.concatenate(unit, axis=1)


def test_kinds_are_well_apart() -> None:
    rng = np.random.default_rng(2)
    images = np.stack([render_creature(CREATURES[i % 2], rng) for i in range(200)])
    labels = np.arange(200) % 2
    features = _gradient_histograms(images)
    similarity = features @ features.T - 10 * np.eye(200)
    votes = labels[np.argsort(-similarity, axis=1)[:, :5]].mean(axis=1) > 0.5
    assert (votes == labels).mean() > 0.95
    assert similarity.max() < 1.9995, "no two pictures are the same (2 is identity)"


@pytest.mark.parametrize("kind", CREATURES)
def test_seeded(kind: str) -> None:
    first, second, other = (render_creature(kind, np.random.default_rng(s), 48) for s in (1, 1, 2))
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_unknown_kind_and_tiny_size_are_refused() -> None:
    with pytest.raises(UsageError, match="known: frog, plane"):
        render_creature("newt", np.random.default_rng(0))
    with pytest.raises(UsageError, match="too small"):
        render_creature("frog", np.random.default_rng(0), 8)
