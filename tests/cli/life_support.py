"""A sealed image folder, keys, a log and a policy, all made through the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.support import Cli, Outcome, image_folder

ORIGIN = "example.org/custody"
HOSTILE = "<script>alert(1)</script>\x1b[31m\nfaked line\u202e"
PEOPLE = {"ada": '["custodian", "sealer", "releaser"]', "grace": '["reviewer", "scanner", "auditor"]'}


@dataclass
class Desk:
    """Where somebody works on `signs`, with keys ada, grace and the log's."""

    cli: Cli
    root: Path

    def attest(self, kind: str, *more: object, by: str = "ada") -> Outcome:
        return self.cli(
            "attest", self.root / "signs", "--kind", kind, "--log", self.root / "log",
            "--key", self.root / f"{by}.key", "--log-key", self.root / "log.key", *more,
        )  # fmt: skip

    def seal(self) -> None:
        done = self.cli("seal", self.root / "signs", "--key", self.root / "ada.key")
        assert done.code == 0, done.err

    def audit(self, *more: object) -> Outcome:
        return self.cli(
            "audit",
            self.root / "signs",
            "--log",
            self.root / "log",
            "--policy",
            self.root / "policy.toml",
            *more,
        )

    def custody(self, key: str, *more: object) -> Outcome:
        return self.cli("custody", self.root / "signs", key, "--log", self.root / "log", *more)


def desk(cli: Cli, root: Path) -> Desk:
    """Eight records, sealed; nothing attested yet."""
    image_folder(root / "signs")
    for name in PEOPLE:
        assert cli("keygen", root / name, "--no-password").code == 0
    assert cli("keygen", root / "log", "--type", "ed25519", "--no-password").code == 0
    made = cli("log", "init", root / "log", "--origin", ORIGIN, "--key", root / "log.key")
    assert made.code == 0, made.err
    signers = "".join(
        f'[[signer]]\nname = "{name}"\nkey = "{name}.pub"\nroles = {roles}\n'
        for name, roles in PEOPLE.items()
    )
    (root / "policy.toml").write_text(
        f'version = 1\n[log]\nkey = "{made.out.strip()}"\n{signers}[review]\nreviewers = 1\n'
    )
    here = Desk(cli, root)
    here.seal()
    return here


def whole(here: Desk) -> None:
    """Acquired, sealed, reviewed and released."""
    for kind, by, *more in (
        ("acquired", "ada", "--origin", "https://acme.example", "--reason", "contract 17"),
        ("sealed", "ada"),
        ("reviewed", "grace"),
        ("released", "ada"),
    ):
        done = here.attest(kind, *more, by=by)
        assert done.code == 0, done.err
