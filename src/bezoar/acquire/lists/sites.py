"""What the part of a URL before its path says: whose domain it is, and what is odd about it.

A URL is read here exactly as the fetch reads it (`http.urls.check_url`); what the fetch would refuse is named by its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address

from bezoar.acquire.http.addresses import is_public
from bezoar.acquire.http.urls import MAX_LENGTH, Refused, Target, check_url, is_default_port
from bezoar.acquire.lists.domains import Domain, SuffixList
from bezoar.acquire.reasons import Reason

_SITES, _HOSTS = 1 << 17, 1 << 16  # remembered; some hundred bytes each
_USERINFO = re.compile(r" *[A-Za-z]+://[^/?#\x00-\x1f\x7f-\x9f]*@[^\x00-\x1f\x7f-\x9f]*")
_LOCAL_SUFFIXES = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan", ".home.arpa")


class Oddity(StrEnum):
    """What a row can be listed for. The words are part of the output format."""

    BAD_URL = "bad_url"
    BAD_SCHEME = "bad_scheme"
    USERINFO = "userinfo"
    LOCAL_HOST = "local_host"
    IP_HOST = "ip_host"
    ODD_PORT = "odd_port"
    UNKNOWN_SUFFIX = "unknown_suffix"
    HIDDEN_CHARACTERS = "hidden_characters"
    HASH_MALFORMED = "hash_malformed"
    TWO_HASHES = "two_hashes"
    SHARED_HASH = "shared_hash"


@dataclass(frozen=True, slots=True)
class Site:
    """One origin, more or less.

    Attributes:
        domain: the registrable domain; the address or bare name of a host that has none; "" where there is no host to go to.
        https: whether the scheme is https.
        private: whether it lies under a suffix of the list's private section.
        punycode: whether a label of the host is an A-label (RFC 5890).
        oddities: what is odd, each with a reason in words.

    """

    domain: str
    https: bool = False
    private: bool = False
    punycode: bool = False
    oddities: tuple[tuple[Oddity, str], ...] = ()


class Sites:
    """Reads URLs; remembers what it has seen, up to a number."""

    def __init__(self, suffixes: SuffixList) -> None:
        self._domain: Callable[[str], Domain] = lru_cache(_HOSTS)(suffixes.domain_of)
        self.of_head: Callable[[str], Site] = lru_cache(_SITES)(self.of_url)  # `https://host:port`

    def of_url(self, url: str) -> Site:
        """What is to be said of this URL."""
        try:
            target = check_url(url)
        except Refused as refused:
            return Site("", oddities=((_named(refused, url), refused.detail),))
        if target.address is not None:
            name = f"[{target.host}]" if isinstance(target.address, IPv6Address) else target.host
            domain = Domain(name, True, False)
        else:
            domain = self._domain(target.host)
        return Site(
            domain.name,
            https=target.scheme == "https",
            private=domain.private,
            punycode=target.host.startswith("xn--") or ".xn--" in target.host,
            oddities=tuple(_oddities(target, domain)),
        )


def _oddities(target: Target, domain: Domain) -> list[tuple[Oddity, str]]:
    found = []
    if target.address is not None and not is_public(target.address):
        found.append((Oddity.LOCAL_HOST, f"{target.host} is no public address"))
    elif target.address is not None:
        found.append((Oddity.IP_HOST, f"the host is the address {target.host}"))
    elif "." not in target.host or target.host.endswith(_LOCAL_SUFFIXES):
        found.append((Oddity.LOCAL_HOST, f"{target.host} is a name of a local network"))
    elif not domain.known:
        found.append((Oddity.UNKNOWN_SUFFIX, f"no public suffix is known for {target.host}"))
    if not is_default_port(target):
        found.append((Oddity.ODD_PORT, f"port {target.port} of {target.scheme}"))
    return found


def _named(refused: Refused, url: str) -> Oddity:
    if refused.reason is Reason.BAD_SCHEME:
        return Oddity.BAD_SCHEME
    return Oddity.USERINFO if len(url) <= MAX_LENGTH and _USERINFO.fullmatch(url) else Oddity.BAD_URL
