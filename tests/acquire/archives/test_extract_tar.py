"""Tar archives: what is honest comes out whole, what is not leaves nothing behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from acquire.archives.builders import END, padded, raw_header, tar
from bezoar.acquire.archives.extracting import extract
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.errors import InputError, LimitError, OutputError, VerificationError

FILES = {
    "a/x.txt": b"hello" * 100,
    "a/b/y.bin": os.urandom(300_000),
    "z\u00e4h.txt": b"",
    "n" * 120 + ".txt": b"q",
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def refused(archive: Path, why: str, kind: type[Exception] = InputError, **options: object) -> str:
    """Extraction fails with one line that names the archive, and leaves nothing."""
    out = archive.parent / "out"
    before = set(archive.parent.iterdir())
    with pytest.raises(kind, match=why) as caught:
        extract(archive, out, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert archive.name in str(caught.value)
    assert set(archive.parent.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("kind", sorted(COMPRESS))
def test_honest_archives(kind: str, form: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo("./" + name)
            info.size, info.mode, info.mtime = len(content), 0o4777, 1.5
            archive.addfile(info, io.BytesIO(content))
    path = tmp_path / "archive.bin"  # the name says nothing
    path.write_bytes(COMPRESS[kind](buffer.getvalue()))
    found = extract(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert (found.files, found.size) == (4, sum(map(len, FILES.values())))
    assert not {file.stat().st_mode & 0o7111 for file in (tmp_path / "out").rglob("*") if file.is_file()} - {
        0
    }


def test_what_gnu_tar_writes(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(content)
    (tmp_path / "src" / "empty").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "src", "-czf", tmp_path / "a.tar.gz", "."], check=True)
    extract(tmp_path / "a.tar.gz", tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "empty").is_dir()


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_several_compressed_streams_are_one(kind: str, tmp_path: Path) -> None:
    whole = tar(tmp_path / "a.tar", ("x", b"1" * 1000), ("y", b"2")).read_bytes()
    (tmp_path / "a.bin").write_bytes(COMPRESS[kind](whole[:700]) + COMPRESS[kind](whole[700:]))
    extract(tmp_path / "a.bin", tmp_path / "out")
    assert contents(tmp_path / "out") == {"x": b"1" * 1000, "y": b"2"}


def link(kind: bytes, target: str) -> Callable[[tarfile.TarInfo], None]:
    def make(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, target

    return make


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (b"Z", "of an unknown kind"),
        (b"V", "of an unknown kind"),
    ],
)
def test_only_files_and_folders(kind: bytes, said: str, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", ("fine", b"1"), ("evil", link(kind, "/etc/passwd")))
    assert "'evil'" in refused(path, said)


def test_a_file_through_a_link_lands_nowhere(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    path = tar(tmp_path / "a.tar", ("d", link(tarfile.SYMTYPE, str(tmp_path / "target"))), ("d/x", b"1"))
    refused(path, "symbolic link")
    assert not list((tmp_path / "target").iterdir())


def test_sparse_files(tmp_path: Path) -> None:
    refused_by_name = tmp_path / "a.tar"
    refused_by_name.write_bytes(raw_header(b"hole", b"00000000000", b"S", b"ustar  \0") + END)
    refused(refused_by_name, "sparse file")
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("hole")
        info.size = 512
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": "1048576",
        }
        archive.addfile(info, io.BytesIO(b"0\n".ljust(512, b"\0")))
    refused(tmp_path / "b.tar", "sparse file")


@pytest.mark.parametrize("sparse_map", [b"", b"2\n0\n", b"x\n"])
def test_a_sparse_file_whose_map_is_malformed_is_called_that(sparse_map: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("hole")
        info.size = len(sparse_map)
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
        archive.addfile(info, io.BytesIO(sparse_map))
    refused(tmp_path / "a.tar", "holds a sparse file")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil", r"'\.\.'"),
        ("a/../../evil", r"'\.\.'"),
        ("/etc/passwd", "absolute path"),
        ("//etc/passwd", "absolute path"),
        (".//x", "absolute path"),
        ("C:evil", "drive letter"),
        ("a\\..\\b", "backslash"),
        ("a\nb", "control characters"),
        ("a\x1b[2Jb", "control characters"),
        ("a\u202egpj.exe", "control characters"),
        ("a\u2028b", "control characters"),
        ("a//b", "an empty part"),
        ("a/./b", "an empty part"),
        (".git/hooks/post-checkout", r"\.git"),
        ("x/.gIt/config", r"\.git"),
        ("x/.git /config", r"\.git"),
        ("x/GIT~1/config", r"\.git"),
        ("x/.g\u200dit/config", r"\.git"),
        ("y" * 256, "more than 255 bytes"),
        ("\u00e4" * 128, "more than 255 bytes"),
        ("d/" * 101 + "x", "too long a path"),
        ("\udcff\udcfe", "is not UTF-8"),
    ],
)
def test_unsafe_names(name: str, why: str, tmp_path: Path) -> None:
    with tarfile.open(
        tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, errors="surrogateescape"
    ) as archive:
        for each in ("fine", name):
            info = tarfile.TarInfo(each)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"1"))
    refused(tmp_path / "a.tar", why)
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("x", "x", "there twice"),
        ("x", "./x", "there twice"),
        ("x", "X", "one name to other systems"),
        ("d/x", "D/y", "one name to other systems"),
        ("caf\u00e9", "cafe\u0301", "one name to other systems"),
        ("x", "x\u200b", "one name to other systems"),
        ("x", "x/y", "is a file"),
        ("x/y", "x", "and a folder too"),
    ],
)
def test_names_that_collide(first: str, second: str, why: str, tmp_path: Path) -> None:
    refused(tar(tmp_path / "a.tar", (first, b"1"), (second, b"2")), why)


def test_a_folder_may_be_named_again_but_not_as_a_file(tmp_path: Path) -> None:
    folder = link(tarfile.DIRTYPE, "")
    path = tar(tmp_path / "a.tar", ("d", folder), ("d/x", b"1"), ("d", folder), ("./", folder))
    extract(path, tmp_path / "out")
    assert contents(tmp_path / "out") == {"d/x": b"1"}
    shutil.rmtree(tmp_path / "out")
    refused(tar(tmp_path / "b.tar", ("d", b"1"), ("d", folder)), "and a file too")
    refused(tar(tmp_path / "c.tar", ("d", folder), ("D", folder)), "one name to other systems")


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_truncation_of_the_last_bytes(kind: str, tmp_path: Path) -> None:
    """All bytes of the tar are there by then: only the checksum behind them, or the mark of the last block, is not."""
    whole = COMPRESS[kind](tar(tmp_path / "a.tar", ("x", b"1" * 9_000)).read_bytes())
    path = tmp_path / "cut.tar"
    for cut in range(1, 9):
        path.write_bytes(whole[:-cut])
        refused(path, "truncated")


def test_zstd_in_every_form(tmp_path: Path) -> None:
    plain = tar(tmp_path / "a.tar", ("x", b"1" * 300_000)).read_bytes()
    forms = [
        zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=sized).compress(plain)
        for checksum in (True, False)
        for sized in (True, False)
    ]
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    flushed = [
        stream.compress(plain[at : at + 9_999]) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(plain), 9_999)
    ]
    forms.append(b"".join(flushed) + stream.flush())
    forms.append(b"\x5a\x2a\x4d\x18\x05\0\0\0hello" + forms[0] + b"\x50\x2a\x4d\x18\0\0\0\0")
    path = tmp_path / "form.tar.zst"
    for number, data in enumerate(forms):
        path.write_bytes(data)
        assert extract(path, tmp_path / f"out{number}").files == 1
        for cut in (1, 2, 3):
            path.write_bytes(data[:-cut])
            refused(path, "truncated")


def test_zstd_of_tiny_blocks_is_not_walked_over_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\0\0" + b"\0\0\0" * 3_000_000)
    refused(path, "too many tiny blocks")


@pytest.mark.parametrize("kind", sorted(COMPRESS))
def test_truncation_anywhere(kind: str, tmp_path: Path) -> None:
    whole = COMPRESS[kind](
        tar(tmp_path / "w.tar", ("x", os.urandom(5000)), ("y", os.urandom(5000))).read_bytes()[:12288]
    )
    for share in (0.02, 0.3, 0.5, 0.8, 0.9):
        (tmp_path / "a.bin").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / "a.bin", ".")


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_flipped_byte_is_noticed_by_the_checksum(kind: str, tmp_path: Path) -> None:
    whole = bytearray(COMPRESS[kind](tar(tmp_path / "w.tar", ("x", os.urandom(50_000))).read_bytes()))
    whole[len(whole) // 2] ^= 1
    (tmp_path / "a.bin").write_bytes(whole)
    refused(tmp_path / "a.bin", "damaged")


def test_data_behind_the_end(tmp_path: Path) -> None:
    first = tar(tmp_path / "a.tar", ("x", b"1")).read_bytes()
    (tmp_path / "two.tar").write_bytes(first + first)
    refused(tmp_path / "two.tar", "data behind the end mark")
    (tmp_path / "b.tgz").write_bytes(gzip.compress(first) + b"more")
    refused(tmp_path / "b.tgz", "damaged")
    (tmp_path / "c.tgz").write_bytes(gzip.compress(first) + b"\0" * 1000)
    extract(tmp_path / "c.tgz", tmp_path / "out")


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    data = bytearray(tar(tmp_path / "w.tar", ("x", b"1"), ("y", b"2")).read_bytes())
    data[1024] ^= 1  # the header of y: its checksum is wrong now
    (tmp_path / "a.tar").write_bytes(data)
    refused(tmp_path / "a.tar", "no end mark")


@pytest.mark.parametrize(
    "data",
    [
        raw_header(b"x", b"\xff" * 12),  # a size of -1 in base 256
        raw_header(b"x", b"\x80" + b"\xff" * 11),
        raw_header(b"x", b"99999999999"),
        raw_header(b"x", b"77777777777", b"L") + b"\0" * 512,  # a long name of 8 GiB
        raw_header(b"x", b"77777777777", b"x") + b"\0" * 512,
        raw_header(b"x", b"\xff" * 12, b"x"),
        raw_header(b"x", b"00000000000", b"x") * 3000,
        raw_header(b"x", b"00000000100", b"x") + padded(b"9999999999 path=y\n"),
        raw_header(b"x", b"00000000020", b"x") + padded(b"16 size=-5000000\n"),
        raw_header(b"g", b"00000000020", b"g") + padded(b"15 path=evil/x\n\n") + raw_header(b"y"),
        raw_header(b"x", b"00000001000", b"5") + b"\0" * 512,
    ],
)
def test_malformed_headers(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(data + END)
    refused(tmp_path / "a.tar", ".", kind=InputError)


def test_headers_do_not_claim_the_memory(tmp_path: Path) -> None:
    sparse = b"1073741824\n" + b"1\n" * 10_000_000
    info = tarfile.TarInfo("x")
    info.size = len(sparse)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"}
    (tmp_path / "a.tgz").write_bytes(gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + padded(sparse) + END))
    refused(tmp_path / "a.tgz", "headers of one entry", LimitError)


def test_caps(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", *((str(n), b"1" * 1000) for n in range(5)))
    refused(path, "more than 4 entries", LimitError, limits=ArchiveLimits(entries=4))
    assert "'0'" in refused(path, "larger than 999 bytes", LimitError, limits=ArchiveLimits(file_bytes=999))
    refused(path, "more than 4,000 bytes", LimitError, limits=ArchiveLimits(total_bytes=4000))
    extract(path, tmp_path / "out", limits=ArchiveLimits(5, 1000, 20_000))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_is_stopped_by_its_ratio(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bezoar.acquire.archives.limits.RATIO_FROM", 1 << 20)
    path = tmp_path / "a.bin"
    path.write_bytes(COMPRESS[kind](tar(tmp_path / "w.tar", ("zeros", b"\0" * (64 << 20))).read_bytes()))
    (tmp_path / "w.tar").unlink()
    refused(path, "more than 200 times its size", LimitError)


def test_a_bomb_of_nested_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bezoar.acquire.archives.limits.RATIO_FROM", 1 << 20)
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 34
    frame = zstandard.compress(b"\0" * (8 << 20))
    (tmp_path / "a.tar.zst").write_bytes(zstandard.compress(header.tobuf()) + frame * 2048)
    refused(tmp_path / "a.tar.zst", "more than 200 times its size", LimitError)


def test_a_window_that_takes_too_much_memory(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(tar(tmp_path / "w.tar", ("x", b"1")).read_bytes()) + compressor.flush()
    (tmp_path / "a.tar.zst").write_bytes(data)
    refused(tmp_path / "a.tar.zst", "damaged")


@pytest.mark.parametrize("kind", sorted(COMPRESS))
def test_an_empty_archive_is_an_empty_folder(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(COMPRESS[kind](tar(path).read_bytes()))
    assert extract(path, tmp_path / "out").files == 0
    (tmp_path / "out").rmdir()  # which succeeds for an empty one only
    path.write_bytes(bytes(1024) + b"x")
    refused(path, "data behind the end mark")
    path.write_bytes(bytes(100))
    refused(path, "is no tar or zip archive")


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 600,
        b"\x1f\x8b\x08\0",
        gzip.compress(b"no tar" * 200),
    ):
        (tmp_path / "a.tar").write_bytes(content)
        refused(tmp_path / "a.tar", ".")
    with pytest.raises(InputError, match="cannot be read"):
        extract(tmp_path / "absent.tar", tmp_path / "out")


def test_an_existing_output_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        extract(tar(tmp_path / "a.tar", ("x", b"1")), tmp_path / "out")


def test_digests_of_a_seal(tmp_path: Path) -> None:
    import hashlib

    path = tar(tmp_path / "a.tar", ("x", b"1"), ("d/y", b"2"), (".gitattributes", b"3"))
    right = {"x": hashlib.sha256(b"1").digest(), "d/y": hashlib.sha256(b"2").digest()}
    ignored = frozenset({".gitattributes"})
    wrong = {**right, "x": bytes(32)}
    refused(path, "'x' is not what was sealed", VerificationError, expected=wrong, ignored=ignored)
    refused(path, "'d/y' is not in the seal", VerificationError, expected={"x": right["x"]}, ignored=ignored)
    refused(path, "'.gitattributes' is not in the seal", VerificationError, expected=right)
    refused(path, "lacks 'z'", VerificationError, expected={**right, "z": bytes(32)}, ignored=ignored)
    extract(path, tmp_path / "out", expected=right, ignored=ignored)
