"""Text as CSV or JSON Lines: a `text` and a `label` column, anything else beside. (Text as Parquet:
`parquet.py`.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats import lines
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.labels import label_column, read_labels
from bezoar.data.formats.paths import row_keys
from bezoar.data.formats.tables import USUAL_TEXTS
from bezoar.errors import InputError, OutputError
from bezoar.files import atomic_file


@dataclass(frozen=True)
class LineReader:
    """The `Reader` of one field of a file of rows."""

    table: lines.LineTable
    column: str

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """The texts of `rows`, UTF-8."""
        for text in self.table.field(rows, self.column):
            yield (text or "").encode("utf-8", "replace")


class TextFormat:
    """One `.csv` or `.jsonl` file; rows that did not change are copied byte for byte."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Everything but the text is read."""
        names = lines.columns_of(path)
        label = label_column(options.label_column, names, path)
        content = _text_column(path, names, label, options.content_column)
        table = lines.read(path, leave_out=content)
        count = len(table.starts) - 1
        if count == 0:
            raise InputError(f"{path}: holds no records")
        labels = read_labels(table.columns[label], None, f"{path}: column {label!r}")
        return Dataset(
            path=path,
            format=self.name,
            modality="text",
            keys=pa.array(row_keys(path.name, range(count)), pa.string()),
            labels=labels.indices,
            label_names=labels.names,
            columns=table.columns.drop_columns([label]),
            reader=LineReader(table, content),
            rows=np.arange(count, dtype=np.int64),
            layout={"label": label, "values": labels.values},
        )

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """One file of the same format."""
        if dataset.modality != "text":
            raise OutputError(
                f"{path}: {self.name} holds text, not {dataset.modality}s; choose another format"
            )
        if path.suffix != self._suffix:
            raise OutputError(f"{path}: let the name of a {self.name} file end in {self._suffix}")
        reader = dataset.reader
        native = isinstance(reader, LineReader) and reader.table.file.suffix == self._suffix
        with atomic_file(path) as out:
            for row in _same_rows(dataset) if native else _new_rows(dataset, self._suffix):
                out.write(row)
        return row_keys(path.name, range(len(dataset)))

    @property
    def _suffix(self) -> str:
        return f".{self.name}"


CSV = TextFormat("csv")
JSONL = TextFormat("jsonl")


def _text_column(path: Path, names: tuple[str, ...], label: str, wanted: str | None) -> str:
    others = [name for name in names if name != label]
    found = [name for name in ((wanted,) if wanted is not None else USUAL_TEXTS) if name in others]
    if not found and wanted is None and len(others) == 1:
        found = others
    if not found:
        sought = repr(wanted) if wanted is not None else "/".join(USUAL_TEXTS)
        raise InputError(f"{path}: no text column {sought}; columns: {', '.join(names)}")
    return found[0]


def _same_rows(dataset: Dataset) -> Iterator[bytes]:
    """The header and the rows of the input; a row is written anew only where its text or label changed."""
    reader = dataset.reader
    assert isinstance(reader, LineReader)  # noqa: S101 - the caller asked
    yield reader.table.header
    values, label_field = dataset.layout["values"], dataset.layout["label"]
    for index, (row, label) in enumerate(zip(dataset.rows.tolist(), dataset.labels.tolist(), strict=True)):
        fields = {label_field: values[label] if label >= 0 else None}
        if index in dataset.changes:
            fields[reader.column] = dataset.changes[index].decode("utf-8", "replace")
        yield reader.table.row(row, fields)


def _new_rows(dataset: Dataset, kind: str) -> Iterator[bytes]:
    names = ("text", "label", *(n for n in dataset.columns.column_names if n not in ("text", "label")))
    if kind == ".csv":
        yield lines.encode_row({name: name for name in names}, names, kind)
    for record in dataset:
        label = dataset.label_names[record.label] if record.label is not None else None
        text = record.content.decode("utf-8", "replace")
        yield lines.encode_row({**record.source, "text": text, "label": label}, names, kind)
