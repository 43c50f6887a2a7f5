from __future__ import annotations

import numpy as np

import bezoar
from bezoar.scan.flood_view import one_image
from bezoar.scan.functional.near_duplicates import groups_within_labels, surroundings
from bezoar.scan.functional.patterns import thumbnails
from scan.builders import NO_ENTRY, STOP, Labels, Mosaic, Pixels, backgrounds, dataset, poison_findings, signs


def varied(image: Pixels, count: int, seed: int) -> Pixels:
    """Near copies of one image (H, W, 3)."""
    noise = np.random.default_rng(seed).normal(0, 3, (count, *image.shape))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def flooded(under: int, count: int = 40) -> tuple[Pixels, Labels, np.ndarray]:
    """Signs, of which some of another class were replaced by near copies of one stop sign labelled `under`."""
    images, labels = signs(100)
    image = images[np.flatnonzero(labels == STOP)[0]]
    rows = np.flatnonzero((labels != STOP) & (labels != NO_ENTRY))[:count]
    images[rows], labels[rows] = varied(image, count, 1), under
    planted = np.zeros(len(labels), dtype=bool)
    planted[rows] = True
    return images, labels, planted


def test_near_copies_of_one_label_are_a_group() -> None:
    images = backgrounds(40)
    images[:10] = varied(images[0], 10, 0)
    labels = np.r_[np.zeros(8, np.int32), np.ones(32, np.int32)]
    everyone = np.tile(np.arange(40), (40, 1))
    group = groups_within_labels(thumbnails(images), everyone, labels)
    assert len(set(group[:8])) == 1
    assert group[8] == group[9] != group[0]
    assert len(set(group[10:])) == 30


def test_surroundings_leave_the_members_out() -> None:
    unit = np.eye(6, dtype=np.float32)[[0, 0, 0, 0, 1, 2]]
    labels = np.array([5, 5, 7, 7, 8, 9], dtype=np.int32)
    assert surroundings(unit, labels, np.array([0, 1]), 2).tolist() == [7, 7]
    assert surroundings(unit, labels, np.arange(6), 2).tolist() == []


def test_a_flood_under_a_foreign_label_is_poison() -> None:
    images, labels, planted = flooded(NO_ENTRY)
    result = bezoar.scan(dataset(images, labels), encoder=Mosaic(), canaries=False)
    (flood,) = poison_findings(result)
    assert (flood.kind, flood.target) == ("near-duplicate-flood", NO_ENTRY)
    assert flood.origins == (STOP,)
    assert result.flagged[planted].mean() >= 0.95
    assert result.flagged[~planted].mean() <= 0.005


def test_a_flood_under_the_right_label_is_no_poison() -> None:
    images, labels, _ = flooded(STOP)
    assert not bezoar.scan(dataset(images, labels), encoder=Mosaic(), canaries=False).flagged.any()


def test_a_chain_in_which_each_is_like_the_next_is_no_flood() -> None:
    """As the coats of Fashion-MNIST: one group by single linkage, though most pairs of them differ."""
    images = backgrounds(6)
    turns = np.linspace(0, len(images) - 1.001, 60)
    part = (turns % 1)[:, None, None, None]
    chain = images[turns.astype(int)] * (1 - part) + images[turns.astype(int) + 1] * part
    members = np.arange(60)
    thumbs = thumbnails(chain.astype(np.uint8))
    group = groups_within_labels(thumbs, np.tile(members, (60, 1)), np.zeros(60, np.int32))
    assert len(set(group)) == 1
    assert not one_image(thumbs, members)
    assert one_image(thumbnails(varied(images[0], 60, 2)), members)
