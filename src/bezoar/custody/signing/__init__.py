"""Signatures over datasets and events: keys, signers and verifiers, DSSE envelopes, in-toto statements, OMS bundles.

Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.custody.signing.certificates import CertificateSigner, CertificateVerifier
    from bezoar.custody.signing.dsse import Envelope
    from bezoar.custody.signing.keyless import KeylessSigner, KeylessVerifier
    from bezoar.custody.signing.oms import SignedTree, read_bundle, sign_tree, verify_bundle
    from bezoar.custody.signing.pkcs11 import Pkcs11Signer
    from bezoar.custody.signing.registered import SIGNERS
    from bezoar.custody.signing.signers import KeySigner, KeyVerifier, Signer, Verifier
    from bezoar.custody.signing.statement import Statement, Subject

__all__ = [
    "SIGNERS",
    "CertificateSigner",
    "CertificateVerifier",
    "Envelope",
    "KeySigner",
    "KeyVerifier",
    "KeylessSigner",
    "KeylessVerifier",
    "Pkcs11Signer",
    "SignedTree",
    "Signer",
    "Statement",
    "Subject",
    "Verifier",
    "read_bundle",
    "sign_tree",
    "verify_bundle",
]

_HOME = {
    "SIGNERS": "registered",
    "CertificateSigner": "certificates",
    "CertificateVerifier": "certificates",
    "Envelope": "dsse",
    "KeySigner": "signers",
    "KeyVerifier": "signers",
    "KeylessSigner": "keyless",
    "KeylessVerifier": "keyless",
    "Pkcs11Signer": "pkcs11",
    "SignedTree": "oms",
    "Signer": "signers",
    "Statement": "statement",
    "Subject": "statement",
    "Verifier": "signers",
    "read_bundle": "oms",
    "sign_tree": "oms",
    "verify_bundle": "oms",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
