"""Progress bars on standard error: shown to a person at a terminal, silent everywhere else.

The library reports progress through `track`; whether anything is drawn is the caller's choice (`enabled`),
set once by the command line. Bars appear only for work that is still running after half a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_DELAY_S = 0.5
_enabled: ContextVar[bool] = ContextVar("bezoar_progress", default=False)


@contextmanager
def enabled(on: bool | None = None) -> Iterator[None]:
    """Draw bars within this block; by default only when standard error is a terminal."""
    token = _enabled.set(sys.stderr.isatty() if on is None else on)
    try:
        yield
    finally:
        _enabled.reset(token)


class Bar:
    """One bar. `advance(n)` as work gets done; it draws itself only once the work has proved slow.

    `advance(n, note)` also puts a few words beside it, instead of those that were there.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total, self._done = title, total, 0
        self._start = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._note = ""

    def advance(self, n: int = 1, note: str | None = None) -> None:
        """Report that `n` more units are done."""
        self._done += n
        self._note = self._note if note is None else note
        if self._progress is None and _enabled.get() and time.monotonic() - self._start > _DELAY_S:
            self._open()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done, note=self._note)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=self._total, note=self._note)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextmanager
def track(title: str, total: int | None = None) -> Iterator[Bar]:
    """A bar for the work in this block.

    Use: `with track("decode", len(dataset)) as bar:` and, inside, `bar.advance(n)`.
    """
    bar = Bar(title, total)
    try:
        yield bar
    finally:
        bar.close()
