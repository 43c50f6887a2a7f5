"""The body of a checkpoint (C2SP tlog-checkpoint): origin, size and root of a tree, one to a line. No extension lines."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from bezoar.custody.tlog.merkle import HASH
from bezoar.custody.tlog.strict import MAX_INT, decimal, unbase64_hash
from bezoar.errors import InputError


@dataclass(frozen=True)
class Checkpoint:
    """A tree at one size: its log's `origin`, its `size` in leaves, its `root` (32 bytes). InputError for impossible values."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or any(
            character < " " or "\ud800" <= character <= "\udfff" for character in self.origin
        ):
            raise InputError(
                f"checkpoint: {self.origin[:80]!r} is not an origin; give a name such as example.com/log"
            )
        if not 0 <= self.size <= MAX_INT:
            raise InputError(f"checkpoint: a size of {self.size}; it is from 0 to 2^63 - 1")
        if len(self.root) != HASH:
            raise InputError(f"checkpoint: a root of {len(self.root)} bytes; a SHA-256 has {HASH}")

    def body(self) -> str:
        """The text that is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse_body(cls, text: str) -> Checkpoint:
        """The checkpoint that `text` is the body of; InputError for anything but origin, size and root."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise InputError(
                "checkpoint: expected three lines, origin, size and root; extension lines are not accepted"
            )
        return cls(
            lines[0], decimal(lines[1], "checkpoint: size"), unbase64_hash(lines[2], "checkpoint: root")
        )
