"""The witness over HTTP (C2SP tlog-witness): `POST <prefix>/add-checkpoint`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from http.server import ThreadingHTTPServer

from bezoar.custody.tlog.serving import Answer, Handler, listening
from bezoar.custody.tlog.witness import MAX_REQUEST, Witness

_PATH = "/add-checkpoint"


def witness_server(witness: Witness, address: str) -> AbstractContextManager[ThreadingHTTPServer]:
    """A server of `witness`, bound to `HOST:PORT`."""

    class AddCheckpoint(Handler):
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
            self.send(Answer(405, f"this is a witness; POST to {_PATH}\n".encode()))

    return listening(AddCheckpoint, address)
