"""The quarantine store: caps, permissions, crashes, hostile tables and texts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bezoar.acquire.quarantine.held import MAX_LINE, Held, Releasing, Settled, Stored, parse_line
from bezoar.acquire.quarantine.store import Cap, Quarantine
from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError, OutputError, VerificationError


def held(content: bytes = b"bytes", key: str = "000000001", **more: object) -> Held:
    digest = hashlib.sha256(content).hexdigest() if content else ""
    return replace(
        Held(key, f"http://a.example/{key}", Reason.HASH_MISMATCH, sha256=digest, size=len(content)),
        **more,  # type: ignore[arg-type]
    )


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def test_what_is_put_comes_back_with_its_bytes(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "out.fetch" / "quarantine")
    assert store.entries() == []
    assert not store.folder.exists()
    entry = held(
        expected="0" * 64, expected_by="key:12", fetched=1.5, status=200, peer="[::1]:80", redirects=("http://b.example",),
        tls_verified=False, row=7, caption="a \ud800 sign", extra={"n": 1, "x": None}, fields={"url": "u"}, run_id="r",
    )  # fmt: skip
    store.put(entry, b"bytes")
    assert Quarantine.at(store.folder).entries() == [replace(entry, stored=Stored.KEPT)]
    assert store.content(entry.sha256) == b"bytes"


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    for _ in range(3):
        store.put(held(), b"bytes")
    store.put(held(b"other"), b"other")
    assert [entry.sha256 for entry in store.entries()] == [held().sha256, held(b"other").sha256]
    assert len(_objects(store)) == 2


def test_neither_a_glob_nor_a_viewer_takes_an_object_for_a_picture(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    content = picture()
    store.put(held(content), content)
    (path,) = _objects(store)
    assert path.suffix == ""
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(path)
    assert content not in path.read_bytes()[: len(content)]
    assert store.content(held(content).sha256) == content


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = Quarantine.at(tmp_path / "out.fetch" / "quarantine")
        store.put(held(), b"bytes")
    finally:
        os.umask(old)
    for path in [store.folder, *store.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize(
    ("content", "cap", "stored"),
    [
        (b"", Cap(), Stored.NONE),
        (b"12345", Cap(object_bytes=4), Stored.TOO_LARGE),
        (b"12345", Cap(total_bytes=4), Stored.FULL),
        (b"12345", Cap(5, 5), Stored.KEPT),
    ],
)
def test_what_does_not_fit_is_recorded_without_bytes(
    tmp_path: Path, content: bytes, cap: Cap, stored: Stored
) -> None:
    store = Quarantine.at(tmp_path / "q", cap)
    store.put(held(content), content)
    (entry,) = store.entries()
    assert entry.stored is stored
    assert bool(_objects(store)) == (stored is Stored.KEPT)


def test_the_total_counts_what_was_there_before(tmp_path: Path) -> None:
    for number in range(4):
        content = bytes([number]) * 10
        Quarantine.at(tmp_path / "q", Cap(total_bytes=25)).put(held(content, f"k{number}"), content)
    entries = Quarantine.at(tmp_path / "q").entries()
    assert [entry.stored for entry in entries] == [Stored.KEPT, Stored.KEPT, Stored.FULL, Stored.FULL]


def test_a_part_of_what_was_hashed_is_not_kept_as_the_whole(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    store.put(held(b"the whole"), b"the wh")
    assert store.entries()[0].stored is Stored.PARTIAL
    assert _objects(store) == []


def test_an_object_that_was_changed_is_not_handed_out(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    store.put(held(), b"bytes")
    (path,) = _objects(store)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match="was changed"):
        store.content(held().sha256)
    path.write_bytes(b"bytes")
    with pytest.raises(VerificationError, match="was changed"):
        store.content(held().sha256)
    path.unlink()
    with pytest.raises(InputError, match="has no bytes"):
        store.content(held().sha256)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "/" * 64])
def test_only_a_digest_names_an_object(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no SHA-256"):
        Quarantine.at(tmp_path).content(name)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    store.folder.mkdir()
    target = tmp_path / "target"
    target.write_text("mine")
    (store.folder / "entries.jsonl").symlink_to(target)
    with pytest.raises(OutputError, match="may not be written"):
        store.put(held(), b"bytes")
    assert target.read_text() == "mine"


def test_a_torn_last_line_is_as_if_it_had_never_been_put(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    for key in ("a", "b"):
        store.put(held(key=key), b"bytes")
    table = store.folder / "entries.jsonl"
    whole = table.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole)):
        table.write_bytes(whole[:end])
        assert [entry.key for entry in store.entries()] == ["a"], end
    store.put(held(key="c"), b"bytes")
    assert [entry.key for entry in store.entries()] == ["a", "c"]


def test_a_short_object_of_a_power_cut_is_written_again(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    store.put(held(), b"bytes")
    (path,) = _objects(store)
    path.write_bytes(b"")
    store.put(held(), b"bytes")
    assert store.content(held().sha256) == b"bytes"


_WRITER = """
import sys, hashlib
from pathlib import Path
from bezoar.acquire.quarantine.held import Held
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason
store = Quarantine.at(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(100_000):
    content = f"{sys.argv[2]} {number}".encode() * 50
    digest = hashlib.sha256(content).hexdigest()
    store.put(Held(f"{sys.argv[2]}{number:06d}", "http://a.example", Reason.TRUNCATED, sha256=digest, size=len(content)), content)
"""


def test_killed_writers_leave_whole_entries_each_with_its_bytes(tmp_path: Path) -> None:
    for round_ in range(4):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(tmp_path / "q"), f"{round_}{name}-"], stdout=subprocess.PIPE, text=True
            )
            for name in "ab"
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.03 * round_)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        store = Quarantine.at(tmp_path / "q")
        entries = store.entries()
        for name in "ab":  # every entry of a writer up to some number, none lost before it
            numbers = [int(e.key[-6:]) for e in entries if e.key.startswith(f"{round_}{name}-")]
            assert numbers == list(range(len(numbers)))
            assert numbers
        for entry in entries:
            assert len(store.content(entry.sha256)) == entry.size
    store.put(held(), b"bytes")
    assert len(store.entries()) == len(entries) + 1


def test_an_object_that_is_renamed_while_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Quarantine.at(tmp_path / "q").put(held(), b"bytes")
    real = os.walk
    monkeypatch.setattr(os, "walk", lambda top: [(f, d, [*n, ".gone.partial"]) for f, d, n in real(top)])
    store = Quarantine.at(tmp_path / "q")
    store.put(held(b"more!", "other"), b"more!")
    assert len(store.entries()) == 2


def test_a_settled_entry_is_gone_until_it_is_put_again(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    store.put(held(), b"bytes")
    store.put(held(key="other"), b"bytes")
    done = Settled("000000001", held().sha256, "refetched", "the page is back", 2.0)
    store.settle(done)
    assert [entry.key for entry in store.entries()] == ["other"]
    assert store.settled() == [done]
    store.put(held(), b"bytes")
    assert [entry.key for entry in store.entries()] == ["other", "000000001"]


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b"not json\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"settled": 1}\n',
        b'{"settled": {"key": "k"}}\n',
        b"x" * (MAX_LINE + 5) + b"\n",
    ],
)
def test_a_malformed_table_is_one_error_that_names_the_line(tmp_path: Path, line: bytes) -> None:
    store = Quarantine.at(tmp_path / "q")
    store.put(held(), b"bytes")
    table = store.folder / "entries.jsonl"
    table.write_bytes(table.read_bytes() + line)
    with pytest.raises(InputError, match="line 2"):
        store.entries()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sha256", "../../x"),
        ("sha256", "A" * 64),
        ("sha256", None),
        ("size", -1),
        ("size", True),
        ("size", 1.5),
        ("reason", "because"),
        ("stored", "yes"),
        ("redirects", [1]),
        ("redirects", "http"),
        ("fetched", "now"),
        ("fetched", float("nan")),
        ("status", "200"),
        ("extra", []),
        ("row", 1.0),
        ("tls_verified", 1),
        ("caption", 5),
    ],
)
def test_a_member_of_a_wrong_kind_is_refused(name: str, value: object) -> None:
    members = json.loads(held().to_line())
    with pytest.raises(InputError, match="line"):
        parse_line(json.dumps({**members, name: value}).encode(), "line")
    with pytest.raises(InputError, match="line"):
        parse_line(json.dumps({each: members[each] for each in members if each != name}).encode(), "line")


def test_an_entry_too_long_for_a_line_is_kept_without_its_columns(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    for texts in ({"url": "\U0001f600" * 10**6}, {"caption": "c" * 10**7}, {"extra": {"x": "y" * 10**7}}):
        store.put(held(content=repr(texts.keys()).encode(), detail="\U0001f600" * 10**6, **texts), b"")
    entries = store.entries()
    assert len(entries) == 3
    assert all("too long" in entry.detail and entry.caption is None and not entry.extra for entry in entries)


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_any_text_survives(key: str, caption: str, extra: dict[str, object]) -> None:
    entry = held(key=key, caption=caption, extra=extra, detail=caption)
    line = entry.to_line()
    assert line.count(b"\n") == 1
    assert parse_line(line, "here") == entry


def test_only_what_a_person_lets_in_is_let_in(tmp_path: Path) -> None:
    store = Quarantine.at(tmp_path / "q")
    one, two, three = (held(content) for content in (b"1", b"2", b"3"))
    for entry, content in ((one, b"1"), (two, b"2"), (three, b"3")):
        store.put(entry, content)
    assert store.let_in() == frozenset()
    store.begin_release(Releasing(one.key, one.sha256))
    store.begin_release(Releasing(two.key, two.sha256))
    assert store.entries() == [replace(entry, stored=Stored.KEPT) for entry in (one, two, three)]
    store.settle(Settled(one.key, one.sha256, "released", "looked at", 0.0))
    store.settle(Settled(two.key, two.sha256, "refetched", "came as expected", 0.0))
    assert store.let_in() == {(one.key, one.sha256)}


def test_a_folder_that_may_not_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "q").write_text("a file")
    with pytest.raises(OutputError, match="may not be written"):
        Quarantine.at(tmp_path / "q").put(held(), b"bytes")


def _objects(store: Quarantine) -> list[Path]:
    return [path for path in (store.folder / "objects").rglob("*") if path.is_file()]
