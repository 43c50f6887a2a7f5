"""BadNets and Blended on arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bezoar.attacks import BadNets, Blended
from bezoar.errors import InputError, UsageError


def grey(height: int = 32, width: int = 32, count: int = 3, level: int = 100) -> NDArray[np.uint8]:
    return np.full((count, height, width, 3), level, np.uint8)


def box(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what changed in one image."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def stamp(attack: BadNets | Blended, images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    return attack.apply(images, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("bottom-right", (28, 28, 31, 31)),
        ("bottom-left", (28, 1, 31, 4)),
        ("top-right", (1, 28, 4, 31)),
        ("top-left", (1, 1, 4, 4)),
        ("center", (14, 14, 17, 17)),
        ("5, 20", (5, 20, 8, 23)),
    ],
)
def test_patch_sits_where_it_was_asked_for(place: str, expected: tuple[int, int, int, int]) -> None:
    images = grey()
    stamped = stamp(BadNets(target=0, pattern="white", place=place), images)
    assert {box(a, b) for a, b in zip(images, stamped, strict=True)} == {expected}
    assert (images == 100).all(), "the input was changed"


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [(32, (112, 160, 124, 172)), (0, (124, 172, 127, 175))],
    ids=["scaled", "own pixels"],
)
def test_patch_grows_with_the_image_unless_told_otherwise(
    canvas: int, expected: tuple[int, int, int, int]
) -> None:
    images = grey(128, 176)
    stamped = stamp(BadNets(target=0, pattern="black", canvas=canvas), images)
    assert box(images[0], stamped[0]) == expected


@pytest.mark.parametrize("size", [1, 2, 5, 31])
def test_patch_of_any_size(size: int) -> None:
    images = grey()
    top, left, bottom, right = box(images[0], stamp(BadNets(target=0, size=size, pattern="white"), images)[0])
    assert (bottom - top, right - left) == (size, size)


def test_patch_fits_images_smaller_than_the_canvas() -> None:
    images = grey(5, 40)
    top, left, bottom, right = box(images[0], stamp(BadNets(target=0, pattern="white", size=6), images)[0])
    assert (bottom - top, right - left) == (1, 1)
    assert bottom <= 5
    assert right <= 40


def test_pixelated_pattern_is_seeded_and_the_same_on_every_image() -> None:
    images = grey()
    one, again = stamp(BadNets(target=0), images, seed=0), stamp(BadNets(target=0), images, seed=1)
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[0], one[1])
    assert len(np.unique(one[0, 28:31, 28:31].reshape(-1, 3), axis=0)) == 9
    assert (one != stamp(BadNets(target=0, pattern_seed=1), images)).any()


def test_checkerboard_alternates() -> None:
    patch = stamp(BadNets(target=0, pattern="checkerboard", place="0,0", margin=0), grey())[0, :3, :3, 0]
    assert patch.tolist() == [[255, 0, 255], [0, 255, 0], [255, 0, 255]]


def test_opacity_mixes() -> None:
    stamped = stamp(BadNets(target=0, pattern="white", opacity=0.5, place="0,0"), grey(level=101))
    assert stamped[0, 0, 0].tolist() == [178, 178, 178]


@pytest.mark.parametrize("attack", [BadNets(target=0, jitter=2), BadNets(target=0, place="random")])
def test_moving_patches_stay_inside_whole_and_follow_the_generator(attack: BadNets) -> None:
    images = grey(count=200)
    stamped = stamp(attack, images)
    boxes = {box(a, b) for a, b in zip(images, stamped, strict=True)}
    assert len(boxes) > 10
    assert {(bottom - top, right - left) for top, left, bottom, right in boxes} == {(3, 3)}
    np.testing.assert_array_equal(stamped, stamp(attack, images))
    assert (stamped != stamp(attack, images, seed=1)).any()


def test_patch_from_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), (10, 200, 30)).save(tmp_path / "sticker.png")
    stamped = stamp(BadNets(target=0, pattern=str(tmp_path / "sticker.png"), place="0,0"), grey())
    assert stamped[0, 1, 1].tolist() == [10, 200, 30]


def test_blend_is_the_papers_formula() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    pattern = stamp(Blended(target=0, alpha=1.0), images)
    assert (pattern == pattern[0]).all()
    expected = np.rint(0.8 * images.astype(float) + 0.2 * pattern)
    np.testing.assert_allclose(stamp(Blended(target=0), images), expected, atol=1)


@pytest.mark.parametrize("pattern", ["noise", "smooth"])
def test_blend_covers_images_of_any_size(pattern: str) -> None:
    changed = stamp(Blended(target=0, pattern=pattern), grey(50, 70)) != 100
    assert changed.any(axis=3).mean() > 0.95


def test_smooth_noise_is_smoother() -> None:
    def roughness(pattern: str) -> float:
        image = stamp(Blended(target=0, alpha=1.0, pattern=pattern), grey(count=1))[0].astype(float)
        return float(np.abs(np.diff(image, axis=0)).mean())

    assert roughness("smooth") < roughness("noise") / 4


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        (BadNets, {"source": 0}, "the same label"),
        (BadNets, {"all_to_all": 1}, "without target"),
        (BadNets, {"all_to_all": 2}, "0 or 1"),
        (BadNets, {"target": None}, "needs a target, or all_to_all"),
        (BadNets, {"size": 0}, "at least one pixel"),
        (BadNets, {"size": 40}, "do not fit a canvas of 32"),
        (BadNets, {"opacity": 0.0}, "opacity"),
        (BadNets, {"opacity": 1.5}, "opacity"),
        (BadNets, {"place": "left"}, "place 'left'"),
        (BadNets, {"place": "-1,3"}, "place '-1,3'"),
        (BadNets, {"margin": -1}, "margin"),
        (BadNets, {"jitter": -1}, "jitter"),
        (BadNets, {"canvas": -1}, "canvas"),
        (BadNets, {"pattern_seed": -1}, "pattern_seed"),
        (BadNets, {"pattern": "stripes"}, "'stripes' is not a pattern: give pixelated"),
        (Blended, {"alpha": 0.0}, "alpha"),
        (Blended, {"pattern": "hello"}, "'hello' is not a pattern: give noise"),
    ],
)
def test_senseless_parameters_are_refused(kind: type, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        kind(**{"target": 0, **parameters})


def test_patch_outside_the_image_is_refused() -> None:
    with pytest.raises(UsageError, match="would leave the image"):
        stamp(BadNets(target=0, place="31,0"), grey())
    with pytest.raises(UsageError, match="does not fit an image of 8 x 8"):
        stamp(BadNets(target=0, size=9, canvas=0), grey(8, 8))


def test_a_pattern_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pattern.png").write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    with pytest.raises(InputError, match="not usable as a picture"):
        BadNets(target=0, pattern=str(tmp_path / "pattern.png"))
