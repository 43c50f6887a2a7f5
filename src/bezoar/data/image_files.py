"""What an image file is, by its name and its first bytes; the pixels are for `images`."""

from __future__ import annotations

SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF",
    ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM",
}  # fmt: skip
MAX_PIXELS = 64 * 2**20
MAX_BYTES = 256 * 2**20


def suffix(content: bytes) -> str:
    """File name suffix for encoded content, judged by its magic bytes; ".bin" when it is no known image."""
    magic = {
        b"\xff\xd8\xff": ".jpg",
        b"\x89PNG": ".png",
        b"BM": ".bmp",
        b"GIF8": ".gif",
        b"II*\0": ".tif",
        b"MM\0*": ".tif",
    }
    for prefix, name in magic.items():
        if content.startswith(prefix):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return ".ppm" if content[:1] == b"P" and content[1:2] in b"123456" and len(content) > 1 else ".bin"
