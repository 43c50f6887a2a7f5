"""The log over HTTP, read-only (C2SP tlog-tiles): its checkpoint, tiles, entry bundles and objects, and no other file."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from http.server import ThreadingHTTPServer
from pathlib import Path

from bezoar.custody.tlog.entries import MAX_OBJECT
from bezoar.custody.tlog.serving import Answer, Handler, listening
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.tiles import parse_tile_path
from bezoar.errors import BezoarError, InputError

_OBJECT = re.compile(r"objects/sha256/([0-9a-f]{2})/\1[0-9a-f]{62}")
_TEXTS = {"checkpoint": "text/plain; charset=utf-8", "log.json": "application/json"}
_FOREVER = "public, max-age=31536000, immutable"


def log_server(folder: Path, address: str) -> AbstractContextManager[ThreadingHTTPServer]:
    """A server of the log in `folder`, bound to `HOST:PORT`."""
    files = Folder(folder)

    class Files(Handler):
        """GET and HEAD of the log's files."""

        def do_GET(self) -> None:  # noqa: N802 - the base class looks for this name
            self.send(read_answer(files, self.path))

        do_HEAD = do_GET  # noqa: N815

    return listening(Files, address)


def read_answer(files: Folder, target: str) -> Answer:
    """The answer to `GET target`. A target that is no file of a log, however it is spelt, is 404."""
    path = target.removeprefix("/")
    if target == path or not (path in _TEXTS or _OBJECT.fullmatch(path) or _is_tile(path)):
        return Answer(404, b"no such file of a log\n")
    try:
        data = files.read(path, MAX_OBJECT)
    except (BezoarError, OSError):
        return Answer(500, b"the file cannot be read\n")
    if data is None:
        return Answer(404, b"not in this log\n")
    if path in _TEXTS:
        return Answer(200, data, _TEXTS[path], "no-cache")
    return Answer(200, data, "application/octet-stream", _FOREVER)


def _is_tile(path: str) -> bool:
    try:
        parse_tile_path(path)
    except InputError:
        return False
    return True
