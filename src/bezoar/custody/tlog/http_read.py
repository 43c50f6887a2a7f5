"""One file over HTTP(S), through the session of an fsspec file system: whole, bounded in bytes, in memory and in time.

fsspec's own stream hands out what has arrived so far as if it were the file, waits five minutes for a byte now and then, and
inflates whatever it is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urljoin, urlsplit

_PATIENCE_S = 60.0  # from the request on; each byte that comes buys a little more
_SLOWEST = 16 << 10  # bytes a second
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 1 << 20


def read_url(files: Any, url: str, length: int) -> bytes:
    """The first `length` bytes of the file at `url`, all of it when it is shorter.

    FileNotFoundError when it is not there. OSError for a redirect to another scheme, an answer that is compressed although
    that was not asked for, and a server that is too slow; other errors are those of aiohttp, as when less comes than promised.
    """
    from fsspec.asyn import sync  # type: ignore[import-untyped]

    try:
        return bytes(sync(files.loop, _get, files, url, length))
    except TimeoutError as error:
        raise OSError(
            f"too slow: less than {_SLOWEST:,} bytes a second after the first {_PATIENCE_S:.0f} s"
        ) from error


async def _get(files: Any, url: str, length: int) -> bytes:
    start = asyncio.get_running_loop().time()
    async with asyncio.timeout_at(start + _PATIENCE_S) as deadline:
        session = await files.set_session()
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await session.get(
                files.encode_url(url),
                headers={"Accept-Encoding": "identity"},
                allow_redirects=False,
                auto_decompress=False,
                timeout=_no_timeout(),
            )
            async with answer:
                if answer.status in _REDIRECTS:
                    url = _target(url, answer.headers.get("Location", ""))
                    continue
                files._raise_not_found_for_status(answer, url)
                if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise OSError("the answer is compressed, which was not asked for")
                data = bytearray()
                while len(data) < length:
                    piece = await answer.content.read(min(_PIECE, length - len(data)))
                    if not piece:
                        break
                    data += piece
                    deadline.reschedule(start + _PATIENCE_S + len(data) / _SLOWEST)
                answer.close()  # what lies beyond is not wanted
                return bytes(data)
        raise OSError(f"more than {_MAX_REDIRECTS} redirects")


def _target(url: str, location: str) -> str:
    """Where a redirect leads. To another host it may: who reads checks what comes. From https:// to http:// it may not."""
    target = urljoin(url, location)
    if not location or urlsplit(target).scheme != urlsplit(url).scheme:
        raise OSError(f"a redirect to {target[:200]!r}: only {urlsplit(url).scheme}:// is followed from here")
    return target


def _no_timeout() -> Any:
    """The five minutes that aiohttp allows are too few for a large file; the deadline above takes their place."""
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None)
