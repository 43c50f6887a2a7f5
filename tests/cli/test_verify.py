from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.support import Cli, image_folder, png


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def data(cli: Cli) -> Path:
    for name in ("maker", "other"):
        assert cli("keygen", name, "--no-password").code == 0
    assert cli("keygen", "notes", "--no-password", "--type", "ed25519").code == 0
    path = image_folder(Path("signs"), per_class=12)
    sealed = cli(
        "seal", path, "--key", "maker.key", "--note-key", "notes.key", "--note-name", "example.org/signs"
    )
    assert sealed.code == 0
    return path


def test_valid(cli: Cli, data: Path) -> None:
    done = cli("verify", data, "--key", "maker.pub")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first.startswith("valid: signs is what key:")
    assert first.endswith(" sealed (24 records)")
    assert second.startswith("  snapshot ")


def test_another_dataset_in_its_place(cli: Cli, data: Path) -> None:
    data.rename("horses")
    Path("signs.seal").rename("horses.seal")
    done = cli("verify", "horses", "--key", "maker.pub")
    assert done.code == 1
    assert "the seal is of the dataset 'signs', not 'horses'" in done.out
    done = cli("verify", "horses", "--key", "maker.pub", "--name", "signs")
    assert done.code == 0
    assert done.out.rstrip().endswith(" of signs")
    assert cli("verify", "horses", "--signature", "horses.seal/bundle.sig", "--name", "signs").code == 64


def test_without_a_key_it_is_never_valid(cli: Cli, data: Path) -> None:
    done = cli("verify", data)
    assert done.code == 3
    assert done.out.startswith(
        "not authenticated: signs matches its seal (24 records), but nothing says who made the seal"
    )
    assert "valid:" not in done.out
    value = json.loads(cli("verify", data, "--format", "json").out)
    assert (value["valid"], value["matches"], value["signer"]) == (False, True, None)
    (data / "Stop" / "000.png").unlink()
    assert cli("verify", data).code == 1


def test_invalid(cli: Cli, data: Path) -> None:
    one, two = data / "Stop" / "001.png", data / "Yield" / "002.png"
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    (data / "Stop" / "000.png").rename(data / "Stop" / "000.PNG")
    (data / "notes.txt").write_text("x")
    for number in range(12):
        (data / "Stop" / f"new{number:02d}.png").write_bytes(png(500 + number))
    done = cli("verify", data, "--key", "other.pub", "--key", "maker.pub")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0].startswith("INVALID: signs is not what was sealed (sealed by key:")
    assert lines[1:3] == ["13 records added", "  + Stop/000.PNG (was Stop/000.png)"]
    assert lines[11:13] == ["  + Stop/new08.png", "    and 3 more; --format json lists all"]
    assert lines[13:16] == ["1 record missing", "  - Stop/000.png (is now Stop/000.PNG)", "2 records changed"]
    assert lines[16].endswith("; has the content of Yield/002.png)")
    assert lines[18:20] == ["1 other file added", "  + notes.txt"]
    value = json.loads(cli("verify", data, "--key", "maker.pub", "--format", "json").out)
    assert len(value["added"]) == 13
    assert value["renamed"] == [["Stop/000.png", "Stop/000.PNG"]]
    assert [change["key"] for change in value["changed"]] == ["Stop/001.png", "Yield/002.png"]
    assert value["files"]["added"] == ["notes.txt"]
    assert (value["valid"], value["matches"], value["problems"]) == (False, False, [])


def test_another_key(cli: Cli, data: Path) -> None:
    done = cli("verify", data, "--key", "other.pub")
    assert done.code == 1
    assert "(not signed by anyone who is trusted)" in done.out
    assert "bundle.sig: the signature is not by key:" in done.out


def test_a_note_key(cli: Cli, data: Path) -> None:
    text = cli(
        "keygen", "third", "--no-password", "--type", "ed25519", "--note-name", "example.org/signs"
    ).out
    stranger = next(line.split()[-1] for line in text.splitlines() if line.startswith("log key:"))
    done = cli("verify", data, "--key", "maker.pub", "--note-key", stranger)
    assert done.code == 1
    assert "checkpoint: " in done.out
    assert cli("verify", data, "--key", "maker.pub", "--note-key", "nonsense").code in (2, 64)


def test_some_records(cli: Cli, data: Path) -> None:
    (data / "Yield" / "000.png").unlink()
    done = cli("verify", data, "--key", "maker.pub", "--records", "Stop/*")
    assert done.code == 0
    assert "(12 records of 24; the others were not looked at)" in done.out
    assert cli("verify", data, "--key", "maker.pub", "--records", "Yield/*").code == 1
    assert cli("verify", data, "--key", "maker.pub", "--records", "nix").code == 64


def test_strict(cli: Cli, data: Path) -> None:
    (data / ".github").mkdir()
    (data / ".github" / "x.yml").write_text("x")
    assert cli("verify", data, "--key", "maker.pub").code == 0
    done = cli("verify", data, "--key", "maker.pub", "--strict")
    assert done.code == 1
    assert "! .github/x.yml: is not signed" in done.out


def test_a_bare_bundle(cli: Cli, data: Path) -> None:
    bundle = Path("model.sig")
    bundle.write_bytes((Path("signs.seal") / "bundle.sig").read_bytes())
    done = cli("verify", data, "--signature", bundle, "--key", "maker.pub")
    assert done.code == 0
    assert done.out.splitlines()[0].endswith("sealed (24 files)")
    (data / "x").write_text("x")
    assert "1 file added\n  + x\n" in cli("verify", data, "--signature", bundle, "--key", "maker.pub").out
    assert "--signature stands alone" in cli("verify", data, "--signature", bundle, "--records", "*").error


def test_names_cannot_play_with_the_terminal(cli: Cli, data: Path) -> None:
    (data / "Stop" / "\x1b[2Jvalid.png").write_bytes(png(1))
    done = cli("verify", data, "--key", "maker.pub")
    assert done.code == 1
    assert "\x1b" not in done.out
    assert r"\x1b[2Jvalid.png" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "nowhere: no such file or folder"),
        (["signs", "--seal", "nowhere.seal"], 2, "nowhere.seal: no seal there"),
        (["signs", "--key", "maker.key"], 2, "holds a private key"),
        (["signs", "--identity", "me"], 64, "--identity goes with"),
        (["signs", "--issuer", "https://x"], 64, "--issuer goes with --identity"),
        (["signs", "--signature", "nowhere.sig"], 2, "nowhere.sig: no such file"),
    ],
)
def test_what_goes_wrong(cli: Cli, data: Path, arguments: list[str], code: int, message: str) -> None:
    done = cli("verify", *arguments)
    assert done.code == code
    assert message in done.error


def test_a_malformed_seal(cli: Cli, data: Path) -> None:
    (Path("signs.seal") / "bundle.sig").write_text("{}")
    done = cli("verify", data, "--key", "maker.pub")
    assert done.code == 2
    assert "bundle.sig" in done.error
