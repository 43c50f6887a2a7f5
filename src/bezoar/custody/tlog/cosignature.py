"""Cosignatures (C2SP tlog-cosignature): a witness's statement that at some time a checkpoint was the largest it had seen.

Two kinds: 0x04 signs text with Ed25519 ("cosignature/v1"), 0x06 signs a structure with ML-DSA-44 ("subtree/v1"). In a note both
are the time, in seconds since 1970 as a big-endian u64, and the signature proper.
"""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.custody.tlog.strict import MAX_INT
from bezoar.custody.tlog.tree_head import Checkpoint
from bezoar.errors import InputError

ED25519_COSIGNATURE = 0x04
MLDSA44_COSIGNATURE = 0x06
_LENGTHS = {ED25519_COSIGNATURE: 64, MLDSA44_COSIGNATURE: 2420}
_LABEL = b"subtree/v1\n\x00"


@dataclass(frozen=True)
class Cosignature:
    """A `timestamped_signature`; `time` in seconds since 1970, at most 2^63 - 1."""

    time: int
    signature: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.time <= MAX_INT:
            raise InputError(f"cosignature: a time of {self.time}; it is from 0 to 2^63 - 1 seconds")

    def to_bytes(self) -> bytes:
        """What stands behind the key id in a note."""
        return self.time.to_bytes(8, "big") + self.signature

    @classmethod
    def parse(cls, data: bytes, kind: int) -> Cosignature:
        """The cosignature in a note's signature by a key of `kind`; InputError when it has another length or an odd time."""
        if kind not in _LENGTHS or len(data) != 8 + _LENGTHS[kind]:
            raise InputError(f"cosignature: {len(data)} bytes are none of a key of kind 0x{kind:02x}")
        return cls(int.from_bytes(data[:8], "big"), data[8:])


def cosigned_message(kind: int, name: str, time: int, text: str) -> bytes:
    """What a cosigner of that `name` and `kind` signs of the checkpoint with the note text `text`; InputError when it is none."""
    checkpoint = Checkpoint.parse_body(text)
    if kind == ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    stamp, start, end = (value.to_bytes(8, "big") for value in (time, 0, checkpoint.size))
    return b"".join((_LABEL, _opaque(name), stamp, _opaque(checkpoint.origin), start, end, checkpoint.root))


def _opaque(text: str) -> bytes:
    """A text of 1 to 255 bytes behind its length."""
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise InputError(
            f"cosignature: {text[:40]!r}… has {len(data)} bytes; names that ML-DSA-44 signs have at most 255"
        )
    return bytes((len(data),)) + data
