"""Trees, roots and proofs of RFC 6962 and RFC 9162, against known answers and against the naive algorithms of the RFC."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    MemoryTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from bezoar.errors import UsageError, VerificationError

from .support import hashes_of, leaf_data, memory_tree, mth, path, subproof

# The inputs and answers that Certificate Transparency's implementations have shared since 2012 (RFC 6962's reference tree).
CT_LEAVES = [
    bytes.fromhex(each)
    for each in [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CT_CONSISTENCY = {
    (1, 8): CT_INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CT_TREE = memory_tree([leaf_hash(data) for data in CT_LEAVES])

TREE = memory_tree(hashes_of(1100))
HASHES = hashes_of(1100)


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size):
    known = bytes.fromhex(CT_ROOTS[size])
    frontier = Frontier()
    for data in CT_LEAVES[:size]:
        frontier.append(leaf_hash(data))
    assert CT_TREE.root(size) == frontier.root() == mth(CT_LEAVES[:size]) == known


def test_known_inclusion_proofs():
    for (index, size), proof in CT_INCLUSION.items():
        known = [bytes.fromhex(each) for each in proof]
        assert inclusion_proof(index, size, CT_TREE.read) == known
        verify_inclusion(leaf_hash(CT_LEAVES[index]), index, size, known, bytes.fromhex(CT_ROOTS[size]))


def test_known_consistency_proofs():
    for (old, new), proof in CT_CONSISTENCY.items():
        known = [bytes.fromhex(each) for each in proof]
        assert consistency_proof(old, new, CT_TREE.read) == known
        verify_consistency(old, new, bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[new]), known)


def test_hashes_of_leaves_and_nodes_differ():
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert node_hash(b"", b"") != leaf_hash(b"")
    assert bytes.fromhex(CT_ROOTS[0]) == EMPTY_ROOT


def test_roots_of_sizes_0_to_300_are_those_of_the_naive_algorithm():
    leaves, frontier = leaf_data(300), Frontier()
    for size in range(301):
        expected = mth(leaves[:size])
        assert tree_root(size, TREE.read) == expected
        assert frontier.root() == expected
        assert frontier.size == size
        if size < 300:
            frontier.append(HASHES[size])


def test_every_inclusion_proof_of_small_trees():
    leaves = leaf_data(40)
    for size in range(1, 41):
        root = mth(leaves[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, TREE.read)
            assert proof == path(index, leaves[:size])
            verify_inclusion(HASHES[index], index, size, proof, root)


def test_every_consistency_proof_of_small_trees():
    leaves = leaf_data(40)
    for new in range(1, 41):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, TREE.read)
            assert proof == subproof(old, leaves[:new], True)
            verify_consistency(old, new, mth(leaves[:old]), mth(leaves[:new]), proof)


def test_a_proof_fits_no_other_leaf_size_or_root_of_small_trees():
    for size in range(1, 18):
        for index in range(size):
            proof, root = inclusion_proof(index, size, TREE.read), TREE.root(size)
            for other in range(18):
                if other != index:
                    refuse_inclusion(HASHES[index], other, size, proof, root)
                    refuse_inclusion(HASHES[other], index, size, proof, root)
                if other != size:
                    refuse_inclusion(HASHES[index], index, size, proof, TREE.root(other))


@given(st.integers(1, 1100), st.data())
@settings(deadline=None)
def test_inclusion_of_any_leaf_in_any_tree(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, TREE.read)
    assert len(proof) <= (size - 1).bit_length()
    verify_inclusion(HASHES[index], index, size, proof, TREE.root(size))


@given(st.integers(1, 1100), st.data())
@settings(deadline=None)
def test_consistency_between_any_two_trees(new, data):
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, new, TREE.read)
    verify_consistency(old, new, TREE.root(old), TREE.root(new), proof)
    if old < new:
        refuse_consistency(old, new, TREE.root(new), TREE.root(old), proof)
        refuse_consistency(old, new, TREE.root(old - 1), TREE.root(new), proof)


@given(st.integers(2, 1100), st.data())
@settings(deadline=None)
def test_a_changed_inclusion_proof_is_refused(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(index, size, TREE.read), TREE.root(size)
    for changed in mutations(proof, data):
        refuse_inclusion(HASHES[index], index, size, changed, root)
    refuse_inclusion(flipped(HASHES[index], data), index, size, proof, root)
    refuse_inclusion(HASHES[index], index, size, proof, flipped(root, data))
    refuse_inclusion(HASHES[index], index + size, size, proof, root)
    refuse_inclusion(HASHES[index], index, index, proof, root)


@given(st.integers(2, 1100), st.data())
@settings(deadline=None)
def test_a_changed_consistency_proof_is_refused(new, data):
    old = data.draw(st.integers(1, new - 1))
    proof, old_root, new_root = consistency_proof(old, new, TREE.read), TREE.root(old), TREE.root(new)
    for changed in mutations(proof, data):
        refuse_consistency(old, new, old_root, new_root, changed)
    refuse_consistency(old, new, flipped(old_root, data), new_root, proof)
    refuse_consistency(old, new, old_root, flipped(new_root, data), proof)
    refuse_consistency(new, old, new_root, old_root, proof)


def mutations(proof, data):
    """Proofs that differ from `proof` in one hash: flipped, left out, added, cut, or two of them swapped."""
    place = data.draw(st.integers(0, len(proof) - 1))
    yield [*proof[:place], flipped(proof[place], data), *proof[place + 1 :]]
    yield [*proof[:place], *proof[place + 1 :]]
    yield [*proof[: place + 1], *proof[place:]]
    yield [*proof, proof[-1]]
    yield [*proof[:place], proof[place][:31], *proof[place + 1 :]]
    yield [*proof[:place], b"", *proof[place:]]
    if len(proof) > 1:
        yield [*proof[1:], proof[0]]


def flipped(value, data):
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refuse_inclusion(leaf, index, size, proof, root):
    with pytest.raises(VerificationError, match="proof"):
        verify_inclusion(leaf, index, size, proof, root)


def refuse_consistency(old, new, old_root, new_root, proof):
    with pytest.raises(VerificationError, match="proof"):
        verify_consistency(old, new, old_root, new_root, proof)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4), (0, -1)])
def test_a_leaf_that_is_not_there_has_no_proof(index, size):
    with pytest.raises(UsageError, match="no leaf"):
        inclusion_proof(index, size, TREE.read)
    refuse_inclusion(HASHES[0], index, size, [], HASHES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (-1, 5), (6, 5)])
def test_nothing_is_proved_from_the_empty_tree_nor_backwards(old, new):
    with pytest.raises(UsageError, match="no consistency proof"):
        consistency_proof(old, new, TREE.read)
    refuse_consistency(old, new, EMPTY_ROOT, TREE.root(5), [])


def test_the_same_tree_twice_needs_no_proof():
    assert consistency_proof(7, 7, TREE.read) == []
    verify_consistency(7, 7, TREE.root(7), TREE.root(7), [])
    refuse_consistency(7, 7, TREE.root(7), TREE.root(8), [])
    refuse_consistency(7, 7, TREE.root(7), TREE.root(7), [HASHES[0]])


def test_two_histories_are_not_consistent():
    other = memory_tree([*HASHES[:5], leaf_hash(b"another"), *HASHES[6:9]])
    for old in range(1, 9):
        proof = consistency_proof(old, 9, other.read)
        if old <= 5:
            verify_consistency(old, 9, TREE.root(old), other.root(), proof)
        else:
            refuse_consistency(old, 9, TREE.root(old), other.root(), proof)


def test_a_proof_is_read_in_one_go():
    calls = []

    def read(wanted):
        calls.append(len(wanted))
        return TREE.read(wanted)

    inclusion_proof(500, 1001, read)
    consistency_proof(500, 1001, read)
    tree_root(1001, read)
    assert len(calls) == 3


def test_impossible_calls():
    with pytest.raises(UsageError, match="leaf hash"):
        Frontier().append(b"short")
    with pytest.raises(UsageError, match="leaf hash"):
        MemoryTree().append(b"")
    with pytest.raises(UsageError, match="size"):
        tree_root(-1, TREE.read)
    for level, index in ((0, 1100), (11, 0), (-1, 0), (0, -1), (3, 137)):
        with pytest.raises(UsageError, match="no complete subtree"):
            TREE.read([(level, index)])
