from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from acquire.hub.hub_site import HubSite
from acquire.servers import Server, serve
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Limits, Policy
from bezoar.acquire.hub.api import Hub

FILES = {"README.md": b"# Signs\n", ".gitattributes": b"*.bin filter=lfs\n", "data/labels.csv": b"a,1\nb,2\n"}
LFS = {"data/train/0.bin": b"\x00\x01" * 40_000, "data/train/1.bin": b"\x02\x03" * 50_000}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bezoar.acquire.transfers.FIRST_PAUSE_S", 0.01)


@pytest.fixture
def site() -> HubSite:
    return HubSite(files=dict(FILES), lfs=dict(LFS))


@pytest.fixture
def server(site: HubSite) -> Iterator[Server]:
    with serve(site) as running:
        yield running


@pytest.fixture
def hub_at() -> Iterator[Callable[..., Hub]]:
    """`hub_at(server, token=None)`: the hub as the code under test sees it."""
    clients: list[Client] = []

    def make(server: Server, token: str | None = None, *allowed: str) -> Hub:
        hosts = (f"127.0.0.1:{server.port}", *allowed)
        clients.append(Client(Limits(connections=4, per_host=4), Policy(allowed=hosts, opt_outs=())))
        return Hub(clients[-1], server.url, token)

    yield make
    for client in clients:
        client.close()
