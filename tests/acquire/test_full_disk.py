"""A full disk is one line, and nothing half-written stays behind."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from acquire.fetch_support import pictures, remnants, run, site_of, write_list
from acquire.servers import serve
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
