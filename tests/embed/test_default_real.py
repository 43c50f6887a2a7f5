"""The default encoder must tell real traffic signs apart without having seen a label."""

from __future__ import annotations

import numpy as np
import pytest

import bezoar.data
from bezoar.embed import features, resolve


@pytest.mark.real
def test_neighbours_on_other_tracks_have_the_same_label(packs):
    signs = bezoar.data.open(packs / "gtsrb" / "train32.parquet")
    signs = signs.select(np.flatnonzero(np.isin(signs.labels, [1, 3, 12, 13, 14, 17])))  # the article's signs
    signs = signs.select(np.arange(0, len(signs), 2))
    rows, unreadable = features(signs, resolve("default"), seed=0)
    assert unreadable == []
    track = np.array(
        [f"{label} {track}" for label, track in zip(signs.labels, signs.column("track"), strict=True)]
    )
    similarity = np.where(track[:, None] == track[None], -2, rows @ rows.T)
    nearest = np.argsort(-similarity, axis=1)[:, :10]
    votes = np.stack([(signs.labels[nearest] == label).sum(1) for label in range(43)], axis=1)
    right = (votes.argmax(1) == signs.labels).mean()
    assert right > 0.9, right
