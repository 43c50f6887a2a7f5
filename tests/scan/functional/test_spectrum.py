from __future__ import annotations

import numpy as np
import pytest

from bezoar.scan.functional.spectrum import FOLDS, Whitenings, class_means, planes, to_image


def textures(n: int, side: int = 12, seed: int = 0) -> np.ndarray:
    """Images (n, side, side, 3) whose neighbouring pixels are alike, as in photographs."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    fall = 1 / (1 + 20 * frequency)
    noise = np.fft.fft2(rng.normal(size=(n, 3, side, side))) * fall
    field = np.fft.ifft2(noise).real
    field = 128 + 40 * field / field.std()
    return np.clip(field, 0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1)


def test_planes_keep_lengths_and_give_the_image_back() -> None:
    images = textures(3)
    flat = planes(images)
    assert flat.shape == (3, 3, 144)
    np.testing.assert_allclose(to_image(flat[1], (12, 12)), images[1], atol=1e-3)
    squares = np.square(images.astype(np.float64)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(np.square(flat).sum(axis=(1, 2)), squares, rtol=1e-5)


def test_large_images_are_averaged() -> None:
    images = np.kron(textures(2, side=32), np.ones((1, 3, 3, 1))).astype(np.uint8)
    np.testing.assert_allclose(planes(images), planes(textures(2, side=32)), atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 9), (32, 70), (5, 5)])
def test_any_size_fits(shape: tuple[int, int]) -> None:
    flat = planes(np.full((2, *shape, 3), 77, dtype=np.uint8))
    assert flat.shape == (2, 3, min(32, shape[0]) * min(32, shape[1]))
    np.testing.assert_allclose(flat[:, 0], 77 * np.sqrt(3), rtol=1e-5)


def test_whitened_records_vary_alike_in_every_direction() -> None:
    images, labels = textures(1200), np.repeat(np.arange(2, dtype=np.int32), 600)
    flat = planes(images)
    flat[labels == 1] += 30  # differences between classes are not variation within them
    white = Whitenings(flat, labels, (12, 12)).of(0).whitened(flat - class_means(flat, labels)[labels])
    eigenvalues = np.linalg.eigvalsh(np.cov(white, rowvar=False))
    raw = np.linalg.eigvalsh(np.cov(flat[labels == 0].reshape(600, -1), rowvar=False))
    assert eigenvalues.max() < 4  # fitted to the other label's 600 records, for 432 directions
    assert eigenvalues.max() / np.median(eigenvalues) < raw.max() / np.median(raw) / 10


def test_a_signal_in_a_label_does_not_hide_itself_in_what_its_label_is_whitened_by() -> None:
    flat, labels = planes(textures(1200)), np.repeat(np.arange(2, dtype=np.int32), 600)
    signal = planes(np.random.default_rng(1).integers(0, 60, (1, 12, 12, 3)).astype(np.uint8))
    flat[:60] += signal
    whitenings = Whitenings(flat, labels, (12, 12))
    seen, hidden = (np.linalg.norm(whitenings.of(label).whitened(signal)) for label in (0, 1))
    assert seen > 2 * hidden


@pytest.mark.parametrize("classes", [1, 2, 40])
def test_labels_share_folds_and_a_label_that_is_not_there_has_a_whitening(classes: int) -> None:
    flat = planes(textures(200))
    whitenings = Whitenings(flat, (np.arange(200) % classes).astype(np.int32), (12, 12))
    ways = {id(whitenings.of(label)) for label in range(classes)}
    assert len(ways) == min(classes, FOLDS)
    assert np.isfinite(whitenings.of(classes + 5).whitened(flat)).all()


def test_constant_images_do_not_break_the_whitening() -> None:
    flat = planes(np.zeros((30, 8, 8, 3), dtype=np.uint8))
    white = Whitenings(flat, np.zeros(30, dtype=np.int32), (8, 8)).of(0).whitened(flat)
    assert np.isfinite(white).all()


def test_each_sinusoid_answers_to_its_own_wave() -> None:
    flat = planes(textures(400))
    whitening = Whitenings(flat, np.zeros(400, dtype=np.int32), (12, 12)).of(0)
    pairs = whitening.sinusoids
    wave = np.zeros((1, 3, 144), dtype=np.float32)
    wave[0, 0] = np.tile(np.sin(2 * np.pi * 3 * np.arange(12) / 12), 12)
    answer = np.abs(pairs @ whitening.whitened(wave)[0, :144]).max(axis=1)
    assert answer.argmax() == [(v, u) for v in range(-5, 6) for u in range(6) if u > 0 or v > 0].index((0, 3))
    np.testing.assert_allclose(np.linalg.norm(pairs, axis=2), 1, rtol=1e-4)
