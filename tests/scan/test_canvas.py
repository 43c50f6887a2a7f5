from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.errors import InputError
from bezoar.scan.canvas import MAX_PIXELS, MAX_SIDE, canvas_size, load_canvas
from scan.builders import backgrounds, dataset, parquet, png


@given(n=st.integers(1, 100_000), height=st.integers(1, 6000), width=st.integers(1, 6000))
def test_the_budget_holds(n: int, height: int, width: int) -> None:
    h, w = canvas_size(n, (height, width))
    assert 1 <= h <= min(height, MAX_SIDE)
    assert 1 <= w <= min(width, MAX_SIDE)
    # below 32 pixels a side there is nothing left to shrink: then a record costs its few kilobytes
    assert n * h * w <= MAX_PIXELS or min(h, w) < 32


@pytest.mark.parametrize(
    ("n", "native", "wanted"),
    [
        (26_640, (32, 32), (32, 32)),
        (50_000, (32, 32), (32, 32)),
        (70_000, (28, 28), (28, 28)),
        (5000, (128, 128), (128, 128)),
        (7000, (128, 128), (64, 64)),
        (1000, (224, 224), (112, 112)),
        (1000, None, (32, 32)),
        (10, (8, 8), (8, 8)),
        (1000, (20, 16_000), (20, 128)),
    ],
)
def test_native_size_where_it_fits(n: int, native: tuple[int, int] | None, wanted: tuple[int, int]) -> None:
    assert canvas_size(n, native) == wanted
    assert n * wanted[0] * wanted[1] <= MAX_PIXELS


def test_pixels_are_those_of_the_files_in_order() -> None:
    images = backgrounds(30, 20)
    canvas = load_canvas(dataset(images, np.zeros(30, np.int32)))
    np.testing.assert_array_equal(canvas.pixels, images)
    np.testing.assert_array_equal(canvas.readable, np.arange(30))
    assert canvas.native == (20, 20)
    assert not canvas.unreadable


def test_unreadable_records_leave_no_gap(tmp_path: Path) -> None:
    images = backgrounds(6, 20)
    contents = [png(image) for image in images]
    contents[2], contents[5] = b"", contents[5][:60]
    canvas = load_canvas(parquet(tmp_path / "data.parquet", contents, np.zeros(6, np.int32)))
    np.testing.assert_array_equal(canvas.readable, [0, 1, 3, 4])
    np.testing.assert_array_equal(canvas.pixels, images[[0, 1, 3, 4]])
    assert [record.index for record in canvas.unreadable] == [2, 5]
    assert all(record.reason for record in canvas.unreadable)


def test_mixed_sizes_share_a_canvas(tmp_path: Path) -> None:
    contents = [png(backgrounds(1, side, seed=side)[0]) for side in (20, 30, 70)]
    canvas = load_canvas(parquet(tmp_path / "data.parquet", contents, np.zeros(3, np.int32)))
    assert canvas.native is None
    assert canvas.pixels.shape == (3, 32, 32, 3)


def test_nothing_readable_is_one_line(tmp_path: Path) -> None:
    data = parquet(tmp_path / "data.parquet", [b"", b"x"], np.zeros(2, np.int32))
    with pytest.raises(InputError, match=r"none of the 2 records can be read.*first") as caught:
        load_canvas(data)
    assert "\n" not in str(caught.value)
