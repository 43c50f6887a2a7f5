"""A repository arrives whole and right, or what is wrong is refused and named."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acquire.hub.conftest import FILES, LFS
from acquire.hub.hub_site import COMMIT, LATER, HubSite, entry, git_oid
from acquire.servers import Server, head, page, serve
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.hub.api import Hub
from bezoar.acquire.hub.fetching import HubOptions, HubReport, fetch_hub
from bezoar.acquire.hub.record import HubRecord
from bezoar.acquire.hub.source import HubSource
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason
from bezoar.acquire.sealed_digests import Sealed
from bezoar.errors import InputError, LimitError, OutputError, UsageError, VerificationError

SOURCE = HubSource.parse("hf://datasets/ann/signs")
ALL = {**FILES, **LFS}
HubAt = Callable[..., Hub]


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def only(report: HubReport) -> tuple[str, Reason]:
    assert len(report.rejected) == 1, report.rejected
    return report.rejected[0].path, report.rejected[0].reason


def test_a_repository_arrives_whole(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert contents(tmp_path / "out") == ALL
    assert (report.commit, report.verified, report.by_git, report.fetched) == (COMMIT, 2, 3, 5)
    assert report.size == sum(map(len, ALL.values()))
    assert not report.rejected
    assert not list((tmp_path / "out.fetch" / "parts").iterdir())
    downloads = [target for target in server.targets() if "/resolve/" in target]
    assert len(downloads) == 5
    assert all(f"/resolve/{COMMIT}/" in target for target in downloads)


def test_the_record_has_the_sha256_of_every_file(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    value = json.loads((tmp_path / "out.fetch" / "hub.json").read_text())
    assert value["commit"] == COMMIT
    assert value["revision"] == "main"
    assert {each["path"]: each["sha256"] for each in value["files"]} == {
        path: hashlib.sha256(content).hexdigest() for path, content in ALL.items()
    }


def test_a_model_has_other_paths(site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    site.api, site.pages = "/api/models/ann/signs", "/ann/signs"
    fetch_hub(hub_at(server), HubSource.parse("hf://ann/signs"), tmp_path / "out")
    assert contents(tmp_path / "out") == ALL


def test_a_part_of_a_repository(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    source = HubSource.parse("hf://datasets/ann/signs@main/data")
    fetch_hub(
        hub_at(server), source, tmp_path / "out", HubOptions(include=("*.bin", "*.csv"), exclude=("*/1.bin",))
    )
    assert set(contents(tmp_path / "out")) == {"data/labels.csv", "data/train/0.bin"}


def test_a_part_that_is_not_there_is_named(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file matches; the commit holds"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out", HubOptions(include=("*.zip",)))


@pytest.mark.parametrize("path", ["data/train/0.bin", "README.md"])
def test_wrong_bytes_with_the_right_size_and_etag_are_rejected(
    path: str, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    right = ALL[path]
    wrong = bytes([right[0] ^ 1]) + right[1:]
    etag = hashlib.sha256(right).hexdigest() if path in LFS else git_oid(right)
    site.sent[path] = lambda _: page(wrong, etag=f'"{etag}"', x_linked_etag=f'"{etag}"')
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert only(report) == (path, Reason.HASH_MISMATCH)
    assert contents(tmp_path / "out") == {name: content for name, content in ALL.items() if name != path}
    [held] = Quarantine.at(tmp_path / "out.fetch" / "quarantine").entries()
    assert held.key == path
    assert Quarantine.at(tmp_path / "out.fetch" / "quarantine").content(held.sha256) == wrong


def test_a_rejected_file_is_fetched_at_the_next_try(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.sent["README.md"] = lambda _: page(b"# Bogus\n")
    assert fetch_hub(hub_at(server), SOURCE, tmp_path / "out").rejected
    site.sent.clear()
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert not report.rejected
    assert report.fetched == 1
    assert contents(tmp_path / "out") == ALL


@pytest.mark.parametrize("with_length", [True, False])
def test_more_bytes_than_the_tree_says(
    with_length: bool, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    body = FILES["README.md"] + b"and more"
    site.sent["README.md"] = lambda _: (
        page(body) if with_length else iter([head(200, connection="close"), body])
    )
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out", HubOptions(attempts=1))
    assert only(report) == ("README.md", Reason.TOO_LARGE)
    assert "README.md" not in contents(tmp_path / "out")
    [held] = Quarantine.at(tmp_path / "out.fetch" / "quarantine").entries()
    assert (held.key, held.reason) == ("README.md", Reason.TOO_LARGE)
    assert held.size == (0 if with_length else len(FILES["README.md"]))


@pytest.mark.parametrize("honest_length", [True, False])
def test_fewer_bytes_than_the_tree_says(
    honest_length: bool, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    body = FILES["README.md"]

    def short(_: Any) -> Any:
        if honest_length:
            return page(body[:-3])
        return iter([head(200, content_length=len(body)) + body[:-3]])

    site.sent["README.md"] = short
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out", HubOptions(attempts=1))
    assert only(report) == ("README.md", Reason.TRUNCATED)
    assert "README.md" not in contents(tmp_path / "out")


def test_a_broken_transfer_is_resumed(site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    body = LFS["data/train/0.bin"]
    ranges: list[str | None] = []

    def breaks(asked: Any) -> Any:
        ranges.append(asked.headers.get("range"))
        start = int((ranges[-1] or "bytes=0-")[6:-1])
        stop = min(start + 30_000, len(body))
        status = head(
            206 if start else 200,
            content_length=len(body) - start,
            **({"content_range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}),
        )
        return iter([status + body[start:stop]])

    site.sent["data/train/0.bin"] = breaks
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert not report.rejected
    assert contents(tmp_path / "out") == ALL
    assert ranges == [None, "bytes=30000-", "bytes=60000-"]


def part_of(out: Path, path: str) -> Path:
    digest = hashlib.sha256(ALL[path]).hexdigest() if path in LFS else git_oid(ALL[path])
    name = hashlib.sha256(f"{path}\0{digest}".encode()).hexdigest()[:40]
    folder = out.with_name(out.name + ".fetch") / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.part"


@pytest.mark.parametrize("honours_ranges", [True, False])
@pytest.mark.parametrize("kept", ["right", "wrong", "whole", "too long"])
def test_what_an_earlier_fetch_left_is_hashed(
    kept: str, honours_ranges: bool, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    path = "data/train/1.bin"
    body = LFS[path]
    left = {"right": body[:1000], "wrong": b"\xff" * 1000, "whole": body, "too long": body + b"!"}[kept]
    part_of(tmp_path / "out", path).write_bytes(left)
    if not honours_ranges:
        site.sent[path] = lambda _: page(body)
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert not report.rejected
    assert contents(tmp_path / "out") == ALL
    asked = [each.headers.get("range") for each in server.asked if each.path.endswith(path)]
    assert (
        asked[:1]
        == {"right": ["bytes=1000-"], "wrong": ["bytes=1000-"], "whole": [], "too long": [None]}[kept]
    )


def test_files_that_are_there_are_hashed_and_not_asked_for_again(
    server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fetch_hub(hub_at(server), SOURCE, out)
    (out / "README.md").write_bytes(b"# Sigms\n")  # of the same size
    (out / "mine.txt").write_bytes(b"")
    server.asked.clear()
    report = fetch_hub(hub_at(server), SOURCE, out)
    assert [target for target in server.targets() if "/resolve/" in target] == [
        f"/datasets/ann/signs/resolve/{COMMIT}/README.md"
    ]
    assert contents(out) == {**ALL, "mine.txt": b""}
    assert (report.replaced, report.fetched, report.foreign) == (1, 1, 1)
    [held] = Quarantine.at(tmp_path / "out.fetch" / "quarantine").entries()
    assert (held.key, held.size) == ("README.md", 8)


def test_a_branch_that_moved_is_told(site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    site.refs["main"] = LATER
    with pytest.raises(VerificationError, match=f"main was commit {COMMIT} when .* is {LATER} now"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    pinned = HubSource.parse(f"hf://datasets/ann/signs@{COMMIT}")
    assert not fetch_hub(hub_at(server), pinned, tmp_path / "out").rejected


def test_a_commit_whose_tree_changes_is_told(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    site.files["README.md"] = b"# Sxgns\n"
    with pytest.raises(VerificationError, match=r"another story of 'README\.md' than before"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    del site.files["README.md"]
    with pytest.raises(VerificationError, match=r"another story of 'README\.md' than before"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")


def test_a_commit_is_itself(site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    site.refs[COMMIT] = LATER
    with pytest.raises(VerificationError, match="do not trust this hub"):
        fetch_hub(hub_at(server), HubSource.parse(f"hf://datasets/ann/signs@{COMMIT}"), tmp_path / "out")


def test_a_pin_needs_no_listing_and_holds_every_file_to_sha256(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    fetch_hub(hub_at(server), SOURCE, tmp_path / "first")
    pin = HubRecord.read(tmp_path / "first.fetch" / "hub.json")
    site.refs["main"] = LATER
    site.files["README.md"] = b"# Sxgns\n"
    server.asked.clear()
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "second", HubOptions(pin=pin))
    assert only(report) == ("README.md", Reason.HASH_MISMATCH)
    assert (report.verified, report.by_git) == (4, 0)
    assert not [target for target in server.targets() if "/api/" in target]


def test_a_pin_of_something_else_is_refused(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    fetch_hub(hub_at(server), SOURCE, tmp_path / "first")
    pin = HubRecord.read(tmp_path / "first.fetch" / "hub.json")
    other = HubSource.parse("hf://datasets/ann/others")
    with pytest.raises(UsageError, match="the pin is of ann/signs"):
        fetch_hub(hub_at(server), other, tmp_path / "second", HubOptions(pin=pin))
    with pytest.raises(UsageError, match="not of v2"):
        fetch_hub(hub_at(server), replace(SOURCE, revision="v2"), tmp_path / "second", HubOptions(pin=pin))
    with pytest.raises(VerificationError, match="holds commit"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "first", HubOptions(pin=replace(pin, commit=LATER)))


def test_a_seal_is_stronger_than_the_tree(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    digests = {
        path: hashlib.sha256(content).digest() for path, content in ALL.items() if path != ".gitattributes"
    }
    sealed = Sealed(digests, frozenset({".gitattributes"}), "ann")
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "one", HubOptions(sealed=sealed))
    assert (report.verified, report.by_git, report.skipped, report.rejected) == (4, 0, 1, [])
    site.files["README.md"] = b"# Sxgns\n"  # the hub itself changes: tree and bytes agree
    site.lfs["data/train/0.bin"] = b"\x07" * 80_000
    site.files["extra.txt"] = b"more"
    del site.files["data/labels.csv"]
    report = fetch_hub(hub_at(server), SOURCE, tmp_path / "two", HubOptions(sealed=sealed))
    assert {(each.path, each.reason) for each in report.rejected} == {
        ("README.md", Reason.HASH_MISMATCH),
        ("data/train/0.bin", Reason.HASH_MISMATCH),
        ("extra.txt", Reason.HASH_MISSING),
        ("data/labels.csv", Reason.HASH_MISMATCH),
    }
    assert set(contents(tmp_path / "two")) == {"data/train/1.bin"}


def test_the_token_goes_to_the_endpoint_only(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.token = "hf_secret"  # noqa: S105 - of the test server
    with serve({f"/{hashlib.sha256(content).hexdigest()}": page(content) for content in LFS.values()}) as cdn:
        site.cdn = cdn.url
        report = fetch_hub(hub_at(server, "hf_secret", f"127.0.0.1:{cdn.port}"), SOURCE, tmp_path / "out")
        assert not report.rejected
        assert len(cdn.asked) == 2
        assert not [asked for asked in cdn.asked if b"secret" in asked.raw.split(b"\r\n", 1)[1]]
    assert all(asked.headers["authorization"] == "Bearer hf_secret" for asked in server.asked)
    assert "secret" not in (tmp_path / "out.fetch" / "hub.json").read_text()


def test_a_redirect_to_a_private_address_is_not_followed(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    with serve({}) as other:
        site.cdn = other.url
        report = fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
        assert {each.reason for each in report.rejected} == {Reason.BLOCKED_ADDRESS}
        assert not other.asked


@pytest.mark.parametrize(
    ("status", "token", "said"),
    [
        (401, None, "private, gated or does not exist; set HF_TOKEN"),
        (401, "hf_x", "the token was not accepted"),
        (403, "hf_x", "is gated: ask for access at"),
        (404, None, "has no revision 'main' or does not exist"),
        (429, None, "slow down"),
        (500, None, "cannot be asked"),
    ],
)
def test_a_refusal_of_the_hub_is_one_clear_line(
    status: int, token: str | None, said: str, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.denied = status
    with pytest.raises(InputError, match=said) as caught:
        fetch_hub(hub_at(server, token), SOURCE, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "./a",
        "a\\b",
        "C:evil",
        "a\x00b",
        "a\nb",
        "a\u202egpj.exe",
        ".git/config",
        "sub/.GIT/hooks/post-checkout",
        ".g\u200cit/config",
        "git~1/config",
        "x" * 256,
        "",
        "\ud800",
    ],
)
def test_an_evil_path_is_refused_before_anything_is_fetched(
    path: str, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.entries = [entry("fine.txt", b"x", lfs=False), entry(path, b"x", lfs=False)]
    with pytest.raises(InputError):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert not [target for target in server.targets() if "/resolve/" in target]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("one", "two", "why"),
    [
        ("a.txt", "a.txt", "is there twice"),
        ("a.txt", "A.txt", "are one name to other systems"),
        ("Data/a", "data/b", "are one name to other systems"),
        ("caf\u00e9", "cafe\u0301", "are one name to other systems"),
        ("stra\u00dfe", "STRASSE", "are one name to other systems"),
        ("a", "a/b", "is a file"),
        ("a/b", "a", "and a folder too"),
    ],
)
def test_two_paths_that_cannot_both_be_there(
    one: str, two: str, why: str, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    # on different pages of the listing, as when the tree changes between them
    fill = [entry(f"f{n}", b"x", lfs=False) for n in range(3)]
    site.entries = [entry(one, b"x", lfs=False), *fill, entry(two, b"y", lfs=False)]
    with pytest.raises(InputError, match=why):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        {"oid": "xyz"},
        {"oid": None},
        {"size": -1},
        {"size": "8"},
        {"size": True},
        {"type": "symlink"},
        {"type": "commit"},
        {"path": 7},
        {"lfs": {"oid": "A" * 64, "size": 8}},
        {"lfs": {"oid": "a" * 64, "size": 9}},
        {"lfs": "a" * 64},
    ],
)
def test_a_malformed_entry_is_refused(
    change: dict[str, Any], site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.entries = [{**entry("README.md", FILES["README.md"], lfs=False), **change}]
    with pytest.raises(InputError):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example/api/datasets/ann/signs/tree/x?cursor=2",
        "/api/datasets/ann/signs/tree/x?cursor=2",
        "file:///etc/passwd",
    ],
)
def test_a_listing_that_goes_on_elsewhere_is_refused(
    link: str, site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.raw_link = link
    with pytest.raises(InputError, match="goes on somewhere else"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")


def test_a_listing_without_end_is_refused(
    site: HubSite, server: Server, hub_at: HubAt, tmp_path: Path
) -> None:
    site.entries = []
    site.page_size = 0
    site.entries = [entry("a", b"", lfs=False)]
    site.raw_link = f"{server.url}/api/datasets/ann/signs/tree/{COMMIT}?recursive=true&limit=1000"
    with pytest.raises(LimitError, match="has no end"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")


def test_caps_on_files_and_bytes(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="more than 3 files"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out", HubOptions(max_files=3))
    with pytest.raises(LimitError, match="at most 1,000 are fetched"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out", HubOptions(max_bytes=1000))
    assert ArchiveLimits().entries == HubOptions().max_files


def test_an_output_of_somebody_else_is_left_alone(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"1")
    with pytest.raises(OutputError, match="was not fetched from a hub"):
        fetch_hub(hub_at(server), SOURCE, tmp_path / "out")
    assert not server.asked


def test_a_link_within_the_output_is_not_followed(server: Server, hub_at: HubAt, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    fetch_hub(hub_at(server), SOURCE, out, HubOptions(include=("README.md",)))
    elsewhere.mkdir()
    os.symlink(elsewhere, out / "data")
    with pytest.raises(OutputError, match="is a link"):
        fetch_hub(hub_at(server), SOURCE, out)
    assert not list(elsewhere.iterdir())
