"""Two processes that append at once, and processes that are killed while they append."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bezoar.custody.tlog.log import CustodyLog

from .support import item, items, make_log, signer

LOOPS = int(os.environ.get("BEZOAR_CRASH_LOOPS", "5"))
TESTS = Path(__file__).parents[2]

WRITER = """
import sys
from bezoar.custody.tlog.log import CustodyLog
from custody.log.support import items, signer
folder, word, start, step, end = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
log = CustodyLog.open(folder)
for number in range(start, end, step):
    print(*log.append(items(number, number + step, word), signer()), flush=True)
"""


def writer(folder: Path, word: str, start: int, step: int, end: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), word, str(start), str(step), str(end)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    make_log(tmp_path / "log")
    writers = [writer(tmp_path / "log", word, 0, 7, 210) for word in ("left", "right")]
    outputs = [process.communicate(timeout=60)[0] for process in writers]
    assert [process.returncode for process in writers] == [0, 0]
    log = CustodyLog.open(tmp_path / "log")
    assert log.verify().problems == ()
    entries = [json.loads(entry.data) for entry in log.entries()]
    assert len(entries) == 420
    for word, output in zip(("left", "right"), outputs, strict=True):
        told = [int(index) for index in output.split()]
        assert [entries[index]["number"] for index in told] == list(range(210))
        assert {entries[index]["word"] for index in told} == {word}


def test_kill_9_never_leaves_a_log_that_is_wrong_or_stuck(tmp_path: Path) -> None:
    """Each round: a writer is killed at a random moment, the log verifies, what was reported is there, and it goes on."""
    chance = random.Random(4)  # noqa: S311 - moments, not secrets
    log = make_log(tmp_path / "log")
    caught = Counter[str]()
    began = time.monotonic()
    for loop in range(LOOPS):
        step = chance.choice([1, 3, 40, 300])
        with writer(tmp_path / "log", f"loop {loop}", 0, step, 1_000_000) as process:
            assert process.stdout is not None
            told = process.stdout.readline().split()  # it is at work
            time.sleep(chance.random() * 0.25)
            process.send_signal(signal.SIGKILL)
            told += process.stdout.read().split()
            assert process.wait() == -signal.SIGKILL
        caught["within" if struck_within(tmp_path / "log") else "between"] += 1
        log.reload()
        assert log.verify().problems == ()
        assert int(told[-1]) < log.size
        before = log.size
        assert log.append([item(loop, "after the crash")], signer()) == [before]
        assert log.verify().problems == ()
    took = time.monotonic() - began
    print(f"{LOOPS} kills in {took:.0f} s, {log.size} entries; appends struck: {dict(caught)}")  # noqa: T201


def struck_within(folder: Path) -> bool:
    """Whether the writer was killed within an append: it has written something since the checkpoint."""
    last = (folder / "checkpoint").stat().st_mtime_ns
    return any(path.stat().st_mtime_ns > last for path in folder.rglob("*") if path.name != ".lock")


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_crash_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The append that fails at its n-th rename or fsync, for every n, leaves the old log or the new one."""
    log = make_log(tmp_path / "log", 250)
    real, left = getattr(os, call), [0]

    def failing(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    step, done = 0, False
    while not done:
        before = log.size
        left[0] = step
        monkeypatch.setattr(os, call, failing)
        try:
            log.append(items(before, before + 7, f"step {step}"), signer())
            done = True
        except KeyboardInterrupt:
            step += 1
        monkeypatch.setattr(os, call, real)
        log = CustodyLog.open(tmp_path / "log")
        assert log.size in (before, before + 7)
        assert log.verify().problems == ()
    assert step > 10
    entries = [json.loads(entry.data) for entry in log.entries()]
    assert [entry["number"] for entry in entries] == list(range(log.size))
