"""Options by which a person says who signs, and whom to trust; shared by the verbs that sign and that verify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bezoar.cli.log_options import password_option, private_key
from bezoar.cli.options import PATH
from bezoar.errors import UsageError

if TYPE_CHECKING:
    from bezoar.custody.signing.signers import Signer, Verifier


def signer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--key`, `--certificate-chain`, `--pkcs11`, `--keyless`, `--password-file`: arguments of `signer_of`."""
    for option in reversed(
        (
            click.option(
                "--key", type=PATH, metavar="FILE", help="Private key to sign with (`bezoar keygen`)."
            ),
            click.option(
                "--certificate-chain",
                type=PATH,
                metavar="FILE",
                help="Certificates of the key, its own first (PEM).",
            ),
            click.option("--pkcs11", metavar="URI", help="Sign with this key of a token (RFC 7512) instead."),
            click.option(
                "--keyless", is_flag=True, help="Sign as the OpenID identity of this CI job, with Sigstore."
            ),
            password_option,
        )
    ):
        function = option(function)
    return function


def signer_of(
    key: Path | None,
    certificate_chain: Path | None,
    pkcs11: str | None,
    keyless: bool,
    password_file: Path | None,
) -> Signer:
    """The one signer that these options name; UsageError when they name none or several."""
    given = [name for name, value in (("--key", key), ("--pkcs11", pkcs11), ("--keyless", keyless)) if value]
    if len(given) != 1:
        what = f"{' and '.join(given)} contradict each other" if given else "no signer given"
        raise UsageError(f"{what}; give one of --key, --pkcs11 and --keyless")
    if keyless:
        from bezoar.custody.signing.keyless import KeylessSigner

        return KeylessSigner()
    chain = []
    if certificate_chain is not None:
        from bezoar.custody.signing.certificates import CertificateSigner, load_certificates

        chain = load_certificates(certificate_chain)
    if pkcs11 is not None:
        from bezoar.custody.signing.pkcs11 import Pkcs11Signer

        return Pkcs11Signer(pkcs11, chain=chain)
    from bezoar.custody.signing.signers import KeySigner

    assert key is not None  # noqa: S101 - it is the one that was given
    private = private_key(key, password_file)
    return CertificateSigner(private, chain) if chain else KeySigner(private)


def trust_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--key`, `--certificate-chain`, `--identity`, `--issuer`: arguments of `verifiers_of`."""
    for option in reversed(
        (
            click.option(
                "--key",
                type=PATH,
                multiple=True,
                metavar="FILE",
                help="Public key that is trusted; may be repeated.",
            ),
            click.option(
                "--certificate-chain",
                type=PATH,
                multiple=True,
                metavar="FILE",
                help="Root certificates that are trusted (PEM); may be repeated.",
            ),
            click.option(
                "--identity", metavar="ID", help="Whom the certificate must name: e-mail, URI or subject."
            ),
            click.option(
                "--issuer", metavar="URL", help="Who vouches for the identity of a keyless signature."
            ),
        )
    ):
        function = option(function)
    return function


def verifiers_of(
    key: tuple[Path, ...], certificate_chain: tuple[Path, ...], identity: str | None, issuer: str | None
) -> list[Verifier]:
    """Those whom these options trust; none when nothing is given."""
    if issuer is not None and identity is None:
        raise UsageError("--issuer goes with --identity; give both")
    if identity is not None and issuer is None and not certificate_chain:
        raise UsageError("--identity goes with --certificate-chain, or with --issuer for keyless signatures")
    from bezoar.custody.signing.keys import load_public
    from bezoar.custody.signing.signers import KeyVerifier

    verifiers: list[Verifier] = [KeyVerifier(load_public(path)) for path in key]
    if certificate_chain:
        from bezoar.custody.signing.certificates import CertificateVerifier, load_certificates

        roots = [certificate for path in certificate_chain for certificate in load_certificates(path)]
        verifiers.append(CertificateVerifier(roots, identity))
    if issuer is not None and identity is not None:
        from bezoar.custody.signing.keyless import KeylessVerifier

        verifiers.append(KeylessVerifier(identity, issuer))
    return verifiers
