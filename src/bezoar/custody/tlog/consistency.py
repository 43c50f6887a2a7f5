"""Proofs that a log has only grown: two signed checkpoints, and the hashes that show that the newer extends the older.

```
bezoar/consistency-proof@v1
old <bytes>
<the older checkpoint, a signed note>
new <bytes>
<a tlog-witness add-checkpoint request: `old N`, a hash to a line, an empty line, the newer checkpoint>
```

A section is as many bytes long as its heading says. There is no C2SP format for this; the second section is what a witness is
sent (https://c2sp.org/tlog-witness), and the first is what it remembers. From an empty log there are no hashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bezoar.custody.tlog.checkpoint import open_checkpoint
from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.merkle import EMPTY_ROOT, verify_consistency
from bezoar.custody.tlog.note import Note, VerifierKey
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.proof import HEADER as TLOG_PROOF
from bezoar.custody.tlog.proof import TlogProof
from bezoar.custody.tlog.state import MAX_CHECKPOINT, check_extends
from bezoar.custody.tlog.tree_head import Checkpoint
from bezoar.custody.tlog.witness import MAX_REQUEST, Request
from bezoar.errors import InputError, LimitError, VerificationError

HEADER = b"bezoar/consistency-proof@v1\n"
MAX_BYTES = MAX_CHECKPOINT + MAX_REQUEST + 1024
_HEADING = re.compile(rb"(old|new) ([1-9][0-9]{0,6})\n")


@dataclass(frozen=True)
class ConsistencyProof:
    """`old` is the older signed note, `request` the hashes and the newer one. InputError for values that no proof has."""

    old: bytes
    request: Request

    def __post_init__(self) -> None:
        before, after = (_body(note) for note in (self.old, self.request.note))
        if before.size != self.request.old:
            raise InputError(
                f"consistency proof: it is from size {self.request.old}, but the older checkpoint has {before.size}"
            )
        if before.origin != after.origin:
            raise InputError(
                f"consistency proof: of two logs, {before.origin[:80]!r} and {after.origin[:80]!r}"
            )

    def to_bytes(self) -> bytes:
        """The text format above."""
        sections = ((b"old", self.old), (b"new", self.request.to_bytes()))
        return HEADER + b"".join(b"%s %d\n%s" % (name, len(body), body) for name, body in sections)

    @classmethod
    def parse(cls, data: bytes) -> ConsistencyProof:
        """The proof in `data`; InputError when it is malformed, LimitError when it is too long for one."""
        if len(data) > MAX_BYTES:
            raise LimitError(f"consistency proof: {len(data):,} bytes; at most {MAX_BYTES:,} are read")
        if not is_consistency_proof(data):
            raise InputError(f"consistency proof: does not begin with the line {HEADER.decode().strip()!r}")
        place, bodies = len(HEADER), []
        for name in (b"old", b"new"):
            heading = _HEADING.match(data, place)
            if heading is None or heading[1] != name or heading.end() + int(heading[2]) > len(data):
                raise InputError(f"consistency proof: byte {place}: expected the section {name.decode()!r}")
            place = heading.end() + int(heading[2])
            bodies.append(data[heading.end() : place])
        if place != len(data):
            raise InputError(f"consistency proof: {len(data) - place:,} bytes behind its end")
        return cls(bodies[0], Request.parse(bodies[1]))

    def verify(self, trust: TlogPolicy | VerifierKey) -> tuple[Checkpoint, Checkpoint]:
        """The older and the newer checkpoint, once `trust` accepts both and the newer is proved to extend the older.

        VerificationError when one is not signed as `trust` asks, or they are of two histories.
        """
        if isinstance(trust, TlogPolicy):
            before, after = (trust.check(note) for note in (self.old, self.request.note))
        else:
            before, after = (open_checkpoint(note, trust)[0] for note in (self.old, self.request.note))
        if before.size > 0:
            verify_consistency(before.size, after.size, before.root, after.root, self.request.proof)
        elif (
            before.root != EMPTY_ROOT or self.request.proof or (after.size == 0 and after.root != EMPTY_ROOT)
        ):
            raise VerificationError("consistency proof: not from the empty tree, or a proof too many")
        return before, after


def is_consistency_proof(data: bytes) -> bool:
    """Whether `data` begins as a consistency proof does."""
    return data.startswith(HEADER)


def prove_consistency(log: CustodyLog, old: bytes) -> ConsistencyProof:
    """The proof that `log` extends `old`: a checkpoint that its key signed, or a tlog-proof that holds one.

    VerificationError when it does not, or when the key has not signed that.
    """
    note = TlogProof.parse(old).checkpoint if old.startswith(TLOG_PROOF.encode()) else old
    before, _ = open_checkpoint(note, log.key)
    checkpoint, now = log.checkpoint()
    check_extends(before, checkpoint, log.tree, log.location)
    hashes = log.tree.consistency(before.size) if before.size else []
    proof = ConsistencyProof(note, Request(before.size, tuple(hashes), now))
    proof.verify(log.key)
    return proof


def _body(note: bytes) -> Checkpoint:
    return Checkpoint.parse_body(Note.parse(note).text)
