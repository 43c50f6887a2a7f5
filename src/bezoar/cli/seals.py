"""Finding a seal: what the verbs share that read one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal


def open_seal(location: str) -> Seal:
    """The seal at `location`, a folder or URL, which may also be the dataset that lies beside it.

    VerificationError when its tiles do not give the snapshot that its signature states. The signature is not checked. UsageError
    for what is a seal and has one beside it: somebody may have put one into the dataset.
    """
    from bezoar.custody.seal.layout import BUNDLE, default_seal
    from bezoar.custody.seal.reading import Seal

    where = Path(location)
    if "://" not in location and where.exists():
        beside = default_seal(where)
        if not (where / BUNDLE).is_file():
            location = str(beside)
        elif (beside / BUNDLE).is_file():
            raise UsageError(
                f"{location}: holds {BUNDLE}, as a seal does, and {beside} is the seal of what is in it; give that seal itself"
            )
    seal = Seal.open(location)
    if seal.tree.root() != seal.root:
        raise VerificationError(
            f"{location}: the tiles do not give the snapshot that its signature states; `bezoar verify` says more"
        )
    return seal
