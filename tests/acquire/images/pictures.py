"""Pictures in every format that is allowed, and pieces to make malformed ones of."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def pixels(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    noise = (
        np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3)).astype(np.uint8)
    )
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def jpeg(width: int = 64, height: int = 48, **options: Any) -> bytes:
    return encoded(pixels(width, height), "JPEG", **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, data: bytes = b"x", depth: int = 8, colour: int = 2, before: bytes = b""
) -> bytes:
    """Chunks that are right around data that need not be."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG of a few hundred kilobytes that unpacks to 900 million pixels, all of them there."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width // 8)
    data = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    return png(width, height, data, depth=1, colour=0)


def _animation(kind: str) -> bytes:
    frames = [pixels(40, 30, seed=seed) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


ALLOWED: dict[str, tuple[bytes, str]] = {
    "jpeg": (jpeg(), "jpg"),
    "jpeg progressive": (jpeg(progressive=True), "jpg"),
    "jpeg grey": (encoded(pixels(33, 21, "L"), "JPEG"), "jpg"),
    "jpeg cmyk": (encoded(pixels(33, 21, "CMYK"), "JPEG"), "jpg"),
    "jpeg with exif": (jpeg(exif=b"Exif\0\0" + b"\xff\xd9" * 9), "jpg"),
    "jpeg restarting": (jpeg(restart_marker_blocks=2), "jpg"),
    "png": (encoded(pixels(33, 21), "PNG"), "png"),
    "png palette": (encoded(pixels(33, 21, "P"), "PNG"), "png"),
    "png alpha": (encoded(pixels(33, 21, "RGBA"), "PNG"), "png"),
    "png 16 bits": (
        encoded(Image.fromarray(np.arange(700, dtype=np.uint16).reshape(20, 35) * 90), "PNG"),
        "png",
    ),
    "png 1 bit": (encoded(pixels(33, 21, "1"), "PNG"), "png"),
    "png animated": (_animation("PNG"), "png"),
    "webp": (encoded(pixels(33, 21), "WEBP"), "webp"),
    "webp lossless": (encoded(pixels(33, 21), "WEBP", lossless=True), "webp"),
    "webp alpha": (encoded(pixels(33, 21, "RGBA"), "WEBP"), "webp"),
    "webp animated": (_animation("WEBP"), "webp"),
    "gif": (encoded(pixels(33, 21, "P"), "GIF"), "gif"),
    "gif animated": (_animation("GIF"), "gif"),
    "bmp": (encoded(pixels(33, 21), "BMP"), "bmp"),
    "bmp palette": (encoded(pixels(33, 21, "P"), "BMP"), "bmp"),
    "bmp 1 bit": (encoded(pixels(33, 21, "1"), "BMP"), "bmp"),
}
