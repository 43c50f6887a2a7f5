"""What is written after hf://, the endpoint and the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from bezoar.acquire.hub.source import HubSource
from bezoar.acquire.hub.tokens import ENDPOINT, endpoint, token
from bezoar.errors import InputError, UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://datasets/ann/signs", HubSource("dataset", "ann/signs", None, "")),
        ("hf://datasets/ann/signs@v1.0", HubSource("dataset", "ann/signs", "v1.0", "")),
        ("hf://datasets/ann/signs@main/data/train", HubSource("dataset", "ann/signs", "main", "data/train")),
        ("hf://datasets/ann/signs/data/", HubSource("dataset", "ann/signs", None, "data")),
        ("hf://datasets/ann/signs@refs/pr/3/data", HubSource("dataset", "ann/signs", "refs/pr/3", "data")),
        (
            "hf://datasets/ann/signs@refs%2Fconvert%2Fparquet",
            HubSource("dataset", "ann/signs", "refs/convert/parquet", ""),
        ),
        ("hf://ann/net-1.5", HubSource("model", "ann/net-1.5", None, "")),
        ("hf://models/ann/net", HubSource("model", "ann/net", None, "")),
    ],
)
def test_sources(text: str, expected: HubSource) -> None:
    assert HubSource.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://datasets/signs",
        "hf://spaces/ann/app",
        "hf://datasets/../signs",
        "hf://datasets/ann/..",
        "hf://datasets/ann/si gns",
        "hf://datasets/ann/signs@",
        "hf://datasets/ann/signs@a..b",
        "hf://datasets/ann/signs@a%0Ab",
        "hf://datasets/ann/signs/../x",
        "hf://datasets/ann/signs?x=1",
        "hf://datasets/user:password@ann/signs",
    ],
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(UsageError):
        HubSource.parse(text)


def test_the_endpoint(tmp_path: Path) -> None:
    assert endpoint({}) == endpoint({"HF_ENDPOINT": ""}) == ENDPOINT
    assert endpoint({"HF_ENDPOINT": "https://hub.example/mirror/"}) == "https://hub.example/mirror"
    for wrong in ("ftp://hub.example", "hub.example", "https://me@hub.example", "https://hub.example?x"):
        with pytest.raises(UsageError, match="HF_ENDPOINT"):
            endpoint({"HF_ENDPOINT": wrong})


def test_the_token_comes_from_where_huggingface_hub_keeps_it(tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path)}
    assert token(home) is None
    (tmp_path / "token").write_text("hf_home\n")
    (tmp_path / "other").write_text("hf_path\n")
    assert token(home) == "hf_home"
    assert token({**home, "HF_TOKEN_PATH": str(tmp_path / "other")}) == "hf_path"
    assert token({**home, "HF_TOKEN": " hf_direct "}) == "hf_direct"
    (tmp_path / "huggingface").mkdir()
    (tmp_path / "huggingface" / "token").write_text("hf_cache")
    assert token({"XDG_CACHE_HOME": str(tmp_path)}) == "hf_cache"


@pytest.mark.parametrize("variable", ["HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"])
def test_the_home_of_nobody_is_one_line(variable: str) -> None:
    with pytest.raises(InputError, match=f"^{variable} '~nobodyx/y': names no home folder"):
        token({variable: "~nobodyx/y"})


def test_a_machine_without_a_home_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(InputError, match=r"^HOME '~/\.cache'"):
        token({})


def test_a_malformed_token_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        token({"HF_TOKEN": "hf_top\r\nsecret: 1"})
    assert "hf_top" not in str(caught.value)
