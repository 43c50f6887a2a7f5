"""Sealing what `bezoar fetch` brought, and telling the log: what the options of a signer mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.signers import Signer
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner

NOT_SEALED = "  not sealed: nothing was kept"


@dataclass(frozen=True)
class Sealing:
    """Who seals the output, and the log that is told, if any; `origin` as the user says it."""

    signer: Signer
    log: CustodyLog | None
    log_signer: NoteSigner | None
    origin: str | None

    @classmethod
    def asked(cls, given: Mapping[str, Any]) -> Sealing | None:
        """As the options say; None without a signer. Keys and log are read now, before a byte is fetched."""
        from bezoar.cli.attest import log_signer
        from bezoar.cli.signers import signer_of
        from bezoar.custody.tlog.log import CustodyLog

        names = ("key", "certificate_chain", "pkcs11", "keyless", "password_file")
        signing = {name: given[name] for name in names}
        if not any(signing.values()):
            for name in ("log", "log_key", "origin"):
                if given[name] is not None:
                    raise UsageError(f"--{name.replace('_', '-')} goes with a signer; give --key, too")
            return None
        if given["log"] is None and (given["log_key"] or given["origin"]) is not None:
            raise UsageError("--log-key and --origin go with --log; give it, too")
        if given["log"] is not None and given["keyless"]:
            raise UsageError("events are signed with keys, which a policy can name; give --key or --pkcs11")
        signer = signer_of(**signing)
        log = None if given["log"] is None else CustodyLog.open(given["log"])
        notes = None if log is None else log_signer(log, given["log_key"], signing)
        return cls(signer, log, notes, given["origin"])

    def finish(
        self, out: Path, origin: str, reason: str, *, kept: int, records: int | None = None
    ) -> Seal | None:
        """Seal the output, and tell the log. None when nothing was kept: the log is told what lies in quarantine.

        Without `records`, the output may hold any files. With it, InputError when it does not hold so many records.
        """
        from bezoar.acquire.custody import log_unsealed, seal_and_log
        from bezoar.acquire.file_sealing import seal_files_and_log

        said = self.origin or origin
        if kept and records is None:
            return seal_files_and_log(
                out, self.signer, log=self.log, log_signer=self.log_signer, origin=said, reason=reason
            )
        if kept:
            return seal_and_log(
                out, self.signer, log=self.log, log_signer=self.log_signer, origin=said, reason=reason, records=records
            )  # fmt: skip
        if self.log is not None and self.log_signer is not None:
            log_unsealed(
                out, self.signer, log=self.log, log_signer=self.log_signer, origin=said, reason=reason
            )
        return None
