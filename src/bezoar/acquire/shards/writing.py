"""What a shard is made of, and how it is committed: data and provenance first, its stats last."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bezoar.acquire.lists.rows import Row
from bezoar.acquire.shards.durable import Written, replaced
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import listed_names
from bezoar.files import sync_folder

if TYPE_CHECKING:
    import pyarrow as pa

STATS_SUFFIX = "_stats.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that goes into a shard.

    Attributes:
        key: from `key_of`.
        row: of the list.
        content: the bytes to store.
        suffix: of their format, such as "jpg", without a dot; WebDataset's shards have one for all.
        fields: for its `.json` or its columns: width, height, original_width, original_height, sha256, and whatever else stays
            the same when it is fetched again.

    """

    key: str
    row: Row
    content: bytes
    suffix: str
    fields: Mapping[str, Any]


class ShardWriter(Protocol):
    """One way to lay a shard out."""

    @property
    def name(self) -> str:
        """img2dataset's word for it."""
        ...

    def write(
        self, folder: Path, number: int, kept: Iterable[Kept], provenance: pa.Table, stats: Mapping[str, Any]
    ) -> Mapping[str, Written]:
        """Write shard `number` into `folder`; what was written, by file name.

        `kept` comes in the order of the keys and is read once. The same records give the same bytes. What lies there already
        is replaced. OutputError when the disk is full or may not be written.
        """
        ...


@contextmanager
def commit(
    folder: Path, number: int, output_format: str, stats: Mapping[str, Any]
) -> Iterator[dict[str, Written]]:
    """Takes what is written, then writes the stats that make it count; until then the shard does not exist."""
    marker = folder / f"{shard_name(number)}{STATS_SUFFIX}"
    if marker.exists():
        marker.unlink()
        sync_folder(folder)
    written: dict[str, Written] = {}
    yield written
    files = {name: asdict(entry) for name, entry in sorted(written.items())}
    text = json.dumps({**stats, "output_format": output_format, "files": files}, indent=4, default=str)
    with replaced(marker, {}) as out:
        out.write(text.encode())


def sample_json(kept: Kept) -> bytes:
    """The `.json` of a sample: UTF-8, in a fixed order, without anything that changes from run to run."""
    return json.dumps(_plain(sample_fields(kept)), ensure_ascii=False, allow_nan=False, default=str).encode(
        "utf-8", "replace"
    )


def sample_fields(kept: Kept) -> dict[str, Any]:
    """Key, URL, caption, the record's own fields, and what came along in the list, under the names of the provenance table."""
    caption = {} if kept.row.caption is None else {"caption": kept.row.caption}
    listed = zip(listed_names(tuple(kept.row.extra)), kept.row.extra.values(), strict=True)
    return {"key": kept.key, "url": kept.row.url, **caption, **kept.fields, **dict(listed)}


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(cell) for name, cell in value.items()}
    return [_plain(cell) for cell in value] if isinstance(value, list | tuple) else value
