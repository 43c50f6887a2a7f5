"""Each way of changing a log, and the words in which it is reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.entries import pack, unpack
from bezoar.custody.tlog.log import CustodyLog
from bezoar.errors import BezoarError, InputError, VerificationError

from .support import bare, flip, item, items, make_log, problems, signer


@pytest.fixture
def small(tmp_path: Path) -> CustodyLog:
    """Five entries: one partial tile."""
    return make_log(tmp_path / "log", 5)


@pytest.fixture
def large(tmp_path: Path) -> CustodyLog:
    """600 entries: two full tiles, a partial one, and a partial tile above them."""
    log = make_log(tmp_path / "log")
    log.append(bare(0, 600), signer())
    return log


def test_a_flipped_byte_in_an_entry(small: CustodyLog) -> None:
    path = Path(small.location, "tile/entries/000.p/5")
    data = path.read_bytes().replace(b'"number":3', b'"number":9')
    path.write_bytes(data)
    assert problems(small) == ["entry 3: its bytes are not those that the tree holds; it was changed"]


@pytest.mark.parametrize("number", [0, 255, 256, 511, 512, 599])
def test_a_changed_entry_is_named(large: CustodyLog, number: int) -> None:
    width = 256 if number < 512 else 88
    path = Path(large.location, f"tile/entries/{number // 256:03d}{'' if width == 256 else '.p/88'}")
    entries = unpack(path.read_bytes(), "")
    entries[number % 256] = b'{"number":"forged"}'
    path.write_bytes(pack(entries))
    assert problems(large) == [f"entry {number}: its bytes are not those that the tree holds; it was changed"]
    with pytest.raises(VerificationError, match="are not what the checkpoint signs"):
        list(large.entries(number, number + 1))


def test_two_entries_swapped(small: CustodyLog) -> None:
    path = Path(small.location, "tile/entries/000.p/5")
    entries = unpack(path.read_bytes(), "")
    entries[1], entries[2] = entries[2], entries[1]
    path.write_bytes(pack(entries))
    assert [line.partition(":")[0] for line in problems(small)] == ["entry 1", "entry 2"]


@pytest.mark.parametrize("number", [0, 255, 256, 599])
def test_a_flipped_hash_in_a_tile_of_leaves(large: CustodyLog, number: int) -> None:
    name = f"tile/0/{number // 256:03d}{'' if number < 512 else '.p/88'}"
    flip(Path(large.location, name), 32 * (number % 256))
    assert problems(large)[-1] == f"{name}: holds a wrong hash of entry {number}"
    assert {line for line in problems(large) if "history" not in line} == {
        f"{name}: holds a wrong hash of entry {number}"
    }


def test_a_flipped_hash_in_an_upper_tile(large: CustodyLog) -> None:
    flip(Path(large.location, "tile/1/000.p/2"), 32)
    found = [line for line in problems(large) if not line.startswith("history")]
    assert found == ["tile/1/000.p/2: holds a wrong hash of tile/0/001"]


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
@pytest.mark.parametrize("change", [-32, -1, 1, 32])
def test_a_tile_cut_or_filled_up(large: CustodyLog, name: str, change: int) -> None:
    path = Path(large.location, name)
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    found = [line for line in problems(large) if not line.startswith("history")]
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_a_missing_tile(large: CustodyLog, name: str) -> None:
    Path(large.location, name).unlink()
    found = [line for line in problems(large) if not line.startswith("history")]
    assert found == [f"{name}: missing, although the tree has it; restore the file"]


@pytest.mark.parametrize(("index", "last"), [(0, 255), (2, 599)])
def test_a_missing_bundle(large: CustodyLog, index: int, last: int) -> None:
    name = f"tile/entries/{index:03d}{'' if index < 2 else '.p/88'}"
    Path(large.location, name).unlink()
    (found,) = problems(large)
    assert found.startswith(f"entries {index * 256} to {last}: {name}: missing")


@pytest.mark.parametrize("end", [0, 1, 2, 30, -1])
def test_a_bundle_cut_short(small: CustodyLog, end: int) -> None:
    path = Path(small.location, "tile/entries/000.p/5")
    path.write_bytes(path.read_bytes()[:end])
    (found,) = problems(small)
    assert found.startswith("entries 0 to 4: tile/entries/000.p/5: ")


def test_an_entry_added_to_a_bundle(small: CustodyLog) -> None:
    path = Path(small.location, "tile/entries/000.p/5")
    path.write_bytes(path.read_bytes() + pack([b"{}"]))
    (found,) = problems(small)
    assert "holds 6 entries instead of 5" in found


def test_bundle_and_tile_missing(large: CustodyLog) -> None:
    Path(large.location, "tile/0/000").unlink()
    Path(large.location, "tile/entries/000").unlink()
    found = [line for line in problems(large) if not line.startswith("history")]
    assert [line.partition(":")[0] for line in found] == ["entries 0 to 255", "tile/0/000"]


def test_the_last_bundle_and_tile_missing(large: CustodyLog) -> None:
    Path(large.location, "tile/0/002.p/88").unlink()
    Path(large.location, "tile/entries/002.p/88").unlink()
    found = [line for line in problems(large) if not line.startswith("history")]
    assert [line.partition(":")[0] for line in found] == ["entries 512 to 599", "tile/0/002.p/88"]


def test_entry_and_tile_changed_together(small: CustodyLog, tmp_path: Path) -> None:
    other = make_log(tmp_path / "other", 5, "forged", seed=2)
    shutil.rmtree(Path(small.location, "tile"))
    shutil.copytree(Path(other.location, "tile"), Path(small.location, "tile"))
    shutil.copytree(Path(other.location, "objects"), Path(small.location, "objects"), dirs_exist_ok=True)
    assert any(line.startswith("checkpoint: signs the root") for line in problems(small))


@pytest.mark.parametrize("name", ["tile/0/000.p/5", "tile/entries/000.p/5"])
def test_a_folder_or_an_endless_file_in_place_of_a_file(small: CustodyLog, name: str) -> None:
    path = Path(small.location, name)
    path.unlink()
    path.mkdir()
    (found,) = problems(small)
    assert "not an ordinary file" in found
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(1 << 30)
    (found,) = problems(small)
    assert "more than " in found


def test_a_missing_object(small: CustodyLog) -> None:
    ((digest, _),) = item(2)[1].items()
    Path(small.location, "objects/sha256", digest[:2], digest).unlink()
    assert problems(small) == [f"objects/sha256/{digest[:2]}/{digest}: missing; entry 2 names it"]
    with pytest.raises(VerificationError, match="missing"):
        small.object(digest)


def test_a_changed_object(small: CustodyLog) -> None:
    ((digest, _),) = item(2)[1].items()
    flip(Path(small.location, "objects/sha256", digest[:2], digest))
    assert problems(small) == [
        f"objects/sha256/{digest[:2]}/{digest}: its bytes have another SHA-256 than its name; entry 2 names it"
    ]
    with pytest.raises(VerificationError, match="another SHA-256"):
        small.object(digest)


@pytest.mark.parametrize("digest", ["", "ab", "../" * 22, "AB" * 32, "ab" * 33])
def test_an_object_is_asked_for_by_its_digest(small: CustodyLog, digest: str) -> None:
    with pytest.raises(BezoarError, match="not a SHA-256"):
        small.object(digest)


def test_a_foreign_key(small: CustodyLog) -> None:
    with pytest.raises(VerificationError):
        CustodyLog.open(small.location, signer(seed=2).key)


def test_a_checkpoint_signed_by_another_key(small: CustodyLog, tmp_path: Path) -> None:
    other = make_log(tmp_path / "other", 5, "forged", seed=2)
    shutil.copy(Path(other.location, "checkpoint"), Path(small.location, "checkpoint"))
    with pytest.raises(VerificationError, match="checkpoint"):
        CustodyLog.open(small.location)


def test_every_flipped_byte_of_the_checkpoint_is_noticed(small: CustodyLog) -> None:
    path = Path(small.location, "checkpoint")
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good)
        flip(path, place)
        with pytest.raises((InputError, VerificationError)):
            CustodyLog.open(small.location, small.key)


def test_every_flipped_byte_of_a_tree_is_noticed(small: CustodyLog) -> None:
    for name in ("tile/0/000.p/5", "tile/entries/000.p/5"):
        path = Path(small.location, name)
        good = path.read_bytes()
        for place in range(0, len(good), 7):
            flip(path, place)
            assert not small.verify().valid
            path.write_bytes(good)
    assert small.verify().valid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"key": 1, "origin": "example.org/custody"}',
        '{"key": "example.org/custody+00000000+AAAA", "origin": "example.org/custody"}',
        '{"key": "x", "key": "y", "origin": "z"}',
    ],
)
def test_a_malformed_description(small: CustodyLog, text: str) -> None:
    Path(small.location, "log.json").write_text(text)
    with pytest.raises(InputError):
        CustodyLog.open(small.location)
    assert CustodyLog.open(small.location, small.key).size == 5


def test_a_description_of_another_origin(small: CustodyLog) -> None:
    Path(small.location, "log.json").write_text(
        f'{{"key": "{small.key.text}", "origin": "example.org/other"}}'
    )
    with pytest.raises(
        InputError, match=r"the key is that of 'example.org/custody', the origin is 'example.org/other'"
    ):
        CustodyLog.open(small.location)


def test_an_endless_checkpoint(small: CustodyLog) -> None:
    with Path(small.location, "checkpoint").open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(InputError, match="more than 262,144 bytes"):
        CustodyLog.open(small.location)


def test_a_checkpoint_of_any_size_ends(small: CustodyLog) -> None:
    huge = sign_checkpoint(Checkpoint(small.origin, 2**62, bytes(32)), signer())
    Path(small.location, "checkpoint").write_bytes(huge.to_bytes())
    report = CustodyLog.open(small.location).verify()
    assert 10_000 < report.n_problems < 10_100
    assert len(report.problems) == 1000


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a custody log"):
        CustodyLog.open(tmp_path)
    with pytest.raises(InputError, match="not a log"):
        CustodyLog.open(tmp_path, signer().key)


def test_what_a_crash_left_beyond_the_checkpoint_is_no_damage(small: CustodyLog) -> None:
    for name in ("tile/0/000", "tile/entries/000", "tile/0/000.p/6", "tile/1/000.p/1"):
        path = Path(small.location, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left over")
    assert problems(small) == []
    assert small.append(items(5, 300), signer())[-1] == 299
    assert problems(small) == []


def test_many_problems_are_counted_but_not_all_listed(large: CustodyLog) -> None:
    large.append(bare(600, 1400), signer())
    for index in range(5):
        path = Path(large.location, f"tile/entries/{index:03d}")
        path.write_bytes(pack([b'{"forged":true}'] * 256))
    report = large.verify()
    assert (len(report.problems), report.n_problems) == (1000, 1280)


def test_entries_of_another_kind_of_log_are_counted(
    small: CustodyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bezoar.custody.tlog.writing.check_entry", lambda entry: {})
    small.append([(b"", {}), (b"\xff", {}), (b'{"a": 1}', {})], signer())
    report = small.verify()
    assert (report.valid, report.n_foreign, report.n_objects) == (True, 3, 5)
