"""Witches' Brew: the poison's training gradient points where the mislabelled target's does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.builders import CLASSES, EACH, ToySurrogate, folder_of_jpeg, labels, parquet_of_png
from bezoar.attacks import PoisonedCopy, WitchesBrew, poison
from bezoar.data import Dataset, decode
from bezoar.errors import UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

TARGET, SOURCE = 0, 2
POISONED = 6
RATE = POISONED / (CLASSES * EACH)
SURROGATE = ToySurrogate()


def pixels_of(dataset: Dataset, keys: list[str]) -> NDArray[np.uint8]:
    place = {key: index for index, key in enumerate(dataset.keys.to_pylist())}
    return np.stack([decode(dataset[place[key]].content) for key in keys])


def gradient(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """Of the summed loss with the label `SOURCE`, by all weights."""
    module = SURROGATE.module
    floats = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    logits = module(torch.nn.functional.interpolate(floats, (16, 16), mode="area"))
    loss = -logits.log_softmax(1)[:, SOURCE].sum()
    parts = torch.autograd.grad(loss, list(module.parameters()))
    return np.concatenate([part.numpy().ravel() for part in parts])


def cosine(pixels: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    a, b = gradient(pixels), gradient(target[None])
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def brewed(
    dataset: Dataset, steps: int = 40, seed: int = 0, restarts: int = 1, **options: Any
) -> PoisonedCopy:
    attack = WitchesBrew(source=SOURCE, target_index=TARGET, steps=steps, restarts=restarts, **options)
    return poison(dataset, attack, rate=RATE, seed=seed, surrogate=SURROGATE)


def cosine_after(copy: PoisonedCopy) -> float:
    return copy.truth.records[0].figures["gradient_cosine_after"]


@pytest.mark.parametrize("container", [parquet_of_png, folder_of_jpeg])
def test_the_gradients_are_aligned_as_stored(tmp_path: Path, container: Any) -> None:
    dataset = container(tmp_path)
    copy = brewed(dataset)
    keys = [record.key for record in copy.truth.records]
    target = decode(dataset[TARGET].content)
    before, after = (cosine(pixels_of(data, keys), target) for data in (dataset, copy.dataset))
    assert 1 - after < 0.7 * (1 - before)
    for record in copy.truth.records:
        assert record.figures["gradient_cosine_before"] == pytest.approx(before, abs=1e-4)
        assert record.figures["gradient_cosine_after"] == pytest.approx(after, abs=1e-4)
        assert record.label == record.original_label == SOURCE
    np.testing.assert_array_equal(copy.dataset.labels, dataset.labels)


@pytest.mark.parametrize("eps", [1.0, 8.5, 16.0])
def test_eps_bounds_every_pixel(tmp_path: Path, eps: float) -> None:
    dataset = parquet_of_png(tmp_path)
    copy = brewed(dataset, steps=10, eps=eps)
    keys = [record.key for record in copy.truth.records]
    change = pixels_of(copy.dataset, keys).astype(int) - pixels_of(dataset, keys)
    assert np.abs(change).max() == int(eps)


def test_of_several_restarts_the_best_is_kept(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    # the first of three starts is the only one of the single try: the same random numbers
    assert cosine_after(brewed(dataset, steps=3, restarts=3)) > cosine_after(brewed(dataset, steps=3))


def test_brewing_leaves_the_surrogate_and_torchs_random_state_alone(tmp_path: Path) -> None:
    weights = {name: value.clone() for name, value in SURROGATE.module.state_dict().items()}
    state = torch.get_rng_state()
    brewed(parquet_of_png(tmp_path), steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in SURROGATE.module.state_dict().items():
        assert torch.equal(value, weights[name])
    assert all(weight.grad is None for weight in SURROGATE.module.parameters())


def test_truth_names_target_and_surrogate(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    details = brewed(dataset, steps=1).truth.details
    assert (details["target_key"], details["target_becomes"]) == (dataset.key(TARGET), SOURCE)
    assert (details["surrogate"], details["surrogate_digest"]) == (SURROGATE.name, SURROGATE.digest)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "witches-brew needs one target"),
        ({"target_index": 0, "target_image": "a.png"}, "witches-brew needs one target"),
        ({"target_index": 0, "steps": 0}, "steps"),
        ({"target_index": 0, "eps": 0.5}, "eps"),
        ({"target_index": 0, "eps": 300.0}, "eps"),
        ({"target_index": 0, "restarts": 0}, "restarts"),
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        WitchesBrew(source=SOURCE, **parameters)


@pytest.mark.parametrize(
    ("index", "surrogate", "words"),
    [
        (0, None, "witches-brew needs a surrogate"),
        (80, SURROGATE, "has records 0 to 79"),
        (int(np.flatnonzero(labels() == SOURCE)[0]), SURROGATE, "is of the class .* already"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(
    tmp_path: Path, index: int, surrogate: Any, words: str
) -> None:
    attack = WitchesBrew(source=SOURCE, target_index=index)
    with pytest.raises(UsageError, match=words):
        poison(parquet_of_png(tmp_path), attack, rate=RATE, seed=0, surrogate=surrogate)
