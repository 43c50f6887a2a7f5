"""Fetching shards one after the other with one client, in this process or in a worker of its own.

A worker talks to its parent through one inherited socket: it asks for the next shard while it is still busy with the last one,
so that its connections never wait, and it ends at once when the parent is gone. Whatever it has not finished then is nowhere.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Request
from bezoar.acquire.shard_fetch import ShardFetch, Task
from bezoar.acquire.tally import Tally
from bezoar.acquire.workplace import Setup, Workplace
from bezoar.errors import BezoarError

_TELL_S = 0.2  # between two reports of progress


@dataclass(frozen=True)
class Wanted:
    """A worker's wish for another task."""


@dataclass(frozen=True)
class Progress:
    """Rows that came to their end since the last report."""

    tally: Tally


@dataclass(frozen=True)
class Done:
    """A shard is committed."""

    number: int
    tally: Tally


@dataclass(frozen=True)
class Failed:
    """The worker ends with this error."""

    kind: str
    message: str


@dataclass(frozen=True)
class Finished:
    """The worker has nothing left to do."""


def run_tasks(tasks: Iterable[Task], setup: Setup) -> Iterator[Progress | Done]:
    """Fetch the shards of `tasks`, and commit each as soon as its last row has come to its end.

    The next task is taken when all requests of the last one are under way, not when its slowest server has answered.
    """
    with Workplace(setup) as place:
        yield from _Run(place).run(tasks)


class _Run:
    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._ready: list[ShardFetch] = []
        self._new = Tally()
        self._told = time.monotonic()

    def run(self, tasks: Iterable[Task]) -> Iterator[Progress | Done]:
        client: Client = self._place.client
        for reply in client.exchange(self._requests(tasks)):
            shard: ShardFetch
            shard, index = reply.request.tag
            judgement = shard.take(index, reply)
            self._new.count(judgement.verdict, judgement.reason, reply.size)
            if shard.complete:
                self._ready.append(shard)
            if self._ready or time.monotonic() - self._told > _TELL_S:
                yield from self._commit()
        yield from self._commit()  # shards of which no row was asked for

    def _requests(self, tasks: Iterable[Task]) -> Iterator[Request]:
        for task in tasks:
            shard = ShardFetch(task, self._place)
            self._new.add(shard.known)
            if shard.complete:
                self._ready.append(shard)
            yield from shard.requests()

    def _commit(self) -> Iterator[Progress | Done]:
        new, self._new, self._told = self._new, Tally(), time.monotonic()
        yield Progress(new)
        while self._ready:
            shard = self._ready.pop()
            yield Done(shard.number, shard.commit())


def main(descriptor: int) -> None:
    """A worker's life: the setup, then tasks until None."""
    parent = Connection(descriptor)
    inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    setup: Setup = parent.recv()
    threading.Thread(target=_receive, args=(parent, inbox), daemon=True).start()

    def tasks() -> Iterator[Task]:
        parent.send(Wanted())
        while (task := inbox.get()) is not None:
            parent.send(Wanted())
            yield task

    try:
        for event in run_tasks(tasks(), setup):
            parent.send(event)
        parent.send(Finished())
    except BezoarError as error:
        parent.send(Failed(type(error).__name__, str(error)))
    except Exception as error:
        if os.environ.get("BEZOAR_DEBUG", "") not in ("", "0"):
            raise
        parent.send(Failed("", f"{type(error).__name__}: {error}"))


def _receive(parent: Connection, inbox: queue.SimpleQueue[Task | None]) -> None:
    """Take what the parent sends, so that it never waits; end this process when there is no parent."""
    try:
        while (task := parent.recv()) is not None:
            inbox.put(task)
        inbox.put(None)
        parent.recv()  # until the parent closes its end
    except (EOFError, OSError):
        os._exit(1)
