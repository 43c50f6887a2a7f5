from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bezoar.custody.seal.reading import Seal
from cli.support import Cli, image_folder, parquet


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def key(cli: Cli) -> Path:
    assert cli("keygen", "maker", "--no-password").code == 0
    return Path("maker.key")


def test_seal(cli: Cli, key: Path) -> None:
    data = image_folder(Path("signs"))
    done = cli("seal", data, "--key", key)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "signs.seal: 8 records in 8 files"
    assert lines[1] == f"  snapshot {Seal.open('signs.seal').root.hex()}"
    assert sorted(entry.name for entry in Path("signs.seal").iterdir()) == [
        "bundle.sig", "croissant.json", "manifest.parquet", "tile",
    ]  # fmt: skip


def test_as_json_with_a_checkpoint_and_a_description(cli: Cli, key: Path) -> None:
    data = parquet(Path("signs.parquet"))
    assert cli("keygen", "notes", "--no-password", "--type", "ed25519").code == 0
    done = cli(
        "seal", data, "--key", key, "--out", "here.seal", "--note-key", "notes.key", "--note-name", "example.org/signs",
        "--license", "https://spdx.org/licenses/CC0-1.0", "--creator", "ACME", "--description", "Signs.",
        "--url", "https://example.org", "--derived-from", "https://a.test", "--derived-from", "https://b.test",
        "--format", "json",
    )  # fmt: skip
    assert done.code == 0
    value = json.loads(done.out)
    seal = Seal.open("here.seal")
    assert value == {
        "version": 1,
        "name": "signs.parquet",
        "seal": "here.seal",
        "snapshot": seal.root.hex(),
        "records": 8,
        "files": 1,
        "format": "parquet",
        "checkpoint": "example.org/signs",
    }
    note = seal.checkpoint()
    assert note is not None
    assert note.startswith(b"example.org/signs\n8\n")
    described = json.loads(seal.croissant())
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert (described["license"], described["creator"]["name"]) == (
        "https://spdx.org/licenses/CC0-1.0",
        "ACME",
    )
    assert described["prov:wasDerivedFrom"] == [{"@id": "https://a.test"}, {"@id": "https://b.test"}]
    files = described["distribution"]
    assert [file["contentUrl"] for file in files] == ["manifest.parquet", "../signs.parquet"]
    assert all(len(file["sha256"]) == 64 and "md5" not in file for file in files)


def test_many_files_are_described_as_a_set(cli: Cli, key: Path) -> None:
    data = image_folder(Path("signs"), per_class=51)
    assert cli("seal", data, "--key", key).code == 0
    described = json.loads(Seal.open("signs.seal").croissant())
    assert described["distribution"][1]["includes"] == "../signs/**"
    assert "sha256" not in described["distribution"][1]


def test_by_file_and_columns(cli: Cli, key: Path) -> None:
    data = parquet(Path("signs.parquet"))
    assert json.loads(cli("seal", data, "--key", key, "--by-file", "--format", "json").out)["records"] == 1
    assert (
        "--by-file takes no columns"
        in cli("seal", data, "--key", key, "--by-file", "--label-column", "x").error
    )
    assert "no label column 'x'" in cli("seal", data, "--key", key, "--label-column", "x").error


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 64, "no signer given; give one of --key, --pkcs11 and --keyless"),
        (["--key", "maker.key", "--keyless"], 64, "--key and --keyless contradict each other"),
        (["--key", "nowhere.key"], 2, "nowhere.key: cannot be read (No such file or directory)"),
        (["--key", "maker.pub"], 2, "not a PEM private key"),
        (["--key", "maker.key", "--note-key", "notes.key"], 64, "--note-key and --note-name belong together"),
        (["--key", "maker.key", "--out", "signs/x.seal"], 64, "lies inside the dataset"),
        (["--key", "maker.key", "--out", "no/where.seal"], 2, "no such folder to write into"),
        (["--key", "maker.key", "--certificate-chain", "maker.pub"], 2, "not PEM certificates"),
    ],
)
def test_what_goes_wrong(cli: Cli, key: Path, arguments: list[str], code: int, message: str) -> None:
    image_folder(Path("signs"))
    done = cli("seal", "signs", *arguments)
    assert done.code == code
    assert message in done.error
    assert not Path("signs.seal").exists()


def test_what_cannot_be_sealed_is_named(cli: Cli, key: Path) -> None:
    data = image_folder(Path("signs"))
    (data / "Stop" / "link").symlink_to("000.png")
    done = cli("seal", data, "--key", key)
    assert done.code == 2
    assert "signs/Stop/link: is a symbolic link" in done.error
    assert not Path("signs.seal").exists()


def test_an_ed25519_key_is_refused(cli: Cli) -> None:
    """OpenSSF Model Signing knows ECDSA only."""
    image_folder(Path("signs"))
    cli("keygen", "ed", "--no-password", "--type", "ed25519")
    done = cli("seal", "signs", "--key", "ed.key")
    assert done.code == 64
    assert "ECDSA" in done.error
    assert not Path("signs.seal").exists()


def test_the_help_loads_nothing_heavy() -> None:
    code = """
import sys
from bezoar.cli import main
for verb in ("seal", "verify"):
    assert main([verb, "--help"]) == 0
heavy = {"numpy", "pyarrow", "cryptography", "PIL", "rich"} & {*sys.modules}
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
