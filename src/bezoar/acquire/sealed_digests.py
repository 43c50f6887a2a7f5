"""What a seal promises of the files of a dataset, before these are here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Verifier


@dataclass(frozen=True)
class Sealed:
    """SHA-256 (32 bytes) of every sealed file by its path; below the top-level names `ignored` nothing is sealed."""

    files: Mapping[str, bytes]
    ignored: frozenset[str]
    signer: str

    def covers(self, path: str) -> bool:
        """Whether the seal speaks of such a path at all, be it that the file must not be there."""
        return path.split("/", 1)[0] not in self.ignored


def read_sealed(location: str | Path, verifiers: Sequence[Verifier]) -> Sealed:
    """The files of the seal at a folder or URL; VerificationError unless one of `verifiers` signed it and all of it is whole."""
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.seal.verifying import authentic
    from bezoar.custody.signing.resources import WHOLE

    if not verifiers:
        raise UsageError("--seal goes with --seal-key or --seal-identity, which says whose seal is trusted")
    tree = authentic(Seal.open(location), verifiers)
    how = tree.serialization
    if how.get("method") != "files" or how.get("hash_type") != "sha256":
        raise InputError(
            f"{location}: does not hold the SHA-256 of whole files; seal the dataset with `bezoar seal`"
        )
    files = {resource.name: resource.digest for resource in tree.resources}
    if WHOLE in files:
        raise InputError(
            f"{location}: seals a single file, not a folder; give its digest with --sha256 instead"
        )
    return Sealed(files, frozenset(how["ignore_paths"]), str(tree.signer))
