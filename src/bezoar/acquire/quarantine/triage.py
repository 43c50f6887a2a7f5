"""Does what was set aside look like a known copy? Most mismatches on the web are re-encoded pictures (ACQUISITION.md).

A difference hash: the picture in grey at 9 x 8 pixels, one bit for each of 64 neighbours, whether it becomes brighter. Pictures
are decoded to a few pixels by limited processes (`acquire.images.workshop`); only these pixels are looked at here.

The answer sorts a long list for a person, and is no evidence: a copy with a trigger in one corner looks the same, too.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.images.checking import Problem
from bezoar.acquire.quarantine.held import Held, Stored
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.errors import BezoarError

if TYPE_CHECKING:
    from bezoar.acquire.images.workshop import Workshop
    from bezoar.data import Dataset

SAME_BITS = 10  # of 64: all of 120 signs re-encoded or halved, and 0.04 % of 7,140 pairs of different signs, are as close
_SIDE = 64  # pixels that the workshop hands out
_FLAT = 4.0  # grey levels: a picture with a smaller deviation has no shape to compare
_URL_COLUMNS = ("url", "URL")


class Looks(StrEnum):
    """How what came compares with a known copy."""

    SAME_BYTES = "the same bytes"
    SAME = "looks the same"
    DIFFERENT = "looks different"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Triage:
    """`distance`: bits of 64, None where two pictures could not be compared; `why` in words then."""

    looks: Looks
    distance: int | None = None
    why: str = ""


def triage(
    entries: Sequence[Held], store: Quarantine, known: Iterable[Dataset]
) -> dict[tuple[str, str, str], Triage]:
    """What each entry looks like, by its identity; where several datasets have a copy, the first of them counts.

    A record of `known` is the copy of a row with the same URL, or, in a dataset without URLs, with the same key.
    """
    from bezoar.acquire.images.options import Reencode
    from bezoar.acquire.images.workshop import Workshop

    found = {entry.identity: Triage(Looks.UNKNOWN, why="no known copy") for entry in entries}
    shape = Reencode(_SIDE, "keep_ratio_largest", encode_format="png", quality=1)
    with Workshop(shape, workers=1) as workshop:
        for dataset in known:
            waiting = [entry for entry in entries if found[entry.identity].why == "no known copy"]
            copies = _copies(waiting, dataset)
            contents = dataset.contents([row for row, _ in copies])
            for (_, entry), copy in zip(copies, contents, strict=True):
                found[entry.identity] = _compare(entry, copy, store, workshop)
    return found


def distance(one: int, other: int) -> int:
    """Bits in which two hashes differ."""
    return (one ^ other).bit_count()


def difference_hash(picture: bytes) -> int | None:
    """The 64 bits of a small PNG; None for a picture without contrast."""
    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(picture), formats=("PNG",))
    if max(image.size) > _SIDE:
        return None
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), np.float64)
    if grey.std() < _FLAT:
        return None
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _compare(entry: Held, copy: bytes, store: Quarantine, workshop: Workshop) -> Triage:
    if entry.stored is not Stored.KEPT:
        return Triage(Looks.UNKNOWN, why="its bytes are not kept")
    try:
        came = store.content(entry.sha256)
    except BezoarError as error:
        return Triage(Looks.UNKNOWN, why=str(error))
    if came == copy:
        return Triage(Looks.SAME_BYTES, 0)
    hashes = []
    for name, content in (("what came", came), ("the known copy", copy)):
        small = workshop.reencode(content)
        if isinstance(small, Problem):
            return Triage(Looks.UNKNOWN, why=f"{name}: {small.detail}")
        bits = difference_hash(small.content)
        if bits is None:
            return Triage(Looks.UNKNOWN, why=f"{name} has no contrast")
        hashes.append(bits)
    bits_apart = distance(*hashes)
    return Triage(Looks.SAME if bits_apart <= SAME_BITS else Looks.DIFFERENT, bits_apart)


def _copies(entries: Sequence[Held], dataset: Dataset) -> list[tuple[int, Held]]:
    """The rows of the dataset that are copies of entries."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = next((name for name in _URL_COLUMNS if name in dataset.columns.column_names), None)
    if column is not None:
        names = dataset.columns[column].chunks
        wanted = {entry.identity: entry.url for entry in entries}
    else:
        from bezoar.acquire.custody import row_key

        names = [pa.array([row_key(key) for key in dataset.keys.to_pylist()], pa.string())]
        wanted = {entry.identity: entry.key for entry in entries}
    texts = pa.array([_encodable(wanted[entry.identity]) for entry in entries], pa.string())
    rows = pc.index_in(texts, pa.chunked_array(names).combine_chunks().cast(pa.string())).to_pylist()
    return [(row, entry) for row, entry in zip(rows, entries, strict=True) if row is not None]


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def open_known(paths: Iterable[Path]) -> list[Dataset]:
    """Datasets with known copies."""
    from bezoar.data import open as open_path

    return [open_path(path) for path in paths]
