"""Records to put into shards."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from bezoar.acquire.lists.rows import Row
from bezoar.acquire.shards import Kept, key_of, provenance_table

EXTRA = pa.schema([("lang", pa.string()), ("width", pa.int64()), ("score", pa.float64())])
PER_SHARD = 10


def picture(seed: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, format=kind)
    return out.getvalue()


def row(number: int, caption: str | None = "") -> Row:
    text = None if caption is None else f"é {number}{caption}"
    return Row(
        number,
        f"http://example.org/{number}.jpg",
        text,
        "0" * 64,
        {"lang": "de", "width": number, "score": float("nan")},
    )


def kept(shard: int, count: int = 7, *, caption: str | None = "") -> list[Kept]:
    """Every row of a shard but the fourth."""
    records = []
    for index in range(count):
        if index == 3:
            continue
        content = picture(index, "PNG" if index == 5 else "JPEG")
        fields = {"width": 12, "height": 8, "sha256": hashlib.sha256(content).hexdigest()}
        key = key_of(shard, index, PER_SHARD)
        records.append(
            Kept(
                key, row(shard * PER_SHARD + index, caption), content, "png" if index == 5 else "jpg", fields
            )
        )
    return records


def provenance(shard: int, count: int = 7, *, caption: str | None = "", run: str = "1") -> pa.Table:
    """Of all rows of a shard; the fourth was not kept."""
    by_key = {record.key: record for record in kept(shard, count, caption=caption)}
    rows: list[dict[str, Any]] = []
    for index in range(count):
        key, listed = key_of(shard, index, PER_SHARD), row(shard * PER_SHARD + index, caption)
        record = by_key.get(key)
        cells = {
            "key": key,
            "url": listed.url,
            "caption": listed.caption,
            "expected": listed.expected,
            "shard_id": shard,
        }
        if record is None:
            cells |= {"status": "failed_to_download", "error_message": "hash mismatch", "verdict": "rejected"}
        else:
            cells |= {"status": "success", "verdict": "verified", **record.fields}
        rows.append(
            cells | {"run_id": run, "peer": f"192.0.2.{run}:80", "redirects": ["http://a", "http://b"]}
        )
    extras = [row(shard * PER_SHARD + index, caption).extra for index in range(count)]
    return provenance_table(rows, EXTRA, extras)
