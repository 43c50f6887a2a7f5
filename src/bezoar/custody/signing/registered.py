"""The registry of signers: those of this package, and those of other distributions (entry points `bezoar.signers`)."""

from __future__ import annotations

from bezoar.custody.signing.certificates import CertificateSigner
from bezoar.custody.signing.keyless import KeylessSigner
from bezoar.custody.signing.pkcs11 import Pkcs11Signer
from bezoar.custody.signing.signers import KeySigner, Signer
from bezoar.registry import Registry

SIGNERS: Registry[type[Signer]] = Registry("signer", "bezoar.signers")
SIGNERS.register("key", KeySigner)
SIGNERS.register("certificate", CertificateSigner)
SIGNERS.register("pkcs11", Pkcs11Signer)
SIGNERS.register("keyless", KeylessSigner)
