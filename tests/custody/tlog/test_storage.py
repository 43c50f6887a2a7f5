"""Where logs are read from: folders, URLs, hostile paths and hostile servers."""

from __future__ import annotations

import gzip
import os
import socket
import sys
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bezoar.custody.tlog import http_read
from bezoar.custody.tlog.storage import Folder, Remote, storage
from bezoar.custody.tlog.tiles import TileTree
from bezoar.errors import InputError, LimitError, MissingExtraError, UsageError

from .support import hashes_of, memory_tree, write_tiles

BAD_PATHS = [
    "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "./a", "a/./b", "a//b", "a/", "a\\b", "a\x00b", "a\nb", "a b", "~/x",
    "file:///x", "http://x/y", "a/.hidden", ".hidden", "é", "a" * 2000, "a/%2e%2e/b", "a?b", "a#b", "a:b", "a/..%2f",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_no_log_has(tmp_path, path):
    with pytest.raises(InputError, match="not a path within a log"):
        Folder(tmp_path).read(path, 100)


def test_reading(tmp_path):
    (tmp_path / "a/b.p").mkdir(parents=True)
    (tmp_path / "a/b.p/12").write_bytes(b"data")
    folder = Folder(tmp_path)
    assert folder.read("a/b.p/12", 4) == b"data"
    assert folder.read("a/none", 4) is None
    assert folder.read("none/at/all", 4) is None
    assert folder.read("a/b.p/12/below-a-file", 4) is None
    with pytest.raises(LimitError, match="more than 3 bytes"):
        folder.read("a/b.p/12", 3)
    assert Folder(tmp_path / "nowhere").read("a", 1) is None


def test_only_ordinary_files_are_read(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("folder", "pipe", "socket"):
            with pytest.raises(InputError):
                Folder(tmp_path).read(name, 100)


def test_links_may_not_lead_out(tmp_path):
    root = tmp_path / "log"
    (root / "in").mkdir(parents=True)
    (root / "in/file").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "good").symlink_to("in/file")
    (root / "bad").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    folder = Folder(root)
    assert folder.read("good", 100) == b"inside"
    for path in ("bad", "up/secret"):
        with pytest.raises(InputError, match="leads out"):
            folder.read(path, 100)
    with pytest.raises(InputError, match="cannot be read"):
        folder.read("loop", 100)
    assert folder.read("dangling", 100) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        Folder(tmp_path).read("secret", 100)


def test_which_storage_for_which_location(tmp_path):
    assert isinstance(storage(tmp_path), Folder)
    assert isinstance(storage(str(tmp_path)), Folder)
    assert isinstance(storage(f"file://{tmp_path}"), Folder)
    assert isinstance(storage(f"FILE://{tmp_path}"), Folder)
    assert isinstance(storage("memory://logs/one"), Remote)
    (tmp_path / "a").write_bytes(b"data")
    assert storage(f"file://{tmp_path}").read("a", 10) == b"data"


def test_a_file_system_of_fsspec():
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/logs/one/tile/0/000", b"0123456789")
    remote = storage("memory://logs/one/")
    assert remote.read("tile/0/000", 10) == b"0123456789"
    assert remote.read("tile/0/001", 10) is None
    with pytest.raises(LimitError):
        remote.read("tile/0/000", 9)
    with pytest.raises(InputError, match="not a path"):
        remote.read("../two/x", 10)


@pytest.mark.parametrize(
    "url", ["http://h/log?x=1", "http://h/#f", "simplecache::http://h/log", "nosuch://h/log"]
)
def test_urls_that_are_refused(url):
    with pytest.raises(UsageError):
        storage(url)


@pytest.mark.parametrize("url", ["https://ann:secret@h/log", "HTTP://ann@h:80/log"])
def test_what_is_secret_in_a_url_is_in_no_statement(url):
    pytest.importorskip("aiohttp")
    with pytest.raises(UsageError, match=r"^h(:80)?: the URL has a user name or password") as caught:
        storage(url)
    assert "ann" not in str(caught.value)


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"bezoar\[remote\]"):
        storage("https://example.com/log")


BOMB = gzip.compress(bytes(64 << 20))


class _Server:
    """Serves a folder without HEAD and ranges, and some hostile answers."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []
        self.redirects = {
            "here": "/log/checkpoint",
            "itself": "/log/to/itself",
            "https": "https://127.0.0.1:1/log/checkpoint",
            "file": "file:///etc/passwd",
            "nowhere": "",
        }
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                if self.path == "/log/endless":
                    self.send_response(200)
                    self.end_headers()
                    try:
                        for _ in range(10_000):
                            self.wfile.write(bytes(65_536))
                    except OSError:
                        outer.requests.append("hung up")
                    return
                if self.path in ("/log/pieces", "/log/cut", "/log/drip"):
                    self.send_response(200)
                    if self.path != "/log/drip":
                        self.send_header("Content-Length", "10")
                    self.end_headers()
                    try:
                        for piece in [b"01234", b"56789" if self.path == "/log/pieces" else b""]:
                            self.wfile.write(piece)
                            self.wfile.flush()
                            time.sleep(0.1)
                        while self.path == "/log/drip":
                            self.wfile.write(b"x")
                            time.sleep(0.05)
                    except OSError:
                        outer.requests.append("hung up")
                    return
                if self.path == "/log/bomb":
                    data = BOMB
                    self.send_response(200)
                    self.send_header("Content-Encoding", "gzip")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                    return
                if self.path.startswith("/log/to/"):
                    self.send_response(302)
                    self.send_header("Location", outer.redirects[self.path.removeprefix("/log/to/")])
                    self.end_headers()
                    return
                if self.path in ("/log/forbidden", "/log/broken"):
                    self.send_error(403 if "forbidden" in self.path else 500)
                    return
                file = folder / self.path.removeprefix("/log/")
                if not file.is_file():
                    self.send_error(404)
                    return
                data = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format, *args):  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/log"


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp")
    server = _Server(tmp_path)
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_over_http_a_file_is_one_request(server, tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"0123456789")
    remote = storage(server.url)
    assert remote.read("checkpoint", 10) == b"0123456789"
    assert server.requests == ["/log/checkpoint"]
    (tmp_path / "checkpoint").write_bytes(b"changed")
    assert remote.read("checkpoint", 10) == b"changed"  # nothing is kept from before
    assert remote.read("nothing", 10) is None
    with pytest.raises(LimitError, match="more than 6 bytes"):
        remote.read("checkpoint", 6)


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_over_http_the_answer_is_never_read_beyond_the_limit(server, scheme):
    with pytest.raises(LimitError, match="more than 100 bytes"):
        storage(server.url.replace("http", scheme)).read("endless", 100)


def test_over_http_a_file_that_comes_in_pieces_is_read_whole(server):
    assert storage(server.url).read("pieces", 100) == b"0123456789"
    assert storage(server.url).read("pieces", 10) == b"0123456789"


def test_over_http_a_file_that_is_cut_short_is_none(server):
    with pytest.raises(InputError, match="cannot be read"):
        storage(server.url).read("cut", 100)


def test_over_http_a_server_that_drips_is_left(server, monkeypatch):
    monkeypatch.setattr(http_read, "_PATIENCE_S", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError, match="too slow"):
        storage(server.url).read("drip", 1 << 20)
    assert time.monotonic() - began < 5


def test_over_http_nothing_is_inflated(server):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="compressed, which was not asked for"):
            storage(server.url).read("bomb", 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["https", "file", "nowhere", "itself"])
def test_over_http_redirects_that_are_not_followed(server, path):
    with pytest.raises(InputError, match="redirect"):
        storage(server.url).read(f"to/{path}", 100)
    assert len(server.requests) <= 6


def test_over_http_a_redirect_is_followed(server, tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"0123456789")
    assert storage(server.url).read("to/here", 100) == b"0123456789"


@pytest.mark.parametrize("path", ["forbidden", "broken"])
def test_over_http_other_answers_are_input_errors(server, path):
    with pytest.raises(InputError, match="cannot be read"):
        storage(server.url).read(path, 100)


def test_no_server_is_an_input_error():
    pytest.importorskip("aiohttp")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(InputError, match="cannot be read"):
        storage(f"http://127.0.0.1:{port}/log").read("checkpoint", 100)


def test_a_tree_over_http(server, tmp_path):
    hashes = hashes_of(700)
    write_tiles(tmp_path, hashes)
    assert TileTree(storage(server.url), 700).root() == memory_tree(hashes).root()


def test_a_folder_whose_name_cannot_be():
    with pytest.raises(InputError, match="cannot be read"):
        Folder(Path("a\0b")).read("checkpoint", 10)
