from __future__ import annotations

import numpy as np
import pytest

from bezoar.embed.text import TfidfSvd
from bezoar.errors import InputError

TEXTS = [f"the {kind} number {i} is {kind} indeed" for i in range(20) for kind in ("cat", "stock price")]


def test_features_are_unit_rows_that_bring_like_texts_together() -> None:
    features = TfidfSvd(dim=8).encode(TEXTS, seed=0)
    assert features.dtype == np.float32
    assert features.shape == (40, 8)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    cosines = features @ features.T
    assert cosines[0, 2::2].min() > cosines[0, 1::2].max()


def test_the_same_seed_gives_the_same_features() -> None:
    np.testing.assert_array_equal(TfidfSvd().encode(TEXTS, seed=1), TfidfSvd().encode(TEXTS, seed=1))


def test_any_text_can_be_encoded() -> None:
    hostile = ["", "\x00\x1b", "a" * 10**6, "北京欢迎你", " ".join(map(str, range(50_000))), "\ud800"]
    features = TfidfSvd().encode(hostile * 2, seed=0)
    assert np.isfinite(features).all()
    assert not TfidfSvd().encode(["", " "], seed=0).any()
    with pytest.raises(InputError, match="at least two"):
        TfidfSvd().encode(["one"], seed=0)
