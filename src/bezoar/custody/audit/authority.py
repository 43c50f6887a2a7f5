"""Whose signature on an event counts: trusted by the policy, in a role that may attest this kind, within its window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bezoar.custody.audit.policy import Policy, TrustedSigner
from bezoar.custody.events.event import Event
from bezoar.custody.events.times import time_text
from bezoar.custody.signing import dsse
from bezoar.custody.signing.dsse import Envelope
from bezoar.errors import VerificationError


@dataclass(frozen=True)
class Authority:
    """`names` of the signers whose signature counts; where there are none, `code` and `why` say what is irregular."""

    names: tuple[str, ...]
    code: str = ""
    why: str = ""


def authority(
    policy: Policy,
    event: Event,
    envelope: Envelope,
    index: int | None = None,
    time: datetime | None = None,
) -> Authority:
    """Who vouches for `event`, which is what `envelope` holds.

    `index` is its entry in the log; `time` is when it was at the earliest, where the event says an earlier time.
    """
    signers = signed_by(policy, envelope)
    if not signers:
        claimed = ", ".join(signature.keyid[:16] or "an unnamed key" for signature in envelope.signatures[:3])
        return Authority(
            (), "untrusted-signer", f"is signed by {claimed}, whom the policy does not know, or was changed"
        )
    entitled = [signer for signer in signers if signer.may(event)]
    if not entitled:
        who = ", ".join(f"{signer.name} ({', '.join(sorted(signer.roles))})" for signer in signers)
        return Authority(
            (),
            "wrong-role",
            f"is signed by {who}, who may not attest that records or datasets were {event.kind}",
        )
    counted = [signer for signer in entitled if index is None or signer.counts(index)]
    if not counted:
        return Authority((), "outside-validity", f"is signed by {_named(entitled)}")
    when = time or event.time
    valid = [signer for signer in counted if signer.valid_at(when)]
    if not valid:
        return Authority((), "outside-validity", f"is signed at {time_text(when)} by {_named(counted)}")
    return Authority(tuple(signer.name for signer in valid))


def signed_by(policy: Policy, envelope: Envelope) -> list[TrustedSigner]:
    """The signers of the policy who have signed, whatever they may and whenever."""
    try:
        verifiers = dsse.verify(envelope, [signer.verifier for signer in policy.signers])
    except VerificationError:
        return []
    return [signer for signer in policy.signers if signer.verifier in verifiers]


def _named(signers: Sequence[TrustedSigner]) -> str:
    return ", ".join(f"{signer.name} ({_window(signer)})" for signer in signers)


def _window(signer: TrustedSigner) -> str:
    begin = f"from {time_text(signer.not_before)}" if signer.not_before else ""
    end = f"until {time_text(signer.not_after)}" if signer.not_after else ""
    last = f"up to entry {signer.last_entry}" if signer.last_entry is not None else ""
    return f"valid {' '.join(filter(None, (begin, end, last)))}"
