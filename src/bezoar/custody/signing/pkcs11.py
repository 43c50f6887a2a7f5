"""Signing with an ECDSA key inside a token (PKCS#11: a smart card, an HSM, SoftHSM), named by an RFC 7512 URI.

The private key never leaves the token: the message is hashed here, the token signs the hash. Needs the `pkcs11` extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bezoar.custody.signing import keys
from bezoar.custody.signing.certificates import chain_material, check_chain
from bezoar.custody.signing.pkcs11_uri import Pkcs11Uri
from bezoar.custody.signing.signers import Material, algorithm_of, check_signature, hash_for
from bezoar.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Pkcs11Signer:
    """Signs with the token's key that `uri` names; with the material of `chain` (leaf first) when one is given.

    `pin` is used where the URI holds none. InputError when the module, the token or the key is not there, when several keys
    match, when the PIN is wrong, or when the key is not ECDSA on one of the three curves.
    """

    algorithm = "ecdsa"

    def __init__(self, uri: str, pin: str | None = None, chain: Sequence[Certificate] = ()) -> None:
        self._uri = Pkcs11Uri.parse(uri)
        self._pin = self._uri.pin or pin
        with self._session() as session:
            self.public_key = _public_key(_find(session, "PUBLIC_KEY", self._uri))
            _find(session, "PRIVATE_KEY", self._uri)
        if algorithm_of(self.public_key) != "ecdsa":
            raise InputError("the token's key is not an ECDSA key")
        self.keyid = keys.fingerprint(self.public_key)
        self._material: Material = {"publicKey": {"hint": self.keyid}, "tlogEntries": []}
        if chain:
            check_chain(self.public_key, chain)
            self._material = chain_material(chain)

    @property
    def material(self) -> Material:
        """The key's fingerprint, or the certificate chain."""
        return self._material

    def sign(self, message: bytes) -> bytes:
        """DER ECDSA, checked with the public key before it is returned."""
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
        from cryptography.hazmat.primitives.hashes import Hash

        digest = Hash(hash_for(self.public_key.curve.name))
        digest.update(message)
        with self._session() as session:
            key = _find(session, "PRIVATE_KEY", self._uri)
            raw = key.sign(digest.finalize(), mechanism=_library().Mechanism.ECDSA)
        half = len(raw) // 2
        signature = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        check_signature(self.public_key, message, signature, "the token's key")
        return signature

    @contextmanager
    def _session(self) -> Iterator[Any]:
        library = _library()
        try:
            module = library.lib(str(self._uri.module))
            with _token(module, self._uri).open(user_pin=self._pin) as session:
                yield session
        except library.PinIncorrect as error:
            raise InputError("the token refuses the PIN; check it before the token locks itself") from error
        except (library.PKCS11Error, RuntimeError) as error:
            reason = str(error) or type(error).__name__
            raise InputError(f"{self._uri.module}: the PKCS#11 token failed ({reason})") from error


def _token(module: Any, uri: Pkcs11Uri) -> Any:
    """The one token that the URI describes."""
    found = []
    for slot in module.get_slots(token_present=True):
        token = slot.get_token()
        serial = token.serial.decode("utf-8", "replace") if isinstance(token.serial, bytes) else token.serial
        said = [
            (uri.token, token.label),
            (uri.manufacturer, token.manufacturer_id),
            (uri.serial, serial),
            (uri.model, token.model),
            (uri.slot, slot.slot_id),
        ]
        ready = _library().TokenFlag.TOKEN_INITIALIZED in token.flags
        if ready and all(wanted is None or wanted == actual for wanted, actual in said):
            found.append(token)
    if len(found) != 1:
        raise InputError(
            f"the PKCS#11 URI matches {len(found)} tokens; it must describe exactly one (token=LABEL)"
        )
    return found[0]


def _find(session: Any, kind: str, uri: Pkcs11Uri) -> Any:
    """The one object of a class (`PRIVATE_KEY`, `PUBLIC_KEY`) with the URI's label and id."""
    library = _library()
    wanted = {library.Attribute.CLASS: library.ObjectClass[kind]}
    if uri.label is not None:
        wanted[library.Attribute.LABEL] = uri.label
    if uri.key_id is not None:
        wanted[library.Attribute.ID] = uri.key_id
    found = list(session.get_objects(wanted))
    if len(found) != 1:
        what = kind.lower().replace("_", " ")
        hint = "; a PIN may be needed to see it" if not found else ""
        raise InputError(f"the token holds {len(found)} {what}s of this name, the URI must match one{hint}")
    return found[0]


def _public_key(key: Any) -> Any:
    """The public half of an EC key pair."""
    util = importlib.import_module("pkcs11.util.ec")
    try:
        der = util.encode_ec_public_key(key)
    except Exception as error:  # whatever the ASN.1 reader makes of a key that is not an EC key
        raise InputError("the token's key is not an ECDSA key") from error
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    try:
        public = load_der_public_key(der)
    except ValueError as error:
        raise InputError("the token's public key is malformed") from error
    return keys.parse_public(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "token")


def _library() -> Any:
    try:
        return importlib.import_module("pkcs11")
    except ImportError as error:
        raise MissingExtraError("signing with a PKCS#11 token", "pkcs11") from error
