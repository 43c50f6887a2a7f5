"""The provenance table: one row per row of the list, kept or not, with what came of it.

The columns that img2dataset writes come first, under its names and with its words for `status`, so that its readers read
ours; then what it does not tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bezoar.acquire.shards.durable import Written, replaced

STATUSES = ("success", "failed_to_download", "failed_to_resize")

PROVENANCE_FOLDER = "__provenance__"  # where NNNNN.parquet is taken by the images themselves
PROVENANCE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),  # hexadecimal, of the bytes as received; as `source_sha256`
        ("expected", pa.string()),  # as written in the list
        ("expected_by", pa.string()),  # who signed it
        ("verdict", pa.string()),  # bezoar.acquire.reasons.Verdict
        ("reason", pa.string()),  # bezoar.acquire.reasons.Reason, where it was not kept
        ("detail", pa.string()),
        ("http_status", pa.int32()),
        ("final_url", pa.string()),
        ("redirects", pa.list_(pa.string())),
        ("peer", pa.string()),
        ("tls_verified", pa.bool_()),
        ("fetched", pa.timestamp("us", tz="UTC")),
        ("bytes", pa.int64()),  # received
        ("content_type", pa.string()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("source_sha256", pa.string()),
        ("stored_sha256", pa.string()),
        ("shard_id", pa.int32()),
        ("run_id", pa.string()),
        ("attempts", pa.int32()),
    ]
)


def provenance_schema(extra: pa.Schema | None = None) -> pa.Schema:
    """`PROVENANCE_SCHEMA` and the list's extra columns; one whose name is taken becomes `list_<name>`."""
    fields = list(extra or ())
    names = listed_names(tuple(field.name for field in fields))
    renamed = [field.with_name(name) for field, name in zip(fields, names, strict=True)]
    return pa.schema([*PROVENANCE_SCHEMA, *renamed])


@lru_cache(maxsize=64)
def listed_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """What the list's extra columns are called beside ours: `list_<name>` where the name is taken."""
    taken, found = {*PROVENANCE_SCHEMA.names, "image"}, []
    for name in names:
        while name in taken:
            name = f"list_{name}"
        taken.add(name)
        found.append(name)
    return tuple(found)


def provenance_files(folder: Path) -> list[Path]:
    """The provenance tables of an output folder, in the order of the shards, whatever its format."""
    beside = folder / PROVENANCE_FOLDER
    files = (beside if beside.is_dir() else folder).glob("*.parquet")
    numbered = [(int(path.stem), path) for path in files if path.stem.isascii() and path.stem.isdecimal()]
    return [path for _, path in sorted(numbered)]  # by name, 100000 would come before 99999


def provenance_table(
    rows: Iterable[Mapping[str, Any]],
    extra: pa.Schema | None = None,
    extras: Iterable[Mapping[str, Any]] = (),
) -> pa.Table:
    """The table of these rows (by column name; what is absent is null).

    `extra` are the list's extra columns (`UrlList.extra_schema`) and `extras` their cells (`Row.extra`), one mapping per row.
    """
    rows, schema = list(rows), provenance_schema(extra)
    own, others = len(PROVENANCE_SCHEMA), list(extras)
    columns = [_column([row.get(f.name) for row in rows], f.type) for f in list(schema)[:own]]
    columns += [_column([cells.get(field.name) for cells in others], field.type) for field in extra or ()]
    return pa.table(columns, schema=schema)


def write_provenance(path: Path, provenance: pa.Table, written: dict[str, Written]) -> None:
    """Write the table; `written` then tells of it by its name."""
    with replaced(path, written) as out:
        pq.write_table(provenance, pa.PythonFile(out, "w"))


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        values = [_text(value) for value in values]
    return pa.array(values, kind)


def _text(value: Any) -> str | None:
    """A cell as text that UTF-8 can hold (server words may not), JSON for what is no text."""
    if value is None:
        return None
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return words if words.isascii() else words.encode("utf-8", "replace").decode()
