"""Which addresses are public, and what the exceptions cover."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.acquire.http.addresses import Allowed, is_public
from bezoar.errors import InputError

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - not bound to
    "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1", "2001:10::1",
    "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fd20:ce::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1",
    "", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "8.8.8", "8.8.8.8 ", "8.8.8.08", "[2606:4700::1]",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.1", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700:4700::1111", "2a00:1450::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_special_wrapped_and_odd_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_beside_the_special_ones_are_public(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_that_python_calls_private_is_never_public(number: int) -> None:
    address = IPv4Address(number)
    if address.is_private or address.is_multicast or address.is_reserved or address.is_loopback:
        assert not is_public(address)
    for wrapped in (
        (0xFFFF << 32) | number,
        number,
        (0x64FF9B << 96) | number,
        (0x2002 << 112) | (number << 80),
    ):
        assert not is_public(IPv6Address(wrapped))


@pytest.mark.parametrize(
    ("entry", "address", "port", "covered"),
    [
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1", "127.0.0.2", 80, False),
        ("127.0.0.1", "::1", 80, False),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, False),
        ("127.0.0.0/8", "127.9.9.9", 80, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, False),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("fd00::/8", "fd12::1", 443, True),
        ("10.0.0.0/8", "1.1.1.1", 443, True),
        ("10.0.0.0/8", "192.168.0.1", 443, False),
        ("10.0.0.0/8", "no address", 443, False),
        ("internal.example", "10.0.0.1", 443, False),
    ],
)  # fmt: skip
def test_an_exception_covers_its_network_and_port(entry: str, address: str, port: int, covered: bool) -> None:
    assert Allowed.of((entry,)).address(address, port) is covered


def test_an_exception_by_name_covers_that_name() -> None:
    allowed = Allowed.of(("Data.Internal.", "cache.internal:8080"))
    assert allowed.name("data.internal", 80)
    assert allowed.name("data.internal", 9999)
    assert not allowed.name("other.data.internal", 80)
    assert allowed.name("cache.internal", 8080)
    assert not allowed.name("cache.internal", 80)


@pytest.mark.parametrize(
    "entry", ["", " ", "10.0.0.0/33", "10.0.0.1/8", "a/b", "host:", "host:0", "host:65536", "host:x", "[::1]x", "::1::", "http://x"]
)  # fmt: skip
def test_an_exception_that_cannot_be_read_is_an_error(entry: str) -> None:
    with pytest.raises(InputError, match=r"allowed|port"):
        Allowed.of((entry,))
