"""The custody log: an append-only, tiled transparency log in a folder, read from disk or over HTTP (C2SP tlog-tiles).

```
LOG/  log.json      {"key": verifier key, "origin": name}
      checkpoint    signed note: origin, size, root; cosignatures of witnesses
      tile/…        hashes of the tree;  tile/entries/…  the entries
      objects/sha256/ab/<hex>   the signed statements that entries name
```
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from bezoar.custody.tlog.durable import lock
from bezoar.custody.tlog.entries import MAX_OBJECT, object_path, read_bundle
from bezoar.custody.tlog.merkle import (
    EMPTY_ROOT,
    MemoryTree,
    inclusion_proof,
    leaf_hash,
    verify_inclusion,
)
from bezoar.custody.tlog.note import NoteSigner, VerifierKey
from bezoar.custody.tlog.proof import TlogProof
from bezoar.custody.tlog.state import (
    MAX_CHECKPOINT,
    check_extends,
    check_key,
    describe,
    recall,
    remember,
    remember_key,
)
from bezoar.custody.tlog.storage import Folder, Storage, storage
from bezoar.custody.tlog.tiles import TILE, TileTree
from bezoar.custody.tlog.writing import Item, check_items, write
from bezoar.errors import InputError, UsageError, VerificationError
from bezoar.files import atomic_directory

if TYPE_CHECKING:
    from bezoar.custody.tlog.log_report import LogReport
    from bezoar.custody.tlog.policy import TlogPolicy

_MAX_DESCRIPTION = 16 << 10
_TILE_LEVEL = 8  # a full tile is a complete subtree of 2^8 leaves


@dataclass(frozen=True)
class Entry:
    """One entry of the log; `data` is RFC 8785 JSON of at most 65,535 bytes."""

    index: int
    data: bytes


class CustodyLog:
    """A log as one checkpoint shows it. The checkpoint's signature is checked on opening; reading checks all that it reads."""

    def __init__(self, location: str, files: Storage, key: VerifierKey, *, key_given: bool = True) -> None:
        """`key_given`: the key is known from elsewhere, not from the log itself."""
        self.location = location
        self.storage = files
        self.key = key
        self.key_given = key_given
        self._policy: TlogPolicy | None = None  # which every checkpoint shown from now on has to meet
        self.reload()

    @classmethod
    def init(cls, folder: Path, origin: str, signer: NoteSigner) -> CustodyLog:
        """A new, empty log at `folder`, signed by `signer`, whose name is the origin; OutputError when something is there."""
        if signer.key.name != origin:
            raise UsageError(
                f"the signer's name {signer.key.name!r} is not the origin {origin!r}; they must be the same"
            )
        if (seen := recall(signer.key)) is not None and seen.size > 0:
            raise UsageError(
                f"{origin}: this key has signed a log of {describe(seen)} already; a new log needs a new key"
            )
        with atomic_directory(folder) as new:
            description = {"key": signer.key.text, "origin": origin}
            (new / "log.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
            empty = sign_checkpoint(Checkpoint(origin, 0, EMPTY_ROOT), signer)
            (new / "checkpoint").write_bytes(empty.to_bytes())
        log = cls.open(folder, signer.key)
        remember(log.key, *log.checkpoint())
        remember_key(log.key, log.location)
        return log

    @classmethod
    def open(cls, location: str | Path, key: VerifierKey | None = None) -> CustodyLog:
        """The log at a folder or URL; without `key`, the key that the log itself names is believed.

        InputError when there is no log, VerificationError when its checkpoint is not signed by the key.
        """
        files = storage(location)
        return cls(str(location), files, key or _own_key(files, str(location)), key_given=key is not None)

    @property
    def origin(self) -> str:
        """The log's name, which is its key's name."""
        return self.key.name

    @property
    def size(self) -> int:
        """Entries that the checkpoint signs."""
        return self._checkpoint.size

    def checkpoint(self) -> tuple[Checkpoint, bytes]:
        """The checkpoint that this object shows, and the bytes of its signed note."""
        return self._checkpoint, self._note

    def reload(self) -> None:
        """Show the log as it is now; VerificationError when that is not signed as the key and the policy ask."""
        note = self.storage.read("checkpoint", MAX_CHECKPOINT)
        if note is None:
            raise InputError(
                f"{self.location}: no checkpoint; this is not a log, `bezoar log init` makes one"
            )
        try:
            checkpoint, _ = open_checkpoint(note, self.key)
            if self._policy is not None:
                self._policy.check(note)
        except VerificationError as error:
            raise VerificationError(f"{self.location}: checkpoint: {error}") from error
        except InputError as error:
            raise InputError(f"{self.location}: checkpoint: {error}") from error
        self._show(checkpoint, note)

    def _show(self, checkpoint: Checkpoint, note: bytes) -> None:
        self._checkpoint, self._note = checkpoint, note
        self.tree = TileTree(self.storage, checkpoint.size)

    def check_history(self) -> Checkpoint | None:
        """Compare with the checkpoint that this machine remembers, return that one, and remember the newer.

        VerificationError, which says rollback or fork, when the log is not an extension of it, or when the key is the one
        that the log itself names and this origin or place had another key before.
        """
        if not self.key_given:
            check_key(self.key, self.location)
        seen = recall(self.key)
        if seen is not None and seen.size > self.size:
            self.reload()  # a writer may have been at work since this log was opened
        if seen is not None:
            check_extends(seen, self._checkpoint, self.tree, self.location)
        remember(self.key, self._checkpoint, self._note)
        remember_key(self.key, self.location)
        return seen

    def check_policy(self, policy: TlogPolicy) -> None:
        """VerificationError unless the policy names this log's key and its checkpoint, like each that is read later, meets it.

        Whoever serves a log also writes `log.json`: under another key beside the real one, nothing would be remembered of it.
        """
        policy.check(self._note)
        if not any(log.key == self.key for log in policy.logs):
            raise VerificationError(
                f"{self.location}: the policy does not know the key {self.key.text}, under which the log is shown; "
                "open it with the key that the policy names"
            )
        self.key_given, self._policy = True, policy

    def append(self, items: Sequence[Item], signer: NoteSigner) -> list[int]:
        """Append entries, each with the objects that it names by hex SHA-256, and return their indices.

        All or none are in the log afterwards, whatever happens; other writers wait. Local logs only. VerificationError
        when the log is damaged or was rolled back: nothing is built upon that.
        """
        folder = Path(self.location)
        if not (folder / "checkpoint").is_file():
            raise UsageError(
                f"{self.location}: not a folder on this machine; only such a log can be appended to"
            )
        if signer.key != self.key:
            raise UsageError(
                f"the signer's key {signer.key.name} is not the key of this log, {self.key.text}"
            )
        self.key_given = True  # the signer holds it
        with lock(folder / ".lock"):
            self.reload()
            check_items(items, folder)
            self.check_history()
            first = self.size
            if items:
                self._show(*write(folder, self._checkpoint, items, signer))
                remember(self.key, self._checkpoint, self._note)
        return list(range(first, self.size))

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries `start` to `end` (excluded; default: all), each proved to be in the tree before it is handed out.

        VerificationError or InputError, which name the bundle, when one is not what the checkpoint signs.
        """
        end = self.size if end is None else end
        if not 0 <= start <= end <= self.size:
            raise UsageError(f"{self.location}: entries {start} to {end} asked for; the log has {self.size}")
        checkpoint, size, tree = self._checkpoint, self.size, self.tree
        for index in range(start // TILE, -(-end // TILE)):
            first = index * TILE
            bundle = read_bundle(self.storage, index, min(TILE, size - first))
            _prove(bundle, index, checkpoint, tree, self.location)
            for place in range(max(start, first), min(end, first + len(bundle))):
                yield Entry(place, bundle[place - first])

    def object(self, sha256_hex: str) -> bytes:
        """The object of this digest; VerificationError when it is missing or has other bytes."""
        if len(sha256_hex) != 64 or not set(sha256_hex) <= set("0123456789abcdef"):
            raise UsageError(f"{sha256_hex[:80]!r} is not a SHA-256 in 64 lowercase hexadecimal characters")
        path = object_path(sha256_hex)
        content = self.storage.read(path, MAX_OBJECT)
        if content is None:
            raise VerificationError(f"{self.location}: {path}: missing")
        if hashlib.sha256(content).hexdigest() != sha256_hex:
            raise VerificationError(f"{self.location}: {path}: its bytes have another SHA-256 than its name")
        return content

    def prove(self, index: int) -> TlogProof:
        """A proof, to be checked offline, that entry `index` is in the log as the checkpoint signs it."""
        if not 0 <= index < self.size:
            raise UsageError(f"{self.location}: no entry {index}; the log has {self.size}")
        hashes = self.tree.inclusion(index)
        verify_inclusion(self.tree.leaf(index), index, self.size, hashes, self._checkpoint.root)
        return TlogProof(index, tuple(hashes), self._note, None)

    def verify(self) -> LogReport:
        """Hash everything anew: entries, bundles, tiles, objects; and compare with the remembered checkpoint."""
        from bezoar.custody.tlog.log_report import verify_log

        return verify_log(self)


def _own_key(files: Storage, where: str) -> VerifierKey:
    """The key in `log.json`; InputError when there is none or it is malformed."""
    from bezoar.custody.signing.strict_json import parse_object

    data = files.read("log.json", _MAX_DESCRIPTION)
    if data is None and isinstance(files, Folder) and not files.folder.is_dir():
        raise InputError(f"{where}: no such folder, so no custody log; `bezoar log init` makes one")
    if data is None:
        raise InputError(
            f"{where}: no log.json; this is not a custody log, give its key to read it all the same"
        )
    description = parse_object(data, f"{where}: log.json", _MAX_DESCRIPTION)
    text, origin = description.get("key"), description.get("origin")
    if not isinstance(text, str) or not isinstance(origin, str):
        raise InputError(f"{where}: log.json: `key` and `origin` must be texts")
    try:
        key = VerifierKey.parse(text)
    except InputError as error:
        raise InputError(f"{where}: log.json: {error}") from error
    if key.name != origin:
        raise InputError(f"{where}: log.json: the key is that of {key.name!r}, the origin is {origin!r}")
    return key


def _prove(bundle: Sequence[bytes], index: int, checkpoint: Checkpoint, tree: TileTree, where: str) -> None:
    """VerificationError unless all entries of bundle `index` are what `checkpoint` signs.

    One inclusion proof is enough: its hashes cover the whole tree, and those within the bundle are computed from the
    entries instead of read from tiles.
    """
    first, local = index * TILE, MemoryTree()
    for entry in bundle:
        local.append(leaf_hash(entry))

    def is_local(level: int, place: int) -> bool:
        return level <= _TILE_LEVEL and place >> (_TILE_LEVEL - level) == index

    def read(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        others = iter(tree.read([each for each in wanted if not is_local(*each)]))
        own = iter(
            local.read(
                [(level, place - (first >> level)) for level, place in wanted if is_local(level, place)]
            )
        )
        return [next(own if is_local(*each) else others) for each in wanted]

    proof = inclusion_proof(first, checkpoint.size, read)
    try:
        verify_inclusion(local.read([(0, 0)])[0], first, checkpoint.size, proof, checkpoint.root)
    except VerificationError as error:
        last = first + len(bundle) - 1
        raise VerificationError(
            f"{where}: entries {first} to {last} are not what the checkpoint signs; `bezoar log verify` says what is damaged"
        ) from error
