"""Finding a seal: what the verbs share that read one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.errors import VerificationError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal


def open_seal(location: str) -> Seal:
    """The seal at `location`, a folder or URL, which may also be the dataset that lies beside it.

    VerificationError when its tiles do not give the snapshot that its signature states. The signature is not checked.
    """
    from bezoar.custody.seal.layout import BUNDLE, default_seal
    from bezoar.custody.seal.reading import Seal

    where = Path(location)
    if "://" not in location and where.exists() and not (where / BUNDLE).is_file():
        location = str(default_seal(where))
    seal = Seal.open(location)
    if seal.tree.root() != seal.root:
        raise VerificationError(
            f"{location}: the tiles do not give the snapshot that its signature states; `bezoar verify` says more"
        )
    return seal
