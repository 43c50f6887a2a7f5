"""Encrypted PKCS#8 (RFC 5958) under a password: PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC (RFC 8018).

The library's own encryption fixes 2,048 rounds of PBKDF2, which a stolen file does not survive for long; OWASP asks for
600,000. Any PKCS#8 reader (OpenSSL, `cryptography`) opens the result. Of reading only this is done here: to refuse a file that
asks for so many rounds, or so much memory, that opening it would not end.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterator

from bezoar.errors import InputError

ROUNDS = 600_000

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d02090500")  # with its NULL parameters
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_SEQUENCE, _INTEGER, _OCTET_STRING = 0x30, 0x02, 0x04
_BLOCK = 16
_MOST_ROUNDS = 10_000_000  # of PBKDF2: seconds
_MOST_SCRYPT = 1 << 21  # N * r * p, of which N * r takes 128 bytes each: 256 MiB
_BEGIN, _END = b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"-----END ENCRYPTED PRIVATE KEY-----"


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
    return b"\n".join([_BEGIN, *lines, _END, b""])


def unwrap(pem: bytes) -> bytes:
    """The DER of the first encrypted private key in `pem`; ValueError when it is malformed.

    InputError when opening it would take longer than a key may: the numbers in it are whoever's who wrote the file.
    """
    text = pem.partition(_BEGIN)[2].partition(_END)
    if not text[1]:
        raise ValueError("no whole encrypted private key")
    der = base64.b64decode(b"".join(text[0].split()), validate=True)
    algorithm = _first(_first(der))
    numbers = list(_integers(algorithm))
    if _SCRYPT in algorithm:
        cost = math.prod(numbers[:3])
        if cost > _MOST_SCRYPT:
            raise InputError(
                f"asks for scrypt of cost {cost:,} (N * r * p); at most {_MOST_SCRYPT:,} is done"
            )
    elif max(numbers, default=0) > _MOST_ROUNDS:
        raise InputError(
            f"asks for {max(numbers):,} rounds of key derivation; at most {_MOST_ROUNDS:,} are done"
        )
    return der


def _first(der: bytes) -> bytes:
    """The content of the first value in `der`."""
    for _, content in _values(der):
        return content
    raise ValueError("a part of the key is empty")


def _integers(der: bytes, depth: int = 8) -> Iterator[int]:
    """All integers in `der`, in the order of the bytes; ValueError when it is nested deeper than a key ever is."""
    if depth == 0:
        raise ValueError("nested too deeply")
    for tag, content in _values(der):
        if tag == _INTEGER:
            yield int.from_bytes(content, "big")
        elif tag == _SEQUENCE:
            yield from _integers(content, depth - 1)


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of the values in `der`, one behind the other; ValueError where one is cut short."""
    place = 0
    while place < len(der):
        head = der[place : place + 2]
        place += 2
        n = head[1] & 0x7F if len(head) == 2 and head[1] & 0x80 else 0
        size = int.from_bytes(der[place : place + n], "big") if n else head[-1]
        place += n
        if len(head) < 2 or n > 4 or place + size > len(der):
            raise ValueError("a value of the key is cut short")
        yield head[0], der[place : place + size]
        place += size
