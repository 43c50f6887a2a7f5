"""Running many cells: each in a process of its own, some at a time, every outcome on disk before the next begins.

A process per cell costs two seconds and buys three things: its peak memory is the cell's, a crash loses one cell, and no
state leaks from one cell into another.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from statistics import median
from typing import Any

from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry, Log
from bezoar.bench.weak import Weak
from bezoar.errors import BezoarError
from bezoar.progress import track

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GUESS_S = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run went: cells by status, and the first failure in a line."""

    measured: int = 0
    impossible: int = 0
    failed: int = 0
    failure: str | None = None


def run(
    cells: Sequence[Cell],
    packs: Path | None,
    log: Log,
    version: str,
    jobs: int,
    limit_s: float = float("inf"),
    weak: Weak | None = None,
) -> Ran:
    """Measure `cells`, `jobs` at a time, appending each outcome to `log`; failures are outcomes too.

    No cell begins after `limit_s` seconds; those that began are finished. Cells that `weak`, which learns from every
    outcome, implies by then are passed over.
    """
    weak = weak or Weak()
    failure = None
    counts = {"measured": 0, "impossible": 0, "failed": 0}
    with track("bench", len(cells)) as bar:
        for cell, outcome in _outcomes(_needed(cells, limit_s, weak), packs, jobs):
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


def _needed(cells: Sequence[Cell], limit_s: float, weak: Weak) -> Iterator[Cell]:
    end = time.monotonic() + limit_s
    for cell in cells:
        if time.monotonic() >= end:
            return
        if not weak.implies(cell):
            yield cell


def _outcomes(
    waiting: Iterator[Cell], packs: Path | None, jobs: int
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Outcomes as they come; on an exception or Ctrl-C the processes in flight are ended."""
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Cell, Any, Connection]] = {}
    try:
        while True:
            with _one_thread_each(), _no_interrupts():
                while len(running) < jobs and (cell := next(waiting, None)) is not None:
                    ours, theirs = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(theirs, cell, packs), daemon=True)
                    process.start()
                    theirs.close()  # so that the end of the process ends the pipe
                    running[ours] = (cell, process, ours)
            if not running:
                return
            for ready in wait(list(running)):
                cell, process, pipe = running.pop(ready)
                yield cell, _received(process, pipe)
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.join()


def _work(pipe: Connection, cell: Cell, packs: Path | None) -> None:
    """In the process of one cell."""
    import warnings

    from bezoar.bench.cell import measure

    warnings.simplefilter("ignore")
    try:
        outcome = measure(cell, packs)
    except BezoarError as error:
        outcome = {"status": "failed", "error": _one_line(str(error))}
    except Exception as error:
        outcome = {"status": "failed", "error": _one_line(f"{type(error).__name__}: {error}")}
    pipe.send(outcome)
    pipe.close()


def _received(process: Any, pipe: Connection) -> dict[str, Any]:
    try:
        outcome: dict[str, Any] = pipe.recv()
    except EOFError:
        process.join()
        return {"status": "failed", "error": f"the process ended with exit code {process.exitcode}"}
    process.join()
    return outcome


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started in this block compute on one thread: more would wait for each other."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes started in this block never see Ctrl-C, which is this process's to answer: it ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _one_line(message: str) -> str:
    return " ".join(message.split())[:300]
