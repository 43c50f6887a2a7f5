"""A list into shards: what is kept, what is not and why, whatever the server does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from acquire.fetch_support import (
    LOOPBACK,
    contents_of,
    data_files,
    images_of,
    pictures,
    provenance_of,
    remnants,
    rows_of,
    run,
    site_of,
    stable_provenance,
    write_list,
)
from acquire.servers import drip, head, page, redirect, serve
from bezoar.acquire import Columns, Limits, Policy, UrlList
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.run_state import locked
from bezoar.errors import InputError, OutputError, UsageError
from cli.support import jpeg, png

FORMATS = ("webdataset", "parquet", "files")


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_as_promised_is_kept_byte_for_byte(form: str, tmp_path: Path) -> None:
    contents = pictures(25)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        report = run(path, tmp_path / "out", output_format=form)
    keys = [f"{number // 10:05d}{number % 10}" for number in range(25)]
    assert images_of(tmp_path / "out") == dict(zip(keys, contents.values(), strict=True))
    assert rows_of(tmp_path / "out", "key") == keys
    assert set(rows_of(tmp_path / "out", "verdict")) == {"verified"}
    assert (report.tally.verified, report.tally.rejected, report.shards, report.resumed) == (25, {}, 3, 0)
    assert report.tally.bytes == sum(map(len, contents.values()))
    assert not remnants(tmp_path / "out")


def test_a_row_that_is_not_kept_has_its_own_reason(tmp_path: Path) -> None:
    contents = pictures(16)
    flipped = bytearray(contents["/1.jpg"])
    flipped[-10] ^= 1
    large = jpeg(77, 64)
    site = site_of(
        contents,
        _1=page(bytes(flipped)),
        _2=page(contents["/2.jpg"][:-1]),
        _3=page(contents["/3.jpg"] + b"\0"),
        _4=head(content_length=len(contents["/4.jpg"]), connection="close") + contents["/4.jpg"][:-5],
        _5=page(b"gone", 404),
        _6=redirect("http://169.254.169.254/latest/meta-data/"),
        _7=redirect("file:///etc/passwd"),
        _8=page(contents["/8.jpg"], x_robots_tag="noai"),
        _9=drip(contents["/9.jpg"], 0.05),
        _10=page(large),
        _11=page(b"<html>a page</html>"),
    )
    promised = {
        "/10.jpg": hashlib.sha256(large).hexdigest(),
        "/11.jpg": hashlib.sha256(b"<html>a page</html>").hexdigest(),
        "/12.jpg": hashlib.sha256(contents["/12.jpg"]).hexdigest().upper(),
        "/13.jpg": "",
        "/14.jpg": "0x" + "ab" * 31,
        "/15.jpg": "c2hhMjU2",
    }
    limits = Limits(max_bytes=max(map(len, contents.values())) + 1, timeout_s=5.0, deadline_s=1.5)
    with serve(site) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents, promised)
        report = run(path, tmp_path / "out", limits=limits, per_shard=100)
        asked = server.targets()
    assert rows_of(tmp_path / "out", "reason") == [
        None, "hash_mismatch", "hash_mismatch", "hash_mismatch", "truncated", "http_status", "blocked_address", "bad_scheme",
        "opt_out", "deadline", "too_large", "decode_error", None, None, "hash_malformed", "hash_malformed",
    ]  # fmt: skip
    verdicts = rows_of(tmp_path / "out", "verdict")
    assert [verdicts[n] for n in (0, 12, 13)] == ["verified", "verified", "unverified"]
    assert set(images_of(tmp_path / "out")) == {"0000000", "0000012", "0000013"}
    assert "/14.jpg" not in asked  # what could not be compared is not even asked for
    assert report.tally.quarantined == 3
    assert sum(report.tally.rejected.values()) == 13
    held = Quarantine.at(report.state / "quarantine")
    assert [entry.key for entry in held.entries()] == ["0000001", "0000002", "0000003"]
    assert held.content(hashlib.sha256(flipped).hexdigest()) == flipped


def test_rows_that_are_no_urls_are_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(
        "file:///etc/passwd\ndata:image/png;base64,AAAA\nftp://example.org/a\nnonsense\nhttp://10.0.0.1/a.jpg\n"
    )
    run(tmp_path / "list.txt", tmp_path / "out")
    reasons = rows_of(tmp_path / "out", "reason")
    assert reasons[:3] == ["bad_scheme"] * 3
    assert reasons[3] in ("bad_url", "bad_scheme")
    assert reasons[4] == "blocked_address"
    assert not contents_of(tmp_path / "out")


def test_a_required_hash_that_is_missing_is_a_reason_and_no_request(tmp_path: Path) -> None:
    contents = pictures(3)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents, {"/1.jpg": ""})
        report = run(path, tmp_path / "out", require_hash=True)
        assert server.targets() == ["/0.jpg", "/2.jpg"]
    assert report.tally.rejected == {"hash_missing": 1}


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha512"])
def test_hashes_that_can_be_forged_verify_nothing(kind: str, tmp_path: Path) -> None:
    contents = pictures(2)
    lines = [f"url,{kind}"]
    with serve(site_of(contents)) as server:
        digests = [hashlib.new(kind, content).hexdigest() for content in contents.values()]
        digests[1] = hashlib.new(kind, b"another").hexdigest()
        lines += [f"{server.url}/{n}.jpg,{digest}" for n, digest in enumerate(digests)]
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
        run(tmp_path / "list.csv", tmp_path / "out", Columns(hash_kind=kind))
    kept = "verified" if kind == "sha512" else "unverified"
    assert rows_of(tmp_path / "out", "verdict", "reason") == [(kept, None), ("rejected", "hash_mismatch")]


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    contents = pictures(35)
    with serve(site_of(contents, _7=page(b"other"), _8=page(b"gone", 404))) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        for count in (1, 3):
            run(path, tmp_path / f"out{count}", processes=count)
    assert data_files(tmp_path / "out1") == data_files(tmp_path / "out3")
    assert stable_provenance(tmp_path / "out1") == stable_provenance(tmp_path / "out3")


def test_columns_of_the_list_come_along(tmp_path: Path) -> None:
    contents = pictures(2)
    with serve(site_of(contents)) as server:
        rows = [{"URL": f"{server.url}/{n}.jpg", "TEXT": f"é {n}", "label": n, "url": None} for n in range(2)]
        lines = [json.dumps({k: v for k, v in row.items() if k != "url"}) for row in rows]
        (tmp_path / "list.jsonl").write_text("\n".join(lines) + "\n")
        run(tmp_path / "list.jsonl", tmp_path / "out", Columns(extra=("label",)))
    members = contents_of(tmp_path / "out")
    assert members["000000.txt"].decode() == "é 0"
    assert json.loads(members["000001.json"])["label"] == 1
    assert provenance_of(tmp_path / "out")["label"].to_pylist() == ["0", "1"]


def test_a_shard_without_a_single_request_is_there_as_well(tmp_path: Path) -> None:
    contents = pictures(3)
    with serve(site_of(contents)) as server:
        path = write_list(
            tmp_path / "list.csv", server.url, contents, dict.fromkeys(("/0.jpg", "/1.jpg"), "x")
        )
        report = run(path, tmp_path / "out", per_shard=1)
        again = run(path, tmp_path / "out", per_shard=1)
    assert (report.shards, report.tally.rejected) == (3, {"hash_malformed": 2})
    assert (again.resumed, again.tally) == (3, report.tally)


def test_an_empty_list_is_an_empty_output(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url,sha256\n")
    report = run(tmp_path / "list.csv", tmp_path / "out")
    assert (report.tally.rows, report.shards) == (0, 0)


def test_pictures_of_a_wrong_size_are_refused(tmp_path: Path) -> None:
    from bezoar.acquire import Reencode

    contents = {"/0.jpg": jpeg(0, 16), "/1.jpg": png(1, 4)}
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out", images=Reencode(min_size=8))
    assert rows_of(tmp_path / "out", "reason", "detail")[1] == ("decode_error", "image too small")


def test_finished_shards_are_hashed_and_not_trusted(tmp_path: Path) -> None:
    contents = pictures(20)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out")
        before = data_files(tmp_path / "out")
        tar = tmp_path / "out" / "00001.tar"
        content = bytearray(tar.read_bytes())
        content[600] ^= 1
        tar.write_bytes(content)
        server.asked.clear()
        report = run(path, tmp_path / "out")
        assert len(server.asked) == 10
    assert (report.resumed, report.shards, report.tally.verified) == (1, 2, 20)
    assert data_files(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_shard": 5}, "rows a shard: 10, now 5"),
        ({"output_format": "files"}, "output format: webdataset, now files"),
        ({"require_hash": True}, "required hashes: False, now True"),
        ({"policy": Policy(allowed=("127.0.0.1",), opt_outs=())}, "disallowed directives: noai"),
        ({"limits": Limits(max_bytes=5)}, "largest body: 67108864, now 5"),
    ],
)
def test_an_output_is_gone_on_with_only_under_the_same_options(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    contents = pictures(2)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out")
        with pytest.raises(InputError, match=words) as caught:
            run(path, tmp_path / "out", **change)
    assert "\n" not in str(caught.value)


def test_an_output_is_gone_on_with_only_for_the_same_list(tmp_path: Path) -> None:
    contents = pictures(2)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out")
        path.write_text(path.read_text() + f"{server.url}/0.jpg,again,\n")
        with pytest.raises(InputError, match=r"was begun otherwise \(list: "):
            run(path, tmp_path / "out")


def test_speed_and_patience_may_change(tmp_path: Path) -> None:
    contents = pictures(12)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out")
        again = run(path, tmp_path / "out", processes=2, limits=Limits(retries=3, connections=2))
    assert again.resumed == 2


def test_what_is_not_ours_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("http://127.0.0.1/a.jpg\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(OutputError, match="holds files that no fetch of bezoar began"):
        run(tmp_path / "list.txt", tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is not a folder"):
        run(tmp_path / "list.txt", tmp_path / "file")
    assert (tmp_path / "out" / "precious").read_text() == "x"


def test_two_fetches_into_one_output_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("http://127.0.0.1/a.jpg\n")
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="another fetch is writing here"):
        run(tmp_path / "list.txt", tmp_path / "out")


@pytest.mark.parametrize(
    "change", [{"per_shard": 0}, {"processes": 0}, {"output_format": "tfrecord"}, {"proxy": "nonsense://x"}]
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    change: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("http://127.0.0.1/a.jpg\n")
    with pytest.raises(UsageError):
        run(tmp_path / "list.txt", tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.fetch").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', '{"version": 1, "run_id": 5}'])
def test_a_malformed_state_is_one_line(text: str, tmp_path: Path) -> None:
    contents = pictures(1)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out")
        (tmp_path / "out.fetch" / "run.json").write_text(text)
        with pytest.raises(InputError, match=r"run\.json") as caught:
            run(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_failing_list_fails_the_fetch_in_one_line_also_with_workers(tmp_path: Path) -> None:
    contents = pictures(30)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        source = UrlList.open(path)
        assert len(source) == 30
        assert source.digest
        path.write_text("\n".join(path.read_text().splitlines()[:5]) + "\n")
        from acquire.fetch_support import options
        from bezoar.acquire.fetching import fetch

        with pytest.raises(InputError, match="changed while it was read"):
            fetch(source, tmp_path / "out", options(processes=2))


def test_the_policy_of_the_tests_is_needed(tmp_path: Path) -> None:
    contents = pictures(1)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "out", policy=Policy())
    assert rows_of(tmp_path / "out", "reason") == ["blocked_address"]
    assert LOOPBACK.allowed
