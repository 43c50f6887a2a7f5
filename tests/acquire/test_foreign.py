"""What a fetch did not bring is not sealed, and the log does not hear of it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from acquire.fetch_support import pictures, run, site_of, write_list
from acquire.quarantine.desk import Desk
from acquire.servers import serve
from bezoar.errors import InputError

CONTENTS = pictures(4)


def shard(out: Path) -> None:
    """A shard more, with stats that name it."""
    with tarfile.open(out / "00002.tar", "w") as archive:
        for name, content in (
            ("000020.jpg", CONTENTS["/0.jpg"]),
            ("000020.json", b'{"url": "http://evil/"}'),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    shutil.copy(out / "00001.parquet", out / "00002.parquet")
    shutil.copy(out / "00001_stats.json", out / "00002_stats.json")


def named_by_the_stats(out: Path) -> None:
    """A file that the stats of a finished shard name, with its digest."""
    import hashlib

    path = out / "00000_stats.json"
    stats = json.loads(path.read_text())
    (out / "00000.csv").write_text("poison")
    stats["files"]["00000.csv"] = {"sha256": hashlib.sha256(b"poison").hexdigest(), "size": 6}
    path.write_text(json.dumps(stats))


def file_at(name: str) -> Callable[[Path], None]:
    def write(out: Path) -> None:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("x")

    return write


@pytest.mark.parametrize(
    ("form", "put", "named"),
    [
        ("webdataset", shard, "00002"),
        ("webdataset", named_by_the_stats, "00000.csv"),
        ("webdataset", file_at(".hidden"), ".hidden"),
        ("webdataset", file_at("00000/000000.jpg"), "00000/000000.jpg"),
        ("webdataset", file_at("00001.tar.bak"), "00001.tar.bak"),
        ("parquet", file_at("__provenance__/00009.parquet"), "__provenance__/00009.parquet"),
        ("parquet", file_at("00002.parquet"), "00002.parquet"),
        ("files", file_at("00002/000020.jpg"), "00002/000020.jpg"),
        ("files", file_at("notes.txt"), "notes.txt"),
    ],
)
def test_a_file_of_no_shard_is_named(
    form: str, put: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        report = run(path, tmp_path / "out", output_format=form, per_shard=2)
        report.refuse_foreign()
        put(tmp_path / "out")
        again = run(path, tmp_path / "out", output_format=form, per_shard=2)
    with pytest.raises(InputError, match="which this fetch did not bring") as caught:
        again.refuse_foreign()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_that_came_in_after_the_fetch_is_named(tmp_path: Path) -> None:
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        report = run(path, tmp_path / "out", output_format="files", per_shard=2)
    (tmp_path / "out" / "00001" / "000019.jpg").write_bytes(CONTENTS["/0.jpg"])
    with pytest.raises(InputError, match=r"'00001/000019\.jpg'"):
        report.refuse_foreign()


def test_a_link_that_came_in_after_the_fetch_is_named(tmp_path: Path) -> None:
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        report = run(path, tmp_path / "out")
    (tmp_path / "out" / "more").symlink_to(tmp_path)
    with pytest.raises(InputError, match="'more'"):
        report.refuse_foreign()


def test_what_no_seal_covers_may_lie_there(tmp_path: Path) -> None:
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        report = run(path, tmp_path / "out")
    (tmp_path / "out" / ".git").mkdir()
    (tmp_path / "out" / ".git" / "config").write_text("")
    (tmp_path / "out" / ".gitattributes").write_text("")
    report.refuse_foreign()


def test_more_records_than_were_kept_are_not_logged(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = desk.output("out", {f"{n:06d}": bytes([n]) for n in range(3)})
    with pytest.raises(InputError, match="holds 3 records where the fetch kept 2"):
        desk.account(out, records=2)
    assert desk.log.size == 0
    desk.account(out, records=3)
    assert desk.log.size
