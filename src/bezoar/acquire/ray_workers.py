"""The same shards, fetched by the machines of a Ray cluster (https://docs.ray.io), which must all see the output's folder.

Whoever may send work to a cluster may run code on it: what Ray itself trusts is not checked here. What its machines fetch is.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from bezoar.acquire.run_state import pinned
from bezoar.acquire.shard_fetch import Task
from bezoar.acquire.worker import Done, Failed, Progress, run_tasks
from bezoar.acquire.workers import error_of
from bezoar.acquire.workplace import Setup
from bezoar.errors import BezoarError, InputError

_ANSWER_S = 10
_AHEAD = 2  # shards that a worker has at a time: its connections never wait for the next one


class RayWorkers:
    """`with RayWorkers(8, setup) as workers: for event in workers.run(tasks)`, as `Workers`; each takes one core of the cluster.

    It joins the cluster that RAY_ADDRESS names, or that is joined already; without any, it starts one on this machine. Without
    a number of workers, there are as many as the cluster has cores.
    """

    def __init__(self, count: int | None, setup: Setup) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that we start reports to nobody
        import ray

        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            _check_address(os.environ.get("RAY_ADDRESS", ""))
            try:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                line = " ".join(str(error).split())[:200]
                raise BezoarError(
                    f"no Ray cluster can be joined or started ({line}); check RAY_ADDRESS"
                ) from error
        worker = ray.remote(num_cpus=1)(_Worker)
        cores = int(ray.cluster_resources().get("CPU", 0))
        self._workers: list[Any] = []
        if not cores:
            self._stop()
            raise BezoarError(
                "the Ray cluster has no core to fetch with; give its machines some (--num-cpus)"
            )
        self._workers = [worker.remote(setup) for _ in range(min(count or cores, cores))]

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        for worker in self._workers:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(worker)
        if self._started:
            self._ray.shutdown()

    def run(self, tasks: Iterator[Task]) -> Iterator[Progress | Done]:
        """What the workers report until all tasks are done; BezoarError as soon as one of them fails."""
        busy = {
            worker.fetch.remote(task): worker
            for worker, task in zip(
                self._workers * _AHEAD, islice(tasks, _AHEAD * len(self._workers)), strict=False
            )
        }
        while busy:
            (ready,), _ = self._ray.wait(list(busy), num_returns=1)
            worker = busy.pop(ready)
            yield from self._heard(ready)
            for task in islice(tasks, 1):
                busy[worker.fetch.remote(task)] = worker

    def _heard(self, reference: Any) -> list[Progress | Done]:
        try:
            events: list[Progress | Done] | Failed = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            line = " ".join(str(error).split())[:200]
            raise BezoarError(
                f"a worker of the Ray cluster ended ({line}); finished shards are safe, the same command goes on"
            ) from error
        if isinstance(events, Failed):
            raise error_of(events)
        return events


def _check_address(address: str) -> None:
    """BezoarError when nobody answers there: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # "auto", "local", or none
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise BezoarError(f"RAY_ADDRESS {address}: no Ray cluster answers there ({error})") from error


class _Worker:
    """Fetches shards, in a process that Ray started somewhere."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def fetch(self, task: Task) -> list[Progress | Done] | Failed:
        """What there is to report of the shard, once it is committed."""
        if not self._sees_output():
            return Failed(
                "OutputError",
                f"{self._setup.state.folder}: is not there on {platform.node()}; put the output on storage that all machines "
                "of the cluster share",
            )
        try:
            return list(run_tasks([task], self._setup))
        except BezoarError as error:
            return Failed(type(error).__name__, str(error))

    def _sees_output(self) -> bool:
        state = self._setup.state
        try:
            return bool(pinned(state.out)["run_id"] == state.run_id)
        except InputError:
            return False
