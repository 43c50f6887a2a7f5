"""Loopback HTTP servers for tests, honest and malicious: what goes over the wire is written by the test, byte for byte.

    with serve({"/a.jpg": page(b"...")}) as server:
        client.get(Request(server.url + "/a.jpg"))

A page is bytes (sent as they are), or a function of the request that returns bytes or yields them; a number that is
yielded is a pause in seconds, and a raised ConnectionAbortedError cuts the line. After yielded pages, and those that say
`connection: close`, the connection is closed.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Asked:
    """One request as it arrived: `target` is the path with its query; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    connection: int  # counts from 0

    @property
    def path(self) -> str:
        return self.target.split("?", 1)[0]


Script = Iterator["bytes | float"]
Page = bytes | Callable[[Asked], "bytes | Script"]
Site = Mapping[str, Page] | Callable[[Asked], "bytes | Script"]


@dataclass
class Server:
    """A running server: `asked` lists the requests so far; `site` may be changed while it runs."""

    site: Site
    scheme: str = "http"
    host: str = "127.0.0.1"
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def targets(self) -> list[str]:
        return [asked.target for asked in self.asked]

    def page_for(self, asked: Asked) -> bytes | Script:
        page = self.site if callable(self.site) else self.site.get(asked.path, page_404)
        return page if isinstance(page, bytes) else page(asked)


def head(status: int = 200, **headers: object) -> bytes:
    """A status line and headers as given (`content_length=5`; a list gives several), with the empty line."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    for name, value in headers.items():
        values = value if isinstance(value, list | tuple) else (value,)
        lines += [f"{name.replace('_', '-')}: {one}" for one in values]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"


def page(body: bytes, status: int = 200, **headers: object) -> bytes:
    """An honest answer with its Content-Length."""
    return head(status, content_length=len(body), **headers) + body


def redirect(location: str, status: int = 302) -> bytes:
    """An answer that points elsewhere."""
    return page(b"", status, location=location)


def page_404(_: Asked) -> bytes:
    return page(b"no such page", 404)


def drip(body: bytes, pause_s: float) -> Callable[[Asked], Script]:
    """One byte at a time, with pauses."""

    def script(_: Asked) -> Script:
        yield head(content_length=len(body))
        for at in range(len(body)):
            yield body[at : at + 1]
            yield pause_s

    return script


def endless(start: bytes, block: bytes) -> Callable[[Asked], Script]:
    """`start`, then `block` for ever."""

    def script(_: Asked) -> Script:
        yield start
        while True:
            yield block

    return script


def silent(before: bytes = b"") -> Callable[[Asked], Script]:
    """`before`, then nothing at all."""

    def script(_: Asked) -> Script:
        yield before
        yield 3600.0

    return script


def in_turn(*pages: Page) -> Callable[[Asked], bytes | Script]:
    """Another page at each request; the last one stays."""
    left = list(pages)

    def turn(asked: Asked) -> bytes | Script:
        page = left.pop(0) if len(left) > 1 else left[0]
        return page if isinstance(page, bytes) else page(asked)

    return turn


def ranged(body: bytes, **headers: object) -> Callable[[Asked], bytes]:
    """A page that honours `Range: bytes=N-`."""

    def answer(asked: Asked) -> bytes:
        wanted = asked.headers.get("range", "")
        if not wanted.startswith("bytes="):
            return page(body, accept_ranges="bytes", **headers)
        first = int(wanted.removeprefix("bytes=").split("-")[0])
        if first >= len(body):
            return page(b"", 416, content_range=f"bytes */{len(body)}")
        where = f"bytes {first}-{len(body) - 1}/{len(body)}"
        return page(body[first:], 206, content_range=where, **headers)

    return answer


@contextmanager
def serve(
    site: Site, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Server]:
    """Serve `site` in a thread of its own until the block ends."""
    with _running(Server(site, "https" if tls else "http", host, port), _talk, tls) as server:
        yield server


Talk = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@contextmanager
def _running(server: Server, talk: Talk, tls: ssl.SSLContext | None) -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    running: list[asyncio.Task[None]] = []
    writers: set[asyncio.StreamWriter] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(asyncio.CancelledError):
            await talk(server, reader, writer)

    async def hang_up() -> None:
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def main() -> None:
        listening = await asyncio.start_server(one, server.host, server.port, ssl=tls, backlog=512)
        server.port = listening.sockets[0].getsockname()[1]
        ready.set()
        await listening.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main())
        running.append(task)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        left = asyncio.all_tasks(loop)
        for one in left:
            one.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(hang_up())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError(f"no server on {server.host}:{server.port}")
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(running[0].cancel)
        thread.join(10)


async def _talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    number = server.connections
    server.connections += 1
    server.open_now += 1
    server.most_open = max(server.most_open, server.open_now)
    try:
        while (asked := await _ask(reader, number)) is not None:
            server.asked.append(asked)
            if not await _send(server.page_for(asked), writer):
                break
    except ConnectionAbortedError:
        writer.transport.abort()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
        pass
    finally:
        server.open_now -= 1
        with suppress(Exception):
            writer.close()


async def _ask(reader: asyncio.StreamReader, number: int) -> Asked | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    if target.startswith("http://"):  # the form for proxies, which servers have to read, too
        target = "/" + target.removeprefix("http://").partition("/")[2]
    pairs = (line.partition(":") for line in lines)
    return Asked(method, target, {n.strip().lower(): v.strip() for n, _, v in pairs}, raw, number)


async def _send(page: bytes | Script, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection stays open."""
    if isinstance(page, bytes):
        writer.write(page)
        await writer.drain()
        return b"connection: close" not in page.split(b"\r\n\r\n", 1)[0].lower()
    for part in page:
        if isinstance(part, bytes):
            writer.write(part)
            await writer.drain()
        else:
            await asyncio.sleep(part)
    return False


@contextmanager
def proxy(routes: Mapping[str, Server]) -> Iterator[Server]:
    """An HTTP proxy that knows `host:port` by these routes only; its `asked` are the requests to itself."""

    async def talk(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _ask(reader, 0)
        if asked is None:
            return
        server.asked.append(asked)
        place = asked.target if asked.method == "CONNECT" else asked.headers["host"]
        place = place if ":" in place else place + ":80"
        there = routes.get(place)
        if there is None:
            writer.write(page(b"no route", 403, connection="close"))
            await writer.drain()
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(there.host, there.port)
        if asked.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\nx-robots-tag: noai\r\n\r\n")
        else:
            far_writer.write(asked.raw)
        try:
            await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        finally:
            far_writer.transport.abort()

    with _running(Server({}), talk, None) as server:
        yield server


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    with suppress(Exception):
        writer.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own; `ca_file` is what a client has to trust."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    ca_file: Path

    @classmethod
    def at(cls, folder: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Bezoar test authority")
        certificate = (
            _certificate(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = folder / "authority.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, certificate, key, path)

    def context(self, *names: str, days: int = 30) -> ssl.SSLContext:
        """TLS for a server of these names and addresses; negative `days`: expired that long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _certificate(_name(names[0]), self.certificate.subject, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"server-{certificate.serial_number}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int = 30
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
