"""Bullseye Polytope: the mean of a group near the target for the encoder, each record near its base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.builders import CLASSES, EACH, ToyEncoder, folder_of_jpeg, images, labels, parquet_of_png
from bezoar.attacks import BullseyePolytope, poison
from bezoar.data import Dataset, decode
from bezoar.errors import UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

TARGET, SOURCE = 0, 2
POISONED = 5
RATE = POISONED / (CLASSES * EACH)
ENCODER = ToyEncoder()


def pixels_of(dataset: Dataset, keys: list[str]) -> NDArray[np.uint8]:
    place = {key: index for index, key in enumerate(dataset.keys.to_pylist())}
    return np.stack([decode(dataset[place[key]].content) for key in keys])


def features(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    floats = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        small = torch.nn.functional.interpolate(floats, (16, 16), mode="area")
        return np.asarray(ENCODER.torch_module()(small), np.float64)


def crafted(
    dataset: Dataset, steps: int = 40, **options: Any
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[Any]]:
    """Bases, poison as stored, and its records in the truth."""
    attack = BullseyePolytope(source=SOURCE, target_index=TARGET, steps=steps, **options)
    copy = poison(dataset, attack, rate=RATE, seed=0, encoder=ENCODER)
    keys = [record.key for record in copy.truth.records]
    return pixels_of(dataset, keys), pixels_of(copy.dataset, keys), list(copy.truth.records)


@pytest.mark.parametrize("container", [parquet_of_png, folder_of_jpeg])
def test_the_mean_is_moved_onto_the_target(tmp_path: Path, container: Any) -> None:
    dataset = container(tmp_path)
    bases, poisons, records = crafted(dataset)
    goal = features(decode(dataset[TARGET].content)[None])[0]
    before, after = (np.linalg.norm(features(p).mean(0) - goal) for p in (bases, poisons))
    assert after < 0.5 * before
    for when, distance in (("before", before), ("after", after)):
        said = [record.figures[f"mean_feature_distance_{when}"] for record in records]
        np.testing.assert_allclose(said, distance, rtol=1e-4)
    singly = np.linalg.norm(features(poisons) - goal, axis=1)
    np.testing.assert_allclose([r.figures["feature_distance_after"] for r in records], singly, rtol=1e-4)
    assert (singly > after).all(), "no single record has to lie on the target"
    assert [r.label for r in records] == [SOURCE] * POISONED


def test_groups_are_aimed_one_by_one_and_the_last_may_be_smaller(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    bases, poisons, records = crafted(dataset, group=2)
    goal = features(images()[TARGET][None])[0]
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        before, after = (np.linalg.norm(features(p[rows]).mean(0) - goal) for p in (bases, poisons))
        assert after < before
        said = [record.figures["mean_feature_distance_after"] for record in records[rows]]
        np.testing.assert_allclose(said, after, rtol=1e-4)


@pytest.mark.parametrize("eps", [25.5, 8.0, 1.0])
def test_eps_bounds_every_pixel(tmp_path: Path, eps: float) -> None:
    bases, poisons, records = crafted(parquet_of_png(tmp_path), steps=10, eps=eps)
    assert 0 < np.abs(poisons.astype(int) - bases).max() <= eps
    for record in records:
        before, after = (record.figures[f"mean_feature_distance_{when}"] for when in ("before", "after"))
        assert after < before


def test_truth_names_target_and_encoder(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    attack = BullseyePolytope(source=SOURCE, target_index=TARGET, steps=1)
    details = poison(dataset, attack, rate=RATE, seed=0, encoder=ENCODER).truth.details
    assert (details["target_key"], details["target_becomes"]) == (dataset.key(TARGET), SOURCE)
    assert (details["encoder"], details["encoder_digest"]) == (ENCODER.name, ENCODER.digest)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "bullseye needs one target"),
        ({"target_index": 0, "target_image": "a.png"}, "bullseye needs one target"),
        ({"target_index": 0, "steps": 0}, "steps"),
        ({"target_index": 0, "eps": 0.5}, "eps"),
        ({"target_index": 0, "eps": 300.0}, "eps"),
        ({"target_index": 0, "group": 0}, "group"),
        ({"target_index": 0, "group": 65}, "group"),
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BullseyePolytope(source=SOURCE, **parameters)


@pytest.mark.parametrize(
    ("index", "encoder", "words"),
    [
        (0, None, "bullseye needs an encoder"),
        (80, ENCODER, "has records 0 to 79"),
        (int(np.flatnonzero(labels() == SOURCE)[0]), ENCODER, "is of the class .* already"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(
    tmp_path: Path, index: int, encoder: Any, words: str
) -> None:
    attack = BullseyePolytope(source=SOURCE, target_index=index)
    with pytest.raises(UsageError, match=words):
        poison(parquet_of_png(tmp_path), attack, rate=RATE, seed=0, encoder=encoder)
