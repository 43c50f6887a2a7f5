"""What every registered attack must hold, on every kind of container."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bezoar.data
from attacks.builders import CLASSES, DATASETS, EACH, ToyEncoder
from bezoar.attacks import ATTACKS, Attack, PoisonedCopy, poison, read_truth, truth_mask, write_poisoned
from bezoar.data import Dataset

# One entry for each registered attack: the parameters to test it with.
PARAMETERS: dict[str, dict[str, Any]] = {
    "badnets": {"target": 1, "size": 4},
    "blended": {"target": 1},
    "feature-collision": {"source": 2, "target_index": 0, "steps": 5, "eps": 24.0},
}
RATE, POISONED = 0.1, round(0.1 * CLASSES * EACH)


@dataclass
class Case:
    dataset: Dataset
    attack: Attack
    copy: PoisonedCopy

    def again(self, seed: int) -> PoisonedCopy:
        return poison(self.dataset, self.attack, rate=RATE, seed=seed, encoder=ToyEncoder())


@pytest.fixture(
    scope="module", params=[(name, kind) for name in ATTACKS for kind in DATASETS], ids=" - ".join
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    name, kind = request.param
    if name == "feature-collision":
        pytest.importorskip("torch")
    dataset = DATASETS[kind](tmp_path_factory.mktemp("original"))
    before = _fingerprint(dataset.path)
    attack = ATTACKS[name](**PARAMETERS[name])
    copy = poison(dataset, attack, rate=RATE, seed=0, encoder=ToyEncoder())
    yield Case(dataset, attack, copy)
    assert _fingerprint(dataset.path) == before, "the original was touched"


def test_the_same_seed_gives_the_same_copy_and_another_seed_another(case: Case) -> None:
    assert case.again(0).dataset.digest == case.copy.dataset.digest
    assert case.again(0).truth == case.copy.truth
    other = case.again(1)
    assert [r.key for r in other.truth.records] != [r.key for r in case.copy.truth.records]


def test_exactly_the_declared_records_change(case: Case) -> None:
    mask = truth_mask(case.copy.truth, case.copy.dataset)
    assert mask.sum() == len(case.copy.truth.records) == POISONED
    changed = [a != b for a, b in zip(case.copy.dataset.contents(), case.dataset.contents(), strict=True)]
    np.testing.assert_array_equal(changed, mask)
    np.testing.assert_array_equal(case.copy.dataset.labels[~mask], case.dataset.labels[~mask])
    assert case.copy.dataset.keys.equals(case.dataset.keys)


def test_labels_are_those_of_the_attack_and_of_the_truth(case: Case) -> None:
    mask = truth_mask(case.copy.truth, case.copy.dataset)
    before, after = case.dataset.labels[mask], case.copy.dataset.labels[mask]
    assert [r.original_label for r in case.copy.truth.records] == before.tolist()
    assert [r.label for r in case.copy.truth.records] == after.tolist()
    if case.attack.target is None:
        np.testing.assert_array_equal(before, after)
    else:
        assert (after == case.attack.target).all()
        assert (before != case.attack.target).all()
    if case.attack.source is not None:
        assert (before == case.attack.source).all()


def test_pixels_keep_their_container_and_the_figures_are_true(case: Case) -> None:
    indices = np.flatnonzero(truth_mask(case.copy.truth, case.copy.dataset))
    shape = case.dataset.raw_shape
    for index, record in zip(indices.tolist(), case.copy.truth.records, strict=True):
        old, new = case.dataset[index].content, case.copy.dataset[index].content
        assert old[:4] == new[:4] or shape is not None
        a, b = bezoar.data.decode(old, shape).astype(int), bezoar.data.decode(new, shape).astype(int)
        assert a.shape == b.shape
        assert record.figures["linf"] == abs(a - b).max() > 0
        assert record.figures["l2"] == pytest.approx(np.linalg.norm(a - b), rel=1e-6)


def test_written_copy_opens_in_the_same_format_with_its_truth_beside_it(case: Case, tmp_path: Path) -> None:
    out = tmp_path / ("copy" + case.dataset.path.suffix)
    truth = write_poisoned(case.copy, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, out.name + ".truth.json"])
    assert read_truth(tmp_path / (out.name + ".truth.json")) == truth
    copy = bezoar.data.open(out)
    assert (copy.format, len(copy)) == (case.dataset.format, len(case.dataset))
    mask = truth_mask(truth, copy)
    assert mask.sum() == POISONED
    written = sorted(zip(copy.contents(), copy.labels.tolist(), strict=True))
    meant = sorted(zip(case.copy.dataset.contents(), case.copy.dataset.labels.tolist(), strict=True))
    assert written == meant
    by_key = {r.key: r for r in copy}
    for record in truth.records:
        assert by_key[record.key].label == record.label


def test_the_truth_says_how_the_copy_was_made(case: Case) -> None:
    truth = case.copy.truth
    assert (truth.attack, truth.rate, truth.seed) == (case.attack.name, RATE, 0)
    assert truth.paper == case.attack.paper
    assert truth.clean_digest == case.dataset.digest
    assert truth.size == len(case.dataset)
    assert ATTACKS[truth.attack](**truth.parameters) == case.attack
    assert json.loads(truth.to_json())["parameters"] == truth.parameters


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_field_is_simple_and_explained(name: str) -> None:
    hints = typing.get_type_hints(ATTACKS[name])
    for field in dataclasses.fields(ATTACKS[name]):  # type: ignore[arg-type]
        assert field.metadata["help"]
        assert hints[field.name] in (int, float, str, int | None, str | None)


def _fingerprint(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
