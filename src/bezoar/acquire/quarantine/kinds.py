"""What bytes seem to be, by how they begin. Nothing is decoded."""

from __future__ import annotations

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"GIF87a", "GIF image"),
    (b"GIF89a", "GIF image"),
    (b"BM", "BMP image"),
    (b"II*\0", "TIFF image"),
    (b"MM\0*", "TIFF image"),
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"Rar!", "RAR archive"),
    (b"7z\xbc\xaf", "7z archive"),
    (b"\x7fELF", "ELF program"),
    (b"MZ", "Windows program"),
    (b"#!", "script"),
    (b"OggS", "Ogg media"),
    (b"PAR1", "Parquet table"),
)
_TEXTS = (
    (b"<!doctype html", "HTML page"),
    (b"<html", "HTML page"),
    (b"<svg", "SVG image"),
    (b"<?xml", "XML text"),
)
_WIDTH = 16


def kind_of(content: bytes) -> str:
    """A name for a person."""
    if not content:
        return "nothing"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP image"
    if content[4:8] == b"ftyp":
        return "AVIF, HEIC or MP4 media"
    begin = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    named = [name for magic, name in _MAGIC if content.startswith(magic)]
    named += [name for magic, name in _TEXTS if begin.startswith(magic)]
    if named:
        return named[0]
    try:
        text = content[:512].decode("utf-8", "strict" if len(content) <= 512 else "ignore")
    except UnicodeDecodeError:
        return "unknown data"
    printable = sum(character.isprintable() or character in "\t\r\n" for character in text)
    return "text" if text and printable == len(text) else "unknown data"


def hex_lines(content: bytes, size: int = 64) -> list[str]:
    """The first `size` bytes as a hex dump."""
    lines = []
    for start in range(0, min(size, len(content)), _WIDTH):
        part = content[start : min(start + _WIDTH, size)]
        figures = " ".join(f"{byte:02x}" for byte in part)
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:06x}  {figures:<{3 * _WIDTH - 1}}  {letters}")
    return lines
