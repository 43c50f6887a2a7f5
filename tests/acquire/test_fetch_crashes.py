"""Killed at any moment, resumed, and it is as if nothing had happened.

`BEZOAR_KILLS` is how many times whole process groups are killed at random (6); every single step has a test of its own.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acquire.fetch_support import (
    data_files,
    images_of,
    pictures,
    remnants,
    rows_of,
    run,
    site_of,
    stable_provenance,
    write_list,
)
from acquire.servers import Asked, in_turn, page, serve
from bezoar.acquire import Retry
from bezoar.acquire.fetching import Interrupted
from bezoar.acquire.run_state import locked

KILLS = int(os.environ.get("BEZOAR_KILLS", "6"))
STEPS = ("replace", "rename", "unlink", "rmdir", "fsync", "link", "mkdir")


def dies_at(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that kills itself before its `step`th change to the disk; whether it got that far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the server's thread stays behind, which is meant
        child = os.fork()
    if not child:
        done = 0

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **more: Any) -> Any:
                nonlocal done
                done += 1
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **more)

            return counted

        for name in STEPS:
            setattr(os, name, counting(getattr(os, name)))
        try:
            work()
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


@pytest.mark.parametrize("form", ["webdataset", "parquet", "files"])
def test_a_fetch_that_dies_at_any_step_is_resumed_to_the_same_output(form: str, tmp_path: Path) -> None:
    contents = pictures(6)
    how = {"output_format": form, "per_shard": 3}
    with serve(site_of(contents, _1=page(b"other"))) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "whole", **how)
        want, rows = data_files(tmp_path / "whole"), stable_provenance(tmp_path / "whole")
        out, step = tmp_path / "out", 1
        while dies_at(step, lambda: run(path, out, **how)):
            run(path, out, **how)
            assert data_files(out) == want, step
            assert stable_provenance(out) == rows
            assert not remnants(out)
            shutil.rmtree(out)
            shutil.rmtree(tmp_path / "out.fetch")
            step += 1
    assert step > 20


@pytest.mark.parametrize("form", ["webdataset", "parquet", "files"])
def test_a_retry_that_dies_at_any_step_loses_nothing(form: str, tmp_path: Path) -> None:
    """Every server but one is gone by then: what was kept has to be kept."""
    contents = pictures(6)
    how: dict[str, Any] = {"output_format": form, "per_shard": 3}
    honest = site_of(contents)
    with serve(honest) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "whole", **how)
        want, rows = data_files(tmp_path / "whole"), stable_provenance(tmp_path / "whole")
        server.site = site_of(contents, _4=page(b"later", 503))
        run(path, tmp_path / "begun", **how)
        server.site = {"/4.jpg": honest["/4.jpg"]}
        out, step = tmp_path / "out", 1
        while True:
            shutil.copytree(tmp_path / "begun", out)
            shutil.copytree(tmp_path / "begun.fetch", tmp_path / "out.fetch")
            if not dies_at(step, lambda: run(path, out, retry=Retry.PASSING, **how)):
                break
            run(path, out, retry=Retry.PASSING, **how)
            assert data_files(out) == want, step
            assert stable_provenance(out) == rows
            assert not remnants(out)
            assert not (tmp_path / "out.fetch" / "staged").exists()
            shutil.rmtree(out)
            shutil.rmtree(tmp_path / "out.fetch")
            step += 1
    assert step > 10


@pytest.mark.slow
def test_killed_at_random_again_and_again_the_root_is_the_same(tmp_path: Path) -> None:
    """Real processes, killed in a group, wherever they are; each output is resumed until it is whole."""
    contents = pictures(240)

    def slow(asked: Asked) -> Iterator[bytes | float]:
        yield 0.02
        yield page(contents[asked.path] if asked.path != "/17.jpg" else b"other", connection="close")

    source = random.Random(0)  # noqa: S311 - moments, not secrets
    kills = 0
    with serve(slow) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "whole", processes=2)
        want = (data_files(tmp_path / "whole"), stable_provenance(tmp_path / "whole"))
        root = _root(tmp_path / "whole")
        while kills < KILLS:
            out = tmp_path / f"out{kills}"
            while True:
                process = _start(path, out)
                patience = source.uniform(0.2, 2.5) if kills < KILLS else None
                try:
                    _, errors = process.communicate(timeout=patience)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    kills += 1
                    _assert_free(out)
                    continue
                assert process.returncode == 1, errors
                break
            assert (data_files(out), stable_provenance(out)) == want
            assert _root(out) == root
            assert not remnants(out)
            assert len(images_of(out)) == 239
            assert rows_of(out, "reason").count("hash_mismatch") == 1
            shutil.rmtree(out)


def _start(path: Path, out: Path, processes: int = 2) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "bezoar", "fetch", path, out, "--number_sample_per_shard", "10", "--processes_count", processes,
        "--thread_count", "8", "--allow-host", "127.0.0.1", "--retries", "0",
    ]  # fmt: skip
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _assert_free(out: Path) -> None:
    """The whole group is dead, and with it the lock."""
    with locked(out):
        pass


def _root(out: Path) -> bytes:
    """The root of the snapshot that a seal of this output would have."""
    from bezoar.custody.seal.sealing import seal
    from bezoar.custody.signing.keys import generate, load_private
    from bezoar.custody.signing.signers import KeySigner

    key = out.with_name("key.pem")
    if not key.exists():
        key.write_bytes(generate("p256", None)[0])
    return seal(out, KeySigner(load_private(key)), out=out.with_name(f"{out.name}.seal"), full=True).root


def test_a_worker_without_a_parent_ends_and_only_then_is_the_lock_free(tmp_path: Path) -> None:
    contents = pictures(40)

    def slow(asked: Asked) -> Iterator[bytes | float]:
        yield 0.3
        yield page(contents[asked.path], connection="close")

    with serve(slow) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        process = _start(path, tmp_path / "out")
        while not server.asked:
            time.sleep(0.02)
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        _wait_until_free(tmp_path / "out")
        asked = len(server.asked)
        time.sleep(0.5)
        assert len(server.asked) == asked
        assert run(path, tmp_path / "out").tally.verified == 40


def _wait_until_free(out: Path) -> None:
    from bezoar.errors import OutputError

    until = time.monotonic() + 10
    while True:
        try:
            with locked(out):
                return
        except OutputError:
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_is_one_line_and_nothing_is_lost(processes: int, tmp_path: Path) -> None:
    contents = pictures(60)

    def slow(asked: Asked) -> Iterator[bytes | float]:
        yield 0.1
        yield page(contents[asked.path], connection="close")

    with serve(slow) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        process = _start(path, tmp_path / "out", processes)
        while len(server.asked) < 45:
            time.sleep(0.02)
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130
        assert len(errors.strip().splitlines()) == 1
        assert "the same command goes on" in errors
        assert not remnants(tmp_path / "out")
        report = run(path, tmp_path / "out")
    assert report.tally.verified == 60
    assert report.resumed >= 1


def test_ctrl_c_leaves_nothing_of_a_worker_that_was_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def interrupted(*_: object) -> None:
        (out / ".00001.parquet.partial").write_bytes(b"PAR1")
        (out.with_name("out.fetch") / ".state.partial").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("bezoar.acquire.fetching._Run.go", interrupted)
    with serve({}) as server, pytest.raises(Interrupted):
        run(write_list(tmp_path / "list.csv", server.url, pictures(2)), out)
    assert out.is_dir()
    assert not remnants(out)


def test_a_killed_worker_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    contents = pictures(40)

    def slow(asked: Asked) -> Iterator[bytes | float]:
        yield 0.2
        yield page(contents[asked.path], connection="close")

    with serve(slow) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        process = _start(path, tmp_path / "out")
        while not server.asked:
            time.sleep(0.02)
        os.kill(_child(process.pid), signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "was killed (SIGKILL)" in errors
        assert len(errors.strip().splitlines()) == 1
        assert run(path, tmp_path / "out").tally.verified == 40


def _child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("the system does not tell a process's children")
    return int(children.read_text().split()[0])


def test_a_retry_asks_only_for_what_may_have_passed(tmp_path: Path) -> None:
    contents = pictures(12)
    site = site_of(
        contents,
        _1=in_turn(page(b"", 503), page(contents["/1.jpg"])),
        _2=page(b"gone", 404),
        _3=in_turn(page(b"other"), page(contents["/3.jpg"])),
    )
    with serve(site) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        first = run(path, tmp_path / "out")
        assert first.tally.rejected == {"http_status": 2, "hash_mismatch": 1}
        server.asked.clear()
        second = run(path, tmp_path / "out", retry=Retry.PASSING)
        assert server.targets() == ["/1.jpg"]
        assert (second.tally.verified, second.resumed) == (10, 1)
        server.asked.clear()
        third = run(path, tmp_path / "out", retry=Retry.ALL)
        assert sorted(server.targets()) == ["/2.jpg", "/3.jpg"]
        assert third.tally.rejected == {"http_status": 1}
        server.site = site_of(contents, _2=page(b"gone", 404))
        run(path, tmp_path / "straight")
    assert data_files(tmp_path / "out") == data_files(tmp_path / "straight")
    assert stable_provenance(tmp_path / "out") == stable_provenance(tmp_path / "straight")
    from bezoar.acquire.quarantine.store import Quarantine

    store = Quarantine.at(third.state / "quarantine")
    assert not store.entries()
    assert [entry.how for entry in store.settled()] == ["refetched"]


def test_a_retry_may_be_more_generous_and_stays_so(tmp_path: Path) -> None:
    from bezoar.acquire import Limits

    contents = pictures(3)
    small = Limits(max_bytes=10)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        assert run(path, tmp_path / "out", limits=small).tally.rejected == {"too_large": 3}
        assert run(path, tmp_path / "out", retry=Retry.ALL).tally.verified == 3
        assert run(path, tmp_path / "out").resumed == 1
