"""Where the records come from that a transformation makes: whose origins they keep, and which replace nothing at all.

A record that is renamed, relabelled or changed is not new: a revocation of the source that it once came from concerns it still.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bezoar.custody.seal.leaves import Leaf


@dataclass(frozen=True)
class Provenance:
    """All origins that a record may have, and the entries that revoke it or what it was made from, in whichever dataset."""

    origins: Set[str] = frozenset()
    revoked: Set[int] = frozenset()

    @classmethod
    def of(cls, origin: str | None) -> Provenance:
        """Of one origin, or of none that is stated."""
        return cls(frozenset() if origin is None else frozenset({origin}))

    @classmethod
    def joined(cls, several: Iterable[Provenance]) -> Provenance:
        """Of several records."""
        known = list(several)
        if len(known) == 1:
            return known[0]
        origins, revoked = (each.origins for each in known), (each.revoked for each in known)
        return cls(frozenset().union(*origins), frozenset().union(*revoked))

    def text(self) -> str | None:
        """The origins for a table; None where none is stated."""
        if len(self.origins) > 3:
            return f"({len(self.origins):,} origins)"
        return " + ".join(sorted(self.origins)) or None


class Stay(NamedTuple):
    """How a content came to be in the dataset: since which movement, and whether it was released from quarantine since."""

    since: int
    released: bool = False


class Parent(Protocol):
    """A dataset, at the snapshot that another was derived from."""

    def provenance(self, record: Leaf) -> Provenance:
        """Of a record that was made from it."""


@dataclass
class Descent:
    """What the transformations of one step replace and make; several events may tell of one step, in any order."""

    _by_key: dict[str, Provenance] = field(default_factory=dict)
    _by_content: dict[bytes, list[Provenance]] = field(default_factory=dict)
    _origins: set[str] = field(
        default_factory=set
    )  # of all that was replaced; they grow with every event of the step
    _revoked: set[int] = field(default_factory=set)
    _stays: dict[bytes, Stay] = field(default_factory=dict)
    _replaced: list[Leaf] = field(default_factory=list)
    _made: list[Leaf] = field(default_factory=list)

    def replace(self, record: Leaf, provenance: Provenance, stay: Stay) -> None:
        """Note a record that is replaced."""
        self._stays[record.sha256] = stay
        self._by_key[record.key] = provenance
        self._by_content.setdefault(record.sha256, []).append(provenance)
        self._origins |= provenance.origins
        self._revoked |= provenance.revoked
        self._replaced.append(record)

    def make(self, record: Leaf) -> None:
        """Note a record that is made in place."""
        self._made.append(record)

    def provenance(self, record: Leaf, known: Provenance | None) -> Provenance:
        """Of a record that is made: by its content, which may be `known` from earlier, else by its key, else of all replaced."""
        if same := self._by_content.get(record.sha256):
            return Provenance.joined(same)
        return known or self._by_key.get(record.key) or Provenance(self._origins, self._revoked)

    def stay(self, record: Leaf, now: int) -> Stay:
        """How long the content of a record that is made has been there: as long as that of one replaced, else since `now`."""
        return self._stays.get(record.sha256, Stay(now))

    def from_nothing(self) -> list[str]:
        """The records made that have no predecessor."""
        return without_predecessor(self._made, self._replaced)


def without_predecessor(made: Iterable[Leaf], replaced: Iterable[Leaf]) -> list[str]:
    """The keys of records made that keep neither key nor content of one replaced, when none is left that they could come from."""
    new, old = list(made), list(replaced)
    keys, contents = {leaf.key for leaf in new}, {leaf.sha256 for leaf in new}
    if any(leaf.key not in keys and leaf.sha256 not in contents for leaf in old):
        return []
    old_keys, old_contents = {leaf.key for leaf in old}, {leaf.sha256 for leaf in old}
    return [leaf.key for leaf in new if leaf.key not in old_keys and leaf.sha256 not in old_contents]
