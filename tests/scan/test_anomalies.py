from __future__ import annotations

import numpy as np
import pytest

from bezoar.scan.anomalies import BLANK_SPREAD, blanks
from bezoar.scan.evidence import Gallery
from scan.builders import dataset


@pytest.mark.parametrize("odd", [6, 120, 200, 240])
@pytest.mark.parametrize("place", [(0, 0), (50, 50)])
def test_an_image_is_blank_by_its_standard_deviation(odd: int, place: tuple[int, int]) -> None:
    images = np.full((3, 100, 100, 3), 255, dtype=np.uint8)
    images[1, *place] = odd
    images[2, :50] = 100
    (finding,) = blanks(images, np.arange(3), Gallery(dataset(images, np.zeros(3, np.int32), ("one",))))
    spread = images.std(axis=(1, 2)).max(axis=1)
    np.testing.assert_array_equal(finding.records, np.flatnonzero(spread < BLANK_SPREAD))
