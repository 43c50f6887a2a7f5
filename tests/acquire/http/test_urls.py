"""Which URLs are read, as what, and why the others are not."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.acquire.http.urls import MAX_LENGTH, Refused, check_url, follow
from bezoar.acquire.reasons import Reason


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://EXAMPLE.com/A", "http://example.com/A"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:443/a", "http://example.com:443/a"),
        ("http://example.com:/a", "http://example.com/a"),
        ("http://example.com:00080/a", "http://example.com/a"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com?q=1", "http://example.com/?q=1"),
        ("http://example.com/a?b#c", "http://example.com/a?b"),
        ("http://example.com/#@127.0.0.1/", "http://example.com/"),
        ("  http://example.com/a ", "http://example.com/a"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        ("http://example.com/ü?ü", "http://example.com/%C3%BC?%C3%BC"),
        ("http://example.com/%C3%BC%2f", "http://example.com/%C3%BC%2f"),
        ("http://example.com/a\\b|<>\"^`{}", "http://example.com/a%5Cb%7C%3C%3E%22%5E%60%7B%7D"),
        ("http://example.com/a[1].jpg", "http://example.com/a[1].jpg"),
        ("http://example.com//x@y", "http://example.com//x@y"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://ｅｘａｍｐｌｅ。com/", "http://example.com/"),
        ("http://a_b.example/", "http://a_b.example/"),
        ("http://93.184.216.34/", "http://93.184.216.34/"),
        ("http://[2606:4700:0:0::1]:8080/", "http://[2606:4700::1]:8080/"),
        ("http://[::FFFF:1.2.3.4]/", "http://[::ffff:102:304]/"),
        ("http://１２７.０.０.１/", "http://127.0.0.1/"),
    ],
)  # fmt: skip
def test_a_url_is_put_together_anew(url: str, normal: str) -> None:
    assert check_url(url).url in (normal, normal.replace("[::ffff:102:304]", "[::ffff:1.2.3.4]"))


@pytest.mark.parametrize(
    ("url", "host", "port", "literal"),
    [
        ("http://example.com/", "example.com", 80, False),
        ("https://example.com/", "example.com", 443, False),
        ("https://example.com:8443/", "example.com", 8443, False),
        ("http://127.0.0.1./", "127.0.0.1", 80, True),
        ("http://[::1]/", "::1", 80, True),
        ("http://１２７.０.０.１/", "127.0.0.1", 80, True),
    ],
)
def test_the_parts_are_told_apart(url: str, host: str, port: int, literal: bool) -> None:
    target = check_url(url)
    assert (target.host, target.port, target.address is not None) == (host, port, literal)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "FILE:///etc/passwd", "data:image/png;base64,AAAA", "ftp://a/b", "gopher://a/", "pipe:cat /etc/passwd",
     "javascript:alert(1)", "s3://bucket/key", "localhost:80/x", "ws://a/", "blob:http://a/", "x" * 50 + "://a/"],
)  # fmt: skip
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url)
    assert caught.value.reason is Reason.BAD_SCHEME


@pytest.mark.parametrize(
    "url",
    [
        "", " ", "example.com/a.jpg", "//example.com/a", "/a", "http:", "http:/", "http:/a", "http:a", "http://", "http:///a",
        "http://?", "http://:80/", "http://./", "http://.a/", "http://a../", "http://a..b/",
        "http://user@a/", "http://user:pw@a/", "http://@a/", "http://a@127.0.0.1/", "http://example.com\\@127.0.0.1/",
        "http://a\\b/", "http://a b/", "http://a%2eb/", "http://127.0.0.1%00.example/", "http://a,b/", "http://a;b/", "http://a|b/",
        "http://a:b/", "http://a:0/", "http://a:65536/", "http://a:99999/", "http://a:123456/", "http://a:-1/", "http://a:8 0/",
        "http://a:+80/", "http://a:８０/",
        "http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0X7F.1/", "http://127.1/", "http://127.0.1/",
        "http://0177.0.0.1/", "http://127.0.0.01/", "http://127.0.0.1.1/", "http://256.0.0.1/", "http://1.2.3/", "http://0/",
        "http://1.2.3.4.5/", "http://a.1/", "http://a.0x/", "http://a.0x1f/", "http://127.0.0.0x1/", "http://①②⑦.0.0.1.1/",
        "http://[::1/", "http://::1/", "http://[::1]a/", "http://[]/", "http://[::1%25eth0]/", "http://[fe80::1%eth0]/",
        "http://[127.0.0.1]/", "http://[::1]]/", "http://[v1.a]/", "http://[::g]/",
        "http://a/\r\nHost: b", "http://a/\n", "\nhttp://a/", "http://a\t/", "http://a/\x00", "http://a/\x7f", "http://a/\x85",
        "http://a\r\n.b/", "http://a/\ud800", "ht\ntp://a/",
        "http://" + "a" * 64 + ".com/", "http://" + ".".join(["a" * 60] * 5) + "/", "http://" + "ü" * 300 + "/",
        "http://a/" + "b" * MAX_LENGTH, "http://a/" + "ü" * (MAX_LENGTH // 2),
        "http://\u200d/", "http://\u2024.com/", "http://a／b/", "http://a＠b/",
    ],
)  # fmt: skip
def test_malformed_and_ambiguous_urls_are_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url)
    assert caught.value.reason is Reason.BAD_URL
    assert caught.value.detail.isprintable()


@given(st.text(max_size=60))
def test_any_text_is_refused_or_read_as_urllib_reads_the_result(text: str) -> None:
    for url in (text, "http://" + text, "http://a" + text, "https://a/" + text):
        try:
            target = check_url(url)
        except Refused:
            continue
        parts = urlsplit(target.url)
        assert target.url.isascii()
        assert target.url.isprintable()
        assert " " not in target.url
        assert (parts.scheme, parts.hostname) == (target.scheme, target.host)
        assert (parts.port or {"http": 80, "https": 443}[parts.scheme]) == target.port
        assert parts.username is None
        assert check_url(target.url) == target


@pytest.mark.parametrize(
    ("location", "after"),
    [
        ("/b", "http://a.example/b"),
        ("b", "http://a.example/x/b"),
        ("../b?c", "http://a.example/b?c"),
        ("?c", "http://a.example/x/y?c"),
        ("//b.example/c", "http://b.example/c"),
        ("https://b.example/", "https://b.example/"),
        ("HTTPS://B.example", "https://b.example/"),
        (" /b ", "http://a.example/b"),
        ("/ü", "http://a.example/%C3%BC"),
        ("#z", "http://a.example/x/y?q"),
    ],
)
def test_a_location_is_resolved(location: str, after: str) -> None:
    assert follow(check_url("http://a.example/x/y?q"), location).url == after


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", Reason.BAD_SCHEME),
        ("data:,x", Reason.BAD_SCHEME),
        ("http://b.example/", Reason.DOWNGRADE),
        ("HTTP://a.example/", Reason.DOWNGRADE),
        ("//user@b.example/", Reason.BAD_URL),
        ("//[::1", Reason.BAD_URL),
        ("//0x7f.1/", Reason.BAD_URL),
        ("/a\x0bb", Reason.BAD_URL),
        ("/" + "a" * MAX_LENGTH, Reason.BAD_URL),
    ],
)
def test_a_location_is_refused_like_a_url(location: str, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        follow(check_url("https://a.example/"), location)
    assert caught.value.reason is reason
