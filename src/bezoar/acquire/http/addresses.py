"""Which addresses one may connect to: public unicast ones, by the IANA special-purpose address registries (RFC 6890).

Own tables, not `ipaddress.is_global`, whose answers change between Python releases. Every way to wrap an IPv4 address
in an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo) is refused as such, whatever is inside. Cloud metadata services
live at link-local, shared or unique-local addresses, which are not public anyway; those at public ones are listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from bezoar.errors import InputError

Address = IPv4Address | IPv6Address

_NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches loopback
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is a metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # metadata service at a public address (Azure)
        "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata service of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is a metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_UNICAST_6 = IPv6Network(
    "2000::/3"
)  # everything else is special: ::1, ::ffff:0:0/96, 64:ff9b::/96, fc00::/7, fe80::/10
_NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


@lru_cache(maxsize=8192)
def is_public(address: str | Address) -> bool:
    """Whether `address` belongs to a host of the public internet. Text that is no plain address is not public."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_4)
    return (
        parsed.scope_id is None
        and parsed in _UNICAST_6
        and not any(parsed in network for network in _NOT_PUBLIC_6)
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """Exceptions from the rule: hosts by name, and networks, each for one port or (None) for all.

    A name that is allowed is allowed wherever it leads.
    """

    names: frozenset[tuple[str, int | None]]
    networks: tuple[tuple[IPv4Network | IPv6Network, int | None], ...]

    @classmethod
    def of(cls, entries: tuple[str, ...]) -> Allowed:
        """Parse `name`, `address`, `network/bits`, `name:port`, `address:port` or `[address]:port`; raises InputError."""
        names, networks = set(), []
        for entry in entries:
            host, port = _split(entry)
            network = _network(host)
            if network is not None:
                networks.append((network, port))
            elif "/" in host or ":" in host or not host:
                raise InputError(f"{entry!r} is no host, address or network that could be allowed")
            else:
                names.add((host.lower().removesuffix("."), port))
        return cls(frozenset(names), tuple(networks))

    def name(self, host: str, port: int) -> bool:
        """Whether this name (or literal) was allowed."""
        return (host, None) in self.names or (host, port) in self.names

    def address(self, address: str | Address, port: int) -> bool:
        """Whether this address is public or was allowed."""
        return is_public(address) or self.network(address, port)

    def network(self, address: str | Address, port: int) -> bool:
        """Whether this address was allowed, public or not."""
        if not self.networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(only in (None, port) and parsed in network for network, only in self.networks)


def _split(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.strip(), "", ""
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        if rest and not rest.startswith(":"):
            raise InputError(f"{entry!r} is no host, address or network that could be allowed")
        colon, port = rest[:1], rest[1:]
    elif host.count(":") == 1:
        host, colon, port = host.partition(":")
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(f"{entry!r} has no port number after the colon")
    return host, int(port)


def _network(host: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(host)
    except ValueError:
        return None
