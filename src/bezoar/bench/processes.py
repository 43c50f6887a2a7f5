"""Work in processes: each piece in one of its own, some at a time.

That buys three things: its peak memory is its own, beyond the imports; a crash loses one piece of work; and no state leaks from
one into another. What all of them import is imported once, in a server that they are forked from (`preloaded`): torch alone takes
seconds. Elsewhere than on Linux, where system libraries do not survive a fork, each imports for itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from bezoar.errors import BezoarError, UsageError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PRELOADED = "bezoar.bench.preloaded"

Outcome = dict[str, Any]
Item = TypeVar("Item")


def outcomes(
    waiting: Iterator[Item], work: Callable[[Item], Outcome], jobs: int
) -> Iterator[tuple[Item, Outcome]]:
    """What `work`, which must be importable by name, returns for each item, as it comes.

    Where it raises, the outcome is {"status": "failed", "error": one line}. On an exception or Ctrl-C here the processes in
    flight are ended.
    """
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([_PRELOADED])
    running: dict[Any, tuple[Item, Any, Connection]] = {}
    try:
        while True:
            with _one_thread_each(), _no_interrupts():
                while len(running) < jobs and (item := next(waiting, None)) is not None:
                    ours, theirs = context.Pipe(duplex=False)
                    process = context.Process(target=_send, args=(theirs, work, item), daemon=True)
                    _start(process)
                    theirs.close()  # so that the end of the process ends the pipe
                    running[ours] = (item, process, ours)
            if not running:
                return
            for ready in wait(list(running)):
                item, process, pipe = running.pop(ready)
                yield item, _received(process, pipe)
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.join()


def _start(process: Any) -> None:
    """UsageError without memory or room for a process, when the server died, or when TMPDIR is too long for its socket."""
    try:
        process.start()
    except (OSError, EOFError) as error:
        raise UsageError(
            f"cannot start a process for a piece of work ({_one_line(str(error))}): look at memory, limits and the path TMPDIR"
        ) from error


def _send(pipe: Connection, work: Callable[[Item], Outcome], item: Item) -> None:
    """In the process of one item."""
    warnings.simplefilter("ignore")
    try:
        outcome = work(item)
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
    resource_tracker.ensure_running()  # its start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _one_line(message: str) -> str:
    return " ".join(message.split())[:300]
