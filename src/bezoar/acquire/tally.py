"""What a fetch counts, in a shard and as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bezoar.acquire.reasons import Reason, Verdict


@dataclass
class Tally:
    """Rows by what became of them.

    Attributes:
        verified: kept, with the digest that the list has.
        unverified: kept, with none to compare with.
        rejected: not kept, by reason.
        quarantined: of these, set aside with what came.
        bytes: that came, also of what was rejected.

    """

    verified: int = 0
    unverified: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    bytes: int = 0

    @property
    def kept(self) -> int:
        """Rows whose bytes are in the output."""
        return self.verified + self.unverified

    @property
    def rows(self) -> int:
        """All rows."""
        return self.kept + sum(self.rejected.values())

    def count(self, verdict: str, reason: str | None, size: int) -> None:
        """One more row, of which `size` bytes came."""
        if verdict == Verdict.VERIFIED:
            self.verified += 1
        elif verdict == Verdict.UNVERIFIED:
            self.unverified += 1
        else:
            name = str(reason)
            self.rejected[name] = self.rejected.get(name, 0) + 1
            self.quarantined += name == Reason.HASH_MISMATCH
        self.bytes += size

    def add(self, other: Tally) -> None:
        """The rows of both."""
        self.verified += other.verified
        self.unverified += other.unverified
        self.quarantined += other.quarantined
        self.bytes += other.bytes
        for reason, number in other.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + number

    def as_json(self) -> dict[str, Any]:
        """For results and for a shard's stats; reasons in the order of their share."""
        ordered = sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))
        return {
            "rows": self.rows,
            "kept": self.kept,
            "verified": self.verified,
            "unverified": self.unverified,
            "rejected": dict(ordered),
            "quarantined": self.quarantined,
            "bytes": self.bytes,
        }
