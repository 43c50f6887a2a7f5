"""A seal that lies behind a URL, with the data here."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

import bezoar
from bezoar.custody.seal.reading import Seal
from bezoar.errors import InputError, VerificationError
from custody.seal.support import NOTES, VERIFIER, checked, flip, keys, parquet, sealed

fsspec = pytest.importorskip("fsspec", reason="the remote extra is not installed")


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, str]:
    """A dataset, and the URL to which its seal was moved."""
    path = parquet(tmp_path / "signs.parquet")
    folder = Path(sealed(path, note_signer=NOTES).location)
    url = f"memory://{uuid.uuid4()}/signs.seal"
    files = fsspec.filesystem("memory")
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        files.pipe(f"{url}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        file.unlink()
    return path, url


def test_verify(moved: tuple[Path, str]) -> None:
    path, url = moved
    assert checked(path, seal=url, note_key=NOTES.key).valid
    assert checked(path, seal=url, records="00[12].png").checked == 2
    assert len(Seal.open(url).manifest) == 8
    assert len(bezoar.open(path, verify=VERIFIER, seal=url)) == 8
    (path.parent / "other").mkdir()
    parquet(path, count=9)
    assert checked(path, seal=url).added == ("008.png",)


def test_damage_behind_a_url(moved: tuple[Path, str]) -> None:
    path, url = moved
    files = fsspec.filesystem("memory")
    manifest = files.cat(f"{url}/manifest.parquet")
    files.pipe(f"{url}/croissant.json", b"{}")
    assert any(
        "croissant.json: is not the one that was signed" in problem
        for problem in checked(path, seal=url).problems
    )
    with pytest.raises(VerificationError, match=r"croissant\.json"):
        bezoar.open(path, verify=VERIFIER, seal=url)
    files.pipe(f"{url}/manifest.parquet", manifest[:-1])
    with pytest.raises(InputError, match=r"manifest\.parquet"):
        checked(path, seal=url)
    files.rm(f"{url}/bundle.sig")
    with pytest.raises(InputError, match="bundle"):
        checked(path, seal=url)


def test_a_flipped_byte_here(moved: tuple[Path, str]) -> None:
    path, url = moved
    flip(path, 100)
    result = checked(path, seal=url)
    assert not result.valid
    assert keys(result.files.changed) == ["."]
