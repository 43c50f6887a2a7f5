"""Proofs that a key is not in a snapshot: the two leaves between which it would lie, each with its inclusion proof.

```
bezoar/absence-proof@v1
before <bytes>
<tlog-proof of the last record below the key>
after <bytes>
<tlog-proof of the first record above the key>
```

Both sections are complete C2SP tlog-proofs (https://c2sp.org/tlog-proof) under one checkpoint; a section is as many bytes long
as its heading says. `before` is left out when the key lies below the first record, `after` when it lies above the last. Of an
empty snapshot there is a single section `checkpoint <bytes>` with the signed note. A proof holds for every key in its gap.

What it rests on: the tree shows that the two leaves are neighbours, and the signer of a snapshot promises that its leaves are
sorted by key (code-point order). A checker sees the order of two leaves only and relies on the signer for the others;
whoever has the manifest checks them with `bezoar verify`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bezoar.custody.tlog.proof import MAX_PROOF, TlogProof
from bezoar.errors import InputError, LimitError, UsageError

HEADER = b"bezoar/absence-proof@v1\n"
MAX_BYTES = 2 * MAX_PROOF + 1024
_HEADING = re.compile(rb"(before|after|checkpoint) ([1-9][0-9]{0,6})")
_LONGEST_HEADING = 32
_SHAPES = (("before", "after"), ("before",), ("after",), ("checkpoint",))


@dataclass(frozen=True)
class AbsenceProof:
    """The neighbours of a gap; `checkpoint` is the signed note alone, for the empty snapshot only (else b"")."""

    before: TlogProof | None = None
    after: TlogProof | None = None
    checkpoint: bytes = b""

    def to_bytes(self) -> bytes:
        """The text format above."""
        parts = [
            ("before", self.before and self.before.to_bytes()),
            ("after", self.after and self.after.to_bytes()),
        ]
        sections = [*parts, ("checkpoint", self.checkpoint)]
        return HEADER + b"".join(
            b"%s %d\n%s" % (name.encode(), len(body), body) for name, body in sections if body
        )

    @classmethod
    def parse(cls, data: bytes) -> AbsenceProof:
        """The proof in `data`; InputError when it is malformed, LimitError beyond 8 MiB."""
        sections = _sections(data)
        if tuple(sections) not in _SHAPES:
            found = ", ".join(sections) or "none"
            raise InputError(
                f"absence proof: expected the sections before and after, or one of them; found {found}"
            )
        return cls(
            before=TlogProof.parse(sections["before"]) if "before" in sections else None,
            after=TlogProof.parse(sections["after"]) if "after" in sections else None,
            checkpoint=sections.get("checkpoint", b""),
        )


def is_absence_proof(data: bytes) -> bool:
    """Whether `data` begins as an absence proof does."""
    return data.startswith(HEADER)


def _sections(data: bytes) -> dict[str, bytes]:
    """The bodies by their headings, in the order of the file."""
    if len(data) > MAX_BYTES:
        raise LimitError(f"absence proof: {len(data):,} bytes; at most {MAX_BYTES:,} are read")
    if not is_absence_proof(data):
        raise InputError(f"absence proof: does not begin with the line {HEADER.decode().strip()!r}")
    sections: dict[str, bytes] = {}
    place = len(HEADER)
    while place < len(data):
        end = data.find(b"\n", place, place + _LONGEST_HEADING)
        heading = _HEADING.fullmatch(data, place, end) if end >= 0 else None
        if heading is None:
            raise InputError(f"absence proof: byte {place}: expected a heading such as `before 1234`")
        name, place = heading[1].decode(), end + 1 + int(heading[2])
        if name in sections or place > len(data):
            raise InputError(f"absence proof: the section {name} occurs twice or is cut short")
        sections[name] = data[end + 1 : place]
    return sections


def check_key(key: str) -> None:
    """UsageError for a text that no record can have as its key: that it is absent says nothing."""
    if not key:
        raise UsageError("the key of a record is never empty; give the key that is to be absent")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the key {key[:200]!r} is not UTF-8; no record can have it") from error
