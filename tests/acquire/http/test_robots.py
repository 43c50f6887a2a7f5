"""X-Robots-Tag: whose wishes keep a record out."""

from __future__ import annotations

import pytest

from acquire.servers import page, serve
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Policy, Request
from bezoar.acquire.http.robots import opted_out
from bezoar.acquire.reasons import Reason


@pytest.mark.parametrize(
    ("values", "token", "found"),
    [
        ([], None, None),
        ([""], None, None),
        (["all"], None, None),
        (["noai"], None, "noai"),
        (["NoAI"], None, "noai"),
        (["nofollow, NOIMAGEAI"], None, "noimageai"),
        (["nofollow,noindex"], None, "noindex"),
        (["nofollow", "noimageindex"], None, "noimageindex"),
        (["noaim"], None, None),
        (["*: noai"], None, "noai"),
        (["img2dataset: noai"], None, None),
        (["img2dataset: noai"], "img2dataset", "noai"),
        (["IMG2Dataset : noai"], "img2dataset", "noai"),
        (["img2dataset: nofollow, noai"], "img2dataset", "noai"),
        (["otherbot: nofollow, noai"], "img2dataset", None),
        (["otherbot: nofollow, img2dataset: noai"], "img2dataset", "noai"),
        (["otherbot: noindex", "noai"], "img2dataset", "noai"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], None, "noai"),
        (["max-snippet: 10, noindex"], None, "noindex"),
        (["noindex: x"], None, None),
    ],
)
def test_directives(values: list[str], token: str | None, found: str | None) -> None:
    assert opted_out(values, Policy(token=token)) == found


def test_only_the_directives_of_the_policy_count() -> None:
    assert opted_out(["noindex"], Policy(opt_outs=("noai",))) is None
    assert opted_out(["NOAI"], Policy(opt_outs=("NoAi",))) == "noai"
    assert opted_out(["noai"], Policy(opt_outs=())) is None


def test_an_answer_that_opts_out_is_not_taken(client: Client) -> None:
    got: list[bytes] = []
    with serve({"/a": page(b"secret", x_robots_tag=["nofollow", "max-snippet: 3, NoAI"])}) as server:
        reply = client.get(Request(server.url + "/a", receive=got.append))
    assert (reply.reason, reply.status, reply.body, got) == (Reason.OPT_OUT, 200, b"", [])
    assert "noai" in reply.detail
    assert reply.headers["x-robots-tag"] == "nofollow, max-snippet: 3, NoAI"


def test_an_answer_without_a_body_can_opt_out(client: Client) -> None:
    with serve({"/a": page(b"", x_robots_tag="noai")}) as server:
        assert client.get(Request(server.url + "/a")).reason is Reason.OPT_OUT


def test_opt_outs_can_be_ignored() -> None:
    with (
        serve({"/a": page(b"open", x_robots_tag="noai")}) as server,
        Client(policy=Policy(allowed=("127.0.0.1",), opt_outs=())) as client,
    ):
        assert client.get(Request(server.url + "/a")).body == b"open"
