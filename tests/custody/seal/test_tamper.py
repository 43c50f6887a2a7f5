"""The tamper matrix: every change to sealed data or to the seal is caught, and named."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bezoar
from bezoar.custody.seal.comparing import Differences
from bezoar.custody.seal.sealing import seal
from bezoar.custody.seal.verification import Verification
from bezoar.custody.seal.verifying import verify
from bezoar.custody.tlog.note import Note
from bezoar.data import write
from bezoar.errors import InputError, UsageError, VerificationError
from cli.support import png, tar
from custody.seal.support import (
    DATASETS,
    KEY,
    NOTES,
    SIGNER,
    STRANGER,
    VERIFIER,
    checked,
    flip,
    folder_with_metadata,
    jsonl,
    keys,
    make,
    parquet,
    sealed,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = make("image folder", tmp_path)
    sealed(path)
    return path


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def _column(table: pa.Table, name: str, change: Callable[[list[object]], list[object]]) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(
        place, table.schema.field(name), pa.array(change(table[name].to_pylist()), table[name].type)
    )


# --- the data -------------------------------------------------------------------------------------------------------------


def test_a_flipped_byte_of_a_file(folder: Path) -> None:
    flip(folder / "Stop" / "002.png", 40)
    result = checked(folder)
    assert not result.valid
    assert keys(result.changed) == ["Stop/002.png"]
    assert result.differences == Differences(changed=result.changed)
    assert not result.files
    assert not result.problems


def test_a_flipped_byte_inside_a_table(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)

    def change(cells: list[object]) -> list[object]:
        content = bytearray(cells[5]["bytes"])  # type: ignore[index]
        content[-1] ^= 1
        return [*cells[:5], {**cells[5], "bytes": bytes(content)}, *cells[6:]]  # type: ignore[dict-item]

    _rewrite(path, lambda table: _column(table, "image", change))
    result = checked(path)
    assert keys(result.changed) == ["005.png"]
    assert [change.key for change in result.files.changed] == ["."]  # the file as a whole, too


def test_a_flipped_label(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    _rewrite(path, lambda t: _column(t, "label", lambda cells: ["Yield", *cells[1:]]))
    result = checked(path)
    assert not result.valid
    assert [(one.key, one.was, one.now) for one in result.relabelled] == [("000.png", "Stop", "Yield")]
    assert result.differences == Differences(relabelled=result.relabelled)


def test_a_label_that_is_taken_away(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    _rewrite(path, lambda t: _column(t, "label", lambda cells: [None, *cells[1:]]))
    assert [(one.was, one.now) for one in checked(path).relabelled] == [("Stop", "(none)")]


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def _is_another_snapshot(path: Path, key: str, before: str, change: Callable[[], object]) -> None:
    """The change is named by the old seal, wholly and in part, and by the snapshot of a new one."""
    root = sealed(path).root
    change()
    for options in ({}, {"records": key.replace("#", "?")}):
        result = checked(path, **options)
        assert keys(result.resourced) == [key]
        assert before in result.resourced[0].was
        assert not result.changed
    assert sealed(path).root != root
    assert checked(path).valid


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("0002.txt", b"a sign 2 BEZOAR"),
        ("0002.mask.png", png(99)),
        ("0002.json", b'{"url": "u2", "boxes": [[9, 9]]}'),
        ("0002.cls", b"00"),
    ],
)
def test_a_changed_member_of_a_sample(member: str, content: bytes, tmp_path: Path) -> None:
    path = make("samples", tmp_path)
    members = _members(path)
    assert members[member] != content
    _is_another_snapshot(
        path, "0002", f"sha256:{member[4:]}=", lambda: tar(path, {**members, member: content})
    )


def test_a_member_that_comes_and_one_that_goes(tmp_path: Path) -> None:
    path = make("samples", tmp_path)
    members = _members(path)
    new = {**members, "0002.note": b"new"}
    _is_another_snapshot(path, "0002", "sha256:.note=(none)", lambda: tar(path, new))
    del new["0002.mask.png"]
    _is_another_snapshot(path, "0002", "sha256:.mask.png=", lambda: tar(path, new))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("mask", png(99)),
        ("boxes", [{"x": 9.0, "label": "sign"}]),
        ("when", None),
        ("image", {"bytes": png(2), "path": "other.png"}),
    ],
)
def test_a_changed_binary_or_nested_cell(column: str, value: object, tmp_path: Path) -> None:
    path = make("masks", tmp_path)

    def change(cells: list[object]) -> list[object]:
        return [*cells[:2], value, *cells[3:]]

    _is_another_snapshot(
        path,
        "signs.parquet#000002",
        f":{column}",
        lambda: _rewrite(path, lambda table: _column(table, column, change)),
    )


def test_a_text_in_place_of_the_bytes_that_it_is_the_digest_of(tmp_path: Path) -> None:
    path = make("masks", tmp_path)
    row = sealed(path).manifest.row(2)

    def change(table: pa.Table) -> pa.Table:
        digests = [row.source["sha256:mask"]] * table.num_rows
        return table.drop_columns("mask").append_column("mask", pa.array(digests))

    _rewrite(path, change)
    assert sealed(path).manifest.row(2).leaf() != row.leaf()


@pytest.mark.parametrize("suffix", [".json", ".txt"])
def test_a_changed_file_beside_an_image(suffix: str, tmp_path: Path) -> None:
    path = make("sidecars", tmp_path)
    file = path / "00000" / f"000000002{suffix}"
    before = f"sha256:{suffix}="
    _is_another_snapshot(
        path, "00000/000000002.png", before, lambda: file.write_bytes(file.read_bytes().replace(b"2", b"3"))
        if suffix == ".txt"
        else file.write_text('{"label": 0, "boxes": [[9, 9]]}'),
    )  # fmt: skip


def _reshaped(path: Path) -> None:
    """The same pixels, as images of half the height and twice the width."""
    if path.is_dir():
        file = path / "train-images-idx3-ubyte.gz"
        data = bytearray(gzip.decompress(file.read_bytes()))
        data[8:16] = struct.pack(">II", 4, 16)
        file.write_bytes(gzip.compress(bytes(data)))
        return
    with np.load(path) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    np.savez(path, images=images.reshape(6, 4, 16, 3), labels=labels)


@pytest.mark.parametrize("name", ["idx", "npz"])
def test_pixels_in_another_shape(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    root = sealed(path).root
    _reshaped(path)
    for options in ({}, {"records": "*"}):
        result = checked(path, **options)
        assert len(result.resourced) == 6
        assert result.resourced[0].was.startswith("shape=8x8x")
    with pytest.raises(VerificationError, match=r"the source was sealed as shape=8x8x\d, it is shape=4x16x"):
        bezoar.open(path, verify=VERIFIER)
    assert sealed(path).root != root


def _classes(path: Path, names: list[str]) -> Path:
    """Images of a Stop and a Yield sign, as integers that the features name."""
    feature = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table({"image": [png(0), png(1)], "label": [names.index("Stop"), names.index("Yield")]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(feature)}), path)
    return path


def test_names_and_numbers_of_the_classes_exchanged_together(tmp_path: Path) -> None:
    path = _classes(tmp_path / "t.parquet", ["Stop", "Yield"])
    sealed(path)
    assert bezoar.open(path, verify=VERIFIER).labels.tolist() == [0, 1]
    _classes(path, ["Yield", "Stop"])
    problem = "the order of the classes is not what was sealed"
    assert problem in _problem(path)
    assert problem in _problem(path, records="*#000000")
    with pytest.raises(VerificationError, match=problem):
        bezoar.open(path, verify=VERIFIER)


def test_a_column_of_another_modality(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    texts = pa.array(["one", "two"])
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), path)
    sealed(path)
    pq.write_table(pa.table({"text": texts.cast(pa.binary()), "label": ["a", "b"]}), path)
    assert "the modality is not what was sealed ('text'; it is 'image')" in _problem(path, records="*")
    with pytest.raises(VerificationError, match="the modality is not what was sealed"):
        bezoar.open(path, verify=VERIFIER)


def test_a_flipped_label_in_metadata(tmp_path: Path) -> None:
    path = folder_with_metadata(tmp_path / "signs")
    sealed(path)
    table = (path / "metadata.csv").read_text()
    (path / "metadata.csv").write_text(table.replace("2.png,Stop", "2.png,Yield"))
    result = checked(path)
    assert [(one.key, one.was, one.now) for one in result.relabelled] == [("2.png", "Stop", "Yield")]
    assert keys(result.files.changed) == ["metadata.csv"]


def test_a_forged_source(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    _rewrite(
        path, lambda t: _column(t, "url", lambda cells: ["https://evil.test", *cells[1:3], "x", *cells[4:]])
    )
    result = checked(path)
    assert [(one.key, one.was, one.now) for one in result.resourced] == [
        ("000.png", "url=https://example.org/0", "url=https://evil.test"),
        ("003.png", "url=(none)", "url=x"),
    ]


def test_a_source_column_that_is_dropped_or_new(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl")
    sealed(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(
            json.dumps({**{k: v for k, v in row.items() if k != "site"}, "by": "me"}) + "\n" for row in rows
        )
    )
    result = checked(path)
    assert next((one.was, one.now) for one in result.resourced) == (
        "site=s0, by=(none)",
        "site=(none), by=me",
    )
    assert len(result.resourced) == 6


def test_two_records_that_are_swapped(folder: Path) -> None:
    one, two = folder / "Stop" / "000.png", folder / "Yield" / "001.png"
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    result = checked(folder)
    assert keys(result.changed) == ["Stop/000.png", "Yield/001.png"]
    assert result.changed[0].now == result.changed[1].was


def test_rows_that_are_swapped(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl")
    sealed(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[1], lines[0], *lines[2:]]))
    result = checked(path)
    assert keys(result.changed) == ["t.jsonl#000000", "t.jsonl#000001"]
    assert keys(result.relabelled) == ["t.jsonl#000000", "t.jsonl#000001"]


def test_an_added_record(folder: Path) -> None:
    (folder / "Stop" / "new.png").write_bytes(png(99))
    assert checked(folder).added == ("Stop/new.png",)


def test_an_added_file_that_is_no_record(folder: Path) -> None:
    (folder / "run.py").write_text("import os")
    result = checked(folder)
    assert result.files.added == ("run.py",)
    assert not result.differences
    assert not result.valid


def test_an_added_row(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    parquet(path, count=9)
    assert checked(path).added == ("008.png",)


def test_a_deleted_record(folder: Path) -> None:
    (folder / "Yield" / "003.png").unlink()
    assert checked(folder).missing == ("Yield/003.png",)


def test_a_deleted_class(folder: Path) -> None:
    shutil.rmtree(folder / "Yield")
    assert checked(folder).missing == tuple(f"Yield/00{n}.png" for n in range(4))


def test_a_name_in_other_letters(folder: Path) -> None:
    (folder / "Stop" / "001.png").rename(folder / "Stop" / "001.PNG")
    result = checked(folder)
    assert (result.missing, result.added) == (("Stop/001.png",), ("Stop/001.PNG",))
    assert result.differences.renamed == (("Stop/001.png", "Stop/001.PNG"),)


def test_a_record_that_moves_to_another_class(folder: Path) -> None:
    (folder / "Stop" / "001.png").rename(folder / "Yield" / "009.png")
    assert checked(folder).differences.renamed == (("Stop/001.png", "Yield/009.png"),)


def test_a_link_in_place_of_a_file(folder: Path, tmp_path: Path) -> None:
    file = folder / "Stop" / "001.png"
    file.rename(tmp_path / "001.png")
    file.symlink_to(tmp_path / "001.png")
    result = checked(folder)
    assert not result.valid
    assert any("Stop/001.png: is a symbolic link" in problem for problem in result.problems)


def test_a_link_to_another_dataset_in_place_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """The other is genuine, and so is its seal; it is not what bears this name."""
    sealed(folder)
    horses = shutil.copytree(folder, tmp_path / "horses")
    sealed(horses)
    shutil.rmtree(folder)
    folder.symlink_to("horses")
    shutil.rmtree(tmp_path / "signs.seal")
    shutil.copytree(tmp_path / "horses.seal", tmp_path / "signs.seal")
    result = checked(folder)
    assert not result.valid
    assert "the seal is of the dataset 'horses', not 'signs'" in result.problems[0]
    with pytest.raises(VerificationError, match="of the dataset 'horses', not 'signs'"):
        bezoar.open(folder, verify=VERIFIER)
    assert checked(folder, name="horses").valid
    sealed(folder)
    assert checked(folder).valid


def test_a_data_file_that_cannot_be_opened_any_more(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    path.write_bytes(path.read_bytes()[:-10])
    result = checked(path)
    assert keys(result.files.changed) == ["."]
    assert any("records cannot be compared" in problem for problem in result.problems)


def test_a_replaced_member_of_an_archive(tmp_path: Path) -> None:
    path = make("webdataset", tmp_path)
    sealed(path)
    write(bezoar.open(path).with_changes({2: png(77)}), tmp_path / "new.tar")
    (tmp_path / "new.tar").replace(path)
    assert keys(checked(path).changed) == ["0002"]


@pytest.mark.parametrize("name", DATASETS)
def test_a_flipped_byte_anywhere_in_any_format_is_never_valid(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    sealed(path)
    file = (
        path
        if path.is_file()
        else max(path.rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else -1)
    )
    original = file.read_bytes()
    for offset in range(0, len(original), max(1, len(original) // 7)):
        flip(file, offset)
        assert not checked(path).valid
        file.write_bytes(original)
    assert checked(path).valid


# --- the seal -------------------------------------------------------------------------------------------------------------


def _problem(path: Path, **options: object) -> str:
    result = checked(path, **options)
    assert not result.valid
    assert result.problems
    return " | ".join(result.problems)


def test_a_replaced_manifest(folder: Path, tmp_path: Path) -> None:
    (folder / "Stop" / "000.png").write_bytes(png(5))
    other = seal(folder, STRANGER, out=tmp_path / "other.seal")
    shutil.copy(Path(other.location, "manifest.parquet"), tmp_path / "signs.seal" / "manifest.parquet")
    problem = _problem(folder)
    assert "manifest.parquet: is not the one that was signed" in problem
    assert "manifest.parquet: its rows do not give the snapshot that was signed" in problem


@pytest.mark.parametrize("in_place", [True, False])
def test_a_manifest_that_is_exchanged_after_it_was_hashed(
    in_place: bool, folder: Path, tmp_path: Path
) -> None:
    from bezoar.custody.seal.layout import MANIFEST
    from bezoar.custody.seal.reading import Seal

    path, forged = tmp_path / "signs.seal" / MANIFEST, tmp_path / "forged.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "bezoar.format": "files"}), forged)
    seal = Seal.open(path.parent)
    seal.digest(MANIFEST)
    if in_place:
        path.write_bytes(forged.read_bytes())
    else:
        forged.replace(path)
    with pytest.raises(InputError, match=r"manifest\.parquet: changes while it is read"):
        seal.manifest  # noqa: B018 - it is read when it is asked for


def test_a_manifest_with_another_media_type(folder: Path, tmp_path: Path) -> None:
    """Which no leaf of the snapshot holds."""
    path = tmp_path / "signs.seal" / "manifest.parquet"
    _rewrite(path, lambda t: _column(t, "media_type", lambda cells: ["text/plain", *cells[1:]]))
    assert "manifest.parquet: is not the one that was signed" in _problem(folder)


def test_a_replaced_description(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "signs.seal" / "croissant.json"
    path.write_text(path.read_text().replace("NOASSERTION", "CC0-1.0"))
    assert "croissant.json: is not the one that was signed" in _problem(folder)


def test_a_replaced_bundle(folder: Path, tmp_path: Path) -> None:
    other = make("parquet", tmp_path)
    shutil.copy(Path(sealed(other).location, "bundle.sig"), tmp_path / "signs.seal" / "bundle.sig")
    assert "manifest.parquet: is not the one that was signed" in _problem(folder)


def test_a_bundle_of_the_same_files_that_is_no_seal(folder: Path, tmp_path: Path) -> None:
    from bezoar.custody.seal.hashing import hash_tree
    from bezoar.custody.signing.oms import Resource, SignedTree, root_of, sign_tree

    files = hash_tree(folder)
    digests = list(files.digests())
    resources = [Resource(path, digest, "sha256") for path, digest in zip(files.paths, digests, strict=True)]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
    bundle = sign_tree(SignedTree("signs", root_of(digests), resources, serialization), SIGNER)
    (tmp_path / "signs.seal" / "bundle.sig").write_bytes(bundle)
    assert "does not sign manifest.parquet" in _problem(folder)


def test_another_signer(folder: Path) -> None:
    (folder / "Stop" / "000.png").write_bytes(png(5))
    seal(folder, STRANGER)
    assert "bundle.sig: the signature is not by maker" in _problem(folder)
    assert verify(folder, VERIFIER).signer is None


def test_one_of_several_trusted_signers(folder: Path) -> None:
    from bezoar.custody.signing.signers import KeyVerifier

    other = KeyVerifier(STRANGER.public_key, "stranger")
    assert verify(folder, [other, VERIFIER]).signer == "maker"
    assert "is signed by none of those who are trusted" in verify(folder, [other, other]).problems[0]


def test_a_forged_payload(folder: Path, tmp_path: Path) -> None:
    import base64

    path = tmp_path / "signs.seal" / "bundle.sig"
    bundle = json.loads(path.read_bytes())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    forged = payload.replace(b'"name":"signs"', b'"name":"sings"')
    assert forged != payload
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
    path.write_text(json.dumps(bundle))
    assert "what it signed was changed" in _problem(folder)


def test_a_truncated_tile(folder: Path, tmp_path: Path) -> None:
    tile = next((tmp_path / "signs.seal" / "tile").rglob("8"))
    tile.write_bytes(tile.read_bytes()[:-32])
    assert "tile/0/000.p/8: has 224 bytes instead of 256" in _problem(folder)


def test_a_changed_tile(folder: Path, tmp_path: Path) -> None:
    flip(next((tmp_path / "signs.seal" / "tile").rglob("8")))
    assert "tile/0/000.p/8: is not the tile of the manifest's rows" in _problem(folder)


def test_a_missing_tile(folder: Path, tmp_path: Path) -> None:
    next((tmp_path / "signs.seal" / "tile").rglob("8")).unlink()
    assert "tile/0/000.p/8: missing" in _problem(folder)


def test_a_changed_tile_above_others(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"text": str(n), "label": 0}) + "\n" for n in range(600)))
    sealed(path)
    assert checked(path).valid
    flip(tmp_path / "t.jsonl.seal" / "tile" / "1" / "000.p" / "2")
    assert "tile/1/000.p/2: is not the tile" in _problem(path)


def test_an_old_seal_that_is_replayed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "signs.seal", tmp_path / "old")
    (folder / "Stop" / "new.png").write_bytes(png(99))
    flip(folder / "Stop" / "000.png")
    sealed(folder)
    assert checked(folder).valid
    result = checked(folder, seal=tmp_path / "old")
    assert (result.added, keys(result.changed)) == (("Stop/new.png",), ["Stop/000.png"])


def test_parts_of_an_old_seal_in_a_new_one(folder: Path, tmp_path: Path) -> None:
    sealed(folder, note_signer=NOTES)
    shutil.copytree(tmp_path / "signs.seal", tmp_path / "old")
    (folder / "Stop" / "new.png").write_bytes(png(99))
    sealed(folder, note_signer=NOTES)
    shutil.copy(tmp_path / "old" / "checkpoint", tmp_path / "signs.seal" / "checkpoint")
    assert "checkpoint: is about another snapshot" in _problem(folder)
    assert "checkpoint: is about another snapshot" in _problem(folder, note_key=NOTES.key)


def test_a_checkpoint_by_another_key(folder: Path, tmp_path: Path) -> None:
    sealed(folder, note_signer=NOTES)
    assert checked(folder, note_key=NOTES.key).valid
    path = tmp_path / "signs.seal" / "checkpoint"
    note = Note.parse(path.read_bytes())
    forged = bytearray(note.signatures[0].signature)
    forged[0] ^= 1
    path.write_bytes(
        replace(note, signatures=(replace(note.signatures[0], signature=bytes(forged)),)).to_bytes()
    )
    assert "checkpoint: " in _problem(folder, note_key=NOTES.key)


def test_a_checkpoint_that_is_demanded_and_missing(folder: Path) -> None:
    assert "checkpoint: is missing" in _problem(folder, note_key=NOTES.key)


@pytest.mark.parametrize("part", ["bundle.sig", "manifest.parquet", "croissant.json"])
def test_a_missing_part(folder: Path, tmp_path: Path, part: str) -> None:
    (tmp_path / "signs.seal" / part).unlink()
    with pytest.raises(InputError, match=part):
        checked(folder)


def test_an_honest_key_over_dishonest_rows(folder: Path, tmp_path: Path) -> None:
    """The signer's own manifest does not give the signer's own root: nothing is believed that can be computed."""
    from bezoar.custody.seal.layout import CROISSANT_DIGEST, MANIFEST_DIGEST, SNAPSHOT_DIGEST
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.oms import SignedTree, sign_tree

    old = Seal.open(tmp_path / "signs.seal")
    tree = old.stated
    extra = {**tree.extra, SNAPSHOT_DIGEST: "ab" * 32}
    assert {*extra} == {SNAPSHOT_DIGEST, MANIFEST_DIGEST, CROISSANT_DIGEST}
    lie = SignedTree(tree.name, tree.root, tree.resources, tree.serialization, extra)
    (tmp_path / "signs.seal" / "bundle.sig").write_bytes(sign_tree(lie, SIGNER))
    assert "its rows do not give the snapshot" in _problem(folder)


def test_files_that_openssf_model_signing_leaves_out(folder: Path) -> None:
    (folder / ".github").mkdir()
    (folder / ".github" / "x.yml").write_text("x")
    (folder / "Stop" / ".gitignore").write_text("x")
    sealed(folder)  # the second file is not at the top, so it is signed
    assert checked(folder).valid
    assert checked(folder, strict=True).problems == (
        ".github/x.yml: is not signed; the signature leaves out .github",
    )


# --- a part of the records ------------------------------------------------------------------------------------------------


def test_some_records(folder: Path) -> None:
    result = checked(folder, records="Stop/*")
    assert result.valid
    assert (result.checked, result.records) == (4, 8)
    flip(folder / "Yield" / "000.png")
    assert checked(folder, records="Stop/*").valid
    flip(folder / "Stop" / "003.png")
    assert keys(checked(folder, records="Stop/00[23].png").changed) == ["Stop/003.png"]
    (folder / "Stop" / "007.png").write_bytes(png(1))
    (folder / "Stop" / "001.png").unlink()
    result = checked(folder, records="Stop/*")
    assert (result.added, result.missing) == (("Stop/007.png",), ("Stop/001.png",))


@pytest.mark.parametrize("name", ["plain folder", "parquet", "webdataset", "jsonl"])
def test_some_records_of_other_formats(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    key = sealed(path).manifest.key(1)
    result = checked(path, records=key.replace("[", "[[]"))
    assert result.valid
    assert result.checked == 1


def test_some_records_are_proved_by_the_tiles(folder: Path, tmp_path: Path) -> None:
    flip(next((tmp_path / "signs.seal" / "tile").rglob("8")), 0)  # the tile of the first record
    assert "Stop/001.png: is not proved to be in the signed snapshot" in _problem(
        folder, records="Stop/001.png"
    )


def test_a_pattern_without_records(folder: Path) -> None:
    with pytest.raises(UsageError, match="no record matches"):
        checked(folder, records="nix*")


# --- further demands ------------------------------------------------------------------------------------------------------


def test_a_check_adds_problems(folder: Path) -> None:
    seen: list[Verification] = []

    def check(result: Verification, seal: object) -> list[str]:
        seen.append(result)
        return ["policy: too old"]

    result = checked(folder, check=check)
    assert seen[0].valid
    assert not result.valid
    assert result.problems == ("policy: too old",)


# --- reading under verification -------------------------------------------------------------------------------------------


def test_the_first_wrong_byte_stops_the_reading(folder: Path) -> None:
    flip(folder / "Yield" / "001.png")
    dataset = bezoar.open(folder, verify=VERIFIER)
    contents = dataset.contents()
    for _ in range(5):
        next(contents)
    with pytest.raises(VerificationError, match=r"Yield/001\.png: the content is not what was sealed"):
        next(contents)
    assert dataset[0].content
    with pytest.raises(VerificationError):
        dataset[5]


def test_a_file_that_becomes_unreadable_stops_the_reading(folder: Path) -> None:
    dataset = bezoar.open(folder, verify=VERIFIER)
    (folder / "Stop" / "000.png").unlink()
    with pytest.raises(VerificationError, match=r"Stop/000\.png"):
        next(dataset.contents())


def test_what_is_selected_and_written_was_verified(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    dataset = bezoar.open(path, verify=VERIFIER).select([6, 2])
    write(dataset, tmp_path / "out.parquet")
    assert bezoar.open(tmp_path / "out.parquet")[1].content == png(2)
    flip(path, path.read_bytes().index(png(2)[-20:]))
    with pytest.raises((VerificationError, InputError)):
        write(dataset, tmp_path / "again.parquet")
    assert not (tmp_path / "again.parquet").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "Stop" / "new.png").write_bytes(png(1)), r"Stop/new\.png: was not sealed"),
        (lambda path: (path / "Stop" / "000.png").unlink(), r"Stop/000\.png: was sealed and is missing"),
        (lambda path: (path / "Stop").rename(path / "Halt"), r"Halt/000\.png: was not sealed \(and 3 more\)"),
    ],
)
def test_keys_are_compared_when_it_is_opened(
    folder: Path, change: Callable[[Path], object], message: str
) -> None:
    change(folder)
    with pytest.raises(VerificationError, match=message):
        bezoar.open(folder, verify=VERIFIER)


def test_labels_and_sources_are_compared_when_it_is_opened(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet")
    sealed(path)
    _rewrite(path, lambda t: _column(t, "url", lambda cells: ["https://evil.test", *cells[1:]]))
    with pytest.raises(VerificationError, match=r"the source was sealed as url=https://example\.org/0"):
        bezoar.open(path, verify=VERIFIER)
    _rewrite(path, lambda t: _column(t, "label", lambda cells: ["Yield", *cells[1:]]))
    with pytest.raises(VerificationError, match=r"000\.png: the label was sealed as Stop, it is Yield"):
        bezoar.open(path, verify=VERIFIER)


def test_a_key_file_or_nobody(folder: Path, tmp_path: Path) -> None:
    from bezoar.custody.signing.keys import public_pem

    (tmp_path / "maker.pub").write_bytes(public_pem(KEY.public_key()))
    (tmp_path / "other.pub").write_bytes(public_pem(STRANGER.public_key))
    assert len(bezoar.open(folder, verify=tmp_path / "maker.pub")) == 8
    with pytest.raises(VerificationError, match="the signature is not by"):
        bezoar.open(folder, verify=str(tmp_path / "other.pub"))
    with pytest.raises(InputError, match="no seal there"):
        bezoar.open(folder, verify=VERIFIER, seal=tmp_path / "nowhere")
