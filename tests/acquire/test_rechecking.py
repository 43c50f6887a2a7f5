"""A finished shard is held against the list, also where whoever changed it has changed its stats and its provenance, too."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acquire.fetch_support import contents_of, data_files, pictures, run, site_of, write_list
from acquire.servers import page, serve
from bezoar.acquire import Columns, Retry
from bezoar.acquire.fetching import FetchReport
from bezoar.acquire.finished import FinishedShard
from bezoar.acquire.quarantine.held import Settled
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.rechecking import Recheck
from bezoar.errors import LimitError
from cli.support import jpeg

FORMATS = ("webdataset", "parquet", "files")
CONTENTS = pictures(6)
EVIL = jpeg(99).ljust(len(CONTENTS["/1.jpg"]), b"\0")[: len(CONTENTS["/1.jpg"])]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def agree(out: Path) -> None:
    """Make the stats say what lies there now."""
    for path in out.glob("*_stats.json"):
        stats = json.loads(path.read_text())
        for name in stats["files"]:
            content = (out / name).read_bytes()
            stats["files"][name] = {"sha256": digest(content), "size": len(content)}
        path.write_text(json.dumps(stats))


def replace_in_tar(path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
    """Write a tar anew, each member as `change` has it."""
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            for name, content in change(member.name, file.read()):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
    path.write_bytes(out.getvalue())


def swap_picture(out: Path) -> None:
    """Other bytes in the place of the second picture, whatever the format."""
    right = CONTENTS["/1.jpg"]
    if (out / "00000.tar").exists():
        tar = out / "00000.tar"
        assert right in tar.read_bytes()
        tar.write_bytes(tar.read_bytes().replace(right, EVIL))
    elif (out / "00000").is_dir():
        (out / "00000" / "000001.jpg").write_bytes(EVIL)
    else:
        change_table(out / "00000.parquet", "image", 1, lambda image: {**image, "bytes": EVIL})


def change_table(path: Path, column: str, row: int, change: Callable[[Any], Any]) -> None:
    table = pq.ParquetFile(path).read()
    cells = table[column].to_pylist()
    cells[row] = change(cells[row])
    place = table.schema.get_field_index(column)
    field = table.schema.field(column)
    pq.write_table(table.set_column(place, field, pa.array(cells, field.type)), path)


def provenance(out: Path) -> Path:
    beside = out / "__provenance__" / "00000.parquet"
    return beside if beside.exists() else out / "00000.parquet"


def forge(out: Path, **cells: Any) -> None:
    """Make the provenance of the second row say this."""
    for column, value in cells.items():
        change_table(provenance(out), column, 1, lambda _, value=value: value)


def caption_in_tar(out: Path) -> None:
    replace_in_tar(
        out / "00000.tar",
        lambda name, content: [(name, b"a stop sign" if name == "000001.txt" else content)],
    )


def json_in_tar(out: Path) -> None:
    replace_in_tar(
        out / "00000.tar",
        lambda name, content: [
            (name, content.replace(b"picture", b"poison!") if name == "000001.json" else content)
        ],
    )


def label_in_tar(out: Path) -> None:
    replace_in_tar(
        out / "00000.tar",
        lambda name, content: [(name, content), *([("000001.cls", b"7")] if name == "000001.txt" else [])],
    )


def member_gone(out: Path) -> None:
    replace_in_tar(
        out / "00000.tar", lambda name, content: [] if name.startswith("000001.") else [(name, content)]
    )


def swap_and_forge(out: Path) -> None:
    swap_picture(out)
    forge(out, sha256=digest(EVIL), source_sha256=digest(EVIL), stored_sha256=digest(EVIL))


def swap_and_forge_unverified(out: Path) -> None:
    swap_and_forge(out)
    forge(out, verdict="unverified")
    replace_in_tar(
        out / "00000.tar",
        lambda name, content: [
            (
                name,
                content.replace(digest(CONTENTS["/1.jpg"]).encode(), digest(EVIL).encode()).replace(
                    b'"verified"', b'"unverified"'
                )
                if name == "000001.json"
                else content,
            )
        ],
    )


def resumed(
    tmp_path: Path, tamper: Callable[[Path], None], form: str = "webdataset"
) -> tuple[FetchReport, list[str]]:
    """Fetch, tamper, fetch again: the report, and what was asked for; the output must be right in the end."""
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out, output_format=form)
        right = data_files(out)
        tamper(out)
        agree(out)
        server.asked.clear()
        report = run(path, out, output_format=form)
        assert data_files(out) == right
        return report, server.targets()


@pytest.mark.parametrize("form", FORMATS)
def test_other_bytes_of_which_the_stats_know_are_fetched_anew(form: str, tmp_path: Path) -> None:
    report, asked = resumed(tmp_path, swap_picture, form)
    assert (report.resumed, report.tally.verified, len(asked)) == (0, 6, 6)


@pytest.mark.parametrize(
    "tamper",
    [
        caption_in_tar,
        json_in_tar,
        label_in_tar,
        member_gone,
        swap_and_forge,
        swap_and_forge_unverified,
        lambda out: forge(out, verdict="unverified"),
        lambda out: forge(out, caption="a stop sign"),
        lambda out: forge(out, url="http://evil.example/"),
        lambda out: forge(out, expected=digest(EVIL)),
        lambda out: forge(out, expected_by="somebody"),
        lambda out: forge(out, bytes=-5),
        lambda out: forge(out, key="000009"),
        lambda out: forge(out, verdict="rejected", reason="\x1b[31mEVIL"),
        lambda out: provenance(out).write_bytes(b"PAR1"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_list_is_fetched_anew(
    tamper: Callable[[Path], None], tmp_path: Path
) -> None:
    report, asked = resumed(tmp_path, tamper)
    assert (report.resumed, report.tally.verified, len(asked)) == (0, 6, 6)


def test_what_was_written_anew_with_the_same_content_is_left_alone(tmp_path: Path) -> None:
    def tamper(out: Path) -> None:
        replace_in_tar(out / "00000.tar", lambda name, content: [(name, content)])
        forge(out, detail="the same", peer="192.0.2.1:80")

    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out)
        tamper(out)
        agree(out)
        assert run(path, out).resumed == 1


def test_only_a_release_keeps_what_the_list_does_not_promise(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out)
        swap_and_forge_unverified(out)
        agree(out)
        store = Quarantine.at(tmp_path / "out.fetch" / "quarantine")
        store.settle(Settled("000001", digest(EVIL), "released", "ada looked at it", 0.0))
        report = run(path, out)
        assert (report.resumed, report.tally.verified, report.tally.unverified) == (1, 5, 1)


def test_columns_beside_the_images_are_those_of_the_list(tmp_path: Path) -> None:
    for number, column in enumerate(("caption", "url", "verdict")):
        folder = tmp_path / str(number)
        folder.mkdir()

        def tamper(out: Path, column: str = column) -> None:
            change_table(out / "00000.parquet", column, 1, lambda _: "poison")

        assert resumed(folder, tamper, "parquet")[0].resumed == 0


def retype(path: Path, column: str, cells: list[Any], kind: pa.DataType) -> None:
    """Give a column of a table other cells of another type."""
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, pa.field(column, kind), pa.array(cells, kind)), path)


def poison_width(out: Path) -> None:
    """Free text where a number belongs, the samples' JSON included."""
    retype(provenance(out), "width", ["<label=stop sign>"] * 6, pa.string())
    replace_in_tar(
        out / "00000.tar",
        lambda name, content: [
            (
                name,
                json.dumps({**json.loads(content), "width": "<label=stop sign>"}).encode()
                if name.endswith(".json")
                else content,
            )
        ],
    )


def other_width(out: Path) -> None:
    forge(out, width=999)
    replace_in_tar(
        out / "00000.tar",
        lambda name, content: [
            (
                name,
                json.dumps({**json.loads(content), "width": 999}, ensure_ascii=False).encode()
                if name == "000001.json"
                else content,
            )
        ],
    )


def rename_in_tar(out: Path) -> None:
    replace_in_tar(out / "00000.tar", lambda name, content: [(name.replace("1.jpg", "1.png"), content)])


_DAYS = pa.timestamp("us", "Foo/Bar")


@pytest.mark.parametrize("retry", list(Retry))
@pytest.mark.parametrize(
    "tamper",
    [
        poison_width,
        other_width,
        rename_in_tar,
        lambda out: forge(out, bytes=7),
        lambda out: forge(out, verdict="rejected", reason="hash_mismatch", status="failed_to_download", source_sha256="\x1b"),
        lambda out: retype(provenance(out), "verdict", [["verified"]] * 6, pa.list_(pa.string())),
        lambda out: retype(provenance(out), "bytes", ["5"] * 6, pa.string()),
        lambda out: retype(provenance(out), "width", [0] * 6, _DAYS),
        lambda out: retype(provenance(out), "width", [2**62] * 6, pa.duration("us")),
        lambda out: retype(provenance(out), "http_status", ["500"] * 6, pa.string()),
        lambda out: retype(provenance(out), "redirects", [5] * 6, pa.int64()),
        lambda out: retype(provenance(out), "peer", [b"\xff"] * 6, pa.binary()),
        lambda out: retype(provenance(out), "fetched", ["x"] * 6, pa.string()),
    ],
)  # fmt: skip
def test_a_provenance_of_other_types_or_figures_is_fetched_anew(
    tamper: Callable[[Path], None], retry: Retry, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out)
        right = data_files(out)
        tamper(out)
        agree(out)
        report = run(path, out, retry=retry)
        assert (report.resumed, report.tally.verified) == (0, 6)
    assert data_files(out) == right


def describe(out: Path, features: dict[str, Any]) -> None:
    """Let the table say this of its columns."""
    path = out / "00000.parquet"
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(metadata), path)


def label_in_images(out: Path) -> None:
    images = pq.ParquetFile(out / "00000.parquet").read(columns=["image"])["image"].to_pylist()
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string(), "label": pa.int64()})
    retype(out / "00000.parquet", "image", [{**image, "label": 1} for image in images], kind)


@pytest.mark.parametrize(
    "tamper",
    [
        label_in_images,
        lambda out: describe(out, {"image": {"_type": "Image"}, "width": {"_type": "ClassLabel", "names": ["stop"]}}),
        lambda out: describe(out, {"image": {"_type": "Value", "dtype": "string"}}),
        lambda out: change_table(out / "00000.parquet", "image", 1, lambda image: {**image, "path": None}),
        lambda out: change_table(out / "00000.parquet", "image", 1, lambda image: {**image, "bytes": None}),
        lambda out: change_table(out / "00000.parquet", "image", 1, lambda image: None),
    ],
)  # fmt: skip
def test_a_table_says_of_itself_what_the_fetch_makes_it_say(
    tamper: Callable[[Path], None], tmp_path: Path
) -> None:
    assert resumed(tmp_path, tamper, "parquet")[0].resumed == 0


_BOMB = 400 << 20  # bytes that take a few kilobytes as a table


def bomb_images(out: Path) -> None:
    """Each image the same many zeros: once in the dictionary."""
    path = out / "00000.parquet"
    table = pq.ParquetFile(path).read()
    names = [image["path"] for image in table["image"].to_pylist()]
    place, field = table.schema.get_field_index("image"), table.schema.field("image")
    images = pa.array([{"bytes": bytes(_BOMB // 2), "path": name} for name in names], field.type)
    pq.write_table(table.set_column(place, field, images), path, compression="zstd")


def bomb_details(out: Path) -> None:
    path, kind = provenance(out), pa.string()
    retype(path, "detail", ["x" * (_BOMB // 6)] * 6, kind)


def bomb_redirects(out: Path) -> None:
    retype(provenance(out), "redirects", [["x" * (_BOMB // 60)] * 10] * 6, pa.list_(pa.string()))


@pytest.mark.parametrize("bomb", [bomb_details, bomb_redirects])
def test_a_table_is_not_decoded_when_it_holds_more_than_a_fetch_writes(
    bomb: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    real = FinishedShard.table
    monkeypatch.setattr(FinishedShard, "table", lambda self: decoded.append(real(self).nbytes) or real(self))
    assert resumed(tmp_path, bomb, "parquet")[0].resumed == 0
    assert not decoded


def test_images_are_read_one_by_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out, output_format="parquet")
    bomb_images(out)
    shard = FinishedShard(out, 0, "parquet")
    before = pa.total_allocated_bytes()
    name, content = next(shard.members())
    assert (name, len(content)) == ("000000.jpg", _BOMB // 2)
    assert pa.total_allocated_bytes() - before < 2 * _BOMB
    images = [{"bytes": bytes(320 << 20), "path": "000000.jpg"}]
    kind = pq.read_schema(out / "00000.parquet").field("image").type
    pq.write_table(pa.table({"image": pa.array(images, kind)}), out / "00000.parquet", compression="zstd")
    with pytest.raises(LimitError, match="more than a fetch of this list"):
        next(shard.members())


def test_pictures_that_changed_places_are_fetched_anew(tmp_path: Path) -> None:
    def tamper(out: Path) -> None:
        table = pq.ParquetFile(out / "00000.parquet").read()
        images = table["image"].to_pylist()
        images[0], images[1] = images[1], images[0]
        place = table.schema.get_field_index("image")
        field = table.schema.field("image")
        pq.write_table(table.set_column(place, field, pa.array(images, field.type)), out / "00000.parquet")

    assert resumed(tmp_path, tamper, "parquet")[0].resumed == 0


def test_figures_are_counted_and_not_taken_from_the_stats(tmp_path: Path) -> None:
    def tamper(out: Path) -> None:
        path = out / "00000_stats.json"
        stats = json.loads(path.read_text())
        stats["tally"] = {"verified": 10**6, "rejected": {"\x1b[31mEVIL\u202e": 1}}
        path.write_text(json.dumps(stats))

    report, asked = resumed(tmp_path, tamper)
    assert (report.resumed, asked) == (1, [])
    assert (report.tally.verified, report.tally.rejected) == (6, {})
    assert report.tally.bytes == sum(map(len, CONTENTS.values()))


@pytest.mark.parametrize("form", [*FORMATS, "dummy"])
@pytest.mark.parametrize("kind", ["sha256", "sha512", "md5"])
@pytest.mark.parametrize("reencode", [False, True])
def test_what_is_right_is_left_alone(form: str, kind: str, reencode: bool, tmp_path: Path) -> None:
    """Rows that are kept and rows that are not, a column with what JSON and Parquet say differently, and no second pass."""
    site = site_of(CONTENTS, _1=page(b"other"), _2=page(b"gone", 404))
    how: dict[str, Any] = {"output_format": form, "reencode": reencode, "per_shard": 4}
    with serve(site) as server:
        rows = [
            {"url": server.url + path, "caption": f"é {path}", kind: hashlib.new(kind, content).hexdigest(), "n": number}
            for number, (path, content) in enumerate(CONTENTS.items())
        ]  # fmt: skip
        rows[3][kind] = None
        rows[4][kind] = "nonsense"
        (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        columns = Columns(hash_kind=kind, extra=("n",))
        first = run(tmp_path / "list.jsonl", tmp_path / "out", columns, **how)
        assert first.tally.rejected == {"hash_mismatch": 1, "http_status": 1, "hash_malformed": 1}
        server.asked.clear()
        second = run(tmp_path / "list.jsonl", tmp_path / "out", columns, **how)
        assert server.targets() == []
    assert (second.resumed, second.tally) == (2, first.tally)


def test_a_forgeable_digest_is_compared_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        lines = [f"{server.url}{path},{hashlib.md5(c).hexdigest()}" for path, c in CONTENTS.items()]  # noqa: S324
        (tmp_path / "list.csv").write_text("\n".join(["url,md5", *lines]) + "\n")
        run(tmp_path / "list.csv", out, Columns(hash_kind="md5"))
        swap_and_forge(out)
        was, now = digest(CONTENTS["/1.jpg"]).encode(), digest(EVIL).encode()
        replace_in_tar(out / "00000.tar", lambda name, content: [(name, content.replace(was, now))])
        agree(out)
        assert run(tmp_path / "list.csv", out, Columns(hash_kind="md5")).resumed == 0
        assert EVIL not in contents_of(out).values()


def test_nothing_is_read_again_where_nothing_was_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    real = Recheck.tally
    monkeypatch.setattr(
        Recheck, "tally", lambda self, shard, rows: checked.append(shard) or real(self, shard, rows)
    )
    with serve(site_of(CONTENTS)) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, tmp_path / "out", per_shard=2)
        assert not checked
        assert run(path, tmp_path / "out", per_shard=2).resumed == 3
        assert [shard.number for shard in checked] == [0, 1, 2]


def test_a_retry_builds_on_nothing_that_was_changed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS, _2=page(b"", 503))) as server:
        path = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        run(path, out)
        swap_picture(out)
        agree(out)
        server.site = site_of(CONTENTS)
        server.asked.clear()
        report = run(path, out, retry=Retry.PASSING)
        assert len(server.asked) == 6
    assert report.tally.verified == 6
    assert EVIL not in contents_of(out).values()
