"""Keys of samples and names of shards, as img2dataset gives them."""

from __future__ import annotations

WIDTH = 5  # digits of a shard's number


def key_of(shard: int, index: int, per_shard: int, width: int = WIDTH) -> str:
    """The key of sample `index` (0-based) of a shard: the shard's number, then the index, each padded with zeros.

    The index takes as many digits as the largest one of `per_shard` samples: 00042 and 7 of 10,000 give 000420007.
    """
    digits = len(str(per_shard - 1)) if per_shard > 1 else 0
    return f"{shard:0{width}d}{index:0{digits}d}" if digits else f"{shard:0{width}d}"


def shard_name(shard: int, width: int = WIDTH) -> str:
    """The name of a shard's files without their suffix."""
    return f"{shard:0{width}d}"
