"""Archives as no honest tool writes them."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def tar(path: Path, *members: tuple[str, bytes | Callable[[tarfile.TarInfo], None]], mode: str = "w") -> Path:
    """A tar of files (name, content), or of members that the function makes something else of."""
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if callable(content):
                content(info)
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def raw_header(
    name: bytes, size: bytes = b"00000000000", kind: bytes = b"0", magic: bytes = b"ustar\x0000"
) -> bytes:
    """A ustar header with whatever bytes one likes, and the right checksum."""
    fields = (
        name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size.ljust(12, b"\0") + b"00000000000\0"
    )
    block = fields + b" " * 8 + kind + b"\0" * 100 + magic
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


END = b"\0" * 1024


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 512)


@dataclass
class ZipEntry:
    """An entry whose headers may say anything; by default the truth about `content`."""

    name: str
    content: bytes = b""
    method: int = 8
    raw_name: bytes | None = None
    size: int | None = None
    crc: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    flags: int = 0x800
    local: dict[str, int] | None = None
    local_name: bytes | None = None
    external: int = 0o100644 << 16
    header: int | None = None

    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method == 0:
            return self.content
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        return stream.compress(self.content) + stream.flush()


def zip_of(
    path: Path,
    *entries: ZipEntry,
    before: bytes = b"",
    after: bytes = b"",
    count: int | None = None,
    hidden: bytes = b"",
) -> Path:
    out, central = bytearray(before), bytearray()
    for entry in entries:
        name = entry.raw_name if entry.raw_name is not None else entry.name.encode()
        body, size = entry.body(), len(entry.content) if entry.size is None else entry.size
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        packed = len(body) if entry.packed_size is None else entry.packed_size
        place = len(out) if entry.header is None else entry.header
        said = {"flags": entry.flags, "method": entry.method, "crc": crc, "packed": packed, "size": size}
        local = {**said, **(entry.local or {})}
        local_name = entry.local_name if entry.local_name is not None else name
        out += struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", 20, local["flags"], local["method"], 0, 0, local["crc"], local["packed"],
            local["size"], len(local_name), 0,
        )  # fmt: skip
        out += local_name + body
        central += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 0x0314, 20, entry.flags, entry.method, 0, 0, crc, packed, size, len(name),
            0, 0, 0, 0, entry.external, place,
        )  # fmt: skip
        central += name
    out += hidden
    number = len(entries) if count is None else count
    start = len(out)
    out += central
    out += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(central), start, 0)
    path.write_bytes(bytes(out) + after)
    return path


def honest_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
