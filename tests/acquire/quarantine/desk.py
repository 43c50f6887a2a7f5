"""An output of a fetch in miniature, its quarantine, a key and a log: what the tests of accounting work on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from PIL import Image

from bezoar.acquire.custody import seal_and_log
from bezoar.acquire.quarantine.held import Held
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason
from bezoar.acquire.run_state import state_folder
from bezoar.custody.audit.auditing import Scope, audit
from bezoar.custody.audit.statement import AuditStatement
from bezoar.custody.events.event import Event
from bezoar.custody.events.history import history
from bezoar.custody.events.times import now
from bezoar.custody.seal.reading import Seal
from bezoar.custody.signing.signers import KeySigner
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.log import CustodyLog

ORIGIN = "example.org/custody"


def picture(seed: int, size: tuple[int, int] = (32, 32), form: str = "JPEG", **options: object) -> bytes:
    """A picture with large shapes, which no other seed has."""
    import numpy as np

    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((256, 256), Image.Resampling.BICUBIC).resize(size).save(buffer, form, **options)
    return buffer.getvalue()


def held(key: str, content: bytes, reason: Reason = Reason.HASH_MISMATCH, **more: object) -> Held:
    """An entry as a fetch makes it."""
    digest = hashlib.sha256(content).hexdigest() if content else ""
    url = f"http://{'a' if int(key) % 2 else 'b'}.example/{key}.jpg"
    entry = Held(key, url, reason, expected="0" * 64, sha256=digest, size=len(content), fields={"url": url})
    return replace(entry, **more)  # type: ignore[arg-type]


@dataclass
class Desk:
    """Outputs in `root`, one log, and a signer who is custodian and sealer."""

    root: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    time: datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        self.log_signer = ed25519_signer(Ed25519PrivateKey.generate(), ORIGIN)
        self.log = CustodyLog.init(self.root / "log", ORIGIN, self.log_signer)
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        (self.root / "policy.toml").write_text(
            f'version = 1\n[log]\nkey = "{self.log_signer.key.text}"\n[[signer]]\nname = "fetcher"\n'
            f"pem = '''{pem}'''\nroles = [\"custodian\", \"sealer\"]\n"
        )

    def output(self, name: str, records: Mapping[str, bytes]) -> Path:
        """What the folder `name` holds from now on: files, each a record."""
        out = self.root / name
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        for key, content in records.items():
            (out / f"{key}.bin").write_bytes(content)
        return out

    def store(self, out: Path) -> Quarantine:
        return Quarantine.at(state_folder(out) / "quarantine")

    def account(self, out: Path, **more: object) -> Seal:
        """As a fetch does it at its end; each time a second later, so that no two events are the same."""
        self.time += timedelta(seconds=1)
        arguments = {
            "log": self.log,
            "log_signer": self.log_signer,
            "origin": "list abc",
            "now": self.time,
            **more,
        }
        return seal_and_log(out, KeySigner(self.key), **arguments)  # type: ignore[arg-type]

    def audit(self, out: Path) -> AuditStatement:
        return audit(out, self.root / "log", self.root / "policy.toml", Scope(full=True))

    def events(self, name: str) -> list[Event]:
        self.log.reload()
        found = [logged.event for logged in history(self.log, name)]
        return [event for event in found if event is not None]

    def told(self, name: str) -> list[tuple[str, list[str], list[str]]]:
        """Kind, keys and former keys of each event."""
        return [
            (event.kind, [leaf.key for leaf in event.records], [leaf.key for leaf in event.was])
            for event in self.events(name)
        ]
