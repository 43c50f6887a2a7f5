"""Strict reading of http and https URLs (RFC 3986), before anything is connected to.

What the WHATWG URL standard forgives (odd spellings of IPv4 addresses, backslashes, user names in front of the host) is
refused here: two readers that disagree about the host are how checks are walked around. What is common in lists and
harmless (spaces and letters beyond ASCII in the path, international names) is encoded. The URL that goes to libcurl is
put together anew from the parts that were checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

from bezoar.acquire.http.addresses import Address
from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError

MAX_LENGTH = 8192  # characters
_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PARTS = re.compile(r"//([^/?#]*)([^#]*)")
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_QUAD = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_SAFE = "!$%&'()*+,-./:;=?@[]_~"  # with letters and digits: what stays as it is in a path or query
_WHOLE = re.compile(r"[!$-;=?-Z\[\]_a-z~]*")


class Refused(InputError):  # noqa: N818 - it is the URL that is refused
    """A URL that is not fetched: `reason`, and `detail` in words."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL.

    Attributes:
        scheme: http or https.
        host: in lower case, international names as A-labels, no trailing dot; IPv6 without brackets.
        port: also where the URL leaves it out.
        url: ASCII, normalised, without a fragment.
        address: where the host is a literal address.

    """

    scheme: str
    host: str
    port: int
    url: str
    address: Address | None

    @property
    def place(self) -> tuple[str, int]:
        """Host and port: what connections are counted by."""
        return self.host, self.port

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what secrets belong to."""
        return self.scheme, self.host, self.port


def check_url(url: str) -> Target:
    """The parts of an http or https URL.

    Raises:
        Refused: BAD_SCHEME for another scheme; BAD_URL for everything else that is wrong.

    """
    if len(url) > MAX_LENGTH:
        raise _bad(f"longer than {MAX_LENGTH} characters")
    if _CONTROL.search(url):
        raise _bad("a control character in the URL")
    url = url.strip(" ")
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise _bad("no http:// or https:// in front")
    name = scheme[1].lower()
    if name not in _PORTS:
        raise Refused(Reason.BAD_SCHEME, f"{name[:20]}: is neither http nor https")
    parts = _PARTS.match(url, scheme.end())
    if parts is None:
        raise _bad(f"no // after {name}:")
    host, port, address = _authority(parts[1], _PORTS[name])
    path = parts[2] if _WHOLE.fullmatch(parts[2]) else quote(parts[2], safe=_SAFE)
    if not path.startswith("/"):
        path = "/" + path
    if len(path) > MAX_LENGTH:
        raise _bad(f"longer than {MAX_LENGTH} characters")
    shown = f"[{host}]" if isinstance(address, IPv6Address) else host
    if port != _PORTS[name]:
        shown = f"{shown}:{port}"
    return Target(name, host, port, f"{name}://{shown}{path}", address)


def follow(target: Target, location: str) -> Target:
    """Where the `Location` of an answer from `target` leads.

    Raises:
        Refused: as check_url does; DOWNGRADE from https to http.

    """
    if len(location) > MAX_LENGTH:
        raise _bad(f"redirect to a URL longer than {MAX_LENGTH} characters")
    if _CONTROL.search(location):
        raise _bad("a control character in the URL redirected to")
    try:
        after = check_url(urljoin(target.url, location.strip(" ")))
    except Refused as error:
        raise Refused(error.reason, f"redirect: {error.detail}") from None
    except ValueError:
        raise _bad("redirect to a malformed URL") from None
    if target.scheme == "https" and after.scheme == "http":
        raise Refused(Reason.DOWNGRADE, f"redirect from https to http://{after.host}")
    return after


def is_default_port(target: Target) -> bool:
    """Whether this is the port that the scheme stands for."""
    return target.port == _PORTS[target.scheme]


def _bad(detail: str) -> Refused:
    return Refused(Reason.BAD_URL, detail)


@lru_cache(maxsize=4096)
def _authority(text: str, default: int) -> tuple[str, int, Address | None]:
    if "@" in text:
        raise _bad("a user name in front of the host")
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise _bad("a malformed host or port")
    port = int(parts[2]) if parts[2] else default
    if not 0 < port < 65536:
        raise _bad(f"port {port}")
    if parts[1].startswith("["):
        address = _ipv6(parts[1][1:-1])
        return str(address), port, address
    host = _host(parts[1])
    return host, port, _ipv4(host)


def _ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise _bad("a malformed IPv6 address") from None
    if address.scope_id is not None:
        raise _bad("an IPv6 address with a zone")
    return address


def _host(text: str) -> str:
    if len(text) > 254:
        raise _bad("a host name longer than 253 characters")
    host = text.lower() if text.isascii() else _a_labels(text)
    host = host.removesuffix(".")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise _bad("a malformed host name" if host else "no host")
    return host


def _a_labels(text: str) -> str:
    import idna

    try:
        return idna.encode(text, uts46=True).decode("ascii").lower()
    except UnicodeError:  # idna's own errors are such, too
        raise _bad("a host name that IDNA does not allow") from None


def _ipv4(host: str) -> IPv4Address | None:
    """A host that ends in a number is an address for every resolver; only the four decimal numbers are read here."""
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        if _QUAD.fullmatch(host):
            return IPv4Address(host)  # refuses leading zeros, which are octal for some
    except AddressValueError:
        pass
    raise _bad("an IPv4 address that is not written as four decimal numbers")
