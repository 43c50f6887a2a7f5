"""WebDataset shards (https://github.com/webdataset/webdataset): tar files in which a sample is the members
that share a base name: an image beside `.cls` (its label) or `.json` (its label and other fields).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats import tar
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.labels import USUAL_LABELS, Labels, no_labels, optional_label_column, read_labels
from bezoar.data.formats.paths import one_split, safe_name, shard_names, shards, unused
from bezoar.data.formats.samples import MAX_SMALL, captioned, field_columns, parse_fields, with_field
from bezoar.data.image_files import MAX_BYTES, SUFFIXES, suffix
from bezoar.data.images import encode_png
from bezoar.errors import InputError, LimitError, OutputError
from bezoar.files import atomic_directory, atomic_file

_BLOCK = 2**20  # bytes copied at a time
_MEMBER = np.dtype([("start", "i8"), ("data", "i8"), ("size", "i8"), ("end", "i8")])


@dataclass(frozen=True)
class TarReader:
    """The `Reader` of samples in tar shards; sample i owns members first[i]:first[i + 1]."""

    files: tuple[Path, ...]
    shard: NDArray[np.int32]  # (N,)
    first: NDArray[np.int64]  # (N + 1,)
    members: NDArray[Any]  # (M,) of _MEMBER
    names: pa.StringArray  # (M,)
    image: NDArray[np.int64]  # (N,) the member with the image, or -1

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Image bytes of `rows`; b"" for a sample without an image."""
        with _Shards(self.files) as shards:
            for row in rows.tolist():
                place = int(self.image[row])
                yield self.content(shards, row, place, MAX_BYTES + 1) if place >= 0 else b""

    def further(self, rows: NDArray[np.int64]) -> Iterator[dict[str, Iterator[bytes]]]:
        """The members of `rows` beside the image, by what follows the sample's name (`.txt`, `.mask.png`)."""
        with _Shards(self.files) as shards:
            for row in rows.tolist():
                yield {
                    name[len(_split_name(name)[0]) :]: self._pieces(shards, row, place)
                    for place, name in self.of(row)
                    if place != self.image[row]
                }

    def content(self, shards: _Shards, row: int, place: int, limit: int) -> bytes:
        """Up to `limit` bytes of a member."""
        member = self.members[place]
        return shards.read(int(self.shard[row]), int(member["data"]), min(int(member["size"]), limit))

    def copy(
        self, shards: _Shards, row: int, place: int, out: BinaryIO, name: str, content: bytes | None
    ) -> None:
        """Append a member to an archive: byte for byte, headers too, unless it has a new name or content."""
        member, shard = self.members[place], int(self.shard[row])
        if content is not None:
            tar.write_member(out, name, content)
            return
        begin = int(member["start"])
        if name != self.names[place].as_py():
            out.write(tar.header(name, int(member["size"])))
            begin = int(member["data"])
        for offset in range(begin, int(member["end"]), _BLOCK):
            out.write(shards.read(shard, offset, min(_BLOCK, int(member["end"]) - offset)))

    def _pieces(self, shards: _Shards, row: int, place: int) -> Iterator[bytes]:
        begin, size = int(self.members[place]["data"]), int(self.members[place]["size"])
        for offset in range(0, size, _BLOCK):
            yield shards.read(int(self.shard[row]), begin + offset, min(_BLOCK, size - offset))

    def of(self, row: int) -> list[tuple[int, str]]:
        """Places and names of a sample's members."""
        return [(i, self.names[i].as_py()) for i in range(int(self.first[row]), int(self.first[row + 1]))]


class _Shards:
    """The shards, opened as they are needed; one stays open."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files, self._stack, self._open = files, ExitStack(), -1
        self._stream: BinaryIO

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        if shard != self._open:
            self._stack.close()
            self._stream, self._open = self._stack.enter_context(self._files[shard].open("rb")), shard
        self._stream.seek(offset)
        return self._stream.read(size)


@dataclass
class _Index:
    """The samples of all shards while they are being found."""

    keys: list[str] = field(default_factory=list)
    shard: list[int] = field(default_factory=list)
    members: list[list[tar.Member]] = field(default_factory=list)
    classes: list[str | None] = field(default_factory=list)
    fields: list[dict[str, Any]] = field(default_factory=list)
    texts: dict[int, tar.Member] = field(default_factory=dict)  # by sample; read when they are captions


class WebDatasetFormat:
    """One `.tar`, a folder of shards, or a glob."""

    name = "webdataset"

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Headers, labels and JSON fields are read in one pass; images are not, and nothing is extracted."""
        files = one_split(path, shards(path, ".tar"))
        index = _Index()
        for number, file in enumerate(files):
            _add(index, file, number)
        reader = _reader(index, files)
        if not (reader.image >= 0).any():
            raise InputError(f"{path}: holds no images ({', '.join(sorted(SUFFIXES))})")
        columns = field_columns(index.fields)
        if index.texts and not _has_labels(index, columns, options):
            columns = captioned(columns, lambda: _texts(index, files))
        labels, source = _labels(index, columns, options, path)
        keys = index.keys
        if len(set(keys)) < len(keys):
            names = shard_names(files)
            keys = [f"{names[shard]}/{key}" for shard, key in zip(index.shard, keys, strict=True)]
        return Dataset(
            path=path,
            format=self.name,
            modality="image",
            keys=pa.array(keys, pa.string()),
            labels=labels.indices,
            label_names=labels.names,
            columns=columns.select([name for name in columns.column_names if name != source]),
            reader=reader,
            rows=np.arange(len(keys), dtype=np.int64),
            layout={
                "label": source,
                "values": labels.values,
                "prefixes": index.keys,
                "shards": shard_names(files),
            },
        )

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """One shard when `path` ends in `.tar`, else a folder with the shards of the input."""
        if dataset.modality != "image":
            raise OutputError(
                f"{path}: webdataset holds images, not {dataset.modality}; choose another format"
            )
        parts = _outputs(dataset)
        keys: list[str] = dataset.keys.to_pylist()
        if path.suffix == ".tar":
            with atomic_file(path) as out:
                _write_shard(dataset, np.arange(len(dataset)), out, keys)
            return keys
        with atomic_directory(path) as folder:
            for name, indices in parts:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("xb") as out:
                    _write_shard(dataset, indices, out, keys)
        if len(set(keys)) < len(keys):
            for name, indices in parts:
                for index in indices.tolist():
                    keys[index] = f"{name}/{keys[index]}"
        return keys


WEBDATASET = WebDatasetFormat()


def _add(index: _Index, file: Path, number: int) -> None:
    """The samples of one shard, in the order in which they begin."""
    place: dict[str, int] = {}
    with file.open("rb") as stream:
        for member in tar.members(file):
            prefix, extension = _split_name(member.name)
            if extension is None:
                continue
            if prefix not in place:
                place[prefix] = len(index.keys)
                index.keys.append(prefix)
                index.shard.append(number)
                index.members.append([])
                index.classes.append(None)
                index.fields.append({})
            sample = place[prefix]
            index.members[sample].append(member)
            if extension == "cls":
                index.classes[sample] = _small(file, stream, member).strip()
            elif extension == "json":
                text = _small(file, stream, member)
                index.fields[sample] = parse_fields(text, f"{file}: {member.name!r}")
            elif extension == "txt":
                index.texts[sample] = member


def _split_name(name: str) -> tuple[str, str | None]:
    """`a/b.c.jpg` -> (`a/b`, `c.jpg`), as WebDataset does; None without a dot or for a hidden file."""
    folder, _, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), (extension.lower() if stem and dot else None)


def _small(file: Path, stream: BinaryIO, member: tar.Member) -> str:
    if member.size > MAX_SMALL:
        raise LimitError(f"{file}: {member.name!r} exceeds the limit of {MAX_SMALL} bytes for labels")
    stream.seek(member.data)
    try:
        return stream.read(member.size).decode()
    except UnicodeDecodeError:
        raise InputError(f"{file}: {member.name!r} is not valid UTF-8") from None


def _texts(index: _Index, files: list[Path]) -> list[str | None]:
    """The `.txt` of each sample."""
    texts: list[str | None] = [None] * len(index.keys)
    for number, file in enumerate(files):
        with file.open("rb") as stream:
            for sample, member in index.texts.items():
                if index.shard[sample] == number:
                    texts[sample] = _small(file, stream, member)
    return texts


def _reader(index: _Index, files: list[Path]) -> TarReader:
    flat = [member for members in index.members for member in members]
    first = np.concatenate([[0], np.cumsum([len(members) for members in index.members], dtype=np.int64)])
    image = np.full(len(index.keys), -1, np.int64)
    for sample, members in enumerate(index.members):
        for offset, member in enumerate(members):
            if image[sample] < 0 and os.path.splitext(member.name)[1].lower() in SUFFIXES:
                image[sample] = first[sample] + offset
    return TarReader(
        files=tuple(files),
        shard=np.array(index.shard, np.int32),
        first=first.astype(np.int64),
        members=np.array([(m.start, m.data, m.size, m.end) for m in flat], _MEMBER),
        names=pa.array([m.name for m in flat], pa.string()),
        image=image,
    )


def _has_labels(index: _Index, columns: pa.Table, options: OpenOptions) -> bool:
    asked = options.label_column is not None or any(value is not None for value in index.classes)
    return asked or bool(set(USUAL_LABELS) & set(columns.column_names))


def _labels(index: _Index, columns: pa.Table, options: OpenOptions, path: Path) -> tuple[Labels, str | None]:
    """Labels from `.cls` members, or else from a field of the `.json` members; and which it was, None where there are none."""
    if options.label_column in (None, "cls") and any(value is not None for value in index.classes):
        numbers = all(value is None or value.removeprefix("-").isdecimal() for value in index.classes)
        values = [value if value is None or not numbers else int(value) for value in index.classes]
        return read_labels(pa.array(values), None, f"{path}: .cls"), "cls"
    source = optional_label_column(options.label_column, columns.column_names, f"{path}: no .cls members and")
    if source is None:
        return no_labels(len(index.keys)), None
    return read_labels(columns[source], None, f"{path}: json field {source!r}"), source


def _outputs(dataset: Dataset) -> list[tuple[str, NDArray[np.int64]]]:
    reader = dataset.reader
    if not isinstance(reader, TarReader):
        return [("00000.tar", np.arange(len(dataset)))]
    home = reader.shard[dataset.rows]
    parts = [(name, np.flatnonzero(home == i)) for i, name in enumerate(dataset.layout["shards"])]
    return [(name, indices) for name, indices in parts if len(indices)]


def _write_shard(dataset: Dataset, indices: NDArray[np.int64], out: BinaryIO, keys: list[str]) -> None:
    """Append the samples; `keys` takes the prefix under which each was written."""
    taken: set[str] = set()
    if isinstance(dataset.reader, TarReader):
        with _Shards(dataset.reader.files) as shards:
            for index in indices.tolist():
                keys[index] = _copy_sample(dataset, dataset.reader, shards, index, out, taken)
    else:
        for index, content in zip(indices.tolist(), dataset.contents(indices), strict=True):
            keys[index] = _new_sample(dataset, index, content, out, taken)
    tar.write_end(out)


def _copy_sample(
    dataset: Dataset, reader: TarReader, shards: _Shards, index: int, out: BinaryIO, taken: set[str]
) -> str:
    """All members of a sample, byte for byte but for a changed image, label or (where it is taken) name."""
    row, label = int(dataset.rows[index]), int(dataset.labels[index])
    old = dataset.layout["prefixes"][row]
    prefix = unused(old, taken)
    value = dataset.layout["values"][label] if label >= 0 else None
    for place, name in reader.of(row):
        new = None
        if place == reader.image[row]:
            new = dataset.changes.get(index)
        elif value is not None and reader.members[place]["size"] <= MAX_SMALL:
            content = reader.content(shards, row, place, MAX_SMALL)
            new = _with_label(name, content, dataset.layout["label"], value)
        reader.copy(shards, row, place, out, prefix + name[len(old) :], new)
    return prefix


def _with_label(name: str, content: bytes, source: str | None, value: int | str) -> bytes | None:
    """New content of a member that holds another label; None for any other member."""
    _, extension = _split_name(name)
    if source == "cls" and extension == "cls":
        return None if content.decode().strip() == str(value) else str(value).encode()
    if source not in (None, "cls") and extension == "json":
        return with_field(content, source, value)
    return None


def _new_sample(dataset: Dataset, index: int, content: bytes, out: BinaryIO, taken: set[str]) -> str:
    """An image and a `.json` with its label's name, from a dataset of another format."""
    key = os.path.splitext(dataset.key(index))[0]
    prefix = unused("/".join(safe_name(part).replace(".", "_") for part in key.split("/")), taken)
    if dataset.raw_shape is not None:
        content = encode_png(content, dataset.raw_shape)
    label = int(dataset.labels[index])
    source = {name: dataset.columns[name][index].as_py() for name in dataset.columns.column_names}
    fields = {**source, "label": dataset.label_names[label] if label >= 0 else None}
    tar.write_member(out, prefix + suffix(content), content)
    tar.write_member(out, f"{prefix}.json", json.dumps(fields, ensure_ascii=False, default=str).encode())
    return prefix
