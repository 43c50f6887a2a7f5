"""Seals and bundles that somebody made up: one typed error or an invalid result for any of them, never a traceback."""

from __future__ import annotations

import base64
import json
import random
import shutil
from pathlib import Path

import pytest

from bezoar.custody.seal import plain, reading
from bezoar.custody.seal.reading import Seal
from bezoar.errors import BezoarError, InputError, LimitError
from custody.seal.support import NOTES, checked, jsonl, plain_folder, sealed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = plain_folder(tmp_path / "files")
    sealed(path, note_signer=NOTES)
    return path


def _payload(bundle: Path, change: dict[str, object]) -> None:
    value = json.loads(bundle.read_bytes())
    payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
    payload["subject"][0]["digest"].update(change)
    value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    bundle.write_text(json.dumps(value))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"mediaType": 1}', b"[" * 100_000]
)
def test_a_bundle_that_is_none(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "files.seal" / "bundle.sig").write_bytes(content)
    with pytest.raises(InputError, match=r"bundle\.sig"):
        checked(folder)


@pytest.mark.parametrize("root", ["", "00", "ab" * 31, "AB" * 32, "zz" * 32, 7, None])
def test_a_snapshot_root_that_is_none(folder: Path, tmp_path: Path, root: object) -> None:
    _payload(tmp_path / "files.seal" / "bundle.sig", {"bezoarSnapshot": root})
    with pytest.raises(InputError, match=r"bundle\.sig"):
        checked(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 10, b"\0" * 1000])
def test_a_manifest_that_is_none(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "files.seal" / "manifest.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.parquet"):
        checked(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"distribution": 3}'])
def test_a_description_that_is_none(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "files.seal" / "croissant.json").write_bytes(content)
    assert [p for p in checked(folder).problems if "croissant.json: is not the one that was signed" in p]


@pytest.mark.parametrize("content", [b"", b"x", b"a\nb\nc\n", b"\xff" * 100])
def test_a_checkpoint_that_is_none(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "files.seal" / "checkpoint").write_bytes(content)
    with pytest.raises(InputError, match="checkpoint"):
        checked(folder)


@pytest.mark.parametrize("name", ["bundle.sig", "manifest.parquet", "croissant.json", "checkpoint"])
def test_any_damage_to_any_part_is_an_error_or_invalid(folder: Path, tmp_path: Path, name: str) -> None:
    part = tmp_path / "files.seal" / name
    original = part.read_bytes()
    chance = random.Random(0)  # noqa: S311 - damage, not secrets
    for _ in range(40):
        data = bytearray(original)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        part.write_bytes(data)
        try:
            valid = checked(folder, note_key=NOTES.key).valid
        except BezoarError:
            continue
        # what a bundle's JSON says may be spelled in several ways (unknown members are ignored), but never means more
        assert not valid or name == "bundle.sig" or bytes(data) == original
    part.write_bytes(original)
    assert checked(folder, note_key=NOTES.key).valid


@pytest.mark.parametrize("name", ["bundle.sig", "checkpoint", "manifest.parquet", "croissant.json"])
def test_a_part_that_is_a_link_out_of_the_seal(folder: Path, tmp_path: Path, name: str) -> None:
    part = tmp_path / "files.seal" / name
    shutil.copy(part, tmp_path / "elsewhere")
    part.unlink()
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=name):
        checked(folder)


def test_a_part_that_is_a_pipe(folder: Path, tmp_path: Path) -> None:
    import os

    part = tmp_path / "files.seal" / "croissant.json"
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(InputError, match=r"croissant\.json"):
        checked(folder)


def test_caps(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module, cap in (
        ("bundle.sig", reading, "MAX_BUNDLE_BYTES"),
        ("checkpoint", reading, "MAX_CHECKPOINT"),
        ("manifest.parquet", reading, "MAX_MANIFEST"),
    ):
        monkeypatch.setattr(module, cap, 10)
        with pytest.raises(LimitError, match=name):
            checked(folder)
        monkeypatch.undo()
    monkeypatch.setattr(plain, "MAX_BUNDLE_BYTES", 10)
    with pytest.raises(LimitError, match=r"bundle\.sig"):
        plain.verify_signature(folder, tmp_path / "files.seal" / "bundle.sig", None)


def test_a_manifest_that_says_how_to_open_another_dataset(tmp_path: Path) -> None:
    """The columns come from the manifest, so they are only believed behind its digest."""
    path = jsonl(tmp_path / "t.jsonl")
    sealed(path)
    import pyarrow.parquet as pq

    file = tmp_path / "t.jsonl.seal" / "manifest.parquet"
    table = pq.read_table(file)
    pq.write_table(
        table.replace_schema_metadata({**table.schema.metadata, b"bezoar.label_column": b"site"}), file
    )
    result = checked(path)
    assert not result.valid
    assert any("manifest.parquet: is not the one that was signed" in problem for problem in result.problems)


def test_no_seal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no seal there"):
        Seal.open(tmp_path)
    path = plain_folder(tmp_path / "files")
    with pytest.raises(InputError, match=r"files\.seal: no seal there"):
        checked(path)
