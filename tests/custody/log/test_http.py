"""Real servers on 127.0.0.1: the log read over HTTP, the witness asked for cosignatures."""

from __future__ import annotations

import hashlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from bezoar.custody.tlog import serving, witness_client
from bezoar.custody.tlog.checkpoint import Checkpoint
from bezoar.custody.tlog.keys import cosigner
from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.log_server import log_server, read_answer
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.custody.tlog.note import Note, sign_note, verify_note
from bezoar.custody.tlog.serving import Answer, Handler, listening, parse_address
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.witness import MAX_REQUEST, Witness
from bezoar.custody.tlog.witness_client import cosign
from bezoar.custody.tlog.witness_server import witness_server
from bezoar.errors import InputError, OutputError, UsageError, VerificationError

from .support import ORIGIN, bare, flip, item, items, make_log, private, signer

Start = Callable[[AbstractContextManager[ThreadingHTTPServer]], str]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(server)` answers in a thread until the test ends, and returns the address."""
    with ExitStack() as stack:

        def run(server: AbstractContextManager[ThreadingHTTPServer]) -> str:
            opened = stack.enter_context(server)
            thread = threading.Thread(target=opened.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(opened.shutdown)
            return f"http://127.0.0.1:{opened.server_address[1]}"

        yield run


def ask(
    url: str, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


ANY_PORT = "127.0.0.1:0"


def test_a_log_is_verified_over_http(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    local = make_log(tmp_path / "log", 5)
    local.append(bare(5, 600), signer())
    url = start(log_server(tmp_path / "log", ANY_PORT))
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "reader"))
    log = CustodyLog.open(url)
    assert (log.origin, log.size, log.key) == (ORIGIN, 600, signer().key)
    report = log.verify()
    assert report.problems == ()
    assert (report.n_tiles, report.n_objects) == (4, 5)
    assert [entry.data for entry in log.entries(2, 4)] == [item(2)[0], item(3)[0]]
    proof = log.prove(3)
    proof.verify(leaf_hash(item(3)[0]), signer().key)
    ((digest, content),) = item(3)[1].items()
    assert log.object(digest) == content


def test_damage_and_rollback_are_noticed_over_http(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = make_log(tmp_path / "log", 5)
    old = (tmp_path / "log/checkpoint").read_bytes()
    local.append(items(5, 7), signer())
    url = start(log_server(tmp_path / "log", ANY_PORT))
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "reader"))
    assert CustodyLog.open(url).verify().valid
    flip(tmp_path / "log/tile/entries/000.p/7", 20)
    assert not CustodyLog.open(url).verify().valid
    (tmp_path / "log/checkpoint").write_bytes(old)
    with pytest.raises(VerificationError, match="rolled back"):
        CustodyLog.open(url).check_history()


def test_a_server_that_fails_is_no_damage(tmp_path: Path, start: Start) -> None:
    make_log(tmp_path / "log", 5)

    class Failing(Handler):
        def do_GET(self) -> None:  # noqa: N802
            tile = self.path.startswith("/tile")
            self.send(Answer(503, b"later") if tile else read_answer(Folder(tmp_path / "log"), self.path))

    log = CustodyLog.open(start(listening(Failing, ANY_PORT)))
    with pytest.raises(InputError, match=r"tile/.* cannot be read \("):
        log.verify()


def test_a_log_is_verified_in_any_file_system_of_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    local = make_log(tmp_path / "log", 5)
    files = fsspec.filesystem("memory")
    files.put(f"{local.location}/", "/custody-log/", recursive=True)
    try:
        log = CustodyLog.open("memory://custody-log")
        assert (log.size, log.verify().problems) == (5, ())
    finally:
        files.rm("/custody-log", recursive=True)


def test_a_log_over_http_cannot_be_appended_to(tmp_path: Path, start: Start) -> None:
    make_log(tmp_path / "log", 1)
    url = start(log_server(tmp_path / "log", ANY_PORT))
    with pytest.raises(UsageError, match="not a folder on this machine"):
        CustodyLog.open(url).append(items(1, 2), signer())
    with pytest.raises(UsageError, match="not a folder on this machine"):
        cosign(CustodyLog.open(url), url, [signer().key])


def test_no_log_at_the_address(tmp_path: Path, start: Start) -> None:
    (tmp_path / "empty").mkdir()
    url = start(log_server(tmp_path / "empty", ANY_PORT))
    with pytest.raises(InputError, match="not a custody log"):
        CustodyLog.open(url)


def test_content_types_and_caching(tmp_path: Path, start: Start) -> None:
    make_log(tmp_path / "log", 1)
    url = start(log_server(tmp_path / "log", ANY_PORT))
    status, headers, body = ask(url, "GET", "/checkpoint")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (
        200,
        "text/plain; charset=utf-8",
        "no-cache",
    )
    assert body == (tmp_path / "log/checkpoint").read_bytes()
    status, headers, body = ask(url, "GET", "/tile/0/000.p/1")
    assert (status, headers["Content-Type"], len(body)) == (200, "application/octet-stream", 32)
    assert "immutable" in headers["Cache-Control"]
    status, headers, body = ask(url, "HEAD", "/tile/0/000.p/1")
    assert (status, headers["Content-Length"], body) == (200, "32", b"")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/checkpoint?x",
        "/checkpoint/",
        "/CHECKPOINT",
        "/.lock",
        "/secret",
        "/../secret",
        "/tile/../secret",
        "/tile/%2e%2e/secret",
        "/%2e%2e/secret",
        "/tile/0/../../secret",
        "/tile/0/000.p/1/../../../../secret",
        "/tile/0/0",
        "/tile/0/000.p/256",
        "/tile/entries/.000.partial",
        "/tile",
        "/objects/sha256/ab/" + "cd" * 32,
        "/objects/sha256/ab/" + "ab" * 31 + "..",
        "/objects/sha256/../../secret",
        "/state/x",
        "checkpoint",
        "http://127.0.0.1/checkpoint",
        "/" + "a" * 5000,
    ],
)
def test_only_the_files_of_the_log_are_served(tmp_path: Path, start: Start, target: str) -> None:
    make_log(tmp_path / "log", 1)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "log/secret").write_text("secret")
    url = start(log_server(tmp_path / "log", ANY_PORT))
    status, _, body = ask(url, "GET", target)
    assert status == 404
    assert b"secret" not in body


def test_links_out_of_the_log_are_not_served(tmp_path: Path, start: Start) -> None:
    make_log(tmp_path / "log", 1)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "log/tile/0/001").symlink_to(tmp_path / "secret")
    url = start(log_server(tmp_path / "log", ANY_PORT))
    status, _, body = ask(url, "GET", "/tile/0/001")
    assert status in (404, 500)
    assert b"secret" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_log_is_read_only(tmp_path: Path, start: Start, method: str) -> None:
    make_log(tmp_path / "log", 1)
    url = start(log_server(tmp_path / "log", ANY_PORT))
    assert ask(url, method, "/checkpoint", b"x")[0] == 501


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    (tmp_path / "witness").mkdir()
    return Witness([signer().key], [cosigner(private(9), "witness.example.org")], tmp_path / "witness")


KEY = cosigner(private(9), "witness.example.org").key


def test_cosignatures_are_kept_in_the_checkpoint(tmp_path: Path, start: Start, witness: Witness) -> None:
    log = make_log(tmp_path / "log", 5)
    url = start(witness_server(witness, ANY_PORT))
    for end in (5, 6, 300):
        log.append(items(log.size, end), signer())
        for _ in range(2):  # the second cosignature takes the place of the first
            assert cosign(log, url + "/", [KEY]) == [KEY]
        note = Note.parse((tmp_path / "log/checkpoint").read_bytes())
        assert [each.name for each in note.signatures] == [ORIGIN, "witness.example.org"]
        assert verify_note(note, [signer().key, KEY]) == [signer().key, KEY]
        report = log.verify()
        assert (report.valid, report.cosigners) == (True, ("witness.example.org",))


def test_monitors_read_what_was_cosigned(tmp_path: Path, start: Start, witness: Witness) -> None:
    log = make_log(tmp_path / "log", 5)
    url = start(witness_server(witness, ANY_PORT))
    target = f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert ask(url, "GET", target)[0] == 404
    cosign(log, url, [KEY])
    status, headers, body = ask(url, "GET", target)
    assert (status, headers["Content-Type"], body) == (200, "text/plain; charset=utf-8", log.checkpoint()[1])


def test_cosignatures_by_unknown_keys_are_left_out(tmp_path: Path, start: Start) -> None:
    (tmp_path / "witness").mkdir()
    signers = [cosigner(private(9), "witness.example.org"), cosigner(private(8), "witness.example.org")]
    url = start(witness_server(Witness([signer().key], signers, tmp_path / "witness"), ANY_PORT))
    log = make_log(tmp_path / "log", 5)
    assert cosign(log, url, [KEY]) == [KEY]
    assert len(Note.parse(log.checkpoint()[1]).signatures) == 2
    with pytest.raises(VerificationError, match="bears no signature of example"):
        cosign(log, url, [signer().key])


def test_a_log_that_grows_meanwhile_is_asked_for_again(
    tmp_path: Path, start: Start, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = make_log(tmp_path / "log", 5), CustodyLog.open(tmp_path / "log")
    real = witness.add_checkpoint

    def slow(body: bytes) -> Answer:
        answer = real(body)
        if other.size < 8:
            other.append(items(other.size, other.size + 1), signer())
        return answer

    monkeypatch.setattr(witness, "add_checkpoint", slow)
    url = start(witness_server(witness, ANY_PORT))
    assert cosign(log, url, [KEY]) == [KEY]
    assert log.size == 8
    assert log.verify().problems == ()


def test_the_witness_reveals_a_rollback_and_a_fork(tmp_path: Path, start: Start, witness: Witness) -> None:
    log = make_log(tmp_path / "log", 5)
    url = start(witness_server(witness, ANY_PORT))
    cosign(log, url, [KEY])
    for size, message in (
        (4, "rolled back"),
        (5, "another history"),
        (6, "does not extend"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BEZOAR_STATE", str(tmp_path / f"state {size}"))
            forked = make_log(tmp_path / f"forked {size}", size, "another history")
        with pytest.raises(VerificationError, match=message):
            cosign(forked, url, [KEY])


def test_a_witness_that_does_not_know_the_log(tmp_path: Path, start: Start, witness: Witness) -> None:
    url = start(witness_server(witness, ANY_PORT))
    log = make_log(tmp_path / "log", 5, seed=2)
    with pytest.raises(InputError, match="does not accept the log's key"):
        cosign(log, url, [KEY])
    with pytest.raises(InputError, match="not the address of a witness"):
        cosign(log, url + "/elsewhere", [KEY])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, b""), "malformed"),
        (Answer(200, b"hello\n"), "malformed"),
        (Answer(200, b"\xff\n"), "malformed"),
        (Answer(200, "— witness.example.org AAAAAAAAAAAA\n".encode()), "bears no signature"),
        (Answer(200, b"x" * 70_000), "longer than 65,536"),
        (Answer(204, b""), "refused the request"),
        (Answer(302, b"", "text/plain"), "refused the request: status 302"),
        (Answer(409, b"-1\n", "text/x.tlog.size"), "cosigned another history"),
        (Answer(409, b"99\n", "text/x.tlog.size"), "rolled back"),
        (Answer(409, b"2\n", "text/x.tlog.size"), "kept changing"),
        (Answer(409, b"5\n", "text/x.tlog.size"), "cosigned another history"),
        (Answer(500, b"\x1b[31m" + b"x" * 1000), "status 500"),
    ],
)
def test_a_hostile_witness(tmp_path: Path, start: Start, answer: Answer, message: str) -> None:
    class Hostile(Handler):
        def do_POST(self) -> None:  # noqa: N802
            self.body(MAX_REQUEST)
            self.send(answer)

    log = make_log(tmp_path / "log", 5)
    before = (tmp_path / "log/checkpoint").read_bytes()
    url = start(listening(Hostile, ANY_PORT))
    with pytest.raises((InputError, VerificationError), match=message):
        cosign(log, url, [KEY])
    assert (tmp_path / "log/checkpoint").read_bytes() == before


@pytest.mark.parametrize("part", ["status line", "header", "body"])
def test_a_witness_that_drips_is_left(
    tmp_path: Path, start: Start, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dripping(Handler):
        def do_POST(self) -> None:  # noqa: N802
            self.body(MAX_REQUEST)
            head = {"status line": b"", "header": b"HTTP/1.0 200 OK\r\nX: "}
            self.wfile.write(head.get(part, b"HTTP/1.0 200 OK\r\n\r\n"))
            while not ended.wait(0.02):
                self.wfile.write(b"x")

    ended = threading.Event()
    monkeypatch.setattr(witness_client, "_DEADLINE_S", 0.5)
    log = make_log(tmp_path / "log", 5)
    url = start(listening(Dripping, ANY_PORT))
    began = time.monotonic()
    try:
        with pytest.raises(InputError, match=r"no whole answer from the witness within"):
            cosign(log, url, [KEY])
    finally:
        ended.set()
    assert time.monotonic() - began < 5


def test_a_cosignature_of_another_checkpoint_is_refused(tmp_path: Path, start: Start) -> None:
    other = sign_note(Checkpoint(ORIGIN, 5, bytes(32)).body(), cosigner(private(9), "witness.example.org"))

    class Wrong(Handler):
        def do_POST(self) -> None:  # noqa: N802
            self.body(MAX_REQUEST)
            self.send(Answer(200, other.to_bytes().partition(b"\n\n")[2]))

    log = make_log(tmp_path / "log", 5)
    with pytest.raises(VerificationError, match="signature of witness"):
        cosign(log, start(listening(Wrong, ANY_PORT)), [KEY])


def test_no_witness_there(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="no answer from the witness"):
            cosign(log, f"http://127.0.0.1:{taken.getsockname()[1]}", [KEY])
    for url in ("ftp://example.org", "file:///etc/passwd", "example.org", ""):
        with pytest.raises(UsageError, match="begins with http"):
            cosign(log, url, [KEY])


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/add-checkpoint", {}, 405),
        ("GET", "/", {}, 404),
        ("GET", f"/{'ab' * 32}/checkpoint", {}, 404),
        ("GET", "/../checkpoint", {}, 404),
        ("POST", "/", {}, 404),
        ("POST", "/add-checkpoint/", {}, 404),
        ("POST", "/add-checkpoint", {"Content-Length": "65537"}, 413),
        ("POST", "/add-checkpoint", {"Content-Length": "-1"}, 413),
        ("POST", "/add-checkpoint", {"Content-Length": "1e3"}, 413),
        ("POST", "/add-checkpoint", {"Content-Length": "9" * 30}, 413),
        ("POST", "/add-checkpoint", {"Transfer-Encoding": "chunked"}, 413),
        ("POST", "/add-checkpoint", {"Content-Length": "3"}, 400),
        ("PUT", "/add-checkpoint", {}, 501),
    ],
)
def test_requests_that_are_none(
    start: Start, witness: Witness, method: str, target: str, headers: dict[str, str], status: int
) -> None:
    url = start(witness_server(witness, ANY_PORT))
    assert ask(url, method, target, b"old", **headers)[0] == status


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "localhost", "localhost:", "localhost:x", "localhost:65536", "a:١"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        parse_address(text)


def test_an_address_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(OutputError, match="cannot listen there"),
            listening(Handler, f"127.0.0.1:{taken.getsockname()[1]}"),
        ):
            pass


@pytest.fixture
def served(tmp_path: Path, start: Start) -> tuple[str, int]:
    make_log(tmp_path / "log", 1)
    return "127.0.0.1", int(start(log_server(tmp_path / "log", ANY_PORT)).rpartition(":")[2])


@pytest.mark.parametrize(
    "length", ["Content-Length: 25", "Content-Length : 25", "Transfer-Encoding: chunked"]
)
def test_a_body_that_nobody_reads_is_no_further_request(served: tuple[str, int], length: str) -> None:
    """A proxy in front would hand the second answer to another client."""
    with socket.create_connection(served, timeout=10) as client:
        client.sendall(f"GET /checkpoint HTTP/1.1\r\n{length}\r\n\r\nGET /log.json HTTP/1.1\r\n\r\n".encode())
        assert read_all(client).count(b"200 OK") == 1


def test_a_client_that_sends_byte_by_byte_is_cut_off(
    served: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_LONGEST_S", 0.3)
    with socket.create_connection(served, timeout=10) as client:
        for _ in range(100):
            try:
                client.sendall(b"x")
            except OSError:
                return
            time.sleep(0.05)
    pytest.fail("it was listened to for five seconds")


def test_no_more_clients_than_there_are_places(
    served: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_MAX_CONNECTIONS", 2)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(served, timeout=10)) for _ in range(2)]
        one_more = stack.enter_context(socket.create_connection(served, timeout=10))
        assert read_all(one_more) == b""
        idle[0].close()
        assert ask_again(served) == 200


def read_all(client: socket.socket) -> bytes:
    answer = b""
    while part := client.recv(65536):
        answer += part
    return answer


def ask_again(served: tuple[str, int]) -> int:
    """The status of an answer, once a place is free."""
    for _ in range(200):
        try:
            return ask(f"http://127.0.0.1:{served[1]}", "GET", "/checkpoint")[0]
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    return 0


def test_one_witness_key_fills_one_line(tmp_path: Path, start: Start) -> None:
    """Each of its signatures is valid; a hundred of them would leave no room for others."""
    log = make_log(tmp_path / "log", 5)
    text = log.checkpoint()[0].body()
    times = range(1_700_000_000, 1_700_000_050)
    many = [
        sign_note(text, cosigner(private(9), "witness.example.org", lambda now=now: now)) for now in times
    ]

    class Chatty(Handler):
        def do_POST(self) -> None:  # noqa: N802
            self.body(MAX_REQUEST)
            self.send(Answer(200, b"".join(each.to_bytes().partition(b"\n\n")[2] for each in many)))

    assert cosign(log, start(listening(Chatty, ANY_PORT)), [KEY]) == [KEY]
    assert len(Note.parse(log.checkpoint()[1]).signatures) == 2
