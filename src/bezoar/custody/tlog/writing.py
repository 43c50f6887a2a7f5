"""Appending to the log so that a crash at any point leaves a log that is valid and can go on.

Objects, entry bundles and tiles reach the disk first; then the checkpoint is replaced, in one step. Until that step the old
checkpoint stands, and all that it signs is untouched: what lies beyond its size is left over from a crash, which nobody
reads and the next append writes over. One lock serialises all writers, threads and processes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.durable import put_file, replace_file, sync_folders
from bezoar.custody.tlog.entries import MAX_OBJECT, check_entry, object_of, object_path, pack, read_bundle
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.custody.tlog.note import NoteSigner
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.tiles import TILE, TileTree, TileWriter, tile_path
from bezoar.errors import InputError, LimitError, OutputError, VerificationError

Item = tuple[bytes, Mapping[str, bytes]]  # an entry, and by hex SHA-256 the objects that it names


def check_items(items: Sequence[Item], folder: Path) -> None:
    """InputError unless every entry is canonical and every object is named by its entry and has the digest it is given by."""
    for entry, objects in items:
        named = object_of(check_entry(entry))
        for digest, content in objects.items():
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(
                    f"object {digest}: the bytes have another SHA-256; give the object's own digest"
                )
            if len(content) > MAX_OBJECT:
                raise LimitError(
                    f"object {digest}: {len(content):,} bytes; a log keeps objects of up to {MAX_OBJECT:,}"
                )
            if digest != named:
                raise InputError(
                    f'object {digest}: its entry does not name it; set "object": "sha256:{digest}"'
                )
        if named is not None and named not in objects and not (folder / object_path(named)).is_file():
            raise InputError(
                f"object {named}: named by an entry but neither given nor in the log; give it as well"
            )


def write(
    folder: Path, now: Checkpoint, items: Sequence[Item], signer: NoteSigner
) -> tuple[Checkpoint, bytes]:
    """Append `items` to the log that `now` describes and return the new checkpoint. The caller holds the log's lock."""
    tail = _tail(folder, now)
    _write_objects(folder, items)
    size = now.size + len(items)
    entries = [*tail, *(entry for entry, _ in items)]
    _write_bundles(folder, now.size // TILE, entries)
    writer = TileWriter(folder, now.size)
    for entry, _ in items:
        writer.append(leaf_hash(entry))
    writer.flush()
    checkpoint = Checkpoint(now.origin, size, TileTree(Folder(folder), size).root())
    note = sign_checkpoint(checkpoint, signer).to_bytes()
    replace_file(folder / "checkpoint", note)
    _drop_partials(folder, now.size, size)
    return checkpoint, note


def _tail(folder: Path, now: Checkpoint) -> list[bytes]:
    """The entries of the last, partial bundle, once they and the tiles to be built upon are what `now` signs."""
    storage = Folder(folder)
    tree = TileTree(storage, now.size)
    if now.size and tree.root() != now.root:
        raise VerificationError(
            f"{folder}: the tiles do not give the root that the checkpoint signs; nothing was appended, "
            "`bezoar log verify` says what is damaged"
        )
    if now.size % TILE == 0:
        return []
    index = now.size // TILE
    tail = read_bundle(storage, index, now.size % TILE)
    for place, entry in enumerate(tail, index * TILE):
        if leaf_hash(entry) != tree.leaf(place):
            raise VerificationError(
                f"{folder}: entry {place} is not what the checkpoint signs; nothing was appended, restore its bundle"
            )
    return tail


def _write_objects(folder: Path, items: Sequence[Item]) -> None:
    """Every object that is not there yet, or is there with other bytes."""
    touched = set()
    for _, objects in items:
        for digest, content in objects.items():
            path = _path(folder, object_path(digest))
            if not path.is_file() or path.read_bytes() != content:
                put_file(path, content)
            touched.add(path.parent)
    sync_folders(sorted(touched))


def _write_bundles(folder: Path, first: int, entries: Sequence[bytes]) -> None:
    """The bundles that hold `entries`, of which the first begins bundle `first`."""
    touched = set()
    for start in range(0, len(entries), TILE):
        bundle = entries[start : start + TILE]
        path = _path(folder, tile_path(0, first + start // TILE, len(bundle), entries=True))
        put_file(path, pack(bundle))
        touched.add(path.parent)
    sync_folders(sorted(touched))


def _path(folder: Path, name: str) -> Path:
    """`name` within the log, its folders made and durable; OutputError when a link leads out of the log."""
    path = folder / name
    made = []
    parent = path.parent
    while not parent.is_dir():
        made.append(parent)
        parent = parent.parent
    if not parent.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{parent}: leads out of the log; nothing was appended, remove the link")
    path.parent.mkdir(parents=True, exist_ok=True)
    sync_folders(each.parent for each in made)
    return path


def _drop_partials(folder: Path, old: int, new: int) -> None:
    """Remove the partial forms of tiles that have become full: one append at a time, they would outgrow the log."""
    level, start, end = 0, old // TILE, new // TILE
    while end > 0:
        for index in range(start, end):
            shutil.rmtree(folder / f"{tile_path(level, index)}.p", ignore_errors=True)
            if level == 0:
                shutil.rmtree(folder / f"{tile_path(0, index, entries=True)}.p", ignore_errors=True)
        level, start, end = level + 1, start // TILE, end // TILE
