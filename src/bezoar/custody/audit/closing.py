"""The closing balance against the sealed manifest: every record sealed must follow from the events, and none may be missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.revocations import Revocation
from bezoar.custody.audit.set_aside import SetAside
from bezoar.custody.events.building import leaf_of
from bezoar.custody.events.ledger import Cell, Holding, Ledger, hash_of
from bezoar.custody.seal.leaves import Leaf

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal

_SAMPLES = 3  # records that a description names


def compare_books(
    seal: Seal,
    ledger: Ledger,
    *,
    source_of: Callable[[Holding], str],
    revocations: Sequence[Revocation] = (),
    required_sources: Sequence[str] = (),
) -> tuple[list[Irregularity], Counter[Cell]]:
    """What differs between the records held by the books and those sealed; and the sealed records by source and label."""
    found = _Found(ledger, revocations, required_sources)
    sealed: Counter[Cell] = Counter()
    seen = 0
    for row in seal.manifest.rows():
        record = leaf_of(row)
        held = found.compare(record)
        seen += held is not None
        sealed[(source_of(held or Holding(record, None)), record.label)] += 1
    if seen < len(ledger.held):
        there = {row.key for row in seal.manifest.rows()}
        found.note_all("unlogged-removal", (key for key in ledger.held if key not in there))
    return found.irregularities(), sealed


class _Found:
    def __init__(
        self, ledger: Ledger, revocations: Sequence[Revocation], required_sources: Sequence[str]
    ) -> None:
        self._ledger, self._revocations, self._required = ledger, revocations, required_sources
        self._aside = SetAside(ledger)
        self._keys: dict[str, list[str]] = {}
        self._samples: dict[str, list[str]] = {}

    def compare(self, record: Leaf) -> Holding | None:
        """Note what is irregular about a sealed record; what the books hold under its key."""
        ledger, key = self._ledger, record.key
        held = ledger.held.get(key)
        if held is None:
            if key in ledger.quarantine:
                self._note("quarantined-present", key)
            elif hash_of(record) in ledger.removed.get(key, ()):
                self._note("removed-present", key)
            else:
                self._note("unlogged-addition", key)
                self._came_back(record, None)
        else:
            if held.leaf != record:
                self._differs(held.leaf, record)
            self._came_back(record, held)
        if self._revoked(record, held):
            known = ", ".join(record.source.values()) or (held.origin if held else None)
            self._note("revoked-present", key, f"{key!r} ({known})")
        if lacking := [column for column in self._required if not record.source.get(column)]:
            self._note("source-missing", key, f"{key!r} (no {lacking[0]})")
        return held

    def note_all(self, code: str, keys: Iterable[str]) -> None:
        """Note several records at once."""
        for key in keys:
            self._note(code, key)

    def irregularities(self) -> list[Irregularity]:
        """One irregularity of each kind that was found."""
        return [irregularity(code, self._what(code), keys) for code, keys in self._keys.items()]

    def _came_back(self, record: Leaf, held: Holding | None) -> None:
        """Note content that was quarantined or removed, under whatever key and label."""
        stay = held.stay if held and held.leaf.sha256 == record.sha256 else None
        if code := self._aside.code(record.sha256, stay):
            self._note(code, record.key)

    def _revoked(self, record: Leaf, held: Holding | None) -> bool:
        """Whether a source of the record is revoked, as it is sealed and with all that the books know of its descent."""
        sealed = Holding(record, held.provenance if held else None)
        return any(revocation.concerns(sealed) for revocation in self._revocations)

    def _differs(self, was: Leaf, now: Leaf) -> None:
        if was.label != now.label:
            self._note("relabelled", now.key, f"{now.key!r} ({was.label} -> {now.label})")
        if (was.sha256, was.size) != (now.sha256, now.size):
            change = f"sha256 {was.sha256.hex()[:12]} -> {now.sha256.hex()[:12]}"
            self._note("content-changed", now.key, f"{now.key!r} ({change})")
        if dict(was.source) != dict(now.source):
            names = sorted(
                name for name in {*was.source, *now.source} if was.source.get(name) != now.source.get(name)
            )
            self._note("source-changed", now.key, f"{now.key!r} ({', '.join(names)})")

    def _note(self, code: str, key: str, sample: str = "") -> None:
        self._keys.setdefault(code, []).append(key)
        samples = self._samples.setdefault(code, [])
        if len(samples) < _SAMPLES:
            samples.append(sample or repr(key))

    def _what(self, code: str) -> str:
        samples, total = self._samples[code], len(self._keys[code])
        more = f" and {total - len(samples):,} more" if total > len(samples) else ""
        return f"{_WHERE.get(code, 'in the sealed manifest')}: {', '.join(samples)}{more}"


_WHERE = {
    "unlogged-removal": "in the closing balance and not in the sealed manifest",
    "unlogged-addition": "in the sealed manifest and in no event",
    "relabelled": "the sealed manifest has other labels than the events",
    "content-changed": "the sealed manifest has other contents than the events",
    "source-changed": "the sealed manifest has other sources than the events",
}
