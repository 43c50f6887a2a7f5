"""Signing a list of URLs with its content hashes, and verifying it before it is fetched (Carlini et al. 2023, section 6.1).

The signature is an OpenSSF Model Signing bundle over the files of the list, as `model_signing` verifies it as well; by default
it lies beside them as `LIST.sig`. A list is signed only when every row carries a well-formed SHA-256: a signature over
addresses alone says nothing of what they will serve.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.lists.binding import Binding, check_bound, check_column
from bezoar.acquire.lists.files import found
from bezoar.acquire.lists.reading import UrlList
from bezoar.custody.seal.comparing import compare_files
from bezoar.custody.seal.hashing import SIZE, Files, hash_tree
from bezoar.custody.seal.layout import dataset_name, dataset_path
from bezoar.custody.seal.verifying import signed_by
from bezoar.custody.signing.oms import (
    DEFAULT_IGNORES,
    MAX_BUNDLE_BYTES,
    Resource,
    SignedTree,
    read_bundle,
    root_of,
    sign_tree,
)
from bezoar.errors import InputError, UsageError, VerificationError
from bezoar.files import atomic_file, read_file, refuse_existing

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Signer, Verifier

SUFFIX = ".sig"
_TICK_S = 0.05  # the clock of file times moves at least every 10 ms
_SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": list(DEFAULT_IGNORES),
}


@dataclass(frozen=True)
class IndexSignature:
    """A signature over a list that was made, or that was verified a moment ago.

    Attributes:
        signature: the file of the bundle.
        signer: who signed; "" when it was just made.
        root: OMS root of the signed files, hex.
        digest: what `UrlList.digest` is for the signed content.
        sha256: digest of each file in the order of the list, hex.

    """

    signature: Path
    signer: str
    root: str
    digest: str
    sha256: tuple[str, ...]
    _files: Files

    def check_unchanged(self) -> None:
        """VerificationError when a file was written to, or replaced, since its content was held against the signature.

        Rows that were read before this call returns are then the signed ones: the kernel moves a file's change time (ctime)
        with every write, and nobody but the machine's owner can move it back.
        """
        now = _changed(self._files)
        if now is not None:
            raise VerificationError(
                f"{now}: was changed after its signature was checked; verify the list again"
            )


def sign_index(
    source: UrlList, signer: Signer, signature: Path | None = None
) -> tuple[IndexSignature, Binding]:
    """Sign the list and write the bundle to `signature` (by default `LIST.sig`); it appears complete or not at all.

    InputError, which names the first row and counts all, when a row carries no well-formed SHA-256; UsageError for a pattern
    of files, a digest other than SHA-256, and a signer whose key is not ECDSA; OutputError when the signature exists.
    """
    root = dataset_path(source.path)
    target = signature if signature is not None else default_signature(root)
    check_signing(signer, target)
    files = _hashed(root, source.files)
    bound = check_bound(source)
    changed = _changed(files)
    if changed is not None:
        raise InputError(f"{changed}: changed while it was read; wait until nobody writes to it")
    tree = SignedTree(
        name=dataset_name(root),
        root=root_of(files.digests()),
        resources=[Resource(path, digest, "sha256") for path, digest in files.digest_of_each()],
        serialization=_SERIALIZATION,
    )
    bundle = sign_tree(tree, signer)
    with atomic_file(target) as file:
        file.write(bundle)
    return _made(target, "", tree, source.files, files), bound


def check_signing(signer: Signer, target: Path) -> None:
    """Before all the work, not after: UsageError for a key that is not ECDSA, OutputError when the signature exists."""
    refuse_existing(target)
    if signer.algorithm != "ecdsa":
        raise UsageError(
            "OpenSSF Model Signing takes ECDSA keys; sign with a P-256, P-384 or P-521 key (bezoar keygen)"
        )


def verify_index(
    source: UrlList | str | Path,
    verifier: Verifier | Sequence[Verifier],
    signature: str | Path | None = None,
) -> IndexSignature:
    """Who signed the list, when that is one of those whom `verifier` trusts, and its files are byte for byte the signed ones.

    VerificationError, one line, when they are not: another byte, a file more or less, another signer. InputError when the
    list or the signature is missing or malformed. UsageError when an opened list reads no column of SHA-256s: nothing of what
    its rows bring would be bound. Call `check_unchanged` on the result after rows were read, before they are used: what was
    read until then is what was signed. Whether each row carries a hash is not looked at (`check_bound`).
    """
    if isinstance(source, UrlList):
        check_column(source)
    root, own = (source.path, source.files) if isinstance(source, UrlList) else (Path(source), None)
    root = dataset_path(root)
    path = Path(signature) if signature is not None else default_signature(root)
    if not path.exists():
        raise InputError(
            f"{path}: no such file; the signature of the list is expected there (bezoar index sign)"
        )
    bundle = read_bundle(read_file(path, MAX_BUNDLE_BYTES), str(path))
    problems: list[str] = []
    signer, tree = signed_by(bundle, verifier, str(path), problems)
    if signer is None:
        raise VerificationError(problems[0] if problems else f"{path}: nobody is trusted; say whose key is")
    _check_hashing(tree, path)
    own = own or found(root)
    files = _hashed(root, own)
    difference = compare_files(((r.name, r.digest) for r in tree.resources), files.digest_of_each())
    for names, what in (
        ([change.key for change in difference.changed], "is not what was signed; it was changed"),
        (difference.missing, "was signed and is not there"),
        (difference.added, "is not signed; it was added"),
    ):
        if names:
            more = f" (and {len(names) - 1:,} more)" if len(names) > 1 else ""
            raise VerificationError(f"{root if names[0] == '.' else root / names[0]}: {what}{more}")
    return _made(path, signer, tree, own, files)


def default_signature(path: Path) -> Path:
    """`LIST.sig`, beside the file or folder."""
    return path.with_name(path.name + SUFFIX) if path.name else path.resolve().with_suffix(SUFFIX)


def _hashed(root: Path, own: Sequence[Path]) -> Files:
    """The list's own files, hashed; other files of the folder are no part of the list and of its signature."""
    names = {_name(root, file) for file in own}
    refused: dict[str, str] = {}
    _settle(own)
    # a single file is called "." where it is the whole tree, and by its own name where it is looked for
    wanted = None if root.is_file() else names.__contains__
    files = hash_tree(root, wanted=wanted, on_refused=refused.__setitem__)
    if len(files) != len(names):
        lost = sorted(names - set(files.paths))[0]
        where = str(root / lost) if lost != "." else str(root)
        raise InputError(f"{where}: {refused.get(where, 'cannot be hashed; it went away')}")
    return files


def _settle(files: Sequence[Path]) -> None:
    """Wait until a write would show in the change time of the file: two writes within one tick of the clock have the same."""
    newest = max((file.stat().st_ctime for file in files if file.exists()), default=0.0)
    if time.time() - newest < _TICK_S:
        time.sleep(_TICK_S)


def _name(root: Path, file: Path) -> str:
    return "." if root.is_file() else file.relative_to(root).as_posix()


def _check_hashing(tree: SignedTree, where: Path) -> None:
    if tree.serialization["method"] != "files" or tree.serialization["hash_type"] != "sha256":
        raise InputError(
            f"{where}: signs shards or another hash than SHA-256; sign the list with sha256, whole files"
        )


def _made(path: Path, signer: str, tree: SignedTree, own: Sequence[Path], files: Files) -> IndexSignature:
    by_name = dict(
        zip(files.paths, zip(files.digests(), files.status[:, SIZE].tolist(), strict=True), strict=True)
    )
    parts = [by_name[_name(files.root, file)] for file in own]
    total = hashlib.sha256(b"".join(size.to_bytes(8, "big") + digest for digest, size in parts))
    return IndexSignature(
        path, signer, tree.root.hex(), total.hexdigest(), tuple(d.hex() for d, _ in parts), files
    )


def _changed(files: Files) -> Path | None:
    """The first file that is no longer the one that was hashed."""
    for name, status in zip(files.paths, files.status.tolist(), strict=True):
        path = files.root if name == "." else files.root / name
        try:
            entry = os.stat(path)
        except OSError:
            return path
        if (entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns, entry.st_ino & (2**63 - 1)) != tuple(status):
            return path
    return None
