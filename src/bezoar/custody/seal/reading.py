"""A seal as it lies on disk or behind a URL, each part read once. Nothing that it says is believed: `verifying` checks it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.seal.layout import BUNDLE, CHECKPOINT, CROISSANT, MANIFEST, SNAPSHOT_DIGEST
from bezoar.custody.seal.manifest import Manifest
from bezoar.custody.seal.replacing import current
from bezoar.custody.seal.walk import CHANGED
from bezoar.custody.signing.oms import MAX_BUNDLE_BYTES, Bundle, SignedTree, read_bundle
from bezoar.errors import InputError, LimitError

if TYPE_CHECKING:
    from io import BufferedReader

    import pyarrow as pa

    from bezoar.custody.tlog.storage import Storage
    from bezoar.custody.tlog.tiles import TileTree

MAX_CROISSANT = 64 << 20
MAX_CHECKPOINT = 256 << 10
MAX_MANIFEST = 1 << 40
MAX_REMOTE_MANIFEST = 2 << 30  # it is held in memory
_BLOCK = 1 << 20
_LIMITS = {BUNDLE: MAX_BUNDLE_BYTES, CROISSANT: MAX_CROISSANT, MANIFEST: MAX_REMOTE_MANIFEST}


class Seal:
    """The parts of one seal, each read when it is first asked for. `location` is a folder or a URL."""

    def __init__(self, location: str | Path, stated: SignedTree | None = None) -> None:
        from bezoar.custody.tlog.storage import storage

        if stated is not None:  # by who has just written it
            self.stated = stated

        self.remote = "://" in str(location)
        self.location = str(location) if self.remote else str(current(Path(location)))
        self.storage: Storage = storage(self.location)
        self._read: dict[str, bytes] = {}  # a server could answer otherwise when it is asked again

    @classmethod
    def open(cls, location: str | Path) -> Seal:
        """The seal at a folder or URL; InputError when there is none."""
        if "://" not in str(location) and not (current(Path(location)) / BUNDLE).is_file():
            raise InputError(
                f"{location}: no seal there (it would hold {BUNDLE}); seal the dataset, or say where its seal is"
            )
        return cls(location)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest; a remote one is fetched as a whole."""
        if not self.remote:
            source, status = self._manifest_file
            self._check_unchanged(status)
            found = Manifest.open(source, self.where(MANIFEST))
            self._check_unchanged(status)
            return found
        return Manifest.open(io.BytesIO(self.read(MANIFEST, MAX_REMOTE_MANIFEST)), self.where(MANIFEST))

    @cached_property
    def _manifest_file(self) -> tuple[pa.OSFile, os.stat_result]:
        """The manifest on this machine, opened once, so that what is hashed is what is read; its status before that."""
        import pyarrow as pa

        with self._opened(MANIFEST) as file:  # an ordinary file, or an error
            source = pa.OSFile(self.where(MANIFEST))
            if not os.path.sameopenfile(source.fileno(), file.fileno()):
                raise InputError(f"{self.where(MANIFEST)}: {CHANGED}")
            return source, os.fstat(file.fileno())

    def _check_unchanged(self, before: os.stat_result) -> None:
        """InputError when the manifest that is open was written to."""
        now = os.fstat(self._manifest_file[0].fileno())
        if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (
            before.st_size,
            before.st_mtime_ns,
            before.st_ctime_ns,
        ):
            raise InputError(f"{self.where(MANIFEST)}: {CHANGED}")

    @cached_property
    def tree(self) -> TileTree:
        """The snapshot tree, over its tiles."""
        from bezoar.custody.tlog.tiles import TileTree

        return TileTree(self.storage, len(self.manifest))

    @cached_property
    def stated(self) -> SignedTree:
        """What the bundle says, whoever signed it."""
        from bezoar.custody.signing.oms_payload import read_payload

        return read_payload(self.bundle().envelope.payload, self.where(BUNDLE))

    @property
    def root(self) -> bytes:
        """The snapshot root that the bundle states; InputError when it states none."""
        stated = self.stated.extra.get(SNAPSHOT_DIGEST)
        if stated is None:
            raise InputError(
                f"{self.where(BUNDLE)}: states no snapshot; it is the signature of a folder, not of a seal"
            )
        return bytes.fromhex(stated)

    @property
    def name(self) -> str:
        """The dataset's own name, as the bundle states it."""
        return self.stated.name

    def bundle(self) -> Bundle:
        """The signature, parsed and not verified."""
        return read_bundle(self.read(BUNDLE, MAX_BUNDLE_BYTES), self.where(BUNDLE))

    def checkpoint(self) -> bytes | None:
        """The signed note of the snapshot tree, where there is one."""
        return self.storage.read(CHECKPOINT, MAX_CHECKPOINT)

    def croissant(self) -> bytes:
        """The Croissant description."""
        return self.read(CROISSANT, MAX_CROISSANT)

    def read(self, name: str, limit: int) -> bytes:
        """A part of the seal, which is read once; InputError when it is missing, LimitError beyond `limit`."""
        if name not in self._read:
            data = self.storage.read(name, limit)
            if data is None:
                raise InputError(
                    f"{self.where(name)}: is missing from the seal; seal the dataset again or restore the file"
                )
            self._read[name] = data
        return self._read[name]

    def digest(self, name: str) -> str:
        """The SHA-256 (hex) of a part: of what was read of it, else in pieces where it lies on this machine."""
        if self.remote or name in self._read:
            return hashlib.sha256(self.read(name, _LIMITS[name])).hexdigest()
        if name == MANIFEST:
            source, status = self._manifest_file
            total, place = hashlib.sha256(), 0
            while block := os.pread(source.fileno(), _BLOCK, place):  # leaves the reader's place where it is
                total.update(block)
                place += len(block)
            self._check_unchanged(status)
            return total.hexdigest()
        with self._opened(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _opened(self, name: str) -> BufferedReader:
        """A part on this machine, which must be an ordinary file of the seal's folder itself."""
        where = self.where(name)
        try:
            handle = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(
                f"{where}: cannot be read ({error.strerror}); restore it or seal the dataset again"
            ) from error
        file = open(handle, "rb")  # noqa: SIM115 - the caller closes it
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            file.close()
            raise InputError(f"{where}: is not an ordinary file")
        if status.st_size > MAX_MANIFEST:
            file.close()
            raise LimitError(f"{where}: larger than {MAX_MANIFEST:,} bytes, the most that is read of it")
        return file

    def where(self, name: str) -> str:
        """The full name of a part, for messages."""
        return f"{self.location}/{name}"
