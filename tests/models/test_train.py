"""The small trainer: learns, repeats itself, leaves torch as it was, refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from bezoar.devices import torch_device
from bezoar.errors import InputError, UsageError
from bezoar.models.train import shifted, train_classifier

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def toy() -> tuple[np.ndarray, np.ndarray]:
    """Three classes: noise brighter at the top, at the left, or nowhere."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 150, (300, 16, 16, 3))
    labels = np.arange(300) % 3
    images[labels == 0, :8] += 60
    images[labels == 1, :, :8] += 60
    return images.astype(np.uint8), labels


@pytest.mark.parametrize("half", [False, True])
def test_learns_a_toy_problem(
    toy: tuple[np.ndarray, np.ndarray], half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bezoar.models.train.has_bfloat16", lambda device: half)
    images, labels = toy
    images.setflags(write=False)  # a memory-mapped dataset is read-only
    model = train_classifier(images[:200], labels[:200], 3, epochs=8, seed=1)
    assert (model.predict(images[200:]) == labels[200:]).mean() > 0.95
    features = model.features(images[200:])
    assert features.dtype == np.float32
    assert features.shape[0] == 100
    assert features.ndim == 2
    assert features.std() > 0


def test_same_seed_same_network(toy: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = toy
    first, second, other = (
        train_classifier(images, labels, 3, epochs=1, seed=seed).features(images[:10]) for seed in (4, 4, 5)
    )
    if torch_device().type == "cpu":
        assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_an_image_is_shifted_and_its_border_fills_the_gap() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 5, 7, 3), dtype=np.uint8)
    moved = shifted(np.random.default_rng(1), images)
    found = set()
    for image, result in zip(images, moved, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
        places = [
            (y, x) for y in range(5) for x in range(5) if (padded[y : y + 5, x : x + 7] == result).all()
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 15  # of 25


def test_leaves_torch_as_it_was(toy: tuple[np.ndarray, np.ndarray]) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train_classifier(*toy, 3, epochs=1, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_prediction_does_not_depend_on_the_batch(toy: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = toy
    model = train_classifier(images, labels, 3, epochs=1, seed=1)
    np.testing.assert_allclose(model.features(images[:1]), model.features(images)[:1], rtol=1e-3, atol=1e-4)


def test_fewer_records_than_a_batch() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 20, 16, 3), dtype=np.uint8)
    assert train_classifier(images, np.arange(7) % 2, 2, epochs=1, seed=0).predict(images).shape == (7,)


@pytest.mark.parametrize(
    ("images", "labels", "line"),
    [
        (np.zeros((4, 32, 32, 3), np.float32), np.zeros(4, int), "expected uint8"),
        (np.zeros((4, 32, 32), np.uint8), np.zeros(4, int), "expected uint8"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, int), "16 x 16"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.zeros(3, int), "expected 4 integers"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 2, 3]), "outside 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(images: np.ndarray, labels: np.ndarray, line: str) -> None:
    with pytest.raises(InputError, match=line):
        train_classifier(images, labels, 3, seed=0)


def test_no_epochs_is_refused(toy: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(UsageError, match="0 epochs"):
        train_classifier(*toy, 3, epochs=0, seed=0)
