"""By which signs a format is known: names and magic bytes, judged cheaply and without the modules that read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bezoar.data.formats.paths import shards

_PARQUET = b"PAR1"


def arrow(path: Path) -> bool:
    """The names that `save_to_disk` gives."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def parquet(path: Path) -> bool:
    """A suffix, or the magic bytes of a single file."""
    if path.is_file() and not path.name.endswith(".parquet"):
        with path.open("rb") as file:
            return file.read(4) == _PARQUET
    found = shards(path, ".parquet")
    return bool(found) and not (path.is_dir() and any(map(_tells_of_a_shard, found)))


def webdataset(path: Path) -> bool:
    """A suffix."""
    return bool(shards(path, ".tar"))


def idx(path: Path) -> bool:
    """The names that the pairs have always had."""
    return bool(idx_images(path))


def idx_images(path: Path) -> list[Path]:
    """Images files of a folder, or `path` itself, that have a labels file beside them."""
    try:
        found = list(path.iterdir()) if path.is_dir() else [path]
    except OSError:
        return []
    named = sorted(file for file in found if "images" in file.name and "idx" in file.name)
    return [file for file in named if file.is_file() and idx_labels(file).is_file()]


def idx_labels(images: Path) -> Path:
    """`t10k-images-idx3-ubyte.gz` -> `t10k-labels-idx1-ubyte.gz`, with or without `.gz`, whichever exists."""
    name = images.name.replace("images", "labels")
    for digit in "34":
        name = name.replace(f"idx{digit}", "idx1")
    plain = name.removesuffix(".gz")
    choices = [images.with_name(n) for n in (name, plain, f"{plain}.gz")]
    return next((choice for choice in choices if choice.is_file()), choices[0])


def file_of(suffix: str) -> Callable[[Path], bool]:
    """One file with this suffix."""
    return partial(_has_suffix, suffix)


def folder(path: Path) -> bool:
    """A folder in which an image turns up, or one with Hugging Face metadata."""
    from bezoar.data.formats.folder import image_names, metadata_file

    if not path.is_dir():
        return False
    return metadata_file(path) is not None or next(image_names(path, strict=False), None) is not None


def _tells_of_a_shard(table: Path) -> bool:
    """Whether img2dataset's `00000.tar` or `00000/` lies beside `00000.parquet`: the records are in there."""
    return table.with_suffix(".tar").is_file() or table.with_suffix("").is_dir()


def _has_suffix(suffix: str, path: Path) -> bool:
    return path.suffix == suffix and path.is_file()
