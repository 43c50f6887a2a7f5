"""Folders written by Hugging Face `datasets.save_to_disk`: `state.json`, `dataset_info.json`, `data-*.arrow`.

The shards are Arrow IPC streams (https://arrow.apache.org/docs/format/Columnar.html), memory-mapped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats import tables
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.paths import is_clean
from bezoar.errors import InputError, LimitError
from bezoar.files import atomic_directory

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_MAX_JSON = 16 * 2**20
_READ_ERRORS = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True)
class ArrowSource:
    """The memory-mapped record batches of several streams (`tables.TableSource`)."""

    schema: pa.Schema
    shard_names: tuple[str, ...]
    shard_rows: tuple[int, ...]
    batches: tuple[pa.RecordBatch, ...]
    starts: NDArray[np.int64]  # first row of each batch, and the end
    window: int  # rows

    def scan(self, columns: list[str]) -> pa.Table:
        """All rows of these columns, a struct's field under its dotted name."""
        table = pa.Table.from_batches(self.batches, self.schema)
        return pa.table({name: tables.leaf(table, name) for name in columns})

    def take(self, rows: NDArray[np.int64], columns: list[str]) -> Iterator[pa.Table]:
        """These rows in this order."""
        return tables.windows(rows, self.window, lambda wanted: self._ascending(wanted, columns))

    def _ascending(self, rows: NDArray[np.int64], columns: list[str]) -> list[pa.Table]:
        whole = list(dict.fromkeys(n if n in self.schema.names else n.rpartition(".")[0] for n in columns))
        parts, done = [], 0
        while done < len(rows):
            number = int(np.searchsorted(self.starts, rows[done], side="right")) - 1
            stop = int(np.searchsorted(rows, self.starts[number + 1]))
            batch = self.batches[number].select(whole)
            parts.append(pa.Table.from_batches([batch]).take(pa.array(rows[done:stop] - self.starts[number])))
            done = stop
        return parts


class ArrowFormat:
    """A folder with `state.json` and the Arrow streams that it names."""

    name = "arrow"

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Labels and small columns are read; content stays memory-mapped."""
        if not (path / "state.json").is_file():
            splits = sorted(entry.name for entry in path.iterdir() if (entry / "state.json").is_file())
            example = path / (splits[0] if splits else "train")
            raise InputError(f"{path}: holds several splits ({', '.join(splits)}); name one, e.g. {example}")
        source = _source(path, _shard_names(path))
        info = _json(path / "dataset_info.json") if (path / "dataset_info.json").is_file() else {}
        features = info.get("features")
        features = features if isinstance(features, dict) else tables.schema_features(source.schema)
        return tables.open_table(source, path, self.name, options, features)

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """A folder again, with the shards of the input."""
        reader = dataset.reader
        native = isinstance(reader, tables.TableReader)
        schema = (
            reader.source.schema
            if isinstance(reader, tables.TableReader)
            else tables.converted_schema(dataset)
        )
        parts = [indices for _, indices in tables.shards_of(dataset)] if native else [np.arange(len(dataset))]
        names = [f"data-{i:05d}-of-{len(parts):05d}.arrow" for i in range(len(parts))]
        with atomic_directory(path) as folder:
            for name, indices in zip(names, parts, strict=True):
                rows = tables.rewritten(dataset, indices) if native else tables.converted(dataset, indices)
                with pa.OSFile(str(folder / name), "wb") as out, pa.ipc.new_stream(out, schema) as stream:
                    for table in rows:
                        stream.write_table(table)
            _write_json(folder / "dataset_info.json", _info(dataset))
            _write_json(folder / "state.json", _state(dataset, names))
        keyed = dataset.layout["keyed"] if native else dataset.modality == "image"
        return tables.written_keys(dataset, list(zip(names, parts, strict=True)), keyed)


ARROW = ArrowFormat()


def _shard_names(path: Path) -> list[str]:
    files = _json(path / "state.json").get("_data_files")
    names = [f.get("filename") for f in files if isinstance(f, dict)] if isinstance(files, list) else []
    for name in names:
        if not isinstance(name, str) or "/" in name or not is_clean(name):
            raise InputError(
                f"{path / 'state.json'}: {str(name)[:80]!r} is not the name of a file in this folder"
            )
    if not names:
        raise InputError(f"{path / 'state.json'}: names no data files")
    return [str(name) for name in names]


def _source(path: Path, names: list[str]) -> ArrowSource:
    schema: pa.Schema = None
    batches: list[pa.RecordBatch] = []
    shard_rows = []
    for name in names:
        table = _table(path / name)
        schema = table.schema if schema is None else schema
        if not table.schema.equals(schema):
            raise InputError(f"{path / name}: its columns differ from those of {names[0]}")
        batches += table.to_batches()
        shard_rows.append(table.num_rows)
    starts = np.concatenate([[0], np.cumsum([batch.num_rows for batch in batches], dtype=np.int64)])
    size = sum((path / name).stat().st_size for name in names)
    window = tables.window_rows(size, int(starts[-1]))
    return ArrowSource(schema, tuple(names), tuple(shard_rows), tuple(batches), starts, window)


def _table(file: Path) -> pa.Table:
    if not file.is_file():
        raise InputError(f"{file}: is missing, but state.json names it")
    try:
        with file.open("rb") as raw:
            raw.seek(max(0, file.stat().st_size - len(_END_OF_STREAM)))
            if raw.read() != _END_OF_STREAM:
                raise InputError(f"{file}: is not a complete Arrow stream; it is truncated or corrupt")
        table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
        table.validate(full=True)  # a hostile offset would otherwise be followed
    except _READ_ERRORS as error:
        text = " ".join(str(error).split())[:160]
        raise InputError(
            f"{file}: is not a readable Arrow stream, it is truncated or corrupt ({text})"
        ) from error
    return table


def _json(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _MAX_JSON:
        raise LimitError(f"{file}: exceeds the limit of {_MAX_JSON} bytes")
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{file}: is not a JSON object")
    return value


def _info(dataset: Dataset) -> dict[str, Any]:
    """What `datasets` needs to load the folder: the features; the input's sizes and checksums are void."""
    if isinstance(dataset.reader, tables.TableReader):
        source = dataset.path / "dataset_info.json"
        info = _json(source) if source.is_file() else {"features": dict(dataset.layout["features"])}
        stale = ("splits", "download_checksums", "download_size", "dataset_size", "size_in_bytes")
        return {key: value for key, value in info.items() if key not in stale}
    return {"features": tables.converted_features(dataset)}


def _state(dataset: Dataset, names: list[str]) -> dict[str, Any]:
    source = dataset.path / "state.json"
    old = _json(source) if dataset.format == "arrow" and source.is_file() else {}
    new = {"_data_files": [{"filename": name} for name in names], "_fingerprint": dataset.digest[:16]}
    base: dict[str, Any] = {
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
    }
    return {**base, "_split": None, **old, **new}


def _write_json(file: Path, value: dict[str, Any]) -> None:
    with file.open("x", encoding="utf-8") as out:
        json.dump(value, out, indent=2)
