from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from bezoar.bench import processes
from bezoar.bench.processes import outcomes
from bezoar.errors import InputError, UsageError


def work(item: str) -> dict[str, Any]:
    """In a process of its own."""
    if item == "dies":
        os._exit(3)
    if item == "refuses":
        raise InputError("no such\nthing")
    if item == "breaks":
        raise ZeroDivisionError("by nought")
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return {
        "status": "done",
        "process": os.getpid(),
        "blocked": blocked,
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def test_each_piece_has_a_process_of_its_own_on_one_thread_that_never_sees_ctrl_c() -> None:
    seen = [outcome for _, outcome in outcomes(iter(["a", "b", "c"]), work, 2)]
    assert len({outcome["process"] for outcome in seen} | {os.getpid()}) == 4
    assert [(outcome["blocked"], outcome["threads"]) for outcome in seen] == [(True, "1")] * 3


def test_what_fails_is_said_in_a_line_and_costs_one_piece() -> None:
    seen = dict(outcomes(iter(["dies", "refuses", "breaks", "works"]), work, 1))
    assert seen.pop("works")["status"] == "done"
    assert {item: outcome["error"] for item, outcome in seen.items()} == {
        "dies": "the process ended with exit code 3",
        "refuses": "no such thing",
        "breaks": "ZeroDivisionError: by nought",
    }


@pytest.mark.parametrize("error", [OSError("AF_UNIX path too long"), EOFError("unexpected EOF")])
def test_a_process_that_cannot_be_started_is_said_in_a_line(error: Exception) -> None:
    class Process:
        def start(self) -> None:
            raise error

    with pytest.raises(UsageError, match=str(error)):
        processes._start(Process())
