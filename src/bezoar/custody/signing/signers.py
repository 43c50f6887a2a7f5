"""Who signs and who checks: the two protocols, and both for a key held in a file.

Other signers: `certificates` (a certificate chain), `pkcs11` (a token), `keyless` (Sigstore).
`registered` has them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from bezoar.custody.signing import keys
from bezoar.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from bezoar.custody.signing.keys import PrivateKey, PublicKey

Material = Mapping[str, Any]


class Signer(Protocol):
    """Signs a message (a DSSE pre-authentication encoding)."""

    @property
    def keyid(self) -> str:
        """The public key's fingerprint, or ""."""

    @property
    def algorithm(self) -> str:
        """`ecdsa` or `ed25519`; OMS bundles take ECDSA only."""

    @property
    def material(self) -> Material:
        """The `verificationMaterial` of a Sigstore bundle; read it after `sign`, since a keyless one is made then."""

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`."""


class Verifier(Protocol):
    """Checks a signature against what its user trusts."""

    @property
    def name(self) -> str:
        """What is trusted, for a person: a name, a key's fingerprint, an identity."""

    def verify(self, message: bytes, signature: bytes, material: Material | None = None) -> str:
        """Who signed, for a person; VerificationError when the signature is not by whom is trusted.

        `material` is the bundle's `verificationMaterial`, in which certificates come.
        """


class KeySigner:
    """Signs with a private key: ECDSA (P-256, P-384, P-521) or Ed25519; UsageError for an ML-DSA key."""

    def __init__(self, private_key: PrivateKey) -> None:
        self._key = private_key
        self.public_key = private_key.public_key()
        self.algorithm = algorithm_of(self.public_key)
        self.keyid = keys.fingerprint(self.public_key)

    @property
    def material(self) -> Material:
        """A public key is named by its fingerprint."""
        return {"publicKey": {"hint": self.keyid}, "tlogEntries": []}

    def sign(self, message: bytes) -> bytes:
        """DER ECDSA with the hash of the curve's size, or the 64 bytes of Ed25519."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey

        if isinstance(self._key, EllipticCurvePrivateKey):
            return self._key.sign(message, ECDSA(hash_for(self._key.curve.name)))
        return self._key.sign(message)


class KeyVerifier:
    """Trusts one public key. `name` is how results call it, by default `key:` and the start of its fingerprint."""

    def __init__(self, public_key: PublicKey, name: str | None = None) -> None:
        self.public_key = public_key
        self.algorithm = algorithm_of(public_key)
        self.keyid = keys.fingerprint(public_key)
        self.name = name or f"key:{self.keyid[:16]}"

    def verify(self, message: bytes, signature: bytes, material: Material | None = None) -> str:
        """`name`, when the signature is by the key. A bundle's hint is opaque: only the signature counts."""
        check_signature(self.public_key, message, signature, self.name)
        return self.name


def check_signature(public_key: PublicKey, message: bytes, signature: bytes, name: str) -> None:
    """VerificationError unless `signature` is one of `message` by `public_key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey

    try:
        if isinstance(public_key, EllipticCurvePublicKey):
            public_key.verify(signature, message, ECDSA(hash_for(public_key.curve.name)))
        else:
            public_key.verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(f"the signature is not by {name}, or what it signed was changed") from error


def hash_for(curve: str) -> HashAlgorithm:
    """SHA-256, SHA-384 or SHA-512, for P-256, P-384 or P-521 (the library's names of the curves)."""
    from cryptography.hazmat.primitives import hashes

    return {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}[curve]


def algorithm_of(public_key: PublicKey) -> str:
    """`ecdsa` or `ed25519`; UsageError for a key that signs no statements."""
    kind = keys.kind_of(public_key)
    if kind == "ed25519":
        return "ed25519"
    if kind in ("p256", "p384", "p521"):
        return "ecdsa"
    raise UsageError("ML-DSA keys cosign checkpoints only; sign statements with an ECDSA or Ed25519 key")
