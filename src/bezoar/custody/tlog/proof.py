"""Offline receipts (C2SP tlog-proof): an entry's index, its inclusion proof and the signed checkpoint, in one text.

```
c2sp.org/tlog-proof@v1
extra <base64>            (only when there is something extra)
index 73894
<base64 of a hash>        (one line each, the leaf's sibling first)

<checkpoint, a signed note>
```
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from bezoar.custody.tlog.checkpoint import open_checkpoint
from bezoar.custody.tlog.merkle import HASH, verify_inclusion
from bezoar.custody.tlog.note import MAX_NOTE, Note, VerifierKey
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.strict import MAX_INT, decimal, decode, unbase64, unbase64_hash
from bezoar.custody.tlog.tree_head import Checkpoint
from bezoar.errors import InputError, LimitError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF = 4 << 20
MAX_HASHES = 63
_MAX_HEAD = MAX_PROOF - MAX_NOTE


@dataclass(frozen=True)
class TlogProof:
    """A proof as its parts; `checkpoint` is the signed note, `extra` is not covered by any signature.

    InputError for values that no proof has.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_INT:
            raise InputError(f"tlog-proof: no entry has the index {self.index}")
        if len(self.hashes) > MAX_HASHES or any(len(each) != HASH for each in self.hashes):
            raise InputError(f"tlog-proof: expected at most {MAX_HASHES} hashes of {HASH} bytes")
        if self.extra is not None and not self.extra:
            raise InputError("tlog-proof: the extra data is empty; leave it out")
        if self.extra and len(self.extra) > _MAX_HEAD // 2:
            raise LimitError(
                f"tlog-proof: {len(self.extra):,} bytes of extra data; at most {_MAX_HEAD // 2:,} fit"
            )
        Checkpoint.parse_body(Note.parse(self.checkpoint).text)

    def to_bytes(self) -> bytes:
        """The text of a `.tlog-proof` file."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines.extend(base64.b64encode(each).decode() for each in self.hashes)
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """The proof in `data`; InputError when it is malformed, LimitError beyond 4 MiB."""
        if len(data) > MAX_PROOF:
            raise LimitError(f"tlog-proof: {len(data):,} bytes; at most {MAX_PROOF:,} are read")
        head, separator, checkpoint = data.partition(b"\n\n")
        header, *lines = decode(head, "tlog-proof", _MAX_HEAD).split("\n")
        if not separator or header != HEADER:
            raise InputError(
                f"tlog-proof: expected the line {HEADER!r}, the proof, an empty line and a checkpoint"
            )
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = unbase64(lines.pop(0).removeprefix("extra "), "tlog-proof: extra")
        if not lines or not lines[0].startswith("index "):
            raise InputError("tlog-proof: no line `index N` where it belongs")
        if len(lines) > 1 + MAX_HASHES:
            raise InputError(f"tlog-proof: {len(lines) - 1:,} hashes; at most {MAX_HASHES} are read")
        index = decimal(lines[0].removeprefix("index "), "tlog-proof: index")
        return cls(
            index, tuple(unbase64_hash(line, "tlog-proof: hash") for line in lines[1:]), checkpoint, extra
        )

    def verify(self, leaf: bytes, trust: TlogPolicy | VerifierKey) -> Checkpoint:
        """The checkpoint, once `trust` accepts it and the leaf with the hash `leaf` is proved to be in its tree.

        VerificationError when the checkpoint is not signed as `trust` asks or the leaf is not in the tree.
        """
        if isinstance(trust, TlogPolicy):
            checkpoint = trust.check(self.checkpoint)
        else:
            checkpoint, _ = open_checkpoint(self.checkpoint, trust)
        verify_inclusion(leaf, self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint
