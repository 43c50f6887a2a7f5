"""X.509 certificate chains (RFC 5280): signing with one, and checking one against roots and an identity.

An OMS bundle carries the chain as DER, leaf first. Nothing in the bundle proves when it was made, so a chain has to be valid at
the time that the verifier is given: now, unless a trustworthy record (a custody log's entry) says when.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.custody.signing import keys
from bezoar.custody.signing.dsse import decode_base64
from bezoar.custody.signing.signers import KeySigner, Material, algorithm_of, check_signature
from bezoar.errors import InputError, UsageError, VerificationError
from bezoar.files import read_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from cryptography.x509.verification import ExtensionPolicy, Policy

    from bezoar.custody.signing.keys import PrivateKey, PublicKey

MAX_CHAIN = 10
MAX_CERTIFICATE_BYTES = 65_536
_MAX_PEM_BYTES = 4 * 2**20  # a whole bundle of roots


def load_certificates(path: str | Path) -> list[Certificate]:
    """The certificates of a PEM file, in its order; InputError when there is none or one is malformed."""
    return parse_certificates(read_file(path, _MAX_PEM_BYTES), str(path))


def parse_certificates(pem: bytes, where: str = "certificates") -> list[Certificate]:
    """`load_certificates` of bytes; `where` names them in errors."""
    from cryptography.x509 import load_pem_x509_certificates

    if len(pem) > _MAX_PEM_BYTES:
        raise InputError(f"{where}: too large for certificates; give a PEM file of them")
    with _refusing(f"{where}: not PEM certificates; expected BEGIN CERTIFICATE"):
        return load_pem_x509_certificates(pem)


class CertificateSigner(KeySigner):
    """Signs with the key of a certificate. `chain` is leaf first, then intermediates; a root in it is harmless.

    UsageError when the leaf is not of this key, or when its key is not ECDSA.
    """

    def __init__(self, private_key: PrivateKey, chain: Sequence[Certificate]) -> None:
        super().__init__(private_key)
        check_chain(self.public_key, chain)
        self._material = chain_material(chain)

    @property
    def material(self) -> Material:
        """The chain, in DER."""
        return self._material


def check_chain(public_key: PublicKey, chain: Sequence[Certificate]) -> None:
    """UsageError unless `chain` starts with a certificate of `public_key`, an ECDSA key."""
    if not chain or len(chain) > MAX_CHAIN:
        raise UsageError(f"a certificate chain has 1 to {MAX_CHAIN} certificates, the signer's own first")
    if algorithm_of(public_key) != "ecdsa":
        raise UsageError("certificates are used with ECDSA keys only")
    try:
        certified = keys.fingerprint(_leaf_key(chain[0]))
    except InputError as error:
        raise UsageError(str(error)) from error
    if certified != keys.fingerprint(public_key):
        raise UsageError(
            "the first certificate is not the one of the private key; put the signer's own first"
        )


def chain_material(chain: Sequence[Certificate]) -> Material:
    """A bundle's verification material for a chain."""
    from cryptography.hazmat.primitives.serialization import Encoding

    encoded = [base64.b64encode(one.public_bytes(Encoding.DER)).decode("ascii") for one in chain]
    return {
        "x509CertificateChain": {"certificates": [{"rawBytes": one} for one in encoded]},
        "tlogEntries": [],
    }


class CertificateVerifier:
    """Trusts whoever holds a certificate for signing that chains up to one of `roots`, and names `identity` when given.

    `identity` is matched exactly against the leaf's alternative names (e-mail, URI, DNS) and its whole subject in RFC 4514
    form; the common name counts only where there are no alternative names, and under an issuer that may certify some names
    only the alternative ones count. `at` is the time at which the chain has to be
    valid (now by default).
    """

    def __init__(
        self, roots: Sequence[Certificate], identity: str | None = None, at: datetime | None = None
    ) -> None:
        if not roots:
            raise UsageError("give at least one root certificate to trust")
        if at is not None and at.tzinfo is None:
            raise UsageError("the time of validity needs a time zone")
        self._roots = list(roots)
        self._identity = identity
        self._at = at
        self.name = identity or "a holder of a certificate under the given roots"

    def verify(self, message: bytes, signature: bytes, material: Material | None = None) -> str:
        """The identity in the certificate that signed; InputError when the chain is malformed."""
        chain = read_chain(material or {})
        with _refusing("a certificate of the bundle is malformed"):
            limited = any(_limits_names(issuer) for issuer in self._check(chain)[1:])
            # an issuer's limits are held against alternative names only, so that a subject could slip past them
            names = (_alternative_names(chain[0]) or []) if limited else identities(chain[0])
        if self._identity is not None and self._identity not in names:
            raise VerificationError(
                f"the certificate is of {names[0] if names else 'nobody'}, not of {self._identity}"
            )
        signer = self._identity or (names[0] if names else "an unnamed certificate")
        check_signature(_leaf_key(chain[0]), message, signature, signer)
        return signer

    def _check(self, chain: list[Certificate]) -> list[Certificate]:
        """The chain up to its root; VerificationError unless it is valid for signing at the time, under one of the roots."""
        from cryptography.x509.verification import PolicyBuilder, Store
        from cryptography.x509.verification import VerificationError as ChainError

        leaf = chain[0]
        at = self._at or datetime.now(UTC)
        if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
            raise VerificationError(
                f"the certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} to "
                f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}, not at {at:%Y-%m-%dT%H:%M:%SZ}"
            )
        _leaf_key(leaf)
        _check_usage(leaf)
        builder = PolicyBuilder().store(Store(self._roots)).time(at.astimezone(UTC).replace(tzinfo=None))
        builder = builder.max_chain_depth(MAX_CHAIN)
        verifier = builder.extension_policies(
            ca_policy=_issuers(), ee_policy=_anyone()
        ).build_client_verifier()
        try:
            verified = verifier.verify(leaf, chain[1:])
        except ChainError as error:
            reason = " ".join(str(error).split())[:200]
            raise VerificationError(f"the certificate chain leads to none of the roots ({reason})") from error
        for certificate in verified.chain:
            _refuse_unknown(certificate)
        return verified.chain


def read_chain(material: Material) -> list[Certificate]:
    """The certificates of a bundle's material, leaf first; InputError when they are malformed."""
    from cryptography.x509 import load_der_x509_certificate

    if "x509CertificateChain" not in material:
        raise VerificationError("the bundle carries no certificate chain; verify it with the signer's key")
    holder = material["x509CertificateChain"]
    items = holder.get("certificates") if isinstance(holder, dict) else None
    if not isinstance(items, list) or not items or len(items) > MAX_CHAIN:
        raise InputError(f"a bundle's certificate chain must hold 1 to {MAX_CHAIN} certificates")
    chain = []
    for item in items:
        der = decode_base64(item.get("rawBytes") if isinstance(item, dict) else None, "certificate: rawBytes")
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise InputError(
                f"a certificate of {len(der):,} bytes; at most {MAX_CERTIFICATE_BYTES:,} are read"
            )
        with _refusing("a certificate of the bundle is malformed"):
            chain.append(load_der_x509_certificate(der))
    return chain


def identities(certificate: Certificate) -> list[str]:
    """Whom a certificate names: its alternative names, else its common name; and its whole subject (RFC 4514)."""
    from cryptography import x509

    names = _alternative_names(certificate)
    if names is None:
        found = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
        names = [str(one.value) for one in found]
    subject = certificate.subject.rfc4514_string()
    return [*names, subject] if subject else names


def _alternative_names(certificate: Certificate) -> list[str] | None:
    """Its e-mail addresses, URIs and DNS names; None when it has no extension for them."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
    return [str(value) for kind in kinds for value in names.get_values_for_type(kind)]


def _limits_names(issuer: Certificate) -> bool:
    from cryptography import x509

    return any(isinstance(extension.value, x509.NameConstraints) for extension in issuer.extensions)


def _leaf_key(certificate: Certificate) -> Any:
    """The certified public key; InputError unless it is ECDSA on one of the three curves."""
    with _refusing("the signer's certificate holds a key that cannot be read"):
        key = certificate.public_key()
    if not keys.kind_of(key).startswith("p"):
        raise InputError("the signer's certificate must hold an ECDSA key on P-256, P-384 or P-521")
    return key


def _check_usage(leaf: Certificate) -> None:
    """VerificationError unless the leaf may sign: digital signature, or code signing; neither denied by the other."""
    from cryptography import x509

    stated = False
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.KeyUsage):
            stated = True
            if not extension.value.digital_signature:
                raise VerificationError("the certificate may not be used for digital signatures")
        elif isinstance(extension.value, x509.ExtendedKeyUsage):
            stated = True
            if not _is_for_code(extension.value):
                raise VerificationError("the certificate is meant for other uses than signing code or data")
    if not stated:
        raise VerificationError("the certificate does not say that it may be used for digital signatures")


def _issuers() -> ExtensionPolicy:
    """What an issuing certificate must say: that it is one, may sign certificates, and not of web servers only."""
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_issuer)
    policy = policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _issues_for_code)


def _anyone() -> ExtensionPolicy:
    """The leaf's own extensions are checked by `_check_usage`."""
    from cryptography.x509.verification import ExtensionPolicy

    return ExtensionPolicy.permit_all()


def _is_issuer(policy: Policy, certificate: Certificate, constraints: Any) -> None:
    if not constraints.ca:
        raise ValueError("an issuer's certificate is not one of a certificate authority")


def _signs_certificates(policy: Policy, certificate: Certificate, usage: Any) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer's certificate may not sign certificates")


def _issues_for_code(policy: Policy, certificate: Certificate, extended: Any) -> None:
    if extended is not None and not _is_for_code(extended):
        raise ValueError("an issuer's certificate is meant for other uses than signing code or data")


def _is_for_code(extended: Any) -> bool:
    """Whether extended key usages, where they are stated, allow signing code or data."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return bool(
        {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(extended)
    )


def _refuse_unknown(certificate: Certificate) -> None:
    """VerificationError for a critical extension that is not understood here (RFC 5280, 4.2)."""
    from cryptography.x509 import UnrecognizedExtension

    for extension in certificate.extensions:
        if extension.critical and isinstance(extension.value, UnrecognizedExtension):
            raise VerificationError(
                f"a certificate has a critical extension that is not understood ({extension.oid.dotted_string})"
            )


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """InputError `what` for all that the library raises on certificates that are not well-formed.

    Its warnings are passed over: a root with a serial number of zero is in many systems' stores.
    """
    from cryptography import x509
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.utils import CryptographyDeprecationWarning

    malformed = (
        ValueError,
        TypeError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        UnsupportedAlgorithm,
        InternalError,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            yield
    except malformed as error:
        raise InputError(f"{what} ({' '.join(str(error).split())[:120]})") from error
