"""Signed notes and verifier keys: the Go package's documented example, strict parsing, who is believed."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.tlog.keys import cosigner, ed25519_signer
from bezoar.custody.tlog.note import (
    ED25519,
    MAX_NOTE,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    VerifierKey,
    sign_note,
    verify_note,
)
from bezoar.errors import InputError, LimitError, UsageError, VerificationError

from .support import ORIGIN, ed25519_key, log_signer, mldsa_key, witness

# The example of the documentation of golang.org/x/mod/sumdb/note.
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_OTHER_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_LINES = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n",
)
GO_NOTE = f"{GO_TEXT}\n{''.join(GO_LINES)}".encode()
LINE = GO_LINES[0].encode()


def test_the_documented_note_verifies_and_is_signed_the_same():
    keys = [VerifierKey.parse(GO_KEY), VerifierKey.parse(GO_OTHER_KEY)]
    note = Note.parse(GO_NOTE)
    assert note.text == GO_TEXT
    assert note.to_bytes() == GO_NOTE
    assert verify_note(note, keys) == keys
    assert verify_note(note, keys[1:]) == keys[1:]
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = ed25519_signer(Ed25519PrivateKey.from_private_bytes(GO_SEED), "PeterNeumann")
    assert signer.key.text == GO_KEY
    assert sign_note(GO_TEXT, signer).to_bytes() == f"{GO_TEXT}\n{GO_LINES[0]}".encode()


@pytest.mark.parametrize("signer", [log_signer("a/b"), witness(1), witness(2)], ids=["0x01", "0x04", "0x06"])
def test_verifier_keys(signer):
    key = signer.key
    raw = bytes([key.kind]) + key.public
    assert key.key_id == hashlib.sha256(key.name.encode() + b"\n" + raw).digest()[:4]
    assert key.text == f"{key.name}+{key.key_id.hex()}+{base64.b64encode(raw).decode()}"
    assert VerifierKey.parse(key.text) == key


def test_one_key_of_two_kinds_has_two_ids():
    plain, cosigning = ed25519_signer(ed25519_key(5), "w"), cosigner(ed25519_key(5), "w")
    assert plain.key.public == cosigning.key.public
    assert plain.key.key_id != cosigning.key.key_id


def vkey(name: str = "n", data: bytes = b"\x01" + bytes(32), key_id: str | None = None) -> str:
    actual = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4].hex()
    return f"{name}+{key_id or actual}+{base64.b64encode(data).decode()}"


def test_the_helper_makes_keys_that_are_accepted():
    assert VerifierKey.parse(vkey()).public == bytes(32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n",
        "n+",
        "n+c74f20a3",
        "n+c74f20a3+",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        f"{GO_KEY}\n",
        f" {GO_KEY}",
        f"{GO_KEY} ",
        GO_KEY.replace("+c7", "+C7"),
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("c74f20a3", "c74f20a"),
        GO_KEY.replace("c74f20a3", "0c74f20a3"),
        GO_KEY.replace("Peter", "Piter"),
        GO_KEY[:-1],
        GO_KEY[:-4],
        GO_KEY + "=",
        GO_KEY.replace("/LDE", "_LDE"),
        "x" * 5000,
        vkey(data=b"\x01" + bytes(31)),
        vkey(data=b"\x01" + bytes(33)),
        vkey(data=b"\x01"),
        vkey(data=b"\x00" + bytes(32)),
        vkey(data=b"\x02" + bytes(32)),
        vkey(data=b"\x03" + bytes(32)),
        vkey(data=b"\x05" + bytes(32)),
        vkey(data=b"\xff" + bytes(32)),
        vkey(data=b"\x06" + bytes(32)),
        vkey(data=b"\x06" + bytes(1311)),
        vkey(data=b"\x04" + bytes(1312)),
        vkey(data=bytes(33)),
        vkey("a b"),
        vkey("a\u00a0b"),
        vkey("a\u2003b"),
        vkey("a\u3000"),
        vkey("a\tb"),
        vkey("a\nb"),
        vkey("a\x01b"),
        vkey("a\x1fb"),
        vkey(key_id="00000000"),
        vkey(key_id="zzzzzzzz"),
        vkey().replace("+", "++", 1),
        vkey().replace("AQAA", "AQ=="),
    ],
)
def test_malformed_verifier_keys(text):
    with pytest.raises(InputError, match=r"key"):
        VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "a+b", "a b", "a\x00", "a\u2028", "\ud800"])
def test_names_that_no_key_may_have(name):
    with pytest.raises(InputError, match="name of a key"):
        VerifierKey(name, ED25519, bytes(32))
    with pytest.raises(InputError, match="name of a key"):
        NoteSignature(name, bytes(4), b"s")
    with pytest.raises(InputError, match="name of a key"):
        ed25519_signer(ed25519_key(1), name)


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


MALFORMED = [
    b"",
    b"\n",
    b"\n\n",
    b"text",
    b"text\n",
    b"text\n\n",
    b"text\n" + LINE,
    b"text" + LINE,
    LINE,
    b"\n" + LINE,
    b"text\n\n" + LINE[:-1],
    b"text\n\n" + LINE + b"\n",
    b"text\n\n\n" + LINE + b"\n\n",
    b"text\n\n " + LINE,
    b"text\r\n\r\n" + LINE,
    b"text\n\n" + LINE.replace(b"\n", b"\r\n"),
    b"te\x00xt\n\n" + LINE,
    b"te\txt\n\n" + LINE,
    b"te\x1fxt\n\n" + LINE,
    b"te\xffxt\n\n" + LINE,
    b"te\xc0\x80xt\n\n" + LINE,
    b"te\xed\xa0\x80xt\n\n" + LINE,
    b"text\n\n" + LINE.replace("—".encode(), b"-"),
    b"text\n\n" + LINE.replace("—".encode(), b"--"),
    b"text\n\n" + LINE.replace("—".encode(), "–".encode()),
    b"text\n\n" + LINE.replace("— ".encode(), "—".encode()),
    b"text\n\n" + LINE.replace("— ".encode(), "—  ".encode()),
    b"text\n\n" + LINE.replace(b"Neumann ", b"Neumann  "),
    b"text\n\n" + LINE.replace(b"PeterNeumann ", b""),
    b"text\n\n" + LINE.replace(b"PeterNeumann", b"Peter Neumann"),
    b"text\n\n" + LINE.replace(b"PeterNeumann", b"Peter+Neumann"),
    b"text\n\n" + LINE.replace(b"PeterNeumann", "Peter\u00a0N".encode()),
    b"text\n\n" + LINE.replace(b"PeterNeumann", "P\u2028N".encode()),
    b"text\n\n" + LINE.replace(b"PeterNeumann", b"P\x7f\x01"),
    b"text\n\n" + LINE.replace(b"nAM=", b"nAM"),
    b"text\n\n" + LINE.replace(b"nAM=", b"nAM=="),
    b"text\n\n" + LINE.replace(b"nAM=", b"nAN="),
    b"text\n\n" + LINE.replace(b"x08g", b"x0*g"),
    b"text\n\n" + LINE.replace(b"x08g", b"x08g "),
    b"text\n\n" + LINE.replace(b"\n", b" \n"),
    b"text\n\n" + LINE.replace(b"/ZJk", b"_ZJk"),
    "text\n\n— name \n".encode(),
    "text\n\n— name\n".encode(),
    "text\n\n— \n".encode(),
    "text\n\n—\n".encode(),
    "text\n\n— n ".encode() + b64(b"1234") + b"\n",
    "text\n\n— n ".encode() + b64(b"123") + b"\n",
    "text\n\n— n ====\n".encode(),
    b"text\n\n" + LINE + b"stray\n",
    b"text\n\nstray\n" + LINE,
    b"text\n\n" + LINE * (MAX_SIGNATURES + 1),
    b"\xef\xbb\xbf\n",
    b"text\n\n" + LINE[3:],
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_notes(data):
    with pytest.raises(InputError) as caught:
        Note.parse(data)
    assert type(caught.value) is InputError


def test_a_note_has_a_size_limit():
    with pytest.raises(LimitError, match="at most"):
        Note.parse(b"x" * MAX_NOTE + b"\n\n" + LINE)
    assert len(Note.parse(b"text\n\n" + LINE * MAX_SIGNATURES).signatures) == MAX_SIGNATURES


def test_the_text_ends_at_the_last_empty_line():
    note = Note.parse("first\n\nsecond\n\n— n AAAAAAA=\n\nthird\n\n".encode() + LINE)
    assert note.text == "first\n\nsecond\n\n— n AAAAAAA=\n\nthird\n"
    assert Note.parse(b"\n\n" + LINE).text == "\n"
    assert Note.parse(b"text\n\n\n" + LINE).text == "text\n\n"


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "\x00\n", "cr\r\n", "\ud800\n"])
def test_texts_that_cannot_be_signed(text):
    with pytest.raises(InputError, match="text must end"):
        sign_note(text, log_signer())


def test_a_note_needs_a_signature():
    with pytest.raises(UsageError, match="at least one"):
        sign_note("text\n")
    with pytest.raises(InputError, match="0 signatures"):
        Note("text\n", ())
    with pytest.raises(InputError, match="too short"):
        NoteSignature("n", b"123", b"s")
    with pytest.raises(InputError, match="too short"):
        NoteSignature("n", b"1234", b"")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200), st.integers(1, 4))
def test_any_text_round_trips(text, count):
    signers = [log_signer(f"log{number}", number) for number in range(1, count + 1)]
    note = sign_note(f"{text}\n", *signers)
    again = Note.parse(note.to_bytes())
    assert again == note
    assert verify_note(again, [each.key for each in signers]) == [each.key for each in signers]


def test_signatures_by_unknown_keys_are_ignored():
    known, stranger = log_signer("known", 1), log_signer("stranger", 2)
    note = sign_note("text\n", stranger, known)
    assert verify_note(note, [known.key]) == [known.key]
    assert verify_note(note, [log_signer("third", 3).key]) == []
    assert verify_note(note, []) == []
    # the same name with another key, the same key with another name: unknown
    assert verify_note(note, [log_signer("known", 9).key, log_signer("renamed", 1).key]) == []


@pytest.mark.parametrize("number", [0, 1, 2], ids=["0x01", "0x04", "0x06"])
def test_a_wrong_signature_of_a_known_key_is_refused(number):
    body = f"{ORIGIN}\n3\n{base64.b64encode(bytes(32)).decode()}\n"
    signer = log_signer() if number == 0 else witness(number)
    note = sign_note(body, signer)
    assert verify_note(note, [signer.key]) == [signer.key]
    right = note.signatures[0]
    for place in (0, 7, 8, len(right.signature) // 2, len(right.signature) - 1):
        changed = bytearray(right.signature)
        changed[place] ^= 1
        refuse(Note(body, (NoteSignature(right.name, right.key_id, bytes(changed)),)), signer.key)
    for length in (1, 8, 63, 64, 65, 72, 2419, 2420, 2427, 2429):
        if length != len(right.signature):
            refuse(Note(body, (NoteSignature(right.name, right.key_id, bytes(length)),)), signer.key)
    refuse(Note(body.replace("\n3\n", "\n4\n"), note.signatures), signer.key)
    # a right one beside a wrong one does not help, in either order
    wrong = NoteSignature(right.name, right.key_id, bytes(len(right.signature)))
    refuse(Note(body, (right, wrong)), signer.key)
    refuse(Note(body, (wrong, right)), signer.key)


def refuse(note: Note, key: VerifierKey) -> None:
    with pytest.raises(VerificationError, match="is wrong"):
        verify_note(note, [key])


def test_a_key_that_signed_twice_counts_once():
    signer = log_signer()
    note = sign_note("text\n", signer, signer)
    assert len(note.signatures) == 2
    assert verify_note(note, [signer.key, signer.key]) == [signer.key]


def test_keys_that_cannot_be_told_apart_are_refused(monkeypatch):
    # two keys with one name and one 32-bit id take some 2^32 tries to find: play that somebody did
    monkeypatch.setattr(VerifierKey, "key_id", property(lambda self: b"same"))
    one, other = log_signer("n", 1).key, log_signer("n", 2).key
    with pytest.raises(InputError, match="share their name"):
        verify_note(sign_note("text\n", log_signer("n", 1)), [one, other])


def test_signers_want_the_right_keys():
    with pytest.raises(UsageError, match="Ed25519"):
        ed25519_signer(mldsa_key(1), "n")
    with pytest.raises(UsageError, match="ML-DSA-44"):
        cosigner("no key", "n")
