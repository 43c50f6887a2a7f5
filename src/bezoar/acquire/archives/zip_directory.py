"""The central directory of a zip archive (PKWARE APPNOTE 6.3.10, with Zip64), read strictly.

Programs disagree about odd archives, and what one of them checks another may not unpack. So the archive begins with its first
entry, the directory lies between the last entry and the end record, every entry says the same in both of its headers, and no
two entries share a byte. Encryption and several disks are refused.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.errors import InputError

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 0xFFFF
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR, _UTF_8, _MASKED = 1, 8, 0x800, 0x2000
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Slot:
    """An entry: where its local header begins, its name, compression method, sizes, checksum and Unix mode (0: unknown)."""

    header: int
    name: str
    method: int
    flags: int
    packed: int
    size: int
    crc: int
    mode: int


def read_slots(file: BinaryIO, where: str, limits: ArchiveLimits) -> tuple[list[Slot], int]:
    """All entries in the order in which they lie in the file, and where the directory begins.

    InputError for anything odd, LimitError for too many entries.
    """
    total = file.seek(0, os.SEEK_END)
    end, count, length, start = _end_record(file, total, where)
    limits.check_entries(count, where)
    if start + length != end or count * _CENTRAL.size > length:
        raise InputError(f"{where}: its directory is not where its end record says; it is damaged or hostile")
    slots = sorted(_central(file, start, length, count, where), key=lambda slot: slot.header)
    if slots[0].header if slots else start:
        raise InputError(f"{where}: has data before its first entry; it is another kind of file too")
    return slots, start


def data_start(file: BinaryIO, slot: Slot, end: int, where: str) -> int:
    """Where an entry's data begin; `end` is where the next entry or the directory does.

    InputError when its two headers disagree or it reaches into the next entry.
    """
    file.seek(slot.header)
    raw = file.read(_LOCAL.size)
    if len(raw) < _LOCAL.size or raw[:4] != b"PK\x03\x04":
        raise _odd(where, slot.name, "has no local header")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(raw)
    name, extra = file.read(name_length), file.read(extra_length)
    try:
        same = _text(name, flags) == slot.name
    except UnicodeDecodeError:
        same = False
    if not same or method != slot.method or (flags ^ slot.flags) & (_ENCRYPTED | _DESCRIPTOR):
        raise _odd(where, slot.name, "has two headers that disagree")
    size, packed, _ = _zip64(extra, size, packed, 0, where, slot.name)
    if not flags & _DESCRIPTOR and (crc, packed, size) != (slot.crc, slot.packed, slot.size):
        raise _odd(where, slot.name, "has two headers that disagree about its size or checksum")
    start = slot.header + _LOCAL.size + name_length + extra_length
    if start + slot.packed > end:
        raise _odd(where, slot.name, "shares bytes with the next entry, like a zip bomb")
    return int(start)


def _end_record(file: BinaryIO, total: int, where: str) -> tuple[int, int, int, int]:
    """Where the end records begin; number of entries, length and start of the directory."""
    tail_start = max(0, total - _END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read(total - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise InputError(f"{where}: is not a complete zip archive; it is truncated or damaged")
    _, disk, first, here, count, length, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise InputError(f"{where}: has data behind its end record, or two of them; it is damaged or hostile")
    end = tail_start + at
    if _FULL_16 in (disk, first, here, count) or _FULL_32 in (length, start):
        return _end_record_64(file, end, where)
    if disk or first or here != count:
        raise InputError(f"{where}: is one part of an archive on several disks; put the parts together first")
    return end, int(count), int(length), int(start)


def _end_record_64(file: BinaryIO, end: int, where: str) -> tuple[int, int, int, int]:
    odd = InputError(f"{where}: its Zip64 end record is damaged")
    place = end - _LOCATOR.size
    if place < 0:
        raise odd
    file.seek(place)
    magic, disk, record, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if magic != b"PK\x06\x07" or disk or disks > 1 or record + _END_64.size > place:
        raise odd
    file.seek(record)
    magic, size, _, _, disk, first, here, count, length, start = _END_64.unpack(file.read(_END_64.size))
    if magic != b"PK\x06\x06" or record + 12 + size != place or disk or first or here != count:
        raise odd
    return record, count, length, start


def _central(file: BinaryIO, start: int, length: int, count: int, where: str) -> Iterator[Slot]:
    file.seek(start)
    left, block = length, b""
    for number in range(count):
        if len(block) < _CENTRAL.size + 3 * _FULL_16:
            more = file.read(min(left, _BLOCK))
            left -= len(more)
            block += more
        if len(block) < _CENTRAL.size or block[:4] != b"PK\x01\x02":
            raise InputError(f"{where}: its directory is damaged at entry {number}")
        fields = _CENTRAL.unpack_from(block)
        name_end = _CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        if len(block) < extra_end + fields[12]:
            raise InputError(f"{where}: its directory is truncated at entry {number}")
        yield _slot(fields, block[_CENTRAL.size : name_end], block[name_end:extra_end], number, where)
        block = block[extra_end + fields[12] :]
    if block or left:
        raise InputError(
            f"{where}: its directory holds more entries than its end record says; it is damaged or hostile"
        )


def _slot(fields: tuple[int, ...], raw_name: bytes, extra: bytes, number: int, where: str) -> Slot:
    _, _, _, flags, method, _, _, crc, packed, size, _, _, _, disk, _, external, header = fields
    try:
        name = _text(raw_name, flags)
    except UnicodeDecodeError:
        raise InputError(
            f"{where}: entry {number}, {raw_name[:200]!r}, has a name that is not UTF-8"
        ) from None
    size, packed, header = _zip64(extra, size, packed, header, where, name)
    if flags & (_ENCRYPTED | _MASKED):
        raise _odd(where, name, "is encrypted, so that nothing can be said of it")
    if disk not in (0, _FULL_16):
        raise _odd(where, name, "lies on another disk")
    return Slot(header, name, method, flags, packed, size, crc, external >> 16)


def _text(raw: bytes, flags: int) -> str:
    """A name: UTF-8, or plain ASCII where the flag is missing; many tools write UTF-8 without the flag."""
    return raw.decode("utf-8") if flags & _UTF_8 or not raw.isascii() else raw.decode("ascii")


def _zip64(extra: bytes, size: int, packed: int, header: int, where: str, name: str) -> tuple[int, int, int]:
    """Sizes and place, from the Zip64 field where the header itself has no room for them."""
    values, place = [size, packed, header], 0
    while place + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, place)
        field = extra[place + 4 : place + 4 + length]
        if len(field) < length:
            raise _odd(where, name, "has a truncated extra field")
        if tag == 1:
            at = 0
            for which in range(3):
                if values[which] == _FULL_32:
                    if at + 8 > len(field):
                        raise _odd(where, name, "has a truncated Zip64 field")
                    (values[which],) = struct.unpack_from("<Q", field, at)
                    at += 8
            break
        place += 4 + length
    return values[0], values[1], values[2]


def _odd(where: str, name: str, why: str) -> InputError:
    return InputError(f"{where}: {name[:200]!r} {why}; nothing of it is used")
