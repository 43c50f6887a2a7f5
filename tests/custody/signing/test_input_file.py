"""Keys and passwords from files, from pipes that are written to, and from what would be waited for for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bezoar.cli.passwords import new_password
from bezoar.custody.signing import input_file
from bezoar.custody.signing.input_file import read_input
from bezoar.custody.signing.keys import is_encrypted, load_private, load_public
from bezoar.errors import InputError
from custody.signing.support import pair


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """A pipe that nobody writes to; who waits for a writer is helped out of it after five seconds."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    ended = threading.Event()

    def free() -> None:
        if not ended.wait(5):
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    thread = threading.Thread(target=free)
    thread.start()
    yield path
    ended.set()
    thread.join()


@pytest.mark.parametrize("read", [load_private, load_public, is_encrypted, new_password])
def test_a_pipe_without_a_writer(read: object, fifo: Path) -> None:
    began = time.monotonic()
    assert callable(read)
    with pytest.raises(InputError, match="a pipe that nobody writes to"):
        read(fifo)
    assert time.monotonic() - began < 4


def test_a_key_and_a_password_through_a_pipe_as_shells_make_it() -> None:
    for content, check in (
        (pair("p256")[1], lambda path: load_public(path)),
        (b"open sesame\n", lambda path: new_password(Path(path))),
    ):
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        try:
            assert check(f"/dev/fd/{reading}")
        finally:
            os.close(reading)


def test_a_pipe_whose_writer_takes_its_time() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        for piece in (b"open ", b"sesame"):
            time.sleep(0.1)
            os.write(writing, piece)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    assert read_input(f"/dev/fd/{reading}", 100) == b"open sesame"
    thread.join()
    os.close(reading)


def test_a_pipe_that_is_never_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_file, "_PATIENCE_S", 0.2)
    reading, writing = os.pipe()
    os.write(writing, b"open ")
    try:
        with pytest.raises(InputError, match="nobody closed this pipe"):
            read_input(f"/dev/fd/{reading}", 100)
    finally:
        os.close(reading)
        os.close(writing)


def test_no_more_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_input(tmp_path / "file", 4) == b"0123"
    assert read_input(tmp_path / "file", 100) == b"0123456789"


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", ".", "missing", "a\0b"])
def test_what_is_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"not an ordinary file|cannot be read"):
        read_input(name, 100)
