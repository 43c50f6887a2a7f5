"""Running many cells: some at a time, every outcome on disk before the next begins."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bezoar.bench.plan import Cell, Task
from bezoar.bench.processes import Outcome, outcomes
from bezoar.bench.store import Entry, Log
from bezoar.bench.weak import Weak
from bezoar.progress import track

_GUESS_S = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run went: cells by status, and the first failure in a line."""

    measured: int = 0
    trained: int = 0
    impossible: int = 0
    failed: int = 0
    failure: str | None = None


def run(
    tasks: Sequence[Task],
    packs: Path | None,
    log: Log,
    version: str,
    jobs: int,
    limit_s: float = float("inf"),
    weak: Weak | None = None,
) -> Ran:
    """Measure the cells of `tasks`, `jobs` at a time, appending each outcome to `log`; failures are outcomes too.

    No cell begins after `limit_s` seconds; those that began are finished. Cells that `weak`, which learns from every
    outcome, implies by then are passed over.
    """
    weak = weak or Weak()
    failure = None
    counts = {"measured": 0, "trained": 0, "impossible": 0, "failed": 0}
    with track("bench", len(tasks)) as bar:
        for task, outcome in outcomes(_needed(tasks, limit_s, weak), partial(_measure, packs=packs), jobs):
            cell = task.cell
            entry = Entry(cell.key, version, cell.fields(), outcome)
            log.append(entry)
            weak.learn(entry)
            counts[outcome["status"]] += 1
            if outcome["status"] == "failed" and failure is None:
                failure = f"{cell.key}: {outcome['error']}"
            bar.advance()
    return Ran(**counts, failure=failure)


def estimate(cells: Sequence[Cell], done: Mapping[str, Entry], jobs: int) -> float:
    """Seconds that `cells` will take, from the median of finished cells of the same setting and pack, or of the pack."""
    known: dict[tuple[str, ...], list[float]] = {}
    for entry in done.values():
        if entry.outcome["status"] == "measured":
            cell = entry.cell
            for like in ((cell["setting"], cell["pack"]), (cell["pack"],), ()):
                known.setdefault(like, []).append(entry.outcome["seconds"])

    def seconds(cell: Cell) -> float:
        likes: tuple[tuple[str, ...], ...] = ((cell.setting, cell.pack), (cell.pack,), ())
        return next((median(known[like]) for like in likes if like in known), _GUESS_S)

    return sum(map(seconds, cells)) / jobs


def _needed(tasks: Sequence[Task], limit_s: float, weak: Weak) -> Iterator[Task]:
    end = time.monotonic() + limit_s
    for task in tasks:
        if time.monotonic() >= end:
            return
        if not weak.implies(task.cell):
            yield task


def _measure(task: Task, packs: Path | None) -> Outcome:
    """In the process of one cell."""
    from bezoar.bench.cell import measure

    return measure(task, packs)
