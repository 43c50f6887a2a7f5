"""`bezoar custody DATASET KEY --log LOG`: the life of one record, with proofs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bezoar.cli.log_options import vkey
from bezoar.cli.options import PATH, format_option

if TYPE_CHECKING:
    from bezoar.custody.audit.examination import Sealing
    from bezoar.custody.audit.policy import Policy
    from bezoar.custody.events.history import Logged
    from bezoar.custody.events.life import RecordLife, Signed, Station
    from bezoar.custody.seal.leaves import Leaf
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import VerifierKey

INVALID = 1


@click.command("custody")
@click.argument("location", metavar="DATASET")
@click.argument("key", metavar="KEY")
@click.option("--log", "log_location", required=True, metavar="LOG", help="Folder or URL of the custody log.")
@click.option("--log-key", type=vkey, metavar="VKEY", help="The log's verifier key (text or file).")
@click.option(
    "--policy",
    "policy_file",
    type=PATH,
    metavar="FILE",
    help="Whose signatures count; without it none is checked.",
)
@format_option
def command(
    location: str,
    key: str,
    log_location: str,
    log_key: VerifierKey | None,
    policy_file: Path | None,
    form: str,
) -> int:
    """Tell the life of the record KEY of DATASET, a sealed dataset or its seal.

    Where it came from, every event of the LOG that covers it, and who signed; each event and the record's place in the seal are
    proved. With --format json each event carries its proof (C2SP tlog-proof), to be checked offline.

    Exit code 1: seal and log contradict each other about the record, an event about it is not signed by anybody whom the policy
    allows, the seal is not the last one in the log, signed by whom the policy allows, or log or seal is not what was signed.
    """
    from bezoar.cli.seals import open_seal
    from bezoar.custody.audit.policy import Policy
    from bezoar.custody.events.life import life
    from bezoar.custody.tlog.log import CustodyLog

    policy = None if policy_file is None else Policy.load(policy_file)
    log = CustodyLog.open(log_location, log_key)
    log.check_history()
    if policy is not None:
        log.check_policy(policy.tlog)
    seal = open_seal(location)
    sealings: list[Sealing] = []
    told = life(seal, key, log, _history(log, seal.name, policy, sealings))
    if policy is not None:
        wrong = _seal_problems(seal, location, policy, sealings)
        told = replace(told, problems=(*wrong, *told.problems))
    click.echo(json.dumps(told.to_json(), indent=1) if form == "json" else "\n".join(_as_text(told, policy)))
    return INVALID if told.problems else 0


def _history(
    log: CustodyLog, dataset: str, policy: Policy | None, sealings: list[Sealing]
) -> Iterator[tuple[Logged, Signed]]:
    """The entries about a dataset, and who has signed: whom the policy allows, by name; without one, the keys as claimed.

    The seals of which somebody tells whom the policy allows go into `sealings`.
    """
    from bezoar.custody.audit.examination import Sealing
    from bezoar.custody.audit.vouching import vouching
    from bezoar.custody.events.event import SEALED
    from bezoar.custody.events.history import history
    from bezoar.custody.events.life import Signed
    from bezoar.custody.events.times import now

    if policy is not None:
        for each in vouching(log, dataset, policy, now()):
            yield from ((other, Signed(())) for other in each.unread)
            event = each.logged.event
            if event is not None and event.kind == SEALED and each.who.names:
                time = each.moment.time if each.moment else event.time
                sealings.append(Sealing.told(each.logged.index, event, time))
            yield each.logged, Signed(each.who.names, "" if each.who.names else each.why)
        return
    for logged in history(log, dataset):
        signatures = logged.envelope.signatures if logged.envelope else ()
        yield logged, Signed(tuple(f"key {each.keyid[:16] or '?'} (not checked)" for each in signatures))


def _seal_problems(seal: Seal, location: str, policy: Policy, sealings: list[Sealing]) -> list[str]:
    """Why the seal is not the one to ask: of another dataset, by nobody whom the policy allows, or not the last in the log."""
    from bezoar.custody.audit.seal_check import check_seal
    from bezoar.custody.events.times import now
    from bezoar.custody.seal.layout import BUNDLE
    from bezoar.custody.seal.verifying import misnamed

    given = Path(location)
    of_dataset = not seal.remote and given.exists() and not (given / BUNDLE).is_file()
    expected = policy.name_of(given) if of_dataset else policy.dataset or seal.name
    wrong = ("seal-not-authentic", "seal-not-logged", "old-seal")
    found = check_seal(seal, sealings, policy, now()).irregularities
    return [*misnamed(seal.name, expected), *(each.what for each in found if each.code in wrong)]


def _as_text(told: RecordLife, policy: Policy | None) -> Iterator[str]:
    from bezoar.report.text import count, shown

    yield f"{shown(told.key, 200)} in {shown(told.dataset, 100)}: {told.state}"
    if told.sealed is None:
        yield f"  seal      does not have it (snapshot {told.snapshot[:16]}, {count(told.rows, 'record')})"
    else:
        yield f"  seal      row {told.row} of {told.rows:,}, proved to be in snapshot {told.snapshot[:16]}"
        yield from _record(told.sealed)
    yield f"  log       {shown(told.log, 100)}, {count(told.log_size, 'entry', 'entries')}; each entry below is proved"
    for station in told.stations:
        yield ""
        yield from _station(station)
    if not told.stations:
        yield "  no event covers it"
    for problem in told.problems:
        yield f"  ! {shown(problem, 400)}"
    if policy is None:
        yield ""
        yield "Signatures were not checked; --policy says whose count."


def _station(station: Station) -> Iterator[str]:
    from bezoar.custody.events.times import time_text
    from bezoar.report.text import shown

    yield f"{time_text(station.time)}  {station.kind}  (entry {station.index}, {station.how})"
    if station.signed.invalid:
        yield f"  NOT VALID: {shown(station.signed.invalid, 300)}"
    else:
        yield f"  signed by {', '.join(shown(name, 200) for name in station.signed.names)}"
    if station.origin:
        yield f"  from      {shown(station.origin, 300)}"
    if station.reason:
        yield f"  reason    {shown(station.reason, 400)}"
    if station.was is not None:
        yield "  before:"
        yield from _record(station.was)
    if station.record is not None and (station.was is not None or station.kind == "acquired"):
        yield from _record(station.record)


def _record(record: Leaf) -> Iterator[str]:
    from bezoar.report.text import count, shown

    yield f"  content   sha256 {record.sha256.hex()}, {count(record.size, 'byte')}"
    yield f"  label     {'(none)' if record.label is None else shown(record.label, 200)}"
    for name, value in record.source.items():
        yield f"  source    {shown(name, 60)} = {shown(value, 300)}"
