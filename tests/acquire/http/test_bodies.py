"""Bodies, honest and malicious, over a real socket: what is taken, what is not, and why."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acquire.servers import Page, drip, endless, head, page, serve, silent
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Limits, Reply, Request
from bezoar.acquire.reasons import Reason

from .conftest import LOOPBACK, PATIENCE

BODY = bytes(range(256)) * 40


def fetch(client: Client, content: Page, **options: object) -> Reply:
    with serve({"/a": content}) as server:
        return client.get(Request(server.url + "/a", **options))  # type: ignore[arg-type]


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return head(transfer_encoding="chunked") + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + end


def closing(raw: bytes) -> Callable[[object], list[bytes]]:
    return lambda _: [raw]


@pytest.mark.parametrize(
    "content",
    [
        page(BODY),
        chunked(BODY[:1], BODY[1:5000], BODY[5000:]),
        closing(head() + BODY),
        closing(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\netag: a\r\n\r\n"
        + page(BODY),
        chunked(BODY, end=b"0\r\nx-trailer: 1\r\netag: late\r\n\r\n"),
    ],
    ids=["length", "chunked", "until close", "HTTP/1.0", "interim answers", "trailers"],
)
def test_a_whole_body_is_taken_and_hashed(client: Client, content: Page) -> None:
    before = time.time()
    reply = fetch(client, content)
    assert (reply.reason, reply.detail, reply.status, reply.attempts) == (None, "", 200, 1)
    assert (reply.body, reply.size, reply.sha256) == (BODY, len(BODY), hashlib.sha256(BODY).digest())
    assert before - 1 <= reply.fetched <= time.time() + 1
    assert reply.peer.startswith("127.0.0.1:")
    assert reply.tls_verified is None
    assert "etag" not in reply.headers


def test_chosen_headers_are_kept_and_others_are_not(client: Client) -> None:
    content = page(
        b"x",
        ETag='"e"',
        Set_Cookie="a=b",
        X_Repo_Commit="c" * 40,
        Content_Type="image/png",
        link=["<a>", "<b>"],
    )
    assert dict(fetch(client, content).headers) == {
        "content-length": "1",
        "etag": '"e"',
        "x-repo-commit": "c" * 40,
        "content-type": "image/png",
        "link": "<a>, <b>",
    }


def test_a_header_of_absurd_length_is_left_out(client: Client) -> None:
    assert "etag" not in fetch(client, page(b"x", etag="e" * 5000)).headers


@pytest.mark.parametrize(
    "odd",
    [
        b"HTTP/1.1: x",
        b"HTTP/x",
        b"etag : spaced",
        b"no colon",
        b": no name",
        b"x: \xff\x80",
        b"folded: a\r\n b\r\n\tc",
        b"\x80: x",
    ],
)
def test_odd_headers_do_no_harm(client: Client, odd: bytes) -> None:
    reply = fetch(client, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n" + odd + b"\r\n\r\nbody")
    assert (reply.reason, reply.body) in ((None, b"body"), (Reason.CONNECTION, b""))


def test_an_empty_body_is_whole(client: Client) -> None:
    reply = fetch(client, page(b""))
    assert (reply.reason, reply.body, reply.sha256) == (None, b"", hashlib.sha256().digest())


@pytest.mark.parametrize(
    "content",
    [
        closing(head(content_length=len(BODY) + 1) + BODY),
        closing(head(content_length=10**6) + BODY),
        closing(chunked(BODY, end=b"")),
        closing(chunked(BODY, end=b"5\r\nab")),
        closing(chunked(BODY, end=b"zz\r\nab\r\n0\r\n\r\n")),
        closing(chunked(BODY, end=b"-5\r\nabcde\r\n0\r\n\r\n")),
        closing(chunked(BODY, end=b"fffffffffffffffffffff\r\nab")),
    ],
    ids=[
        "one byte short",
        "far too short",
        "no last chunk",
        "half a chunk",
        "no hex",
        "negative",
        "overflow",
    ],
)
def test_a_truncated_or_broken_body_is_never_whole(client: Client, content: Page) -> None:
    reply = fetch(client, content)
    assert reply.reason is Reason.TRUNCATED
    assert reply.body == (BODY + b"ab")[: reply.size]
    assert reply.sha256 == hashlib.sha256(reply.body).digest()


def test_bytes_beyond_the_content_length_are_not_part_of_the_body(client: Client) -> None:
    with serve({"/a": closing(page(BODY) + b"padding"), "/b": page(b"next")}) as server:
        reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.body) == (None, BODY)
        assert client.get(Request(server.url + "/b")).body == b"next"


def test_padding_that_looks_like_the_next_answer_is_not_taken_for_it(client: Client) -> None:
    with serve({"/a": page(BODY) + page(b"poison"), "/b": page(b"honest")}) as server:
        assert client.get(Request(server.url + "/a")).body == BODY
        assert client.get(Request(server.url + "/b")).body == b"honest"


def test_a_body_that_is_padded_honestly_is_another_body(client: Client) -> None:
    assert fetch(client, page(BODY + b"x")).sha256 != hashlib.sha256(BODY).digest()


def test_contradictory_lengths_are_refused(client: Client) -> None:
    reply = fetch(client, closing(head(content_length=[5, len(BODY)]) + BODY))
    assert reply.reason in (Reason.CONNECTION, Reason.TRUNCATED)


@pytest.mark.parametrize("length", ["-1", "abc", "5 5", "1e3", "+5"])
def test_a_malformed_length_is_refused_or_ignored(client: Client, length: str) -> None:
    reply = fetch(client, closing(head(content_length=length) + BODY))
    assert reply.reason is not None or reply.body == BODY


class TestCaps:
    def test_a_body_at_the_cap_is_taken(self, client: Client) -> None:
        assert fetch(client, page(BODY), max_bytes=len(BODY)).reason is None

    @pytest.mark.parametrize(
        "content", [chunked(BODY), closing(head() + BODY)], ids=["chunked", "until close"]
    )
    def test_a_body_over_the_cap_is_broken_off(self, client: Client, content: Page) -> None:
        reply = fetch(client, content, max_bytes=len(BODY) - 1)
        assert (reply.reason, reply.body) == (Reason.TOO_LARGE, BODY[:-1])
        assert reply.sha256 == hashlib.sha256(BODY[:-1]).digest()

    def test_a_length_over_the_cap_is_refused_before_the_body(self, client: Client) -> None:
        started = time.monotonic()
        reply = fetch(client, silent(head(content_length=len(BODY) + 1) + b"x"), max_bytes=len(BODY))
        assert (reply.reason, reply.body, reply.status) == (Reason.TOO_LARGE, b"", 200)
        assert time.monotonic() - started < 3

    def test_a_length_of_absurd_size_is_refused(self, client: Client) -> None:
        assert fetch(client, closing(head(content_length="9" * 30) + b"x")).reason is not None

    @pytest.mark.parametrize(
        ("start", "block"),
        [(head(), b"x" * 65536), (head(transfer_encoding="chunked"), b"10000\r\n" + b"x" * 65536 + b"\r\n")],
        ids=["until close", "chunked"],
    )
    def test_an_endless_body_is_broken_off(self, client: Client, start: bytes, block: bytes) -> None:
        reply = fetch(client, endless(start, block))
        assert (reply.reason, reply.size) == (Reason.TOO_LARGE, PATIENCE.max_bytes)

    def test_nothing_beyond_the_cap_reaches_the_receiver(self, client: Client) -> None:
        got: list[bytes] = []
        reply = fetch(client, endless(head(), b"x" * 65536), receive=got.append, max_bytes=100_001)
        assert (reply.reason, len(b"".join(got)), reply.body) == (Reason.TOO_LARGE, 100_001, b"")

    @pytest.mark.parametrize(
        ("start", "block"),
        [(b"HTTP/1.1 200 OK\r\n", b"x-a: " + b"b" * 1000 + b"\r\n"), (b"HTTP/1.1 200 OK\r\nx-a: ", b"b" * 10000),
         (b"", b"HTTP/1.1 103 Early Hints\r\nx-a: " + b"b" * 10000 + b"\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n", b"a:\r\n" * 1000)],
        ids=["many", "one", "interim", "tiny"],
    )  # fmt: skip
    def test_endless_headers_are_broken_off(self, client: Client, start: bytes, block: bytes) -> None:
        started = time.monotonic()
        reply = fetch(client, endless(start, block))
        assert reply.reason in (Reason.TOO_LARGE, Reason.CONNECTION)
        assert (reply.status, reply.body) == (None, b"")
        assert time.monotonic() - started < 5

    def test_the_page_of_an_error_is_capped(self, client: Client) -> None:
        reply = fetch(client, endless(head(404), b"x" * 10000))
        assert (reply.reason, reply.size) == (Reason.HTTP_STATUS, 65536)


class TestCodings:
    """Identity is asked for; a coding that comes all the same is not undone: the bytes as received are the bytes as sent."""

    def test_identity_is_asked_for(self, client: Client) -> None:
        with serve({"/a": page(b"x")}) as server:
            client.get(Request(server.url + "/a"))
        assert server.asked[0].headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize(
        "coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "identity", "unheard-of"]
    )
    def test_a_coding_is_not_undone(self, client: Client, coding: str) -> None:
        sent = gzip.compress(BODY)
        reply = fetch(client, page(sent, content_encoding=coding))
        assert (reply.reason, reply.body, reply.sha256) == (None, sent, hashlib.sha256(sent).digest())
        assert reply.headers["content-encoding"] == coding

    def test_a_bomb_stays_as_small_as_it_was_sent(self, client: Client) -> None:
        bomb = gzip.compress(bytes(200 << 20), 9)
        reply = fetch(client, page(bomb, content_encoding="gzip"), max_bytes=len(bomb))
        assert (reply.reason, reply.size) == (None, len(bomb))

    def test_a_coding_of_the_transfer_that_was_not_asked_for_is_refused(self, client: Client) -> None:
        content = closing(head(transfer_encoding="gzip, chunked") + b"5\r\nabcde\r\n0\r\n\r\n")
        assert fetch(client, content).reason is not None


class TestDeadlines:
    def test_a_slow_drip_meets_the_deadline(self) -> None:
        with Client(Limits(timeout_s=5, deadline_s=0.6), LOOPBACK) as client:
            started = time.monotonic()
            reply = fetch(client, drip(BODY, 0.02))
            assert 0.5 < time.monotonic() - started < 3
        assert reply.reason is Reason.DEADLINE
        assert 0 < reply.size < len(BODY)
        assert reply.body == BODY[: reply.size]

    def test_a_request_can_bring_its_own_deadline(self, client: Client) -> None:
        assert fetch(client, drip(BODY, 0.02), deadline_s=0.3).reason is Reason.DEADLINE

    def test_headers_that_drip_meet_the_deadline(self, client: Client) -> None:
        def script(_: object) -> object:
            for byte in page(BODY):
                yield bytes([byte])
                yield 0.05

        reply = fetch(client, script, deadline_s=0.4)  # type: ignore[arg-type]
        assert (reply.reason, reply.status) == (Reason.DEADLINE, None)

    @pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\n", head(content_length=9) + b"half"])
    def test_silence_is_not_waited_out(self, before: bytes) -> None:
        with Client(Limits(timeout_s=0.4, deadline_s=30), LOOPBACK) as client:
            started = time.monotonic()
            reply = fetch(client, silent(before))
            assert 0.3 < time.monotonic() - started < 3
        assert reply.reason is Reason.DEADLINE
        assert "nothing arrived" in reply.detail

    def test_a_caller_who_takes_long_does_not_make_servers_late(self) -> None:
        with (
            serve({"/a": page(BODY), "/b": drip(b"x" * 40, 0.01)}) as server,
            Client(Limits(timeout_s=0.5, deadline_s=1.0), LOOPBACK) as client,
        ):
            reasons = []
            for reply in client.exchange(Request(server.url + path) for path in ("/a", "/b")):
                reasons.append(reply.reason)
                time.sleep(1.2)
        assert reasons == [None, None]


@pytest.mark.parametrize(
    "status",
    [201, 202, 203, 204, 205, 206, 300, 304, 305, 306, 400, 401, 403, 404, 410, 451, 500, 503, 599, 999],
)
def test_only_200_is_an_answer_to_a_plain_get(client: Client, status: int) -> None:
    empty = status in (204, 304)
    got: list[bytes] = []
    reply = fetch(
        client,
        head(status, **({} if empty else {"content_length": 4})) + (b"" if empty else b"page"),
        receive=got.append,
    )
    assert (reply.reason, reply.status, got) == (Reason.HTTP_STATUS, status, [])
    assert reply.detail == f"status {status}"
    assert reply.body == (b"" if empty else b"page")


@pytest.mark.parametrize(
    "rest", [silent(head(404)), silent(head(404, content_length=9) + b"not")], ids=["none", "half"]
)
def test_an_error_whose_page_never_ends_is_that_error(rest: Page) -> None:
    with Client(Limits(timeout_s=0.3), LOOPBACK) as client:
        reply = fetch(client, rest)
    assert (reply.reason, reply.status) == (Reason.HTTP_STATUS, 404)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"hello",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\nbody",
        b"HTTP/1.1 2000 OK\r\n\r\nbody",
        b"HTTP/9.9 200 OK\r\n\r\nbody",
        b"ICY 200 OK\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5",
        b"HTTP/1.1 200 OK\r\na\x00b: c\r\n\r\nbody",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\nbody",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_not_http_is_never_a_body(client: Client, raw: bytes) -> None:
    reply = fetch(client, closing(raw))
    assert reply.reason is not None
    assert reply.detail.isprintable()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 F\r\nlocation: "]),
)
def test_any_bytes_give_a_reply(client: Client, tail: bytes, start: bytes) -> None:
    with serve({"/a": closing(start + tail)}) as server:
        reply = client.get(Request(server.url + "/a", deadline_s=2.0))
    assert reply.size == len(reply.body)
    assert reply.reason is not None or reply.status == 200
    assert "fault" not in reply.detail


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(page(BODY)) - 1))
def test_no_prefix_of_an_answer_is_whole(client: Client, cut: int) -> None:
    assert fetch(client, closing(page(BODY)[:cut])).reason in (Reason.CONNECTION, Reason.TRUNCATED)
