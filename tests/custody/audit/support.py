"""A small dataset on disk, its keys, its log, and the people who attest what happens to it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from bezoar.custody.events.attesting import Attested, append, attest
from bezoar.custody.events.building import Request
from bezoar.custody.events.event import Event, Scan, ScanFinding
from bezoar.custody.events.query import Query
from bezoar.custody.seal.sealing import Seal, seal
from bezoar.custody.signing import keys
from bezoar.custody.signing.signers import KeySigner
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.log import CustodyLog

ORIGIN = "example.org/custody"
START = datetime(2026, 11, 1, 9, 0, 0, tzinfo=UTC)
PEOPLE = ("ada", "grace", "edsger", "barbara", "mallory")


def signer_of(name: str) -> KeySigner:
    """The key of a person, the same in every run."""
    return KeySigner(derive_private_key(1000 + PEOPLE.index(name), SECP256R1()))


def log_signer():
    return ed25519_signer(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), ORIGIN)


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Life:
    """A dataset in `root/signs`, with a log and a clock that goes on by an hour with every event."""

    root: Path
    now: datetime = START
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    gone: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data, self.put_aside = self.root / "signs", self.root / "quarantine"
        if self.data.exists():
            self.log = CustodyLog.open(self.root / "log")
            return
        self.data.mkdir(parents=True)
        self.put_aside.mkdir()
        self.log = CustodyLog.init(self.root / "log", ORIGIN, log_signer())

    def copy(self, root: Path) -> Life:
        """The same life elsewhere, to go on from here in another way."""
        shutil.copytree(self.root, root)
        return Life(root, self.now, {name: dict(row) for name, row in self.rows.items()}, dict(self.gone))

    def tick(self, hours: float = 1) -> datetime:
        self.now += timedelta(hours=hours)
        return self.now

    def add(self, contributor: str, names: Iterable[str], label: str, seed: int) -> None:
        """Files from one contributor appear in the folder."""
        for place, name in enumerate(names):
            (self.data / name).write_bytes(picture(seed + place))
            self.rows[name] = {"label": label, "contributor": contributor, "license": "CC0-1.0"}
        self.write()

    def write(self) -> None:
        """The folder's metadata, as the rows have it."""
        lines = [json.dumps({"file_name": name, **row}) for name, row in sorted(self.rows.items())]
        (self.data / "metadata.jsonl").write_text("\n".join(lines) + "\n")

    def take_out(self, names: Sequence[str]) -> None:
        """Files leave the folder."""
        for name in names:
            shutil.move(self.data / name, self.put_aside / name)
            self.gone[name] = self.rows.pop(name)
        self.write()

    def put_back(self, names: Sequence[str]) -> None:
        """Files return, with the rows that they had."""
        for name in names:
            shutil.move(self.put_aside / name, self.data / name)
            self.rows[name] = self.gone.pop(name)
        self.write()

    def seal(self, by: str = "ada") -> Seal:
        return seal(self.data, signer_of(by), now=self.now)

    def forge(self, event: Event, by: str = "ada") -> Attested:
        """Append an event as it is, whatever the seal and the books say."""
        return append([event], self.log, [signer_of(by)], log_signer())

    def attest(self, kind: str, by: str = "ada", query: str | None = None, **more: object) -> Attested:
        request = Request(
            kind,
            self.tick(),
            query=None if query is None else Query.parse(query),
            **more,  # type: ignore[arg-type]
        )
        sealed = Seal.open(self.root / "signs.seal")
        return attest(sealed, request, self.log, [signer_of(by)], log_signer())


def scan(*findings: ScanFinding) -> Scan:
    poisoned = any(finding.severity == "poison" for finding in findings)
    return Scan("poisoned" if poisoned else "clean", "ab" * 32, findings)


def write_keys(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in PEOPLE:
        (folder / f"{name}.pub").write_bytes(keys.public_pem(signer_of(name).public_key))


POLICY = """\
version = 1

[log]
key = "{log_key}"
minimum_size = 5

[[signer]]
name = "Ada"
key = "ada.pub"
roles = ["custodian", "sealer"]
not_before = 2026-11-01T00:00:00Z
not_after = 2026-12-31T00:00:00Z

[[signer]]
name = "Grace"
key = "grace.pub"
roles = ["reviewer", "scanner"]

[[signer]]
name = "Edsger"
key = "edsger.pub"
roles = ["reviewer"]

[[signer]]
name = "Barbara"
key = "barbara.pub"
roles = ["releaser", "auditor"]

[review]
reviewers = 2

[scan]
required = true
no_open_findings = true

[sources]
column = "contributor"
required = ["contributor", "license"]

[seal]
maximum_age_days = 90
minimum_sequence = 2
"""


def write_policy(folder: Path, **changes: str) -> Path:
    """The policy and its keys; `changes` replace pieces of its text."""
    write_keys(folder)
    text = POLICY.format(log_key=log_signer().key.text)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "policy.toml"
    path.write_text(text)
    return path
