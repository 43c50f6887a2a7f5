"""The balances as a statement shows them: by source, by class and in all, and the account of what lies in quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bezoar.custody.events.ledger import MOVEMENTS, QUARANTINE, SIGNS, Account, Cell, Holding, Ledger

MAX_ROWS = 1000  # sources, classes or reasons told apart; the others are added up
MAX_KEYS = 100  # of the records in quarantine for one reason
NO_LABEL = "(no label)"


@dataclass(frozen=True)
class Balance:
    """One row: opening + acquired - quarantined + released - removed + transformed = closing; `sealed` as the manifest has it."""

    name: str
    opening: int
    moved: Mapping[str, int]
    closing: int
    sealed: int

    @property
    def transformed(self) -> int:
        """What transformations added or took, in all."""
        return self.moved.get("transformed in", 0) - self.moved.get("transformed out", 0)

    @property
    def difference(self) -> int:
        """Sealed records without a closing balance, or the other way round (negative)."""
        return self.sealed - self.closing


@dataclass(frozen=True)
class Aside:
    """What lies in quarantine for one `reason`, that of its event: records `by_source`, the largest first; the first `keys`."""

    reason: str
    records: int
    by_source: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Quarantine:
    """The account of the records that are in custody and not in the dataset; `by_reason` is its closing balance, explained."""

    opening: int
    quarantined: int
    released: int
    removed: int
    by_reason: tuple[Aside, ...] = ()

    @property
    def closing(self) -> int:
        """What lies in quarantine at the end."""
        return self.opening + self.quarantined - self.released - self.removed


@dataclass(frozen=True)
class Balances:
    """The tables of a statement."""

    total: Balance
    by_source: tuple[Balance, ...]
    by_class: tuple[Balance, ...]
    quarantine: Quarantine


def balances(ledger: Ledger, sealed: Counter[Cell]) -> Balances:
    """The balances of the books, beside what is sealed."""
    account = ledger.dataset
    rows = _rows(account, sealed, lambda _: "all records")
    return Balances(
        total=rows[0] if rows else Balance("all records", 0, {}, 0, 0),
        by_source=_rows(account, sealed, lambda cell: cell[0]),
        by_class=_rows(account, sealed, lambda cell: NO_LABEL if cell[1] is None else cell[1]),
        quarantine=Quarantine(
            ledger.outside.opening.total(),
            **{movement: ledger.outside.total(movement) for movement in QUARANTINE},
            by_reason=_by_reason(ledger),
        ),
    )


def _by_reason(ledger: Ledger) -> tuple[Aside, ...]:
    groups: dict[str, list[Holding]] = {}
    for holding in ledger.quarantine.values():
        groups.setdefault(holding.why, []).append(holding)
    found = [_aside(reason, records, ledger) for reason, records in groups.items()]
    found.sort(key=lambda aside: (-aside.records, aside.reason))
    if len(found) <= MAX_ROWS:
        return tuple(found)
    rest = [record for aside in found[MAX_ROWS - 1 :] for record in groups[aside.reason]]
    return (
        *found[: MAX_ROWS - 1],
        _aside(f"({len(found) - MAX_ROWS + 1:,} other reasons)", rest, ledger),
    )


def _aside(reason: str, records: list[Holding], ledger: Ledger) -> Aside:
    sources: Counter[str] = Counter()
    for (source, _), number in ledger.count(records).items():
        sources[source] += number
    rows = sorted(sources.items(), key=lambda row: (-row[1], row[0]))
    if len(rows) > MAX_ROWS:
        others = rows[MAX_ROWS - 1 :]
        rows = [*rows[: MAX_ROWS - 1], (f"({len(others):,} others)", sum(number for _, number in others))]
    keys = sorted(record.leaf.key for record in records)[:MAX_KEYS]
    return Aside(reason, len(records), tuple(rows), tuple(keys))


def _rows(account: Account, sealed: Counter[Cell], name: Callable[[Cell], str]) -> tuple[Balance, ...]:
    columns: dict[str, Counter[str]] = {"opening": Counter(), "sealed": Counter()}
    columns.update({movement: Counter() for movement in MOVEMENTS})
    for column, counts in (("opening", account.opening), ("sealed", sealed), *account.moved.items()):
        for cell, number in counts.items():
            columns[column][name(cell)] += number
    names = {row for counts in columns.values() for row in counts}
    rows = [_balance(row, columns) for row in names]
    rows.sort(key=lambda row: (-max(row.closing, row.sealed), row.name))
    if len(rows) <= MAX_ROWS:
        return tuple(rows)
    return (*rows[: MAX_ROWS - 1], _sum(f"({len(rows) - MAX_ROWS + 1:,} others)", rows[MAX_ROWS - 1 :]))


def _balance(name: str, columns: Mapping[str, Counter[str]]) -> Balance:
    moved = {movement: columns[movement][name] for movement in MOVEMENTS}
    closing = columns["opening"][name] + sum(SIGNS[movement] * number for movement, number in moved.items())
    return Balance(name, columns["opening"][name], moved, closing, columns["sealed"][name])


def _sum(name: str, rows: list[Balance]) -> Balance:
    moved = {movement: sum(row.moved[movement] for row in rows) for movement in MOVEMENTS}
    opening, closing, sealed = (
        sum(getattr(row, column) for row in rows) for column in ("opening", "closing", "sealed")
    )
    return Balance(name, opening, moved, closing, sealed)
