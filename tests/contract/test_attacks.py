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
from attacks.builders import CLASSES, EACH, IMAGES, TEXTS, ToyEncoder, ToySurrogate, images, labels, texts
from bezoar.attacks import (
    ATTACKS,
    Attack,
    Covered,
    PoisonedCopy,
    Triggered,
    cover_mask,
    poison,
    read_truth,
    truth_mask,
    write_poisoned,
)
from bezoar.attacks.media import medium_of
from bezoar.data import Dataset

# One entry for each registered attack: the parameters to test it with.
PARAMETERS: dict[str, dict[str, Any]] = {
    "adaptive-blend": {"target": 1},
    "adaptive-patch": {"target": 1},
    "badnets": {"target": 1, "size": 4},
    "blended": {"target": 1},
    "bullseye": {"source": 2, "target_index": 0, "steps": 5},
    "feature-collision": {"source": 2, "target_index": 0, "steps": 5, "eps": 24.0},
    "flooding": {"target": 1, "target_index": 5},
    "label-consistent": {"target": 1, "steps": 5},
    "label-flip": {"target": 1},
    "label-noise": {},
    "rare-word": {"target": 1},
    "sentence": {"target": 1},
    "sig": {"target": 1},
    "tact": {"source": 2, "target": 1},
    "wanet": {"target": 1},
    "witches-brew": {"source": 2, "target_index": 0, "steps": 5, "restarts": 1},
}
UNTARGETED = {"label-flip", "label-noise"}  # neither a trigger nor one record is to be misread
MOVING = {"rare-word", "sentence"}  # whose trigger is random at test time
N = CLASSES * EACH
RATE, POISONED = 0.1, round(0.1 * N)
ENCODER, SURROGATE = ToyEncoder(), ToySurrogate()


@dataclass
class Case:
    dataset: Dataset
    attack: Attack
    copy: PoisonedCopy

    def again(self, seed: int) -> PoisonedCopy:
        return poison(self.dataset, self.attack, rate=RATE, seed=seed, encoder=ENCODER, surrogate=SURROGATE)

    @property
    def poisoned(self) -> np.ndarray[Any, Any]:
        return truth_mask(self.copy.truth, self.copy.dataset)

    @property
    def cover(self) -> np.ndarray[Any, Any]:
        return cover_mask(self.copy.truth, self.copy.dataset)


def _cases() -> list[tuple[str, str]]:
    containers = {"image": IMAGES, "text": TEXTS, None: IMAGES | TEXTS}
    return [(name, kind) for name, attack in ATTACKS.items() for kind in containers[attack.modality]]


@pytest.fixture(scope="module", params=_cases(), ids=" - ".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    name, kind = request.param
    if ATTACKS[name].needs:
        pytest.importorskip("torch")
    dataset = (IMAGES | TEXTS)[kind](tmp_path_factory.mktemp("original"))
    before = _fingerprint(dataset.path)
    attack = ATTACKS[name](**PARAMETERS[name])
    copy = poison(dataset, attack, rate=RATE, seed=0, encoder=ENCODER, surrogate=SURROGATE)
    yield Case(dataset, attack, copy)
    assert _fingerprint(dataset.path) == before, "the original was touched"


def test_every_attack_is_tested_here() -> None:
    assert set(PARAMETERS) == set(ATTACKS)


def test_the_same_seed_gives_the_same_copy_and_another_seed_another(case: Case) -> None:
    again = case.again(0)
    assert again.dataset.digest == case.copy.dataset.digest
    assert again.truth == case.copy.truth
    other = case.again(1)
    assert [r.key for r in other.truth.records] != [r.key for r in case.copy.truth.records]


def test_exactly_the_declared_records_change(case: Case) -> None:
    declared = case.poisoned | case.cover
    assert not (case.poisoned & case.cover).any()
    assert case.poisoned.sum() == POISONED
    wanted_cover = case.attack.cover_ratio * POISONED if isinstance(case.attack, Covered) else 0
    assert case.cover.sum() == round(wanted_cover)
    assert len(case.copy.truth.records) == declared.sum()
    content = np.array(
        [a != b for a, b in zip(case.copy.dataset.contents(), case.dataset.contents(), strict=True)]
    )
    label = case.copy.dataset.labels != case.dataset.labels
    np.testing.assert_array_equal(content | label, declared)
    assert content[case.cover].all()
    assert not label[case.cover].any()
    assert case.copy.dataset.keys.equals(case.dataset.keys)


def test_labels_are_those_of_the_attack_and_of_the_truth(case: Case) -> None:
    attack, declared = case.attack, case.poisoned | case.cover
    before, after = case.dataset.labels, case.copy.dataset.labels
    assert [r.original_label for r in case.copy.truth.records] == before[declared].tolist()
    assert [r.label for r in case.copy.truth.records] == after[declared].tolist()
    assert ((after >= 0) & (after < CLASSES)).all()
    if attack.target is not None:
        assert (after[case.poisoned] == attack.target).all()
    if attack.source is not None:
        assert (before[case.poisoned] == attack.source).all()
    assert attack.candidates(before, CLASSES)[case.poisoned].all()
    if isinstance(attack, Covered):
        assert attack.cover_candidates(before, CLASSES)[case.cover].all()


def test_records_without_a_label_are_no_candidates(case: Case) -> None:
    unlabelled = np.full(N, -1)
    assert not case.attack.candidates(unlabelled, CLASSES).any()
    if isinstance(case.attack, Covered):
        assert not case.attack.cover_candidates(unlabelled, CLASSES).any()


def test_content_keeps_its_container_and_the_figures_are_true(case: Case) -> None:
    shape, medium = case.dataset.raw_shape, medium_of(case.dataset)
    indices = np.flatnonzero(case.poisoned | case.cover).tolist()
    for index, record in zip(indices, case.copy.truth.records, strict=True):
        old, new = case.dataset[index].content, case.copy.dataset[index].content
        if case.dataset.modality == "text":
            assert (record.figures["changed_characters"] > 0) == (old != new)
            continue
        assert old[:4] == new[:4] or shape is not None
        a, b = medium.decode(old).astype(int), medium.decode(new).astype(int)
        assert a.shape == b.shape
        assert record.figures["linf"] == abs(a - b).max()
        assert (record.figures["linf"] > 0) == (old != new)
        assert record.figures["l2"] == pytest.approx(np.linalg.norm(a - b), rel=1e-6)


def test_written_copy_opens_in_the_same_format_with_its_truth_beside_it(case: Case, tmp_path: Path) -> None:
    out = tmp_path / ("copy" + case.dataset.path.suffix)
    truth = write_poisoned(case.copy, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, out.name + ".truth.json"])
    assert read_truth(tmp_path / (out.name + ".truth.json")) == truth
    copy = bezoar.data.open(out)
    assert (copy.format, copy.modality, len(copy)) == (case.dataset.format, case.dataset.modality, N)
    assert truth_mask(truth, copy).sum() == POISONED
    assert cover_mask(truth, copy).sum() == case.cover.sum()
    written = sorted(zip(copy.contents(), copy.labels.tolist(), strict=True))
    meant = sorted(zip(case.copy.dataset.contents(), case.copy.dataset.labels.tolist(), strict=True))
    assert written == meant
    by_key = {r.key: r for r in copy}
    for record in truth.records:
        assert by_key[record.key].label == record.label
    if "target_key" in truth.details:
        assert by_key[truth.details["target_key"]].label == truth.details["target_label"]


def test_the_truth_says_how_the_copy_was_made(case: Case) -> None:
    truth = case.copy.truth
    assert (truth.attack, truth.rate, truth.seed) == (case.attack.name, RATE, 0)
    assert truth.paper == case.attack.paper
    assert truth.clean_digest == case.dataset.digest
    assert truth.size == len(case.dataset)
    assert ATTACKS[truth.attack](**truth.parameters) == case.attack
    assert json.loads(truth.to_json())["parameters"] == truth.parameters


def test_the_attack_says_what_is_to_be_misread(case: Case) -> None:
    """Records with a trigger, one target, or nothing in particular."""
    details = case.copy.truth.details
    kinds = [isinstance(case.attack, Triggered), "target_becomes" in details, case.attack.name in UNTARGETED]
    assert sum(kinds) == 1
    if "target_becomes" in details:
        key, becomes = details["target_key"], details["target_becomes"]
        index = case.dataset.keys.to_pylist().index(key)
        assert becomes in range(CLASSES)
        assert becomes != case.dataset.labels[index]
        assert not (case.poisoned | case.cover)[index], "the target itself was poisoned"


@pytest.mark.parametrize("name", [name for name in ATTACKS if hasattr(ATTACKS[name], "apply")])
def test_a_trigger_is_put_on_each_record_by_itself_and_repeatably(name: str) -> None:
    attack = ATTACKS[name](**PARAMETERS[name])
    assert isinstance(attack, Triggered)
    before = images() if attack.modality == "image" else texts()
    stamped = attack.apply(before, np.random.default_rng(0))
    again = attack.apply(before, np.random.default_rng(0))
    first = attack.apply(before[:1], np.random.default_rng(0))
    np.testing.assert_array_equal(stamped, again)
    np.testing.assert_array_equal(first, stamped[:1])
    assert len(stamped) == len(before)
    assert all(not np.array_equal(a, b) for a, b in zip(stamped, before, strict=True))
    np.testing.assert_array_equal(before, images() if attack.modality == "image" else texts())
    if name not in MOVING:
        singly = [attack.apply(before[i : i + 1], np.random.default_rng(i))[0] for i in range(N)]
        np.testing.assert_array_equal(np.asarray(singly), np.asarray(stamped))
    if attack.modality == "image":
        assert (stamped.dtype, stamped.shape) == (before.dtype, before.shape)


@pytest.mark.parametrize("name", [name for name in ATTACKS if hasattr(ATTACKS[name], "apply")])
def test_success_is_another_label_than_the_right_one(name: str) -> None:
    attack = ATTACKS[name](**PARAMETERS[name])
    assert isinstance(attack, Triggered)
    right = np.append(labels(), -1)
    success = attack.test_labels(right, CLASSES)
    assert success.shape == right.shape
    tested = success >= 0
    assert tested.any()
    assert not tested[-1], "a record without a label was tested"
    assert (success[tested] < CLASSES).all()
    assert (success[tested] != right[tested]).all()
    if attack.source not in (None, attack.target):
        assert set(right[tested].tolist()) == {attack.source}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_field_is_simple_and_explained(name: str) -> None:
    hints = typing.get_type_hints(ATTACKS[name])
    for field in dataclasses.fields(ATTACKS[name]):  # type: ignore[arg-type]
        assert field.metadata["help"]
        assert hints[field.name] in (int, float, str, int | None, float | None, str | None)


def _fingerprint(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
