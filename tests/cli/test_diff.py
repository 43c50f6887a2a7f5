from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.seal_support import sealed
from cli.support import Cli, image_folder, png


@pytest.fixture
def folder(cli: Cli) -> Path:
    return image_folder(Path("signs"))


def test_no_difference(cli: Cli, folder: Path) -> None:
    old, new = sealed(folder), sealed(folder, Path("again.seal"))
    outcome = cli("diff", old, new)
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].startswith("A: signs, 8 records, snapshot ")
    assert outcome.out.splitlines()[2:] == ["no difference"]
    assert cli("diff", folder, new).code == 0, "a dataset stands for the seal beside it"


def test_what_changed(cli: Cli, folder: Path) -> None:
    old = sealed(folder, Path("old.seal"))
    (folder / "Stop" / "000.png").unlink()
    (folder / "Stop" / "zzz.png").write_bytes(png(99))
    (folder / "Yield" / "001.png").write_bytes(png(98, side=20))
    new = sealed(folder)
    outcome = cli("diff", old, new)
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert "1 added" in lines
    assert "  + Stop/zzz.png (Stop)" in lines
    assert "1 removed" in lines
    assert "  - Stop/000.png (Stop)" in lines
    assert "1 changed" in lines
    assert any(line.startswith("  ~ Yield/001.png (") and line.endswith(" bytes)") for line in lines)
    assert lines[-3:] == ["by label", "  Stop: 1 added, 1 removed", "  Yield: 1 changed"]


def test_json_names_all_of_them_and_counts_last(cli: Cli, folder: Path) -> None:
    old = sealed(folder, Path("old.seal"))
    for number in range(40):
        (folder / "Stop" / f"new {number:02d}.png").write_bytes(png(500 + number))
    (folder / "Yield" / "001.png").write_bytes(png(98))
    new = sealed(folder)
    outcome = cli("diff", old, new, "--format", "json")
    assert outcome.code == 1
    result = json.loads(outcome.out)
    assert len(result["differences"]) == 41
    assert result["counts"] == {
        "added": 40,
        "removed": 0,
        "changed": 1,
        "relabelled": 0,
        "both": 0,
        "resourced": 0,
    }
    assert result["labels"] == [
        {"before": "Stop", "after": "Stop", "counts": {"added": 40}},
        {"before": "Yield", "after": "Yield", "counts": {"changed": 1}},
    ]
    assert (result["before"]["records"], result["after"]["records"]) == (8, 48)
    last = result["differences"][-1]
    assert (last["key"], last["kind"], last["differs"]) == ("Yield/001.png", "changed", ["content"])
    assert last["before"]["sha256"] != last["after"]["sha256"]
    assert result["differences"][0]["before"] is None
    text = cli("diff", old, new).out
    assert "    and 30 more; --format json lists all" in text.splitlines()


def test_labels_and_sources(cli: Cli) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def seal_table(labels: list[str], sites: list[str], out: str) -> Path:
        pq.write_table(
            pa.table({"text": ["one", "two", "three"], "label": labels, "site": sites}), "t.parquet"
        )
        return sealed(Path("t.parquet"), Path(out))

    old = seal_table(["a", "a", "b"], ["x", "x", "x"], "old.seal")
    new = seal_table(["a", "b", "b"], ["x", "x", "y"], "new.seal")
    lines = cli("diff", old, new).out.splitlines()
    assert "1 relabelled" in lines
    assert any(line.startswith("  > ") and line.endswith("(a -> b)") for line in lines)
    assert "1 re-sourced" in lines
    assert any(line.startswith("  @ ") and line.endswith("(source: site)") for line in lines)
    assert "  a -> b: 1 relabelled" in lines
    result = json.loads(cli("diff", old, new, "--format", "json").out)
    assert [each["kind"] for each in result["differences"]] == ["relabelled", "resourced"]
    assert result["differences"][1]["after"]["source"] == {"site": "y"}


def test_hostile_keys_do_not_drive_the_terminal(cli: Cli, folder: Path) -> None:
    old = sealed(folder, Path("old.seal"))
    (folder / "Stop" / "\x1b[2J\u202e.png").write_bytes(png(99))
    outcome = cli("diff", old, sealed(folder))
    assert "\x1b" not in outcome.out
    assert "\u202e" not in outcome.out
    assert "\\x1b[2J\\u202e.png" in outcome.out


def test_errors(cli: Cli, folder: Path) -> None:
    seal = sealed(folder)
    assert "no seal there" in cli("diff", seal, "nowhere").error
    Path("unsealed").mkdir()
    assert cli("diff", "unsealed", seal).code == 2
    tile = next(seal.glob("tile/0/*.p/*"))
    tile.write_bytes(bytes(len(tile.read_bytes())))
    outcome = cli("diff", seal, seal)
    assert outcome.code == 2, "1 would say that there are differences"
    assert "the tiles do not give the snapshot" in outcome.error
    tile.unlink()
    assert "missing" in cli("diff", seal, seal).error
    assert cli("diff", seal).code == 64


def test_a_file_that_moved_to_another_class(cli: Cli, folder: Path) -> None:
    old = sealed(folder, Path("old.seal"))
    (folder / "Stop" / "000.png").rename(folder / "Yield" / "moved.png")
    (folder / "Stop" / "new.png").write_bytes(png(77))
    new = sealed(folder)
    lines = cli("diff", old, new).out.splitlines()
    assert "1 of these moved: removed under one key, added under another" in lines
    assert "    Stop/000.png -> Yield/moved.png (Stop -> Yield)" in lines
    result = json.loads(cli("diff", old, new, "--format", "json").out)
    assert result["moved"] == [{"before": "Stop/000.png", "after": "Yield/moved.png"}]
    assert result["moved_complete"] is True
    assert result["counts"]["added"] == 2, "it is counted as added and as removed all the same"
