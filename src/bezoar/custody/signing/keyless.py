"""Keyless signing (Sigstore): a certificate of minutes for an OpenID identity, and an entry in a public transparency log.

Signing talks to Fulcio and Rekor, the public ones or those of a trust configuration, and is never done unless asked for.
Verifying is offline: against the trusted root that comes with the `sigstore` package (or its cache), or one from a file. Needs
the `sigstore` extra.
"""

from __future__ import annotations

import base64
import importlib
import json
from pathlib import Path
from typing import Any

from bezoar.custody.signing.dsse import decode_base64, split_pae
from bezoar.custody.signing.oms import MEDIA_TYPE
from bezoar.custody.signing.signers import Material
from bezoar.custody.signing.statement import IN_TOTO
from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import BezoarError, InputError, MissingExtraError, UsageError, VerificationError
from bezoar.files import read_file

_MAX_BUNDLE_BYTES = 600 * 2**20
_MAX_TRUST_BYTES = 4 * 2**20


class KeylessSigner:
    """Signs as the OpenID identity of `identity_token`, or as the one that a CI system lends to this process.

    `trust_config` is a Sigstore client trust configuration (JSON file) of another instance than the public one. UsageError
    without an identity, InputError when the token is malformed or the services fail.
    """

    algorithm = "ecdsa"
    keyid = ""

    def __init__(self, identity_token: str | None = None, trust_config: str | Path | None = None) -> None:
        oidc = _sigstore("oidc")
        token = identity_token or _ambient_token(oidc)
        try:
            self._token = oidc.IdentityToken(token)
        except oidc.IdentityError as error:
            raise InputError(f"the identity token cannot be used ({error})") from error
        self._trust_config = trust_config
        self._material: Material = {}

    @property
    def material(self) -> Material:
        """The certificate and the log entry of the last signature."""
        if not self._material:
            raise UsageError("a keyless signer has no material before it has signed")
        return self._material

    def sign(self, message: bytes) -> bytes:
        """DER ECDSA by a key that is thrown away; `message` must be the encoding of an in-toto statement."""
        payload_type, payload = split_pae(message)
        if payload_type != IN_TOTO:
            raise UsageError("keyless signing is for in-toto statements")
        contexts = _sigstore("sign").SigningContext
        try:
            with contexts.from_trust_config(self._config()).signer(self._token) as signer:
                bundle = signer.sign_dsse(_statement(payload))
        except BezoarError:
            raise
        except Exception as error:  # the network, the services, and their libraries' own errors
            raise InputError(f"keyless signing failed ({_line(error)}); nothing was signed") from error
        fields = parse_object(bundle.to_json().encode(), "Sigstore bundle", _MAX_BUNDLE_BYTES)
        self._material = fields["verificationMaterial"]
        return decode_base64(fields["dsseEnvelope"]["signatures"][0]["sig"], "Sigstore bundle: sig")

    def _config(self) -> Any:
        models = _sigstore("models")
        if self._trust_config is None:
            return models.ClientTrustConfig.production()
        try:
            return models.ClientTrustConfig.from_json(
                read_file(self._trust_config, _MAX_TRUST_BYTES).decode()
            )
        except ValueError as error:
            raise InputError(
                f"{self._trust_config}: not a Sigstore client trust configuration ({_line(error)})"
            ) from error


class KeylessVerifier:
    """Trusts one OpenID identity of one issuer (`jane@example.com` of `https://accounts.google.com`).

    `trusted_root` is a file with the trusted root of another Sigstore instance than the public one.
    """

    def __init__(self, identity: str, issuer: str, trusted_root: str | Path | None = None) -> None:
        if not identity or not issuer:
            raise UsageError("keyless verification needs both an identity and its issuer")
        self.name = f"{identity} ({issuer})"
        self._policy = _sigstore("verify.policy").Identity(identity=identity, issuer=issuer)
        self._verifier = _verifier(trusted_root)

    def verify(self, message: bytes, signature: bytes, material: Material | None = None) -> str:
        """`name`, when certificate, log entry and signature hold; InputError when the material is malformed."""
        errors, models = _sigstore("errors"), _sigstore("models")
        if not material or "certificate" not in material:
            raise VerificationError(
                "the bundle carries no Sigstore certificate; verify it with the signer's key"
            )
        expected = split_pae(message)
        try:
            bundle = models.Bundle.from_json(_bundle(*expected, signature, material))
            verified = self._verifier.verify_dsse(bundle, self._policy)
        except errors.VerificationError as error:
            raise VerificationError(
                f"the keyless signature is not by {self.name} ({_line(error)})"
            ) from error
        except (
            Exception
        ) as error:  # a hostile bundle meets many parsers in there; whatever they raise, it is refused
            raise InputError(f"the Sigstore material of the bundle is malformed ({_line(error)})") from error
        if verified != expected:
            raise VerificationError("the keyless signature is of another payload")
        return self.name


def _ambient_token(oidc: Any) -> str:
    try:
        token = oidc.detect_credential()
    except oidc.IdentityError as error:
        raise InputError(f"the identity that this system lends cannot be used ({_line(error)})") from error
    if not token:
        raise UsageError("no identity to sign with; give an identity token, or run where CI lends one")
    return str(token)


def _statement(payload: bytes) -> Any:
    """The payload as the library's statement, unparsed: its model of subjects refuses digests that it does not know."""
    statement = importlib.import_module("sigstore.dsse").Statement
    opaque = statement.__new__(statement)
    opaque._contents = payload
    return opaque


def _bundle(payload_type: str, payload: bytes, signature: bytes, material: Material) -> bytes:
    """The bundle's JSON again, of its parts."""
    return json.dumps(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode("ascii"),
                "payloadType": payload_type,
                "signatures": [{"sig": base64.b64encode(signature).decode("ascii")}],
            },
        }
    ).encode()


def _verifier(trusted_root: str | Path | None) -> Any:
    verifier = _sigstore("verify").Verifier
    try:
        if trusted_root is None:
            return verifier.production(offline=True)
        read_file(trusted_root, _MAX_TRUST_BYTES)
        return verifier(trusted_root=_sigstore("models").TrustedRoot.from_file(str(trusted_root)))
    except BezoarError:
        raise
    except Exception as error:  # the file is the user's or in the user's cache, its parsers are the library's
        where = trusted_root or "the cached root of the public Sigstore instance"
        raise InputError(f"{where}: not a Sigstore trusted root ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _sigstore(module: str) -> Any:
    try:
        return importlib.import_module(f"sigstore.{module}")
    except ImportError as error:
        raise MissingExtraError("keyless signing", "sigstore") from error
