"""A small fuzzer for parsers: whatever bytes they are given, nothing but an InputError (a LimitError is one) may come out.

    def test_fuzz_note():
        fuzz(Note.parse, [valid_note], back=Note.to_bytes)

Runs half a second per parser, or as long as BEZOAR_FUZZ_SECONDS says (`make fuzz`: 60). Seeded: a failure names the input and
comes again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bezoar.errors import InputError

SECONDS = "BEZOAR_FUZZ_SECONDS"
_DEFAULT_S = 0.5
_AT_LEAST = 50  # inputs, however slow the machine is
_TOKENS = (
    b"\n", b"\n\n", b"\r\n", b" ", b"\t", b"\x00", b"\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80", "—".encode(), "\u2028".encode(),
    b"+", b"-", b"=", b"==", b"/", b"..", b"0", b"00", b"-1", b"1e9", b"18446744073709551616", b"9223372036854775808",
    "٣".encode(), b"{", b"}", b"[", b'"', b"null", b"NaN", b"\\ud800", b":", b",", b"A" * 300,
)  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """How many inputs were tried, and how many of them the parser accepted."""

    tried: int
    accepted: int


def fuzz(
    parse: Callable[[bytes], Any],
    valid: Sequence[bytes],
    *,
    back: Callable[[Any], bytes] | None = None,
    seed: int = 0,
) -> Fuzzed:
    """Feed `parse` the `valid` inputs, mutations of them and random bytes; AssertionError when anything but an InputError comes.

    With `back`, the inverse of `parse`, an accepted input must be written back byte for byte: it has one spelling.
    """
    for data in valid:
        value = parse(data)
        assert back is None or back(value) == data, (
            f"a valid input is not written back as it was: {data[:200]!r}"
        )
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    end = time.monotonic() + float(os.environ.get(SECONDS) or _DEFAULT_S)
    tried = accepted = 0
    while tried < _AT_LEAST or time.monotonic() < end:
        data = _input(rng, valid)
        tried += 1
        try:
            value = parse(data)
        except InputError:
            continue
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} leaked ({error}) for the input {data!r}") from error
        accepted += 1
        assert back is None or back(value) == data, f"accepted a second spelling: {data!r}"
    return Fuzzed(tried, accepted)


def _input(rng: random.Random, valid: Sequence[bytes]) -> bytes:
    if not valid or rng.random() < 0.05:
        return rng.randbytes(rng.choice((0, 1, 2, 7, 32, 200, 3000)))
    data = bytearray(rng.choice(valid))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_MUTATIONS)(rng, data, valid)
    return bytes(data)


def _flip(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    start, stop = _span(rng, data)
    data[start:stop] = rng.choice(_TOKENS)


def _insert(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.choice(_TOKENS)


def _delete(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    start, stop = _span(rng, data)
    del data[start:stop]


def _repeat(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    start, stop = _span(rng, data)
    data[stop:stop] = data[start:stop]


def _truncate(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


def _swap_lines(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    lines = bytes(data).split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    data[:] = b"\n".join(lines)


def _splice(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> None:
    other = rng.choice(valid)
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


def _span(rng: random.Random, data: bytearray) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64)))


_MUTATIONS = (_flip, _overwrite, _insert, _delete, _repeat, _truncate, _swap_lines, _splice)
