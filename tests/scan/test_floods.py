from __future__ import annotations

import numpy as np
import pytest

import bezoar
from bezoar.scan.canvas import load_canvas
from bezoar.scan.flood_view import floods, share_of_copies
from bezoar.scan.functional.near_duplicates import groups_within_labels, surroundings
from bezoar.scan.functional.patterns import thumbnails
from bezoar.scan.pipeline import _scene as scene_of
from bezoar.scan.result import Severity
from bezoar.scan.scene import Evidence
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


def chained(images: Pixels, count: int) -> Pixels:
    """`count` records in a row from the first of `images` to the last, each of which is like the next one alone."""
    turns = np.linspace(0, len(images) - 1.001, count)
    part = (turns % 1)[:, None, None, None]
    chain = images[turns.astype(int)] * (1 - part) + images[turns.astype(int) + 1] * part
    return chain.astype(np.uint8)


def test_a_chain_in_which_each_is_like_the_next_is_no_flood() -> None:
    """As the coats of Fashion-MNIST: one group by single linkage, though most pairs of them differ."""
    members = np.arange(60)
    thumbs = thumbnails(chained(backgrounds(6), 60))
    group = groups_within_labels(thumbs, np.tile(members, (60, 1)), np.zeros(60, np.int32))
    assert len(set(group)) == 1
    assert share_of_copies(thumbs, members) < 0.4
    copies = thumbnails(np.concatenate([varied(backgrounds(1)[0], 45, 2), backgrounds(15, seed=9)]))
    assert share_of_copies(copies, members) == pytest.approx(45 * 44 / (60 * 59))
    assert share_of_copies(copies, members[:45]) == share_of_copies(copies, members[:1]) == 1


def crowded(copies: int, chain: int, tracks: int) -> Evidence:
    """What is seen of three classes, each of which looks like itself, with `copies` of an image of class 0 labelled 1, a chain
    through class 0 labelled 2, and `tracks` near copies of an image of class 2 that are rightly labelled.
    """
    centres = backgrounds(3, seed=5).astype(np.float32)
    labels = np.repeat(np.arange(3, dtype=np.int32), 100)
    images = (0.6 * centres[labels] + 0.4 * backgrounds(300, seed=6)).astype(np.uint8)
    ends = (0.6 * centres[0] + 0.4 * backgrounds(7, seed=7)).astype(np.uint8)
    images = np.concatenate(
        [images, varied(images[0], copies, 1), chained(ends, chain), varied(images[250], tracks, 2)]
    )
    labels = np.r_[labels, np.repeat(np.array([1, 2, 2], dtype=np.int32), [copies, chain, tracks])]
    crowd = dataset(images, labels, ("a", "b", "c"))
    return floods(scene_of(crowd, load_canvas(crowd), Mosaic(), 0, None, None, None), 0.01)


@pytest.mark.parametrize(
    ("copies", "chain", "tracks", "targets"),
    [(40, 0, 0, [1]), (40, 120, 0, [1]), (0, 120, 0, []), (40, 0, 30, []), (0, 0, 40, [2])],
)
def test_a_flood_is_held_against_copies_and_not_against_chains(
    copies: int, chain: int, tracks: int, targets: list[int]
) -> None:
    seen = crowded(copies, chain, tracks)
    assert [finding.target for finding in seen.findings] == targets
    assert [finding.severity for finding in seen.findings] == (
        [Severity.REVIEW if tracks else Severity.POISON] * len(targets)
    )
    assert np.flatnonzero(seen.p_values <= 0.01).tolist() == ([] if tracks else targets)
