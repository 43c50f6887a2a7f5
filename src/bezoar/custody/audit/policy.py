"""The policy that a dataset is held to: a TOML file (schema/policy-1.json), read strictly.

```toml
version = 1

[log]
key = "example.org/custody+1f2e3d4c+AbCd..."   # or tlog_policy = "witnesses.txt", or tlog_policy_text = '''...'''
minimum_size = 12                              # entries: a shorter log was rolled back

[dataset]
name = "signs"                                 # which a seal must bear; by default that of the folder or file

[[signer]]
name = "Ada"
key = "ada.pub"                                # beside this file; or pem = '''...'''
roles = ["custodian", "sealer"]
not_before = 2026-01-01T00:00:00Z
not_after = 2027-01-01T00:00:00Z
last_entry = 41                                # of the log that counts: since then the key is stolen, or withdrawn

[review]
reviewers = 2                                  # different people for every record
of = ["Grace", "Edsger", "Barbara"]            # by default all reviewers

[scan]
required = true
no_open_findings = true

[sources]
column = "contributor"                         # whose values are the sources in the balances; of a URL, its host
required = ["contributor", "license"]          # which every record must have

[seal]
maximum_age_days = 90
minimum_sequence = 3                           # how many times it was sealed: an older seal was put back
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.audit.toml_tables import MAX_BYTES, Table
from bezoar.custody.events.event import (
    ACQUIRED,
    AUDITED,
    QUARANTINED,
    RELEASED,
    REMOVED,
    REVIEWED,
    REVOKED,
    SCANNED,
    SEALED,
    TRAINED,
    TRANSFORMED,
    Event,
)
from bezoar.custody.seal.layout import dataset_name
from bezoar.errors import InputError, UsageError
from bezoar.files import read_file

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import KeyVerifier
    from bezoar.custody.tlog.policy import TlogPolicy

VERSION = 1
MAX_SIGNERS = 1000
_MAX_TLOG_POLICY = 1 << 20
_MAX_COUNT = 2**53 - 1

CUSTODIAN, SEALER, SCANNER, REVIEWER, RELEASER, AUDITOR = (
    "custodian", "sealer", "scanner", "reviewer", "releaser", "auditor",
)  # fmt: skip
ROLES = {
    CUSTODIAN: frozenset({ACQUIRED, QUARANTINED, REMOVED, RELEASED, TRANSFORMED, REVOKED}),
    SEALER: frozenset({SEALED}),
    SCANNER: frozenset({SCANNED}),
    REVIEWER: frozenset({REVIEWED}),
    RELEASER: frozenset({RELEASED, REVOKED, TRAINED}),
    AUDITOR: frozenset({AUDITED}),
}


@dataclass(frozen=True)
class TrustedSigner:
    """Someone whose signature counts for what the `roles` allow, on events of the window's time and up to the `last_entry`.

    All ends are included. Whoever has the key can say any time, but appends behind the entries that are there.
    """

    name: str
    verifier: KeyVerifier
    roles: frozenset[str]
    not_before: datetime | None = None
    not_after: datetime | None = None
    last_entry: int | None = None

    def may(self, event: Event) -> bool:
        """Whether one of the roles allows this event. Releasing a dataset needs a releaser, releasing records a custodian."""
        if event.kind == RELEASED:
            return (CUSTODIAN if event.records else RELEASER) in self.roles
        return any(event.kind in ROLES[role] for role in self.roles)

    def valid_at(self, time: datetime) -> bool:
        """Whether `time` lies in the window."""
        return (self.not_before is None or self.not_before <= time) and (
            self.not_after is None or time <= self.not_after
        )

    def counts(self, entry: int | None) -> bool:
        """Whether what is in this entry of the log counts; None: it is in none, so that nothing shows when it was signed."""
        return self.last_entry is None or (entry is not None and entry <= self.last_entry)


@dataclass(frozen=True)
class Policy:
    """What is demanded; 0, None and empty demand nothing. `tlog` names the log's key and the witnesses."""

    tlog: TlogPolicy
    signers: tuple[TrustedSigner, ...]
    minimum_log_size: int = 0
    reviewers: int = 0
    reviewers_of: frozenset[str] = frozenset()
    scan_required: bool = False
    no_open_findings: bool = False
    source_column: str | None = None
    required_sources: tuple[str, ...] = ()
    maximum_age_days: int | None = None
    minimum_sequence: int = 0
    dataset: str | None = None

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """The policy in a file, its keys and tlog-policy beside it; InputError, with the line, when it is malformed."""
        return cls.parse(read_policy(path), Path(path).absolute().parent, str(path))

    @classmethod
    def parse(cls, data: bytes, folder: Path, where: str = "policy") -> Policy:
        """`load` of bytes; relative paths in it are in `folder`."""
        top = Table.parse(data, where)
        if top.integer("version", 0, 0, 1000) != VERSION:
            raise InputError(f"{top.at('version')}: expected version = {VERSION}")
        log, review, scan = top.table("log"), top.table("review"), top.table("scan")
        sources, seal, dataset = top.table("sources"), top.table("seal"), top.table("dataset")
        signers = _signers(top.tables("signer"), folder)
        reviewers, of = _reviewers(review, signers)
        policy = cls(
            tlog=_tlog(log, folder),
            signers=signers,
            minimum_log_size=log.integer("minimum_size", 0, 0, _MAX_COUNT),
            reviewers=reviewers,
            reviewers_of=of,
            scan_required=scan.flag("required"),
            no_open_findings=scan.flag("no_open_findings"),
            source_column=sources.text("column") if sources.has("column") else None,
            required_sources=sources.texts("required"),
            maximum_age_days=seal.integer("maximum_age_days", 0, 1, 36_500)
            if seal.has("maximum_age_days")
            else None,
            minimum_sequence=seal.integer("minimum_sequence", 0, 0, _MAX_COUNT),
            dataset=dataset.text("name") if dataset.has("name") else None,
        )
        for table in (log, review, scan, sources, seal, dataset, top):
            table.done()
        return policy

    def name_of(self, path: Path, given: str | None = None) -> str:
        """The name that the seal of the dataset at `path` must bear; `given` by hand, UsageError when the policy has another."""
        if None not in (given, self.dataset) and given != self.dataset:
            raise UsageError(f"the policy is for the dataset {self.dataset!r}, not {given!r}")
        return given or self.dataset or dataset_name(path)

    def sealers(self, time: datetime, entry: int | None) -> list[KeyVerifier]:
        """Whose signature counts on a seal that is of this time and in this entry of the log (None: in none)."""
        return [
            each.verifier
            for each in self.signers
            if SEALER in each.roles and each.valid_at(time) and each.counts(entry)
        ]


def read_policy(path: str | Path) -> bytes:
    """The bytes of a policy file; InputError when it cannot be read, LimitError when it is too large for one."""
    return read_file(Path(path), MAX_BYTES)


def _signers(tables: Sequence[Table], folder: Path) -> tuple[TrustedSigner, ...]:
    if not tables:
        raise InputError("policy: names no signer; add a [[signer]] with name, key and roles")
    if len(tables) > MAX_SIGNERS:
        raise InputError(f"policy: more than {MAX_SIGNERS} signers")
    signers: list[TrustedSigner] = []
    for table in tables:
        signer = _signer(table, folder)
        for other in signers:
            if other.name == signer.name:
                raise InputError(f"{table.at('name')}: two signers are called {signer.name[:60]!r}")
            if other.verifier.keyid == signer.verifier.keyid:
                raise InputError(
                    f"{table.at('name')}: has the key of {other.name[:60]!r}; one person under two names counts twice"
                )
        signers.append(signer)
    return tuple(signers)


def _signer(table: Table, folder: Path) -> TrustedSigner:
    name = table.text("name")
    roles = table.texts("roles")
    if not roles or (unknown := [role for role in roles if role not in ROLES]):
        wrong = f"unknown role {unknown[0][:40]!r}" if roles else "no role"
        raise InputError(f"{table.at('roles')}: {wrong}; known: {', '.join(ROLES)}")
    begin, end = table.time("not_before"), table.time("not_after")
    if begin is not None and end is not None and end < begin:
        raise InputError(f"{table.at('not_after')}: is before not_before")
    last = table.integer("last_entry", 0, 0, _MAX_COUNT) if table.has("last_entry") else None
    signer = TrustedSigner(name, _verifier(table, name, folder), frozenset(roles), begin, end, last)
    table.done()
    return signer


def _verifier(table: Table, name: str, folder: Path) -> KeyVerifier:
    from bezoar.custody.signing.keys import load_public, parse_public
    from bezoar.custody.signing.signers import KeyVerifier

    if table.has("key") == table.has("pem"):
        raise InputError(f"{table.at('key')}: give the public key either as a file (key) or as text (pem)")
    try:
        if table.has("pem"):
            key = parse_public(table.text("pem").encode(), table.at("pem"))
        else:
            key = load_public(folder / _inside(table, "key"))
        return KeyVerifier(key, name)
    except UsageError as error:
        raise InputError(f"{table.at('key')}: {error}") from error
    except InputError as error:
        raise InputError(f"{table.at('pem' if table.has('pem') else 'key')}: {error}") from error


def _reviewers(table: Table, signers: Sequence[TrustedSigner]) -> tuple[int, frozenset[str]]:
    """How many reviewers, and of whom."""
    all_of_them = {signer.name for signer in signers if REVIEWER in signer.roles}
    of = table.texts("of")
    if stranger := next((name for name in of if name not in all_of_them), None):
        raise InputError(f"{table.at('of')}: {stranger[:60]!r} is no signer with the role reviewer")
    among = frozenset(of) or frozenset(all_of_them)
    reviewers = table.integer("reviewers", 0, 0, MAX_SIGNERS)
    if reviewers > len(among):
        raise InputError(
            f"{table.at('reviewers')}: {reviewers} of {len(among)} reviewers can never be reached"
        )
    return reviewers, among


def _tlog(table: Table, folder: Path) -> TlogPolicy:
    from bezoar.custody.tlog.note import VerifierKey
    from bezoar.custody.tlog.policy import NONE, Log, TlogPolicy

    given = [key for key in ("key", "tlog_policy", "tlog_policy_text") if table.has(key)]
    if len(given) != 1:
        raise InputError(
            f"{table.at('key')}: give one of key, tlog_policy and tlog_policy_text, so that the log is known"
        )
    key = given[0]
    try:
        if key == "key":
            return TlogPolicy((Log(VerifierKey.parse(table.text(key)), None),), (), (), NONE)
        if key == "tlog_policy":
            policy = TlogPolicy.parse(read_file(folder / _inside(table, key), _MAX_TLOG_POLICY))
        else:
            policy = TlogPolicy.parse(table.text(key))
    except InputError as error:
        raise InputError(f"{table.at(key)}: {error}") from error
    if not policy.logs:
        raise InputError(f"{table.at(key)}: names no log")
    return policy


def _inside(table: Table, key: str) -> str:
    """A file name of the policy; one with a null byte would not be a path."""
    name = table.text(key)
    if "\0" in name:
        raise InputError(f"{table.at(key)}: is not a path")
    return name
