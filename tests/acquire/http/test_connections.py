"""Where connections go: the address is checked at the moment of connecting, TLS always, nothing comes from the environment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from acquire.servers import Authority, Script, head, page, proxy, redirect, serve
from bezoar.acquire.http import slot
from bezoar.acquire.http.client import USER_AGENT, Client
from bezoar.acquire.http.exchange import Limits, Policy, Request
from bezoar.acquire.http.transfer import Transfer
from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError

from .conftest import LOOPBACK, PATIENCE

Answers = Callable[[str], None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Takes `name:port:address[,address]`: what the resolver answers from then on."""
    import pycurl

    known: list[str] = []
    start = slot.Slot.start

    def start_knowing(self: slot.Slot, transfer: Transfer) -> None:
        self.curl.setopt(pycurl.RESOLVE, known)
        start(self, transfer)

    def answer(line: str) -> None:
        known[:] = [line]

    monkeypatch.setattr(slot.Slot, "start", start_knowing)
    return answer


def test_loopback_is_not_connected_to_unless_allowed() -> None:
    with serve({"/a": page(b"inside")}) as server, Client() as client:
        for host in ("127.0.0.1", "localhost", "127.0.0.1."):
            reply = client.get(Request(f"http://{host}:{server.port}/a"))
            assert (reply.reason, reply.peer, reply.status) == (Reason.BLOCKED_ADDRESS, "", None)
        assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - not bound to
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_a_name_that_leads_inside_is_refused(resolve: Answers, address: str) -> None:
    with Client() as client:
        resolve(f"images.example:80:{address}")
        reply = client.get(Request("http://images.example/a.jpg"))
    assert reply.reason is Reason.BLOCKED_ADDRESS
    assert address.strip("[]") in reply.detail


def test_an_answer_of_dns_that_changes_between_requests_is_seen(resolve: Answers) -> None:
    """127.0.0.2 stands for a public address; the name is moved to 127.0.0.1, where something private listens."""
    content = page(b"outside", connection="close")
    with (
        serve({"/a": content}, host="127.0.0.2") as outside,
        serve({"/a": page(b"inside")}, port=outside.port) as inside,
    ):
        url = f"http://rebind.example:{outside.port}/a"
        with Client(policy=Policy(allowed=("127.0.0.2",))) as client:
            resolve(f"rebind.example:{outside.port}:127.0.0.2")
            assert client.get(Request(url)).body == b"outside"
            resolve(f"rebind.example:{outside.port}:127.0.0.1")
            assert client.get(Request(url)).reason is Reason.BLOCKED_ADDRESS
        assert inside.connections == 0


def test_an_answer_of_dns_that_changes_between_hops_is_seen(resolve: Answers) -> None:
    with serve({}, host="127.0.0.2") as outside, serve({"/b": page(b"inside")}, port=outside.port) as inside:

        def moved(_: object) -> bytes:
            resolve(f"rebind.example:{outside.port}:127.0.0.1")
            return page(b"", 302, location="/b", connection="close")

        outside.site = {"/a": moved}
        with Client(policy=Policy(allowed=("127.0.0.2",))) as client:
            resolve(f"rebind.example:{outside.port}:127.0.0.2")
            reply = client.get(Request(f"http://rebind.example:{outside.port}/a"))
        assert (reply.reason, inside.connections) == (Reason.BLOCKED_ADDRESS, 0)
        assert len(reply.redirects) == 1


def test_of_several_addresses_only_those_that_may_be_reached_are_tried(resolve: Answers) -> None:
    with serve({"/a": page(b"inside")}) as inside, Client(policy=Policy(allowed=("127.0.0.2",))) as client:
        with serve({"/a": page(b"outside")}, host="127.0.0.2", port=inside.port):
            resolve(f"two.example:{inside.port}:127.0.0.1,127.0.0.2")
            assert client.get(Request(f"http://two.example:{inside.port}/a")).body == b"outside"
        resolve(f"three.example:{inside.port}:127.0.0.2,127.0.0.1")  # the first is refused by the system now
        reply = client.get(Request(f"http://three.example:{inside.port}/a"))
        assert (reply.reason, inside.connections) == (Reason.BLOCKED_ADDRESS, 0)


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "inside.example", "INSIDE.example."])
def test_a_host_can_be_allowed_by_address_network_or_name(resolve: Answers, entry: str) -> None:
    with serve({"/a": page(b"inside")}) as server, Client(policy=Policy(allowed=(entry,))) as client:
        resolve(f"inside.example:{server.port}:127.0.0.1")
        reply = client.get(Request(f"http://inside.example:{server.port}/a"))
    assert (reply.body, reply.peer) == (b"inside", f"127.0.0.1:{server.port}")


def test_ipv6_peers_are_shown_in_brackets() -> None:
    try:
        with (
            serve({"/a": page(b"six")}, host="::1") as server,
            Client(policy=Policy(allowed=("::1",))) as client,
        ):
            reply = client.get(Request(server.url + "/a"))
    except (OSError, RuntimeError):
        pytest.skip("this machine has no IPv6 loopback")
    assert (reply.body, reply.peer) == (b"six", f"[::1]:{server.port}")


def test_a_policy_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(InputError, match="allowed"):
        Client(policy=Policy(allowed=("10.0.0.0/99",)))


def test_nobody_there_and_no_such_name_are_no_connection(client: Client) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        reply = client.get(Request(f"http://127.0.0.1:{closed.getsockname()[1]}/"))
    assert (reply.reason, reply.status, reply.body) == (Reason.CONNECTION, None, b"")
    assert client.get(Request("http://no-such-name.invalid/")).reason is Reason.CONNECTION


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", Reason.BAD_SCHEME),
        ("data:,x", Reason.BAD_SCHEME),
        ("", Reason.BAD_URL),
        ("http://2130706433/", Reason.BAD_URL),
        ("http://a\r\nb/", Reason.BAD_URL),
    ],
)
def test_a_row_that_is_no_web_address_is_a_reply_like_others(
    client: Client, url: str, reason: Reason
) -> None:
    reply = client.get(Request(url, tag=7))
    assert (reply.reason, reply.request.tag, reply.final_url, reply.size, reply.peer) == (
        reason,
        7,
        url,
        0,
        "",
    )


class TestTls:
    def test_a_server_is_verified(self, authority: Authority) -> None:
        with (
            serve({"/a": page(b"x")}, tls=authority.context("127.0.0.1")) as server,
            Client(PATIENCE, LOOPBACK, ca_file=authority.ca_file) as client,
        ):
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.body, reply.tls_verified) == (None, b"x", True)

    def test_an_unknown_authority_is_refused(self, authority: Authority, client: Client) -> None:
        with serve({"/a": page(b"x")}, tls=authority.context("127.0.0.1")) as server:
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.tls_verified, reply.status, server.asked) == (Reason.TLS, False, None, [])

    @pytest.mark.parametrize(("name", "days"), [("other.example", 30), ("127.0.0.2", 30), ("127.0.0.1", -3)])
    def test_a_wrong_name_or_time_is_refused(self, authority: Authority, name: str, days: int) -> None:
        with (
            serve({"/a": page(b"x")}, tls=authority.context(name, days=days)) as server,
            Client(PATIENCE, LOOPBACK, ca_file=authority.ca_file) as client,
        ):
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, server.asked) == (Reason.TLS, [])

    def test_a_server_without_tls_is_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as plain, Client(PATIENCE, LOOPBACK) as client:

            def answer() -> None:
                with plain.accept()[0] as line:
                    line.recv(4096)
                    line.sendall(page(b"who are you?", 400))

            thread = threading.Thread(target=answer)
            thread.start()
            reply = client.get(Request(f"https://127.0.0.1:{plain.getsockname()[1]}/a"))
            thread.join()
        assert (reply.reason, reply.status, reply.body) == (Reason.TLS, None, b"")

    def test_a_line_that_is_cut_is_no_end_of_a_body(self, authority: Authority) -> None:
        def cut(_: object) -> Script:
            yield head() + b"the first half"
            yield 0.2
            raise ConnectionAbortedError

        with (
            serve({"/a": cut}, tls=authority.context("127.0.0.1")) as server,
            Client(PATIENCE, LOOPBACK, ca_file=authority.ca_file) as client,
        ):
            reply = client.get(Request(server.url + "/a"))
        assert (reply.reason, reply.body) == (Reason.TRUNCATED, b"the first half")

    def test_authorities_that_are_not_there_are_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            Client(ca_file=tmp_path / "none.pem")


class TestEnvironment:
    def test_proxies_of_the_environment_are_not_used(
        self, monkeypatch: pytest.MonkeyPatch, client: Client
    ) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        with serve({"/a": page(b"x")}) as server:
            assert client.get(Request(server.url + "/a")).body == b"x"

    def test_netrc_and_cookies_are_not_used(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Client
    ) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        answer = page(b"", 302, location="/b", set_cookie="a=b; path=/")
        with serve({"/a": answer, "/b": page(b"x")}) as server:
            assert client.get(Request(server.url + "/a")).body == b"x"
        for asked in server.asked:
            assert set(asked.headers) == {"host", "user-agent", "accept", "accept-encoding"}
            assert asked.headers["user-agent"] == USER_AGENT

    def test_connections_are_used_again(self, client: Client) -> None:
        with serve({"/a": page(b"x")}) as server:
            for _ in range(5):
                assert client.get(Request(server.url + "/a")).body == b"x"
            assert server.connections == 1


class TestProxy:
    def test_plain_and_tls_servers_are_reached_through_it(self, authority: Authority) -> None:
        with (
            serve({"/a": page(b"plain")}) as plain,
            serve({"/a": page(b"sealed")}, tls=authority.context("sealed.example")) as sealed,
            proxy({"plain.example:80": plain, "sealed.example:443": sealed}) as way,
            Client(PATIENCE, proxy=way.url, ca_file=authority.ca_file) as client,
        ):
            reply = client.get(Request("http://plain.example/a"))
            assert (reply.body, reply.tls_verified, reply.peer) == (b"plain", None, f"127.0.0.1:{way.port}")
            reply = client.get(Request("https://sealed.example/a"))
            assert (reply.reason, reply.body, reply.tls_verified, dict(reply.headers)) == (
                None,
                b"sealed",
                True,
                {"content-length": "6"},
            )

    def test_tls_is_verified_through_it(self, authority: Authority) -> None:
        with (
            serve({"/a": page(b"x")}, tls=authority.context("other.example")) as other,
            proxy({"sealed.example:443": other}) as way,
            Client(PATIENCE, proxy=way.url, ca_file=authority.ca_file) as client,
        ):
            reply = client.get(Request("https://sealed.example/a"))
        assert (reply.reason, reply.status) == (Reason.TLS, None)

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/",
            "http://localhost/",
            "http://a.localhost:80/",
            "http://169.254.169.254/",
            "https://[::1]/",
        ],
    )
    def test_literal_addresses_are_still_checked(self, url: str) -> None:
        with serve({}) as server, proxy({}) as way, Client(PATIENCE, proxy=way.url) as client:
            assert client.get(Request(url)).reason is Reason.BLOCKED_ADDRESS
            assert way.asked == []
            assert server.asked == []

    def test_redirects_are_still_checked(self) -> None:
        with (
            serve(
                {"/a": redirect("http://169.254.169.254/"), "/b": redirect("http://plain.example:22/")}
            ) as plain,
            proxy({"plain.example:80": plain}) as way,
            Client(PATIENCE, proxy=way.url) as client,
        ):
            for path in ("/a", "/b"):
                assert client.get(Request("http://plain.example" + path)).reason is Reason.BLOCKED_ADDRESS
            assert plain.targets() == ["/a", "/b"]

    def test_what_may_be_reached_at_a_literal_address_may_be_so_through_it(self) -> None:
        with (
            serve({"/a": page(b"x")}) as server,
            proxy({f"127.0.0.1:{server.port}": server}) as way,
            Client(PATIENCE, LOOPBACK, proxy=way.url) as client,
        ):
            assert client.get(Request(server.url + "/a")).body == b"x"

    def test_a_proxy_that_refuses_is_no_answer_of_the_server(self, authority: Authority) -> None:
        with proxy({}) as way, Client(PATIENCE, proxy=way.url, ca_file=authority.ca_file) as client:
            reply = client.get(Request("https://sealed.example/"))
        assert (reply.reason, reply.status) == (Reason.CONNECTION, None)


def test_the_user_agent_can_be_chosen() -> None:
    with (
        serve({"/a": page(b"x")}) as server,
        Client(Limits(), LOOPBACK, user_agent="me/1 (compatible; token)") as client,
    ):
        client.get(Request(server.url + "/a"))
    assert server.asked[0].headers["user-agent"] == "me/1 (compatible; token)"
