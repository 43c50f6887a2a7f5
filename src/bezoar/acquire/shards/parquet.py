"""Shards as Parquet with the images in them: NNNNN.parquet, one row per record that was kept.

The image column has Hugging Face's layout and metadata (`struct<bytes, path>`, declared an Image), so that `datasets` decodes
it. The provenance lies in a folder of its own, whose name `datasets`, Arrow and Bezoar pass over when they look for data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.shards.durable import Written, own_folder, replaced
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER, PROVENANCE_SCHEMA, write_provenance
from bezoar.acquire.shards.writing import Kept, commit

if TYPE_CHECKING:
    import pyarrow as pa

_STABLE = (  # provenance that is the same whenever a record is fetched
    "key", "url", "caption", "status", "width", "height", "original_width", "original_height", "sha256", "expected",
    "verdict", "stored_sha256",
)  # fmt: skip
_GROUP_ROWS = 1024
GROUP_BYTES = 32 * 2**20


class ParquetWriter:
    """NNNNN.parquet, __provenance__/NNNNN.parquet, NNNNN_stats.json."""

    name = "parquet"

    def write(
        self, folder: Path, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> Mapping[str, Written]:
        """As `ShardWriter.write`; one row group is held at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        name = shard_name(number)
        columns = beside_images(provenance)
        places = {key: place for place, key in enumerate(provenance["key"].to_pylist())}
        with commit(folder, number, self.name, stats) as written:
            with (
                replaced(folder / f"{name}.parquet", written) as out,
                pq.ParquetWriter(pa.PythonFile(out, "w"), images_schema(columns)) as table,
            ):
                for group in _groups(kept):
                    table.write_table(_table(group, columns, places))
            beside: dict[str, Written] = {}
            own_folder(folder / PROVENANCE_FOLDER)
            write_provenance(folder / PROVENANCE_FOLDER / f"{name}.parquet", provenance, beside)
            written[f"{PROVENANCE_FOLDER}/{name}.parquet"] = beside[f"{name}.parquet"]
        return written


def beside_images(provenance: pa.Table) -> pa.Table:
    """The columns that go with the images: of the provenance what is stable, and what came along in the list."""
    own = PROVENANCE_SCHEMA.names
    return provenance.select([name for name in provenance.column_names if name in _STABLE or name not in own])


def images_schema(columns: pa.Table) -> pa.Schema:
    """Of a table of images with these columns beside them."""
    import pyarrow as pa

    image = pa.field("image", pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    features = json.dumps({"info": {"features": {image.name: {"_type": "Image"}}}})
    return columns.schema.append(image).with_metadata({"huggingface": features})


def _table(group: list[Kept], columns: pa.Table, places: Mapping[str, int]) -> pa.Table:
    import pyarrow as pa

    schema = images_schema(columns)
    rows = columns.take(pa.array([places[sample.key] for sample in group], pa.int64()))
    images = [{"bytes": sample.content, "path": f"{sample.key}.{sample.suffix}"} for sample in group]
    return pa.table([*rows.columns, pa.array(images, schema.field(-1).type)], schema=schema)


def _groups(kept: Iterable[Kept]) -> Iterator[list[Kept]]:
    group: list[Kept] = []
    size = 0
    for sample in kept:
        group.append(sample)
        size += len(sample.content)
        if len(group) == _GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
