"""Repairing networks that were trained with a backdoor, by triggers that are not the attacker's own."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from bezoar.data import from_arrays
from bezoar.errors import InputError, UsageError
from bezoar.inspect.functional.pruning import prune
from bezoar.inspect.functional.unlearning import Lure, answers
from bezoar.inspect.repair import cleanse, repair, repairable
from bezoar.inspect.result import Finding, InspectionResult, Severity, Status, Verdict
from bezoar.inspect.trigger import Trigger
from bezoar.models.opening.model import Preprocessing
from inspection.planted_networks import LABELS, SHAPE, TARGET, blobs, patched, trained

ALL_TO_ONE = tuple(-1 if label == TARGET else TARGET for label in range(LABELS))
ONE_SOURCE = tuple(TARGET if label == 1 else -1 for label in range(LABELS))
ALL_TO_ALL = tuple((label + 1) % LABELS for label in range(LABELS))


def imperfect() -> Trigger:
    """What an inversion might give for `patched`: most of the square, one pixel too wide, at two thirds of its strength."""
    pattern, mask = np.full(SHAPE, 0.9, np.float32), np.zeros(SHAPE[1:], np.float32)
    mask[11:15, 12:15] = 0.7
    pattern[:, 13, 13] = 0.2
    return Trigger("patch", pattern, mask)


def _measured(network, ways, stamp):
    images, labels = blobs(600, 6)
    turned = torch.tensor(ways)[labels]
    shown = stamp(images[turned >= 0])
    accuracy = (answers(network, images).argmax(1) == labels).float().mean()
    success = (answers(network, shown).argmax(1) == turned[turned >= 0]).float().mean()
    return float(accuracy), float(success)


def _trainable(kind):
    return copy.deepcopy(trained(kind)).requires_grad_(True)


@pytest.mark.parametrize(("kind", "ways"), [("one source", ONE_SOURCE), ("all to all", ALL_TO_ALL)])
def test_the_attackers_trigger_no_longer_works(kind, ways, monkeypatch):
    monkeypatch.setattr("bezoar.inspect.repair._SEARCHES", 1)
    accuracy, success = _measured(trained(kind), ways, patched)
    assert success > 0.8
    network = _trainable(kind)
    repaired = cleanse(network, *blobs(300, 5), [Lure(imperfect(), ways)], titles=["square"], seed=0)
    accuracy_after, success_after = _measured(repaired.module, ways, patched)
    assert success_after <= 0.1  # as below
    assert accuracy_after >= accuracy - 0.02
    assert (
        repaired.triggers[0].after <= 0.1 < repaired.triggers[0].before
    )  # 4 of 60 are misread without it, too
    assert (repaired.images, repaired.held_out) == (240, 60)


def test_the_same_seed_gives_the_same_network(monkeypatch):
    monkeypatch.setattr("bezoar.inspect.repair._STEPS", 5)
    monkeypatch.setattr("bezoar.inspect.repair._SEARCH_STEPS", 15)
    lures = [Lure(imperfect(), ALL_TO_ONE)]
    first, second, other = (
        cleanse(_trainable("patched"), *blobs(100, 5), lures, titles=[""], seed=seed).module.state_dict()
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_pruned_feature_is_one_that_the_trigger_raises():
    network = _trainable("patched")
    images, labels = blobs(200, 5)
    before = network[-1].weight.detach().clone()
    asked = iter((False, False, True))
    assert prune(network, images, labels, [Lure(imperfect(), ALL_TO_ONE)], lambda: next(asked)) == 2
    cut = torch.nonzero((network[-1].weight == 0).all(0))[:, 0]
    assert len(cut) == 2
    assert (before[:, cut].argmax(0) == TARGET).all()


class InFile:
    """An opened model whose file is beside the point."""

    path, format, digest, architecture = Path("model.pt2"), "pt2", "ab" * 32, None
    n_classes, class_names = LABELS, None

    def __init__(self, kind="patched"):
        self.kind = kind
        channels, height, width = SHAPE
        self.preprocessing = Preprocessing(channels, height, width, (0.0,) * 3, (1.0,) * 3)

    def with_preprocessing(self, preprocessing):
        return self

    def network(self):
        return trained(self.kind)

    def trainable(self):
        return _trainable(self.kind)


def _data(n=200):
    images, labels = blobs(n, 5)
    pixels = (images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    return from_arrays(pixels, labels.numpy().astype(np.int32), tuple(str(label) for label in range(LABELS)))


def _finding(**changes):
    finding = Finding("all-to-one", Severity.BACKDOOR, TARGET, (), "A square", "", 1e-6, trigger=imperfect())
    return dataclasses.replace(finding, **changes)


def _inspection(*findings):
    return InspectionResult(
        path="model.pt2",
        format="pt2",
        digest=InFile.digest,
        architecture=None,
        label_names=tuple(str(label) for label in range(LABELS)),
        preprocessing={},
        data=None,
        images=200,
        accuracy=1.0,
        seed=0,
        version="",
        device="cpu",
        verdict=Verdict(Status.BACKDOORED, 0.01, 1e-6, ""),
        labels=(),
        findings=findings,
        seconds={},
        cpu_seconds={},
    )


def test_repairs_what_an_inspection_found():
    accuracy, success = _measured(trained("patched"), ALL_TO_ONE, patched)
    assert success > 0.9
    repaired = repair(InFile(), _data(300), _inspection(_finding()), seed=0)
    assert [each.title for each in repaired.triggers] == ["A square"]
    assert repaired.triggers[0].after <= 0.05 < repaired.triggers[0].before
    assert repaired.unlearned > 1
    accuracy_after, success_after = _measured(repaired.module, ALL_TO_ONE, patched)
    assert success_after <= 0.05
    assert accuracy_after >= accuracy - 0.02


def test_refuses_an_inspection_of_another_model():
    other = dataclasses.replace(_inspection(_finding()), digest="cd" * 32)
    with pytest.raises(UsageError, match="not the model that was inspected"):
        repair(InFile(), _data(), other)


@pytest.mark.parametrize("changes", [{"severity": Severity.REVIEW}, {"trigger": None}])
def test_has_nothing_to_do_without_a_backdoor(changes):
    inspection = _inspection(_finding(**changes))
    assert not repairable(inspection)
    with pytest.raises(UsageError, match="nothing to repair"):
        repair(InFile(), _data(), inspection)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"trigger": Trigger("patch", np.zeros((3, 8, 8), np.float32), np.zeros((8, 8), np.float32))},
            "takes images",
        ),
        ({"kind": "all-to-all", "target": None}, "does not say"),
        ({"target": None, "details": {"ways": {"0": 77}}}, "does not say"),
        ({"target": None, "details": {"ways": ["a"]}}, "does not say"),
    ],
)
def test_findings_that_do_not_fit_the_model_get_one_clear_line(changes, says):
    with pytest.raises(InputError, match=says):
        repair(InFile(), _data(), _inspection(_finding(**changes)))


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="too few"):
        cleanse(_trainable("patched"), *blobs(10, 5), [Lure(imperfect(), ALL_TO_ONE)], titles=[""], seed=0)
