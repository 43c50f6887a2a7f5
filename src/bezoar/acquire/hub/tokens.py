"""The hub's address and the user's token, from where huggingface_hub keeps them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from bezoar.errors import InputError, UsageError
from bezoar.files import read_file

ENDPOINT = "https://huggingface.co"
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}")


def endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """HF_ENDPOINT, or the public hub; UsageError when it is no http(s) URL of a host."""
    from bezoar.acquire.http.urls import Refused, check_url

    given = environment.get("HF_ENDPOINT") or ENDPOINT
    try:
        check_url(given)
    except Refused as error:
        raise UsageError(
            f"HF_ENDPOINT {given[:200]!r}: {error.detail}; give a URL such as {ENDPOINT}"
        ) from error
    if "?" in given or "#" in given:
        raise UsageError(
            f"HF_ENDPOINT {given[:200]!r}: has a query or fragment; give a URL such as {ENDPOINT}"
        )
    return given.rstrip("/")


def token(environment: Mapping[str, str] = os.environ) -> str | None:
    """HF_TOKEN, or what is in the file HF_TOKEN_PATH, by default $HF_HOME/token or ~/.cache/huggingface/token; None: no token.

    InputError, which never shows it, when it is malformed.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environment.get(name, "").strip():
            return _checked(environment[name], name)
    path = _path(environment)
    return _checked(read_file(path, 4096).decode("utf-8", "replace"), str(path)) if path.is_file() else None


def _path(environment: Mapping[str, str]) -> Path:
    for name, below in (("HF_TOKEN_PATH", ""), ("HF_HOME", "token"), ("XDG_CACHE_HOME", "huggingface/token")):
        if environment.get(name):
            return _expanded(environment[name], name) / below
    return _expanded("~/.cache", "HOME") / "huggingface" / "token"


def _expanded(path: str, variable: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no such user, or one without a home
        raise InputError(f"{variable} {path[:200]!r}: names no home folder; give an absolute path") from error


def _checked(text: str, where: str) -> str | None:
    found = text.strip()
    if not found:
        return None
    if not _TOKEN.fullmatch(found):
        raise InputError(f"{where}: is no token; it must be one line of printable ASCII")
    return found
