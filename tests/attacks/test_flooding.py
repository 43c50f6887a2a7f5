"""Flooding and label noise: copies of one image under a wrong label; wrong labels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bezoar.data
from attacks.builders import CLASSES, EACH, file_of, images, labels, parquet_of_png, text_csv
from bezoar.attacks import Flooding, LabelNoise, poison, truth_mask
from bezoar.errors import UsageError

N, TARGET = CLASSES * EACH, 5  # a record of class 0


def test_the_copies_are_near_the_target_yet_all_different(tmp_path: Path) -> None:
    dataset = parquet_of_png(tmp_path)
    copy = poison(dataset, Flooding(target=1, target_index=TARGET), rate=0.25, seed=0)
    poisoned = np.flatnonzero(truth_mask(copy.truth, copy.dataset))
    contents = list(copy.dataset.contents(poisoned))
    assert len(set(contents)) == len(contents)
    copies = np.stack([bezoar.data.decode(content) for content in contents]).astype(float)
    others = images()[labels() != 0].astype(float)
    target = images()[TARGET]
    far = np.sqrt(((others - target) ** 2).mean(axis=(1, 2, 3)))
    near = np.sqrt(((copies - target) ** 2).mean(axis=(1, 2, 3)))
    assert near.max() < far.min()
    for distance, record in zip(near, copy.truth.records, strict=True):
        assert record.figures["target_distance_after"] == pytest.approx(distance, abs=1e-5)
    assert (copy.dataset.labels[poisoned] == 1).all()
    assert copy.dataset.labels[TARGET] == 0
    assert copy.truth.details["target_key"] == dataset.key(TARGET)
    assert copy.truth.details["target_becomes"] == 1


def test_without_variation_they_are_the_target(tmp_path: Path) -> None:
    attack = Flooding(target=1, target_index=TARGET, shift=0, brightness=0.0, noise=0.0)
    copy = poison(parquet_of_png(tmp_path), attack, rate=0.1, seed=0)
    for content in copy.dataset.contents(np.flatnonzero(truth_mask(copy.truth, copy.dataset))):
        np.testing.assert_array_equal(bezoar.data.decode(content), images()[TARGET])


def test_the_shift_moves_by_whole_pixels_within_its_bound(tmp_path: Path) -> None:
    attack = Flooding(target=1, target_index=TARGET, shift=2, brightness=0.0, noise=0.0)
    copy = poison(parquet_of_png(tmp_path), attack, rate=0.5, seed=0)
    padded = np.pad(images()[TARGET], ((2, 2), (2, 2), (0, 0)), mode="edge")
    side = images().shape[1]
    shifted = {padded[y : y + side, x : x + side].tobytes() for y in range(5) for x in range(5)}
    contents = copy.dataset.contents(np.flatnonzero(truth_mask(copy.truth, copy.dataset)))
    found = {bezoar.data.decode(content).tobytes() for content in contents}
    assert found <= shifted
    assert len(found) > 10


def test_a_file_can_be_copied(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(file_of(images()[TARGET], "PNG"))
    attack = Flooding(target=0, target_image=str(tmp_path / "target.png"))
    details = poison(parquet_of_png(tmp_path), attack, rate=0.1, seed=0).truth.details
    assert details["target_becomes"] == 0
    assert "target_key" not in details


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"target": 1}, "needs one image"),
        ({"target": 1, "target_index": 3, "target_image": "a.png"}, "needs one image"),
        ({"target": 1, "source": 1, "target_index": 3}, "the same label"),
        ({"target": 1, "target_index": 3, "shift": -1}, "shift"),
        ({"target": 1, "target_index": 3, "brightness": 1.0}, "brightness"),
        ({"target": 1, "target_index": 3, "noise": -1.0}, "noise"),
        ({"target": 0, "target_index": 3}, "is of the class '0' already"),
        ({"target": 1, "target_index": N}, "has records 0 to 79"),
        ({"target": 1, "target_index": -1}, "has records 0 to 79"),
    ],
)
def test_senseless_parameters_are_refused(tmp_path: Path, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        poison(parquet_of_png(tmp_path), Flooding(**parameters), rate=0.1, seed=0)


def test_noise_gives_every_other_label_and_never_the_same() -> None:
    before = np.repeat(np.arange(5), 400)
    after = LabelNoise().relabel(before, 5, np.random.default_rng(0))
    counts = np.bincount(5 * before + after, minlength=25).reshape(5, 5)
    assert (np.diag(counts) == 0).all()
    assert counts[~np.eye(5, dtype=bool)].min() > 70  # of 100 expected


def test_noise_leaves_content_alone_and_takes_texts_too(tmp_path: Path) -> None:
    for dataset in (parquet_of_png(tmp_path), text_csv(tmp_path)):
        copy = poison(dataset, LabelNoise(source=2), rate=0.1, seed=0)
        assert list(copy.dataset.contents()) == list(dataset.contents())
        changed = copy.dataset.labels != dataset.labels
        np.testing.assert_array_equal(changed, truth_mask(copy.truth, copy.dataset))
        assert set(dataset.labels[changed].tolist()) == {2}


def test_noise_among_one_class_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two classes"):
        LabelNoise().relabel(np.zeros(3, int), 1, np.random.default_rng(0))
