from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.support import blobs, opinions
from bezoar.attacks import ATTACKS, BadNets, FeatureCollision, Flooding, LabelNoise, poison
from bezoar.bench.potency import potency
from bezoar.embed import fit, resolve

pytest.importorskip("torch")
TRAIN, TEST = blobs(150, 0), blobs(40, 1)
BADNETS = BadNets(target=0, size=5, pattern="checkerboard")


def test_a_patch_on_many_records_takes() -> None:
    copy = poison(TRAIN, BADNETS, rate=0.15, seed=0)
    seen = potency(copy, TRAIN, TEST, BADNETS, seed=0, epochs=12)
    assert seen.took
    assert seen.attack_success is not None
    assert seen.control is not None
    assert seen.attack_success > 0.9 > 0.1 > seen.control
    assert seen.clean_accuracy > 0.95
    assert seen.tested == 80  # all held-out records but the target's


def test_one_record_does_not() -> None:
    copy = poison(TRAIN, BADNETS, rate=1 / 450, seed=0)
    seen = potency(copy, TRAIN, TEST, BADNETS, seed=0, epochs=4)
    assert seen.took is False


def test_label_noise_wants_nothing_in_particular() -> None:
    attack = LabelNoise()
    seen = potency(poison(TRAIN, attack, rate=0.05, seed=0), TRAIN, TEST, attack, seed=0, epochs=4)
    assert seen.took is None
    assert seen.attack_success is None
    assert seen.clean_accuracy > 0.9


def test_a_flooded_record_is_misread_and_is_no_part_of_the_training() -> None:
    row = int(np.flatnonzero(TRAIN.labels == 1)[0])
    attack = Flooding(target=0, target_index=row)
    seen = potency(poison(TRAIN, attack, rate=0.2, seed=0), TRAIN, TEST, attack, seed=0, epochs=12)
    assert seen.took
    assert seen.control == 0.0
    assert seen.tested == 1


def test_a_record_that_is_misread_without_poison_does_not_count() -> None:
    red = int(np.flatnonzero(TRAIN.labels == 0)[0])
    train = TRAIN.with_changes(labels={red: 1})
    attack = Flooding(target=0, target_index=red)
    seen = potency(poison(train, attack, rate=0.05, seed=0), train, TEST, attack, seed=0, epochs=4)
    assert (seen.attack_success, seen.control) == (1.0, 1.0)
    assert seen.took is False


def test_a_collision_meets_a_linear_head_that_knew_the_target_before() -> None:
    row = int(np.flatnonzero(TRAIN.labels == 1)[0])
    attack = FeatureCollision(source=0, target_index=row, steps=5)
    encoder = fit(TRAIN, resolve("default"), 0)
    copy = poison(TRAIN, attack, rate=0.01, seed=0, encoder=encoder)  # type: ignore[arg-type]
    seen = potency(copy, TRAIN, TEST, attack, seed=0, epochs=1, encoder=encoder)
    assert seen.how.startswith("linear head")
    assert seen.control == 0.0
    assert seen.took is (seen.attack_success == 1.0)


@pytest.mark.parametrize(("rate", "took"), [(0.35, True), (0.005, False)])
def test_relabelled_texts_are_held_against_a_model_of_the_clean_ones(
    tmp_path: Path, rate: float, took: bool
) -> None:
    train, test = opinions(tmp_path / "train.parquet", 400, 0), opinions(tmp_path / "test.parquet", 200, 1)
    attack = ATTACKS["label-flip"](source=0, target=1)
    seen = potency(poison(train, attack, rate=rate, seed=0), train, test, attack, seed=0, epochs=1)
    assert seen.took is took
    assert seen.tested == 100
    assert seen.control is not None
    assert seen.control < 0.1


def test_a_word_takes(tmp_path: Path) -> None:
    train, test = opinions(tmp_path / "train.parquet", 400, 0), opinions(tmp_path / "test.parquet", 200, 1)
    attack = ATTACKS["rare-word"](target=1)
    seen = potency(poison(train, attack, rate=0.1, seed=0), train, test, attack, seed=0, epochs=1)
    assert seen.took
    assert seen.tested == 100
