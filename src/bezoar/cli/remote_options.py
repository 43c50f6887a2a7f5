"""What the options of `bezoar fetch` say of a repository, an archive or a store: what it must be, and whom one asks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bezoar.cli.options import PATH
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.acquire.archives.fetching import Promise
    from bezoar.acquire.archives.limits import ArchiveLimits
    from bezoar.acquire.http.client import Client
    from bezoar.acquire.hub.api import Hub
    from bezoar.acquire.sealed_digests import Sealed

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMOTE_ONLY = frozenset(
    {"trusted_seal", "seal_key", "seal_certificate_chain", "seal_identity", "seal_issuer", "pin", "include", "exclude"}
    | {"unverified", "as_is", "max_entries", "max_total_bytes", "max_ratio"}
)  # fmt: skip
_LIST_ONLY = frozenset(
    {"caption_col", "verify_hash", "require_hash", "index_key", "index_signature", "save_additional_columns"}
    | {"output_format", "number_sample_per_shard", "retry_failed", "processes_count", "deadline", "retries", "max_bytes"}
    | {"user_agent_token", "disallowed_header_directives", "image_size", "resize_mode", "resize_only_if_bigger"}
    | {"skip_reencode", "disable_all_reencoding", "encode_format", "encode_quality", "min_image_size"}
    | {"max_image_area", "max_aspect_ratio"}
)  # fmt: skip
_HTTP_ONLY = frozenset(
    {"allow_host", "proxy", "ca_file", "timeout", "max_redirects", "thread_count", "per_host"}
)


def remote_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What says of a repository, an archive or a store what it must be, and which of it is meant."""
    for option in reversed(
        (
            click.option(
                "--sha256",
                metavar="HEX",
                help="SHA-256 that the archive, the file, or the list at a URL must have.",
            ),
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
                help="Only files of a repository whose paths match; may be repeated.",
            ),
            click.option(
                "--exclude",
                multiple=True,
                metavar="GLOB",
                help="No files of a repository whose paths match; may be repeated.",
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
                help="Bytes of all files of one archive, repository or store, and of one download.",
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


def refuse_remote(source: str) -> None:
    """UsageError for an option that says nothing of the list of URLs at `source`."""
    for option in _given(_REMOTE_ONLY):
        raise UsageError(f"{option} is for repositories, archives and stores; a list holds its hashes itself")
    if "://" not in source and _given({"sha256"}):
        raise UsageError(
            f"--sha256 says what an archive must be, or a list at a URL; {source[:200]} is taken for a list on this machine, "
            "whose rows have their own hashes; --index-key says who must have signed it"
        )


def refuse_list(source: str) -> None:
    """UsageError for an option that says nothing of a repository, an archive or a store at `source`."""
    shown = source.split("?", 1)[0][:200]  # what follows may be a secret
    for option in _given(_LIST_ONLY):
        raise UsageError(
            f"{option} is for lists of URLs, and {shown} is not taken for one; name a list at a URL with --url-list"
        )
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    if scheme not in ("", "hf", "http", "https"):
        for option in _given(_HTTP_ONLY):
            raise UsageError(
                f"{option} is for HTTP and the hub; {scheme}:// is read by its own package, which has its own settings"
            )


def _given(names: Collection[str]) -> list[str]:
    """Those of these options that are on the command line, as they are spelled: what is silently ignored misleads."""
    context = click.get_current_context()
    return [
        each.opts[0]
        for each in context.command.params
        if each.name in names and context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE
    ]


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
