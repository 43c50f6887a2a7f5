"""Signs: seeded, balanced, diverse, and told apart by what is on them."""

from __future__ import annotations

import numpy as np
import pytest

from bezoar.demo.faces import face
from bezoar.demo.signs import CLASS_NAMES, render, render_dataset
from bezoar.errors import UsageError


def _standardised(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def signs() -> tuple[np.ndarray, np.ndarray]:
    return render_dataset(40, seed=3)


def test_dataset_is_balanced_and_typed(signs: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = signs
    assert images.shape == (40 * len(CLASS_NAMES), 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert np.bincount(labels).tolist() == [40] * len(CLASS_NAMES)
    assert len(set(labels[:40].tolist())) > 5, "the order mixes the classes"


def test_same_seed_same_pixels() -> None:
    first, second, other = (render_dataset(2, seed) for seed in (5, 5, 6))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_larger_dataset_holds_the_smaller() -> None:
    small, large = render_dataset(1, seed=5)[0], render_dataset(3, seed=5)[0]
    assert {image.tobytes() for image in small} <= {image.tobytes() for image in large}


@pytest.mark.parametrize("size", [16, 33, 96])
def test_sizes(size: int) -> None:
    image = render(0, np.random.default_rng(0), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(("label", "size"), [(-1, 32), (len(CLASS_NAMES), 32), (0, 8)])
def test_out_of_range_is_refused(label: int, size: int) -> None:
    with pytest.raises(UsageError):
        render(label, np.random.default_rng(0), size)


def test_empty_dataset_is_refused() -> None:
    with pytest.raises(UsageError, match="n_per_class"):
        render_dataset(0, seed=0)


def test_faces_differ_and_leave_their_corners_clear() -> None:
    faces = np.stack([np.asarray(face(name, 64)) for name in CLASS_NAMES])
    assert (faces[:, [0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).sum() >= 4 * len(CLASS_NAMES) - 4
    pixels = faces.reshape(len(faces), -1).astype(np.float32)
    distances = np.linalg.norm(pixels[:, None] - pixels[None], axis=2) + 1e9 * np.eye(len(faces))
    assert distances.min() > 500, "80 and 60 are the closest pair"


def test_no_two_images_are_near_duplicates(signs: tuple[np.ndarray, np.ndarray]) -> None:
    similarity = (rows := _standardised(signs[0])) @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)
    assert similarity.max() < 0.99


def test_few_pixels_are_clipped(signs: tuple[np.ndarray, np.ndarray]) -> None:
    assert (signs[0] == 255).mean() < 0.02, "flat white areas would repeat from image to image"


def test_classes_are_told_apart_by_a_linear_model(signs: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = signs
    rows, half = _standardised(images), len(images) // 2
    targets = np.eye(len(CLASS_NAMES), dtype=np.float32)[labels]
    kernel = rows[:half] @ rows[:half].T + 0.1 * np.eye(half, dtype=np.float32)
    scores = rows[half:] @ rows[:half].T @ np.linalg.solve(kernel, targets[:half])
    accuracy = (scores.argmax(axis=1) == labels[half:]).mean()
    assert accuracy > 0.40, "ridge regression on raw pixels; chance is 0.06"
