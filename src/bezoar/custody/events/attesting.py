"""Attesting: an event worked out, signed (DSSE) and appended to the custody log.

Whoever attests holds a lock of the log from reading the books to appending, so that two people cannot account for the same
change in two ways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.custody.events.building import Request, events
from bezoar.custody.events.event import Event
from bezoar.custody.events.history import entry_of, history
from bezoar.custody.events.ledger import Ledger
from bezoar.custody.events.statements import statement_of
from bezoar.custody.signing import dsse
from bezoar.custody.signing.statement import IN_TOTO
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.signers import Signer
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner

LOCK = ".attest.lock"


@dataclass(frozen=True)
class Attested:
    """What was appended: the events and their entries in the log, `records` how many records they name between them."""

    events: tuple[Event, ...]
    indices: tuple[int, ...]

    @property
    def records(self) -> int:
        """Records named, those that a transformation replaces among them."""
        return sum(len({leaf.key for leaf in (*event.records, *event.was)}) for event in self.events)


def attest(
    seal: Seal, request: Request, log: CustodyLog, signers: Sequence[Signer], log_signer: NoteSigner
) -> Attested:
    """Sign what `request` asks for about the sealed dataset and append it to `log`, which must lie on this machine.

    UsageError or InputError, and nothing is appended, when seal, log and request do not agree; see `building.events`.
    """
    return account(
        (request.to or seal).name, log, signers, log_signer, lambda books: events(seal, books, request)
    )


def account(
    dataset: str,
    log: CustodyLog,
    signers: Sequence[Signer],
    log_signer: NoteSigner,
    make: Callable[[Ledger], Sequence[Event]],
) -> Attested:
    """Append, all or none, the events that `make` works out from the books of `dataset`; nobody else appends meanwhile."""
    from bezoar.custody.tlog.durable import lock

    folder = Path(log.location)
    if not (folder / "checkpoint").is_file():
        raise UsageError(f"{log.location}: not a folder on this machine; only such a log can be appended to")
    with lock(folder / LOCK):
        log.reload()
        return append(make(read_books(log, dataset)), log, signers, log_signer)


def append(
    made: Sequence[Event], log: CustodyLog, signers: Sequence[Signer], log_signer: NoteSigner
) -> Attested:
    """Sign events as they are and append them, all or none."""
    items = []
    for event in made:
        envelope = dsse.sign(statement_of(event).to_bytes(), IN_TOTO, *signers).to_json()
        digest = hashlib.sha256(envelope).hexdigest()
        items.append((entry_of(event, digest).to_bytes(), {digest: envelope}))
    return Attested(tuple(made), tuple(log.append(items, log_signer)))


def read_books(log: CustodyLog, dataset: str) -> Ledger:
    """The books of a dataset as its events have them, whoever signed them: what a new event has to continue from.

    InputError for an event that cannot be read: nothing can be accounted for on books with a hole.
    """
    ledger = Ledger(lambda holding: holding.origin or "")
    for logged in history(log, dataset):
        if logged.event is None:
            raise InputError(
                f"cannot account for {dataset!r} without every event; entry {logged.index}: {logged.problem}"
            )
        ledger.apply(logged.event)
    return ledger
