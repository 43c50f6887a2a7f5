"""Whatever bytes come: an archive is unpacked below its folder or refused with one typed error, never with another one."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.acquire.archives.extracting import extract
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.archives.names import Names, unsafe
from bezoar.errors import InputError

LIMITS = ArchiveLimits(entries=100, file_bytes=1 << 20, total_bytes=1 << 22)


def seeds() -> list[bytes]:
    found = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for name in ("d/a.txt", "z\u00e4h", "n" * 99 if form == tarfile.USTAR_FORMAT else "n" * 130):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 600, 1
                archive.addfile(info, io.BytesIO(b"x" * 600))
        found += [buffer.getvalue()[:6144], gzip.compress(buffer.getvalue(), mtime=0)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("d/a.txt", "z\u00e4h", "n" * 130):
            packed.writestr(zipfile.ZipInfo(name), b"x" * 600)
    return [*found, buffer.getvalue()]


SEEDS = seeds()
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), CHANGES, st.integers(0, 200))
def test_changed_bytes(seed: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in" / "a"
        path.parent.mkdir()
        path.write_bytes(bytes(data[: len(data) - cut if cut > 150 else len(data)]))
        found, refusal = None, ""
        try:
            found = extract(path, path.parent / "out", limits=LIMITS)
        except InputError as error:
            refusal = str(error)
        there = sorted(each.name for each in path.parent.iterdir())
        if found is None:
            assert there == ["a"]
            assert refusal.isprintable()
        else:
            assert there == ["a", "out"]
            inside = [each for each in (path.parent / "out").rglob("*") if not each.is_dir()]
            assert found.files == len(inside)
            assert not [each for each in inside if each.is_symlink()]
        assert [each.name for each in Path(folder).iterdir()] == ["in"]


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("ab./\\:\u200c\u0301\u202eGgIiTt~1 \x00\u00e9e"), max_size=12))
def test_names_stay_below_their_folder(name: str) -> None:
    if unsafe(name) is None:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
            assert place.resolve().is_relative_to(Path(folder).resolve())
            assert "\\" not in name
            assert ".git" not in name.lower().split("/")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.sampled_from("aAbB/\u00e9e\u0301\u200d"), min_size=1, max_size=6), max_size=6))
def test_accepted_names_can_all_be_created(paths: list[str]) -> None:
    names, accepted = Names("test"), set()
    for path in paths:
        try:
            accepted.add(names.file(path))
        except InputError:
            continue
    with tempfile.TemporaryDirectory() as folder:
        for path in accepted:
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            with Path(folder, path).open("xb"):
                pass
