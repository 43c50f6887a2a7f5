"""The registrable domain of a host, by a pinned Public Suffix List (https://publicsuffix.org/list/): nothing is ever fetched.

The list is the snapshot inside the package `tldextract`; `SuffixList.version` says of which day. By default only its ICANN
section counts, the suffixes under which a registry sells names: what lapses and is bought again is such a registration.
With the private section (blogspot.com, github.io, ...) each customer of such a service is a domain of its own.
"""

from __future__ import annotations

import functools
import hashlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bezoar.errors import MissingExtraError

_VERSION = re.compile(r"^// VERSION: (\S{1,60})$", re.MULTILINE)


class Suffixes(StrEnum):
    """Which sections of the list count."""

    ICANN = "icann"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Domain:
    """What the list says of a host.

    Attributes:
        name: the suffix and one label more; the host itself where it is a suffix.
        known: whether a rule of the list matches; otherwise the last label counts as the suffix, as the list's algorithm says.
        private: whether the host lies under a suffix of the private section, whichever sections count.

    """

    name: str
    known: bool
    private: bool


@dataclass(frozen=True)
class SuffixList:
    """A version of the Public Suffix List and the sections of it that count."""

    version: str
    sha256: str
    suffixes: Suffixes
    _extract: Callable[..., Any]

    def domain_of(self, host: str) -> Domain:
        """`host`: a name in lower case, ASCII (punycode), without a final dot; no address."""
        private = self._extract(host, include_psl_private_domains=True)
        # the two sections give different answers for hosts under a private suffix only
        found = private if self.suffixes is Suffixes.ALL or not private.is_private else self._extract(host)
        if not found.suffix:
            return Domain(".".join(host.rsplit(".", 2)[-2:]), False, False)
        name = f"{found.domain}.{found.suffix}" if found.domain else host
        return Domain(name, True, private.is_private)


def suffix_list(suffixes: Suffixes = Suffixes.ICANN) -> SuffixList:
    """The list that is installed; MissingExtraError when none is."""
    version, digest, extract = _snapshot()
    return SuffixList(version, digest, suffixes, extract)


@functools.cache
def _snapshot() -> tuple[str, str, Callable[..., Any]]:
    try:
        import tldextract

        data = pkgutil.get_data("tldextract", ".tld_set_snapshot")
    except (ImportError, OSError):
        data = None
    if data is None:
        raise MissingExtraError("the Public Suffix List", "fetch")
    stated = _VERSION.search(data[:4096].decode("utf-8", "replace"))
    version = stated[1] if stated else f"tldextract {tldextract.__version__}"
    extract = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True)
    return version, hashlib.sha256(data).hexdigest(), extract
