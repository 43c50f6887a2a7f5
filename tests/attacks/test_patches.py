"""Attacks with patches and labels of their own: all to all, TaCT, Adaptive-Patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attacks.builders import CLASSES, EACH, labels, parquet_of_png
from bezoar.attacks import AdaptivePatch, BadNets, Tact, cover_mask, poison, truth_mask
from bezoar.errors import UsageError

N = CLASSES * EACH


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_all_to_all_teaches_the_next_label(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    copy = poison(dataset, BadNets(all_to_all=1), rate=0.5, seed=0)
    poisoned = truth_mask(copy.truth, copy.dataset)
    before, after = dataset.labels[poisoned], copy.dataset.labels[poisoned]
    assert set(before.tolist()) == set(range(CLASSES)), "a class was spared"
    np.testing.assert_array_equal(after, (before + 1) % CLASSES)
    success = BadNets(all_to_all=1).test_labels(np.array([0, 1, 3, -1]), CLASSES)
    assert success.tolist() == [1, 2, 0, -1]


def test_a_source_is_the_only_class_that_is_tested() -> None:
    right = np.array([0, 1, 2, -1])
    assert BadNets(target=1, source=2).test_labels(right, 3).tolist() == [-1, -1, 1, -1]
    assert BadNets(target=1).test_labels(right, 3).tolist() == [1, -1, 1, -1]


def test_tact_covers_other_classes_with_the_same_patch(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    copy = poison(dataset, Tact(source=2, target=1, cover_ratio=3.0), rate=0.1, seed=0)
    poisoned, cover = truth_mask(copy.truth, copy.dataset), cover_mask(copy.truth, copy.dataset)
    assert (poisoned.sum(), cover.sum()) == (8, 24)
    assert set(dataset.labels[poisoned].tolist()) == {2}
    assert set(dataset.labels[cover].tolist()) == {0, 3}
    np.testing.assert_array_equal(copy.dataset.labels[cover], dataset.labels[cover])


def test_more_cover_than_there_are_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"50 cover records wanted, but .* only 40 readable"):
        poison(parquet_of_png(tmp_path), Tact(source=2, target=1, cover_ratio=5.0), rate=10 / N, seed=0)


def test_cover_and_poison_do_not_depend_on_each_other(tmp_path: Path) -> None:
    """Another amount of cover leaves the poison as it is."""
    dataset = parquet_of_png(tmp_path)
    few, many = (
        poison(dataset, Tact(source=2, target=1, cover_ratio=ratio), rate=0.1, seed=0) for ratio in (0.0, 2.0)
    )
    poisoned = truth_mask(few.truth, few.dataset)
    assert cover_mask(few.truth, few.dataset).sum() == 0
    assert few.dataset.select(poisoned).digest == many.dataset.select(poisoned).digest


def corners(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], level: int) -> list[set[str]]:
    """In which corners each image differs from grey."""
    halves = {"top": slice(0, 16), "bottom": slice(16, 32), "left": slice(0, 16), "right": slice(16, 32)}
    return [
        {
            f"{y}-{x}"
            for y in ("top", "bottom")
            for x in ("left", "right")
            if (image[halves[y], halves[x]] != level).any()
        }
        for image in images
    ]


def test_adaptive_patch_shows_one_faint_patch_in_training_and_all_at_test_time() -> None:
    images = np.full((40, 32, 32, 3), 100, np.uint8)
    attack = AdaptivePatch(target=0)
    crafted = attack.craft(images, rng(), [])
    shown = corners(crafted, 100)
    assert {len(each) for each in shown} == {1}
    counts = {place: sum(place in each for each in shown) for place in set().union(*shown)}
    assert counts == dict.fromkeys(("top-left", "top-right", "bottom-left", "bottom-right"), 10)
    stamped = attack.apply(images, rng())
    assert all(len(each) == 4 for each in corners(stamped, 100))
    opaque = stamped[0].astype(float)
    for place, opacity in zip(
        ("top-left", "top-right", "bottom-left", "bottom-right"), (0.5, 0.2, 0.5, 0.3), strict=True
    ):
        image = crafted[next(i for i, each in enumerate(shown) if each == {place})].astype(float)
        changed = image != 100
        np.testing.assert_allclose(image[changed], (100 + opacity * (opaque - 100))[changed], atol=0.51)


def test_single_images_get_any_of_the_patches() -> None:
    image = np.full((1, 32, 32, 3), 100, np.uint8)
    generator = rng()
    shown = [corners(AdaptivePatch(target=0).craft(image, generator, []), 100)[0] for _ in range(40)]
    assert len(set().union(*shown)) == 4


def test_cover_is_never_of_the_target() -> None:
    right = np.append(labels(), -1)
    assert set(right[AdaptivePatch(target=1).cover_candidates(right, CLASSES)].tolist()) == {0, 2, 3}


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        (Tact, {"source": 1}, "the same label"),
        (Tact, {"source": 0, "cover_ratio": -0.5}, "cover_ratio"),
        (Tact, {"source": 0, "size": 0}, "at least one pixel"),
        (AdaptivePatch, {"opacities": "0.5,high"}, "must be numbers"),
        (AdaptivePatch, {"opacities": "0.5,1.5"}, "opacity 1.5"),
        (AdaptivePatch, {"opacities": "1,1,1,1,1,1"}, "at most 5 patches"),
        (AdaptivePatch, {"test_opacity": 0.0}, "test_opacity"),
        (AdaptivePatch, {"size": 32}, "do not fit a canvas"),
    ],
)
def test_senseless_parameters_are_refused(kind: type, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kind(target=1, **parameters)
