"""Which proxies can be named: what libcurl would take for another kind, or for none, is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

from bezoar.errors import UsageError

_KINDS = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def check_proxy(url: str) -> None:
    """UsageError, which shows no password, when `url` is not `[KIND://][USER:PASSWORD@]HOST[:PORT]`; KIND is http by default."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("the proxy has characters that no URL has; write its host in ASCII")
    kind, separator, _ = url.partition("://")
    if separator and kind.lower() not in _KINDS:
        raise UsageError(f"no kind of proxy {kind[:20]!r}; known: {', '.join(_KINDS)}")
    try:
        parts = urlsplit(url if separator else f"http://{url}")
        valid = parts.port is None or parts.port > 0
    except ValueError:
        valid = False
    if not valid:
        raise UsageError("the proxy has no valid port or address; give http://HOST:PORT")
    if not parts.hostname:
        raise UsageError("the proxy has no host; give http://HOST:PORT")
