"""The records of a dataset as columns: keys, digests, sizes, media types, labels and sources, sorted by key.

A record of an image folder is a file and is hashed once, with the files; the records inside Parquet, tar, IDX, npz, Arrow
or text are read through `bezoar.data` and hashed one by one, with all that they have further (`further`). A folder in no
known format has its files for records.
"""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bezoar.custody.seal.description import facts
from bezoar.custody.seal.further import further_digests, is_digest, value_json
from bezoar.custody.seal.hashing import SIZE, Files, hash_tree
from bezoar.custody.seal.manifest import MAX_SOURCES, digests
from bezoar.custody.signing.resources import DEFAULT_IGNORES
from bezoar.errors import InputError, LimitError, UnknownFormatError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from bezoar.data import Dataset

BY_FILE = "files"  # the format of what is sealed file by file
OCTETS = "application/octet-stream"
_BLOCK = 65_536  # rows handled at a time
_MEDIA_TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp",
    ".gif": "image/gif", ".tif": "image/tiff", ".tiff": "image/tiff", ".ppm": "image/x-portable-anymap",
    ".pgm": "image/x-portable-graymap", ".pbm": "image/x-portable-bitmap", ".txt": "text/plain",
    ".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonl", ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet", ".tar": "application/x-tar", ".gz": "application/gzip",
    ".zip": "application/zip", ".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".mp4": "video/mp4",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How the records of a path are found: `by_file`, or as a dataset with these columns (None: the usual ones)."""

    by_file: bool = False
    label_column: str | None = None
    content_column: str | None = None

    def description(self, format_name: str) -> dict[str, str]:
        """What the manifest says of it."""
        columns = {"label_column": self.label_column, "content_column": self.content_column}
        return {
            "format": format_name,
            **{name: value for name, value in columns.items() if value is not None},
        }

    @classmethod
    def described(cls, description: Mapping[str, str]) -> Layout:
        """The layout that a manifest describes."""
        by_file = description.get("format") == BY_FILE
        return cls(by_file, description.get("label_column"), description.get("content_column"))


class Contents(NamedTuple):
    """What is known of the content of N records, in the dataset's order.

    `sha256` uint8 (N, 32), `sizes` int64 (N,) in bytes, `media_types` N texts (Arrow dictionary); `further` the digests of
    what the records have beside it (`further_digests`).
    """

    sha256: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    media_types: pa.Array
    further: Mapping[str, pa.Array]


class KnownContents(Protocol):
    """The contents of a dataset from an earlier time."""

    def contents(self, files: Files, dataset: Dataset) -> Contents | None:
        """What was found then, when none of the files has changed since and the keys are the same."""
        ...


@dataclass(frozen=True)
class Records:
    """N records sorted by key: Arrow columns, `sha256` uint8 (N, 32), `sizes` int64 (N,).

    `sources` holds one text column per further column of the dataset, and the digests of what is further; `format` is the
    dataset's, or BY_FILE; `facts` are those of the whole (`description.facts`).
    """

    format: str
    keys: pa.Array
    sha256: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    media_types: pa.Array
    labels: pa.Array
    sources: Mapping[str, pa.Array]
    facts: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def blocks(self) -> Iterator[list[pa.Array]]:
        """The columns of the manifest, a block of rows at a time."""
        import pyarrow as pa

        for start in range(0, len(self), _BLOCK):
            stop = min(start + _BLOCK, len(self))
            texts = [self.keys, self.media_types, self.labels, *self.sources.values()]
            key, media_type, label, *sources = (_plain(text.slice(start, stop - start)) for text in texts)
            sizes = pa.array(self.sizes[start:stop])
            yield [key, digests(self.sha256[start:stop]), sizes, media_type, label, *sources]


def open_records(path: Path, layout: Layout) -> Dataset | None:
    """The dataset at `path`, or None where its files are to be taken one by one."""
    from bezoar.data import open as open_path

    if layout.by_file:
        return None
    try:
        return open_path(path, label_column=layout.label_column, content_column=layout.content_column)
    except UnknownFormatError:
        if layout.label_column is None and layout.content_column is None:
            return None
        raise


def read_records(files: Files, layout: Layout, known: KnownContents | None = None) -> Records:
    """The records of `files`, each with the digest of its content.

    InputError when two records have the same key, when a record's content cannot be read or when the dataset is malformed.
    """
    dataset = open_records(files.root, layout)
    if dataset is None:
        return _by_file(files)
    return _sorted(
        _of_folder(dataset, files) if dataset.format == "folder" else _of_contents(dataset, files, known)
    )


def read_some(path: Path, layout: Layout, pattern: str) -> Records:
    """The records whose keys match `pattern`; the content of others is not read."""
    dataset = open_records(path, layout)
    if dataset is None:
        match = re.compile(translate(pattern)).match
        return _by_file(hash_tree(path, ignored=DEFAULT_IGNORES, wanted=lambda name: match(name) is not None))
    part = dataset.select(matching(dataset.keys, pattern))
    return _sorted(_assembled(part, hash_contents(part)))


def whole(dataset: Dataset, keys: Collection[str]) -> Records:
    """The records with these keys, with their contents and all that they have further."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = pc.is_in(dataset.keys, pa.array(list(keys), pa.string()))
    part = dataset.select(chosen.to_numpy(zero_copy_only=False))
    return _sorted(_assembled(part, hash_contents(part)))


def described(dataset: Dataset) -> Records:
    """The records of a dataset without their contents (digests of zeros) and what is further; no content is read."""
    import numpy as np
    import pyarrow as pa

    count = len(dataset)
    contents = Contents(
        np.zeros((count, 32), np.uint8), np.zeros(count, np.int64), pa.nulls(count, pa.string()), {}
    )
    return _sorted(_assembled(dataset, contents))


def matching(keys: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """Which keys match a shell pattern (`*` also matches `/`), boolean (N,)."""
    import numpy as np

    match = re.compile(translate(pattern)).match
    return np.fromiter((match(key) is not None for key in keys.to_pylist()), bool, len(keys))


def is_by_file(records: Records) -> bool:
    """Whether every record is a file, with the file's path for its key."""
    return records.format in (BY_FILE, "folder")


def media_type(name: str) -> str:
    """The media type of a file, by its name alone."""
    return _MEDIA_TYPES.get(os.path.splitext(name)[1].lower(), OCTETS)


def label_texts(dataset: Dataset) -> pa.Array:
    """The name of each record's label; null for none."""
    import pyarrow as pa

    places = pa.array(dataset.labels, mask=dataset.labels < 0)
    try:
        names = pa.array(dataset.label_names, pa.string())
    except UnicodeEncodeError:
        raise InputError(f"{dataset.path}: a class name is not valid Unicode; rename it") from None
    return pa.DictionaryArray.from_arrays(places, names)


def source_texts(dataset: Dataset) -> dict[str, pa.Array]:
    """The dataset's columns as texts; of raw pixels `shape`, height x width x channels, is one more."""
    import numpy as np
    import pyarrow as pa

    names = dataset.columns.column_names
    shapes: dict[str, pa.Array] = {}
    if dataset.raw_shape is not None:
        text = "x".join(map(str, dataset.raw_shape))
        shapes["shape"] = pa.DictionaryArray.from_arrays(np.zeros(len(dataset), np.int8), pa.array([text]))
    if len({*names, *shapes}) < len(names) + len(shapes):
        raise InputError(f"{dataset.path}: two columns have the same name; rename one")
    if odd := [name for name in names if is_digest(name)]:
        raise InputError(f"{dataset.path}: column {odd[0]!r}: a digest has such a name; rename it")
    texts = {
        name: canonical_text(dataset.columns[name], f"{dataset.path}: column {name!r}") for name in names
    }
    return {**texts, **shapes}


def canonical_text(column: pa.ChunkedArray, where: str) -> pa.Array:
    """The text of each value: a text itself, `true`/`false`, decimal digits, ISO 8601 for times; RFC 8785 for fractions, and
    for nested values (`value_json`).
    """
    import pyarrow as pa
    import rfc8785

    values = column.combine_chunks()
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):
        odd = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
        texts = [
            v if v is None else odd.get(str(v)) or rfc8785.dumps(v).decode()
            for v in values.cast(pa.float64()).to_pylist()
        ]
        return pa.array(texts, pa.string())
    if pa.types.is_nested(kind):
        nested = (None if v is None else value_json(v, where).decode() for v in values.to_pylist())
        return pa.array(nested, pa.string())
    if pa.types.is_duration(kind):
        values = values.cast(pa.int64())
    try:
        return values.cast(pa.string())
    except pa.ArrowException as error:
        raise InputError(f"{where}: {kind} has no text form; leave the column out ({error})") from error


def _by_file(files: Files) -> Records:
    import numpy as np
    import pyarrow as pa

    keys = pa.array([files.root.resolve().name], pa.string()) if files.single else files.names
    none = pa.DictionaryArray.from_arrays(pa.nulls(len(keys), pa.int8()), pa.array([], pa.string()))
    sizes = np.ascontiguousarray(files.status[:, SIZE])
    return Records(BY_FILE, keys, files.sha256, sizes, _by_suffix(keys), none, {})


def _of_folder(dataset: Dataset, files: Files) -> Records:
    """The records of an image folder: their digests are those of the files."""
    import numpy as np
    import pyarrow.compute as pc

    if dataset.keys.equals(files.names):  # no file is anything else than a record
        places = slice(None)
    else:
        found = pc.index_in(dataset.keys, files.names)
        if found.null_count:
            key = dataset.keys[pc.index(found.is_null(), True).as_py()].as_py()
            raise InputError(
                f"{dataset.path}: {key} is not among the files that were hashed; it is missing, hidden or ignored"
            )
        places = found.to_numpy()
    sizes = np.ascontiguousarray(files.status[places, SIZE])
    further = further_digests(dataset)
    return _assembled(dataset, Contents(files.sha256[places], sizes, _by_suffix(dataset.keys), further))


def _of_contents(dataset: Dataset, files: Files, known: KnownContents | None) -> Records:
    """The records inside files."""
    contents = known.contents(files, dataset) if known is not None else None
    return _assembled(dataset, contents or hash_contents(dataset))


def _assembled(dataset: Dataset, contents: Contents) -> Records:
    """The records of a dataset with these contents; LimitError for more source columns than a manifest may have."""
    sources = {**source_texts(dataset), **contents.further}
    if len(sources) > MAX_SOURCES:
        raise LimitError(
            f"{dataset.path}: {len(sources):,} columns and members; at most {MAX_SOURCES:,} can be sealed"
        )
    return Records(
        dataset.format,
        dataset.keys,
        contents.sha256,
        contents.sizes,
        contents.media_types,
        label_texts(dataset),
        sources,
        facts(dataset),
    )


def hash_contents(dataset: Dataset) -> Contents:
    """Read and hash every record of a dataset, and what it has further."""
    import numpy as np
    import pyarrow as pa

    from bezoar.data.image_files import MAX_BYTES, suffix
    from bezoar.progress import track

    sha256 = bytearray()
    sizes = np.zeros(len(dataset), np.int64)
    fixed = "text/plain" if dataset.modality == "text" else OCTETS if dataset.raw_shape is not None else None
    names: dict[str, int] = {}
    kinds = np.zeros(len(dataset), np.int32)
    with track("hash records", len(dataset)) as bar:
        for index, content in enumerate(dataset.contents()):
            if len(content) > MAX_BYTES:
                raise LimitError(
                    f"{dataset.path}: {dataset.key(index)} exceeds the limit of {MAX_BYTES:,} bytes a record"
                )
            sha256 += hashlib.sha256(content).digest()
            sizes[index] = len(content)
            kinds[index] = names.setdefault(fixed or _MEDIA_TYPES.get(suffix(content), OCTETS), len(names))
            bar.advance()
    media_types = pa.DictionaryArray.from_arrays(kinds, pa.array(list(names), pa.string()))
    rows = np.frombuffer(bytes(sha256), np.uint8).reshape(-1, 32)
    return Contents(rows, sizes, media_types, further_digests(dataset))


def _by_suffix(keys: pa.Array) -> pa.Array:
    """The media type of each file, by its name alone."""
    import numpy as np
    import pyarrow as pa

    names: dict[str, int] = {}
    kinds = array("i")
    for start in range(0, len(keys), _BLOCK):
        part = keys.slice(start, _BLOCK).to_pylist()
        kinds.extend(names.setdefault(media_type(key), len(names)) for key in part)
    return pa.DictionaryArray.from_arrays(np.frombuffer(kinds, np.int32), pa.array(list(names), pa.string()))


def _sorted(records: Records) -> Records:
    """The records in the order of their keys; InputError when a key occurs twice."""
    import pyarrow.compute as pc

    if pc.all(pc.less(records.keys[:-1], records.keys[1:])).as_py() is not False:
        return records
    order = pc.sort_indices(records.keys)
    keys = records.keys.take(order)
    same = pc.index(pc.equal(keys[:-1], keys[1:]), True).as_py() if len(keys) else -1
    if same >= 0:
        raise InputError(f"two records have the key {keys[same].as_py()!r}; keys must be unique")
    places = order.to_numpy()
    return replace(
        records,
        keys=keys,
        sha256=records.sha256[places],
        sizes=records.sizes[places],
        media_types=records.media_types.take(order),
        labels=records.labels.take(order),
        sources={name: column.take(order) for name, column in records.sources.items()},
    )


def _plain(column: pa.Array) -> pa.Array:
    """Texts without a dictionary."""
    import pyarrow as pa

    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
