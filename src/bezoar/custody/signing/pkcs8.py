"""Encrypted PKCS#8 (RFC 5958) under a password: PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC (RFC 8018).

The library's own encryption fixes 2,048 rounds of PBKDF2, which a stolen file does not survive for long; OWASP asks for
600,000. Only writing is done here: any PKCS#8 reader (OpenSSL, `cryptography`) opens the result.
"""

from __future__ import annotations

import base64
import hashlib
import os

ROUNDS = 600_000

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d02090500")  # with its NULL parameters
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_SEQUENCE, _INTEGER, _OCTET_STRING = 0x30, 0x02, 0x04
_BLOCK = 16


def encrypt(private_key_info: bytes, password: bytes, rounds: int) -> bytes:
    """The PEM text `ENCRYPTED PRIVATE KEY` of a DER PrivateKeyInfo; `rounds` of PBKDF2, ROUNDS for real keys."""
    salt, iv = os.urandom(16), os.urandom(_BLOCK)
    key = hashlib.pbkdf2_hmac("sha256", password, salt, rounds, 32)
    derivation = _sequence(
        _PBKDF2,
        _sequence(_tlv(_OCTET_STRING, salt), _integer(rounds), _sequence(_HMAC_SHA256)),
    )
    cipher = _sequence(_AES_256_CBC, _tlv(_OCTET_STRING, iv))
    algorithm = _sequence(_PBES2, _sequence(derivation, cipher))
    return _pem(_sequence(algorithm, _tlv(_OCTET_STRING, _aes_cbc(key, iv, private_key_info))))


def _aes_cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    fill = _BLOCK - len(plain) % _BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tlv(tag: int, value: bytes) -> bytes:
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join(
        [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""]
    )
