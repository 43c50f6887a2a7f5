from __future__ import annotations

import numpy as np
import pytest

from bezoar.scan.functional.areas import area_means


@pytest.mark.parametrize("shape", [(8, 8), (16, 24), (17, 31), (9, 64)])
@pytest.mark.parametrize("n", [0, 1, 65, 130])
def test_each_pixel_is_the_mean_of_its_area(shape: tuple[int, int], n: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (n, *shape, 3), dtype=np.uint8)
    means = area_means(images, 4, 7)
    rows, columns = (
        np.linspace(0, side, parts + 1).astype(int) for side, parts in zip(shape, (4, 7), strict=True)
    )
    assert means.shape == (n, 4, 7, 3)
    for y in range(4):
        for x in range(7):
            area = images[:, rows[y] : rows[y + 1], columns[x] : columns[x + 1]]
            np.testing.assert_allclose(means[:, y, x], area.mean(axis=(1, 2)), rtol=1e-6)


def test_images_of_that_size_stay_what_they_are() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(area_means(images, 5, 6), images)
