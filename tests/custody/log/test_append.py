from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.merkle import EMPTY_ROOT, MemoryTree, leaf_hash
from bezoar.errors import InputError, OutputError, UsageError, VerificationError

from .support import ORIGIN, bare, flip, item, items, make_log, problems, signer


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_log_is_empty_and_valid(tmp_path: Path) -> None:
    log = CustodyLog.init(tmp_path / "log", ORIGIN, signer())
    assert (log.size, log.checkpoint()[0].root) == (0, EMPTY_ROOT)
    assert files(tmp_path / "log") == {"log.json", "checkpoint"}
    assert json.loads((tmp_path / "log" / "log.json").read_text()) == {
        "key": signer().key.text,
        "origin": ORIGIN,
    }
    assert list(log.entries()) == []
    assert log.verify().valid


def test_init_never_overwrites(tmp_path: Path) -> None:
    make_log(tmp_path / "log")
    with pytest.raises(OutputError, match="exists already"):
        make_log(tmp_path / "log")


def test_a_key_signs_one_history(tmp_path: Path) -> None:
    make_log(tmp_path / "log", 3)
    with pytest.raises(UsageError, match=r"has signed a log of size 3 .* already; a new log needs a new key"):
        make_log(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_origin_is_the_name_of_the_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the origin"):
        CustodyLog.init(tmp_path / "log", "example.org/other", signer())


@pytest.mark.parametrize("steps", [[1] * 5, [255, 1, 1], [256, 1], [257], [3, 600, 2], [300, 212, 1]])
def test_the_tree_is_that_of_the_entries(tmp_path: Path, steps: list[int]) -> None:
    log, tree = CustodyLog.init(tmp_path / "log", ORIGIN, signer()), MemoryTree()
    for step in steps:
        more = bare(log.size, log.size + step)
        assert log.append(more, signer()) == list(range(tree.size, tree.size + step))
        for entry, _ in more:
            tree.append(leaf_hash(entry))
        assert (log.size, log.checkpoint()[0].root) == (tree.size, tree.root())
    again = CustodyLog.open(tmp_path / "log", signer().key)
    assert [entry.data for entry in again.entries()] == [entry for entry, _ in bare(0, sum(steps))]
    assert again.verify().problems == ()


def test_a_tree_of_three_levels(tmp_path: Path) -> None:
    log = CustodyLog.init(tmp_path / "log", ORIGIN, signer())
    log.append(bare(0, 65_530), signer())
    log.append(bare(65_530, 65_800), signer())
    assert (tmp_path / "log/tile/2/000.p/1").is_file()
    assert [entry.index for entry in log.entries(65_534, 65_538)] == [65_534, 65_535, 65_536, 65_537]
    assert log.verify().problems == ()


def test_an_empty_append_changes_nothing(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 2)
    before = (tmp_path / "log/checkpoint").read_bytes()
    assert log.append([], signer()) == []
    assert (tmp_path / "log/checkpoint").read_bytes() == before


def test_partial_tiles_go_once_the_tile_is_full(tmp_path: Path) -> None:
    log = CustodyLog.init(tmp_path / "log", ORIGIN, signer())
    for end in (3, 200, 258):
        log.append(bare(log.size, end), signer())
    assert files(tmp_path / "log") == {
        *("log.json", "checkpoint", ".lock"),
        *("tile/0/000", "tile/0/001.p/2", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/2"),
    }


def test_a_reader_of_the_old_checkpoint_reads_on(tmp_path: Path) -> None:
    writer = make_log(tmp_path / "log", 5)
    reader = CustodyLog.open(tmp_path / "log")
    writer.append(bare(5, 300), signer())
    assert [entry.data for entry in reader.entries()] == [entry for entry, _ in items(0, 5)]
    assert reader.prove(4).index == 4


def test_objects_lie_under_their_digest(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 1)
    ((digest, content),) = item(0)[1].items()
    assert (tmp_path / "log/objects/sha256" / digest[:2] / digest).read_bytes() == content
    assert log.object(digest) == content


def test_an_object_may_be_there_already(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 1)
    assert log.append([(item(0)[0], {})], signer()) == [1]
    assert log.verify().valid


def test_a_damaged_object_is_mended_by_appending_it_again(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 1)
    ((digest, _),) = item(0)[1].items()
    flip(tmp_path / "log/objects/sha256" / digest[:2] / digest)
    assert not log.verify().valid
    log.append([item(0)], signer())
    assert log.verify().valid


@pytest.mark.parametrize(
    ("entry", "objects", "message"),
    [
        (b'{"a": 1}', {}, "canonical"),
        (b"{}" + b" " * 65_534, {}, "65,536 bytes"),
        (item(0)[0], {}, "named by an entry but neither given nor in the log"),
        (item(0)[0], dict.fromkeys(item(0)[1], b"other bytes"), "have another SHA-256"),
        (b"{}", item(0)[1], "its entry does not name it"),
        (item(1)[0], {**item(0)[1], **item(1)[1]}, "its entry does not name it"),
    ],
)
def test_refused_entries_leave_the_log_alone(
    tmp_path: Path, entry: bytes, objects: dict[str, bytes], message: str
) -> None:
    log = make_log(tmp_path / "log")
    before = files(tmp_path / "log")
    with pytest.raises(InputError, match=message):
        log.append([(b'{"good":true}', {}), (entry, objects)], signer())
    assert files(tmp_path / "log") - {".lock"} == before - {".lock"}
    assert log.size == 0


def test_only_the_key_of_the_log_appends(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 1)
    with pytest.raises(UsageError, match="is not the key of this log"):
        log.append(items(1, 2), signer(seed=2))


@pytest.mark.parametrize("name", ["tile/0/000.p/3", "tile/entries/000.p/3"])
def test_nothing_is_built_upon_damage(tmp_path: Path, name: str) -> None:
    log = make_log(tmp_path / "log", 3)
    flip(tmp_path / "log" / name)
    with pytest.raises(VerificationError, match="nothing was appended"):
        log.append(items(3, 4), signer())
    assert log.size == 3


def test_nothing_is_appended_to_a_log_that_was_rolled_back(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 3)
    old = (tmp_path / "log/checkpoint").read_bytes()
    log.append(items(3, 5), signer())
    (tmp_path / "log/checkpoint").write_bytes(old)
    with pytest.raises(VerificationError, match=r"rolled back: it shows size 3 .* has seen size 5 "):
        log.append(items(3, 4, "another history"), signer())


def test_nothing_is_written_through_a_link_out_of_the_log(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "log/objects").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="leads out of the log"):
        log.append(items(0, 1), signer())
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("link", ["symlink", "hard link", "pipe"])
def test_nothing_is_written_through_what_lies_under_a_temporary_name(tmp_path: Path, link: str) -> None:
    log = make_log(tmp_path / "log", 1)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("checkpoint", "tile/0/000.p/2", "tile/entries/000.p/2"):
        place = tmp_path / "log" / name
        temporary = place.with_name(f".{place.name}.partial")
        if link == "symlink":
            temporary.symlink_to(precious)
        elif link == "hard link":
            temporary.hardlink_to(precious)
        else:
            os.mkfifo(temporary)
    assert log.append(items(1, 2), signer()) == [1]
    assert precious.read_text() == "precious"
    assert not (tmp_path / "log/checkpoint").is_symlink()
    assert problems(log) == []
