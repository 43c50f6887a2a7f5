"""An event of every kind, with hostile texts in it."""

from __future__ import annotations

from datetime import UTC, datetime

from bezoar.custody.events.event import NOTHING, Event, Part, Scan, ScanFinding
from bezoar.custody.seal.leaves import Leaf

TIME = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
ONE, TWO = "1" * 64, "2" * 64
HOSTILE = '<script>alert(1)</script>\x1b[31m\n\u202e"\\'
STOP = Leaf("a/b.png", "stop", b"\x01" * 32, 120, {"contributor": "acme", "url": "https://acme.example/b"})
ODD = Leaf(f"k{HOSTILE}", HOSTILE, b"\x02" * 32, 0, {HOSTILE: HOSTILE})
BARE = Leaf("z", None, b"\x03" * 32, 2**53 - 1, {})
PARTS = (
    Part("bundle.sig", ONE, "application/json"),
    Part("manifest.parquet", TWO, "application/octet-stream"),
)

EVENTS = {
    "acquired": Event("acquired", "signs", NOTHING, ONE, TIME, "bought", (STOP, ODD, BARE), origin=HOSTILE),
    "sealed": Event("sealed", "signs", ONE, ONE, TIME, count=3, parts=PARTS),
    "reviewed": Event("reviewed", HOSTILE, ONE, ONE, TIME, HOSTILE),
    "reviewed records": Event("reviewed", "signs", ONE, ONE, TIME, records=(STOP, BARE)),
    "scanned": Event(
        "scanned", "signs", ONE, ONE, TIME,
        scan=Scan("poisoned", TWO, (ScanFinding(HOSTILE, "poison", ("a/b.png",)), ScanFinding("odd", "review", ("z",)))),
    ),
    "scanned clean": Event("scanned", "signs", ONE, ONE, TIME, scan=Scan("clean", TWO)),
    "transformed": Event("transformed", "signs", ONE, TWO, TIME, "resized", (STOP,), (BARE, STOP)),
    "derived": Event("transformed", "signs-64", NOTHING, TWO, TIME, records=(STOP,), derived=("signs", ONE)),
    "quarantined": Event("quarantined", "signs", ONE, TWO, TIME, records=(STOP,)),
    "removed": Event("removed", "signs", ONE, TWO, TIME, records=(STOP,)),
    "removed from quarantine": Event("removed", "signs", ONE, ONE, TIME, records=(STOP,)),
    "released": Event("released", "signs", ONE, ONE, TIME, "version 1"),
    "released records": Event("released", "signs", ONE, TWO, TIME, records=(STOP,)),
    "revoked": Event("revoked", "signs", ONE, ONE, TIME, records=(STOP,), query="source.contributor=acme*,label=stop"),
    "trained": Event("trained", "signs", ONE, ONE, TIME, "model 7"),
    "audited": Event("audited", "signs", ONE, ONE, TIME, statement={"opinion": {"verdict": "unqualified"}, "x": [1, 0.5]}),
}  # fmt: skip
