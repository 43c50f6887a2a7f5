"""Replacing a finished shard by a fuller one, so that a crash loses neither.

The new shard is written as a whole into a folder of its own, stats last. Only then are its files moved over the old ones, again
the stats last. Whatever finds a whole shard in that folder later finishes the move; a part of one is thrown away.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bezoar.acquire.shards.durable import as_output_error, own_folder
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.stats import read_stats
from bezoar.acquire.shards.writing import STATS_SUFFIX
from bezoar.data.formats.paths import is_clean
from bezoar.errors import InputError, OutputError
from bezoar.files import sync_folder


def finish_replacing(staged: Path, out: Path) -> None:
    """Bring every shard that is whole in its folder below `staged` to `out`, and remove `staged`."""
    if not staged.is_dir():
        return
    try:
        for folder in sorted(staged.iterdir()):
            if (
                folder.name.isascii()
                and folder.name.isdecimal()
                and (folder / _marker(int(folder.name))).exists()
            ):
                replace_shard(folder, out, int(folder.name))
        shutil.rmtree(staged)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); check the path") from error


@contextmanager
def replacement(staged: Path, out: Path, number: int) -> Iterator[Path]:
    """A folder below `staged` to write shard `number` anew into; it takes the place of the one in `out` when the block ends.

    OutputError when the disk is full or may not be written; the old shard is there then, or the next fetch finishes the move.
    """
    folder = staged / shard_name(number)  # each process has its own at a time
    with as_output_error(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
        replace_shard(folder, out, number)
    shutil.rmtree(folder, ignore_errors=True)


def replace_shard(staged: Path, out: Path, number: int) -> None:
    """Move shard `number` from `staged`, where it is whole, over the one in `out`; what is moved already is left."""
    marker = _marker(number)
    stats = read_stats(staged, number) or {}
    names = list(stats.get("files") or ())
    if not all(is_clean(name) for name in names):
        raise InputError(f"{staged / marker}: names a file outside; remove it and start again")
    (out / marker).unlink(missing_ok=True)
    sync_folder(out)
    for name in dict.fromkeys(_unit(name, number) for name in names):
        source, target = staged / name, out / name
        if not source.exists():
            continue
        if target.parent != out:
            own_folder(target.parent)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(source, target)
        sync_folder(target.parent)
    os.replace(staged / marker, out / marker)
    sync_folder(out)


def _marker(number: int) -> str:
    return f"{shard_name(number)}{STATS_SUFFIX}"


def _unit(name: str, number: int) -> str:
    """What is moved in one step: a shard's own folder as a whole, any other file by itself."""
    top = name.split("/")[0]
    return top if top == shard_name(number) else name
