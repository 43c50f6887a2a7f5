"""A release: the record goes where the fetch would have put it, nothing else changes, and the same call makes any crash good."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from acquire.fetch_support import contents_of, images_of, pictures, provenance_of, remnants, run, site_of
from acquire.quarantine.desk import Desk, picture
from acquire.servers import page, serve
from bezoar.acquire import Columns, Retry
from bezoar.acquire.images.options import Reencode
from bezoar.acquire.quarantine import releasing
from bezoar.acquire.quarantine.releasing import Release, release
from bezoar.acquire.quarantine.store import Cap, Quarantine
from bezoar.acquire.run_state import locked, state_folder
from bezoar.custody.signing.signers import KeySigner
from bezoar.data import open as open_dataset
from bezoar.errors import InputError, OutputError, UsageError, VerificationError

FORMATS = ("webdataset", "parquet", "files")
CONTENTS = pictures(25)
OTHER, SECOND = picture(77), picture(78)
KEYS = ("000003", "000021")  # rows 3 and 21, in the first shard and in the last
COLUMNS = Columns(extra=("count", "share", "when", "width", "tags", "maybe"))


def table(path: Path, base: str) -> Path:
    """The list, with columns of many types, one of them with a name that the provenance has, too."""
    rows = len(CONTENTS)
    columns = {
        "url": [base + name for name in CONTENTS],
        "caption": [None if n % 5 == 0 else f"picture {n}" for n in range(rows)],
        "sha256": [hashlib.sha256(content).hexdigest() for content in CONTENTS.values()],
        "count": pa.array(range(rows), pa.int16()),
        "share": pa.array([n / 7 for n in range(rows)], pa.float32()),
        "when": [datetime.datetime(2026, 1, 1) + datetime.timedelta(days=n) for n in range(rows)],
        "width": [f"{n} cm" for n in range(rows)],
        "tags": [["a", "b"], None] * 12 + [[]],
        "maybe": [None, True, False] * 8 + [None],
    }
    pq.write_table(pa.table(columns), path)
    return path


class Case:
    """A fetch of 25 rows of which three were changed; two of them are pictures."""

    def __init__(self, folder: Path, **how: Any) -> None:
        self.desk = Desk(folder)
        self.out = folder / "out"
        site = site_of(CONTENTS, _3=page(OTHER), _21=page(SECOND), _7=page(b"<html>for sale</html>"))
        with serve(site) as server:
            self.list = table(folder / "list.parquet", server.url)
            run(self.list, self.out, COLUMNS, **how)
            self.base = server.url
        self.desk.account(self.out)

    def release(self, *names: str, reason: str = "Ada asked the owner") -> Release:
        self.desk.log.reload()
        return release(
            self.out, names, reason, KeySigner(self.desk.key), log=self.desk.log, log_signer=self.desk.log_signer
        )  # fmt: skip

    def audited(self) -> tuple[int, int]:
        statement = self.desk.audit(self.out)
        assert statement.irregularities == ()
        return statement.balances.total.closing, statement.balances.quarantine.closing

    def held_keys(self) -> list[str]:
        return [entry.key for entry in self.desk.store(self.out).entries()]


@pytest.mark.parametrize("form", FORMATS)
def test_the_record_is_where_a_fetch_would_have_put_it(form: str, tmp_path: Path) -> None:
    case = Case(tmp_path, output_format=form)
    assert case.audited() == (22, 3)
    before, told = contents_of(case.out), provenance_of(case.out).to_pylist()
    done = case.release(*KEYS)
    assert [entry.key for entry in done.released] == list(KEYS)
    assert case.audited() == (24, 1)
    assert case.held_keys() == ["000007"]

    after = contents_of(case.out)
    assert {name: after[name] for name in before} == before  # all others, their JSON too, byte for byte
    assert images_of(case.out)["000003"] == OTHER
    keys = [key.rpartition("/")[2].partition(".")[0] for key in open_dataset(case.out).keys.to_pylist()]
    assert keys == sorted(keys)
    assert len(keys) == 24
    for was, now in zip(told, provenance_of(case.out).to_pylist(), strict=True):
        if was["key"] not in KEYS:
            assert was == now
            continue
        changed = {name for name in was if was[name] != now[name]}
        assert changed == {
            "status", "error_message", "verdict", "reason", "detail", "width", "height", "original_width",
            "original_height", "stored_sha256",
        }  # fmt: skip
        assert (now["status"], now["verdict"], now["reason"]) == ("success", "unverified", None)
        assert now["detail"] == "released from quarantine (hash_mismatch): Ada asked the owner"
    assert not remnants(case.out)


@pytest.mark.parametrize("form", FORMATS)
def test_it_is_what_a_list_without_that_hash_would_have_given(form: str, tmp_path: Path) -> None:
    """The released sample, JSON and all, and the snapshot are those of a fetch that had nothing to compare with."""
    case = Case(tmp_path / "a", output_format=form) if (tmp_path / "a").mkdir() is None else None
    assert case is not None
    case.release(*KEYS)
    listed = pq.read_table(case.list)
    hashes = [None if n in (3, 21) else text for n, text in enumerate(listed["sha256"].to_pylist())]
    hashes[7] = "0" * 64
    place = listed.schema.get_field_index("sha256")
    (tmp_path / "b").mkdir()
    site = site_of(CONTENTS, _3=page(OTHER), _21=page(SECOND))
    port = int(case.base.rpartition(":")[2])
    with serve(site, port=port):
        pq.write_table(listed.set_column(place, "sha256", pa.array(hashes)), tmp_path / "b" / "list.parquet")
        run(tmp_path / "b" / "list.parquet", tmp_path / "b" / "out", COLUMNS, output_format=form)
    assert contents_of(tmp_path / "b" / "out") == contents_of(case.out)


def test_a_fetch_that_goes_on_afterwards_leaves_it_alone(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.release(*KEYS)
    before = contents_of(case.out)
    with serve(site_of(CONTENTS), port=int(case.base.rpartition(":")[2])) as server:
        report = run(case.list, case.out, COLUMNS, retry=Retry.ALL)
        assert server.targets() == ["/7.jpg"]
    assert report.tally.unverified == 2
    assert {name: content for name, content in contents_of(case.out).items() if name in before} == before
    case.desk.account(case.out)
    assert case.audited() == (25, 0)


@pytest.mark.parametrize("kind", ["sha256", "sha512", "md5"])
@pytest.mark.parametrize("reencode", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_a_fetch_leaves_it_alone_whatever_was_compared(
    form: str, reencode: bool, kind: str, tmp_path: Path
) -> None:
    desk, out = Desk(tmp_path), tmp_path / "out"
    few = dict(list(CONTENTS.items())[:4])
    how: dict[str, Any] = {"output_format": form, "reencode": reencode}
    with serve(site_of(few, _3=page(OTHER))) as server:
        lines = [
            f"{server.url}{path},{hashlib.new(kind, content).hexdigest()}" for path, content in few.items()
        ]
        (tmp_path / "list.csv").write_text("\n".join([f"url,{kind}", *lines]) + "\n")
        columns = Columns(hash_kind=kind)
        run(tmp_path / "list.csv", out, columns, **how)
        desk.account(out)
        desk.log.reload()
        release(out, ["000003"], "looked at", KeySigner(desk.key), log=desk.log, log_signer=desk.log_signer)
        before = contents_of(out)
        server.asked.clear()
        report = run(tmp_path / "list.csv", out, columns, **how)
        assert (report.resumed, server.targets()) == (1, [])
    assert contents_of(out) == before


def test_it_is_encoded_as_the_others_are(tmp_path: Path) -> None:
    case = Case(tmp_path, reencode=True, images=Reencode(8, "border", encode_format="png", quality=6))
    (done,) = case.release(KEYS[0]).released
    content = images_of(case.out)[KEYS[0]]
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (8, 8))
    (told,) = [row for row in provenance_of(case.out).to_pylist() if row["key"] == KEYS[0]]
    assert told["source_sha256"] == hashlib.sha256(OTHER).hexdigest() == done.sha256
    assert told["stored_sha256"] == hashlib.sha256(content).hexdigest()
    assert case.audited() == (23, 2)


def test_an_entry_is_named_by_its_key_or_by_its_content(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.release(hashlib.sha256(OTHER).hexdigest(), KEYS[0], KEYS[0])
    assert case.held_keys() == ["000007", "000021"]
    for name in ("000003", "", "0" * 64, "../x"):
        with pytest.raises(InputError, match="has no entry"):
            case.release(name)


def test_of_two_contents_of_one_row_the_digest_says_which(tmp_path: Path) -> None:
    case = Case(tmp_path)
    store = case.desk.store(case.out)
    (first,) = [entry for entry in store.entries() if entry.key == KEYS[0]]
    second = picture(79)
    digest = hashlib.sha256(second).hexdigest()
    store.put(replace(first, sha256=digest, size=len(second)), second)
    with pytest.raises(InputError, match="2 entries in quarantine are called '000003'; say which"):
        case.release(KEYS[0])
    with pytest.raises(UsageError, match="of the same row"):
        case.release(digest, first.sha256)
    case.release(digest)
    assert images_of(case.out)[KEYS[0]] == second
    told = next(row for row in provenance_of(case.out).to_pylist() if row["key"] == KEYS[0])
    assert told["source_sha256"] == told["stored_sha256"] == digest
    assert case.held_keys() == ["000003", "000007", "000021"]
    with pytest.raises(InputError, match="holds another picture as '000003'"):
        case.release(KEYS[0])
    case.desk.account(case.out)
    assert case.desk.audit(case.out).irregularities == ()


@pytest.mark.parametrize(
    ("names", "reason", "error", "words"),
    [
        (("000007",), "because", InputError, "is no picture that a fetch would keep"),
        (("000003", "000007"), "because", InputError, "is no picture that a fetch would keep"),
        (("000003", "000099"), "because", InputError, "has no entry"),
        (("000003",), " \n", UsageError, "says why"),
    ],
)
def test_what_is_refused_changes_nothing(
    tmp_path: Path, names: tuple[str, ...], reason: str, error: type[Exception], words: str
) -> None:
    case = Case(tmp_path)
    before, told = contents_of(case.out), case.desk.told("out")
    with pytest.raises(error, match=words):
        case.release(*names, reason=reason)
    assert contents_of(case.out) == before
    assert case.desk.told("out") == told
    assert case.audited() == (22, 3)


def test_bytes_that_were_not_kept_cannot_be_released(tmp_path: Path) -> None:
    case = Case(tmp_path, cap=Cap(total_bytes=10))
    with pytest.raises(InputError, match=r"its bytes were not kept \(full\)"):
        case.release(KEYS[0])


def test_bytes_that_were_changed_in_quarantine_are_not_released(tmp_path: Path) -> None:
    case = Case(tmp_path)
    path = next((case.desk.store(case.out).folder / "objects").rglob(hashlib.sha256(OTHER).hexdigest()))
    path.write_bytes(path.read_bytes()[:-4] + b"evil")
    with pytest.raises(VerificationError, match="was changed"):
        case.release(KEYS[0])
    assert len(images_of(case.out)) == 22


def test_a_damaged_shard_is_not_built_upon(tmp_path: Path) -> None:
    case = Case(tmp_path)
    (case.out / "00000.tar").write_bytes((case.out / "00000.tar").read_bytes()[:-1])
    with pytest.raises(InputError, match="shard 00000 is missing or damaged"):
        case.release(KEYS[0])


def test_an_entry_of_another_list_is_not_put_here(tmp_path: Path) -> None:
    case = Case(tmp_path)
    store = case.desk.store(case.out)
    (first,) = [entry for entry in store.entries() if entry.key == KEYS[0]]
    for changes in (
        {"url": "http://elsewhere.example"},
        {"row": 99},
        {"row": None},
        {"key": "000099", "row": 4},
    ):
        store.put(replace(first, reason="truncated", **changes), OTHER)  # type: ignore[arg-type]
        table = store.folder / "entries.jsonl"
        lines = table.read_bytes().splitlines(keepends=True)
        (store.folder / "entries.jsonl").write_bytes(lines[-1])
        with pytest.raises(InputError):
            case.release(store.entries()[0].key)
    assert len(images_of(case.out)) == 22


_SHAPE = {"rows": 25, "rows a shard": 10, "output format": "webdataset", "re-encoding": False}


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {**_SHAPE, "rows a shard": 0},
        {**_SHAPE, "rows a shard": "10"},
        {**_SHAPE, "rows": None},
        {**_SHAPE, "output format": "tfrecord"},
        {**_SHAPE, "output format": []},
        {**_SHAPE, "re-encoding": "yes"},
        {**_SHAPE, "min size": "small"},
        {**_SHAPE, "max area": []},
        {**_SHAPE, "quality": "1000"},
    ],
)
def test_a_malformed_run_is_one_error(tmp_path: Path, shape: dict[str, Any]) -> None:
    case = Case(tmp_path)
    path = state_folder(case.out) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": shape}))
    with pytest.raises(InputError, match="malformed"):
        case.release(KEYS[0])
    path.write_text("{")
    with pytest.raises(InputError, match="malformed"):
        case.release(KEYS[0])


def test_what_the_fetch_would_have_found_too_small_stays(tmp_path: Path) -> None:
    case = Case(tmp_path, images=Reencode(min_size=10))
    path = state_folder(case.out) / "run.json"
    path.write_text(path.read_text().replace('"min size": "10"', '"min size": "100"'))
    with pytest.raises(InputError, match="image too small"):
        case.release(KEYS[0])


def test_no_fetch_was_here(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(InputError, match="no fetch of bezoar began this output"):
        release(tmp_path / "x", ["k"], "r", KeySigner(desk.key), log=desk.log, log_signer=desk.log_signer)


def test_a_repository_has_no_rows_to_release(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "x.fetch").mkdir()
    (tmp_path / "x.fetch" / "hub.json").write_text("{}")
    with pytest.raises(InputError, match="was not fetched from a list; only rows of a list"):
        release(tmp_path / "x", ["k"], "r", KeySigner(desk.key), log=desk.log, log_signer=desk.log_signer)


def test_not_while_a_fetch_is_at_work(tmp_path: Path) -> None:
    case = Case(tmp_path)
    with locked(case.out), pytest.raises(OutputError, match="another fetch"):
        case.release(KEYS[0])


class Killed(BaseException):
    """As if the process had ended here."""


def _killed(*_: object, **__: object) -> None:
    raise Killed


def _killed_after(times: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What wraps functions so that together they are called so many times, and the next call is a kill."""
    left = times

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return real(*arguments, **more)

        return call

    return counted


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("times", range(8))
def test_killed_at_any_step_the_same_call_completes_it(
    form: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the renames, of the seal, of the log's append or of the entries' end is the last thing that happens."""
    case = Case(tmp_path, output_format=form)
    counted = _killed_after(times)
    with monkeypatch.context() as patch:
        patch.setattr("bezoar.acquire.replacing.os.replace", counted(os.replace))
        patch.setattr(releasing, "seal_and_log", counted(releasing.seal_and_log))
        patch.setattr(Quarantine, "settle", counted(Quarantine.settle))
        with contextlib.suppress(Killed):
            case.release(*KEYS)
    if names := [name for name in case.held_keys() if name in KEYS]:
        case.release(*names)
    assert case.audited() == (24, 1)
    assert images_of(case.out)["000003"] == OTHER
    kinds = [kind for kind, *_ in case.desk.told("out")]
    assert kinds.count("released") == 1
    assert kinds.count("transformed") == 1
    assert not remnants(case.out)


@pytest.mark.parametrize("times", range(10))
def test_killed_at_any_step_a_fetch_may_come_between(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fetch takes what was let in, or sets it aside anew; either way the same release completes it."""
    case = Case(tmp_path)
    counted = _killed_after(times)
    with monkeypatch.context() as patch:
        patch.setattr("bezoar.acquire.replacing.os.replace", counted(os.replace))
        patch.setattr(releasing, "seal_and_log", counted(releasing.seal_and_log))
        patch.setattr(Quarantine, "begin_release", counted(Quarantine.begin_release))
        patch.setattr(Quarantine, "settle", counted(Quarantine.settle))
        with contextlib.suppress(Killed):
            case.release(*KEYS)
    site = site_of(CONTENTS, _3=page(OTHER), _21=page(SECOND), _7=page(b"<html>for sale</html>"))
    with serve(site, port=int(case.base.rpartition(":")[2])):
        run(case.list, case.out, COLUMNS)
    if names := [name for name in case.held_keys() if name in KEYS]:
        case.release(*names)
    assert case.audited() == (24, 1)
    assert images_of(case.out)["000003"] == OTHER


@pytest.mark.parametrize("form", FORMATS)
def test_a_release_made_elsewhere_is_none_here(form: str, tmp_path: Path) -> None:
    """What lies in quarantine may not be brought in by a copy of the output in which somebody else released it."""
    case = Case(tmp_path, output_format=form)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(case.out, elsewhere / "out")
    shutil.copytree(state_folder(case.out), state_folder(elsewhere / "out"))
    desk = Desk(elsewhere)
    desk.account(elsewhere / "out")
    desk.log.reload()
    release(elsewhere / "out", KEYS, "because", KeySigner(desk.key), log=desk.log, log_signer=desk.log_signer)
    shutil.copytree(elsewhere / "out", case.out, dirs_exist_ok=True)
    site = site_of(CONTENTS, _3=page(OTHER), _21=page(SECOND), _7=page(b"<html>for sale</html>"))
    with serve(site, port=int(case.base.rpartition(":")[2])):
        report = run(case.list, case.out, COLUMNS, output_format=form)
    assert (report.resumed, report.tally.verified, report.tally.unverified) == (1, 22, 0)
    assert set(KEYS).isdisjoint(images_of(case.out))


def test_killed_before_the_log_heard_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is in the dataset and nobody has signed for it: no fetch passes over that in silence."""
    case = Case(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(releasing, "seal_and_log", _killed)
        with pytest.raises(Killed):
            case.release(KEYS[0])
    with pytest.raises(InputError, match="finish its release"):
        case.desk.account(case.out)
    case.release(KEYS[0])
    assert case.audited() == (23, 2)


def test_the_stats_count_the_rows_anew(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.release(KEYS[0])
    stats = json.loads((case.out / "00000_stats.json").read_text())
    assert (stats["successes"], stats["failed_to_download"], stats["count"]) == (9, 1, 10)
    assert (stats["tally"]["unverified"], stats["tally"]["rejected"]) == (1, {"hash_mismatch": 1})


def test_numbers_of_a_json_list_are_what_they_were_when_the_fetch_goes_on(tmp_path: Path) -> None:
    desk, out = Desk(tmp_path), tmp_path / "out"
    with serve(site_of(CONTENTS, _3=page(OTHER))) as server:
        rows = [
            {"url": server.url + name, "sha256": hashlib.sha256(content).hexdigest(), "n": {"a": [n, None]}}
            for n, (name, content) in enumerate(CONTENTS.items())
        ]
        (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        run(tmp_path / "list.jsonl", out, Columns(extra=("n",)))
        desk.account(out)
        release(out, ("000003",), "why", KeySigner(desk.key), log=desk.log, log_signer=desk.log_signer)
        server.asked.clear()
        report = run(tmp_path / "list.jsonl", out, Columns(extra=("n",)))
        assert server.targets() == []
    assert (report.resumed, report.tally.unverified) == (3, 1)
