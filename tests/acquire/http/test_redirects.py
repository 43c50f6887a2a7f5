"""Redirects are followed by hand, each hop under the same checks."""

from __future__ import annotations

import time

import pytest

from acquire.servers import Authority, Server, endless, head, in_turn, page, redirect, serve, silent
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Limits, Policy, Request
from bezoar.acquire.reasons import Reason

from .conftest import LOOPBACK, PATIENCE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_kind_is_followed(client: Client, status: int) -> None:
    with serve({"/x/a": redirect("b?c", status), "/x/b": page(b"there")}) as server:
        reply = client.get(Request(server.url + "/x/a#f"))
    assert (reply.reason, reply.body, reply.status) == (None, b"there", 200)
    assert reply.final_url == server.url + "/x/b?c"
    assert reply.redirects == (server.url + "/x/a",)
    assert server.targets() == ["/x/a", "/x/b?c"]
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [head(302, content_length=0), head(304), page(b"", 300, location="/b"), page(b"", 305, location="/b")],
)
def test_what_is_no_redirect_is_not_followed(client: Client, answer: bytes) -> None:
    with serve({"/a": answer, "/b": page(b"there")}) as server:
        assert client.get(Request(server.url + "/a")).reason is Reason.HTTP_STATUS
        assert server.targets() == ["/a"]


def chain(server: Server, length: int) -> None:
    server.site = {f"/{at}": redirect(f"/{at + 1}") for at in range(length)} | {f"/{length}": page(b"end")}


def test_so_many_are_followed_and_no_more(client: Client) -> None:
    with serve({}) as server:
        chain(server, PATIENCE.max_redirects)
        reply = client.get(Request(server.url + "/0"))
        assert (reply.reason, reply.body, len(reply.redirects)) == (None, b"end", PATIENCE.max_redirects)
        chain(server, PATIENCE.max_redirects + 1)
        server.asked.clear()
        reply = client.get(Request(server.url + "/0"))
        assert (reply.reason, reply.body) == (Reason.TOO_MANY_REDIRECTS, b"")
        assert len(server.asked) == PATIENCE.max_redirects + 1


def test_a_loop_is_seen_at_once() -> None:
    with (
        serve({"/a": redirect("/b"), "/b": redirect("/a#again")}) as server,
        Client(Limits(max_redirects=50), LOOPBACK) as client,
    ):
        reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, len(server.asked)) == (Reason.TOO_MANY_REDIRECTS, 2)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", Reason.BAD_SCHEME),
        ("data:image/png;base64,AAAA", Reason.BAD_SCHEME),
        ("ftp://127.0.0.1/", Reason.BAD_SCHEME),
        ("http://user:pw@127.0.0.1/", Reason.BAD_URL),
        ("http://2130706433/", Reason.BAD_URL),
        ("http://0x7f.0.0.1/", Reason.BAD_URL),
        ("http://[::1", Reason.BAD_URL),
        ("/" + "a" * 9000, Reason.BAD_URL),
        ("http://169.254.169.254/latest/meta-data/", Reason.BLOCKED_ADDRESS),
        ("http://100.100.100.200/", Reason.BLOCKED_ADDRESS),
        ("http://[fd00:ec2::254]/latest/meta-data/", Reason.BLOCKED_ADDRESS),
        ("http://[::ffff:169.254.169.254]/", Reason.BLOCKED_ADDRESS),
        ("http://10.0.0.1/", Reason.BLOCKED_ADDRESS),
        ("http://127.0.0.2/", Reason.BLOCKED_ADDRESS),
        ("http://0.0.0.0/", Reason.BLOCKED_ADDRESS),
        ("http://[::1]/", Reason.BLOCKED_ADDRESS),
        ("http://localhost:22/", Reason.BLOCKED_ADDRESS),
        ("https://169.254.169.254/", Reason.BLOCKED_ADDRESS),
        ("http://example.com:25/", Reason.BLOCKED_ADDRESS),
    ],
)
def test_a_redirect_to_where_nobody_should_go_is_refused(
    client: Client, location: str, reason: Reason
) -> None:
    with serve({"/a": redirect(location)}) as server:
        reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.body) == (reason, b"")
        assert reply.detail.isprintable()
        assert server.connections == 1


def test_a_redirect_to_another_port_is_refused() -> None:
    with serve({"/x": page(b"admin")}) as other, serve({"/a": redirect(other.url + "/x")}) as server:
        with Client(policy=Policy(allowed=(f"127.0.0.1:{server.port}",))) as client:
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, other.asked) == (Reason.BLOCKED_ADDRESS, [])
        assert str(other.port) in reply.detail
        with Client(policy=Policy(allowed=("127.0.0.1",))) as client:
            assert client.get(Request(server.url + "/a")).body == b"admin"


def test_a_redirect_to_loopback_is_refused_although_it_came_from_a_host_that_may_be_reached() -> None:
    with serve({}, host="127.0.0.2") as public, serve({"/x": page(b"inside")}) as inside:
        public.site = {"/a": redirect(inside.url + "/x"), "/b": redirect("http://127.0.0.1/x")}
        with Client(policy=Policy(allowed=("127.0.0.2",))) as client:
            for path in ("/a", "/b"):
                assert client.get(Request(public.url + path)).reason is Reason.BLOCKED_ADDRESS
        assert inside.asked == []


def test_https_is_never_left_for_http(authority: Authority) -> None:
    with (
        serve({"/x": page(b"plain")}) as plain,
        serve({"/a": redirect(plain.url + "/x")}, tls=authority.context("127.0.0.1")) as server,
        Client(PATIENCE, LOOPBACK, ca_file=authority.ca_file) as client,
    ):
        reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.tls_verified, plain.asked) == (Reason.DOWNGRADE, True, [])


def test_http_may_be_left_for_https(authority: Authority) -> None:
    with (
        serve({"/x": page(b"sealed")}, tls=authority.context("127.0.0.1")) as sealed,
        serve({"/a": redirect(sealed.url + "/x")}) as server,
        Client(PATIENCE, LOOPBACK, ca_file=authority.ca_file) as client,
    ):
        reply = client.get(Request(server.url + "/a"))
        assert (reply.body, reply.tls_verified, reply.redirects) == (b"sealed", True, (server.url + "/a",))


class TestSecrets:
    def test_they_go_to_their_own_origin_only(self, client: Client) -> None:
        with serve({"/x": page(b"x")}) as other, serve({}) as server:
            server.site = {"/a": redirect("/b"), "/b": redirect(other.url + "/x")}
            reply = client.get(
                Request(server.url + "/a", headers={"X-All": "1"}, secret={"Authorization": "Bearer t"})
            )
        assert reply.body == b"x"
        assert [asked.headers.get("authorization") for asked in server.asked] == ["Bearer t", "Bearer t"]
        assert other.asked[0].headers.get("authorization") is None
        assert [asked.headers["x-all"] for asked in (*server.asked, *other.asked)] == ["1", "1", "1"]

    def test_another_name_of_the_same_server_is_another_origin(self) -> None:
        with (
            serve({}) as server,
            Client(PATIENCE, Policy(allowed=("127.0.0.1", "localhost"))) as client,
        ):
            server.site = {"/a": redirect(f"http://localhost:{server.port}/b"), "/b": page(b"x")}
            assert client.get(Request(server.url + "/a", secret={"Authorization": "t"})).body == b"x"
        assert [asked.headers.get("authorization") for asked in server.asked] == ["t", None]

    def test_they_do_not_stay_on_the_connection(self, client: Client) -> None:
        with serve({"/a": page(b"x")}) as server:
            client.get(Request(server.url + "/a", secret={"Authorization": "t"}))
            client.get(Request(server.url + "/a"))
        assert [asked.headers.get("authorization") for asked in server.asked] == ["t", None]


def test_the_body_of_a_redirect_is_neither_kept_nor_waited_for_for_ever(client: Client) -> None:
    got: list[bytes] = []
    with serve({"/a": endless(head(302, location="/b"), b"x" * 10000), "/b": page(b"there")}) as server:
        reply = client.get(Request(server.url + "/a", receive=got.append))
    assert (reply.reason, got, reply.size) == (None, [b"there"], 5)
    with (
        serve({"/a": silent(head(302, location="/b")), "/b": page(b"there")}) as server,
        Client(Limits(timeout_s=0.3), LOOPBACK) as hasty,
    ):
        assert hasty.get(Request(server.url + "/a")).body == b"there"


def test_the_deadline_covers_all_hops() -> None:
    def slow(_: object) -> object:
        yield 0.25
        yield redirect(f"/{next(names)}")

    names = iter(range(100))
    with serve(slow) as server, Client(Limits(max_redirects=50, deadline_s=0.8), LOOPBACK) as client:  # type: ignore[arg-type]
        started = time.monotonic()
        reply = client.get(Request(server.url + "/a"))
        assert time.monotonic() - started < 3
    assert reply.reason is Reason.DEADLINE
    assert len(reply.redirects) >= 1


def test_a_new_attempt_starts_from_the_first_url() -> None:
    flaky = in_turn(page(b"", 503), page(b"there"))
    with serve({"/a": redirect("/b"), "/b": flaky}) as server, Client(Limits(retries=1), LOOPBACK) as client:
        reply = client.get(Request(server.url + "/a"))
        assert server.targets() == ["/a", "/b", "/a", "/b"]
    assert (reply.body, reply.attempts, reply.redirects) == (b"there", 2, (server.url + "/a",))
