"""Many requests at once: order, laziness, limits a host, retries, resumption, interruption."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import ModuleType
from typing import Any

import pytest

from acquire.servers import Asked, Script, head, in_turn, page, ranged, redirect, serve, silent
from bezoar.acquire.http import engine, slot
from bezoar.acquire.http.answers import Answer
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Limits, Request
from bezoar.acquire.http.urls import Target, check_url
from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError, OutputError

from .conftest import LOOPBACK, PATIENCE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without long waits."""
    monkeypatch.setattr(engine, "_FIRST_WAIT_S", 0.02)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Python itself swallows what a signal raises in a `__del__`, and earlier tests leave some to be collected."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def after(pause_s: float, answer: bytes) -> object:
    def script(_: Asked) -> Script:
        yield pause_s
        yield answer

    return script


class TestExchange:
    def test_each_request_has_one_reply_and_its_tag(self, client: Client) -> None:
        with serve(lambda asked: page(asked.target.encode())) as server:
            replies = list(client.exchange(Request(f"{server.url}/{at}", tag=at) for at in range(300)))
        assert sorted(reply.request.tag for reply in replies) == list(range(300))
        assert all(reply.body == b"/%d" % reply.request.tag for reply in replies)

    def test_replies_come_in_order_of_arrival(self, client: Client) -> None:
        site = {"/slow": after(0.4, page(b"slow")), "/quick": page(b"quick")}
        with serve(site) as server:  # type: ignore[arg-type]
            bodies = [reply.body for reply in client.exchange(Request(server.url + path) for path in site)]
        assert bodies == [b"quick", b"slow"]

    def test_bad_and_good_requests_mix(self, client: Client) -> None:
        with serve({"/a": page(b"x")}) as server:
            urls = [
                server.url + "/a",
                "file:///etc/passwd",
                "",
                server.url + "/none",
                "http://10.0.0.1/",
                "http://a\nb/",
            ]
            reasons = {reply.request.url: reply.reason for reply in client.exchange(map(Request, urls))}
        assert list(map(reasons.get, urls)) == [
            None, Reason.BAD_SCHEME, Reason.BAD_URL, Reason.HTTP_STATUS, Reason.BLOCKED_ADDRESS, Reason.BAD_URL
        ]  # fmt: skip

    def test_no_requests_no_replies(self, client: Client) -> None:
        assert list(client.exchange([])) == []

    def test_requests_are_drawn_as_connections_become_free(self) -> None:
        drawn = 0

        def requests() -> Iterator[Request]:
            nonlocal drawn
            for _ in range(1000):
                drawn += 1
                yield Request(server.url + "/a")

        limits = Limits(connections=4)
        with serve({"/a": page(b"x")}) as server, Client(limits, LOOPBACK) as client:
            for count, _ in enumerate(client.exchange(requests()), 1):
                assert drawn <= count + 2 * limits.connections
        assert (count, server.connections) == (1000, 4)

    def test_bad_requests_are_drawn_no_faster(self) -> None:
        drawn = 0

        def requests() -> Iterator[Request]:
            nonlocal drawn
            for _ in range(1000):
                drawn += 1
                yield Request("file:///etc/passwd")

        with Client(Limits(connections=4)) as client:
            for count, _ in enumerate(client.exchange(requests()), 1):
                assert drawn <= count + 8
        assert count == 1000

    def test_bad_requests_do_not_hold_up_the_network(self) -> None:
        def requests() -> Iterator[Request]:
            yield Request(server.url + "/a")
            while True:
                yield Request("file:///etc/passwd")

        with serve({"/a": page(b"x")}) as server, Client(Limits(connections=4), LOOPBACK) as client:
            started = time.monotonic()
            for reply in client.exchange(requests()):
                if reply.reason is None:
                    break
                assert time.monotonic() - started < 5

    def test_one_host_has_so_many_connections_and_keeps_nobody_waiting(self) -> None:
        limits = Limits(connections=8, per_host=2)
        with (
            serve({"/a": after(0.1, page(b"busy"))}) as busy,  # type: ignore[dict-item]
            serve({"/b": page(b"free")}) as free,
            Client(limits, LOOPBACK) as client,
        ):
            urls = [busy.url + "/a"] * 12 + [free.url + "/b"] * 3
            bodies = [reply.body for reply in client.exchange(map(Request, urls))]
        assert bodies[:3] == [b"free"] * 3
        assert bodies[3:] == [b"busy"] * 12
        assert busy.most_open == 2

    def test_a_crowd_at_one_host_is_bounded(self) -> None:
        drawn = 0

        def requests() -> Iterator[Request]:
            nonlocal drawn
            for _ in range(5000):
                drawn += 1
                yield Request(server.url + "/a")

        with (
            serve({"/a": page(b"x")}) as server,
            Client(Limits(connections=64, per_host=1), LOOPBACK) as client,
        ):
            next(client.exchange(requests()))
            assert drawn < 1200

    def test_redirects_count_for_the_host_that_they_lead_to(self) -> None:
        with (
            serve({"/b": after(0.05, page(b"x"))}) as busy,  # type: ignore[dict-item]
            serve({"/a": page(b"", 302, location=busy.url + "/b")}) as server,
            Client(Limits(connections=8, per_host=2), LOOPBACK) as client,
        ):
            assert [reply.body for reply in client.exchange([Request(server.url + "/a")] * 10)] == [b"x"] * 10
            assert busy.most_open == 2

    def test_exchanges_may_be_nested_and_left_early(self, client: Client) -> None:
        with serve(lambda asked: page(asked.target.encode())) as server:
            seen = [
                (reply.body, client.get(Request(server.url + "/inner")).body)
                for reply in client.exchange(Request(f"{server.url}/{at}") for at in range(5))
            ]
            assert sorted(seen) == [(b"/%d" % at, b"/inner") for at in range(5)]
            for _ in client.exchange(Request(f"{server.url}/{at}") for at in range(500)):
                break
            assert client.get(Request(server.url + "/after")).body == b"/after"

    def test_exchanges_may_run_in_threads(self, client: Client) -> None:
        def run() -> None:
            counts.append(sum(r.reason is None for r in client.exchange([Request(server.url + "/a")] * 100)))

        counts: list[int] = []
        with serve({"/a": page(b"x")}) as server:
            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert counts == [100] * 4

    def test_more_than_1024_descriptors_are_no_limit(self, client: Client) -> None:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 1600:
            pytest.skip(f"only {hard} descriptors may be open here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1600), hard))
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        try:
            with serve({"/a": page(b"x")}) as server:
                assert client.get(Request(server.url + "/a", deadline_s=3)).body == b"x"
        finally:
            for file in files:
                os.close(file)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_no_descriptor_is_left_open(self) -> None:
        def opened() -> int:
            return len(os.listdir("/proc/self/fd"))

        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("no /proc here")
        with serve({"/a": page(b"x", connection="close"), "/b": page(b"y")}) as server:
            with Client(PATIENCE, LOOPBACK) as client:
                list(client.exchange([Request(server.url + "/a")] * 3))
            time.sleep(0.1)
            before = opened()
            with Client(PATIENCE, LOOPBACK) as client:
                list(client.exchange([Request(server.url + "/a"), Request(server.url + "/b")] * 50))
            for _ in range(50):
                if opened() <= before:
                    break
                time.sleep(0.05)
            assert opened() <= before


@pytest.mark.usefixtures("quick")
class TestRetries:
    @pytest.mark.parametrize(
        "failure",
        [
            page(b"", 429),
            page(b"", 500),
            page(b"", 503),
            lambda _: [head(content_length=9) + b"half"],
            lambda _: [b""],
        ],
        ids=["429", "500", "503", "truncated", "no answer"],
    )
    def test_what_may_pass_is_tried_again(self, failure: object) -> None:
        content = in_turn(failure, failure, page(b"whole"))  # type: ignore[arg-type]
        with serve({"/a": content}) as server, Client(Limits(retries=2), LOOPBACK) as client:
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.body, reply.attempts) == (None, b"whole", 3)

    def test_a_connection_that_was_kept_and_is_gone_costs_no_attempt(self, client: Client) -> None:
        def closing_without_a_word(_: Asked) -> Script:
            yield page(b"x" * 500)

        with serve(closing_without_a_word) as server:
            replies = list(client.exchange(Request(f"{server.url}/{at}") for at in range(400)))
        assert {(reply.reason, reply.attempts) for reply in replies} == {(None, 1)}

    def test_a_server_that_answers_once_a_connection_is_asked_on_another(self, client: Client) -> None:
        def cut(_: Asked) -> Script:
            raise ConnectionAbortedError
            yield b""

        def once(asked: Asked) -> bytes | Script:
            first = [earlier.connection for earlier in server.asked].count(asked.connection) == 1
            return page(b"x") if first else cut(asked)

        with serve(once) as server:
            assert [client.get(Request(server.url + "/a")).body for _ in range(5)] == [b"x"] * 5
            assert server.connections == 5

    def test_a_server_that_never_answers_is_not_asked_for_ever(self, client: Client) -> None:
        def cut(_: Asked) -> Script:
            raise ConnectionAbortedError
            yield b""

        with serve({"/a": page(b"x"), "/b": cut}) as server:
            assert client.get(Request(server.url + "/a")).body == b"x"
            assert client.get(Request(server.url + "/b")).reason is Reason.CONNECTION
            assert server.targets() == ["/a", "/b", "/b"]

    def test_only_so_often(self) -> None:
        with serve({"/a": page(b"busy", 503)}) as server, Client(Limits(retries=3), LOOPBACK) as client:
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.attempts, reply.body, len(server.asked)) == (
            Reason.HTTP_STATUS,
            4,
            b"busy",
            4,
        )

    def test_by_default_not_at_all(self, client: Client) -> None:
        with serve({"/a": in_turn(page(b"", 503), page(b"x"))}) as server:
            assert client.get(Request(server.url + "/a")).attempts == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
    def test_what_will_not_pass_is_not(self, status: int) -> None:
        with serve({"/a": page(b"", status)}) as server, Client(Limits(retries=3), LOOPBACK) as client:
            assert client.get(Request(server.url + "/a")).attempts == 1

    def test_a_blocked_address_is_not(self) -> None:
        with Client(Limits(retries=3)) as client:
            assert client.get(Request("http://127.0.0.1:9/")).attempts == 1

    def test_a_silent_server_is_but_a_slow_one_is_not(self) -> None:
        with (
            serve({"/a": in_turn(silent(), page(b"woke up")), "/b": silent()}) as server,
            Client(Limits(retries=1, timeout_s=0.3, deadline_s=5), LOOPBACK) as client,
        ):
            assert client.get(Request(server.url + "/a")).body == b"woke up"
            assert client.get(Request(server.url + "/b", deadline_s=0.1)).attempts == 1

    def test_waiting_for_one_holds_up_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "_FIRST_WAIT_S", 0.5)
        with (
            serve({"/a": in_turn(page(b"", 503), page(b"late")), "/b": page(b"quick")}) as server,
            Client(Limits(retries=1, connections=1), LOOPBACK) as client,
        ):
            urls = [server.url + path for path in ("/a", "/b", "/b", "/b")]
            started = time.monotonic()
            bodies = [reply.body for reply in client.exchange(map(Request, urls))]
            assert 0.5 <= time.monotonic() - started < 3
        assert bodies == [b"quick"] * 3 + [b"late"]

    def test_the_wait_doubles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "_FIRST_WAIT_S", 0.1)
        with serve({"/a": page(b"", 503)}) as server, Client(Limits(retries=3), LOOPBACK) as client:
            started = time.monotonic()
            client.get(Request(server.url + "/a"))
            assert 0.7 <= time.monotonic() - started < 2

    def test_the_server_may_ask_for_patience(self) -> None:
        content = in_turn(page(b"", 503, retry_after="1"), page(b"x"))
        with serve({"/a": content}) as server, Client(Limits(retries=1), LOOPBACK) as client:
            started = time.monotonic()
            assert client.get(Request(server.url + "/a")).body == b"x"
            assert 1.0 <= time.monotonic() - started < 3

    def test_but_not_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "_LONGEST_WAIT_S", 0.1)
        content = in_turn(page(b"", 429, retry_after="999999"), page(b"x"))
        with serve({"/a": content}) as server, Client(Limits(retries=1), LOOPBACK) as client:
            started = time.monotonic()
            assert client.get(Request(server.url + "/a")).body == b"x"
            assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0, 0),
    ],
)
def test_retry_after_is_read(value: str, low: float, high: float) -> None:
    asked = Answer(503, {"retry-after": [value]}).retry_after_s()
    assert asked is not None
    assert low <= asked <= high


def test_retry_after_as_a_date_to_come_is_the_time_until_then() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    asked = Answer(503, {"retry-after": [date]}).retry_after_s()
    assert asked is not None
    assert 3000 <= asked <= 3600


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "soon",
        "1.5",
        "9" * 50,
        "٣",
        "Wed, 99 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Thu, 01 Jan 2020 00:00:00 +99999999999999999999999",
        "Thu, 01 Jan 2020 00:00:00 -9999999999",
        "Thu, 01 Jan 2020 00:00:00 GMT" + " " * 40,
    ],
)
def test_a_retry_after_that_cannot_be_read_is_none(value: str) -> None:
    assert Answer(503, {"retry-after": [value]}).retry_after_s() is None


class TestFaultsOfOneAnswer:
    """Whatever a server sends costs its own request: none of the others may be lost with it."""

    @pytest.mark.usefixtures("quick")
    def test_a_retry_after_beyond_all_numbers(self) -> None:
        absurd = page(b"", 503, retry_after="Thu, 01 Jan 2020 00:00:00 +99999999999999999999999")
        with serve({"/a": absurd, "/b": page(b"x")}) as server, Client(Limits(retries=1), LOOPBACK) as client:
            replies = {
                r.request.tag: r for r in client.exchange(Request(server.url + p, p) for p in ("/a", "/b"))
            }
        assert (replies["/a"].reason, replies["/a"].attempts) == (Reason.HTTP_STATUS, 2)
        assert replies["/b"].body == b"x"

    @pytest.mark.parametrize(
        ("module", "name", "odd"),
        [
            (slot, "read_head", page(b"y", etag="odd")),
            (slot, "read_head", page(b"", etag="odd")),
            (slot, "problem_of", page(b"y", etag="odd")),
            (engine, "follow", redirect("http://odd.example/")),
        ],
    )
    def test_what_no_reader_foresaw(
        self, module: ModuleType, name: str, odd: bytes, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = getattr(module, name)

        def stumbles(*arguments: Any) -> Any:
            if "odd" in repr(arguments):
                raise IndexError("string index out of range")
            return honest(*arguments)

        monkeypatch.setattr(module, name, stumbles)
        with serve({"/a": odd, "/b": page(b"x")}) as server:
            paths = ("/a", "/b", "/a", "/b")
            replies = list(client.exchange(Request(server.url + path, path) for path in paths))
        assert sorted(reply.request.tag for reply in replies) == sorted(paths)
        for reply in replies:
            fault = reply.request.tag == "/a"
            assert (reply.reason, reply.body) == ((Reason.CONNECTION, b"") if fault else (None, b"x"))
            assert ("IndexError: string index out of range" in reply.detail) == fault

    def test_a_url_that_no_reader_foresaw(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def stumbles(url: str) -> Target:
            if "odd" in url:
                raise IndexError("string index out of range")
            return check_url(url)

        monkeypatch.setattr(engine, "check_url", stumbles)
        with serve({"/b": page(b"x")}) as server:
            replies = list(client.exchange([Request("http://odd/"), Request(server.url + "/b")]))
        assert {reply.reason for reply in replies} == {Reason.BAD_URL, None}


class TestReceiving:
    def test_a_body_goes_to_its_receiver(self, client: Client) -> None:
        body = os.urandom(900_000)
        got: list[bytes] = []
        with serve({"/a": page(body)}) as server:
            reply = client.get(Request(server.url + "/a", receive=got.append))
        assert (b"".join(got), reply.body, reply.size) == (body, b"", len(body))
        assert all(got)

    def test_a_body_is_resumed(self, client: Client) -> None:
        body = os.urandom(50_000)
        got: list[bytes] = []
        with serve({"/a": ranged(body, etag='"v1"')}) as server:
            reply = client.get(
                Request(server.url + "/a", headers={"Range": "bytes=20000-"}, receive=got.append)
            )
        assert (reply.reason, reply.status, b"".join(got)) == (None, 206, body[20_000:])
        assert reply.headers["content-range"] == "bytes 20000-49999/50000"

    @pytest.mark.parametrize(
        "answer",
        [
            page(b"0123456789"),
            page(b"0123456789", 206),
            page(b"0123456789", 206, content_range="bytes 4-13/14"),
            page(b"0123456789", 206, content_range="bytes 0-9/10"),
            page(b"0123456789", 206, content_range=["bytes 5-14/15", "bytes 5-14/15"]),
            page(b"0123456789", 206, content_range="5-14/15"),
            page(b"0123456789", 206, content_type="multipart/byteranges; boundary=a"),
            page(b"", 416, content_range="bytes */4"),
        ],
    )
    def test_another_range_than_asked_for_never_reaches_the_receiver(
        self, client: Client, answer: bytes
    ) -> None:
        got: list[bytes] = []
        with serve({"/a": answer}) as server:
            reply = client.get(Request(server.url + "/a", headers={"range": "bytes=5-"}, receive=got.append))
        assert (reply.reason, got) == (Reason.HTTP_STATUS, [])

    def test_a_part_is_no_answer_to_a_whole_request(self, client: Client) -> None:
        with serve({"/a": page(b"part", 206, content_range="bytes 0-3/9")}) as server:
            assert client.get(Request(server.url + "/a")).reason is Reason.HTTP_STATUS

    @pytest.mark.usefixtures("quick")
    def test_what_was_handed_on_is_not_fetched_again(self) -> None:
        got: list[bytes] = []
        broken = lambda _: [head(content_length=9) + b"half"]  # noqa: E731
        with serve({"/a": broken}) as server, Client(Limits(retries=5), LOOPBACK) as client:
            reply = client.get(Request(server.url + "/a", receive=got.append))
        assert (reply.reason, reply.attempts, reply.size, got) == (Reason.TRUNCATED, 1, 4, [b"half"])

    @pytest.mark.usefixtures("quick")
    def test_what_was_not_handed_on_is(self) -> None:
        got: list[bytes] = []
        content = in_turn(page(b"busy", 503), page(b"whole"))
        with serve({"/a": content}) as server, Client(Limits(retries=1), LOOPBACK) as client:
            assert client.get(Request(server.url + "/a", receive=got.append)).attempts == 2
        assert got == [b"whole"]

    def test_what_a_receiver_raises_ends_the_exchange(self, client: Client) -> None:
        def full(_: bytes) -> None:
            raise OutputError("the disk is full")

        with serve({"/a": page(b"x")}) as server:
            with pytest.raises(OutputError, match="disk is full"):
                client.get(Request(server.url + "/a", receive=full))
            assert client.get(Request(server.url + "/a")).body == b"x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer t\n"),
        ("X", "a\r\nHost: b"),
        ("X:", "a"),
        ("", "a"),
        ("X", "ü"),
        ("X Y", "a"),
    ],
)
def test_headers_that_are_not_one_header_are_an_error(client: Client, name: str, value: str) -> None:
    with pytest.raises(InputError, match="request header") as caught:
        client.get(Request("http://a.example/", secret={name: value}))
    assert "Bearer" not in str(caught.value)


def test_a_header_of_the_request_replaces_ours(client: Client) -> None:
    with serve({"/a": page(b"x")}) as server:
        client.get(Request(server.url + "/a", headers={"accept": "application/json", "X-Empty": ""}))
    assert (server.asked[0].headers["accept"], server.asked[0].headers["x-empty"]) == ("application/json", "")
    assert server.asked[0].raw.lower().count(b"accept:") == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works as at a terminal, also where the tests run in the background."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("interruptible")
class TestInterruption:
    def test_while_waiting(self, client: Client) -> None:
        with serve({"/a": silent()}) as server:
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                client.get(Request(server.url + "/a"))
            assert time.monotonic() - started < 2
            server.site = {"/a": page(b"x")}
            assert client.get(Request(server.url + "/a")).body == b"x"

    @pytest.mark.usefixtures("no_collection")
    def test_at_any_moment_of_busy_traffic(self, client: Client) -> None:
        """A signal may fall into a callback of libcurl; nothing may swallow it."""
        with serve({"/a": page(b"x" * 2000)}) as server:

            def requests() -> Iterator[Request]:
                while True:
                    yield Request(server.url + "/a")

            def run() -> None:
                for _ in client.exchange(requests()):
                    assert time.monotonic() < started + 5

            for round_ in range(25):
                started = time.monotonic()
                timer = threading.Timer(0.02 + round_ * 0.0007, os.kill, (os.getpid(), signal.SIGINT))
                timer.start()
                with pytest.raises(KeyboardInterrupt):
                    run()
                timer.join()
            assert client.get(Request(server.url + "/a")).reason is None
