"""The paths of tiles (C2SP tlog-tiles): `tile/<L>/<N>` for a full tile, `tile/<L>/<N>.p/<W>` for one that is W hashes wide.

N is written in groups of three digits, of which all but the last begin with an x: 1234067 is `x001/x234/067`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bezoar.custody.tlog.strict import MAX_INT
from bezoar.errors import InputError, UsageError

TILE = 256  # hashes of a full tile
MAX_LEVEL = 63
_PATH = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True)
class Tile:
    """What a tile's path says: its level (0 for entry bundles), its index within the level, its width (256: full)."""

    level: int
    index: int
    width: int
    entries: bool


def tile_path(level: int, index: int, width: int = TILE, *, entries: bool = False) -> str:
    """`tile/<L>/<N>[.p/<W>]`, or `tile/entries/<N>[.p/<W>]` for the bundle with the entries; UsageError when out of range."""
    if not (0 <= level <= MAX_LEVEL and 0 <= index <= MAX_INT and 1 <= width <= TILE) or (entries and level):
        raise UsageError(f"no tile of level {level}, index {index}, width {width}")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    partial = "" if width == TILE else f".p/{width}"
    return f"tile/{'entries' if entries else level}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> Tile:
    """The tile that `path` names; InputError for any path that `tile_path` does not write."""
    match = _PATH.fullmatch(path) if len(path) <= 64 else None
    if match is None:
        raise InputError(f"{path[:80]!r}: not the path of a tile")
    kind, groups, last, width = match.groups()
    index = int(groups.replace("x", "").replace("/", "") + last)
    entries = kind == "entries"
    tile = Tile(0 if entries else int(kind), index, int(width or TILE), entries)
    if (
        index > MAX_INT
        or tile.width > TILE
        or tile_path(tile.level, index, tile.width, entries=entries) != path
    ):
        raise InputError(f"{path!r}: not the path of a tile, or not its only spelling")
    return tile
