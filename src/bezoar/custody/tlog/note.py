"""Signed notes (C2SP signed-note): a text, an empty line, and a line for each signature, `— <name> base64(key id, signature)`.

Kinds of keys: 0x01 Ed25519 over the text, 0x04 and 0x06 cosignatures of checkpoints (see `bezoar.custody.tlog.cosignature`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bezoar.custody.tlog.cosignature import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    Cosignature,
    cosigned_message,
)
from bezoar.custody.tlog.strict import decode, unbase64
from bezoar.errors import InputError, UsageError, VerificationError

ED25519 = 0x01
MAX_NOTE = 1 << 20
MAX_SIGNATURES = 100
_PUBLIC_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, MLDSA44_COSIGNATURE: 1312}
_MAX_KEY_TEXT = 4096
_KEY_TEXT = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_LINE = re.compile(r"— ([^ ]+) ([A-Za-z0-9+/=]+)")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")  # and what has no UTF-8


@dataclass(frozen=True)
class VerifierKey:
    """Who may sign a note: a `name`, the `kind` of key, and its raw public bytes. InputError for impossible values."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.kind not in _PUBLIC_BYTES:
            raise InputError(
                f"verifier key {self.name}: kind 0x{self.kind:02x} is not known; known: 0x01, 0x04, 0x06"
            )
        if len(self.public) != _PUBLIC_BYTES[self.kind]:
            raise InputError(
                f"verifier key {self.name}: {len(self.public)} bytes; kind 0x{self.kind:02x} has {_PUBLIC_BYTES[self.kind]}"
            )

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256 over name, newline, kind and public key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """`name+hex(key id)+base64(kind, public key)`."""
        return (
            f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes((self.kind,)) + self.public).decode()}"
        )

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key that `text` describes; InputError when it is malformed, of an unknown kind, or its key id is another key's."""
        match = _KEY_TEXT.fullmatch(text) if len(text) <= _MAX_KEY_TEXT else None
        if match is None:
            raise InputError(  # what it says instead is not repeated: it may be a private key
                "not a verifier key; expected name+hex key id+base64, as `bezoar keygen --note-name` prints it"
            )
        data = unbase64(match[3], "verifier key")
        key = cls(match[1], data[0], data[1:])
        if key.key_id.hex() != match[2]:
            raise InputError(
                f"verifier key {key.name}: its key id is {key.key_id.hex()}, not {match[2]}; copy all of it"
            )
        return key


class NoteSigner(Protocol):
    """What signs notes: `bezoar.custody.tlog.keys` makes them of private keys."""

    @property
    def name(self) -> str:
        """The name of its key."""
        ...

    @property
    def key(self) -> VerifierKey:
        """The key that verifies its signatures."""
        ...

    def sign(self, text: bytes) -> bytes:
        """The signature over a note's text, without the key id."""
        ...


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: the signer's `name`, the 4 bytes of its key id, the signature. InputError for impossible values."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key_id) != 4 or not self.signature:
            raise InputError(f"signed note: the signature of {self.name} is too short")


@dataclass(frozen=True)
class Note:
    """A text, which ends with a newline, and the signatures on it, verified or not. InputError for what is no note."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith("\n") or _CONTROL.search(self.text):
            raise InputError(
                "signed note: the text must end with a newline and hold no other control characters"
            )
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise InputError(
                f"signed note: {len(self.signatures)} signatures; a note has 1 to {MAX_SIGNATURES}"
            )

    def to_bytes(self) -> bytes:
        """The note as it is stored."""
        lines = (
            f"— {each.name} {base64.b64encode(each.key_id + each.signature).decode()}\n"
            for each in self.signatures
        )
        return f"{self.text}\n{''.join(lines)}".encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note in `data`; InputError when it is malformed, LimitError beyond 1 MiB. Verifies no signature."""
        content = decode(data, "signed note", MAX_NOTE)
        head, separator, lines = content.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise InputError("signed note: expected a text, an empty line and lines with signatures")
        if lines.count("\n") > MAX_SIGNATURES:
            raise InputError(
                f"signed note: {lines.count(chr(10)):,} signatures; at most {MAX_SIGNATURES} are read"
            )
        return cls(f"{head}\n", tuple(_signature(line) for line in lines[:-1].split("\n")))


def sign_note(text: str, *signers: NoteSigner) -> Note:
    """`text` signed by each of `signers`; InputError when it cannot be a note's text."""
    if not signers:
        raise UsageError("a note is signed by at least one key")
    data = text.encode("utf-8", "surrogatepass")  # a lone surrogate is refused below
    return Note(text, tuple(NoteSignature(each.name, each.key.key_id, each.sign(data)) for each in signers))


def verify_note(note: Note, keys: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Those of `keys` that have signed `note`; signatures by other keys are ignored.

    VerificationError when a signature that claims to be by one of `keys` is not; InputError when two different keys have one
    name and key id, or a cosignature is on a text that is no checkpoint.
    """
    known = {(key.name, key.key_id): key for key in keys}
    if len(known) != len(set(keys)):
        raise InputError("two of the keys share their name and their key id; use only one of them")
    signed = set()
    for each in note.signatures:
        key = known.get((each.name, each.key_id))
        if key is not None:
            _verify(key, note.text, each.signature)
            signed.add(key)
    return [key for key in known.values() if key in signed]


def _verify(key: VerifierKey, text: str, signature: bytes) -> None:
    """VerificationError unless `signature` is that of `key` over `text`."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    wrong = f"signed note: the signature of {key.name} (key {key.key_id.hex()}) is wrong"
    message = text.encode()
    if key.kind != ED25519:
        try:
            cosignature = Cosignature.parse(signature, key.kind)
        except InputError as error:
            raise VerificationError(wrong) from error
        message, signature = (
            cosigned_message(key.kind, key.name, cosignature.time, text),
            cosignature.signature,
        )
    try:
        if key.kind == MLDSA44_COSIGNATURE:
            MLDSA44PublicKey.from_public_bytes(key.public).verify(signature, message)
        else:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except UnsupportedAlgorithm as error:
        raise InputError(
            "the installed OpenSSL knows no ML-DSA-44; update the package cryptography"
        ) from error
    except (InvalidSignature, ValueError) as error:
        raise VerificationError(wrong) from error


def _signature(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise InputError(f"signed note: {line[:60]!r} is no signature line, `— <name> <base64>`")
    data = unbase64(match[2], "signed note: signature")
    return NoteSignature(match[1], data[:4], data[4:])


def _check_name(name: str) -> None:
    """InputError when `name` cannot be a key's: it is empty, or has a space, a plus or a control character."""
    if not name or "+" in name or any(character.isspace() for character in name) or _CONTROL.search(name):
        raise InputError(
            f"{name[:80]!r} is no name of a key: it must not be empty nor hold spaces, '+' or control characters"
        )
