"""Strict readers of what all C2SP text formats are made of: UTF-8 text, decimals, base64. Each value has one spelling.

Two spellings of one value are how two readers of the same bytes are made to disagree; the second one is refused.
"""

from __future__ import annotations

import base64
import re

from bezoar.errors import InputError, LimitError

MAX_INT = 2**63 - 1  # sizes, indices and times of the C2SP formats are not larger
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def decode(data: bytes, what: str, limit: int) -> str:
    """The UTF-8 text in `data`; LimitError beyond `limit` bytes, InputError when it is no UTF-8."""
    if len(data) > limit:
        raise LimitError(f"{what}: {len(data):,} bytes; at most {limit:,} are read")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: not UTF-8 at byte {error.start}") from error


def decimal(text: str, what: str) -> int:
    """The number 0 to 2^63 - 1 that `text` is the decimal of: ASCII, without sign and leading zeroes; else InputError."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_INT:
        raise InputError(f"{what}: {text[:40]!r} is not a decimal number from 0 to 2^63 - 1")
    return int(text)


def unbase64(text: str, what: str) -> bytes:
    """The bytes that `text` is the standard, padded base64 of (RFC 4648, section 4); InputError for any other spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InputError(f"{what}: not base64") from error
    if base64.b64encode(data) != text.encode("utf-8", "surrogatepass"):
        raise InputError(f"{what}: base64 with stray bits or padding")
    return data


def unbase64_hash(text: str, what: str) -> bytes:
    """The 32 bytes that `text` is the base64 of; else InputError."""
    value = unbase64(text, what)
    if len(value) != 32:
        raise InputError(f"{what}: {len(value)} bytes; a SHA-256 has 32")
    return value
