"""Transparency logs in C2SP formats: Merkle trees, tiles, signed notes, checkpoints, proofs, policies, and the custody log."""

from bezoar.custody.tlog.checkpoint import Checkpoint, cosignatures, open_checkpoint, sign_checkpoint
from bezoar.custody.tlog.keys import cosigner, ed25519_signer
from bezoar.custody.tlog.log import CustodyLog, Entry
from bezoar.custody.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from bezoar.custody.tlog.note import Note, NoteSigner, VerifierKey, sign_note, verify_note
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.proof import TlogProof
from bezoar.custody.tlog.storage import Storage, storage
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
    "storage",
    "verify_consistency",
    "verify_inclusion",
    "verify_note",
]
