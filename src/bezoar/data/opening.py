"""Opening a path as a dataset, whatever its format, and writing a dataset."""

from __future__ import annotations

import glob
from pathlib import Path

import numpy as np
import pyarrow as pa

from bezoar.data.dataset import Dataset
from bezoar.data.formats import FORMATS, OpenOptions
from bezoar.data.formats.paths import is_glob
from bezoar.errors import InputError, OutputError, UnknownFormatError
from bezoar.files import refuse_existing


def open_dataset(
    path: str | Path, *, label_column: str | None = None, content_column: str | None = None
) -> Dataset:
    """The dataset at `path`: a folder, a file or a glob of shards, in any of the registered formats.

    Reads keys, labels and small columns; content is read on demand. `label_column` and `content_column`
    choose the columns where their names are not the usual ones. Raises InputError when nothing lies at `path`
    or it is malformed, UnknownFormatError when no format recognises it.
    """
    path = Path(path)
    try:
        _refuse_nothing(path)
        for _, candidate in FORMATS.items():  # noqa: PERF102 - a registry has no values()
            if candidate.recognises(path):
                return candidate.open(path, OpenOptions(label_column, content_column))
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: is malformed ({' '.join(str(error).split())[:160]})") from error
    raise UnknownFormatError(f"{path}: {_found(path)}; no known dataset format ({', '.join(FORMATS)})")


def write_dataset(dataset: Dataset, path: str | Path, format: str | None = None) -> list[str]:  # noqa: A002
    """Write all records to `path`, which must not exist; the key of each record as written, in dataset order.

    The format is the dataset's own unless `format` names another. Bytes of unchanged records are copied
    untouched. The output appears complete or not at all. Raises OutputError when `path` exists or cannot be
    written.
    """
    path = Path(path)
    refuse_existing(path)
    if len(dataset) == 0:
        raise OutputError(f"{path}: there are no records to write")
    if len(np.unique(dataset.keys.to_numpy(zero_copy_only=False))) < len(dataset):
        raise OutputError(f"{path}: two records have the same key; keys must be unique")
    return FORMATS[format or dataset.format].write(dataset, path)


def _refuse_nothing(path: Path) -> None:
    if is_glob(path):
        if next(glob.iglob(str(path), recursive=True), None) is None:
            raise InputError(f"{path}: no file matches this pattern")
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder")
    elif path.is_dir() and next(path.iterdir(), None) is None:
        raise InputError(f"{path}: is an empty folder")


def _found(path: Path) -> str:
    """A few words on what lies there."""
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        return f"a folder with {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
    if is_glob(path):
        return "a pattern of files"
    with path.open("rb") as file:
        return f"a file that begins with {file.read(8)!r}"
