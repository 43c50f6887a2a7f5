"""An audit: the log gone through, the books closed, the closing balance held against the seal and the data, an opinion formed.

Nothing that is audited is believed: what cannot be read or does not verify is an exception in the statement, not an error.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar import __version__
from bezoar.custody.audit.balances import balances
from bezoar.custody.audit.closing import compare_books
from bezoar.custody.audit.coverage import Coverage
from bezoar.custody.audit.data_check import DataCheck, check_all, check_sample
from bezoar.custody.audit.examination import Examination, examine, source_of
from bezoar.custody.audit.irregularities import Irregularity, irregularity
from bezoar.custody.audit.opinion import form
from bezoar.custody.audit.policy import Policy, read_policy
from bezoar.custody.audit.sampling import plan
from bezoar.custody.audit.seal_check import check_seal
from bezoar.custody.audit.statement import AuditStatement, LogState, Sampling, SealState
from bezoar.custody.events.ledger import Cell, Ledger
from bezoar.custody.events.times import now as present
from bezoar.custody.seal.layout import default_seal
from bezoar.custody.seal.reading import Seal
from bezoar.custody.seal.verifying import misnamed
from bezoar.custody.tlog.state import MAX_CHECKPOINT, recall
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.signing.oms import SignedTree
    from bezoar.custody.tlog.log import CustodyLog

MAX_SEED = 2**53


@dataclass(frozen=True)
class Scope:
    """How far an audit goes: every content (`full`) or a sample for this confidence; movements since a time; the seed.

    `name` is the dataset's own, which its seal must bear; by default the policy's, else that of its folder or file.
    """

    full: bool = False
    confidence: float = 0.95
    tolerable: float = 0.01
    since: datetime | None = None
    seed: int | None = None
    name: str | None = None


def audit(
    dataset: str | Path,
    log: str | Path,
    policy: str | Path,
    scope: Scope | None = None,
    *,
    seal: str | Path | None = None,
    now: datetime | None = None,
) -> AuditStatement:
    """Audit the dataset at `dataset` against a log (folder or URL) and a policy file.

    The sample is random, so that nobody can put what is wrong beside it; the statement gives its seed, which repeats it. A seed
    that was chosen supports no statement of confidence: whoever chooses can try until nothing is found.
    InputError when the policy is malformed, UsageError for an impossible scope. All else is said in the statement.
    """
    how, time = scope or Scope(), now or present()
    plan(1, how.confidence, how.tolerable)  # refuses an impossible scope before any work
    written = read_policy(policy)
    rules = Policy.parse(written, Path(policy).absolute().parent, str(policy))
    found: list[Irregularity] = []
    expected = rules.name_of(Path(dataset), how.name)
    sealed = _open_seal(Path(dataset), seal, found)
    name = sealed.name if sealed else expected
    found += [irregularity("other-dataset", problem) for problem in misnamed(name, expected)]
    opened = open_log(str(log), rules, found)
    examination = _examine(opened, name, rules, time, how, found)
    counted: Counter[Cell] = Counter()
    state = None
    sampling = Sampling(None, None, 0)
    if sealed is not None:
        state, counted, tree = _close(sealed, examination, rules, time, found)
        if tree is not None:
            sampling = _look_at_data(Path(dataset), sealed, tree, how, found)
    ledger = examination.ledger
    tables = balances(ledger, counted)
    larger = max(len(ledger.held), ledger.dataset.opening.total(), tables.total.sealed)
    return AuditStatement(
        dataset=name,
        location=str(dataset),
        time=time,
        since=how.since,
        earlier=examination.earlier,
        version=__version__,
        policy=str(policy),
        policy_sha256=hashlib.sha256(written).hexdigest(),
        log=_log_state(opened),
        seal=state,
        snapshot=ledger.tip,
        source_column=rules.source_column,
        tolerable=how.tolerable,
        balances=tables,
        events=tuple(examination.lines),
        irregularities=tuple(found),
        sampling=sampling,
        opinion=form(found, name, larger, how.tolerable),
    )


def open_log(location: str, policy: Policy, found: list[Irregularity]) -> CustodyLog | None:
    """The log, once it is known to be the one the policy names; irregularities go into `found`, None when it cannot be read."""
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.storage import storage

    log = None
    try:
        if storage(location).read("log.json", MAX_CHECKPOINT) is None:
            raise InputError(f"{location}: no custody log there; it would hold log.json")
        log = CustodyLog.open(location)
        log.check_policy(policy.tlog)
    except InputError as error:
        found.append(irregularity("no-log", str(error)))
    except VerificationError as error:
        found.append(irregularity("log-not-trusted", str(error)))
    if log is None:
        return None
    _check_history(log, found)
    if log.size < policy.minimum_log_size:
        what = f"{location}: {log.size} entries; the policy demands {policy.minimum_log_size}"
        found.append(irregularity("log-too-short", what))
    return log


def _check_history(log: CustodyLog, found: list[Irregularity]) -> None:
    """Hold the log against what this machine remembers of it, which may be damaged itself."""
    try:
        recall(log.key)
    except InputError as error:
        found.append(irregularity("memory-damaged", str(error)))
        return
    try:
        log.check_history()
    except VerificationError as error:
        found.append(irregularity("log-rewritten", str(error)))
    except InputError as error:
        found.append(irregularity("log-damaged", str(error)))


def _examine(
    log: CustodyLog | None,
    name: str,
    policy: Policy,
    now: datetime,
    how: Scope,
    found: list[Irregularity],
) -> Examination:
    if log is None:
        return Examination(Ledger(source_of(policy)), Coverage(policy))
    examination = examine(log, name, policy, now=now, since=how.since)
    found += examination.irregularities
    return examination


def _open_seal(dataset: Path, location: str | Path | None, found: list[Irregularity]) -> Seal | None:
    try:
        seal = Seal.open(location if location is not None else default_seal(dataset))
        seal.stated, seal.manifest, seal.root  # noqa: B018 - each is read, and refused when it is malformed
    except (InputError, VerificationError) as error:
        found.append(irregularity("no-seal", str(error)))
        return None
    return seal


def _close(
    seal: Seal, examination: Examination, policy: Policy, now: datetime, found: list[Irregularity]
) -> tuple[SealState | None, Counter[Cell], SignedTree | None]:
    """The books held against the seal; the seal's state, and what was signed, are None when its rows cannot be read."""
    ledger = examination.ledger
    try:
        sealings = examination.sealings if examination.lines else None
        checked = check_seal(seal, sealings, policy, now)
        found += checked.irregularities
        differing, counted = compare_books(
            seal,
            ledger,
            source_of=source_of(policy),
            revocations=examination.revocations,
            required_sources=policy.required_sources,
        )
        found += (
            differing if examination.lines else []
        )  # without events every record is one, which says nothing
    except InputError as error:
        found.append(irregularity("no-seal", str(error)))
        return None, Counter(), None
    state = SealState(seal.location, seal.root.hex(), len(seal.manifest), checked.signer)
    return state, counted, checked.tree


def _look_at_data(
    dataset: Path, seal: Seal, tree: SignedTree, how: Scope, found: list[Irregularity]
) -> Sampling:
    records = len(seal.manifest)
    sample = None if how.full else plan(records, how.confidence, how.tolerable)
    seed = how.seed if how.seed is not None else secrets.randbelow(MAX_SEED)
    try:
        different = (
            check_all(dataset, seal, tree)
            if sample is None
            else check_sample(dataset, seal, tree, sample, seed)
        )
    except (InputError, VerificationError) as error:
        different = DataCheck([irregularity("no-data", str(error))], examined=False)
    found += different.irregularities
    if not different.examined:
        return Sampling(None, None, 0)
    if sample is None:
        return Sampling(None, None, records)
    return Sampling(sample, seed, sample.size, how.seed is not None, different.unread)


def _log_state(log: CustodyLog | None) -> LogState | None:
    if log is None:
        return None
    return LogState(log.location, log.origin, log.size, log.checkpoint()[0].root.hex(), log.key.text)
