"""The network that stands in for the victim's: it learns the dataset, has a gradient, and is named by its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bezoar.data
from attacks.builders import CLASSES, images, labels, parquet_of_png, text_csv
from bezoar.errors import InputError, UsageError
from bezoar.models.surrogate import train_surrogate

torch = pytest.importorskip("torch")


def test_it_learns_the_dataset_at_its_size(tmp_path: Path) -> None:
    surrogate = train_surrogate(parquet_of_png(tmp_path), epochs=20, seed=0)
    assert surrogate.size == images().shape[1]
    assert not surrogate.module.training
    inputs = torch.from_numpy(images()).permute(0, 3, 1, 2).float() / 255
    inputs.requires_grad_()
    logits = surrogate.module(inputs)
    assert logits.shape == (len(images()), CLASSES)
    assert (logits.argmax(1).numpy() == labels()).mean() > 0.9
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), inputs)
    assert gradient.abs().sum() > 0
    features = surrogate.features(inputs)
    assert torch.equal(surrogate.module[-1](features), logits)


def test_the_digest_names_the_weights(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    one, again, other = (train_surrogate(dataset, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert one.digest == again.digest != other.digest


def test_large_and_tiny_images_are_brought_to_a_size_that_can_be_trained() -> None:
    rng = np.random.default_rng(0)
    for side, size in ((100, 64), (8, 16)):
        pixels = rng.integers(0, 256, (20, side, side, 3), dtype=np.uint8)
        dataset = bezoar.data.from_arrays(pixels, np.arange(20) % 2, ("a", "b"))
        assert train_surrogate(dataset, epochs=1, seed=0).size == size


def test_without_images_or_labels_there_is_nothing_to_learn(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    unlabelled = dataset.with_changes(labels=dict.fromkeys(range(len(dataset)), -1))
    with pytest.raises(InputError, match="no readable, labelled images"):
        train_surrogate(unlabelled, seed=0)
    with pytest.raises(UsageError, match="not images"):
        train_surrogate(text_csv(tmp_path), seed=0)
