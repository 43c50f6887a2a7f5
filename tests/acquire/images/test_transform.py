"""Re-encoding does what img2dataset's options say, and what JPEG cannot hold becomes what a person would see."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bezoar.acquire.images.options import RESIZE_MODES, Reencode
from bezoar.acquire.images.protocol import Encoded
from bezoar.acquire.images.transform import transform
from bezoar.errors import UsageError

from .pictures import ALLOWED, bomb, encoded, jpeg, pixels, png


def done(content: bytes, options: Reencode) -> tuple[Encoded, Image.Image]:
    result = transform(content, options)
    assert isinstance(result, Encoded), result
    image = Image.open(io.BytesIO(result.content))
    image.load()
    assert image.size == (result.width, result.height)
    return result, image


@pytest.mark.parametrize(
    ("mode", "bigger_only", "size", "expected"),
    [
        ("no", False, (80, 60), (80, 60)),
        ("keep_ratio", False, (80, 60), (53, 40)),
        ("keep_ratio_largest", False, (80, 60), (40, 30)),
        ("center_crop", False, (80, 60), (40, 40)),
        ("border", False, (80, 60), (40, 40)),
        ("keep_ratio", False, (20, 10), (80, 40)),
        ("center_crop", False, (20, 10), (40, 40)),
        ("border", False, (20, 10), (40, 40)),
        ("keep_ratio", True, (20, 10), (20, 10)),
        ("center_crop", True, (20, 10), (20, 10)),
        ("border", True, (20, 10), (20, 10)),
        ("border", True, (80, 20), (40, 40)),
        ("keep_ratio", True, (80, 20), (80, 20)),
        ("keep_ratio_largest", True, (80, 20), (40, 10)),
        ("keep_ratio_largest", False, (4000, 1), (40, 1)),
        ("center_crop", False, (400, 400), (40, 40)),  # an eighth or more: JPEG is decoded small
        ("border", True, (321, 160), (40, 40)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_sizes(
    mode: str, bigger_only: bool, size: tuple[int, int], expected: tuple[int, int], kind: str
) -> None:
    result, _ = done(encoded(pixels(*size), kind), Reencode(40, mode, bigger_only))
    assert (result.width, result.height) == expected
    assert (result.original_width, result.original_height) == size


def test_a_border_is_white_and_the_picture_in_the_middle() -> None:
    _, image = done(
        encoded(Image.new("RGB", (80, 40), (10, 20, 30)), "PNG"),
        Reencode(40, "border", encode_format="png", quality=9),
    )
    rows = np.asarray(image)[:, 0].tolist()
    assert rows == [[255] * 3] * 10 + [[10, 20, 30]] * 20 + [[255] * 3] * 10


def test_a_crop_keeps_the_middle() -> None:
    pixels_ = np.zeros((10, 30), np.uint8)
    pixels_[:, 10:20] = 200
    _, image = done(
        encoded(Image.fromarray(pixels_), "PNG"), Reencode(10, "center_crop", encode_format="png", quality=1)
    )
    assert image.mode == "L"
    assert set(np.asarray(image).ravel().tolist()) == {200}


LOSSLESS = Reencode(8, "no", encode_format="png", quality=1)


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (2, 1), (100, 0, 0, 0))
    image.putpixel((1, 0), (100, 0, 0, 255))
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 100, 0, 0])
    palette.putpixel((1, 0), 1)
    grey = Image.new("LA", (2, 1), (40, 0))
    grey.putpixel((1, 0), (40, 255))
    for content, shown in [
        (encoded(image, "PNG"), (100, 0, 0)),
        (encoded(image, "WEBP", lossless=True, exact=True), (100, 0, 0)),
        (encoded(palette, "PNG", transparency=0), (100, 0, 0)),
        (encoded(grey, "PNG"), (40, 40, 40)),
    ]:
        _, result = done(content, LOSSLESS)
        assert (result.getpixel((0, 0)), result.getpixel((1, 0))) == ((255, 255, 255), shown)


def test_sixteen_bits_become_eight() -> None:
    wide = np.array([[0, 128 * 257, 65535]], np.uint16)
    _, image = done(encoded(Image.fromarray(wide), "PNG"), LOSSLESS)
    assert np.asarray(image).tolist() == [[0, 128, 255]]


def test_cmyk_becomes_rgb_and_one_bit_grey() -> None:
    assert done(encoded(pixels(9, 9, "CMYK"), "JPEG"), LOSSLESS)[1].mode == "RGB"
    assert done(encoded(pixels(9, 9, "1"), "PNG"), LOSSLESS)[1].mode == "L"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_carried_out_and_all_metadata_left_behind(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "the camera"
    stored = pixels(30, 20)
    content = encoded(stored, "PNG", exif=exif, icc_profile=b"profile")
    result, image = done(content, LOSSLESS)
    assert (result.original_width, result.original_height) == (30, 20)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    upright = stored.transpose(turns[orientation]) if orientation in turns else stored
    assert np.array_equal(np.asarray(image), np.asarray(upright))
    assert not image.getexif()
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_picture_is_scaled_by_its_shown_sides(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    result, _ = done(encoded(pixels(300, 200), "JPEG", exif=exif), Reencode(20, "keep_ratio"))
    assert (result.width, result.height) == ((30, 20) if orientation == 1 else (20, 30))


def test_an_animation_is_its_first_frame() -> None:
    for kind in ("gif animated", "png animated", "webp animated"):
        content = ALLOWED[kind][0]
        _, image = done(content, LOSSLESS)
        first = Image.open(io.BytesIO(content)).convert("RGB")
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(first))


@pytest.mark.parametrize("name", ALLOWED)
@pytest.mark.parametrize("encode_format", ["jpg", "png", "webp"])
def test_every_allowed_format_can_be_re_encoded(name: str, encode_format: str) -> None:
    _, image = done(ALLOWED[name][0], Reencode(16, "border", encode_format=encode_format, quality=9))
    assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[encode_format]


def test_skipping_keeps_the_bytes_of_what_fits_already() -> None:
    content = jpeg(64, 48)
    assert done(content, Reencode(64, "no", skip_reencode=True))[0].content == content
    assert (
        done(content, Reencode(64, "border", only_if_bigger=True, skip_reencode=True))[0].content == content
    )
    assert (
        done(content, Reencode(63, "border", only_if_bigger=True, skip_reencode=True))[0].content != content
    )
    assert (
        done(content, Reencode(64, "no", encode_format="png", quality=3, skip_reencode=True))[0].content
        != content
    )
    see_through = encoded(Image.new("RGBA", (9, 9), (1, 2, 3, 4)), "PNG")
    assert (
        done(see_through, Reencode(9, "no", encode_format="png", quality=3, skip_reencode=True))[1].mode
        == "RGB"
    )


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        (Reencode(min_size=49), "image too small"),
        (Reencode(max_area=64 * 48 - 1), "image area too large"),
        (Reencode(max_aspect_ratio=1.3), "aspect ratio too large"),
    ],
)
def test_refusals_in_img2datasets_words(options: Reencode, detail: str) -> None:
    assert transform(jpeg(64, 48), options) == detail
    assert isinstance(
        transform(jpeg(64, 48), Reencode(min_size=48, max_area=64 * 48, max_aspect_ratio=4 / 3)), Encoded
    )


@pytest.mark.parametrize(
    "content", [b"", b"x", jpeg()[:300], png(30, 30, b"not deflated"), encoded(pixels(9, 9), "TIFF"), bomb()]
)
def test_what_cannot_be_decoded_is_told_in_one_line(content: bytes) -> None:
    problem = transform(content, Reencode())
    assert isinstance(problem, str)
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("size", "mode", "form", "words"),
    [
        (
            (1, 20_000),
            "keep_ratio",
            "png",
            "scaled to 256 x 5120000 pixels it exceeds the limit of 67,108,864",
        ),
        (
            (20_000, 1),
            "center_crop",
            "png",
            "scaled to 5120000 x 256 pixels it exceeds the limit of 67,108,864",
        ),
        ((128, 9_000), "keep_ratio", "webp", "scaled to 256 x 18000 pixels it is longer than webp can hold"),
        ((2, 700), "keep_ratio", "jpg", "scaled to 256 x 89600 pixels it is longer than jpg can hold"),
    ],
)
def test_a_long_picture_that_cannot_be_scaled_is_not_called_corrupt(
    size: tuple[int, int], mode: str, form: str, words: str
) -> None:
    options = Reencode(256, mode, encode_format=form, quality=9)
    assert transform(encoded(Image.new("L", size), "PNG"), options) == words


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.integers(1, 64),
    mode=st.sampled_from([mode for mode in RESIZE_MODES if mode != "no"]),
)
def test_sizes_are_what_was_asked_for(width: int, height: int, size: int, mode: str) -> None:
    result, _ = done(
        encoded(Image.new("RGB", (width, height)), "PNG"),
        Reencode(size, mode, encode_format="png", quality=1),
    )
    sides = result.width, result.height
    if mode in ("border", "center_crop"):
        assert sides == (size, size)
    else:
        assert (min(sides) if mode == "keep_ratio" else max(sides)) == size
        assert (
            math.isclose(max(sides) / min(sides), max(width, height) / min(width, height), rel_tol=1)
            or 1 in sides
        )


@pytest.mark.parametrize(
    "options",
    [
        {"resize_mode": "stretch"}, {"encode_format": "tiff"}, {"quality": 101}, {"quality": 0}, {"size": 0}, {"size": 8_193},
        {"encode_format": "png"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Reencode(**options)  # type: ignore[arg-type]
