"""The data against the seal, in every kind of dataset: all keys and labels, and the contents that were drawn."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bezoar.custody.audit.data_check import check_all, check_sample
from bezoar.custody.audit.irregularities import Irregularity
from bezoar.custody.audit.sampling import Plan, draw
from bezoar.custody.seal.sealing import Seal, seal
from bezoar.data import open as open_dataset
from bezoar.data import write
from bezoar.data.image_files import MAX_BYTES
from cli.support import image_folder, parquet, png, tar
from custody.audit.support import signer_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEZOAR_CACHE", str(tmp_path / "cache"))


def files(path: Path) -> Path:
    (path / "below").mkdir(parents=True)
    for name in ("a.bin", "b.bin", "below/c.bin"):
        (path / name).write_bytes(name.encode())
    return path


def one_file(path: Path) -> Path:
    path.write_bytes(b"just some bytes")
    return path


def shard(path: Path) -> Path:
    return tar(
        path,
        {
            f"{n:03d}{suffix}": png(n) if suffix == ".png" else b"1"
            for n in range(4)
            for suffix in (".cls", ".png")
        },
    )


KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "images": (image_folder, "d"),
    "files": (files, "d"),
    "one file": (one_file, "d.bin"),
    "parquet": (parquet, "d.parquet"),
    "tar": (shard, "d.tar"),
}


def sealed(kind: str, root: Path) -> tuple[Path, Seal, Plan]:
    make, name = KINDS[kind]
    path = make(root / name)
    made = seal(path, signer_of("ada"))
    return path, made, Plan(len(made.manifest), len(made.manifest), 0.95, 0.0)


def everything(path: Path, made: Seal) -> list[Irregularity]:
    return check_all(path, made, made.stated).irregularities


def sampled(path: Path, made: Seal, plan: Plan, seed: int) -> list[Irregularity]:
    return check_sample(path, made, made.stated, plan, seed).irregularities


def codes(found: object) -> dict[str, tuple[str, ...]]:
    return {each.code: each.keys for each in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_touched_is_in_order(kind: str, tmp_path: Path) -> None:
    path, made, plan = sealed(kind, tmp_path)
    assert everything(path, made) == []
    assert sampled(path, made, plan, 1) == []


@pytest.mark.parametrize("kind", ["images", "files"])
def test_files_that_change_come_or_go(kind: str, tmp_path: Path) -> None:
    path, made, plan = sealed(kind, tmp_path)
    names = [row.key for row in made.manifest.rows()]
    (path / names[0]).write_bytes(png(99))
    (path / names[1]).unlink()
    (path / names[2]).with_name("new.png").write_bytes(png(98))
    new = str(Path(names[2]).with_name("new.png"))
    for found in (
        codes(everything(path, made)),
        codes(sampled(path, made, plan, 1)),
    ):
        assert found == {"data-changed": (names[0],), "data-missing": (names[1],), "data-added": (new,)}


def test_a_changed_single_file(tmp_path: Path) -> None:
    path, made, plan = sealed("one file", tmp_path)
    path.write_bytes(b"other bytes")
    assert codes(sampled(path, made, plan, 1)) == {"data-changed": ("d.bin",)}


def test_a_changed_row(tmp_path: Path) -> None:
    path, made, plan = sealed("parquet", tmp_path)
    table = pq.read_table(path)
    images, labels = table["image"].to_pylist(), table["label"].to_pylist()
    images[2]["bytes"] = png(99)
    labels[3] = "Yield"
    import pyarrow as pa

    pq.write_table(pa.table({"image": images, "label": labels}), path)
    keys = [row.key for row in made.manifest.rows()]
    found = codes(sampled(path, made, plan, 1))
    assert found == {"data-changed": (keys[2],), "data-relabelled": (keys[3],)}


def test_a_changed_member_of_a_shard(tmp_path: Path) -> None:
    path, made, plan = sealed("tar", tmp_path)
    members = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            members[member.name] = file.read()
    members["002.png"] = png(99)
    path.unlink()
    tar(path, members)
    assert list(codes(sampled(path, made, plan, 1))) == ["data-changed"]


def test_only_what_is_drawn_is_read(tmp_path: Path) -> None:
    path, made, _ = sealed("images", tmp_path)
    names = [row.key for row in made.manifest.rows()]
    drawn = set(draw(8, 3, seed=5).tolist())
    for place, name in enumerate(names):
        if place not in drawn:
            (path / name).write_bytes(png(99))
    assert sampled(path, made, Plan(8, 3, 0.95, 0.3), 5) == []
    (path / names[min(drawn)]).write_bytes(png(99))
    assert codes(sampled(path, made, Plan(8, 3, 0.95, 0.3), 5)) == {"data-changed": (names[min(drawn)],)}


def test_a_file_beside_the_records(tmp_path: Path) -> None:
    path, made, plan = sealed("images", tmp_path)
    (path / "run.py").write_text("import os")
    for found in (everything(path, made), sampled(path, made, plan, 1)):
        assert [each.code for each in found] == ["data-problem"]
        assert "'run.py' was added" in found[0].what


@pytest.mark.parametrize("look", ["all", "sample"])
def test_everything_is_gone(look: str, tmp_path: Path) -> None:
    path, made, plan = sealed("images", tmp_path)
    shutil.rmtree(path)
    path.mkdir()
    found = codes(everything(path, made) if look == "all" else sampled(path, made, plan, 1))
    assert len(found["data-missing"]) == 8
    assert "no-data" in found or look == "all"


@pytest.mark.parametrize("look", ["all", "sample"])
def test_records_that_cannot_be_read(look: str, tmp_path: Path) -> None:
    path, made, plan = sealed("parquet", tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    found = codes(everything(path, made) if look == "all" else sampled(path, made, plan, 1))
    assert "no-data" in found
    assert ("data-problem" in found) is (look == "all")  # the file's digest is known only where it was read


@pytest.mark.parametrize("look", ["all", "sample"])
def test_a_record_that_is_too_large_to_be_read_hides_nothing(look: str, tmp_path: Path) -> None:
    path, made, plan = sealed("images", tmp_path)
    os.truncate(path / "Stop" / "000.png", MAX_BYTES + 1)
    found = everything(path, made) if look == "all" else sampled(path, made, plan, 1)
    assert "no-data" not in codes(found)
    assert "Stop/000.png" in codes(found)["data-changed" if look == "all" else "data-problem"]


def test_a_mask_that_changes(tmp_path: Path) -> None:
    def shard_with(mask: bytes) -> Path:
        members = {"0.cls": b"1", "0.png": png(0), "0.mask.png": mask}
        return tar(tmp_path / "d.tar", {**members, "1.cls": b"0", "1.png": png(1)})

    made = seal(shard_with(png(5)), signer_of("ada"))
    path = shard_with(png(6))
    plan = Plan(2, 2, 0.95, 0.0)
    assert codes(everything(path, made))["data-resourced"] == ("0",)
    assert codes(sampled(path, made, plan, 1)) == {"data-resourced": ("0",)}


def test_classes_that_change_their_numbers(tmp_path: Path) -> None:
    def table(names: list[str]) -> Path:
        feature = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        columns = pa.table({"image": [png(0), png(1)], "label": [names.index("a"), names.index("b")]})
        pq.write_table(
            columns.replace_schema_metadata({"huggingface": json.dumps(feature)}), tmp_path / "d.parquet"
        )
        return tmp_path / "d.parquet"

    made = seal(table(["a", "b"]), signer_of("ada"))
    path, plan = table(["b", "a"]), Plan(2, 2, 0.95, 0.0)
    for found in (everything(path, made), sampled(path, made, plan, 1)):
        assert {each.code for each in found} == {"data-problem"}
        assert any("the order of the classes is not what was sealed" in each.what for each in found)


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_a_file_beside_the_shards_is_read(kind: str, tmp_path: Path) -> None:
    """The loader that is run with the data, changed within: no record tells of it."""
    folder = tmp_path / "shards"
    folder.mkdir()
    make, name = KINDS[kind]
    make(folder / name)
    (folder / "loader.py").write_text("# does nothing\n")
    made = seal(folder, signer_of("ada"))
    plan = Plan(len(made.manifest), 1, 0.95, 0.5)
    assert sampled(folder, made, plan, 1) == []
    assert check_sample(folder, made, made.stated, plan, 1).unread == (name,)
    (folder / "loader.py").write_text("import os\n")
    found = sampled(folder, made, plan, 1)
    assert [each.code for each in found] == ["data-problem"]
    assert "'loader.py' was changed" in found[0].what


def test_a_stream_that_the_dataset_does_not_name_is_read(tmp_path: Path) -> None:
    """Only the Arrow files with records are read in parts."""
    folder = tmp_path / "saved"
    write(open_dataset(parquet(tmp_path / "d.parquet")), folder, "arrow")
    (folder / "old").mkdir()
    for name in ("old/x.arrow", "y.arrow"):
        (folder / name).write_bytes(b"1")
    made = seal(folder, signer_of("ada"))
    plan = Plan(len(made.manifest), 1, 0.95, 0.5)
    assert sampled(folder, made, plan, 1) == []
    assert check_sample(folder, made, made.stated, plan, 1).unread == ("data-00000-of-00001.arrow",)
    for name in ("old/x.arrow", "y.arrow"):
        (folder / name).write_bytes(b"2")
    found = sampled(folder, made, plan, 1)
    assert [each.code for each in found] == ["data-problem"]
    assert "'old/x.arrow' was changed, 'y.arrow' was changed" in found[0].what


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("put", [put_pipe, put_link])
@pytest.mark.parametrize("kind", ["images", "files"])
@pytest.mark.parametrize("look", ["all", "sample"])
def test_what_cannot_be_sealed_does_not_stop_the_look_at_the_rest(
    put: Callable[[Path], None], kind: str, look: str, tmp_path: Path
) -> None:
    path, made, plan = sealed(kind, tmp_path)
    names = [row.key for row in made.manifest.rows()]
    (path / names[0]).write_bytes(png(99))
    put(path / "odd")
    found = everything(path, made) if look == "all" else sampled(path, made, plan, 1)
    assert {each.code for each in found} <= {"data-changed", "data-problem"}
    assert any("odd" in each.what for each in found if each.code == "data-problem")
    if (look, kind, put) == ("sample", "images", put_link):  # no image is read from a folder that has links
        assert max(each.affected for each in found) == len(names)
    else:
        assert codes(found)["data-changed"] == (names[0],)


@pytest.mark.parametrize("put", [put_pipe, put_link])
@pytest.mark.parametrize("look", ["all", "sample"])
def test_a_record_that_became_something_else(put: Callable[[Path], None], look: str, tmp_path: Path) -> None:
    """Whatever can be read of the others: it is said, and is no reason to say nothing."""
    path, made, plan = sealed("images", tmp_path)
    names = [row.key for row in made.manifest.rows()]
    (path / names[0]).unlink()
    put(path / names[0])
    found = everything(path, made) if look == "all" else sampled(path, made, plan, 1)
    assert "no-data" not in codes(found)
    assert any(names[0] in each.what for each in found if each.code == "data-problem")
    assert any(names[0] in each.keys for each in found)
