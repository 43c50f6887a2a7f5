from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.evidence import Gallery
from bezoar.scan.scene import Scene
from bezoar.scan.space import build_space
from bezoar.scan.spectrum_carriers import Found
from bezoar.scan.spectrum_groups import foreign_groups
from scan.builders import dataset, each_alone

NAMES = tuple("abcdefgh")
EACH, DIM, TARGET = 100, 24, 2


def scene_of(planted: int, honest: int, seed: int = 0) -> tuple[Scene, NDArray[np.int64], NDArray[np.bool_]]:
    """A label of which `planted` show other classes and share a faint trait; its rows, and which of them are planted."""
    rng = np.random.default_rng(seed)
    shown = np.arange(len(NAMES), dtype=np.int32).repeat(EACH)
    labels = shown.copy()
    hosts = rng.choice(np.flatnonzero(shown != TARGET), planted, replace=False)
    labels[hosts] = TARGET
    features = 3 * np.eye(len(NAMES), DIM)[shown] + rng.normal(0, 0.6, (len(shown), DIM))
    features[hosts, -1] += 3.0
    kept = np.ones(len(shown), dtype=bool)
    kept[np.flatnonzero(shown == TARGET)[honest:]] = False
    labels = labels[kept]
    images = rng.integers(0, 256, (len(labels), 4, 4, 3)).astype(np.uint8)
    space = build_space(features[kept].astype(np.float32), np.arange(len(labels)), labels, len(NAMES))
    scene = Scene(images, space, NAMES, each_alone, Gallery(dataset(images, labels, NAMES)), 0)
    rows = np.flatnonzero(labels == TARGET)
    return scene, rows, np.isin(np.flatnonzero(kept)[rows], hosts)


def judged(scene: Scene, rows: NDArray[np.int64], group: NDArray[np.bool_]) -> tuple[list[Found], int]:
    return foreign_groups(scene, scene.labels, TARGET, rows, [group], 8, np.random.default_rng(0))


@pytest.mark.parametrize(("planted", "honest"), [(120, EACH), (160, EACH), (160, 40)])
def test_planted_records_look_foreign_without_their_company_although_they_vote_for_each_other(
    planted: int, honest: int
) -> None:
    scene, rows, ours = scene_of(planted, honest)
    assert (scene.space.votes.margin[rows[ours]] > 0).mean() < 0.5
    found, tests = judged(scene, rows, ours)
    assert tests == 2  # the group and the others
    best = min(found, key=lambda item: item.log_p)
    np.testing.assert_array_equal(best.rows, rows[ours])
    assert best.log_p < np.log(1e-10)


@pytest.mark.parametrize("size", [20, 50, 80])
def test_honest_records_without_their_company_are_like_other_honest_company(size: int) -> None:
    scene, rows, _ = scene_of(0, EACH)
    near = np.argsort(-(scene.space.unit[rows] @ scene.space.unit[rows[0]]))
    group = np.zeros(len(rows), dtype=bool)
    group[near[:size]] = True
    found, _ = judged(scene, rows, group)
    assert min((item.log_p for item in found), default=0.0) > np.log(0.01)


def test_a_rest_that_could_win_no_vote_says_nothing_about_the_others() -> None:
    scene, rows, ours = scene_of(40, 12)
    assert not [item for item in judged(scene, rows, ours)[0] if np.array_equal(item.rows, rows[ours])]


def test_fewer_records_than_a_track_has_frames_are_not_judged() -> None:
    scene, rows, ours = scene_of(10, EACH)
    assert not judged(scene, rows, ours)[0]
