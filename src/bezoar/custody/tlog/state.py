"""The last checkpoint seen of every log, kept on this machine so that a rollback or a fork is noticed.

Whoever holds a log's key can rewrite the log and sign it anew. What that person cannot do is change what others have seen:
here the largest checkpoint seen, per origin and key, as the signed note itself, so that it is evidence. Files lie under
`$BEZOAR_STATE/logs`, by default `~/.local/state/bezoar/logs`.

A history that is rewritten under a new key is new in this memory. So the key is remembered, too, by origin and by place, in
`$BEZOAR_STATE/keys`: a log that is believed to have the key that it names itself must name the one that it named before.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bezoar.custody.tlog.checkpoint import Checkpoint, open_checkpoint
from bezoar.custody.tlog.durable import lock, replace_file
from bezoar.custody.tlog.merkle import EMPTY_ROOT, tree_root, verify_consistency
from bezoar.custody.tlog.note import VerifierKey
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.tiles import TileTree
from bezoar.errors import BezoarError, InputError, OutputError, VerificationError

MAX_CHECKPOINT = 256 << 10
_MAX_KEY = 4096


def recall(key: VerifierKey) -> Checkpoint | None:
    """The largest checkpoint seen of the log with this key; None when it is new. InputError when the file is damaged."""
    path = _path(key)
    data = _stored(path, MAX_CHECKPOINT)
    if data is None:
        return None
    try:
        return open_checkpoint(data, key)[0]
    except BezoarError as error:
        raise InputError(
            f"{path}: the remembered checkpoint is damaged ({error}); restore or remove it"
        ) from error


def remember(key: VerifierKey, checkpoint: Checkpoint, note: bytes) -> None:
    """Keep `checkpoint`, whose signed bytes are `note`, unless a larger one has been seen meanwhile."""
    with _locked(key) as path:
        seen = recall(key)
        if seen is None or seen.size < checkpoint.size:
            replace_file(path, note)


def check_extends(seen: Checkpoint, shown: Checkpoint, tree: TileTree, where: str) -> None:
    """VerificationError, which says rollback or fork and names both, unless `shown`, of `tree`, extends `seen`."""
    both = f"it shows {describe(shown)}; this machine has seen {describe(seen)}"
    if shown.size < seen.size:
        raise VerificationError(
            f"{where}: the log was rolled back: {both}; restore the entries that are missing"
        )
    fork = f"{where}: the log was forked: {both}, which it does not extend; its key has signed two histories"
    if shown.size == seen.size or seen.size == 0:
        if seen.root != (shown.root if shown.size == seen.size else EMPTY_ROOT):
            raise VerificationError(fork)
        return
    proof, now = tree.consistency(seen.size), tree_root(seen.size, tree.read)
    try:
        verify_consistency(seen.size, shown.size, now, shown.root, proof)
    except VerificationError as error:
        raise VerificationError(
            f"{where}: the tiles do not give the root of the checkpoint, so that nothing proves that the log extends "
            f"{describe(seen)}; `bezoar log verify` says which are damaged"
        ) from error
    if now != seen.root:
        raise VerificationError(fork)


def describe(checkpoint: Checkpoint) -> str:
    """`size 12 (root q0Tx…=)`."""
    return f"size {checkpoint.size} (root {base64.b64encode(checkpoint.root).decode()})"


def check_key(key: VerifierKey, location: str) -> None:
    """VerificationError when the log of this origin, or the one at this place, had another key when it was seen last."""
    for what, path in _key_paths(key, location):
        data = _stored(path, _MAX_KEY)
        if data is not None and data != key.text.encode():
            before = data.decode("utf-8", "replace")
            raise VerificationError(
                f"{location}: {what} had another key when this machine saw it last: {before[:200]!r}, now {key.text!r}; "
                "ask its owner, and give the right key with --key"
            )


def remember_key(key: VerifierKey, location: str) -> None:
    """Keep the key under which the log of its origin, and the one at `location`, is known from now on."""
    for _, path in _key_paths(key, location):
        if _stored(path, _MAX_KEY) == key.text.encode():
            continue
        with _lock_of(path):
            replace_file(path, key.text.encode())


def _key_paths(key: VerifierKey, location: str) -> list[tuple[str, Path]]:
    """What a key is remembered by, in words and as a file."""
    place = location.rstrip("/") if "://" in location else str(Path(location).resolve())
    names = {f"the origin {key.name!r}": f"origin {key.name}", "the log at this place": f"place {place}"}
    return [
        (what, _base() / "keys" / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest())
        for what, name in names.items()
    ]


@contextmanager
def _locked(key: VerifierKey) -> Iterator[Path]:
    path = _path(key)
    with _lock_of(path):
        yield path


@contextmanager
def _lock_of(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_name(f".{path.name}.lock")):
            yield
    except OSError as error:
        raise OutputError(
            f"{path}: the checkpoint cannot be remembered ({error.strerror}); set BEZOAR_STATE to a folder of yours"
        ) from error


def _stored(path: Path, limit: int) -> bytes | None:
    return Folder(path.parent).read(path.name, limit) if path.parent.is_dir() else None


def _path(key: VerifierKey) -> Path:
    return _base() / "logs" / hashlib.sha256(key.text.encode()).hexdigest()


def _base() -> Path:
    try:
        return Path(os.environ.get("BEZOAR_STATE") or Path.home() / ".local" / "state" / "bezoar")
    except RuntimeError as error:
        raise InputError("no home folder to remember checkpoints in; set BEZOAR_STATE to a folder") from error
