"""What diffs and proofs read of a seal: `bezoar.custody.seal.reading.Seal` is one."""

from __future__ import annotations

from typing import Protocol

from bezoar.custody.seal.manifest import Manifest
from bezoar.custody.tlog.tiles import TileTree


class Sealed(Protocol):
    """Rows in the order of their keys, and the tree over their leaves."""

    @property
    def manifest(self) -> Manifest:
        """The rows."""
        ...

    @property
    def tree(self) -> TileTree:
        """The tree, of as many leaves as there are rows."""
        ...
