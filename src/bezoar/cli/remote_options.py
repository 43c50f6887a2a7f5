"""What the options of `bezoar fetch` say of a repository, an archive or a store: what it must be, and whom one asks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.options import PATH
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.acquire.archives.fetching import Promise
    from bezoar.acquire.archives.limits import ArchiveLimits
    from bezoar.acquire.http.client import Client
    from bezoar.acquire.hub.api import Hub
    from bezoar.acquire.sealed_digests import Sealed

_SHA256 = re.compile(r"[0-9a-f]{64}")


def remote_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What says of a repository, an archive or a store what it must be, and which of it is meant."""
    for option in reversed(
        (
            click.option("--sha256", metavar="HEX", help="SHA-256 that the archive or file must have."),
            click.option(
                "--seal", "trusted_seal", metavar="SEAL", help="Seal (folder or URL) of what must arrive."
            ),
            click.option(
                "--seal-key",
                type=PATH,
                multiple=True,
                metavar="PUB",
                help="Public key that must have signed that seal.",
            ),
            click.option(
                "--seal-certificate-chain",
                type=PATH,
                multiple=True,
                metavar="FILE",
                help="Root certificates for that signature (PEM).",
            ),
            click.option("--seal-identity", metavar="ID", help="Whom the certificate must name."),
            click.option("--seal-issuer", metavar="URL", help="Who vouches for that identity (keyless)."),
            click.option(
                "--pin",
                type=PATH,
                metavar="FILE",
                help="Record of an earlier fetch (OUT.fetch/hub.json or objects.json): fetch exactly the same.",
            ),
            click.option(
                "--include",
                multiple=True,
                metavar="GLOB",
                help="Only such paths of a repository; may be repeated.",
            ),
            click.option(
                "--exclude",
                multiple=True,
                metavar="GLOB",
                help="No such paths of a repository; may be repeated.",
            ),
            click.option(
                "--unverified",
                is_flag=True,
                help="Take an archive or a store's objects although nothing says what they must be.",
            ),
            click.option("--as-is", is_flag=True, help="Keep an archive as the file OUT; do not unpack it."),
            click.option(
                "--max-entries",
                type=click.IntRange(min=1),
                default=5_000_000,
                show_default=True,
                help="Files and folders of one archive, repository or store.",
            ),
            click.option(
                "--max-total-bytes",
                type=click.IntRange(min=1),
                default=1 << 42,
                show_default=True,
                help="Of all files of one archive, repository or store.",
            ),
            click.option(
                "--max-ratio",
                type=click.IntRange(min=1),
                default=200,
                show_default=True,
                help="Bytes that an archive may unpack to for each of its own, once it is beyond a gibibyte.",
            ),
        )
    ):
        function = option(function)
    return function


def refuse_remote(given: Mapping[str, Any]) -> None:
    """UsageError for an option that says nothing of a list of URLs."""
    names = {"trusted_seal": "--seal", "pin": "--pin", "include": "--include", "exclude": "--exclude"}
    names |= {"unverified": "--unverified", "as_is": "--as-is"}
    for name, option in names.items():
        if given[name]:
            raise UsageError(
                f"{option} is for repositories, archives and stores; a list holds its hashes itself"
            )


def promise_of(given: Mapping[str, Any]) -> Promise:
    """What a single file must be."""
    from bezoar.acquire.archives.fetching import Promise

    return Promise(digest_of(given), sealed_of(given), given["unverified"])


def digest_of(given: Mapping[str, Any]) -> bytes | None:
    """The 32 bytes of --sha256; UsageError when it is malformed."""
    text = given["sha256"]
    if text is None:
        return None
    if not _SHA256.fullmatch(text.strip().lower()):
        raise UsageError(f"--sha256 {text[:80]!r}: is no SHA-256; it has 64 hexadecimal digits")
    return bytes.fromhex(text.strip())


def sealed_of(given: Mapping[str, Any]) -> Sealed | None:
    """What the seal promises that the user trusts; None without one."""
    trusted = [given[f"seal_{name}"] for name in ("key", "certificate_chain", "identity", "issuer")]
    if given["trusted_seal"] is None:
        if any(trusted):
            raise UsageError("--seal-key and its like say whose --seal is trusted; give it, too")
        return None
    from bezoar.acquire.sealed_digests import read_sealed
    from bezoar.cli.signers import verifiers_of

    return read_sealed(given["trusted_seal"], verifiers_of(*trusted))


def limits_of(given: Mapping[str, Any]) -> ArchiveLimits:
    """How much may be unpacked."""
    from bezoar.acquire.archives.limits import ArchiveLimits

    return ArchiveLimits(
        entries=given["max_entries"],
        file_bytes=given["max_total_bytes"],
        total_bytes=given["max_total_bytes"],
        ratio=given["max_ratio"],
    )


def client_of(given: Mapping[str, Any], *, hub: bool = False) -> Client:
    """The user named the hub's address: it may be reached wherever it is, on its own port."""
    from bezoar.acquire.http.client import Client
    from bezoar.acquire.http.exchange import Limits, Policy

    limits = Limits(
        timeout_s=given["timeout"],
        retries=0,  # what broke is resumed instead
        max_redirects=given["max_redirects"],
        connections=min(given["thread_count"], 16),
        per_host=min(given["per_host"], given["thread_count"], 16),
    )
    allowed = (*given["allow_host"], *(_named_hub() if hub else ()))
    return Client(
        limits, Policy(allowed=allowed, opt_outs=()), proxy=given["proxy"], ca_file=given["ca_file"]
    )


def hub_of(client: Client) -> Hub:
    """The hub that the environment names, with the user's token."""
    from bezoar.acquire.hub.api import Hub
    from bezoar.acquire.hub.tokens import endpoint, token

    return Hub(client, endpoint(), token())


def _named_hub() -> tuple[str, ...]:
    from bezoar.acquire.http.urls import check_url
    from bezoar.acquire.hub.tokens import endpoint

    if not os.environ.get("HF_ENDPOINT"):
        return ()
    target = check_url(endpoint())
    host = f"[{target.host}]" if ":" in target.host else target.host
    return (f"{host}:{target.port}",)
