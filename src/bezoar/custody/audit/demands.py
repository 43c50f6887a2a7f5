"""A policy as a further demand on `bezoar verify`: what it says of the seal and, with a log, of the dataset's whole life.

Without a log nothing that only a log can show is taken for granted: each such demand is a problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from bezoar.custody.audit.auditing import open_log
from bezoar.custody.audit.closing import compare_books
from bezoar.custody.audit.examination import examine, source_of
from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.policy import SEALER, Policy
from bezoar.custody.audit.seal_check import check_seal
from bezoar.custody.events.ledger import Ledger
from bezoar.custody.events.times import now as present
from bezoar.custody.seal.verifying import Check
from bezoar.custody.tlog.policy import NONE

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.seal.verification import Verification
    from bezoar.custody.signing.signers import Verifier


def sealers(policy: Policy) -> list[Verifier]:
    """Whose signature on a seal the policy accepts at some time; `demands` holds the time against the window."""
    return [signer.verifier for signer in policy.signers if SEALER in signer.roles]


def demands(policy: Policy, log: str | None, now: datetime | None = None) -> Check:
    """What `bezoar.custody.seal.verifying.verify` is to check besides; `log` is a folder or URL, None: there is none."""

    def check(result: Verification, seal: Seal) -> Sequence[str]:
        time = now or present()
        found = _from_seal(policy, seal, time) if log is None else _from_log(policy, log, seal, time)
        return [f"policy: {each.title}: {each.what}" for each in found]

    return check


def _from_log(policy: Policy, location: str, seal: Seal, now: datetime) -> list[Irregularity]:
    found: list[Irregularity] = []
    log = open_log(location, policy, found)
    if log is None:
        return found
    examination = examine(log, seal.name, policy, now=now)
    sealed = check_seal(seal, examination.sealings, policy, now).irregularities
    differing, _ = compare_books(
        seal,
        examination.ledger,
        source_of=source_of(policy),
        revocations=examination.revocations,
        required_sources=policy.required_sources,
    )
    return [*found, *examination.irregularities, *sealed, *differing]


def _from_seal(policy: Policy, seal: Seal, now: datetime) -> list[Irregularity]:
    found = list(check_seal(seal, None, policy, now).irregularities)
    asked = {
        "log-not-trusted": policy.tlog.quorum != NONE,
        "log-too-short": policy.minimum_log_size,
        "missing-reviews": policy.reviewers,
        "missing-scan": policy.scan_required,
        "open-finding": policy.no_open_findings,
        "seal-too-old": policy.maximum_age_days,
        "sequence-too-low": policy.minimum_sequence,
    }
    without = "the policy demands what only the log can show; give it with --log"
    found += [irregularity(code, without) for code, demanded in asked.items() if demanded]
    if policy.required_sources:
        differing, _ = compare_books(
            seal,
            Ledger(source_of(policy)),
            source_of=source_of(policy),
            required_sources=policy.required_sources,
        )
        found += [each for each in differing if each.code == "source-missing"]
    return found
