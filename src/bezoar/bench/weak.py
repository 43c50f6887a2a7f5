"""Which cells need no measuring: an attack that did not take does not at a lower rate of the same trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry, failed_to_take


class Weak:
    """The trials in which an attack did not take, by the highest such rate."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._rates: dict[Cell, float] = {}
        for entry in entries:
            self.learn(entry)

    def learn(self, entry: Entry) -> None:
        """Note what was measured."""
        if failed_to_take(entry.outcome):
            cell = Cell(**entry.cell)
            trial = replace(cell, rate=0.0)
            self._rates[trial] = max(cell.rate, self._rates.get(trial, 0.0))

    def implies(self, cell: Cell) -> bool:
        """Whether `cell` is an attack at a lower rate than one at which the same trial did not take."""
        return cell.rate < self._rates.get(replace(cell, rate=0.0), 0.0)
