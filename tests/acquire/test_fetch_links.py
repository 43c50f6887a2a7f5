"""A link in an output leads nowhere: nothing outside is written, replaced or removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from acquire.fetch_support import pictures, run, site_of, write_list
from acquire.servers import page, serve
from acquire.shards.support import kept, provenance
from bezoar.acquire import Retry
from bezoar.acquire.replacing import replace_shard
from bezoar.acquire.shards import WRITERS, is_complete
from bezoar.errors import OutputError

CONTENTS = pictures(4)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / ".keep.partial").write_text("mine")
    return folder


def untouched(outside: Path) -> bool:
    return {path.name: path.read_text() for path in outside.iterdir()} == {".keep.partial": "mine"}


@pytest.mark.parametrize(
    ("form", "name"),
    [("parquet", "__provenance__"), ("files", "00000"), ("webdataset", "__provenance__"), ("files", "elsewhere")],
)  # fmt: skip
@pytest.mark.parametrize("retry", [Retry.NOTHING, Retry.PASSING])
def test_a_fetch_refuses_to_go_on_through_a_link(
    form: str, name: str, retry: Retry, outside: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS, _2=page(b"", 503))) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out, output_format=form, per_shard=2)
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).symlink_to(outside)
        server.asked.clear()
        with pytest.raises(OutputError, match=rf"{name}: is a link; .* remove it") as caught:
            run(path, out, output_format=form, per_shard=2, retry=retry)
        assert not server.asked
        assert "\n" not in str(caught.value)
        assert untouched(outside)
        (out / name).unlink()
        assert run(path, out, output_format=form, per_shard=2, retry=Retry.ALL).tally.rows == 4


@pytest.mark.parametrize(("form", "name"), [("parquet", "__provenance__"), ("files", "00000")])
def test_a_writer_refuses_to_write_through_a_link(
    form: str, name: str, outside: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(outside)
    with pytest.raises(OutputError, match=f"{name}: is a link"):
        WRITERS[form].write(out, 0, kept(0), provenance(0), {"count": 7})
    assert untouched(outside)


def test_a_file_on_its_way_is_not_written_through_a_link(outside: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".00000.tar.partial").symlink_to(outside / ".keep.partial")
    with pytest.raises(OutputError):
        WRITERS["webdataset"].write(out, 0, kept(0), provenance(0), {"count": 7})
    assert untouched(outside)


def test_a_shard_is_not_replaced_through_a_link(outside: Path, tmp_path: Path) -> None:
    out, staged = tmp_path / "out", tmp_path / "staged"
    for folder in (out, staged):
        folder.mkdir()
    WRITERS["parquet"].write(staged, 0, kept(0), provenance(0), {"count": 7})
    (out / "__provenance__").symlink_to(outside)
    with pytest.raises(OutputError, match="__provenance__: is a link"):
        replace_shard(staged, out, 0)
    assert untouched(outside)


@pytest.mark.parametrize(("form", "name"), [("parquet", "__provenance__"), ("files", "00000")])
def test_a_shard_behind_a_link_is_not_complete(form: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    WRITERS[form].write(out, 0, kept(0), provenance(0), {"count": 7})
    assert is_complete(out, 0, WRITERS[form])
    (out / name).rename(tmp_path / "moved")
    (out / name).symlink_to(tmp_path / "moved")
    assert not is_complete(out, 0, WRITERS[form])
