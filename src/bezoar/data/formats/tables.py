"""What Parquet files and `datasets` Arrow folders share: columns, labels, keys, and rewriting rows.

Both hold a table with one content column: `struct<bytes, path>` (Hugging Face's image layout), plain binary,
or text. Only keys, labels and the small columns are read at opening; content comes through
`TableSource.take`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset, Modality
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.labels import label_values, no_labels, optional_label_column, read_labels
from bezoar.data.formats.paths import is_clean, row_keys
from bezoar.data.images import encode_png
from bezoar.errors import InputError, OutputError

HF_METADATA = b"huggingface"
USUAL_IMAGES = ("image", "img", "jpg", "jpeg", "png", "pixels", "bytes")
USUAL_TEXTS = ("text", "sentence", "content", "document", "review")
DOWNLOADS = frozenset(("key", "url", "status"))  # the columns by which img2dataset's tables are known
WRITE_ROWS = 1024  # rows per record batch / row group of what is written, at most
_WINDOW_BYTES = 16 * 2**20  # content held at a time


class TableSource(Protocol):
    """One table over all shards, read lazily."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are in the file, with metadata."""
        ...

    @property
    def shard_names(self) -> tuple[str, ...]:
        """A unique name for each file."""
        ...

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """Number of rows of each file."""
        ...

    def scan(self, columns: list[str]) -> pa.Table:
        """All rows of these small columns; `column.field` is a field of a struct."""
        ...

    def take(self, rows: NDArray[np.int64], columns: list[str]) -> Iterator[pa.Table]:
        """These rows of these columns, in this order, in tables of bounded size."""
        ...


@dataclass(frozen=True)
class TableReader:
    """The `Reader` of a table's content column; `others` are the columns that are not held in memory.

    Of a struct that holds the content, its other fields are among them, as `column.field`.
    """

    source: TableSource
    column: str
    others: tuple[str, ...] = ()

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Content of `rows`; b"" where it is null."""
        for table in self.source.take(rows, [self.column]):
            values = _content(table[self.column].combine_chunks())
            yield from (value or b"" for value in values.to_pylist())

    def further(self, rows: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
        """The values of the other columns of `rows`, but nulls; InputError for those that Python has no value for."""
        if not self.others:
            yield from ({} for _ in range(len(rows)))
            return
        for table in self.source.take(rows, list(self.others)):
            columns = [_values(leaf(table, name), name) for name in self.others]
            for values in zip(*columns, strict=True):
                yield {n: v for n, v in zip(self.others, values, strict=True) if v is not None}


def open_table(
    source: TableSource,
    path: Path,
    name: str,
    options: OpenOptions,
    features: Mapping[str, Any],
    **layout: Any,
) -> Dataset:
    """The dataset of a table; `features` are Hugging Face's, which hold the class names."""
    if sum(source.shard_rows) == 0:
        raise InputError(f"{path}: holds no records")
    names = source.schema.names
    if (twice := next((name for name, count in Counter(names).items() if count > 1), None)) is not None:
        raise InputError(f"{path}: two columns have the name {twice!r}; rename one")
    label = optional_label_column(options.label_column, names, path)
    content = content_column(source.schema, label, options.content_column, path)
    kind = source.schema.field(content).type
    modality = _modality(kind)
    assert modality is not None  # noqa: S101 - `content_column` chose it so
    named = _is_image_struct(kind) and "path" in [field.name for field in kind]
    small = [f.name for f in source.schema if f.name not in (content, label) and _is_small(f.type)]
    wanted = [*([] if label is None else [label]), *small, *([f"{content}.path"] if named else [])]
    table = source.scan(wanted)
    table.validate(full=True)  # text that is not UTF-8 would fail wherever it is first shown
    rows = np.arange(table.num_rows, dtype=np.int64)
    if downloads := set(table.column_names) >= DOWNLOADS:
        rows = _downloaded(table, path)
        table = table.take(pa.array(rows))
    origin = f"{content}.path" if named else "key" if downloads else None
    keys = [] if origin is None else table[origin].cast(pa.string()).to_pylist()
    keyed = origin is not None and are_clean_keys(keys)
    labels = (
        no_labels(table.num_rows)
        if label is None
        else read_labels(table[label], class_names(features, label), f"{path}: column {label!r}")
    )
    return Dataset(
        path=path,
        format=name,
        modality=modality,
        keys=pa.array(keys, pa.string()) if keyed else _numbered(source, rows),
        labels=labels.indices,
        label_names=labels.names,
        columns=table.select(small),
        reader=TableReader(
            source, content, _others(source.schema, {content, label, *small}, content, keyed and named, path)
        ),
        rows=rows,
        layout={"label": label, "values": labels.values, "keyed": keyed, "features": features, **layout},
    )


def schema_features(schema: pa.Schema) -> dict[str, Any]:
    """Hugging Face features from a schema's metadata; empty when there are none or they are malformed."""
    try:
        features = json.loads((schema.metadata or {})[HF_METADATA])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names(features: Mapping[str, Any], column: str) -> tuple[str, ...] | None:
    """Names of a ClassLabel feature, in index order."""
    feature = features.get(column)
    names = feature.get("names") if isinstance(feature, dict) else None
    if (
        isinstance(names, list)
        and names
        and all(isinstance(n, str) for n in names)
        and len(set(names)) == len(names)
    ):
        return tuple(names)
    return None


def content_column(schema: pa.Schema, label: str | None, wanted: str | None, where: object) -> str:
    """The column with the images or texts: the one asked for, a usual name, or the only one possible."""
    known = ", ".join(schema.names)
    if wanted is not None:
        if wanted not in schema.names or _modality(schema.field(wanted).type) is None:
            raise InputError(f"{where}: no image or text column {wanted!r}; columns: {known}")
        return wanted
    others = [f for f in schema if f.name != label]
    images = [f.name for f in others if _modality(f.type) == "image"]
    texts = [f.name for f in others if _modality(f.type) == "text"]
    usual = [n for n in USUAL_IMAGES if n in images] + (
        [] if images else [n for n in USUAL_TEXTS if n in texts]
    )
    candidates = usual[:1] or images or texts
    if len(candidates) != 1:
        raise InputError(
            f"{where}: which column holds the content? columns: {known} (use the content column option)"
        )
    return candidates[0]


def are_clean_keys(keys: list[str | None]) -> bool:
    """Whether these paths can serve as keys: all present, unique and unable to escape a folder."""
    return len(set(keys)) == len(keys) and all(key is not None and is_clean(key) for key in keys)


def rewritten(dataset: Dataset, indices: NDArray[np.int64]) -> Iterator[pa.Table]:
    """The rows of these records with all their columns; only changed content and changed labels differ."""
    reader = dataset.reader
    if not isinstance(reader, TableReader):
        raise OutputError(f"{dataset.path}: is not a table")
    schema, done = reader.source.schema, 0
    for table in reader.source.take(dataset.rows[indices], schema.names):
        window = indices[done : done + table.num_rows]
        done += table.num_rows
        column, label = schema.get_field_index(reader.column), dataset.layout["label"]
        changed = {
            place: dataset.changes[i] for place, i in enumerate(window.tolist()) if i in dataset.changes
        }
        if changed:
            cells = _replaced(table.column(column).combine_chunks(), changed)
            table = table.set_column(column, schema.field(column), cells)
        if label is not None:
            old = table.column(label).combine_chunks()
            cells = _relabelled(old, dataset.labels[window], dataset.layout["values"])
            table = table.set_column(schema.get_field_index(label), schema.field(label), cells)
        yield table.cast(schema)


def converted_schema(dataset: Dataset) -> pa.Schema:
    """The schema of `converted`: Hugging Face's image (or text) layout with class names in the metadata."""
    image = dataset.modality == "image"
    content = pa.struct({"bytes": pa.binary(), "path": pa.string()}) if image else pa.string()
    fields = [pa.field("image" if image else "text", content), pa.field("label", pa.int64())]
    fields += [field for field in dataset.columns.schema if field.name not in (fields[0].name, "label")]
    features = converted_features(dataset)
    return pa.schema(fields, {HF_METADATA: json.dumps({"info": {"features": features}}).encode()})


def converted_features(dataset: Dataset) -> dict[str, Any]:
    """Hugging Face features of `converted_schema`."""
    content = {"_type": "Image"} if dataset.modality == "image" else {"dtype": "string", "_type": "Value"}
    name = "image" if dataset.modality == "image" else "text"
    others = [field for field in dataset.columns.schema if field.name not in (name, "label")]
    return {
        name: content,
        "label": {"names": list(dataset.label_names), "_type": "ClassLabel"},
        **{field.name: {"dtype": str(field.type), "_type": "Value"} for field in others},
    }


def converted(dataset: Dataset, indices: NDArray[np.int64]) -> Iterator[pa.Table]:
    """The records of a dataset of another format as a table of `converted_schema`."""
    schema = converted_schema(dataset)
    contents = dataset.contents(indices)
    for start in range(0, len(indices), WRITE_ROWS):
        part = indices[start : start + WRITE_ROWS]
        content = list(islice(contents, len(part)))
        if dataset.modality == "text":
            column = pa.array([text.decode("utf-8", "replace") for text in content], pa.string())
        else:
            if dataset.raw_shape is not None:
                content = [encode_png(raw, dataset.raw_shape) for raw in content]
            paths = dataset.keys.take(pa.array(part))
            column = pa.StructArray.from_arrays([pa.array(content, pa.binary()), paths], ["bytes", "path"])
        labels = pa.array(dataset.labels[part], pa.int64(), mask=dataset.labels[part] < 0)
        others = dataset.columns.take(pa.array(part))
        yield pa.table([column, labels, *(others[name] for name in schema.names[2:])], schema=schema)


def written_keys(dataset: Dataset, shards: list[tuple[str, NDArray[np.int64]]], keyed: bool) -> list[str]:
    """The keys that opening the written shards gives, in dataset order."""
    keys = dataset.keys.to_pylist()
    if keyed and are_clean_keys(keys):
        return [str(key) for key in keys]
    for name, indices in shards:
        for index, key in zip(indices.tolist(), row_keys(name, range(len(indices))), strict=True):
            keys[index] = key
    return [str(key) for key in keys]


def shards_of(dataset: Dataset) -> list[tuple[str, NDArray[np.int64]]]:
    """The records by the source shard that they came from: (shard name, record indices)."""
    reader = dataset.reader
    assert isinstance(reader, TableReader)  # noqa: S101 - callers ask only for tables
    ends = np.cumsum(reader.source.shard_rows)
    home = np.searchsorted(ends, dataset.rows, side="right")
    split = [(name, np.flatnonzero(home == i)) for i, name in enumerate(reader.source.shard_names)]
    return [(name, indices) for name, indices in split if len(indices)]


def windows(
    rows: NDArray[np.int64], size: int, ascending: Callable[[NDArray[np.int64]], list[pa.Table]]
) -> Iterator[pa.Table]:
    """Tables of `size` rows in the order of `rows`, from a function that reads ascending rows only."""
    for start in range(0, len(rows), size):
        wanted = rows[start : start + size]
        order = np.argsort(wanted, kind="stable")
        table = pa.concat_tables(ascending(wanted[order]))
        if not np.array_equal(order, np.arange(len(order))):
            table = table.take(pa.array(np.argsort(order)))
        yield table


def window_rows(size: int, rows: int) -> int:
    """Rows to hold at a time, when `rows` rows take `size` bytes: as fit `_WINDOW_BYTES` on average."""
    return int(np.clip(_WINDOW_BYTES / max(1.0, size / max(1, rows)), 8, WRITE_ROWS))


def _others(
    schema: pa.Schema, known: set[str | None], content: str, by_path: bool, path: Path
) -> tuple[str, ...]:
    """The columns that are not `known`, and the fields beside the content's bytes (and the path, where it is the key)."""
    kind = schema.field(content).type
    fields = [field.name for field in kind] if pa.types.is_struct(kind) else []
    told = ("bytes", "path") if by_path else ("bytes",)
    beside = [f"{content}.{field}" for field in fields if field not in told]
    if twice := [name for name in beside if name in schema.names]:
        raise InputError(f"{path}: {twice[0]!r} is a column and a field of another; rename one")
    return (*(name for name in schema.names if name not in known), *beside)


def _values(column: pa.ChunkedArray, name: str) -> list[Any]:
    try:
        column.validate(full=True)
        return column.to_pylist()  # type: ignore[no-any-return]
    except (pa.ArrowException, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(f"column {name!r}: is malformed, or cannot be read ({text})") from error


def leaf(table: pa.Table, dotted: str) -> pa.ChunkedArray:
    """A column, or for `column.field` that field of a struct column."""
    if dotted in table.column_names:
        return table[dotted]
    column, _, field = dotted.rpartition(".")
    return pc.struct_field(table[column], field)


def _downloaded(table: pa.Table, path: Path) -> NDArray[np.int64]:
    """The rows of what a download brought; the table also has one for each that failed, without content."""
    status = table["status"]
    if not (pa.types.is_string(status.type) or pa.types.is_large_string(status.type)):
        return np.arange(table.num_rows, dtype=np.int64)
    there = np.flatnonzero(pc.fill_null(pc.equal(status, "success"), False).to_numpy(zero_copy_only=False))
    if not len(there):
        raise InputError(f"{path}: holds no records, all downloads failed")
    return there.astype(np.int64)


def _numbered(source: TableSource, rows: NDArray[np.int64]) -> pa.Array:
    shards = zip(source.shard_names, source.shard_rows, strict=True)
    keys = [key for name, count in shards for key in row_keys(name, range(count))]
    return pa.array(keys, pa.string()).take(pa.array(rows))


def _content(values: pa.Array) -> pa.Array:
    """Binary values of a content column's cells."""
    if pa.types.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    large = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    return values.cast(pa.large_binary() if large else pa.binary())


def _replaced(cells: pa.Array, changed: Mapping[int, bytes]) -> pa.Array:
    values = cells.to_pylist()
    for place, content in changed.items():
        if pa.types.is_struct(cells.type):
            values[place] = {**(values[place] or {}), "bytes": content}
        else:
            values[place] = (
                content if _modality(cells.type) == "image" else content.decode("utf-8", "replace")
            )
    return pa.array(values, cells.type)


def _relabelled(old: pa.Array, labels: NDArray[np.int32], values: tuple[int | str, ...]) -> pa.Array:
    """The label cells, untouched where the label is; a record without a label keeps its null or -1."""
    new = label_values(labels, values, old.type)
    if pa.types.is_integer(old.type):
        keep = pc.and_(pa.array(labels < 0), pc.fill_null(pc.less(old, 0), True))
        return pc.if_else(keep, old, new)
    return new


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(f.name == "bytes" and _is_binary(f.type) for f in kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_small(kind: pa.DataType) -> bool:
    """Whether a column of this type may be held in memory; nested and binary ones stay in the file."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_primitive(plain) or _modality(plain) == "text")


def _modality(kind: pa.DataType) -> Modality | None:
    if _is_image_struct(kind) or _is_binary(kind):
        return "image"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None
