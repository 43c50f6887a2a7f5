"""The seal at the closing: signed by a trusted sealer, the one that was logged last, not too old, not put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bezoar.custody.audit.examination import Sealing
from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.policy import SEALER, Policy
from bezoar.custody.events.times import time_text
from bezoar.custody.seal.layout import BUNDLE, CROISSANT, MANIFEST
from bezoar.custody.signing.oms import verify_bundle
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.oms import SignedTree


@dataclass(frozen=True)
class SealCheck:
    """What is irregular about a seal, who signed it (None: nobody who may), and what the bundle says."""

    irregularities: tuple[Irregularity, ...]
    signer: str | None
    tree: SignedTree


def check_seal(seal: Seal, sealings: Sequence[Sealing] | None, policy: Policy, now: datetime) -> SealCheck:
    """Hold a seal against the policy and the log.

    `sealings` are the seals that the log has, in order; None where the log says nothing at all of the dataset.
    """
    root = seal.root.hex()
    parts = _parts(seal)
    logged = [sealing for sealing in sealings or () if sealing.is_of(root, parts)]
    first = logged[0] if logged else None  # attesting a seal again makes it no younger
    found, tree = _authenticity(seal, policy, first.time if first else now, first.event if first else None)
    signer = tree.signer if tree else None
    if sealings is None:
        return SealCheck(tuple(found), signer, tree or seal.stated)
    found += _place(root, sealings, logged[-1] if logged else None)
    number = len({sealing.parts.get(BUNDLE) for sealing in sealings})
    if number < policy.minimum_sequence:
        what = f"the log has {number} seals of the dataset; the policy demands {policy.minimum_sequence}"
        found.append(irregularity("sequence-too-low", what))
    days = policy.maximum_age_days
    if first and days is not None and now - first.time > timedelta(days=days):
        what = f"sealed at {time_text(first.time)}, more than {days} days before {time_text(now)}"
        found.append(irregularity("seal-too-old", what, event=first.event))
    return SealCheck(tuple(found), signer, tree or seal.stated)


def _parts(seal: Seal) -> dict[str, str]:
    """SHA-256 (hex) of the parts that the log tells of; "" for one that cannot be read, which is no seal's."""
    found = {}
    for name in (BUNDLE, MANIFEST, CROISSANT):
        try:
            found[name] = seal.digest(name)
        except InputError:
            found[name] = ""
    return found


def _authenticity(
    seal: Seal, policy: Policy, time: datetime, entry: int | None
) -> tuple[list[Irregularity], SignedTree | None]:
    from bezoar.custody.seal.verifying import authentic

    sealers = policy.sealers(time, entry)
    try:
        if not sealers:
            raise VerificationError(f"the policy knows no sealer at {time_text(time)}")
        return [], authentic(seal, sealers)
    except (VerificationError, InputError) as error:
        return [irregularity("seal-not-authentic", f"{error}{_who_else(seal, policy, time, entry)}")], None


def _who_else(seal: Seal, policy: Policy, time: datetime, entry: int | None) -> str:
    """That somebody signed who may not, or not at that time."""
    for signer in policy.signers:
        if SEALER in signer.roles and signer.valid_at(time) and signer.counts(entry):
            continue
        try:
            verify_bundle(seal.bundle(), signer.verifier)
        except (VerificationError, InputError):
            continue
        why = f"whose key is not valid at {time_text(time)}" if SEALER in signer.roles else "who may not seal"
        if SEALER in signer.roles and not signer.counts(entry):
            why = f"whose seals count up to entry {signer.last_entry} of the log only"
        return f"; it is signed by {signer.name}, {why}"
    return ""


def _place(root: str, sealings: Sequence[Sealing], logged: Sealing | None) -> list[Irregularity]:
    """Whether it is the seal that was logged last."""
    if not sealings or logged is None:
        same = next((sealing for sealing in reversed(sealings) if sealing.snapshot == root), None)
        what = f"no trusted event in the log says that snapshot {root[:16]} was sealed"
        if same is not None:
            what += f" with this {BUNDLE}; the seal in entry {same.event} is another seal of the same records"
        return [irregularity("seal-not-logged", what)]
    last = sealings[-1]
    if last is not logged:
        what = (
            f"the dataset bears the seal of entry {logged.event} ({time_text(logged.time)}, snapshot {root[:16]}); "
            f"it was sealed again in entry {last.event} ({time_text(last.time)}, snapshot {last.snapshot[:16]})"
        )
        return [irregularity("old-seal", what, event=last.event)]
    return []
