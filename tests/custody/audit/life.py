"""The scripted life of issue 4: acquire three sources, seal, scan, review by two people, quarantine, release, revoke a source,
release again."""

from __future__ import annotations

from pathlib import Path

from bezoar.custody.events.event import ScanFinding
from custody.audit.support import Life, scan, write_policy

ACME = [f"acme{number:02d}.png" for number in range(60)]
BOB = [f"bob{number:02d}.png" for number in range(30)]
CAROL = [f"carol{number:02d}.png" for number in range(30)]


def acquire(life: Life) -> None:
    """Three sources, one of them after the first sealing."""
    life.add("acme", ACME, "stop", 0)
    life.seal()
    life.attest("acquired", origin="https://acme.example/signs", reason="bought, contract 17")
    life.add("bob", BOB, "yield", 1000)
    life.add("carol", CAROL, "stop", 2000)
    life.seal()
    life.attest("acquired", query="source.contributor=bob")
    life.attest("acquired", query="source.contributor=carol")
    life.attest("sealed")


def examine(life: Life, *, second_reviewer: bool = True) -> None:
    """A scan with a finding, and reviews by two people."""
    life.attest("scanned", "grace", scan=scan(ScanFinding("a patch", "poison", tuple(BOB[:3]))))
    life.attest("reviewed", "grace")
    if second_reviewer:
        life.attest("reviewed", "edsger")


def quarantine(life: Life, reviewers: tuple[str, ...] = ("grace", "edsger")) -> None:
    """What the scan found is put aside; one of it turns out to be harmless."""
    life.attest("quarantined", query="key=bob0[0-2].png", reason="flagged by the scan")
    life.take_out(BOB[:3])
    life.seal()
    life.attest("sealed")
    for reviewer in reviewers:
        life.attest("reviewed", reviewer, query="key=bob00.png", reason="a sticker")
    life.put_back(BOB[:1])
    life.seal()
    life.attest("released", query="key=bob00.png", reason="a sticker, seen by two people")
    life.attest("sealed")
    life.attest("released", "barbara", reason="version 1")


def revoke(life: Life) -> None:
    """A source turns out to be bad: its records go, for good."""
    life.attest("revoked", query="source.contributor=carol", reason="carol withdrew her consent")
    life.attest("removed", query="source.contributor=carol")
    life.take_out(CAROL)
    life.seal()
    life.attest("sealed")
    life.attest("released", "barbara", reason="version 2")


def whole_life(root: Path) -> tuple[Life, Path]:
    """The dataset after all of it, and the policy that it is held to."""
    life = Life(root)
    acquire(life)
    examine(life)
    quarantine(life)
    revoke(life)
    return life, write_policy(root / "policy")
