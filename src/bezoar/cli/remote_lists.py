"""A list of URLs that lies at a URL itself, and its signature beside it: brought here before anything of it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bezoar.cli.remote_options import client_of, digest_of, hub_of
from bezoar.errors import InputError, UsageError, VerificationError

_MAX_SIGNATURE = 64 << 20  # bytes; it has a line for each file of the list


def remote_list(source: str, out: Path, given: Mapping[str, Any]) -> Path:
    """The local copy of a list of URLs at hf://, http(s):// or a store, brought anew; it has the digest --sha256, if given."""
    from bezoar.acquire.archives.fetching import Promise, fetch_file

    path = _place(source, out)
    promise = Promise(digest_of(given), None, nothing=True)
    scheme = _scheme(source)
    if scheme == "hf":
        return _held_to(promise.sha256, _from_hub(source, path.with_name("hub"), given), source)
    if scheme in ("http", "https"):
        with client_of(given) as client:
            _make_room(path)
            fetch_file(client, source, path, promise)
    else:
        from bezoar.acquire.objects import copy_object
        from bezoar.acquire.stores import Store

        store = Store(source)
        _make_room(path)
        copy_object(store, path, promise)
    return path


def remote_signature(source: str, out: Path, given: Mapping[str, Any]) -> Path:
    """The local copy of what lies beside such a list as its signature, at the same URL with `.sig` after the path."""
    from bezoar.acquire.lists.signing import SUFFIX

    base, mark, query = source.partition("?")
    wanted = f"{base}{SUFFIX}{mark}{query}"
    path = _place(wanted, out)
    scheme = _scheme(source)
    if scheme == "hf":
        return _from_hub(wanted, path.with_name("hub-signature"), given, _MAX_SIGNATURE)
    if scheme in ("http", "https"):
        content = _page(wanted, given)
    else:
        from bezoar.acquire.stores import Store

        store = Store(wanted)
        if store.size() > _MAX_SIGNATURE:
            raise InputError(f"{wanted[:300]}: is no signature; it has more than {_MAX_SIGNATURE:,} bytes")
        content = b"".join(store.pieces(store.root))
    _make_room(path)
    path.write_bytes(content)
    return path


def _place(source: str, out: Path) -> Path:
    """Where the local copy lies, under its own name: the suffix says what kind of list it is."""
    from bezoar.acquire.run_state import state_folder
    from bezoar.acquire.transfers import without_query

    shown = without_query(source)
    name = shown.rstrip("/").rpartition("/")[2]
    if not name or name in (".", "..") or not name.isprintable() or len(name.encode()) > 200:
        raise UsageError(f"{shown[:200]}: names no file; give the URL of the list itself")
    return state_folder(out) / "list" / name


def _scheme(source: str) -> str:
    return source.partition("://")[0].lower()


def _make_room(path: Path) -> None:
    """For what is brought anew. Only once all options are known to be right: else nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _page(url: str, given: Mapping[str, Any]) -> bytes:
    """A small file at a URL."""
    from bezoar.acquire.http.exchange import Request
    from bezoar.acquire.transfers import without_query

    with client_of(given) as client:
        reply = client.get(Request(url, max_bytes=_MAX_SIGNATURE))
    if reply.reason is not None:
        raise InputError(
            f"{without_query(url)[:300]}: cannot be fetched ({reply.reason}: {reply.detail}); the signature of the list is "
            "expected there, or give --index-signature FILE"
        )
    return reply.body


def _from_hub(source: str, out: Path, given: Mapping[str, Any], max_bytes: int = 1 << 42) -> Path:
    """The local copy of one file of a repository."""
    from bezoar.acquire.hub.fetching import HubOptions, fetch_hub
    from bezoar.acquire.hub.source import HubSource

    wanted = HubSource.parse(source)
    with client_of(given, hub=True) as client:
        hub = hub_of(client)
        out.parent.mkdir(parents=True, exist_ok=True)
        report = fetch_hub(hub, wanted, out, HubOptions(max_bytes=max_bytes))
    for each in report.rejected:
        raise VerificationError(f"{source}: {each.path}: {each.reason} ({each.detail})")
    path = out / wanted.path
    if not wanted.path or not path.is_file():
        raise InputError(f"{source}: is no single file; name the list itself")
    return path


def _held_to(expected: bytes | None, path: Path, source: str) -> Path:
    """The file, when it has that digest."""
    from bezoar.acquire.transfers import hash_file

    found, _ = hash_file(path, path.stat().st_size)
    if expected is not None and found != expected:
        raise VerificationError(
            f"{source}: sha256 is {found.hex()}, not {expected.hex()}; it is not what was promised"
        )
    return path
