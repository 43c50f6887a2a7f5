"""`bezoar fetch` of a list: what it says, what it refuses, and the spellings of img2dataset."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acquire.fetch_support import images_of, pictures, rows_of, site_of, write_list
from acquire.servers import Server, page, serve
from bezoar import progress
from bezoar.acquire.lists.reading import UrlList
from bezoar.acquire.lists.signing import sign_index
from bezoar.custody.signing.keys import load_private
from bezoar.custody.signing.signers import KeySigner
from cli.life_support import desk
from cli.support import Cli

CONTENTS = pictures(12)
LOOPBACK = ("--allow-host", "127.0.0.1", "--processes-count", 1, "--number-sample-per-shard", 10)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(site_of(CONTENTS)) as running:
        yield running


@pytest.fixture
def urls(server: Server, tmp_path: Path) -> Path:
    return write_list(tmp_path / "list.csv", server.url, CONTENTS)


def test_all_is_well(cli: Cli, urls: Path) -> None:
    done = cli("fetch", urls, "out", *LOOPBACK)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "out: 12 of 12 rows kept, 2 shards"
    assert done.out.splitlines()[1].split() == ["verified", "12", "100", "%"]
    assert done.out.splitlines()[-1] == "next: bezoar seal out --key KEY"
    assert not done.err
    again = cli("fetch", urls, "out", *LOOPBACK)
    assert again.out.splitlines()[0] == "out: 12 of 12 rows kept, 2 shards, 2 of them already there"


def test_what_is_rejected_is_told_by_reason(cli: Cli, server: Server, urls: Path) -> None:
    server.site = site_of(CONTENTS, _1=page(b"other"), _2=page(b"gone", 404), _3=page(b"gone", 410))
    done = cli("fetch", urls, "out", *LOOPBACK)
    assert done.code == 1
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["verified", "9"],
        ["http_status", "2"],
        ["hash_mismatch", "1"],
    ]
    assert lines[-2] == "next: bezoar quarantine ls out"


def test_the_result_as_json(cli: Cli, server: Server, urls: Path) -> None:
    server.site = site_of(CONTENTS, _1=page(b"other"))
    done = cli("fetch", urls, "out", *LOOPBACK, "--format", "json")
    assert done.code == 1
    value = json.loads(done.out)
    assert value["version"] == 1
    assert (value["out"], value["state"]) == ("out", "out.fetch")
    assert (value["rows"], value["kept"], value["verified"], value["unverified"]) == (12, 11, 11, 0)
    assert (value["rejected"], value["quarantined"]) == ({"hash_mismatch": 1}, 1)
    assert (value["shards"], value["resumed"], value["seal"]) == (2, 0, None)
    assert value["list"] == {"sha256": UrlList.open(urls).digest, "signed_by": None}


def test_a_command_line_of_img2dataset(cli: Cli, urls: Path, tmp_path: Path) -> None:
    done = cli(
        "fetch", f"--url_list={urls}", "--output_folder", tmp_path / "out", "--input_format", "csv", "--url_col", "url",
        "--caption_col", "caption", "--output_format", "webdataset", "--processes_count", "1", "--thread_count", "16",
        "--number_sample_per_shard", "5", "--retries", "2", "--timeout", "10", "--verify_hash", '["sha256","sha256"]',
        "--compute_hash", "sha256", "--distributor", "multiprocessing", "--subjob_size", "1000", "--enable_wandb", "False",
        "--incremental_mode", "incremental", "--max_shard_retry", "1", "--oom_shard_count", "5", "--skip_reencode", "True",
        "--extract_exif", "False", "--disable_all_reencoding", "--min_image_size", "0", "--max_aspect_ratio", "inf",
        "--disallowed_header_directives", "['noai', 'noindex']", "--user_agent_token", "tester", "--resize_mode", "keep_ratio",
        "--allow_host", "127.0.0.1",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert list(images_of(tmp_path / "out").values()) == list(CONTENTS.values())


def test_none_and_compressed_kinds_as_img2dataset_writes_them(cli: Cli, urls: Path, tmp_path: Path) -> None:
    packed = tmp_path / "list.csv.gz"
    packed.write_bytes(gzip.compress(urls.read_bytes()))
    none = ("--caption_col", "None", "--user_agent_token", "None", "--save_additional_columns", "None")
    done = cli("fetch", packed, "out", *LOOPBACK, "--input_format", "csv.gz", *none)
    assert done.code == 0, done.err
    assert "12 of 12 rows kept" in done.out


def test_re_encoding_keeps_both_hashes(cli: Cli, urls: Path) -> None:
    done = cli("fetch", urls, "out", *LOOPBACK, "--image_size", 8, "--resize_mode", "center_crop")
    assert done.code == 0, done.err
    stored = {hashlib.sha256(content).hexdigest() for content in images_of(Path("out")).values()}
    assert set(rows_of(Path("out"), "stored_sha256")) == stored
    sources = [hashlib.sha256(content).hexdigest() for content in CONTENTS.values()]
    assert rows_of(Path("out"), "source_sha256") == sources
    assert set(rows_of(Path("out"), "width", "height", "original_width")) == {(8, 8, 16)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output_format", "tfrecord"], "tfrecord: is not offered"),
        (["--distributor", "pyspark"], "no distributor 'pyspark'; known: multiprocessing, ray"),
        (["--incremental_mode", "overwrite"], "--incremental-mode overwrite: an output is only ever gone on with"),
        (["--compute_hash", "md5"], "--compute-hash md5: sha256 is what is computed"),
        (["--enable_wandb", "True"], "--enable-wandb True: nothing is reported"),
        (["--enable_wandb"], "--enable-wandb true: nothing is reported"),
        (["--bbox_col", "boxes"], "--bbox-col boxes"),
        (["--extract_exif", "True"], "--extract-exif True: EXIF data are made no column"),
        (["--extract_exif"], "--extract-exif true: EXIF data are made no column"),
        (["--upscale_interpolation", "nearest"], "--upscale-interpolation nearest"),
        (["--oom_shard_count", "8"], "--oom-shard-count 8"),
        (["--verify_hash", "sha256"], "--verify-hash: give the column and its kind"),
        (["--verify_hash", "sha256,crc32"], "no digest 'crc32'"),
        (["--verify_hash", "[1, 2]"], "is no list of words"),
        (["--resize_mode", "stretch"], "'stretch' is not one of"),
        (["--max_aspect_ratio", "-1"], "is not a number above 0"),
        (["--timeout", "soon"], "is not a number above 0"),
        (["--timeout", "inf"], "a timeout of inf s; give at most 86,400"),
        (["--timeout", "1e30"], "a timeout of 1e+30 s; give at most 86,400"),
        (["--proxy", "é"], "the proxy has characters that no URL has"),
        (["--proxy", "nonsense://x"], "no kind of proxy 'nonsense'; known: http, https, socks4"),
        (["--proxy", "http://me:secret@"], "the proxy has no host"),
        (["--proxy", "http://way.example:99999"], "the proxy has no valid port"),
        (["--proxy", ""], "the proxy has no host"),
        (["--user_agent_token", "a b"], "is no user agent token"),
        (["--encode_quality", "101"], "101 is not in the range"),
        (["--encode_format", "png", "--encode_quality", "50"], "lies outside 0 to 9"),
        (["--log", "log"], "--log goes with a signer"),
        (["--origin", "here"], "--origin goes with a signer"),
        (["--url_list", "other.csv"], "SOURCE is given twice"),
        (["--output_folder", "other"], "OUT is given twice"),
        (["--no_such_option"], "No such option"),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_one_line(options: list[str], words: str, cli: Cli, urls: Path) -> None:
    done = cli("fetch", urls, "out", *LOOPBACK, *options)
    assert done.code == 64
    assert words in done.error
    assert "secret" not in done.error
    assert not Path("out").exists()
    assert not Path("out.fetch").exists()


@pytest.mark.parametrize("options", [("--timeout", "inf"), ("--proxy", "é"), ("--allow-host", "a/b")])
def test_a_list_at_a_url_leaves_nothing_behind_either(
    options: tuple[str, str], cli: Cli, server: Server
) -> None:
    done = cli("fetch", "--url-list", server.url + "/list.csv", "--output-folder", "out", *options)
    assert done.code in (2, 64)
    assert not Path("out.fetch").exists()


def test_a_file_of_authorities_may_have_any_name(cli: Cli, urls: Path, tmp_path: Path) -> None:
    (tmp_path / "é.pem").write_bytes(b"")
    assert cli("fetch", urls, "out", *LOOPBACK, "--ca-file", tmp_path / "é.pem").code == 0


def test_source_and_output_must_be_given(cli: Cli, urls: Path) -> None:
    assert "no SOURCE is given" in cli("fetch").error
    done = cli("fetch", urls)
    assert (done.code, "no OUT is given" in done.error) == (64, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), ("caption\nx\n", "no column url"), ("", "")],
)
def test_a_list_that_is_none_is_one_line(content: str | None, words: str, cli: Cli, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
    done = cli("fetch", tmp_path / "bad.csv", "out")
    assert done.code == 2
    assert words in done.error
    assert not Path("out").exists()


def test_the_output_is_sealed_and_the_log_is_told(
    cli: Cli, server: Server, urls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    desk(cli, tmp_path)
    server.site = site_of(CONTENTS, _1=page(CONTENTS["/2.jpg"]))
    signer = (
        "--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key", "--origin", "the lab",
    )  # fmt: skip
    done = cli("fetch", urls, tmp_path / "out", *LOOPBACK, *signer, "--format", "json")
    assert done.code == 1, done.err
    assert len(json.loads(done.out)["seal"]["snapshot"]) == 64
    assert cli("verify", tmp_path / "out", "--key", tmp_path / "ada.pub").code == 0
    shown = cli("log", "show", tmp_path / "log").out
    for kind in ("acquired", "quarantined", "sealed"):
        assert kind in shown
    again = cli("fetch", urls, tmp_path / "out", *LOOPBACK, *signer)
    assert again.code == 1
    assert "  sealed: " in again.out


def test_keys_are_read_before_anything_is_fetched(cli: Cli, server: Server, urls: Path) -> None:
    done = cli("fetch", urls, "out", *LOOPBACK, "--key", "missing.key")
    assert done.code == 2
    assert "missing.key" in done.error
    assert not server.asked


def test_an_output_without_a_record_is_not_sealed(
    cli: Cli, server: Server, urls: Path, tmp_path: Path
) -> None:
    assert cli("keygen", tmp_path / "ada", "--no-password").code == 0
    server.site = {}
    done = cli("fetch", urls, "out", *LOOPBACK, "--key", tmp_path / "ada.key")
    assert done.code == 1, done.err
    assert "0 of 12 rows kept" in done.out
    assert done.out.splitlines()[-1] == "  not sealed: nothing was kept"
    assert not Path("out.seal").exists()


def test_a_list_without_rows_is_not_sealed(cli: Cli, tmp_path: Path) -> None:
    assert cli("keygen", tmp_path / "ada", "--no-password").code == 0
    (tmp_path / "list.csv").write_text("url,caption,sha256\n")
    done = cli("fetch", tmp_path / "list.csv", "out", *LOOPBACK, "--key", tmp_path / "ada.key")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "  not sealed: nothing was kept"
    assert "next:" not in cli("fetch", tmp_path / "list.csv", "out", *LOOPBACK).out


def test_where_nothing_is_kept_the_log_is_told_what_lies_in_quarantine(
    cli: Cli, server: Server, urls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    desk(cli, tmp_path)
    server.site = dict.fromkeys(server.site, page(b"other"))
    told = ("--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key")
    done = cli("fetch", urls, tmp_path / "out", *LOOPBACK, *told)
    assert done.code == 1, done.err
    assert "  not sealed: nothing was kept" in done.out.splitlines()
    assert not (tmp_path / "out.seal").exists()
    shown = cli("log", "show", tmp_path / "log").out
    assert [kind in shown for kind in ("acquired", "quarantined", "sealed")] == [True, True, False]
    entries = shown.splitlines()[0]
    assert cli("fetch", urls, tmp_path / "out", *LOOPBACK, *told).code == 1
    assert cli("log", "show", tmp_path / "log").out.splitlines()[0] == entries  # nothing is told twice
    server.site = site_of(CONTENTS, _1=page(b"other"))
    right = cli("fetch", urls, tmp_path / "out", *LOOPBACK, *told, "--retry-failed", "all")
    assert "11 of 12 rows kept" in right.out, right.err
    sources = '[sources]\ncolumn = "url"\n'
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text().partition("[review]")[0] + sources)
    audit = cli("audit", tmp_path / "out", "--log", tmp_path / "log", "--policy", policy, "--full")
    assert (audit.code, "= closing 1\n" in audit.out) == (0, True), audit.out + audit.err


def test_only_a_signed_list_is_fetched_when_a_signature_is_demanded(
    cli: Cli, server: Server, urls: Path, tmp_path: Path
) -> None:
    assert cli("keygen", tmp_path / "ada", "--no-password").code == 0
    assert cli("keygen", tmp_path / "eve", "--no-password").code == 0
    demand = (*LOOPBACK, "--index-key", tmp_path / "ada.pub")
    unsigned = cli("fetch", urls, "out", *demand)
    assert unsigned.code in (1, 2)
    sign_index(UrlList.open(urls), KeySigner(load_private(tmp_path / "ada.key")))
    stranger = cli("fetch", urls, "out", *LOOPBACK, "--index-key", tmp_path / "eve.pub")
    assert stranger.code == 1
    assert not server.asked
    done = cli("fetch", urls, "out", *demand)
    assert done.code == 0, done.err
    assert "  list signed by " in done.out
    by = json.loads(cli("fetch", urls, "out", *demand, "--format", "json").out)["list"]["signed_by"]
    assert set(rows_of(Path("out"), "expected_by")) == {by}
    server.asked.clear()
    urls.write_text(urls.read_text().replace("picture /3.jpg", "picture /4.jpg"))
    changed = cli("fetch", urls, "out2", *demand)
    assert changed.code == 1
    assert len(changed.err.splitlines()) == 1
    assert not server.asked
    assert not Path("out2").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "no column of SHA-256s is read"),
        (("--verify-hash", "md5,md5"), "md5 binds no content"),
        (("--verify-hash", "digest,sha256"), None),
    ],
)
def test_the_column_that_is_read_must_be_one_that_a_signature_binds(
    options: tuple[str, ...], words: str | None, cli: Cli, server: Server, urls: Path, tmp_path: Path
) -> None:
    assert cli("keygen", tmp_path / "ada", "--no-password").code == 0
    first, *rows = urls.read_text().splitlines()
    lines = [first.replace("sha256", "digest") + ",md5", *(f"{row},{'0' * 32}" for row in rows)]
    urls.write_text("\n".join(lines))
    signed = cli("index", "sign", urls, "--verify-hash", "digest,sha256", "--key", tmp_path / "ada.key")
    assert signed.code == 0, signed.err
    server.site = dict.fromkeys(server.site, page(pictures(1, 99)["/0.jpg"]))
    done = cli("fetch", urls, "out", *LOOPBACK, "--index-key", tmp_path / "ada.pub", *options)
    if words is None:
        assert (done.code, "0 of 12 rows kept" in done.out) == (1, True)
        return
    assert (done.code, words in done.error) == (64, True)
    assert not server.asked
    assert not Path("out").exists()


def test_a_list_may_not_be_gone_on_with_without_its_signature(cli: Cli, urls: Path, tmp_path: Path) -> None:
    assert cli("keygen", tmp_path / "ada", "--no-password").code == 0
    sign_index(UrlList.open(urls), KeySigner(load_private(tmp_path / "ada.key")))
    assert cli("fetch", urls, "out", *LOOPBACK, "--index-key", tmp_path / "ada.pub").code == 0
    done = cli("fetch", urls, "out", *LOOPBACK)
    assert done.code == 2
    assert "signer of the list" in done.error


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_columns_of_views_are_carried_along(cli: Cli, server: Server, tmp_path: Path, form: str) -> None:
    table = {"url": [server.url + "/1.jpg"], "note": pa.array(["a"], pa.string_view())}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    carried = ("--save-additional-columns", "note", "--output-format", form)
    done = cli("fetch", tmp_path / "list.parquet", "out", *LOOPBACK, *carried)
    assert done.code == 0, done.err
    assert rows_of(Path("out"), "note") == ["a"]


def test_failed_rows_are_fetched_again_on_demand(cli: Cli, server: Server, urls: Path) -> None:
    server.site = site_of(CONTENTS, _1=page(b"", 503), _2=page(b"other"))
    assert cli("fetch", urls, "out", *LOOPBACK, "--retries", 0).code == 1
    server.site = site_of(CONTENTS)
    assert "11 of 12 rows kept" in cli("fetch", urls, "out", *LOOPBACK, "--retry-failed").out
    done = cli("fetch", urls, "out", *LOOPBACK, "--retry-failed", "all")
    assert done.code == 0
    assert "12 of 12 rows kept" in done.out


def test_the_bar_has_room_for_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    with progress.enabled(True), progress.track("fetch", 10) as bar:
        time.sleep(0.01)
        bar.advance(5, "5 of [bold] things")
        bar.advance(1)
    assert "5 of [bold] things" in capsys.readouterr().err
