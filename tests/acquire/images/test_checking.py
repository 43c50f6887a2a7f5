"""What is a whole image is kept as it is; what was cut, is no image, or is too large is refused without decoding it."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bezoar.acquire.images import Checked, Problem, check, gif
from bezoar.acquire.images.facts import Facts
from bezoar.acquire.reasons import Reason
from bezoar.data import images
from bezoar.data.image_files import MAX_PIXELS

from .pictures import ALLOWED, bomb, chunk, encoded, jpeg, pixels, png


@pytest.mark.parametrize("name", ALLOWED)
def test_every_allowed_format_is_kept_untouched(name: str) -> None:
    content, suffix = ALLOWED[name]
    width, height = Image.open(io.BytesIO(content)).size
    assert check(content) == Checked(content, suffix, width, height, width, height)


@pytest.mark.parametrize("name", ALLOWED)
def test_cut_anywhere_it_is_refused(name: str) -> None:
    content, _ = ALLOWED[name]
    kept = [cut for cut in range(len(content)) if isinstance(check(content[:cut]), Checked)]
    # GIF and WebP end with a mark or a size; a BMP may be followed by nothing that tells
    assert kept == []


@pytest.mark.parametrize("name", ALLOWED)
def test_what_follows_the_end_is_passed_over(name: str) -> None:
    content, suffix = ALLOWED[name]
    checked = check(content + b"PK\x03\x04 something else")
    assert isinstance(checked, Checked)
    assert checked.suffix == suffix


SOF = b"\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
SOS = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00data"
EOI = b"\xff\xd9"
SOI = b"\xff\xd8"
GIF = ALLOWED["gif"][0]
WEBP = ALLOWED["webp"][0]

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "text": (b"<html>404 Not Found</html>", "not a JPEG, PNG"),
    "svg": (b"<?xml version='1.0'?><svg/>", "not a JPEG, PNG"),
    "tiff": (encoded(pixels(9, 9), "TIFF"), "not a JPEG, PNG"),
    "ppm": (encoded(pixels(9, 9), "PPM"), "not a JPEG, PNG"),
    "icon": (encoded(pixels(16, 16), "ICO"), "not a JPEG, PNG"),
    "jpeg magic": (b"\xff\xd8\xff\xe0garbage\xff\xd9", "JPEG is truncated"),
    "jpeg without frame": (SOI + EOI, "without a picture"),
    "jpeg of tables": (SOI + b"\xff\xfe\x00\x02" + EOI, "without a picture"),
    "jpeg without scan": (SOI + SOF + EOI, "without a picture"),
    "jpeg scan first": (SOI + SOS + EOI, "before its frame"),
    "jpeg two frames": (SOI + SOF + SOF + SOS + EOI, "two frames"),
    "jpeg no height": (SOI + SOF[:5] + b"\0\0" + SOF[7:] + SOS + EOI, "no width or no height"),
    "jpeg 12 bits": (SOI + SOF[:4] + b"\x0c" + SOF[5:] + SOS + EOI, "not supported"),
    "jpeg lossless": (SOI + b"\xff\xc3" + SOF[2:] + SOS + EOI, "lossless"),
    "jpeg short frame": (SOI + b"\xff\xc0\x00\x05\x08\x00\x10" + SOS + EOI, "malformed frame"),
    "jpeg many scans": (SOI + SOF + SOS * 101 + EOI, "too many scans"),
    "jpeg huge": (SOI + SOF[:5] + b"\xff\xff\xff\xff" + SOF[9:] + SOS + EOI, "65535 x 65535 pixels exceed"),
    "jpeg many segments": (SOI + b"\xff\xfe\x00\x02" * 20_000, "too many segments"),
    "jpeg without markers": (SOI + b"\xff\xe0\x00\x02" + b"\0" * 99, "no marker at byte 6"),
    "png magic": (b"\x89PNG\r\n\x1a\n", "PNG is truncated"),
    "png bad checksum": (png(9, 9)[:-5] + b"x" + png(9, 9)[-4:], "wrong checksum"),
    "png no data": (b"\x89PNG\r\n\x1a\n" + png(9, 9)[8:33] + chunk(b"IEND", b""), "without a picture"),
    "png no header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x") + chunk(b"IEND", b""), "begin with its header"),
    "png no width": (png(0, 9), "no width"),
    "png odd depth": (png(9, 9, depth=3), "malformed header"),
    "png huge": (png(2**31 - 1, 2**31 - 1), "pixels exceed"),
    "png just too large": (png(MAX_PIXELS // 1024 + 1, 1024), "pixels exceed"),
    "png many chunks": (b"\x89PNG\r\n\x1a\n" + png(9, 9)[8:33] + chunk(b"tEXt", b"") * 100_001, "too many chunks"),
    "png long chunk": (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + b"\0" * 99, "truncated"),
    "png many frames": (png(9, 9, before=chunk(b"acTL", struct.pack(">II", 10**6, 0))), "limit of an animation"),
    "gif magic": (b"GIF89a", "GIF is truncated"),
    "gif no picture": (GIF[:13] + b"\0" * 768 + b";" if GIF[10] & 0x80 else GIF[:13] + b";", "without a picture"),
    "gif nonsense": (b"GIF89a\x09\0\x09\0\0\0\0" + b"\x77", "no block at byte 13"),
    "gif many frames": (b"GIF89a\x09\0\x09\0\0\0\0" + b"\x2c\0\0\0\0\x09\0\x09\0\0\x08\0" * 1001 + b";", "more than 1000 frames"),
    "gif frame beyond": (b"GIF89a\x09\0\x09\0\0\0\0\x2c\xff\xff\xff\xff\xff\xff\xff\xff\0\x08\0;", "pixels exceed"),
    "gif many blocks": (b"GIF89a\x09\0\x09\0\0\0\0\x21\xfe" + b"\x01x" * 2_000_002 + b"\0;", "too many blocks"),
    "gif many empty blocks": (b"GIF89a\x09\0\x09\0\0\0\0" + b"\x21\xfe\0" * 2_000_002 + b";", "too many blocks"),
    "webp magic": (b"RIFF\x04\0\0\0WEBP", "WebP is truncated"),
    "webp no picture": (b"RIFF\x14\0\0\0WEBPEXIF\x08\0\0\0" + b"\0" * 8, "no picture"),
    "webp bad frame": (WEBP.replace(b"\x9d\x01\x2a", b"\x9d\x01\x2b"), "malformed VP8"),
    "webp chunk beyond": (b"RIFF\x0c\0\0\0WEBPVP8 \xff\xff\xff\x7f" + b"\0" * 99, "truncated"),
    "bmp magic": (b"BM", "BMP has a malformed header"),
    "bmp odd header": (b"BM" + b"\0" * 12 + b"\x07\0\0\0" + b"\0" * 99, "malformed header"),
    "bmp short": (ALLOWED["bmp"][0][:20], "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_to_keep(name: str) -> None:
    content, detail = REFUSED[name]
    problem = check(content)
    assert isinstance(problem, Problem)
    assert problem.reason is Reason.DECODE_ERROR
    assert detail in problem.detail
    assert "\n" not in problem.detail


def test_a_bomb_is_weighed_and_not_unpacked() -> None:
    content = bomb()
    assert len(content) < 2**20
    tracemalloc.start()
    problem = check(content)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert problem == Problem(
        f"30000 x 30000 pixels exceed the limit of {MAX_PIXELS:,} (a decompression bomb?)"
    )


def test_what_is_kept_is_what_opening_decodes() -> None:
    """Nothing is fetched that a scan would call unreadable."""
    for content, _ in ALLOWED.values():
        assert images.decode(content).shape[2] == 3


def test_fill_bytes_before_a_marker() -> None:
    content = jpeg()
    assert isinstance(check(content[:2] + b"\xff" * 5 + content[2:-2] + b"\xff\xff" + EOI), Checked)


HEAVY = 64 << 20  # bytes, what a body may have by default
GREEDY: dict[str, Callable[[], bytes]] = {
    "jpeg fill": lambda: SOI + b"\xff" * HEAVY,
    "jpeg fill between segments": lambda: SOI + (b"\xff" * 6_700 + b"\xff\xfe\x00\x02") * (HEAVY // 6_704),
    "jpeg scan of stuffing": lambda: SOI + SOF + SOS + b"\xff\x00" * (HEAVY // 2),
    "jpeg scan of fill": lambda: SOI + SOF + SOS + b"\xff" * HEAVY,
    "gif blocks": lambda: GIF[:6] + b"\x09\0\x09\0\0\0\0\x21\xfe" + b"\x01x" * (HEAVY // 2),
    "gif extensions": lambda: GIF[:6] + b"\x09\0\x09\0\0\0\0" + b"\x21\xfe\0" * (HEAVY // 3),
    "png chunks": lambda: b"\x89PNG\r\n\x1a\n" + png(9, 9)[8:33] + chunk(b"tEXt", bytes(640)) * 99_999,
    "webp chunks": lambda: b"RIFF" + struct.pack("<I", 8 * 99_999 + 4) + b"WEBP" + b"EXIF\0\0\0\0" * 99_999,
}


@pytest.mark.parametrize("name", GREEDY)
def test_no_header_holds_up_the_process_that_fetches(name: str) -> None:
    """A step of Python for each byte took over 5 seconds."""
    content = GREEDY[name]()
    began = time.process_time()
    assert isinstance(check(content), Problem)
    assert time.process_time() - began < 3


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(ALLOWED)), place=st.floats(0, 1), change=st.binary(min_size=1, max_size=12)
)
def test_any_damage_gives_an_answer(name: str, place: float, change: bytes) -> None:
    content, _ = ALLOWED[name]
    at = int(place * len(content))
    for damaged in (
        content[:at] + change + content[at:],
        content[:at] + change + content[at + len(change) :],
    ):
        answer = check(damaged)
        if isinstance(answer, Checked):
            assert 0 < answer.width * answer.height <= MAX_PIXELS
        else:
            assert "fault" not in answer.detail


@settings(max_examples=200, deadline=None)
@given(
    magic=st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b"GIF89a", b"BM"]),
    rest=st.binary(max_size=200),
)
def test_any_bytes_give_an_answer(magic: bytes, rest: bytes) -> None:
    answer = check(magic + rest)
    assert isinstance(answer, Checked) or "fault" not in answer.detail


def test_what_no_reader_foresaw_costs_that_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(_: bytes) -> Facts:
        raise IndexError("index out of range")

    monkeypatch.setattr(gif, "read", stumbles)
    found = check(b"GIF89a")
    assert isinstance(found, Problem)
    assert "fault in bezoar" in found.detail
    assert "IndexError" in found.detail
