"""Opening holds keys, labels and columns, never the content; streaming holds a window of it."""

from __future__ import annotations

import json
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bezoar import data

from .builders import add

COUNT, SIZE = 40, 500_000  # 20 MB of content
CAP = 5_000_000


def _content(i: int) -> bytes:
    return np.random.default_rng(i).bytes(SIZE)


def _folder(path: Path) -> Path:
    for i in range(COUNT):
        (path / f"{i % 2}").mkdir(exist_ok=True)
        (path / f"{i % 2}" / f"{i}.png").write_bytes(_content(i))
    return path


def _parquet(path: Path) -> Path:
    with pq.ParquetWriter(
        path / "a.parquet", pa.schema([("image", pa.binary()), ("label", pa.int64())])
    ) as out:
        for i in range(0, COUNT, 2):
            out.write_table(pa.table({"image": [_content(i), _content(i + 1)], "label": [0, 1]}))
    return path


def _arrow(path: Path) -> Path:
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    with pa.OSFile(str(path / "data.arrow"), "wb") as out, pa.ipc.new_stream(out, schema) as stream:
        for i in range(COUNT):
            stream.write_table(pa.table({"image": [_content(i)], "label": [i % 2]}))
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    return path


def _tar(path: Path) -> Path:
    with tarfile.open(path / "a.tar", "w") as archive:
        for i in range(COUNT):
            add(archive, f"{i}.png", _content(i))
            add(archive, f"{i}.cls", b"01"[i % 2 : i % 2 + 1])
    return path


def _npz(path: Path) -> Path:
    images = np.stack([np.frombuffer(_content(i), np.uint8).reshape(500, 1000) for i in range(COUNT)])
    np.savez(path / "a.npz", images=images, labels=np.arange(COUNT) % 2)
    return path / "a.npz"


def _jsonl(path: Path) -> Path:
    with (path / "a.jsonl").open("w") as out:
        for i in range(COUNT):
            out.write(json.dumps({"text": _content(i)[: SIZE // 2].hex(), "label": i % 2}) + "\n")
    return path / "a.jsonl"


@pytest.mark.parametrize("build", [_folder, _parquet, _arrow, _tar, _npz, _jsonl])
def test_content_is_streamed(build: object, tmp_path: Path) -> None:
    path = build(tmp_path)  # type: ignore[operator]
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        dataset = data.open(path)
        assert pa.total_allocated_bytes() - before < 100_000
        assert tracemalloc.get_traced_memory()[1] < CAP
        assert sum(len(content) for content in dataset.contents()) == COUNT * SIZE
        if build not in (_parquet, _arrow):  # a window of rows is held there
            assert tracemalloc.get_traced_memory()[1] < CAP
    finally:
        tracemalloc.stop()


def test_a_window_is_bounded_by_bytes(tmp_path: Path) -> None:
    """60 records of 4 MB: only a few of them are in memory at a time."""
    file = tmp_path / "a.parquet"
    with pq.ParquetWriter(file, pa.schema([("image", pa.binary()), ("label", pa.int64())])) as out:
        for i in range(60):
            image = np.random.default_rng(i).bytes(4_000_000)
            out.write_table(pa.table({"image": [image], "label": [i % 2]}))
    dataset = data.open(file)
    peak = 0
    for content in dataset.contents():
        assert len(content) == 4_000_000
        peak = max(peak, pa.total_allocated_bytes())
    assert peak < 120_000_000


def test_streams_are_closed(tmp_path: Path) -> None:
    """A reader that is abandoned half-way leaves no file open (ResourceWarning is an error here)."""
    for name, build in (("tar", _tar), ("folder", _folder), ("jsonl", _jsonl)):
        (tmp_path / name).mkdir()
        contents = data.open(build(tmp_path / name)).contents()
        assert isinstance(next(contents), bytes)
        contents.close()  # type: ignore[attr-defined]
