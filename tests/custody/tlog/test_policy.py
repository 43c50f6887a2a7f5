"""C2SP tlog-policy: the grammar, strictly, and which cosignatures are enough."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.tlog.keys import cosigner, ed25519_signer
from bezoar.custody.tlog.note import Note
from bezoar.custody.tlog.policy import MAX_POLICY, Group, Log, TlogPolicy, Witness
from bezoar.errors import InputError, LimitError, VerificationError

from .support import (
    ORIGIN,
    checkpoint_of,
    ed25519_key,
    hashes_of,
    log_signer,
    memory_tree,
    mldsa_key,
    witness,
)

TREE = memory_tree(hashes_of(5))
LOG = log_signer().key.text
W = {number: witness(number).key.text for number in range(1, 7)}

# The structure of the standard's own example.
EXAMPLE = f"""log {LOG}

witness X1 {W[1]}
witness X2 {W[2]}
witness X3 {W[3]}
group X-witnesses 2 X1 X2 X3

witness Y1 {W[4]}
witness Y2 {W[5]}
witness Y3 {W[6]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_example_of_the_standard():
    policy = TlogPolicy.parse(EXAMPLE)
    assert policy.logs == (Log(log_signer().key, None),)
    assert [each.name for each in policy.witnesses] == ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
    assert policy.groups == (
        Group("X-witnesses", 2, ("X1", "X2", "X3")),
        Group("Y-witnesses", 1, ("Y1", "Y2", "Y3")),
        Group("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
    )
    assert policy.quorum == "X-and-Y"


def test_every_set_of_cosigners_of_the_example():
    policy = TlogPolicy.parse(EXAMPLE)
    for count in range(7):
        for numbers in itertools.combinations(range(1, 7), count):
            note = checkpoint_of(TREE, *(witness(number) for number in numbers))
            enough = sum(number <= 3 for number in numbers) >= 2 and any(number > 3 for number in numbers)
            if enough:
                assert policy.check(note).root == TREE.root()
            else:
                with pytest.raises(VerificationError, match="quorum 'X-and-Y' is not reached"):
                    policy.check(note)


@pytest.mark.parametrize(
    "text",
    [
        f"log {LOG}\nquorum none\n",
        f"quorum none\nlog {LOG}\n",
        f"log {LOG} https://log.example/\nquorum none\n",
        f"\t log \t {LOG}  \t \n\n   \n# a comment\n \t # another\n  quorum\tnone \n",
        f"log {LOG}\nwitness w {W[1]} https://w.example/\nquorum none\n",
        f"log {LOG}\nwitness all {W[1]}\nwitness any {W[2]}\ngroup group 2 all any\nquorum none\n",
        f"log {LOG}\nwitness é {W[1]}\nquorum none\n",
        f"log {LOG}\nwitness none. {W[1]}\nquorum none\n",
    ],
)
def test_policies_that_want_no_witness(text):
    policy = TlogPolicy.parse(text)
    assert policy == TlogPolicy.parse(text.encode())
    assert policy.check(checkpoint_of(TREE)).size == 5


def test_urls_are_kept():
    policy = TlogPolicy.parse(f"log {LOG} https://log/\nwitness w {W[1]} https://w/\nquorum w\n")
    assert policy.logs[0].url == "https://log/"
    assert policy.witnesses == (Witness("w", witness(1).key, "https://w/"),)


def test_names_are_octets():
    text = (
        f"log {LOG}\nwitness K {W[1]}\nwitness ".encode()
        + "\u212a".encode()
        + f" {W[2]}\nwitness w\udc80 {W[3]}\n".encode("utf-8", "surrogateescape")
    )
    policy = TlogPolicy.parse(text + "quorum w\udc80\n".encode("utf-8", "surrogateescape"))
    assert len({each.name for each in policy.witnesses}) == 3
    assert policy.check(checkpoint_of(TREE, witness(3))).size == 5
    with pytest.raises(VerificationError, match="quorum"):
        policy.check(checkpoint_of(TREE, witness(1), witness(2)))


def test_a_quorum_may_be_one_witness():
    policy = TlogPolicy.parse(f"log {LOG}\nwitness one {W[1]}\nwitness two {W[2]}\nquorum two\n")
    assert policy.check(checkpoint_of(TREE, witness(2))).size == 5
    with pytest.raises(VerificationError, match="cosigned by one"):
        policy.check(checkpoint_of(TREE, witness(1)))
    with pytest.raises(VerificationError, match="cosigned by no witness"):
        policy.check(checkpoint_of(TREE, witness(3)))


def test_only_the_logs_of_the_policy_are_accepted():
    two = log_signer("example.com/two", 2)
    policy = TlogPolicy.parse(f"log {LOG}\nlog {two.key.text}\nquorum none\n")
    assert policy.check(checkpoint_of(TREE)).origin == ORIGIN
    assert policy.check(checkpoint_of(TREE, signer=two)).origin == "example.com/two"
    with pytest.raises(VerificationError, match=r"three' is not one"):
        policy.check(checkpoint_of(TREE, signer=log_signer("example.com/three", 3)))
    with pytest.raises(VerificationError, match="not signed by a key"):
        policy.check(checkpoint_of(TREE, signer=log_signer(ORIGIN, 3)))
    # a log of the policy signs a checkpoint with another's origin
    body = Note.parse(checkpoint_of(TREE)).text
    from bezoar.custody.tlog.note import sign_note

    with pytest.raises(VerificationError, match="not signed by a key"):
        policy.check(sign_note(body, two).to_bytes())


def test_a_policy_without_logs_accepts_nothing():
    with pytest.raises(VerificationError, match="not one of the policy's 0"):
        TlogPolicy.parse("quorum none\n").check(checkpoint_of(TREE))


def test_an_old_and_a_new_key_of_one_log():
    old, new = log_signer(ORIGIN, 1), log_signer(ORIGIN, 2)
    policy = TlogPolicy.parse(f"log {old.key.text}\nlog {new.key.text}\nquorum none\n")
    for signer in (old, new):
        assert policy.check(checkpoint_of(TREE, signer=signer)).size == 5


def test_a_log_with_an_mldsa_key():
    signer = cosigner(mldsa_key(9), ORIGIN, lambda: 1)
    policy = TlogPolicy.parse(f"log {signer.key.text}\nquorum none\n")
    assert policy.check(checkpoint_of(TREE, signer=signer)).size == 5


def test_a_wrong_cosignature_is_refused_even_when_there_are_enough():
    policy = TlogPolicy.parse(
        f"log {LOG}\nwitness one {W[1]}\nwitness two {W[2]}\ngroup g any one two\nquorum g\n"
    )
    note = Note.parse(checkpoint_of(TREE, witness(1), witness(2)))
    other = Note.parse(checkpoint_of(memory_tree(hashes_of(6)), witness(2)))
    mixed = Note(note.text, (*note.signatures[:2], other.signatures[1]))
    with pytest.raises(VerificationError, match="is wrong"):
        policy.check(mixed.to_bytes())


def test_a_log_is_not_its_own_witness():
    # the log's key under a witness's name makes no cosignature, and its text signature is none
    policy = TlogPolicy.parse(f"log {LOG}\nwitness w {cosigner(ed25519_key(1), ORIGIN).key.text}\nquorum w\n")
    with pytest.raises(VerificationError, match="quorum"):
        policy.check(checkpoint_of(TREE))


RENAMED = cosigner(ed25519_key(101), "impostor.example").key.text
TWO = f"witness a {W[1]}\nwitness b {W[2]}\n"
MALFORMED = {
    "empty": "",
    "no quorum": f"log {LOG}\n",
    "two quorums": "quorum none\nquorum none\n",
    "quorum of nothing": "quorum\n",
    "quorum of two": TWO + "quorum a b\n",
    "quorum unknown": TWO + "quorum c\n",
    "quorum defined later": f"quorum a\n{TWO}",
    "quorum of other case": TWO + "quorum A\n",
    "quorum is a log": f"log {LOG}\nquorum {ORIGIN}\n",
    "unknown word": TWO + "quibble a\nquorum a\n",
    "word of other case": "Quorum none\n",
    "no newline at the end": "quorum none",
    "carriage return": "quorum none\r\n",
    "null": "quorum none\n\x00\n",
    "escape": "# \x1b[31m\nquorum none\n",
    "delete": "# \x7f\nquorum none\n",
    "vertical tab": "quorum\x0bnone\n",
    "no-break space": "quorum\u00a0none\n",
    "byte order mark": "\ufeffquorum none\n",
    "comment behind": f"log {LOG} https://x # comment\nquorum none\n",
    "comment behind quorum": "quorum none # comment\n",
    "log without key": "log\nquorum none\n",
    "log with garbage": "log garbage\nquorum none\n",
    "log with three words": f"log {LOG} url more\nquorum none\n",
    "log of another id": f"log {LOG.replace('+', '+0', 1)}\nquorum none\n",
    "log key of a witness": f"log {W[1]}\nquorum none\n",
    "log twice": f"log {LOG}\nlog {LOG}\nquorum none\n",
    "log key twice": f"log {LOG}\nlog {log_signer('example.com/two', 1).key.text}\nquorum none\n",
    "witness without key": "witness w\nquorum none\n",
    "witness without anything": "witness\nquorum none\n",
    "witness with garbage": "witness w garbage\nquorum none\n",
    "witness with four words": f"witness w {W[1]} url more\nquorum none\n",
    "witness key of a log": f"witness w {LOG}\nquorum none\n",
    "witness named none": f"witness none {W[1]}\nquorum none\n",
    "witness name twice": f"witness w {W[1]}\nwitness w {W[2]}\nquorum none\n",
    "witness twice": f"witness v {W[1]}\nwitness w {W[1]}\nquorum none\n",
    "witness key twice": f"witness v {W[1]}\nwitness w {RENAMED}\nquorum none\n",
    "group alone": "group\nquorum none\n",
    "group without members": TWO + "group g 1\nquorum a\n",
    "group without threshold": TWO + "group g a b\nquorum a\n",
    "group named none": TWO + "group none any a\nquorum none\n",
    "group named as a witness": TWO + "group a any b\nquorum none\n",
    "group name twice": TWO + "group g any a\ngroup g any b\nquorum none\n",
    "group of itself": TWO + "group g any g\nquorum none\n",
    "group of none": TWO + "group g any none a\nquorum none\n",
    "group of unknown": TWO + "group g any c\nquorum none\n",
    "group of later": f"group g any a\n{TWO}quorum none\n",
    "member twice": TWO + "group g any a a\nquorum none\n",
    "member of two groups": TWO + "group g any a\ngroup h any a b\nquorum none\n",
    "group in two groups": TWO + "group g any a\ngroup h any g\ngroup i any g\nquorum none\n",
    "threshold 0": TWO + "group g 0 a b\nquorum none\n",
    "threshold 00": TWO + "group g 00 a b\nquorum none\n",
    "threshold 01": TWO + "group g 01 a b\nquorum none\n",
    "threshold -1": TWO + "group g -1 a b\nquorum none\n",
    "threshold +1": TWO + "group g +1 a b\nquorum none\n",
    "threshold 3 of 2": TWO + "group g 3 a b\nquorum none\n",
    "threshold 1.0": TWO + "group g 1.0 a b\nquorum none\n",
    "threshold ١": TWO + "group g ١ a b\nquorum none\n",
    "threshold huge": TWO + f"group g {'9' * 5000} a b\nquorum none\n",
    "threshold ANY": TWO + "group g ANY a b\nquorum none\n",
    "too many groups": TWO
    + "".join(f"group g{n} any g{n - 1}\n" if n else "group g0 any a\n" for n in range(300))
    + "quorum a\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_policies(text):
    with pytest.raises(InputError) as caught:
        TlogPolicy.parse(text)
    assert type(caught.value) is InputError
    assert str(caught.value).startswith("tlog-policy: ")
    assert "\n" not in str(caught.value)


def test_an_error_names_the_line():
    with pytest.raises(InputError, match="line 3"):
        TlogPolicy.parse(TWO + "group g 3 a b\nquorum none\n")


def test_a_policy_has_a_size_limit():
    with pytest.raises(LimitError):
        TlogPolicy.parse("#" * MAX_POLICY + "\n")


def test_chains_of_groups_are_not_recursion():
    links = "".join(f"group g{n} any g{n - 1}\n" for n in range(1, 250))
    policy = TlogPolicy.parse(f"{TWO}group g0 all a b\n{links}quorum g249\n")
    assert policy.is_quorum(["a", "b"])
    assert not policy.is_quorum(["a"])


@given(st.data())
def test_more_cosigners_never_hurt(data):
    names = [f"w{number}" for number in range(1, 7)]
    free, groups, lines = list(names), 0, []
    while len(free) > 1 and groups < 4:
        members = data.draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        threshold = data.draw(st.integers(1, len(members)))
        lines.append(f"group g{groups} {threshold} {' '.join(members)}\n")
        free = [name for name in free if name not in members] + [f"g{groups}"]
        groups += 1
    keys = "".join(f"witness w{number} {key}\n" for number, key in W.items())
    policy = TlogPolicy.parse(f"{keys}{''.join(lines)}quorum {data.draw(st.sampled_from(free))}\n")
    few = set(data.draw(st.lists(st.sampled_from(names))))
    assert policy.is_quorum(names)
    assert not policy.is_quorum([])
    if policy.is_quorum(few):
        assert policy.is_quorum(few | {data.draw(st.sampled_from(names))})


def test_signers_of_another_kind_do_not_count():
    text_signer = ed25519_signer(ed25519_key(101), "w1.example")  # the key of witness 1, signing the text
    policy = TlogPolicy.parse(f"log {LOG}\nwitness one {W[1]}\nquorum one\n")
    with pytest.raises(VerificationError, match="quorum"):
        policy.check(checkpoint_of(TREE, text_signer))
