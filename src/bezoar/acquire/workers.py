"""Several processes that fetch, fed and heard by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

import bezoar
from bezoar import errors
from bezoar.acquire.shard_fetch import Task
from bezoar.acquire.worker import Done, Failed, Finished, Progress, Wanted
from bezoar.acquire.workplace import Setup
from bezoar.errors import BezoarError

_WORKER = "import sys; from bezoar.acquire.worker import main; main(int(sys.argv[1]))"
_PACKAGES = Path(bezoar.__file__).parent.parent


class Workers:
    """`with Workers(2, setup, lock) as workers: for event in workers.run(tasks)`. They end with the block, however it ends."""

    def __init__(self, count: int, setup: Setup, lock: int) -> None:
        """Start them; `lock` is a descriptor that each inherits and holds to its end."""
        self._processes: dict[Connection, subprocess.Popen[bytes]] = {}
        try:
            for _ in range(count):
                self._start(setup, lock)
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, tasks: Iterator[Task]) -> Iterator[Progress | Done]:
        """What the workers report until all tasks are done; BezoarError as soon as one of them fails."""
        busy = set(self._processes)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)  # noqa: S101 - nothing else was waited for
                event = self._hear(connection)
                if isinstance(event, Wanted):
                    self._tell(connection, next(tasks, None))
                elif isinstance(event, Finished):
                    busy.discard(connection)
                elif isinstance(event, Failed):
                    raise error_of(event)
                elif isinstance(event, Progress | Done):
                    yield event

    def _hear(self, connection: Connection) -> object:
        try:
            return connection.recv()
        except (EOFError, OSError):
            raise self._died(connection) from None

    def _tell(self, connection: Connection, task: Task | None) -> None:
        try:
            connection.send(task)
        except OSError:
            raise self._died(connection) from None

    def _start(self, setup: Setup, lock: int) -> None:
        ours, theirs = Pipe()
        path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
        with theirs:
            # -P: nothing that lies in the current folder is imported
            command = [sys.executable, "-P", "-c", _WORKER, str(theirs.fileno())]
            mask = signal.pthread_sigmask(
                signal.SIG_BLOCK, [signal.SIGINT]
            )  # inherited: Ctrl-C is ours to hear
            try:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), lock),
                    env={**os.environ, "PYTHONPATH": path},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._processes[ours] = process
        ours.send(setup)

    def _stop(self) -> None:
        """A worker without a parent ends by itself, and at once."""
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            process.wait()

    def _died(self, connection: Connection) -> BezoarError:
        code = self._processes[connection].wait()
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        return BezoarError(
            f"a fetching process {how}, perhaps for want of memory; finished shards are safe, the same command goes on"
        )


def error_of(failed: Failed) -> BezoarError:
    """The error that a worker ended with, as if it had been raised here."""
    kind = getattr(errors, failed.kind, None)
    if kind in (errors.InputError, errors.OutputError, errors.LimitError, errors.VerificationError):
        error: BezoarError = kind(failed.message)
        return error
    return BezoarError(failed.message)
