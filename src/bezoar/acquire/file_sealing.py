"""Sealing the files of a repository, an archive or a store, whatever they are: not all of them are a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.custody import seal_and_log
from bezoar.errors import InputError

if TYPE_CHECKING:
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.signers import Signer
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner


def seal_files_and_log(
    out: Path,
    signer: Signer,
    *,
    log: CustodyLog | None,
    log_signer: NoteSigner | None,
    origin: str,
    reason: str = "",
) -> Seal:
    """As `seal_and_log`; where `out` is no dataset that can be opened, every file is a record, without a label."""
    from bezoar.custody.seal.records import Layout, open_records

    layout = Layout()
    try:
        open_records(out, layout)
    except (
        InputError
    ):  # splits instead of classes, images without labels: what was fetched is as right as ever
        layout = Layout(by_file=True)
    return seal_and_log(
        out, signer, log=log, log_signer=log_signer, origin=origin, reason=reason, layout=layout
    )
