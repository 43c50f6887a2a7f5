"""A signed list is verified as it is; one byte, file or signer more or less, and it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acquire.index.lists import SIGNER, STRANGER, VERIFIER, good, sha256, url, write
from bezoar.acquire.lists.reading import Columns, UrlList
from bezoar.acquire.lists.signing import sign_index, verify_index
from bezoar.custody.seal.plain import verify_signature
from bezoar.custody.signing.signers import KeySigner
from bezoar.errors import InputError, OutputError, UsageError, VerificationError


@pytest.fixture(params=[".parquet", ".csv"])
def index(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return good(tmp_path / f"list{request.param}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of a list, and one that is none."""
    path = tmp_path / "lists"
    path.mkdir()
    good(path / "0.parquet")
    good(path / "1.parquet", 20)
    (path / "README.md").write_text("hello")
    return path


def test_signed_and_verified(index: Path) -> None:
    made, binding = sign_index(UrlList.open(index), SIGNER)
    assert (binding.rows, binding.missing, binding.malformed) == (50, 0, 0)
    assert made.signature == index.with_name(index.name + ".sig")
    found = verify_index(index, VERIFIER)
    assert found.signer == VERIFIER.name
    assert found.root == made.root
    assert found.digest == made.digest == UrlList.open(index).digest
    found.check_unchanged()


def test_model_signing_bundle(index: Path, folder: Path) -> None:
    """It is an ordinary bundle of a file, or of the list's files in the folder."""
    made, _ = sign_index(UrlList.open(index), SIGNER)
    assert verify_signature(index, made.signature, VERIFIER).valid
    made, _ = sign_index(UrlList.open(folder), SIGNER)
    assert verify_signature(folder, made.signature, VERIFIER).added == ("README.md",)
    (folder / "README.md").unlink()
    assert verify_signature(folder, made.signature, VERIFIER).valid


def test_a_byte_of_the_same_length(index: Path) -> None:
    sign_index(UrlList.open(index), SIGNER)
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    with pytest.raises(VerificationError, match="is not what was signed"):
        verify_index(_opened(index), VERIFIER)


def _opened(index: Path) -> UrlList:
    """A list whose content may be damaged is opened before: the check must not depend on its being readable."""
    content = index.read_bytes()
    good(index)
    source = UrlList.open(index)
    index.write_bytes(content)
    return source


def test_one_hash_replaced(tmp_path: Path) -> None:
    index = good(tmp_path / "list.csv")
    sign_index(UrlList.open(index), SIGNER)
    index.write_text(index.read_text().replace(sha256(7), sha256("evil")))
    with pytest.raises(VerificationError, match="is not what was signed"):
        verify_index(index, VERIFIER)


def test_another_signer(index: Path) -> None:
    sign_index(UrlList.open(index), STRANGER)
    with pytest.raises(VerificationError, match="not by key:"):
        verify_index(index, VERIFIER)
    with pytest.raises(VerificationError, match="nobody is trusted"):
        verify_index(index, [])


def test_files_of_a_folder(folder: Path) -> None:
    sign_index(UrlList.open(folder), SIGNER)
    verify_index(folder, VERIFIER)
    (folder / "README.md").write_text("no part of the list")
    verify_index(folder, VERIFIER)
    good(folder / "2.parquet", 3)
    with pytest.raises(VerificationError, match=r"2\.parquet: is not signed; it was added"):
        verify_index(folder, VERIFIER)
    (folder / "2.parquet").unlink()
    (folder / "0.parquet").unlink()
    with pytest.raises(VerificationError, match=r"0\.parquet: was signed and is not there"):
        verify_index(folder, VERIFIER)


def test_files_of_a_folder_swapped(folder: Path) -> None:
    """The order of the rows is what the names of the files give."""
    sign_index(UrlList.open(folder), SIGNER)
    (folder / "0.parquet").rename(folder / "x")
    (folder / "1.parquet").rename(folder / "0.parquet")
    (folder / "x").rename(folder / "1.parquet")
    with pytest.raises(
        VerificationError, match=r"0\.parquet: is not what was signed; it was changed \(and 1 more\)"
    ):
        verify_index(folder, VERIFIER)


def test_a_link_is_no_file_of_a_list(folder: Path, tmp_path: Path) -> None:
    (folder / "0.parquet").rename(tmp_path / "real.parquet")
    (folder / "0.parquet").symlink_to(tmp_path / "real.parquet")
    with pytest.raises(InputError, match=r"0\.parquet: is a symbolic link"):
        sign_index(UrlList.open(folder), SIGNER)


@pytest.mark.parametrize("how", ["write", "replace", "same-bytes", "gone"])
def test_changed_between_check_and_use(index: Path, how: str) -> None:
    """Even where size and modification time are put back."""
    sign_index(UrlList.open(index), SIGNER)
    found = verify_index(index, VERIFIER)
    status, content = index.stat(), index.read_bytes()
    if how == "write":
        with index.open("r+b") as file:
            file.write(b"X")
    elif how == "replace":
        other = index.with_name("other")
        other.write_bytes(content)
        other.replace(index)
    elif how == "same-bytes":
        index.write_bytes(content)
    else:
        index.unlink()
    if index.exists():
        os.utime(index, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(VerificationError, match="was changed after its signature was checked"):
        found.check_unchanged()


def test_changed_at_once(index: Path) -> None:
    """A write in the same tick of the clock as the one before would have its change time."""
    for _ in range(5):
        index.with_name(index.name + ".sig").unlink(missing_ok=True)
        index.write_bytes(index.read_bytes())
        sign_index(UrlList.open(index), SIGNER)
        index.write_bytes(index.read_bytes())
        found = verify_index(index, VERIFIER)
        with index.open("r+b") as file:
            file.write(index.read_bytes()[:1])
        with pytest.raises(VerificationError):
            found.check_unchanged()


@pytest.mark.parametrize(
    ("digests", "said"),
    [
        ([sha256(0), None, sha256(2), ""], r"row 1 has no sha256; 2 of 4 rows .*missing 2, malformed 0"),
        (
            [sha256(0), sha256(1)[:32], sha256(2), "0x" + sha256(3)],
            r"row 1 has '.{32}', which .*missing 0, malformed 2",
        ),
        ([" " + sha256(0), sha256(1), sha256(2), None], r"row 0 has ' .*missing 1, malformed 1"),
    ],
)
def test_rows_without_a_hash(tmp_path: Path, digests: list[str | None], said: str) -> None:
    for suffix in (".parquet", ".csv"):
        index = write(tmp_path / f"list{suffix}", [url(n) for n in range(4)], digests)
        with pytest.raises(InputError, match=said) as error:
            sign_index(UrlList.open(index), SIGNER)
        assert "\n" not in str(error.value)
        assert not list(tmp_path.glob("*.sig*"))


def test_no_hash_column_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 0 has no sha256; 3 of 3"):
        sign_index(UrlList.open(write(tmp_path / "a.txt", [url(n) for n in range(3)])), SIGNER)
    with pytest.raises(InputError, match="has no rows"):
        sign_index(UrlList.open(write(tmp_path / "a.csv", [], [])), SIGNER)


def test_uppercase_is_well_formed(tmp_path: Path) -> None:
    index = write(tmp_path / "a.parquet", [url(0)], [sha256(0).upper()])
    assert sign_index(UrlList.open(index), SIGNER)[1].complete


def test_what_cannot_be_signed(tmp_path: Path) -> None:
    index = good(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", [url(0)], None, md5=["0" * 32])
    with pytest.raises(UsageError, match="md5 binds no content"):
        sign_index(UrlList.open(tmp_path / "b.parquet", Columns(hash_kind="md5")), SIGNER)
    with pytest.raises(UsageError, match="a pattern cannot be sealed"):
        sign_index(UrlList.open(tmp_path / "a*.parquet"), SIGNER)
    with pytest.raises(UsageError, match="ECDSA"):
        sign_index(UrlList.open(index), KeySigner(_ed25519()))
    sign_index(UrlList.open(index), SIGNER)
    with pytest.raises(OutputError, match="exists already"):
        sign_index(UrlList.open(index), SIGNER)


def _ed25519():  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 50, b'{"mediaType":"x"}', b"[" * 10000])
def test_malformed_signature(tmp_path: Path, content: bytes) -> None:
    index = good(tmp_path / "a.parquet")
    (tmp_path / "a.parquet.sig").write_bytes(content)
    with pytest.raises(InputError):
        verify_index(index, VERIFIER)


def test_missing_signature(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.parquet\.sig: no such file"):
        verify_index(good(tmp_path / "a.parquet"), VERIFIER)
