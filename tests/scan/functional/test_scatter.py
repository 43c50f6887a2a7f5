from __future__ import annotations

import numpy as np
import pytest

from bezoar.scan.functional.scatter import blocks, label_means, scatter_within


def test_blocks_give_what_the_whole_gives() -> None:
    n = 10_000  # more than one block, and a part of one
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(n, 5)) + 3).astype(np.float32)
    number = rng.integers(0, 4, n)
    assert sum(block.stop - block.start for block in blocks(n)) == n
    means = label_means(features, number, 4)
    np.testing.assert_allclose(
        means, [features[number == label].mean(axis=0) for label in range(4)], rtol=1e-5
    )
    apart = features - means[number]
    np.testing.assert_allclose(scatter_within(features, number, means), apart.T @ apart / n, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    features = np.zeros((5000, 2))
    features[4999, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        label_means(features, np.zeros(5000, dtype=np.int32), 1)


@pytest.mark.parametrize("value", [1e160, 1e308])
def test_values_that_cannot_be_squared(value: float) -> None:
    features = np.array([[value, 0], [-value, 1], [value, 2]])
    number = np.zeros(3, dtype=np.int32)
    with pytest.raises(ValueError, match="too large to square"):
        scatter_within(features, number, label_means(features, number, 1))
