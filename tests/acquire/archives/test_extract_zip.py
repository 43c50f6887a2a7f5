"""Zip archives: what two programs could read in two ways is refused."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from acquire.archives.builders import ZipEntry, honest_zip, zip_of
from acquire.archives.test_extract_tar import FILES, contents, refused
from bezoar.acquire.archives.extracting import extract
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.archives.zip_directory import read_slots
from bezoar.errors import InputError, LimitError


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_honest_archives(method: int, tmp_path: Path) -> None:
    files = {**FILES, "big": b"\0" * 3_000_000}
    extract(honest_zip(tmp_path / "a.bin", files, method), tmp_path / "out")
    assert contents(tmp_path / "out") == files


def test_zip64_streaming_and_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("d") if hasattr(archive, "mkdir") else archive.writestr("d/", b"")
        with archive.open("d/x", "w", force_zip64=True) as file:
            file.write(b"1" * 10_000)
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == {"d/x": b"1" * 10_000}

    class Unseekable:
        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    sink = Unseekable(tmp_path / "b.zip")
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        archive.writestr("x", b"2" * 10_000)
        archive.writestr("y", b"")
    sink.file.close()
    extract(tmp_path / "b.zip", tmp_path / "two")
    assert contents(tmp_path / "two") == {"x": b"2" * 10_000, "y": b""}


def test_many_entries_need_zip64_records(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(65_540):
            archive.writestr(f"{number % 7}/{number}", b"")
    with (tmp_path / "a.zip").open("rb") as file:
        slots, _ = read_slots(file, "a.zip", ArchiveLimits())
    assert [slot.name for slot in slots] == [f"{number % 7}/{number}" for number in range(65_540)]


def test_an_empty_archive_and_a_comment(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.comment = b"nothing in here"
    assert extract(tmp_path / "a.zip", tmp_path / "out").files == 0


def test_zstd_entries(tmp_path: Path) -> None:
    import zstandard

    content = b"1" * 100_000
    zip_of(tmp_path / "a.zip", ZipEntry("x", content, method=93, packed=zstandard.compress(content)))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == {"x": content}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (ZipEntry("l", b"/etc/passwd", external=(stat.S_IFLNK | 0o777) << 16), "a symbolic link"),
        (ZipEntry("p", b"", external=(stat.S_IFIFO | 0o777) << 16), "neither a file nor a folder"),
        (ZipEntry("c", b"", external=(stat.S_IFCHR | 0o777) << 16), "neither a file nor a folder"),
        (ZipEntry("d", b"", external=(stat.S_IFDIR | 0o777) << 16), "neither a file nor a folder"),
        (ZipEntry("d/", b"content", external=(stat.S_IFDIR | 0o777) << 16), "claims to have content"),
        (ZipEntry("../evil", b"1"), r"'\.\.'"),
        (ZipEntry("/evil", b"1"), "absolute path"),
        (ZipEntry("C:/evil", b"1"), "drive letter"),
        (ZipEntry("..\\evil", b"1"), "backslash"),
        (ZipEntry("a\x00b", b"1"), "control characters"),
        (ZipEntry("x", b"1", raw_name=b"\xff\xfe"), "not UTF-8"),
        (ZipEntry("x", b"1", flags=0x801), "encrypted"),
        (ZipEntry("x", b"1", method=9), "compressed by method 9"),
        (ZipEntry("x", b"1", method=0, local={"method": 8}), "two headers that disagree"),
        (ZipEntry("x", b"1", local_name=b"y"), "two headers that disagree"),
        (ZipEntry("x", b"1", local={"size": 2}), "disagree about its size"),
        (ZipEntry("x", b"1", local={"crc": 2}), "disagree about its size or checksum"),
        (ZipEntry("x", b"12345", size=4, method=8), "larger than it says"),
        (ZipEntry("x", b"12345", size=6, method=8), "not what its header says"),
        (ZipEntry("x", b"12345", size=4, method=0), "larger than it says"),
        (ZipEntry("x", b"12345", crc=7), "not what its header says"),
        (ZipEntry("x", b"12345", packed=ZipEntry("x", b"12345").body() + b"more"), "more behind their end"),
        (ZipEntry("x", b"12345" * 100, packed=ZipEntry("x", os.urandom(500)).body()[:-9]), "damaged"),
        (ZipEntry("x", b"12345", packed=b"\xff\xff\xff\xff"), "damaged"),
        (ZipEntry("x", b"1", packed_size=5000), "shares bytes with the next entry"),
        (ZipEntry("x", b"1", header=3), "data before its first entry"),
        (ZipEntry("x", b"1", header=1 << 30), "data before its first entry"),
    ],
)
def test_hostile_entries(entry: ZipEntry, why: str, tmp_path: Path) -> None:
    refused(zip_of(tmp_path / "a.zip", entry), why)


def test_overlapping_entries_are_a_bomb(tmp_path: Path) -> None:
    first = ZipEntry("a", b"\0" * 1_000_000)
    refused(
        zip_of(tmp_path / "a.zip", first, ZipEntry("b", first.content, header=0)), "two headers|shares bytes"
    )
    nested = ZipEntry("x", b"\0" * 1000, method=0)
    inner = zip_of(tmp_path / "i.zip", nested).read_bytes()
    (tmp_path / "i.zip").unlink()
    outer = ZipEntry("o", inner, method=0)
    place = 30 + len("o")
    refused(
        zip_of(tmp_path / "b.zip", outer, ZipEntry("x", nested.content, method=0, header=place)),
        "shares bytes",
    )


@pytest.mark.parametrize(
    ("first", "second"), [("x", "x"), ("x", "X"), ("x", "x/y"), ("caf\u00e9", "cafe\u0301")]
)
def test_names_that_collide(first: str, second: str, tmp_path: Path) -> None:
    refused(
        zip_of(tmp_path / "a.zip", ZipEntry(first, b"1"), ZipEntry(second, b"2")), "twice|one name|is a file"
    )


def test_ambiguous_files(tmp_path: Path) -> None:
    entry = ZipEntry("x", b"1")
    refused(zip_of(tmp_path / "a.zip", entry, after=b"more"), "data behind its end record")
    refused(
        zip_of(tmp_path / "b.zip", entry, ZipEntry("y", b"2"), count=1), "more entries than its end record"
    )
    refused(zip_of(tmp_path / "c.zip", entry, count=2), "not where its end record says")
    whole = zip_of(tmp_path / "d.zip", entry).read_bytes()
    (tmp_path / "d.zip").write_bytes(whole + whole)
    refused(tmp_path / "d.zip", "not where its end record says")
    fake_end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, len(whole), 0)
    (tmp_path / "e.zip").write_bytes(whole[:-2] + struct.pack("<H", len(fake_end)) + fake_end)
    refused(tmp_path / "e.zip", "data before its first entry")
    (tmp_path / "f.zip").write_bytes(b"PK\x03\x04" + whole)
    refused(tmp_path / "f.zip", "not where its end record says")


def test_truncation_anywhere(tmp_path: Path) -> None:
    whole = honest_zip(tmp_path / "w.zip", {"x": os.urandom(3000), "y": b"2"}).read_bytes()
    for end in range(4, len(whole), 97):
        (tmp_path / "a.zip").write_bytes(whole[:end])
        refused(tmp_path / "a.zip", ".")


def test_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = honest_zip(tmp_path / "a.zip", {str(n): b"1" * 1000 for n in range(5)})
    refused(path, "more than 4 entries", LimitError, limits=ArchiveLimits(entries=4))
    refused(path, "larger than 999 bytes", LimitError, limits=ArchiveLimits(file_bytes=999))
    refused(path, "more than 4,000 bytes", LimitError, limits=ArchiveLimits(total_bytes=4000))
    monkeypatch.setattr("bezoar.acquire.archives.limits.RATIO_FROM", 1 << 20)
    refused(honest_zip(tmp_path / "b.zip", {"z": b"\0" * (4 << 20)}), "200 times its size", LimitError)


def test_a_lie_about_the_size_does_not_fill_the_disk(tmp_path: Path) -> None:
    bomb = ZipEntry("z", b"\0" * (64 << 20), size=10)
    refused(zip_of(tmp_path / "a.zip", bomb), "larger than it says", InputError)
