"""Decoding under limits and encoding back into the same container."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bezoar.data import decode, encode
from bezoar.data.image_files import MAX_BYTES, suffix
from bezoar.data.images import header_size
from bezoar.errors import InputError, LimitError

from .builders import encoded, pixels

PHOTO = np.asarray(Image.fromarray(pixels(0, 4, 5)).resize((40, 30), Image.Resampling.BICUBIC))
LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_decode_exactly(kind: str) -> None:
    assert np.array_equal(decode(encoded(PHOTO, kind)), PHOTO)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_decode_closely(kind: str) -> None:
    assert np.abs(decode(encoded(PHOTO, kind)).astype(int) - PHOTO).mean() < 20


def test_every_mode_becomes_rgb() -> None:
    image = Image.fromarray(PHOTO)
    grey = np.asarray(image.convert("L"))
    for mode in ("L", "1", "P", "LA", "RGBA"):
        found = decode(encoded(image.convert(mode), "PNG"))
        assert found.shape == (30, 40, 3)
        assert found.dtype == np.uint8
    assert np.array_equal(decode(encoded(image.convert("L"), "PNG")), np.repeat(grey[..., None], 3, axis=2))
    cmyk = decode(encoded(image.convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert np.abs(cmyk - PHOTO).mean() < 20


def test_16_bit_greyscale_is_scaled() -> None:
    ramp = np.linspace(0, 65535, 30 * 40).reshape(30, 40).astype(np.uint16)
    expected = np.rint(ramp / 257)
    for kind in ("PNG", "TIFF", "PPM"):
        found = decode(encoded(Image.fromarray(ramp), kind))
        assert np.abs(found[..., 0] - expected).max() <= 1, kind


def test_floating_point_is_scaled() -> None:
    image = Image.fromarray((PHOTO[..., 0] / 255).astype(np.float32))
    assert np.array_equal(decode(encoded(image, "TIFF"))[..., 0], PHOTO[..., 0])


def test_a_trigger_under_transparency_stays_visible() -> None:
    """Training loaders drop alpha; so does the scan."""
    hidden = np.dstack([PHOTO, np.zeros(PHOTO.shape[:2], np.uint8)])
    assert np.array_equal(decode(encoded(Image.fromarray(hidden), "PNG")), PHOTO)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(content)[10, 10].tolist() == [255, 0, 0]


def test_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(PHOTO, "JPEG", exif=exif)).shape == PHOTO.shape


def test_raw_pixels() -> None:
    assert np.array_equal(decode(PHOTO.tobytes(), (30, 40, 3)), PHOTO)
    assert decode(PHOTO[..., 0].tobytes(), (30, 40, 1)).shape == (30, 40, 3)
    with pytest.raises(InputError, match="are not 30 x 40 x 3 raw pixels"):
        decode(b"abc", (30, 40, 3))


@pytest.mark.parametrize("raw_shape", [None, (30, 40, 3)])
def test_zero_bytes(raw_shape: tuple[int, int, int] | None) -> None:
    with pytest.raises(InputError, match="zero bytes"):
        decode(b"", raw_shape)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9])
def test_truncated_images(kind: str, keep: float) -> None:
    big = encoded(pixels(1, 64, 64), kind)
    with pytest.raises(InputError):
        decode(big[: int(len(big) * keep)])


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("side", [8193, 10_000, 13_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_judged_by_its_header(side: int) -> None:
    idat = b"IDAT" + zlib.compress(bytes(10**6))
    bomb = (
        _png_header(side, side)
        + struct.pack(">I", len(idat) - 4)
        + idat
        + struct.pack(">I", zlib.crc32(idat))
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(LimitError, match="bomb"):
            decode(bomb)
        with pytest.raises(LimitError, match="bomb"):
            header_size(bomb)
    assert caught == []


def test_an_oversized_file() -> None:
    with pytest.raises(LimitError, match="exceed the limit"):
        decode(b"\x89PNG" + bytes(MAX_BYTES))


def test_formats_outside_the_list_are_refused() -> None:
    for kind in ("ICO", "TGA", "PCX", "PDF"):
        with pytest.raises(InputError, match="not an image in a known format"):
            decode(encoded(Image.fromarray(pixels(0, 16, 16)), kind))


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]), data=st.data())
def test_damaged_images_decode_or_are_unreadable(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(PHOTO, kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(content))
    except InputError as error:
        reason = str(error)
    else:
        reason = ""
        assert found.ndim == 3
    assert "\n" not in reason


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossless_encoding_is_exact(kind: str, mode: str) -> None:
    like = encoded(Image.fromarray(PHOTO).convert(mode), kind)
    new = _stamped(decode(like))
    again = encode(new, like)
    with Image.open(io.BytesIO(again)) as image:
        assert (image.format, image.mode) == (kind, mode)
    assert np.array_equal(decode(again), new)


def test_webp_is_encoded_without_loss() -> None:
    like = encoded(PHOTO, "WEBP")
    new = _stamped(decode(like))
    assert np.array_equal(decode(encode(new, like)), new)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [60, 75, 95])
def test_jpeg_keeps_tables_and_subsampling(subsampling: str, quality: int) -> None:
    like = encoded(PHOTO, "JPEG", quality=quality, subsampling=subsampling)
    again = encode(_stamped(decode(like)), like)
    with Image.open(io.BytesIO(like)) as a, Image.open(io.BytesIO(again)) as b:
        assert a.quantization == b.quantization  # type: ignore[attr-defined]
        assert a.layer == b.layer  # type: ignore[attr-defined]


def test_greyscale_jpeg_stays_greyscale() -> None:
    like = encoded(Image.fromarray(PHOTO).convert("L"), "JPEG")
    with Image.open(io.BytesIO(encode(_stamped(decode(like)), like))) as image:
        assert image.mode == "L"


def test_alpha_palette_and_depth_survive_encoding() -> None:
    alpha = np.dstack([PHOTO, PHOTO[..., :1]])
    like = encoded(Image.fromarray(alpha), "PNG")
    with Image.open(io.BytesIO(encode(_stamped(PHOTO), like))) as image:
        assert np.array_equal(np.asarray(image), np.dstack([_stamped(PHOTO), PHOTO[..., :1]]))
    deep = encoded(Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257), "PNG")
    with Image.open(io.BytesIO(encode(_stamped(decode(deep)), deep))) as image:
        assert image.mode == "I;16"
    palette = encoded(Image.fromarray(PHOTO).quantize(16), "PNG")
    assert np.array_equal(decode(encode(_stamped(PHOTO), palette)), _stamped(PHOTO))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_raw_encoding(channels: int) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (6, 5, channels)).astype(np.uint8)
    shape = (6, 5, channels)
    assert encode(decode(raw.tobytes(), shape), raw.tobytes(), shape) == raw.tobytes()
    with pytest.raises(InputError, match="do not fit"):
        encode(PHOTO, raw.tobytes(), shape)


def test_encoding_like_something_that_is_no_image() -> None:
    with pytest.raises(InputError):
        encode(PHOTO, b"junk")


@pytest.mark.parametrize(
    ("kind", "name"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("GIF", ".gif")]
)
def test_suffix(kind: str, name: str) -> None:
    assert suffix(encoded(PHOTO, kind)) == name
    assert suffix(b"?") == ".bin"


def _stamped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey stamp, so that greyscale images stay so."""
    new = image.copy()
    new[2:5, 2:5] = 255
    new[3, 3] = 0
    return new
