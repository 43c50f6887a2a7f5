"""Shards as plain files: NNNNN/KEY.jpg, KEY.txt and KEY.json, as img2dataset writes them; NNNNN.parquet is the provenance."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.shards.durable import Written, as_output_error, refuse_link
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import write_provenance
from bezoar.acquire.shards.writing import Kept, commit, sample_json
from bezoar.files import sync_folder

if TYPE_CHECKING:
    import pyarrow as pa


class FilesWriter:
    """NNNNN/, NNNNN.parquet, NNNNN_stats.json."""

    name = "files"

    def write(
        self, folder: Path, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> Mapping[str, Written]:
        """As `ShardWriter.write`. The folder is filled under another name; one `sync` serves all of its files."""
        name = shard_name(number)
        target, temporary = folder / name, folder / f".{name}.partial"
        with commit(folder, number, self.name, stats) as written:
            shutil.rmtree(temporary, ignore_errors=True)
            refuse_link(target)
            try:
                with as_output_error(target):
                    temporary.mkdir()
                    for sample in kept:
                        for suffix, content in _members(sample):
                            (temporary / f"{sample.key}.{suffix}").write_bytes(content)
                            digest = hashlib.sha256(content).hexdigest()
                            written[f"{name}/{sample.key}.{suffix}"] = Written(digest, len(content))
                    os.sync()
                    shutil.rmtree(target, ignore_errors=True)
                    temporary.rename(target)
                    sync_folder(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            write_provenance(folder / f"{name}.parquet", provenance, written)
        return written


def _members(sample: Kept) -> Iterable[tuple[str, bytes]]:
    yield sample.suffix, sample.content
    if sample.row.caption is not None:
        yield "txt", sample.row.caption.encode("utf-8", "replace")
    yield "json", sample_json(sample)
