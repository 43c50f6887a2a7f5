"""What the writers write opens whole in `bezoar.open`, with captions and without what changes from run to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bezoar import data
from bezoar.acquire.shards import PROVENANCE_SCHEMA, WRITERS

from .support import kept, provenance

FORMATS = {"webdataset": "webdataset", "parquet": "parquet", "files": "folder"}
VOLATILE = {"peer", "fetched", "run_id", "attempts", "http_status", "final_url", "etag", "last_modified"}


def written(folder: Path, name: str, *, caption: str | None = "", run: str = "1") -> Path:
    folder.mkdir()
    for shard in range(3):
        WRITERS[name].write(
            folder, shard, iter(kept(shard, caption=caption)), provenance(shard, caption=caption, run=run), {}
        )
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_every_record_that_was_kept_is_there(name: str, tmp_path: Path) -> None:
    dataset = data.open(written(tmp_path / "out", name))
    expected = [record for shard in range(3) for record in kept(shard)]
    assert dataset.format == FORMATS[name]
    assert [record.content for record in dataset] == [record.content for record in expected]
    assert [Path(key).name.removesuffix(".jpg").removesuffix(".png") for key in dataset.keys.to_pylist()] == [
        record.key for record in expected
    ]
    for found, record in zip(dataset, expected, strict=True):
        assert found.label is None
        assert (
            found.source["caption"],
            found.source["url"],
            found.source["lang"],
            found.source["list_width"],
        ) == (
            record.row.caption,
            record.row.url,
            "de",
            record.row.extra["width"],
        )


@pytest.mark.parametrize("name", FORMATS)
def test_what_opens_is_the_same_after_another_run(name: str, tmp_path: Path) -> None:
    first, second = (data.open(written(tmp_path / run, name, run=run)) for run in ("1", "2"))
    assert first.digest == second.digest
    assert first.columns.to_pylist()[3].keys() & VOLATILE == set()
    assert str(first.columns.to_pylist()) == str(second.columns.to_pylist())  # NaN equals nothing
    assert set(PROVENANCE_SCHEMA.names) > VOLATILE


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_without_captions(name: str, tmp_path: Path) -> None:
    dataset = data.open(written(tmp_path / "out", name, caption=None))
    assert len(dataset) == 18
    assert {record.source.get("caption") for record in dataset} == {None}
