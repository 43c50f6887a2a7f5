from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bezoar.scan.density_view import density
from bezoar.scan.detectors import DETECTORS
from bezoar.scan.functional.neighbours import nearest, unit_rows


def scene(n: int) -> tuple[Any, Any]:
    features = np.random.default_rng(0).normal(size=(n, 12)).astype(np.float32)
    features[: n // 4] = features[0]
    found = nearest(features, min(64, n - 1))
    return SimpleNamespace(
        space=SimpleNamespace(unit=unit_rows(features), neighbours=found.indices)
    ), features


@pytest.mark.parametrize("n", [2, 5, 700])
def test_columns_are_what_the_detectors_say(n: int) -> None:
    looked_at, features = scene(n)
    columns = density(looked_at)
    assert list(columns) == ["k_distance", "slof", "dao", "lid"]
    for name, score in columns.items():
        assert score.shape == (n,)
        assert np.isfinite(score).all()
        detector = DETECTORS[name.replace("_", "-")]().fit(features)
        np.testing.assert_allclose(score, detector.scores_, rtol=0.02, atol=0.02)
