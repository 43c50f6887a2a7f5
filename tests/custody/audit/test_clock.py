"""Keys that are used after their time: what they date back is held against the order of the log, and against the last entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bezoar.custody.audit.auditing import Scope, audit
from bezoar.custody.audit.demands import demands, sealers
from bezoar.custody.audit.policy import Policy
from bezoar.custody.audit.statement import AuditStatement
from bezoar.custody.events.attesting import attest
from bezoar.custody.events.building import Request
from bezoar.custody.events.entry import EventEntry
from bezoar.custody.seal.sealing import seal
from bezoar.custody.seal.verifying import verify
from bezoar.custody.tlog.entries import object_path
from custody.audit.life import ACME, whole_life
from custody.audit.support import Life, log_signer, signer_of

WINDOW_ENDS = datetime(2026, 12, 31, tzinfo=UTC)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    made, _ = whole_life(tmp_path / "life")
    return made


def look(life: Life, data: Path | None = None) -> AuditStatement:
    policy = life.root / "policy" / "policy.toml"
    return audit(data or life.data, life.root / "log", policy, Scope(seed=1), now=life.tick())


def codes(statement: AuditStatement) -> set[str]:
    return {each.code for each in statement.irregularities}


def another(life: Life, time: datetime) -> Path:
    """Another dataset, of which the same log has nothing; all that Ada signs of it bears this time."""
    data = life.root / "horses"
    data.mkdir()
    (data / "one.bin").write_bytes(b"seven")
    sealed = seal(data, signer_of("ada"), now=time)
    for kind in ("acquired", "sealed"):
        attest(sealed, Request(kind, time), life.log, [signer_of("ada")], log_signer())
    return data


def test_an_expired_key_dates_a_new_dataset_back(life: Life) -> None:
    """No entry of this dataset tells on the time; one of another dataset does."""
    life.now = WINDOW_ENDS + timedelta(days=2)
    life.attest("reviewed", "grace")
    data = another(life, WINDOW_ENDS - timedelta(days=30))
    statement = look(life, data)
    assert {"outside-validity", "seal-not-authentic", "seal-not-logged"} <= codes(statement)
    first = next(each for each in statement.irregularities if each.code == "outside-validity")
    assert "is later than entry 18" in first.what


def test_an_entry_that_would_tell_on_the_time_and_cannot_be_read(life: Life) -> None:
    """Whoever keeps the log lets the object of the other dataset's entry disappear."""
    life.now = WINDOW_ENDS + timedelta(days=2)
    telling = life.attest("reviewed", "grace").indices[0]
    data = another(life, WINDOW_ENDS - timedelta(days=30))
    entry = EventEntry.parse(next(life.log.entries(telling)).data)
    (life.root / "log" / object_path(entry.object)).unlink()
    found = [each for each in look(life, data).irregularities if each.code == "unreadable-event"]
    assert [each.event for each in found] == [telling]
    assert f"says a later time than entry {telling + 1}, which may be dated back" in found[0].what


def test_a_new_dataset_in_time(life: Life) -> None:
    data = another(life, life.tick())
    assert not {"outside-validity", "seal-not-authentic", "seal-not-logged"} & codes(look(life, data))


def test_clocks_may_differ_a_little(life: Life) -> None:
    life.now = WINDOW_ENDS - timedelta(minutes=51)  # an event goes an hour on
    life.attest("reviewed", "grace")
    data = another(life, WINDOW_ENDS)
    assert "outside-validity" not in codes(look(life, data))


def test_nobody_who_is_not_trusted_moves_the_clock(life: Life) -> None:
    data = life.root / "donkeys"
    data.mkdir()
    (data / "one.bin").write_bytes(b"eight")
    late = WINDOW_ENDS + timedelta(days=2)
    attest(
        seal(data, signer_of("mallory"), now=late),
        Request("acquired", late),
        life.log,
        [signer_of("mallory")],
        log_signer(),
    )
    good = another(life, life.tick())
    life.now = late + timedelta(days=1)
    assert not {"outside-validity", "seal-not-authentic"} & codes(look(life, good))


def test_a_time_that_has_not_come_moves_no_clock(life: Life) -> None:
    now = life.now
    life.now = WINDOW_ENDS + timedelta(days=2)
    life.attest("reviewed", "grace")
    life.now = now
    assert not {"outside-validity", "seal-not-authentic"} & codes(look(life, another(life, life.tick())))


def stolen_since(life: Life, last: int) -> None:
    """The policy counts what Ada signed up to this entry."""
    policy = life.root / "policy" / "policy.toml"
    end = "not_after = 2026-12-31T00:00:00Z"
    assert end in policy.read_text()
    policy.write_text(policy.read_text().replace(end, f"{end}\nlast_entry = {last}"))


def test_a_stolen_key_counts_up_to_its_last_entry(life: Life) -> None:
    stolen_since(life, 16)
    assert codes(look(life)) == set()
    life.attest("removed", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    life.seal()
    life.attest("sealed")
    statement = look(life)
    assert codes(statement) == {"outside-validity", "seal-not-logged", "seal-not-authentic"}
    what = {each.event: each.what for each in statement.irregularities if each.code != "seal-not-logged"}
    assert "Ada (valid from 2026-11-01T00:00:00Z until 2026-12-31T00:00:00Z up to entry 16)" in what[18]
    assert "whose seals count up to entry 16 of the log only" in what[None]


def test_without_the_log_a_stolen_key_seals_nothing(life: Life) -> None:
    policy = Policy.load(life.root / "policy" / "policy.toml")
    assert not any("not what a trusted signer" in each for each in problems(life, policy))
    stolen_since(life, 16)
    policy = Policy.load(life.root / "policy" / "policy.toml")
    assert any("count up to entry 16" in each for each in problems(life, policy))


def problems(life: Life, policy: Policy) -> tuple[str, ...]:
    return verify(life.data, sealers(policy), check=demands(policy, None, life.tick())).problems
