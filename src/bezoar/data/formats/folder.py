"""Image folders: one sub-folder per class, Hugging Face's `metadata.csv` / `metadata.jsonl` beside the images, or shards
with a JSON file beside each image (`sidecars`).

Keys are relative POSIX paths. Files that do not have an image's suffix are no records; links that lead out of
the folder are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.data.dataset import NO_LABEL, Dataset
from bezoar.data.formats import lines
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.labels import label_column, read_labels
from bezoar.data.formats.paths import is_clean, safe_name, split_of, unused
from bezoar.data.formats.sidecars import beside, has_sidecars, read_sidecars, sidecars
from bezoar.data.image_files import MAX_BYTES, SUFFIXES, suffix
from bezoar.errors import InputError
from bezoar.files import atomic_directory

_METADATA = ("metadata.csv", "metadata.jsonl")
_UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class FolderReader:
    """The `Reader` of files below a folder, by row number in `names`."""

    root: Path
    names: pa.StringArray

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Bytes of the files; b"" for one that cannot be read; a file above the limit is cut behind it."""
        for row in rows.tolist():
            try:
                with (self.root / self.names[row].as_py()).open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    yield file.read(min(size, MAX_BYTES + 1))
            except OSError:
                yield b""


@dataclass(frozen=True)
class SidecarReader(FolderReader):
    """The `Reader` of images that have a JSON file and a text beside them."""

    def further(self, rows: NDArray[np.int64]) -> Iterator[dict[str, bytes]]:
        """The files beside the images of `rows`, by suffix."""
        return (beside(self.root, self.names[row].as_py()) for row in rows.tolist())


class ImageFolderFormat:
    """`root/<class>/**/<image>`."""

    name = "folder"

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Only names are read."""
        metadata = metadata_file(path)
        if metadata is not None:
            return _open_metadata(path, metadata, options)
        if has_sidecars(path):
            return _open_sidecars(path, options)
        if options.label_column is not None:
            raise InputError(f"{path}: no label column {options.label_column!r}: sub-folders are the labels")
        names = sorted(image_names(path, strict=True))
        if not names:
            raise InputError(f"{path}: holds no images ({', '.join(sorted(SUFFIXES))})")
        classes = [_class_of(name) for name in names]
        _refuse_splits(path, names)
        found = tuple(sorted({c for c in classes if c is not None}))
        if not found:
            raise InputError(
                f"{path}: has images but no class sub-folders and no {' or '.join(_METADATA)} with labels"
            )
        index = {name: i for i, name in enumerate(found)}
        labels = np.array([NO_LABEL if c is None else index[c] for c in classes], dtype=np.int32)
        return _dataset(path, names, labels, found, pa.table({}), {})

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """A folder again; a record whose label was changed moves to the folder of its new class."""
        kept = "metadata" in dataset.layout or "sidecars" in dataset.layout
        names = [str(key) for key in dataset.keys.to_pylist()] if kept else _names(dataset)
        with atomic_directory(path) as folder:
            for name, content in zip(names, _files(dataset), strict=True):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    file.write(content)
            if "metadata" in dataset.layout:
                _write_metadata(dataset, folder)
            if "sidecars" in dataset.layout:
                for name, content in sidecars(dataset):
                    (folder / name).write_bytes(content)
        return names


FOLDER = ImageFolderFormat()


def _dataset(
    path: Path, names: Sequence[str], labels: NDArray[np.int32], classes: tuple[str, ...], columns: pa.Table,
    layout: dict[str, object],
) -> Dataset:  # fmt: skip
    keys = pa.array(names, pa.string())
    return Dataset(
        path=path,
        format="folder",
        modality="image",
        keys=keys,
        labels=labels,
        label_names=classes,
        columns=columns,
        reader=FolderReader(path, keys),
        rows=np.arange(len(names), dtype=np.int64),
        layout=layout,
    )


def image_names(root: Path, *, strict: bool) -> Iterator[str]:
    """Relative POSIX paths of the images below `root`; with `strict`, links and odd names are refused."""
    real, pending = root.resolve(), [""]
    while pending:
        prefix, below = pending.pop(), []
        with _scanned(os.path.join(root, prefix)) as entries:
            for entry in entries:
                name = entry.name
                if strict and entry.is_symlink():
                    where = os.path.join(root, prefix + name)
                    if entry.is_dir() or not Path(where).resolve().is_relative_to(real):
                        raise InputError(
                            f"{where}: is a link to another place; put the files themselves into the folder"
                        )
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    if not entry.is_symlink():
                        below.append(f"{prefix}{name}/")
                elif os.path.splitext(name)[1].lower() in SUFFIXES:
                    relative = prefix + name
                    if strict and not name.isascii() and not _is_utf8(relative):
                        raise InputError(
                            f"{root}: the file name {relative!r} is not valid UTF-8; rename the file"
                        )
                    yield relative
        pending += sorted(below, reverse=True)


def _scanned(folder: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """The entries of a folder; none where it cannot be read, as with `os.walk`."""
    try:
        return os.scandir(folder)
    except OSError:
        return nullcontext(iter(()))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _class_of(name: str) -> str | None:
    parts = name.split("/", 1)
    return parts[0] if len(parts) == 2 else None


def _refuse_splits(path: Path, names: Sequence[str]) -> None:
    """`train/cat/1.png` below `path`: its sub-folders are splits, not classes."""
    tops = {name.split("/", 1)[0] for name in names}
    deep = all(name.count("/") >= 2 or metadata_file(path / name.split("/", 1)[0]) for name in names)
    if deep and all(split_of(top) == top.lower() for top in tops):
        raise InputError(
            f"{path}: holds splits ({', '.join(sorted(tops))}), not classes; name one: {path / min(tops)}"
        )


def _names(dataset: Dataset) -> list[str]:
    """One path per record: its own where the class agrees, else `<class>/<file name>`."""
    folders = [safe_name(name) if dataset.format != "folder" else name for name in dataset.label_names]
    keys = [str(key) for key in dataset.keys.to_pylist()]
    homes = [folders[label] if label >= 0 else None for label in dataset.labels.tolist()]
    stays = [
        dataset.format == "folder" and _class_of(key) == home for key, home in zip(keys, homes, strict=True)
    ]
    taken = {key.casefold() for key, stay in zip(keys, stays, strict=True) if stay}
    names = []
    for index, (key, home, stay) in enumerate(zip(keys, homes, stays, strict=True)):
        if not stay:
            name = safe_name(PurePosixPath(key).name)
            if os.path.splitext(name)[1].lower() not in SUFFIXES:
                raw = dataset.raw_shape is not None
                name += ".png" if raw else suffix(next(dataset.contents([index])))
            key = unused(f"{home if home is not None else _UNLABELLED}/{name}", taken)
        names.append(key)
    return names


def _files(dataset: Dataset) -> Iterator[bytes]:
    from bezoar.data.images import encode_png

    for content in dataset.contents():
        yield content if dataset.raw_shape is None else encode_png(content, dataset.raw_shape)


def metadata_file(path: Path) -> Path | None:
    """Hugging Face's metadata in the folder, if there are any."""
    return next((path / name for name in _METADATA if (path / name).is_file()), None)


def _open_metadata(path: Path, metadata: Path, options: OpenOptions) -> Dataset:
    table = lines.read(metadata)
    names = table.columns.column_names
    if "file_name" not in names:
        raise InputError(f"{metadata}: no column 'file_name'; columns: {', '.join(names)}")
    label = label_column(options.label_column, [n for n in names if n != "file_name"], metadata)
    keys = table.columns["file_name"].to_pylist()
    for key in keys:
        if not isinstance(key, str) or not is_clean(key):
            raise InputError(f"{metadata}: file_name {str(key)[:80]!r} is not a path inside the folder")
        if not (path / key).resolve().is_relative_to(path.resolve()):
            raise InputError(f"{metadata}: file_name {key[:80]!r} is a link out of the folder")
    if len(set(keys)) < len(keys):
        raise InputError(f"{metadata}: lists a file twice; remove the duplicate rows")
    labels = read_labels(table.columns[label], None, f"{metadata}: column {label!r}")
    others = table.columns.drop_columns(["file_name", label])
    layout = {"metadata": table, "label": label, "values": labels.values}
    return _dataset(path, keys, labels.indices, labels.names, others, layout)


def _open_sidecars(path: Path, options: OpenOptions) -> Dataset:
    names = sorted(image_names(path, strict=True))
    labels, columns, label = read_sidecars(path, names, options)
    layout: dict[str, object] = {"sidecars": True, "label": label, "values": labels.values}
    dataset = _dataset(path, names, labels.indices, labels.names, columns, layout)
    return replace(dataset, reader=SidecarReader(path, dataset.keys))


def _write_metadata(dataset: Dataset, folder: Path) -> None:
    table: lines.LineTable = dataset.layout["metadata"]
    values = dataset.layout["values"]
    with (folder / table.file.name).open("xb") as out:
        out.write(table.header)
        for row, label in zip(dataset.rows.tolist(), dataset.labels.tolist(), strict=True):
            new = values[label] if label >= 0 else None
            out.write(table.row(row, {dataset.layout["label"]: new}))
