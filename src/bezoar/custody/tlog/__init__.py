"""Transparency logs in C2SP formats: Merkle trees, tiles, signed notes, checkpoints, proofs, policies, and the custody log.

Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.custody.tlog.checkpoint import Checkpoint, cosignatures, open_checkpoint, sign_checkpoint
    from bezoar.custody.tlog.keys import cosigner, ed25519_signer
    from bezoar.custody.tlog.log import CustodyLog, Entry
    from bezoar.custody.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
    from bezoar.custody.tlog.note import Note, NoteSigner, VerifierKey, sign_note, verify_note
    from bezoar.custody.tlog.policy import TlogPolicy
    from bezoar.custody.tlog.proof import TlogProof
    from bezoar.custody.tlog.storage import Storage
    from bezoar.custody.tlog.tiles import TileTree, TileWriter

__all__ = [
    "Checkpoint",
    "CustodyLog",
    "Entry",
    "Note",
    "NoteSigner",
    "Storage",
    "TileTree",
    "TileWriter",
    "TlogPolicy",
    "TlogProof",
    "VerifierKey",
    "cosignatures",
    "cosigner",
    "ed25519_signer",
    "leaf_hash",
    "open_checkpoint",
    "sign_checkpoint",
    "sign_note",
    "verify_consistency",
    "verify_inclusion",
    "verify_note",
]

_HOME = {
    "Checkpoint": "checkpoint",
    "CustodyLog": "log",
    "Entry": "log",
    "Note": "note",
    "NoteSigner": "note",
    "Storage": "storage",
    "TileTree": "tiles",
    "TileWriter": "tiles",
    "TlogPolicy": "policy",
    "TlogProof": "proof",
    "VerifierKey": "note",
    "cosignatures": "checkpoint",
    "cosigner": "keys",
    "ed25519_signer": "keys",
    "leaf_hash": "merkle",
    "open_checkpoint": "checkpoint",
    "sign_checkpoint": "checkpoint",
    "sign_note": "note",
    "verify_consistency": "merkle",
    "verify_inclusion": "merkle",
    "verify_note": "note",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
