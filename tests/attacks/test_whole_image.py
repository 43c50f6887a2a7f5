"""Triggers that touch the whole image: SIG's waves, WaNet's warp, Adaptive-Blend's pieces, faint blends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.attacks import AdaptiveBlend, Blended, Sig, WaNet
from bezoar.attacks.wanet import warp
from bezoar.errors import UsageError


def grey(side: int = 32, count: int = 4, level: int = 100) -> NDArray[np.uint8]:
    return np.full((count, side, side, 3), level, np.uint8)


def ramp(side: int = 32, count: int = 4) -> NDArray[np.uint8]:
    """Brightness 4 times the column, blue 4 times the row."""
    image = np.zeros((count, side, side, 3), np.uint8)
    image[..., 0] = 4 * np.arange(side)
    image[..., 2] = 4 * np.arange(side)[:, None]
    return image


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("width", [32, 60])
def test_sig_adds_a_sinusoid_of_the_papers_amplitude_and_frequency(width: int) -> None:
    images = np.full((2, 40, width, 3), 100, np.uint8)
    wave = Sig(target=0).apply(images, rng()).astype(float) - images
    assert (wave == wave[:1, :1, :, :1]).all(), "columns and channels differ"
    expected = 20 * np.sin(2 * np.pi * 6 * np.arange(width) / width)
    np.testing.assert_allclose(wave[0, 0, :, 0], expected, atol=0.5 + 1e-4)
    assert np.abs(np.fft.rfft(wave[0, 0, :, 0])).argmax() == 6


def test_sig_stays_within_the_levels_and_leaves_labels_alone() -> None:
    dark = Sig(target=3).apply(grey(level=5), rng())
    assert dark.min() == 0
    assert dark.max() == 25
    attack, right = Sig(target=3), np.array([0, 3, 2, 3, -1])
    assert attack.candidates(right, 4).tolist() == [False, True, False, True, False]
    assert attack.relabel(right[[1, 3]], 4, rng()).tolist() == [3, 3]
    assert attack.test_labels(right, 4).tolist() == [3, -1, 3, -1, -1]


def test_the_amplitude_may_grow_at_test_time() -> None:
    attack = Sig(target=0, delta=10, test_delta=40)
    assert np.abs(attack.craft(grey(), rng(), []).astype(int) - 100).max() == 10
    assert np.abs(attack.apply(grey(), rng()).astype(int) - 100).max() == 40


def test_a_blend_may_be_fainter_in_training_than_at_test_time() -> None:
    attack = Blended(target=0, alpha=0.1, test_alpha=0.3)
    pattern = Blended(target=0, alpha=1.0).apply(grey(), rng()).astype(float)
    np.testing.assert_allclose(attack.craft(grey(), rng(), []), 90 + 0.1 * pattern, atol=0.51)
    np.testing.assert_allclose(attack.apply(grey(), rng()), 70 + 0.3 * pattern, atol=0.51)


def test_warp_takes_each_pixel_from_its_offset_place() -> None:
    offsets = np.zeros((1, 32, 32, 2), np.float32)
    np.testing.assert_array_equal(warp(ramp(), offsets), ramp())
    offsets[..., 1] = 1.5
    np.testing.assert_array_equal(warp(ramp(), offsets)[0, 0, :30, 0], 4 * np.arange(30) + 6)
    assert (warp(ramp(), offsets)[0, :, 31, 0] == 4 * 31).all(), "places outside are not the edge's"
    offsets[..., 0], offsets[..., 1] = -0.5, 0
    np.testing.assert_array_equal(warp(ramp(), offsets)[0, 1:, 5, 2], 4 * np.arange(1, 32) - 2)


@pytest.mark.parametrize("side", [32, 96])
def test_the_warp_is_small_smooth_and_the_same_on_every_image(side: int) -> None:
    """A mean of about s / 2 canvas pixels; neighbours differ by at most 2 x 1/2 pixel over a cell of 8, doubled by cubics."""
    attack, scale = WaNet(target=0), side / 32
    offsets = attack._offsets(side, side) / scale
    assert 0.15 < np.abs(offsets).mean() < 0.35
    assert np.abs(offsets).max() < 1.0
    assert np.abs(np.diff(offsets, axis=0)).max() < 0.25 / scale
    warped = attack.apply(ramp(), rng())
    assert (warped == warped[:1]).all()
    assert 0 < np.abs(warped.astype(int) - ramp()).max() <= 4


def test_another_seed_is_another_warp() -> None:
    one, other = (WaNet(target=0, pattern_seed=seed).apply(ramp(), rng()) for seed in (0, 1))
    assert (one != other).any()


def test_cover_is_warped_otherwise_on_every_image() -> None:
    attack, images = WaNet(target=0), ramp()
    cover = attack.craft_cover(images, rng(), [])
    assert (cover[0] != cover[1]).any()
    assert (cover != attack.apply(images, rng())).any()
    assert np.abs(cover.astype(int) - images).max() <= 4 * (0.5 + 1.0) + 1
    assert attack.cover_candidates(np.array([0, 1, -1]), 2).tolist() == [True, True, False]


@pytest.mark.parametrize("side", [32, 50])
def test_half_of_the_pieces_are_shown_in_training_and_all_at_test_time(side: int) -> None:
    attack, images = AdaptiveBlend(target=0, pattern_seed=4), grey(side, 60, 20)
    shown = (attack.craft(images, rng(), []) != images).any(axis=3)
    bounds = [int(np.ceil(i * side / 4)) for i in range(5)]
    pieces = np.stack(
        [
            shown[:, a:b, c:d].mean(axis=(1, 2))
            for a, b in itertools.pairwise(bounds)
            for c, d in itertools.pairwise(bounds)
        ],
        axis=1,
    )
    assert ((pieces == 0).sum(axis=1) == 8).all()
    assert (pieces[pieces > 0] > 0.8).all()
    assert ((pieces > 0).mean(axis=0) > 0.2).all(), "some piece is hardly ever shown"
    assert len({tuple(row) for row in (pieces > 0).tolist()}) > 50
    assert (attack.apply(images, rng()) != images).any(axis=3).mean() > 0.9


def test_a_shown_piece_is_blended_by_the_papers_formula() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    attack = AdaptiveBlend(target=0, mask_rate=0.0)
    pattern = Blended(target=0, alpha=1.0).apply(images, rng()).astype(float)
    np.testing.assert_allclose(attack.craft(images, rng(), []), 0.85 * images + 0.15 * pattern, atol=0.51)
    np.testing.assert_allclose(attack.apply(images, rng()), 0.8 * images + 0.2 * pattern, atol=0.51)


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        (Sig, {"delta": 0.0}, "delta 0.0"),
        (Sig, {"test_delta": 300.0}, "test_delta 300.0"),
        (Sig, {"frequency": 0.0}, "frequency"),
        (Blended, {"test_alpha": 1.5}, "test_alpha 1.5"),
        (WaNet, {"source": 0}, "the same label"),
        (WaNet, {"grid": 1}, "grid 1"),
        (WaNet, {"strength": 0.0}, "strength"),
        (WaNet, {"cover_ratio": -1.0}, "cover_ratio"),
        (WaNet, {"canvas": -1}, "canvas"),
        (AdaptiveBlend, {"pieces": 10}, "square number"),
        (AdaptiveBlend, {"mask_rate": 1.0}, "mask_rate"),
        (AdaptiveBlend, {"mask_rate": 0.99}, "leaves none of 16"),
        (AdaptiveBlend, {"alpha": 0.0}, "alpha 0.0"),
        (AdaptiveBlend, {"pattern": "hello"}, "'hello' is not a pattern"),
    ],
)
def test_senseless_parameters_are_refused(kind: type, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kind(target=0, **parameters)
