"""A full disk is one line, and nothing half-written stays behind."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from acquire.fetch_support import images_of, pictures, remnants, run, site_of, write_list
from acquire.servers import page, serve
from bezoar.acquire import Retry
from bezoar.acquire.shards import Spool
from bezoar.errors import OutputError

CONTENTS = pictures(4)


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_pictures_as_files_leave_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, done = Path.write_bytes, []

    def write(path: Path, content: bytes) -> int:
        done.append(path)
        return int(full() if len(done) == 3 else real(path, content))

    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write)
            with pytest.raises(OutputError, match="No space left") as caught:
                run(path, tmp_path / "out", output_format="files")
        assert "\n" not in str(caught.value)
        assert len(done) == 3
        assert list((tmp_path / "out").iterdir()) == []
        assert run(path, tmp_path / "out", output_format="files").tally.verified == 4


def test_a_half_folder_of_a_killed_fetch_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out, output_format="files")
        (out / ".00001.partial").mkdir()
        (out / ".00001.partial" / "x.jpg").write_bytes(b"x")
        run(path, out, output_format="files").refuse_foreign()
    assert not remnants(out)


def test_what_is_held_on_disk_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, Spool(tmp_path, memory=0) as spool:
        patch.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(OutputError, match="No space left"):
            spool.put(1, b"content")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_is_held_on_disk_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, Spool(tmp_path, memory=0) as spool:
        patch.setattr(
            tempfile,
            "TemporaryFile",
            lambda **how: open("/dev/full", "r+b", buffering=how.get("buffering", -1)),  # noqa: SIM115
        )
        with pytest.raises(OutputError, match="No space left"):
            spool.put(1, b"content")


@pytest.mark.parametrize("step", ["mkdir", "replace"])
def test_a_shard_that_is_written_anew(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS, _1=page(b"", 503))) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out)
        server.site = site_of(CONTENTS)
        with monkeypatch.context() as patch:
            if step == "mkdir":
                real = Path.mkdir
                patch.setattr(
                    Path,
                    "mkdir",
                    lambda self, *a, **how: full() if self.name == "00000" else real(self, *a, **how),
                )
            else:
                patch.setattr("bezoar.acquire.replacing.os.replace", _full_in(out))
            with pytest.raises(OutputError, match="No space left") as caught:
                run(path, out, retry=Retry.PASSING)
        assert "\n" not in str(caught.value)
        assert run(path, out, retry=Retry.PASSING).tally.verified == 4
    assert len(images_of(out)) == 4
    assert not remnants(out)


def _full_in(out: Path) -> Any:
    """`os.replace`, for which only `out` is full."""
    real = os.replace
    return lambda source, target: full() if Path(target).parent == out else real(source, target)
