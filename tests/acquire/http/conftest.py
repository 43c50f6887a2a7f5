"""A client that may reach loopback, with short patience."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from acquire.servers import Authority
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Limits, Policy

pytest.importorskip("pycurl")

LOOPBACK = Policy(allowed=("127.0.0.1",))
PATIENCE = Limits(max_bytes=1 << 20, timeout_s=5.0, deadline_s=10.0)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(PATIENCE, LOOPBACK) as client:
        yield client


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.at(tmp_path_factory.mktemp("authority"))
