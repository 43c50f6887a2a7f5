"""Image folders as img2dataset writes them: `00000/000000012.jpg` beside `000000012.json` and `000000012.txt`.

The sub-folders are shards, not classes. A label, where there is one, is a field of the JSON; the text is the caption.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bezoar.data.dataset import Dataset
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.labels import USUAL_LABELS, Labels, no_labels, optional_label_column, read_labels
from bezoar.data.formats.samples import MAX_SMALL, captioned, field_columns, parse_fields, with_field
from bezoar.data.image_files import SUFFIXES
from bezoar.errors import InputError
from bezoar.files import read_file

_BESIDE = (".json", ".txt")
_SHARD = re.compile(r"\d{5,}", re.ASCII)


def has_sidecars(path: Path) -> bool:
    """Whether the sub-folders are shards: named by five digits or more, a JSON file beside the first image found in them."""
    try:
        shards = sorted(name for name in os.listdir(path) if _SHARD.fullmatch(name))
        listed = ((path / shard, name) for shard in shards for name in os.listdir(path / shard))
        first = next((folder / name for folder, name in listed if _is_image(name)), None)
    except OSError:  # also for a file of such a name
        return False
    return first is not None and first.with_suffix(".json").is_file()


def read_sidecars(
    path: Path, names: Sequence[str], options: OpenOptions
) -> tuple[Labels, pa.Table, str | None]:
    """Labels, columns and the label's field (None without labels) of the images `names`, relative to `path`."""
    fields = [_fields(path, name) for name in names]
    columns = field_columns(fields)
    if options.label_column is None and not set(USUAL_LABELS) & set(columns.column_names):
        columns = captioned(columns, lambda: [_text(path, _beside(name, ".txt")) for name in names])
    label = optional_label_column(options.label_column, columns.column_names, f"{path}: in the JSON files,")
    if label is None:
        return no_labels(len(names)), columns, None
    labels = read_labels(columns[label], None, f"{path}: json field {label!r}")
    return labels, columns.select([name for name in columns.column_names if name != label]), label


def beside(path: Path, name: str) -> dict[str, bytes]:
    """The files beside the image `name`, relative to `path`, by suffix."""
    found = {suffix: _content(path, _beside(name, suffix)) for suffix in _BESIDE}
    return {suffix: content for suffix, content in found.items() if content is not None}


def sidecars(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files that lie beside the images; of a JSON file only a changed label is new."""
    label = dataset.layout["label"]
    for name, number in zip(dataset.keys.to_pylist(), dataset.labels.tolist(), strict=True):
        for suffix in _BESIDE:
            beside = _beside(name, suffix)
            if (content := _content(dataset.path, beside)) is None:
                continue
            if suffix == ".json" and label is not None and number >= 0:
                content = with_field(content, label, dataset.layout["values"][number]) or content
            yield beside, content


def _fields(path: Path, name: str) -> dict[str, Any]:
    beside = _beside(name, ".json")
    text = _text(path, beside)
    return {} if text is None else parse_fields(text, f"{path / beside}:")


def _text(path: Path, name: str) -> str | None:
    content = _content(path, name)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        raise InputError(f"{path / name}: is not valid UTF-8") from None


def _content(path: Path, name: str) -> bytes | None:
    """The file's bytes; None when there is none. A link is refused: it could lead anywhere."""
    file = path / name
    if file.is_symlink():
        raise InputError(f"{file}: is a link to another place; put the files themselves into the folder")
    return read_file(file, MAX_SMALL) if file.exists() else None


def _beside(name: str, suffix: str) -> str:
    return os.path.splitext(name)[0] + suffix


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
