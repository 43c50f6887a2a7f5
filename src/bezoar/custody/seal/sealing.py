"""Sealing a dataset: every file and every record hashed, the snapshot tree built, the whole signed, put in place in one step.

The signature is an OpenSSF Model Signing bundle over all files, which other tools verify. Its subject carries three further
digests: the root of the snapshot tree, and the SHA-256 of the manifest and of the Croissant description.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.seal.cache import Cache
from bezoar.custody.seal.croissant import MAX_LISTED, About, Described, croissant
from bezoar.custody.seal.hashing import Files, changed_since, hash_tree
from bezoar.custody.seal.layout import (
    BUNDLE,
    CHECKPOINT,
    CROISSANT,
    CROISSANT_DIGEST,
    MANIFEST,
    MANIFEST_DIGEST,
    SNAPSHOT_DIGEST,
    TILES,
    check_target,
    dataset_name,
    dataset_path,
    default_seal,
)
from bezoar.custody.seal.manifest import ManifestWriter
from bezoar.custody.seal.reading import Seal
from bezoar.custody.seal.records import Layout, Records, is_by_file, media_type, read_records
from bezoar.custody.seal.replacing import replaced_folder
from bezoar.custody.seal.snapshot import leaf_hashes
from bezoar.custody.signing.oms import DEFAULT_IGNORES, Resource, SignedTree, root_of, sign_tree
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Signer
    from bezoar.custody.tlog.note import NoteSigner

SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": list(DEFAULT_IGNORES),
}


def seal(
    path: str | Path,
    signer: Signer,
    *,
    out: str | Path | None = None,
    note_signer: NoteSigner | None = None,
    about: About | None = None,
    layout: Layout | None = None,
    full: bool = False,
    now: datetime | None = None,
) -> Seal:
    """Seal the dataset at `path` and return the seal, which lies at `out` (by default beside the data).

    `note_signer` also signs a checkpoint of the snapshot tree, from which records can be proved offline. `full` reads every
    file again instead of trusting what the cache remembers of files that have not changed. `now` (UTC) dates the description.

    Raises InputError, which names the path, for what cannot be sealed (links, special or unreadable files, names that are not
    UTF-8 or differ by letter case only, files that change meanwhile); nothing is written then.
    """
    dataset = dataset_path(path)
    target = Path(out) if out is not None else default_seal(dataset)
    check_target(target, dataset)
    if signer.algorithm != "ecdsa":  # before all the work, not after
        raise UsageError(
            "OpenSSF Model Signing takes ECDSA keys; sign with a P-256, P-384 or P-521 key (bezoar keygen)"
        )
    how = layout or Layout()
    cache = Cache.open(dataset, how, trusted=not full)
    files = hash_tree(dataset, ignored=DEFAULT_IGNORES, known=cache)
    if not len(files):
        raise InputError(f"{dataset}: holds no files; there is nothing to seal")
    records = read_records(files, how, cache)
    if not is_by_file(records) and (changed := changed_since(files, DEFAULT_IGNORES)) is not None:
        raise InputError(f"{dataset}: {changed} changed while it was read; wait until nobody writes to it")
    with replaced_folder(target, synced=(TILES,)) as folder:
        root = write_tables(folder, records, how)
        described = _described(files, records, root, folder, target, now or datetime.now(UTC))
        stated = _describe_and_sign(folder, files, described, about or About(), signer, note_signer)
    cache.save(files, records)
    return Seal(target, stated)


def _describe_and_sign(
    folder: Path,
    files: Files,
    dataset: Described,
    about: About,
    signer: Signer,
    note_signer: NoteSigner | None,
) -> SignedTree:
    """Write the description, the checkpoint and the signature; what was signed."""
    description = croissant(dataset, about)
    (folder / CROISSANT).write_bytes(description)
    if note_signer is not None:
        from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint

        checkpoint = Checkpoint(note_signer.key.name, dataset.records, bytes.fromhex(dataset.root))
        (folder / CHECKPOINT).write_bytes(sign_checkpoint(checkpoint, note_signer).to_bytes())
    tree = SignedTree(
        name=dataset.name,
        root=root_of([files.sha256.tobytes()]),
        resources=_Resources(files),
        serialization=SERIALIZATION,
        extra={
            SNAPSHOT_DIGEST: dataset.root,
            MANIFEST_DIGEST: dataset.manifest_sha256,
            CROISSANT_DIGEST: hashlib.sha256(description).hexdigest(),
        },
    )
    (folder / BUNDLE).write_bytes(sign_tree(tree, signer))
    return tree


class _Resources:
    """The files as resources of the signed statement, made as they are asked for."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Resource]:
        for path, digest in self._files.digest_of_each():
            yield Resource(path, digest, "sha256")


def write_tables(folder: Path, records: Records, layout: Layout) -> bytes:
    """Write the manifest and the tiles of the snapshot tree; the tree's root."""
    import pyarrow as pa

    from bezoar.custody.tlog.storage import Folder
    from bezoar.custody.tlog.tiles import TileTree, TileWriter

    tiles = TileWriter(folder)
    description = {**layout.description(records.format), **records.facts}
    with (
        (folder / MANIFEST).open("xb") as file,
        ManifestWriter(file, list(records.sources), description) as manifest,
    ):
        for block in records.blocks():
            for batch in manifest.write(block):
                tiles.extend(leaf_hashes(batch))
    tiles.flush()
    pa.default_memory_pool().release_unused()
    return TileTree(Folder(folder), len(records)).root()


def _described(
    files: Files, records: Records, root: bytes, folder: Path, target: Path, now: datetime
) -> Described:
    base = os.path.relpath(files.root.resolve(), target.resolve())
    single = files.single
    few = len(files) <= MAX_LISTED
    listed = files.digest_of_each() if few else ()
    return Described(
        name=dataset_name(files.root),
        root=root.hex(),
        records=len(records),
        sources=list(records.sources),
        files=[
            (base if single else f"{base}/{path}", digest.hex(), media_type(base if single else path))
            for path, digest in listed
        ],
        pattern="" if few else f"{base}/**",
        manifest_sha256=_sha256(folder / MANIFEST),
        date=now.strftime("%Y-%m-%d"),
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
