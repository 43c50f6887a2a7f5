"""Trees as tiles: paths, what is written for which size, resuming, reading, and what a damaged or missing tile does."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.tlog import tiles as tiles_module
from bezoar.custody.tlog.merkle import Frontier, node_hash, verify_consistency, verify_inclusion
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.tiles import (
    Tile,
    TileTree,
    TileWriter,
    leaf_hashes,
    parse_tile_path,
    read_tile,
    subtree_hash,
    tile_path,
)
from bezoar.errors import InputError, LimitError, OutputError, UsageError, VerificationError

from .support import VECTORS, hashes_of, memory_tree, write_tiles

PATHS = {
    "tile/0/000": (0, 0, 256),
    "tile/0/000.p/1": (0, 0, 1),
    "tile/0/999": (0, 999, 256),
    "tile/0/x001/000": (0, 1000, 256),
    "tile/0/x001/x234/067": (0, 1_234_067, 256),
    "tile/63/x001/x234/067.p/255": (63, 1_234_067, 255),
    "tile/2/x123/x456/789.p/8": (2, 123_456_789, 8),
    "tile/0/x009/x223/x372/x036/x854/x775/807": (0, 2**63 - 1, 256),
}
NOT_PATHS = (VECTORS / "not-tile-paths.txt").read_text("utf-8").split("\n")[:-1]


@pytest.mark.parametrize(("path", "tile"), PATHS.items())
def test_paths(path, tile):
    level, index, width = tile
    assert tile_path(level, index, width) == path
    assert parse_tile_path(path) == Tile(level, index, width, False)


def test_paths_of_entries():
    assert tile_path(0, 1_234_067, 3, entries=True) == "tile/entries/x001/x234/067.p/3"
    assert parse_tile_path("tile/entries/x001/x234/067.p/3") == Tile(0, 1_234_067, 3, True)
    assert parse_tile_path(tile_path(0, 0, entries=True)) == Tile(0, 0, 256, True)


@pytest.mark.parametrize(
    "path", [*NOT_PATHS, "", "tile/0/000\n", "tile/0/000 ", "\ntile/0/000", "tile/0/000\x00"]
)
def test_what_is_no_path_of_a_tile(path):
    with pytest.raises(InputError, match="path of a tile"):
        parse_tile_path(path)


@given(st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256), st.booleans())
def test_a_path_has_one_spelling(level, index, width, entries):
    level = 0 if entries else level
    assert parse_tile_path(tile_path(level, index, width, entries=entries)) == Tile(
        level, index, width, entries
    )


@pytest.mark.parametrize(
    "tile", [(-1, 0, 256), (64, 0, 256), (0, -1, 256), (0, 2**63, 256), (0, 0, 0), (0, 0, 257)]
)
def test_no_path_for_an_impossible_tile(tile):
    with pytest.raises(UsageError, match="no tile"):
        tile_path(*tile)
    with pytest.raises(UsageError, match="no tile"):
        tile_path(1, 0, entries=True)


HASHES = hashes_of(70_000)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    folder = tmp_path_factory.mktemp("big")
    write_tiles(folder, HASHES)
    return folder


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def test_a_tree_of_70000_has_the_files_that_the_standard_counts(big):
    levels = {0: set(), 1: set(), 2: set()}
    for path in files(big):
        tile = parse_tile_path(path)
        assert (big / path).stat().st_size == tile.width * 32
        levels[tile.level].add((tile.index, tile.width))
    assert levels[0] == {*((index, 256) for index in range(273)), (273, 112)}
    assert levels[1] == {(0, 256), (1, 17)}
    assert levels[2] == {(0, 1)}


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above(tmp_path):
    write_tiles(tmp_path, HASHES[:256])
    assert files(tmp_path) == {"tile/0/000", "tile/1/000.p/1"}


def test_an_empty_tree_has_no_tiles(tmp_path):
    write_tiles(tmp_path, [])
    assert files(tmp_path) == set()
    assert TileTree(Folder(tmp_path), 0).root() == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 70_000])
def test_large_trees(size, tmp_path):
    frontier = Frontier()
    for each in HASHES[:size]:
        frontier.append(each)
    write_tiles(tmp_path, HASHES[:size])
    tree = TileTree(Folder(tmp_path), size)
    root = tree.root()
    assert root == frontier.root() == subtree_of(HASHES[:size])
    for index in (0, 1, 255, 256, 32_767, 32_768, 65_279, 65_534, size - 1):
        assert tree.leaf(index) == HASHES[index]
        verify_inclusion(HASHES[index], index, size, tree.inclusion(index), root)
    for old in (1, 255, 256, 257, 40_000, 65_535, size):
        old_root = subtree_of(HASHES[:old])
        verify_consistency(old, size, old_root, root, tree.consistency(old))


def subtree_of(hashes):
    """MTH over leaf hashes, by halves."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(subtree_of(hashes[:k]), subtree_of(hashes[k:]))


@given(st.integers(1, 1500), st.integers(0, 1500))
@settings(deadline=None, max_examples=40)
def test_any_tree_read_from_tiles_is_the_tree_in_memory(tmp_path_factory, size, other):
    folder = tmp_path_factory.mktemp("tree")
    write_tiles(folder, HASHES[:size])
    tree, memory = TileTree(Folder(folder), size), memory_tree(HASHES[:size])
    assert tree.root() == memory.root()
    index = other % size
    verify_inclusion(HASHES[index], index, size, tree.inclusion(index), memory.root())
    verify_consistency(index + 1, size, memory.root(index + 1), memory.root(), tree.consistency(index + 1))
    for level in range(size.bit_length()):
        wanted = [(level, place) for place in range(size >> level)]
        assert tree.read(wanted) == memory.read(wanted)
    shutil.rmtree(folder)


@given(st.lists(st.integers(0, 300), max_size=8))
@settings(deadline=None, max_examples=30)
def test_a_tree_written_in_any_pieces_is_the_same(tmp_path_factory, pieces):
    folder = tmp_path_factory.mktemp("pieces")
    size = 0
    for piece in pieces:
        writer = TileWriter(folder, size)
        for each in HASHES[size : size + piece]:
            writer.append(each)
        writer.flush()
        size += piece
        assert writer.size == size
        assert TileTree(Folder(folder), size).root() == memory_tree(HASHES[:size]).root()
    shutil.rmtree(folder)


def test_flush_then_go_on(tmp_path):
    writer = TileWriter(tmp_path)
    for end in (1, 100, 256, 257, 600):
        writer.extend(HASHES[writer.size : end])
        writer.flush()
        writer.flush()
        assert TileTree(Folder(tmp_path), end).root() == memory_tree(HASHES[:end]).root()
    # every size that was flushed can still be read: what it needs is never removed
    assert TileTree(Folder(tmp_path), 100).root() == memory_tree(HASHES[:100]).root()


def test_a_tree_is_resumed_when_its_partial_tiles_are_gone(tmp_path):
    write_tiles(tmp_path, HASHES[:300])
    writer = TileWriter(tmp_path, 300)
    writer.extend(HASHES[300:600])
    writer.flush()
    shutil.rmtree(tmp_path / "tile/0/001.p")
    again = TileWriter(tmp_path, 300)
    again.extend(HASHES[300:310])
    again.flush()
    assert TileTree(Folder(tmp_path), 310).root() == memory_tree(HASHES[:310]).root()
    assert TileTree(Folder(tmp_path), 300).root() == memory_tree(HASHES[:300]).root()


def test_what_a_crash_left_beyond_the_size_is_written_anew(tmp_path):
    write_tiles(tmp_path, HASHES[:300])
    for path in ("tile/0/001", "tile/0/002.p/5", "tile/0/.001.partial", "tile/1/000.p/2"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"torn")
    writer = TileWriter(tmp_path, 300)
    writer.extend(HASHES[300:517])
    writer.flush()
    assert TileTree(Folder(tmp_path), 517).root() == memory_tree(HASHES[:517]).root()
    assert not [path for path in files(tmp_path) if "partial" in path]


class PowerCutError(Exception):
    """The machine stops here."""


@pytest.mark.parametrize("call", ["open", "replace", "fsync"])
def test_a_crash_at_any_point_leaves_the_old_tree_and_can_be_continued(tmp_path, monkeypatch, call):
    """The writer is stopped at its first, second, … call of the operating system, and once more while it resumes."""
    old, new = 250, 1040
    old_root, new_root = memory_tree(HASHES[:old]).root(), memory_tree(HASHES[:new]).root()
    real, calls_left = getattr(os, call), 0

    def stopping(*args, **options):
        nonlocal calls_left
        calls_left -= 1
        if calls_left < 0:
            raise PowerCutError
        return real(*args, **options)

    for stop in range(200):
        folder = tmp_path / f"stop{stop}"
        write_tiles(folder, HASHES[:old])
        finished = False
        for _ in range(2):
            calls_left = stop
            with monkeypatch.context() as patch:
                patch.setattr(os, call, stopping)
                try:
                    writer = TileWriter(folder, old)
                    writer.extend(HASHES[old:new])
                    writer.flush()
                    finished = True
                except PowerCutError:
                    pass
            assert TileTree(Folder(folder), old).root() == old_root
        writer = TileWriter(folder, old)
        writer.extend(HASHES[old:new])
        writer.flush()
        assert TileTree(Folder(folder), new).root() == new_root
        shutil.rmtree(folder)
        if finished:
            assert stop > 5
            return
    pytest.fail("the writer never came to an end")


def test_a_smaller_tree_is_read_from_the_tiles_of_a_larger_one(big):
    for size in (1, 255, 256, 512, 65_536, 69_888):
        # partial tiles of these sizes were never written: the full ones stand in
        assert TileTree(Folder(big), size).root() == subtree_of(HASHES[:size])


def test_leaf_hashes_are_streamed(big):
    storage = Folder(big)
    assert list(leaf_hashes(storage, 70_000)) == HASHES
    assert list(leaf_hashes(storage, 70_000, 69_990)) == HASHES[69_990:]
    assert list(leaf_hashes(storage, 600, 255)) == HASHES[255:600]
    assert list(leaf_hashes(storage, 600, 600)) == []
    with pytest.raises(UsageError, match="leaves from"):
        next(leaf_hashes(storage, 10, 11))
    with pytest.raises(UsageError, match="leaves from"):
        next(leaf_hashes(storage, 10, -1))


def test_the_cache_is_bounded_and_used(big, monkeypatch):
    reads = []

    class Counting(Folder):
        def read(self, path, limit):
            reads.append((path, limit))
            return super().read(path, limit)

    monkeypatch.setattr(tiles_module, "_CACHED", 3)
    tree = TileTree(Counting(big), 70_000)
    tree.inclusion(5)
    first = len(reads)
    tree.inclusion(5)
    assert len(reads) > first > 0  # four tiles are needed: three do not hold them
    assert tree._tile.cache_info().currsize == 3
    monkeypatch.undo()
    tree = TileTree(Counting(big), 70_000)
    tree.inclusion(5)
    reads.clear()
    tree.inclusion(6)
    assert reads == []


def test_never_more_than_a_tile_is_asked_for(big):
    limits = set()

    class Watching(Folder):
        def read(self, path, limit):
            limits.add(limit)
            return super().read(path, limit)

    tree = TileTree(Watching(big), 70_000)
    tree.inclusion(0)
    tree.consistency(1000)
    assert limits == {8192}


@pytest.mark.parametrize(
    ("change", "error"), [(-1, InputError), (-32, InputError), (1, InputError), (32, InputError)]
)
@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"])
def test_a_tile_of_another_length_is_refused(tmp_path, path, change, error):
    write_tiles(tmp_path, HASHES[:300])
    data = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(data[:change] if change < 0 else data + bytes(change))
    tree = TileTree(Folder(tmp_path), 300)
    with pytest.raises(error, match=r"tile/\d/00"):
        [tree.read([(0, 0)]), tree.read([(0, 299)]), tree.root()]


def test_a_tile_that_is_too_long_is_a_limit_error(tmp_path):
    write_tiles(tmp_path, HASHES[:256])
    (tmp_path / "tile/0/000").write_bytes(bytes(1 << 20))
    with pytest.raises(LimitError, match="8,192 bytes"):
        TileTree(Folder(tmp_path), 256).leaf(0)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"])
def test_a_missing_tile_is_said_to_be_missing(tmp_path, path):
    write_tiles(tmp_path, HASHES[:300])
    (tmp_path / path).unlink()
    tree = TileTree(Folder(tmp_path), 300)
    with pytest.raises(VerificationError, match=f"{path}: missing"):
        [tree.read([(0, 0)]), tree.read([(0, 299)]), tree.root()]


def test_a_flipped_bit_anywhere_breaks_the_root_or_the_proof(tmp_path):
    write_tiles(tmp_path, HASHES[:600])
    root = memory_tree(HASHES[:600]).root()
    for path in sorted(files(tmp_path)):
        place = tmp_path / path
        data = place.read_bytes()
        for offset in (0, len(data) // 2, len(data) - 1):
            place.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
            tree = TileTree(Folder(tmp_path), 600)
            index = parse_tile_path(path).index * 256 if path.startswith("tile/0") else 599
            leaf = index + offset // 32 if path.startswith("tile/0") else index
            with pytest.raises(VerificationError):
                verify_inclusion(tree.leaf(leaf), leaf, 600, tree.inclusion(leaf), root)
        place.write_bytes(data)


def test_impossible_trees_and_subtrees(big):
    with pytest.raises(UsageError, match="size"):
        TileTree(Folder(big), -1)
    with pytest.raises(UsageError, match="size"):
        TileTree(Folder(big), 2**63)
    tree = TileTree(Folder(big), 70_000)
    for level, index in ((0, 70_000), (17, 0), (-1, 0), (8, 273), (0, -1), (16, 1)):
        with pytest.raises(UsageError, match="no complete subtree"):
            tree.read([(level, index)])


@pytest.mark.parametrize("wrong", [b"", b"\0" * 31, b"\0" * 33])
def test_a_leaf_hash_of_another_length_is_refused(tmp_path, wrong):
    writer = TileWriter(tmp_path)
    with pytest.raises(UsageError, match="32"):
        writer.append(wrong)
    with pytest.raises(UsageError, match="32"):
        writer.extend([HASHES[0], wrong])
    assert writer.size == 0


def test_a_writer_does_not_follow_links_out_of_its_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "tile").symlink_to(outside)
    writer = TileWriter(folder)
    writer.append(HASHES[0])
    with pytest.raises(OutputError, match="leads out"):
        writer.flush()
    (folder / "tile").unlink()
    (folder / "tile/0/000.p").mkdir(parents=True)
    (outside / "victim").write_bytes(b"keep me")
    (folder / "tile/0/000.p/.1.partial").symlink_to(outside / "victim")
    TileWriterOf(folder).flush()
    assert (outside / "victim").read_bytes() == b"keep me"
    assert (folder / "tile/0/000.p/1").read_bytes() == HASHES[0]


def TileWriterOf(folder):  # noqa: N802 - reads like the class
    writer = TileWriter(folder)
    writer.append(HASHES[0])
    return writer


def test_a_writer_that_cannot_write_says_so(tmp_path):
    (tmp_path / "tile").write_bytes(b"a file")
    with pytest.raises(OutputError, match="cannot be written"):
        TileWriterOf(tmp_path).flush()


def test_a_failing_disk_is_noticed(tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    many, few = TileWriter(tmp_path / "many"), TileWriter(tmp_path / "few")
    many.extend(HASHES[: 256 * 40])
    few.append(HASHES[0])
    for function, writer in (("_sync_file_system", many), ("_sync_path", few)):
        with monkeypatch.context() as patch:
            patch.setattr(tiles_module, function, failing)
            with pytest.raises(OutputError, match="Input/output error"):
                writer.flush()


def test_a_full_disk_is_said_to_be_full(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = TileWriter(tmp_path)
    writer.append(HASHES[0])
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="disk is full"):
        writer.flush()


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("syncfs", [True, False])
def test_every_file_is_synced_before_flush_returns(tmp_path, monkeypatch, count, syncfs):
    synced, systems = set(), []
    monkeypatch.setattr(tiles_module, "_sync_path", synced.add)
    monkeypatch.setattr(tiles_module, "_sync_file_system", lambda folder: systems.append(folder) or syncfs)
    writer = TileWriter(tmp_path)
    writer.extend(HASHES[: 256 * count])
    writer.flush()
    if count == 40 and syncfs:
        assert len(systems) == 1
        assert not synced
    else:
        assert synced == {tmp_path, *(path for path in tmp_path.rglob("*"))}


def test_a_file_system_is_synced_by_the_call_of_linux(tmp_path):
    assert tiles_module._sync_file_system(tmp_path) is sys.platform.startswith("linux")
    with pytest.raises(OSError, match="No such file"):
        tiles_module._sync_file_system(tmp_path / "none")


def test_resuming_a_tree_that_is_not_there(tmp_path):
    with pytest.raises(VerificationError, match="missing"):
        TileWriter(tmp_path, 5)


def test_read_tile_prefers_the_partial_tile(tmp_path):
    write_tiles(tmp_path, HASHES[:5])
    (tmp_path / "tile/0/000").write_bytes(b"left by a crash")
    assert read_tile(Folder(tmp_path), 0, 0, 5) == b"".join(HASHES[:5])


def test_subtree_hash():
    for count in (1, 2, 4, 128, 256):
        assert subtree_hash(b"".join(HASHES[:count])) == subtree_of(HASHES[:count])
