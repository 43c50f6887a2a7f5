"""The witness over HTTP (C2SP tlog-witness): `POST /add-checkpoint` for logs, `GET /<origin hash>/checkpoint` for monitors."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from http.server import ThreadingHTTPServer

from bezoar.custody.tlog.serving import Answer, Handler, listening
from bezoar.custody.tlog.witness import MAX_REQUEST, Witness
from bezoar.errors import BezoarError

_PATH = "/add-checkpoint"
_MONITOR = re.compile(r"/([0-9a-f]{64})/checkpoint")


def witness_server(witness: Witness, address: str) -> AbstractContextManager[ThreadingHTTPServer]:
    """A server of `witness`, bound to `HOST:PORT`."""

    class Requests(Handler):
        """Hands each request to the witness."""

        def do_POST(self) -> None:  # noqa: N802 - the base class looks for this name
            body = self.body(MAX_REQUEST)
            if body is None:
                self.send(Answer(413, f"send Content-Length, and at most {MAX_REQUEST} bytes\n".encode()))
            elif self.path != _PATH:
                self.send(Answer(404, f"this is a witness; POST to {_PATH}\n".encode()))
            else:
                self.send(witness.add_checkpoint(body))

        def do_GET(self) -> None:  # noqa: N802
            self.send(_monitored(witness, self.path))

        do_HEAD = do_GET  # noqa: N815

    return listening(Requests, address)


def _monitored(witness: Witness, target: str) -> Answer:
    """The last checkpoint that was cosigned of a log."""
    if target == _PATH:
        return Answer(405, f"POST to {_PATH}\n".encode())
    match = _MONITOR.fullmatch(target)
    try:
        note = witness.checkpoint(match[1]) if match else None
    except (BezoarError, OSError):
        return Answer(500, b"the state cannot be read\n")
    if note is None:
        return Answer(404, b"no checkpoint of such a log was cosigned\n")
    return Answer(200, note, cache_control="no-cache")
