"""A finished shard held against the list once more: what an output says of itself proves nothing.

Whoever can write into an output can write its stats, too, with the digests of whatever lies there. So the rows of the list, which
are trusted, say what a shard must be: a record counts as `verified` when its bytes have the digest that the list has.

Two things nothing can tell any more. Where pictures were encoded anew, what came is gone, and that the picture was made of it
is said by the provenance alone. And of a row without a digest nothing is known but that its bytes and its provenance agree.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from bezoar.acquire.finished import TEXTS_BESIDE, FinishedShard
from bezoar.acquire.images.checking import Checked, check
from bezoar.acquire.judging import Judgement
from bezoar.acquire.lists.rows import Row
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.shard_fetch import asked, stable_fields
from bezoar.acquire.shards.naming import key_of
from bezoar.acquire.shards.parquet import beside_images, images_schema
from bezoar.acquire.shards.provenance import listed_names, provenance_schema, provenance_table
from bezoar.acquire.shards.webdataset import WebDatasetWriter
from bezoar.acquire.shards.writing import Kept, sample_json
from bezoar.acquire.table_sizes import decoded_size
from bezoar.acquire.tally import Tally
from bezoar.errors import InputError

if TYPE_CHECKING:
    from bezoar.acquire.workplace import Setup

_UNREADABLE = (InputError, OSError, ValueError, TypeError, KeyError, OverflowError, pa.ArrowException)
_OWN_BYTES, _OWN_ROW_BYTES = 64 << 20, 16 << 10  # of provenance beside the list: of a shard, and of each row
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTED = ("key", "url", "caption", "expected", "expected_by", "shard_id")  # what the list says of a row


class Recheck:
    """Holds the finished shards of one fetch against its list."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def tally(self, shard: FinishedShard, rows: list[Row]) -> Tally | None:
        """The figures of a shard, counted anew; None when it is not what a fetch of `rows` leaves. One record is held at a time.

        InputError when the quarantine, which knows what was released, is malformed.
        """
        held = _Held(shard, rows, self._setup, self._let_in)
        try:
            whole = held.is_right()
        except _UNREADABLE:  # is fetched anew
            return None
        return held.tally if whole else None

    @cached_property
    def _let_in(self) -> frozenset[tuple[str, str]]:
        """Key and SHA-256 of what a person put into the dataset against the list: what merely lies in quarantine is not that."""
        return Quarantine.at(self._setup.state.quarantine).let_in()


@dataclass(frozen=True)
class _Record:
    """A row that is kept: its place, what the provenance says of it, and the digest that the list has."""

    place: int
    found: Mapping[str, Any]
    expected: bytes | None


class _Held:
    """One shard beside the rows that it must have."""

    def __init__(
        self, shard: FinishedShard, rows: list[Row], setup: Setup, let_in: frozenset[tuple[str, str]]
    ) -> None:
        self._shard, self._rows, self._setup, self._let_in = shard, rows, setup, let_in
        self._kept: dict[str, _Record] = {}
        self.tally = Tally()

    def is_right(self) -> bool:
        """Whether all is as it must be."""
        if not self._has_its_types():
            return False
        own = _OWN_BYTES + len(self._rows) * _OWN_ROW_BYTES
        listed = sum(decoded_size(chunk) for column in self._must_be.columns for chunk in column.chunks)
        self._shard.refuse_large(len(self._rows), 2 * listed + own)
        there = self._shard.table()
        there.validate(full=True)  # a text that is none, too
        if not self._is_listed(there):
            return False
        found = there.select(_own(there)).to_pylist()
        if not all(self._take(place, each) for place, each in enumerate(found)):
            return False
        if self._shard.output_format == "dummy":
            return all(self._agrees(record, None) for record in self._kept.values())
        if self._shard.output_format == "parquet" and not self._has_its_columns(there):
            return False
        return self._has_its_members()

    def _has_its_types(self) -> bool:
        """Whether tables are of the types, and say of themselves what the writer of this fetch makes them say."""
        provenance = provenance_schema(self._setup.extra_schema)
        must = [provenance]
        if self._shard.output_format == "parquet":
            must.append(images_schema(beside_images(provenance.empty_table())))
        return _described(self._shard.schemas()) == _described(map(_written, must))

    def _is_listed(self, there: pa.Table) -> bool:
        """Whether the provenance has the rows of the list, each in its place, with all that the list says of it."""
        must = self._must_be
        return len(there) == len(self._rows) and _same(there.select(must.schema.names), must)

    @cached_property
    def _must_be(self) -> pa.Table:
        """What the provenance says of the rows from the list alone."""
        setup = self._setup
        rows = [
            {
                "key": key_of(self._shard.number, place, setup.options.per_shard),
                "url": row.url,
                "caption": row.caption,
                "expected": row.expected,
                "expected_by": setup.expected_by if row.expected else None,
                "shard_id": self._shard.number,
            }
            for place, row in enumerate(self._rows)
        ]
        table = provenance_table(rows, setup.extra_schema, [row.extra for row in self._rows])
        return table.select([*_LISTED, *listed_names(tuple(setup.extra_schema.names))])

    def _take(self, place: int, found: Mapping[str, Any]) -> bool:
        """Count a row; whether its verdict is one that it can have. ValueError for words that are none."""
        verdict = Verdict(found["verdict"])
        reason = Reason(found["reason"]) if verdict is Verdict.REJECTED else None
        size = found["bytes"]
        if size is None or size < 0 or (found["status"] == "success") != (reason is None):
            return False
        came = found["source_sha256"]
        if found["sha256"] != came or not (_SHA256.fullmatch(came) if came else came is None):
            return False
        if came is None and reason in (None, Reason.HASH_MISMATCH):
            return False
        self.tally.count(verdict, reason, size)
        expected = asked(self._rows[place], self._setup)
        if isinstance(expected, Judgement):
            return reason is expected.reason
        if reason is None:
            self._kept[found["key"]] = _Record(place, found, expected)
        return reason is not None or found["reason"] is None

    def _has_its_members(self) -> bool:
        """Whether each record that is kept has its image, in its turn, and what lies beside it, and nothing else is there."""
        seen: dict[tuple[str, str], None] = {}
        for name, content in self._shard.members():
            key, _, suffix = name.partition(".")
            record = self._kept.get(key)
            kind = suffix if suffix in TEXTS_BESIDE else "image"
            if record is None or (key, kind) in seen or not self._is_member(record, suffix, content):
                return False
            seen[key, kind] = None
        images = [key for key, kind in seen if kind == "image"]
        return images == list(self._kept) and len(seen) == sum(map(self._files, self._kept.values()))

    def _files(self, record: _Record) -> int:
        """How many files a record has: its image, and the texts beside it."""
        if self._shard.output_format == "parquet":
            return 1
        return 2 if self._rows[record.place].caption is None else 3

    def _is_member(self, record: _Record, suffix: str, content: bytes) -> bool:
        row = self._rows[record.place]
        if suffix == "txt":
            return row.caption is not None and content == row.caption.encode("utf-8", "replace")
        if suffix == "json":
            return content == self._json(record, row) or content == self._json(record, self._as_text(record))
        stored = hashlib.sha256(content).hexdigest()
        if stored != record.found["stored_sha256"]:
            return False
        options = self._setup.options
        if options.reencode:
            return suffix == options.images.encode_format and self._agrees(record, None)
        return stored == record.found["source_sha256"] and (
            self._is_as_it_came(record, suffix, content) and self._agrees(record, content)
        )

    def _is_as_it_came(self, record: _Record, suffix: str, content: bytes) -> bool:
        """Whether bytes that were kept as they came are the image that the provenance describes, under the suffix of its kind."""
        found, image = record.found, check(content)
        if not isinstance(image, Checked) or found["bytes"] != len(content):
            return False
        sizes = (image.width, image.height)
        same = (
            found["width"],
            found["height"],
            found["original_width"],
            found["original_height"],
        ) == 2 * sizes
        one_for_all = self._shard.output_format == WebDatasetWriter.name
        return same and suffix == (WebDatasetWriter().image if one_for_all else image.suffix)

    def _json(self, record: _Record, row: Row) -> bytes:
        return sample_json(Kept(record.found["key"], row, b"", "", stable_fields(dict(record.found))))

    def _as_text(self, record: _Record) -> Row:
        """The row as the provenance has it, where all but numbers is text: a release writes its shard from there."""
        row, names = self._rows[record.place], tuple(self._setup.extra_schema.names)
        cells = self._must_be.slice(record.place, 1).to_pylist()[0]
        listed = zip(names, listed_names(names), strict=True)
        return replace(row, url=cells["url"], extra={name: cells[here] for name, here in listed})

    def _agrees(self, record: _Record, came: bytes | None) -> bool:
        """Whether a record has the verdict that the list gives it; `came` are the bytes as received, None when they are gone."""
        kind, found, expected = self._setup.hash_kind, record.found, record.expected
        if expected is None:
            return bool(found["verdict"] == Verdict.UNVERIFIED)
        let_in = (found["key"], found["source_sha256"]) in self._let_in
        if kind == "sha256":
            same = found["source_sha256"] == expected.hex()
        elif came is not None:
            same = hashlib.new(kind, came, usedforsecurity=False).digest() == expected
        else:
            same = not let_in  # what was let in is not what was promised; the rest is gone
        if not (same or let_in):
            return False
        proves = same and kind in ("sha256", "sha512")
        return bool(found["verdict"] == (Verdict.VERIFIED if proves else Verdict.UNVERIFIED))

    def _has_its_columns(self, there: pa.Table) -> bool:
        """Whether the columns beside the images are those of the provenance."""
        places = pa.array([record.place for record in self._kept.values()], pa.int64())
        must, start = beside_images(there), 0
        for batch in self._shard.columns():
            chosen = must.take(places.slice(start, batch.num_rows))
            if batch.schema.names != must.schema.names or not _same(chosen, batch):
                return False
            start += batch.num_rows
        return start == len(places)


def _written(schema: pa.Schema) -> pa.Schema:
    """As a reader finds a schema that was written."""
    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file)
    return pq.read_schema(file)


def _described(schemas: Iterable[pa.Schema]) -> list[bytes]:
    """All that schemas say, to be compared: the names within types and the metadata of fields, too."""
    return [schema.serialize().to_pybytes() for schema in schemas]


def _own(table: pa.Table) -> list[str]:
    """The columns by which a row is judged."""
    judged = ("key", "status", "verdict", "reason", "bytes", "source_sha256", "stored_sha256")
    return [name for name in table.schema.names if name in {*judged, *stable_fields({})}]


def _same(one: pa.Table, other: pa.Table | pa.RecordBatch) -> bool:
    """Whether two tables of the same columns have the same cells; NaN is the same as NaN."""
    return repr(one.to_pylist()) == repr(other.to_pylist())
