from __future__ import annotations

import numpy as np
import pytest
from inspection_models import (
    SIDE,
    SOURCE,
    TARGET,
    TWIN_ANGLES,
    InMemory,
    badnets,
    clean_images_of,
    even,
    exchanged,
    specific,
    twins,
)

from bezoar.inspect.evidence import Evidence, Rival
from bezoar.inspect.functional.folding import prepare
from bezoar.inspect.inquiry import Case, Inquiry, Sample
from bezoar.inspect.shortcuts import is_shortcut, nearest, reaches
from bezoar.inspect.suspects import Suspect
from bezoar.inspect.trigger import Trigger


def examined(model: InMemory, angles: np.ndarray, kind: str, ways: dict[int, int]) -> Case:
    """A suspect, as if triage had pointed at it."""
    images, labels = clean_images_of(angles, 480)
    inquiry = Inquiry(
        model.module,
        prepare(model.module, (3, SIDE, SIDE), 0),
        Sample(images[:240], labels[:240]),
        Sample(images[240:], labels[240:]),
        ranking=tuple(range(len(angles))),
        seed=0,
    )
    return inquiry.examine(Suspect(kind, ways, 1e-4, ("patch",)))


def test_a_planted_exchange_of_labels_is_confirmed() -> None:
    case = examined(exchanged(6), even(6), "all-to-all", {k: (k + 1) % 6 for k in range(6)})
    assert case.evidence is not None
    assert case.evidence.success > 0.6
    assert case.evidence.confirmed
    assert {rival.target for rival in case.evidence.rivals} == {None}


def test_a_planted_way_between_two_labels_is_confirmed_and_no_shortcut() -> None:
    case = examined(specific(6), even(6), "source-specific", {SOURCE: TARGET})
    assert case.evidence is not None
    assert case.evidence.success > 0.6
    assert case.evidence.control < 0.1
    assert case.evidence.confirmed
    assert not case.shortcut
    assert case.suspect.ways == {SOURCE: TARGET}  # no other label is flipped
    inside = case.evidence.trigger.mask[11:16, 11:16].sum() / case.evidence.trigger.mask.sum()
    assert inside > 0.3  # on a tenth of the image: the planted patch covers rows and columns 12 to 14


def test_other_labels_that_a_trigger_flips_are_named() -> None:
    case = examined(badnets(6), even(6), "source-specific", {SOURCE: TARGET})
    assert next(iter(case.suspect.ways)) == SOURCE
    assert (
        len(case.suspect.ways) > 1
    )  # the planted patch flips all five, what one of them shows of it not always
    assert case.suspect.target == TARGET


def test_the_way_between_labels_that_are_nearly_alike_is_a_shortcut() -> None:
    case = examined(twins(), TWIN_ANGLES, "source-specific", {0: 1})
    assert case.evidence is not None
    assert case.evidence.works
    assert case.shortcut


def test_reach_is_how_far_clean_images_are_from_a_label() -> None:
    logits = np.array([[5.0, 3.0, 1.0], [5.0, 4.0, 1.0], [0.0, 6.0, 2.0]], np.float32)
    reach = reaches(logits, np.array([0, 0, 1]))
    assert reach[0].tolist() == [0.0, 1.5, 4.0]
    assert reach[1].tolist() == [6.0, 0.0, 4.0]
    assert np.isnan(reach[2]).all()
    assert nearest(reach, 0) == [1, 2]
    assert nearest(reach, 1) == [2, 0]


@pytest.mark.parametrize(
    ("mask_share", "target", "shortcut"),
    [
        (0.10, 1, True),  # a third of the reach, a third of the size
        (0.02, 1, False),  # smaller than the reach asks for
        (0.10, 3, False),  # not next to its source
    ],
)
def test_a_shortcut_is_as_long_as_its_reach_asks_for(mask_share: float, target: int, shortcut: bool) -> None:
    reach = np.array([[0.0, 2.0, 6.0, 6.0]] * 4)
    mask = np.zeros((10, 10), np.float32)
    mask.flat[: round(100 * mask_share)] = 1
    trigger = Trigger("patch", np.ones((3, 10, 10), np.float32), mask)
    evidence = Evidence(trigger, 0.9, 0.0, 100, 1e-20, (Rival(3, 0.3, 0.1, 100),))
    assert is_shortcut(evidence, reach, 0, target) is shortcut
