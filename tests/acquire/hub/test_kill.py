"""Killed at random moments, the same command goes on and comes to the same files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from acquire.hub.hub_site import HubSite
from acquire.servers import Asked, Script, head, serve

KILLS = 8


def test_kill_9_and_go_on(tmp_path: Path) -> None:
    chance = random.Random(5)  # noqa: S311 - moments, not secrets
    lfs = {f"data/{n}.bin": chance.randbytes(400_000) for n in range(6)}
    site = HubSite(files={"README.md": b"# Signs\n"}, lfs=lfs)

    def slow(asked: Asked) -> Script:
        body = lfs[asked.path.partition("/resolve/")[2].partition("/")[2]]
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        more = {"content_range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        yield head(206 if start else 200, content_length=len(body) - start, **more)
        for place in range(start, len(body), 20_000):
            yield body[place : min(place + 20_000, len(body))]
            yield 0.04

    site.sent = dict.fromkeys(lfs, slow)
    out = tmp_path / "out"
    with serve(site) as server:
        command = [sys.executable, "-m", "bezoar", "fetch", "hf://datasets/ann/signs", str(out)]
        environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_TOKEN": ""}
        resumed = 0
        for _ in range(KILLS):
            running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            before = len(server.asked)
            while len(server.asked) == before and running.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.4))
            running.send_signal(signal.SIGKILL)
            running.wait()
            resumed += any("range" in asked.headers for asked in server.asked[before:])
            there = {
                path.relative_to(out).as_posix(): path.read_bytes()
                for path in out.rglob("*")
                if path.is_file()
            }
            assert all(({**site.files, **lfs})[name] == content for name, content in there.items())
        site.sent.clear()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert resumed
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == {**site.files, **lfs}
    assert not list((tmp_path / "out.fetch" / "parts").iterdir())
