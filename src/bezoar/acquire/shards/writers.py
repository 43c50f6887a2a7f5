"""The ways to lay shards out, by img2dataset's names for them."""

from __future__ import annotations

from collections.abc import Mapping

from bezoar.acquire.shards.dummy import DummyWriter
from bezoar.acquire.shards.files import FilesWriter
from bezoar.acquire.shards.parquet import ParquetWriter
from bezoar.acquire.shards.webdataset import WebDatasetWriter
from bezoar.acquire.shards.writing import ShardWriter
from bezoar.errors import UsageError

WRITERS: Mapping[str, ShardWriter] = {
    writer.name: writer for writer in (WebDatasetWriter(), ParquetWriter(), FilesWriter(), DummyWriter())
}


def writer_of(name: str, image: str = "jpg") -> ShardWriter:
    """The writer of this name; UsageError for another. `image` is the suffix of images where all must have the same."""
    if name == "tfrecord":
        raise UsageError(
            "output format 'tfrecord' needs TensorFlow and is not written; choose webdataset or parquet"
        )
    if name not in WRITERS:
        raise UsageError(f"no output format {name!r}; known: {', '.join(WRITERS)}")
    return WebDatasetWriter(image) if name == WebDatasetWriter.name else WRITERS[name]
