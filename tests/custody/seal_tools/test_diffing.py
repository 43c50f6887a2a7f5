from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.seal.diffing import Counts, Kind, differences
from bezoar.custody.seal.manifest import Row
from bezoar.errors import InputError, VerificationError
from custody.seal_tools.support import Snapshot, changed, numbered, row, snapshot

Found = list[tuple[str, str]]
BothWays = Callable[[Iterable[Row], Iterable[Row]], Found]


def naive(before: Iterable[Row], after: Iterable[Row]) -> Found:
    """The same by two dicts."""
    old, new = ({each.key: each for each in rows} for rows in (before, after))
    kinds = {}
    for key in {*old, *new}:
        a, b = old.get(key), new.get(key)
        if a is None or b is None:
            kinds[key] = "removed" if a else "added"
            continue
        content, label, source = (
            (a.sha256, a.size) != (b.sha256, b.size),
            a.label != b.label,
            dict(a.source) != dict(b.source),
        )
        if content or label or source:
            kinds[key] = (
                "both"
                if content and label
                else "changed"
                if content
                else "relabelled"
                if label
                else "resourced"
            )
    return sorted(kinds.items())


def found(before: Snapshot, after: Snapshot) -> Found:
    return [(each.key, str(each.kind)) for each in differences(before, after)]


@pytest.fixture
def diff(tmp_path: Path) -> BothWays:
    """The differences of two lists of rows, compared with the naive way; and those of the way back."""
    number = itertools.count()

    def run(before: Iterable[Row], after: Iterable[Row]) -> Found:
        old, new = (snapshot(tmp_path / f"{next(number)}", rows) for rows in (before, after))
        there = found(old, new)
        assert there == naive(before, after)
        assert found(new, old) == naive(after, before)
        return there

    return run


def test_every_kind(diff: BothWays) -> None:
    old = [row(name, site="a") for name in "bcdefgh"]
    new = [
        row("a", site="a"),
        row("c", site="a"),
        changed(old[2], b"other"),
        replace(old[3], label="dog"),
        replace(old[4], source={"site": "b"}),
        replace(changed(old[5], b"else"), label=None, source={}),
        replace(old[6], label=None, source={"url": "u"}),
    ]
    assert diff(old, new) == [
        ("a", "added"),
        ("b", "removed"),
        ("d", "changed"),
        ("e", "relabelled"),
        ("f", "resourced"),
        ("g", "both"),
        ("h", "relabelled"),
    ]


def test_aspects_say_all_that_differs(tmp_path: Path) -> None:
    old = row("k", b"one", "cat", site="a")
    new = replace(changed(old, b"two"), label="dog", source={})
    (only,) = differences(snapshot(tmp_path / "a", [old]), snapshot(tmp_path / "b", [new]))
    assert only.aspects == ("content", "label", "source")
    assert (only.before, only.after) == (old, new)


def test_a_media_type_is_no_difference(diff: BothWays) -> None:
    """It is a guess from the name, and not in the leaf."""
    assert diff([row("k")], [replace(row("k"), media_type="text/plain")]) == []


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 511, 512, 1000])
def test_equal_snapshots(tmp_path: Path, count: int) -> None:
    rows = numbered(count)
    assert found(snapshot(tmp_path / "a", rows), snapshot(tmp_path / "b", rows)) == []


@pytest.mark.parametrize("count", [1, 255, 256, 257, 300, 512, 1025])
@pytest.mark.parametrize("extra", [1, 2, 255, 256, 257])
def test_records_before_between_and_after(diff: BothWays, count: int, extra: int) -> None:
    rows = numbered(count)
    middle = f"{count // 2:07d}.png"
    for prefix in ("!", middle, "z"):
        more = [row(f"{prefix}{n:04d}") for n in range(extra)]
        assert [kind for _, kind in diff(rows, [*rows, *more])] == ["added"] * extra


def test_from_and_to_nothing(diff: BothWays) -> None:
    assert diff([], []) == []
    assert len(diff(numbered(600), [])) == 600


def test_contents_shuffled_among_the_keys(diff: BothWays) -> None:
    rows = numbered(700)
    others = [rows[n] for n in np.random.default_rng(0).permutation(len(rows))]
    new = [
        replace(one, sha256=other.sha256, size=other.size) for one, other in zip(rows, others, strict=True)
    ]
    assert len(diff(rows, new)) > 650


def test_labels_renamed(diff: BothWays) -> None:
    rows = numbered(5000)
    new = [replace(each, label={"cat": "Katze", "dog": "dog"}[each.label or ""]) for each in rows]
    assert diff(rows, new) == [(each.key, "relabelled") for each in rows if each.label == "cat"]


def test_as_many_come_as_go_and_then_the_same_again(tmp_path: Path) -> None:
    """After the places agree again, equal subtrees are skipped: few tiles are read."""
    rows = numbered(70_000)
    new = [row("!first"), *rows[:10], *rows[11:]]
    old_side, new_side = snapshot(tmp_path / "a", rows), snapshot(tmp_path / "b", new)
    assert found(old_side, new_side) == [("!first", "added"), (rows[10].key, "removed")]
    assert old_side.storage.reads < 10


def test_reads_in_proportion_to_the_changes(tmp_path: Path) -> None:
    """The number of tiles read of 140,000 records does not depend on their number but on the changes."""
    rows = numbered(140_000)
    new = list(rows)
    for place in (0, 70_000, 100_001, 139_999):
        new[place] = replace(rows[place], label="bird")
    old_side, new_side = snapshot(tmp_path / "a", rows), snapshot(tmp_path / "b", new)
    assert len(found(old_side, new_side)) == 4
    assert old_side.storage.reads <= 4 * 3 + 3


def test_random_edits_of_many_records(diff: BothWays) -> None:
    for seed in range(6):
        source = np.random.default_rng(seed)
        rows = numbered(int(source.integers(1, 3000)))
        new = []
        for each in rows:
            what = source.random()
            if what < 0.01:
                continue
            if what < 0.02:
                new.append(row(each.key + "x"))
            new.append(changed(each, b"x") if what > 0.99 else each)
        diff(rows, new)


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
ROWS = st.dictionaries(
    KEYS,
    st.tuples(
        st.binary(max_size=1),
        st.sampled_from([None, "", "a", "b"]),
        st.sampled_from([{}, {"url": ""}, {"url": "u"}]),
    ),
    max_size=12,
).map(lambda rows: [row(key, content, label, **source) for key, (content, label, source) in rows.items()])


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_any_two_manifests(before: Sequence[Row], after: Sequence[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        old, new = snapshot(Path(folder, "a"), before), snapshot(Path(folder, "b"), after)
        assert found(old, new) == naive(before, after)


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(0, 1200), max_size=30),
    st.sets(st.integers(0, 1200), max_size=30),
    st.sets(st.integers(0, 1200), max_size=30),
)
def test_gaps_and_changes_across_tiles(lost: set[int], new: set[int], other: set[int]) -> None:
    rows = numbered(1201)
    before = [each for n, each in enumerate(rows) if n not in new]
    after = [
        replace(each, label="bird") if n in other else each for n, each in enumerate(rows) if n not in lost
    ]
    with tempfile.TemporaryDirectory() as folder:
        pair = snapshot(Path(folder, "a"), before), snapshot(Path(folder, "b"), after)
        assert found(*pair) == naive(before, after)


def test_counts_by_kind_and_label(tmp_path: Path) -> None:
    old = [row("a", label="x"), row("b", label="x"), row("c", label=None)]
    new = [row("b", label="y"), changed(old[2], b"!"), row("d", label="y")]
    counts = Counts()
    for each in differences(snapshot(tmp_path / "a", old), snapshot(tmp_path / "b", new)):
        counts.add(each)
    assert counts.kinds == {Kind.REMOVED: 1, Kind.RELABELLED: 1, Kind.CHANGED: 1, Kind.ADDED: 1}
    assert counts.labels == {
        ("x", "x"): {Kind.REMOVED: 1},
        ("x", "y"): {Kind.RELABELLED: 1},
        (None, None): {Kind.CHANGED: 1},
        ("y", "y"): {Kind.ADDED: 1},
    }
    assert (counts.total, counts.further) == (4, 0)


def test_counts_of_endless_labels_stay_bounded(tmp_path: Path) -> None:
    rows = [row(f"{n:05d}", label=f"label {n}") for n in range(10_050)]
    counts = Counts()
    for each in differences(snapshot(tmp_path / "a", []), snapshot(tmp_path / "b", rows)):
        counts.add(each)
    assert (counts.total, len(counts.labels), counts.further) == (10_050, 10_000, 50)


def test_a_row_that_the_tree_does_not_have(tmp_path: Path) -> None:
    old = snapshot(tmp_path / "a", [row("a"), row("b")])
    snapshot(tmp_path / "other", [row("a"), row("b", label="dog")])
    new = snapshot(tmp_path / "b", [row("a"), row("b", label="bird")])
    (tmp_path / "other" / "manifest.parquet").rename(tmp_path / "b" / "manifest.parquet")
    with pytest.raises(VerificationError, match="row 1 is not the leaf"):
        found(old, new)


def test_damaged_trees(tmp_path: Path) -> None:
    rows = numbered(700)
    old = snapshot(tmp_path / "a", rows)
    new = snapshot(tmp_path / "b", [replace(each, label="bird") for each in rows])
    tile = next((tmp_path / "b" / "tile" / "0").glob("002.p/*"))
    tile.write_bytes(tile.read_bytes()[:-1])
    with pytest.raises(InputError, match="was cut"):
        found(old, new)
    tile.unlink()
    with pytest.raises(VerificationError, match="missing"):
        found(old, new)


def test_a_tree_of_another_size(tmp_path: Path) -> None:
    one, two = snapshot(tmp_path / "a", numbered(3)), snapshot(tmp_path / "b", numbered(4))
    mixed = Snapshot(tmp_path / "a")
    mixed.tree = two.tree
    with pytest.raises(InputError, match="the tree is of 4 leaves"):
        found(one, mixed)
