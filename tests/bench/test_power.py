from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.support import blobs
from bezoar.bench.power import PLANTS, canaries
from bezoar.data import Dataset, load_images
from bezoar.scan.result import Sensitivity, Status

DATA = blobs(40, 0)


def _pixels(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.concatenate([batch.pixels for batch in load_images(dataset, None)]).astype(np.int64)


@pytest.mark.parametrize(("side", "patch"), [(20, 3), (32, 3), (128, 3), (256, 6)])
def test_a_patch_has_the_size_that_the_scan_speaks_of(side: int, patch: int) -> None:
    dataset = blobs(4, 0, side)
    copy, planted = PLANTS["patch"](dataset, 3, np.random.default_rng(0))
    assert planted.sum() == 3
    changed = (_pixels(copy) != _pixels(dataset)).any(axis=3)
    assert not changed[~planted].any()
    for image in changed[planted]:
        rows, columns = np.nonzero(image)
        assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == patch


def _scan(share: float, status: Status) -> Any:
    """A scan that says a patch on 10 % is noticed, and flags `share` of what differs from `DATA`."""

    def scan(dataset: Dataset, *, canaries: bool = True) -> Any:
        changed = np.flatnonzero((_pixels(dataset) != _pixels(DATA)).any(axis=(1, 2, 3)))
        flagged = np.zeros(len(dataset), dtype=bool)
        flagged[changed[: round(share * len(changed))]] = True
        said = (Sensitivity("a 3x3 patch at one place", 0.1, "by trials"),) if canaries else ()
        return SimpleNamespace(flagged=flagged, verdict=SimpleNamespace(status=status, sensitivity=said))

    return scan


@pytest.mark.parametrize(
    ("share", "status", "found"),
    [
        (1.0, Status.POISONED, True),
        (0.5, Status.POISONED, True),
        (0.4, Status.POISONED, False),
        (0.0, Status.POISONED, False),
        (1.0, Status.CLEAN, False),
    ],
)
def test_found_is_half_of_what_was_planted(share: float, status: Status, found: bool) -> None:
    (trial,) = canaries(DATA, 0, _scan(share, status))
    assert trial["planted"] == 12
    assert trial["found"] is found
