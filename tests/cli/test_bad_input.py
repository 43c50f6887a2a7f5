"""Bad input gives exit code 2 and one clear line, and leaves nothing half-written."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cli.support import Cli, Outcome, image_folder, jpeg, parquet, png, tar


def assert_refused(outcome: Outcome, *words: str) -> None:
    """Exit code 2, one line that holds `words`, no result, and nothing written into the working folder."""
    assert outcome.code == 2, outcome
    for word in words:
        assert word in outcome.error
    assert not outcome.out
    assert not list(Path().iterdir())


def _missing(folder: Path) -> Path:
    return folder / "missing"


def _empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _empty_file(folder: Path) -> Path:
    (folder / "empty.parquet").touch()
    return folder / "empty.parquet"


def _unknown(folder: Path) -> Path:
    (folder / "notes.xyz").write_bytes(b"just some notes")
    return folder / "notes.xyz"


def _truncated_parquet(folder: Path) -> Path:
    path = parquet(folder / "data.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _parquet_of_garbage(folder: Path) -> Path:
    (folder / "data.parquet").write_bytes(b"PAR1" + os.urandom(1000) + b"PAR1")
    return folder / "data.parquet"


def _truncated_tar(folder: Path) -> Path:
    path = tar(
        folder / "data.tar", {f"{n}.{end}": content for n in range(4) for end, content in _pair(n).items()}
    )
    path.write_bytes(path.read_bytes()[:700])
    return path


def _tar_that_escapes(folder: Path) -> Path:
    return tar(
        folder / "data.tar", {"../evil.png": png(0), "../evil.cls": b"0", "a.png": png(1), "a.cls": b"1"}
    )


def _pair(n: int) -> dict[str, bytes]:
    return {"png": png(n), "cls": str(n % 2).encode()}


def _pickle_in_npz(folder: Path) -> Path:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {folder}/owned",)

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    magic = np.lib.format.magic(1, 0)
    raw = header.getvalue()
    array = raw if raw.startswith(b"\x93NUMPY") else magic + raw
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("images.npy", array + pickle.dumps([Bomb(), Bomb()]))
        archive.writestr("labels.npy", array + pickle.dumps([Bomb(), Bomb()]))
    return folder / "data.npz"


def _truncated_idx(folder: Path) -> Path:
    head = struct.pack(">HBBIII", 0, 8, 3, 100, 28, 28)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + bytes(28 * 28 * 3)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">HBBI", 0, 8, 1, 100) + bytes(100))
    )
    return folder / "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "no such file"),
        (_empty_folder, "empty"),
        (_empty_file, ""),
        (_unknown, "no known dataset format"),
        (_truncated_parquet, ""),
        (_parquet_of_garbage, ""),
        (_truncated_tar, ""),
        (_tar_that_escapes, ".."),
        (_pickle_in_npz, ""),
        (_truncated_idx, ""),
    ],
)
@pytest.mark.parametrize("verb", ["scan", "poison"])
def test_what_cannot_be_opened(cli: Cli, tmp_path: Path, make: object, words: str, verb: str) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    if verb == "scan":
        outcome = cli("scan", path, "-o", "result")
    else:
        outcome = cli("poison", path, "out", "--attack", "badnets", "--rate", 0.3, "--target", 1)
    assert_refused(outcome, words, path.name)
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path.parent / "evil.png").exists()


def test_missing_label_column(cli: Cli, dataset: Path) -> None:
    assert_refused(cli("scan", dataset, "--label-column", "category"), "'category'", "columns: image, label")


def test_no_label_column_at_all(cli: Cli, tmp_path: Path) -> None:
    path = parquet(tmp_path / "data.parquet")
    pq.write_table(pq.read_table(path).drop_columns("label"), path)
    assert_refused(cli("scan", path), path.name, "label")


def test_one_class_only(cli: Cli, tmp_path: Path) -> None:
    assert_refused(cli("scan", image_folder(tmp_path / "data", 8, ("Stop",)), "-o", "result"), "class")


def _bomb_png() -> bytes:
    """A PNG of a few kilobytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content", [_bomb_png(), jpeg(0)[:200], b"", b"GIF89a"], ids=["bomb", "jpeg", "empty", "gif"]
)
def test_a_dataset_of_which_nothing_can_be_read(cli: Cli, tmp_path: Path, content: bytes) -> None:
    data = image_folder(tmp_path / "data", 4)
    for file in data.rglob("*.png"):
        file.write_bytes(content)
    assert_refused(cli("scan", data, "-o", "result"), "data")


@pytest.mark.parametrize("content", [_bomb_png(), jpeg(0)[:200], b""], ids=["bomb", "jpeg", "empty"])
def test_one_unreadable_record_is_reported_not_fatal(cli: Cli, tmp_path: Path, content: bytes) -> None:
    data = image_folder(tmp_path / "data", 40)
    (data / "Stop" / "003.png").write_bytes(content)
    outcome = cli("scan", data)
    assert outcome.code in (0, 1)
    assert "1 record unreadable" in outcome.out


def test_output_that_exists(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    for argv in (
        ("scan", dataset, "-o", tmp_path / "there"),
        ("clean", dataset, tmp_path / "there", "--scan", "x"),
        ("poison", dataset, tmp_path / "there", "--attack", "badnets", "--rate", 0.3, "--target", 1),
    ):
        assert_refused(cli(*argv), "exists already")
    assert (tmp_path / "there").read_text() == "mine"


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 kB; needs the right to mount."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.usefixtures("poisoned")
def test_full_disk(cli: Cli, tmp_path: Path) -> None:
    data = parquet(tmp_path / "data.parquet", 200)
    with _small_disk(tmp_path / "small") as small:
        (small / "ballast").write_bytes(bytes(56_000))
        for argv in (
            ("poison", data, small / "out", "--attack", "badnets", "--rate", 0.1, "--target", 1),
            ("scan", data, "-o", small / "result"),
        ):
            assert_refused(cli(*argv), "disk is full")
            assert [path.name for path in small.iterdir()] == ["ballast"]


@pytest.mark.usefixtures("poisoned")
def test_a_file_size_limit(cli: Cli, tmp_path: Path) -> None:
    """As on a disk with a quota; works without the right to mount."""
    data = parquet(tmp_path / "data.parquet", 200)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, hard))
    try:
        outcome = cli("poison", data, "out", "--attack", "badnets", "--rate", 0.1, "--target", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert_refused(outcome)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    data = parquet(tmp_path / "data.parquet")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    argv = ["poison", data, locked / "out", "--attack", "badnets", "--rate", "0.3", "--target", "1"]
    done = subprocess.run([sys.executable, "-m", "bezoar", *map(str, argv)], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"may not be written" in done.stderr
