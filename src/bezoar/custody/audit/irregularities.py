"""What an audit can find, with the effect that it has on the opinion and what is to be done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MAX_KEYS = 100  # of one irregularity; `affected` counts all


class Effect(StrEnum):
    """How far an irregularity reaches."""

    CONTROL = "control"  # a demand of the policy was not met; the balances may be right all the same
    CONFINED = "confined"  # certain records or events are not in order; the rest of the books stands
    PERVASIVE = "pervasive"  # nothing that the books say can be relied on
    SCOPE = "scope"  # evidence is missing: a part of the books could not be examined
    NO_EVIDENCE = "no evidence"  # so much is missing that no opinion can be formed


class _Kind(NamedTuple):
    title: str
    effect: Effect
    remedy: str


_K, _C, _P, _S, _N = Effect.CONTROL, Effect.CONFINED, Effect.PERVASIVE, Effect.SCOPE, Effect.NO_EVIDENCE
_FIND_OUT = "find out who did this; attest it if it was right, else restore the sealed data"

KINDS = {
    # the log
    "log-rewritten": _Kind("The log is not an extension of what was seen before", _P, "restore the log; ask who holds its key"),
    "log-not-trusted": _Kind("The log is not signed as the policy demands", _P, "have it signed and witnessed as demanded"),
    "log-too-short": _Kind("The log is shorter than the policy demands", _P, "restore the entries that are missing"),
    "log-damaged": _Kind("The log is damaged", _P, "run `bezoar log verify` and restore what is damaged"),
    "memory-damaged": _Kind("This machine's memory of the log is damaged", _S, "restore or remove it; the log may be in order"),
    "no-log": _Kind("The log cannot be read", _N, "say where the log is"),
    "no-events": _Kind("The log has no readable event about this dataset", _N, "attest how the records were acquired"),
    # events
    "unreadable-event": _Kind("An event cannot be read", _S, "restore the object that the entry names"),
    "untrusted-signer": _Kind("An event is not signed by anyone the policy trusts", _C, "have a trusted signer attest it again"),
    "wrong-role": _Kind("An event is signed by someone who may not attest it", _C, "have it attested by someone who may"),
    "outside-validity": _Kind("An event is signed outside the validity of the signer's key", _C, "attest it with a valid key"),
    "replayed": _Kind("An event was appended again", _C, "ask who holds the log's key; have the signer attest what is meant"),
    "back-dated": _Kind("An event bears a time that cannot be", _K, "find out when it was signed; set the signer's clock"),
    "broken-chain": _Kind("An event does not continue from the one before", _C, "attest the change between the two snapshots"),
    "snapshot-mismatch": _Kind("A snapshot does not follow from the events", _C, "attest the change that was not logged"),
    "other-snapshot": _Kind("A review or scan was of another snapshot", _K, "repeat it on the present snapshot"),
    "not-held": _Kind("An event moves records that are not there", _C, "correct it by a further event"),
    "other-record": _Kind("An event moves records that are not as it says", _C, "attest what changed them"),
    "acquired-twice": _Kind("Records are acquired that are in custody already", _C, "correct it by a further event"),
    "removed-returned": _Kind("Removed records are back in the books", _C, "remove them again: removal is final"),
    "made-from-nothing": _Kind("A transformation makes records that replace none", _C, "attest how the records were acquired"),
    "parent-unknown": _Kind("Records derive from a dataset that the log does not know", _S, "log the life of that dataset, too"),
    # the closing balance against the sealed manifest
    "unlogged-addition": _Kind("Records were added without an event", _C, _FIND_OUT),
    "unlogged-removal": _Kind("Records were removed without an event", _C, _FIND_OUT),
    "relabelled": _Kind("Records were relabelled without an event", _C, _FIND_OUT),
    "content-changed": _Kind("Contents were changed without an event", _C, _FIND_OUT),
    "source-changed": _Kind("Sources were changed without an event", _C, _FIND_OUT),
    "quarantined-present": _Kind("Quarantined records are in the dataset", _C, "take them out, or release them by an event"),
    "removed-present": _Kind("Removed records are in the dataset", _C, "take them out: removal is final"),
    "content-returned": _Kind("Content that was quarantined or removed is back", _C, "take it out; release what is right"),
    "content-copied": _Kind("Copies of quarantined content are in the dataset", _K, "quarantine them; release what is right"),
    "revoked-present": _Kind("Records of a revoked source are in the dataset", _C, "remove them and seal again"),
    "source-missing": _Kind("Records lack a source that the policy demands", _K, "fill the columns and attest the change"),
    # reviews and scans
    "missing-reviews": _Kind("Records lack reviewers", _K, "have them reviewed by as many people as the policy demands"),
    "missing-scan": _Kind("Records were not scanned", _K, "scan the dataset and attest the result"),
    "open-finding": _Kind("A finding of a scan is still open", _K, "quarantine its records, or review them by name"),
    # the seal
    "no-seal": _Kind("The dataset has no readable seal", _N, "seal the dataset"),
    "other-dataset": _Kind("The seal is of another dataset", _P, "restore the dataset; if it was renamed, say its name"),
    "seal-not-authentic": _Kind("The seal is not what a trusted signer signed", _P, "have a trusted sealer seal the dataset"),
    "seal-not-logged": _Kind("The seal is not in the log", _K, "attest that the dataset was sealed"),
    "old-seal": _Kind("An old seal was put back", _P, "restore the dataset and the seal that was logged last"),
    "seal-too-old": _Kind("The seal is older than the policy allows", _K, "verify and seal the dataset again"),
    "sequence-too-low": _Kind("The dataset was sealed fewer times than the policy demands", _P, "restore the newest version"),
    # the data against the seal
    "no-data": _Kind("The data cannot be read", _N, "say where the dataset is"),
    "data-added": _Kind("The data have records that are not sealed", _C, _FIND_OUT),
    "data-missing": _Kind("Sealed records are missing from the data", _C, _FIND_OUT),
    "data-changed": _Kind("The content of records is not what was sealed", _C, _FIND_OUT),
    "data-relabelled": _Kind("The labels of records are not what was sealed", _C, _FIND_OUT),
    "data-resourced": _Kind("The sources of records are not what was sealed", _C, _FIND_OUT),
    "data-problem": _Kind("The data do not verify against the seal", _C, _FIND_OUT),
}  # fmt: skip


@dataclass(frozen=True)
class Irregularity:
    """One exception: `what` in words, the log entry `event` (None: no event), the records `affected`, `keys` of the first 100."""

    code: str
    what: str
    event: int | None = None
    keys: tuple[str, ...] = ()
    affected: int = 0

    @property
    def title(self) -> str:
        """What kind of exception this is, for a person."""
        return KINDS[self.code].title

    @property
    def effect(self) -> Effect:
        """How far it reaches by its kind."""
        return KINDS[self.code].effect

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.code].remedy


def irregularity(code: str, what: str, keys: Iterable[str] = (), event: int | None = None) -> Irregularity:
    """An irregularity that affects the records with these keys."""
    known = sorted(keys)
    return Irregularity(code, what, event, tuple(known[:MAX_KEYS]), len(known))
