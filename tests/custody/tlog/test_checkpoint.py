"""Checkpoints and cosignatures: bodies, who must have signed, what a cosigner signs, byte for byte."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.tlog.checkpoint import Checkpoint, cosignatures, open_checkpoint, sign_checkpoint
from bezoar.custody.tlog.cosignature import Cosignature, cosigned_message
from bezoar.custody.tlog.keys import cosigner, ed25519_signer
from bezoar.custody.tlog.merkle import EMPTY_ROOT
from bezoar.custody.tlog.note import Note, VerifierKey, sign_note, verify_note
from bezoar.errors import InputError, UsageError, VerificationError

from .support import NOW, ORIGIN, VECTORS, ed25519_key, log_signer, mldsa_key, witness

# The example of C2SP tlog-checkpoint and tlog-cosignature.
SPEC_ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
SPEC_BODY = f"example.com/behind-the-sofa\n20852163\n{SPEC_ROOT}\n"
SPEC_NOTE = f"""{SPEC_BODY}
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()
ROOT = bytes(range(32))
CHECKPOINT = Checkpoint(ORIGIN, 12, ROOT)


def test_the_example_of_the_standard():
    note = Note.parse(SPEC_NOTE)
    checkpoint = Checkpoint.parse_body(note.text)
    assert checkpoint == Checkpoint("example.com/behind-the-sofa", 20_852_163, base64.b64decode(SPEC_ROOT))
    assert checkpoint.body() == SPEC_BODY
    assert note.to_bytes() == SPEC_NOTE
    line = note.signatures[1]
    assert (line.name, line.key_id.hex()) == ("witness.example.com/w1", "8d66cf3f")
    assert Cosignature.parse(line.signature, 0x04).time == 1_679_315_147
    assert cosigned_message(0x04, line.name, 1_679_315_147, note.text) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_any_checkpoint_round_trips(origin, size, root):
    checkpoint = Checkpoint(origin, size, root)
    assert Checkpoint.parse_body(checkpoint.body()) == checkpoint


R = base64.b64encode(ROOT).decode()
MALFORMED = [
    "", "\n", "o", "o\n", "o\n1\n", f"o\n1\n{R}", f"o\n1\n{R}\n\n", f"\no\n1\n{R}\n", f"\n1\n{R}\n", f"o\n\n{R}\n", "o\n1\n\n",
    f"o\n1\n{R}\nextension\n", f"o\n1\n{R}\nTimestamp: 1\n", f"o\n01\n{R}\n", f"o\n-1\n{R}\n", f"o\n+1\n{R}\n", f"o\n 1\n{R}\n",
    f"o\n1 \n{R}\n", f"o\n1.0\n{R}\n", f"o\n1e3\n{R}\n", f"o\n0x1\n{R}\n", f"o\n1_0\n{R}\n", f"o\n٣\n{R}\n", f"o\n²\n{R}\n",
    f"o\n9223372036854775808\n{R}\n", f"o\n18446744073709551616\n{R}\n", f"o\n{'9' * 5000}\n{R}\n", f"o\n1\n{R[:-1]}\n",
    f"o\n1\n{R}=\n", f"o\n1\n {R}\n", f"o\n1\n{R} \n", f"o\n1\n{R.replace('+', '-').replace('/', '_')[:-4]}\n", "o\n1\n====\n",
    f"o\n1\n{base64.b64encode(ROOT[:31]).decode()}\n", f"o\n1\n{base64.b64encode(ROOT + b'x').decode()}\n",
    f"o\n1\n{ROOT.hex()}\n", f"o\n1\n{R[:-2]}9=\n", f"o\n1\né{R[1:]}\n", f"o\n{R}\n1\n", f"o\n1\n{R}\r\n", f"o\x00\n1\n{R}\n",
    f"o\r\n1\n{R}\n", f"o\t\n1\n{R}\n", f"\ud800\n1\n{R}\n", f"o\n1\n\ud800{R[1:]}\n",
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_bodies(text):
    with pytest.raises(InputError) as caught:
        Checkpoint.parse_body(text)
    assert type(caught.value) is InputError


@pytest.mark.parametrize(
    "values", [("", 1, ROOT), ("a\nb", 1, ROOT), ("o", -1, ROOT), ("o", 2**63, ROOT), ("o", 1, b"x" * 31)]
)
def test_impossible_checkpoints(values):
    with pytest.raises(InputError, match="checkpoint"):
        Checkpoint(*values)


def test_signing_and_opening():
    signer = log_signer()
    data = sign_checkpoint(CHECKPOINT, signer).to_bytes()
    checkpoint, note = open_checkpoint(data, signer.key)
    assert checkpoint == CHECKPOINT
    assert note == Note.parse(data)
    assert data.startswith(CHECKPOINT.body().encode() + "\n— example.com/log ".encode())


def test_a_log_may_sign_with_mldsa():
    signer = cosigner(mldsa_key(8), ORIGIN, lambda: NOW)
    data = sign_checkpoint(CHECKPOINT, signer).to_bytes()
    assert open_checkpoint(data, signer.key)[0] == CHECKPOINT


def test_only_the_log_itself_signs_its_checkpoints():
    with pytest.raises(UsageError, match="origin"):
        sign_checkpoint(CHECKPOINT, log_signer("example.com/other"))
    data = sign_checkpoint(CHECKPOINT, log_signer()).to_bytes()
    with pytest.raises(VerificationError, match="is that of"):
        open_checkpoint(data, log_signer("example.com/other").key)
    with pytest.raises(VerificationError, match="not signed by the key"):
        open_checkpoint(data, log_signer(ORIGIN, 2).key)
    forged = data.replace(b"\n12\n", b"\n13\n")
    with pytest.raises(VerificationError, match="is wrong"):
        open_checkpoint(forged, log_signer().key)
    # another log's key signs this log's checkpoint: its name is not the origin
    other = log_signer("example.com/other")
    stolen = sign_note(CHECKPOINT.body(), other).to_bytes()
    with pytest.raises(VerificationError, match="is that of"):
        open_checkpoint(stolen, other.key)


def test_a_note_that_is_no_checkpoint():
    signer = log_signer()
    with pytest.raises(InputError, match="three lines"):
        open_checkpoint(sign_note("text\n", signer).to_bytes(), signer.key)
    with pytest.raises(InputError, match="extension"):
        open_checkpoint(sign_note(CHECKPOINT.body() + "more\n", signer).to_bytes(), signer.key)
    with pytest.raises(InputError, match="signed note"):
        open_checkpoint(b"", signer.key)


def test_what_an_ed25519_cosigner_signs():
    signer = cosigner(ed25519_key(7), "w.example", lambda: 1_700_000_000.9)
    note = sign_note(CHECKPOINT.body(), signer)
    signature = note.signatures[0].signature
    assert signature[:8] == struct.pack(">Q", 1_700_000_000)
    message = f"cosignature/v1\ntime 1700000000\n{ORIGIN}\n12\n{R}\n".encode()
    ed25519_key(7).public_key().verify(signature[8:], message)
    assert len(signature) == 72


def test_what_an_mldsa_cosigner_signs():
    signer = cosigner(mldsa_key(7), "w.example", lambda: 1_700_000_000)
    signature = sign_note(CHECKPOINT.body(), signer).signatures[0].signature
    assert signature[:8] == struct.pack(">Q", 1_700_000_000)
    name, origin = b"w.example", ORIGIN.encode()
    message = struct.pack(
        f">12sB{len(name)}sQB{len(origin)}sQQ32s",
        b"subtree/v1\n\0",
        len(name),
        name,
        1_700_000_000,
        len(origin),
        origin,
        0,
        12,
        ROOT,
    )
    mldsa_key(7).public_key().verify(signature[8:], message)
    assert len(signature) == 8 + 2420


def test_an_mldsa_signature_of_another_implementation():
    """A signature over a subtree, made by filippo.io/torchwood; the message differs from a checkpoint's in `start` alone."""
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    note = Note.parse((VECTORS / "mldsa44-subtree.note").read_bytes())
    checkpoint, line = Checkpoint.parse_body(note.text), note.signatures[0]
    key = VerifierKey.parse((VECTORS / "mldsa44-subtree.vkey").read_text().strip())
    assert (line.name, line.key_id) == (key.name, key.key_id)
    cosignature = Cosignature.parse(line.signature, key.kind)
    message = cosigned_message(key.kind, key.name, cosignature.time, note.text)
    place = len(message) - 32 - 16
    assert message[place : place + 16] == struct.pack(">QQ", 0, checkpoint.size)
    subtree = message[:place] + struct.pack(">Q", 8) + message[place + 8 :]
    MLDSA44PublicKey.from_public_bytes(key.public).verify(cosignature.signature, subtree)
    with pytest.raises(VerificationError, match="is wrong"):  # as a checkpoint it is not signed
        verify_note(note, [key])


def test_cosignatures_and_their_times():
    first, second, later = witness(1), witness(2, NOW + 5), witness(1, NOW + 60)
    note = sign_note(CHECKPOINT.body(), log_signer(), first, second, later)
    assert cosignatures(note, [first.key, second.key, log_signer().key, witness(3).key]) == {
        first.key: NOW + 60,
        second.key: NOW + 5,
    }
    changed = Note(note.text.replace("\n12\n", "\n13\n"), note.signatures)
    with pytest.raises(VerificationError, match="is wrong"):
        cosignatures(changed, [first.key])


def test_cosigners_sign_checkpoints_only():
    for signer in (witness(1), witness(2)):
        with pytest.raises(InputError, match="checkpoint"):
            sign_note("text\n", signer)
        with pytest.raises(InputError, match="extension"):
            sign_note(CHECKPOINT.body() + "extension\n", signer)


def test_a_cosignature_is_not_a_signature_of_the_text():
    plain, cosigning = ed25519_signer(ed25519_key(7), "n"), cosigner(ed25519_key(7), "n", lambda: NOW)
    note = sign_note(CHECKPOINT.body(), cosigning)
    assert verify_note(note, [plain.key]) == []
    with pytest.raises(InputError, match="none of a key"):
        Cosignature.parse(sign_note(CHECKPOINT.body(), plain).signatures[0].signature, 0x04)


@pytest.mark.parametrize("kind", [0x01, 0x04, 0x06])
@pytest.mark.parametrize("data", [b"", bytes(7), bytes(8), bytes(71), bytes(73), bytes(2427), bytes(2429)])
def test_malformed_cosignatures(kind, data):
    with pytest.raises(InputError, match="cosignature"):
        Cosignature.parse(data, kind)


def test_times_end_before_2_to_the_63():
    assert Cosignature.parse(struct.pack(">Q64s", 2**63 - 1, b""), 0x04).time == 2**63 - 1
    with pytest.raises(InputError, match="time"):
        Cosignature.parse(struct.pack(">Q64s", 2**63, b""), 0x04)
    with pytest.raises(InputError, match="time"):
        sign_note(CHECKPOINT.body(), cosigner(ed25519_key(1), "n", lambda: -5.0))


def test_names_that_mldsa_signs_have_255_bytes_at_most():
    longest = "w" * 255
    signer = cosigner(mldsa_key(1), longest, lambda: NOW)
    assert verify_note(sign_note(CHECKPOINT.body(), signer), [signer.key]) == [signer.key]
    for name, origin in (("w" * 256, ORIGIN), ("w", "o" * 256), ("é" * 128, ORIGIN)):
        with pytest.raises(InputError, match="255"):
            sign_note(Checkpoint(origin, 0, EMPTY_ROOT).body(), cosigner(mldsa_key(1), name, lambda: NOW))
