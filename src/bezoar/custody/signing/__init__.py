"""Signatures over datasets and events: keys, signers and verifiers, DSSE envelopes, in-toto statements, OMS bundles."""

from bezoar.custody.signing.certificates import CertificateSigner, CertificateVerifier
from bezoar.custody.signing.dsse import Envelope
from bezoar.custody.signing.keyless import KeylessSigner, KeylessVerifier
from bezoar.custody.signing.oms import SignedTree, read_bundle, sign_tree, verify_bundle
from bezoar.custody.signing.pkcs11 import Pkcs11Signer
from bezoar.custody.signing.signers import SIGNERS, KeySigner, KeyVerifier, Signer, Verifier
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

SIGNERS.register("key", KeySigner)
SIGNERS.register("certificate", CertificateSigner)
SIGNERS.register("pkcs11", Pkcs11Signer)
SIGNERS.register("keyless", KeylessSigner)
