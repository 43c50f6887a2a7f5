"""`kill -9` at any moment of sealing leaves a complete seal, or none at the first time, and the next one goes on.

BEZOAR_CRASH_LOOPS sets how often a process is killed (a few by default, hundreds before a release).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bezoar.custody.seal import replacing
from bezoar.custody.seal.reading import Seal
from bezoar.custody.seal.replacing import current, replaced_folder
from bezoar.custody.signing.keys import public_pem
from bezoar.errors import OutputError
from custody.seal.support import KEY, checked, plain_folder, sealed

LOOPS = int(os.environ.get("BEZOAR_CRASH_LOOPS", "6"))
_CHILD = """
import sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from bezoar.custody.seal.sealing import seal
from bezoar.custody.signing.signers import KeySigner
signer = KeySigner(load_pem_private_key(open(sys.argv[2], "rb").read(), None))
print("ready", flush=True)
while True:
    seal(sys.argv[1], signer)
"""


def _key(folder: Path) -> Path:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = folder / "maker.key"
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert public_pem(KEY.public_key())
    return path


def _data(folder: Path) -> Path:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps({"text": str(n), "label": n % 2}) + "\n" for n in range(2000)))
    return path


def test_kill_in_a_loop(tmp_path: Path) -> None:
    path, key = _data(tmp_path), _key(tmp_path)
    wait = random.Random(0)  # noqa: S311 - moments, not secrets
    complete = False
    for _ in range(LOOPS):
        with subprocess.Popen([sys.executable, "-c", _CHILD, path, key], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(wait.uniform(0.01, 0.6))
            child.kill()
        there = (tmp_path / "t.jsonl.seal").exists()
        assert there or not complete  # once there is a seal, there is always one
        if there:
            complete = True
            assert checked(path).valid
    sealed(path)
    assert checked(path).valid
    remnants = [entry.name for entry in tmp_path.iterdir() if entry.name.endswith((".partial", ".previous"))]
    assert remnants == []


def test_two_sealers_at_once(tmp_path: Path) -> None:
    path, key = _data(tmp_path), _key(tmp_path)
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD, path, key], stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        end = time.monotonic() + 60
        while not (tmp_path / "t.jsonl.seal").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        assert [child.poll() for child in children] == [None, None]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert checked(path).valid


def test_who_looks_while_it_is_replaced_sees_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with replaced_folder(path) as folder:
        (folder / "file").write_text("0")
    seen, stop = set(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add((path / "file").read_text())  # FileNotFoundError would fail the test

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(1, 30):
            with replaced_folder(path) as folder:
                (folder / "file").write_text(str(number))
    finally:
        stop.set()
        watcher.join()
    assert len(seen) > 1
    assert seen <= {str(n) for n in range(30)}
    assert (path / "file").read_text() == "29"


def test_another_writer_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    with replaced_folder(path) as one:
        (one / "file").write_text("one")
        with replaced_folder(path) as two:
            (two / "file").write_text("two")
        real = Path.exists
        monkeypatch.setattr(
            Path, "exists", lambda self: self != path and real(self)
        )  # as it was a moment ago
    monkeypatch.undo()
    assert (path / "file").read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_another_writer_takes_the_new_folder_for_a_remnant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, removed = tmp_path / "folder", os.open, []

    def open_late(place: Path, flags: int) -> int:
        if not removed and Path(place).suffix == ".partial":
            Path(place).rmdir()
            removed.append(place)
        return real(place, flags)

    monkeypatch.setattr(replacing.os, "open", open_late)
    with replaced_folder(path) as folder:
        (folder / "file").write_text("one")
    assert len(removed) == 1
    assert (path / "file").read_text() == "one"


def test_nothing_is_replaced_when_writing_fails(tmp_path: Path) -> None:
    path = plain_folder(tmp_path / "files")
    before = sealed(path).root
    with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / "files.seal") as folder:
        (folder / "bundle.sig").write_text(str(1 // 0))
    assert Seal.open(tmp_path / "files.seal").root == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["files", "files.seal"]


def test_a_file_system_that_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "_exchange", lambda one, two: False)
    path = plain_folder(tmp_path / "files")
    for content in (b"1", b"2", b"3"):
        (path / "a.bin").write_bytes(content)
        sealed(path)
        assert checked(path).valid
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["files", "files.seal"]


def test_a_crash_between_the_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain_folder(tmp_path / "files")
    sealed(path)
    (tmp_path / "files.seal").rename(tmp_path / ".files.seal.previous")
    assert current(tmp_path / "files.seal").name == ".files.seal.previous"
    assert checked(path).valid
    sealed(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["files", "files.seal"]


def test_remnants_are_removed_and_living_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    remnant = tmp_path / ".folder.0123abcd.partial"
    remnant.mkdir()
    (remnant / "file").write_text("x")
    (tmp_path / ".folder.0123abcd.partial2").mkdir()
    with replaced_folder(path) as one:
        assert not remnant.exists()
        (one / "file").write_text("one")
        with replaced_folder(path) as two:
            assert one.exists()
            (two / "file").write_text("two")
        assert (path / "file").read_text() == "two"
    assert (path / "file").read_text() == "one"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".folder.0123abcd.partial2", "folder"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replacing.os, "fsync", full)
    with (
        pytest.raises(OutputError, match="the disk is full; what was there is unchanged"),
        replaced_folder(tmp_path / "x") as f,
    ):
        (f / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
