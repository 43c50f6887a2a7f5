"""`OUT.fetch/hub.json`: which commit an output is a copy of, and the digest of each of its files. It pins a later fetch, too."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bezoar.acquire.archives.names import Names
from bezoar.acquire.hub.source import is_commit
from bezoar.acquire.hub.tree import MAX_SIZE, TreeFile
from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError, OutputError
from bezoar.files import read_file, sync_folder

VERSION = 1
MAX_RECORD = 1 << 30
_MEMBERS = {"version", "kind", "repository", "revision", "commit", "endpoint", "files"}
_HEX = {"oid": re.compile(r"[0-9a-f]{40}"), "sha256": re.compile(r"[0-9a-f]{64}")}


@dataclass(frozen=True)
class HubRecord:
    """A commit of a repository and its files; `revision` is what was asked for when it was resolved."""

    kind: str
    repository: str
    revision: str
    commit: str
    endpoint: str
    files: Sequence[TreeFile]

    def with_digests(self, found: Mapping[str, bytes]) -> HubRecord:
        """The same, with the SHA-256 of files that git keeps, found while they arrived."""
        files = [
            file
            if file.sha256 is not None or file.path not in found
            else replace(file, sha256=found[file.path])
            for file in self.files
        ]
        return replace(self, files=files)

    def write(self, path: Path) -> None:
        """Put the record in its place in one step; OutputError when that fails."""
        value = {
            "version": VERSION,
            "kind": self.kind,
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
            "endpoint": self.endpoint,
            "files": [_as_json(file) for file in self.files],
        }
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            try:
                with temporary.open("x", encoding="utf-8") as file:
                    json.dump(value, file, indent=1)
                    file.write("\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
                sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror or error}); check the path"
            ) from error

    @classmethod
    def read(cls, path: Path) -> HubRecord:
        """InputError when it is malformed, or lists paths that are unsafe."""
        where = str(path)
        value = parse_object(read_file(path, MAX_RECORD), where, MAX_RECORD)
        if set(value) != _MEMBERS or value["version"] != VERSION:
            raise InputError(f"{where}: is no record of a fetch from a hub (version {VERSION})")
        texts = {name: value[name] for name in ("kind", "repository", "revision", "commit", "endpoint")}
        if not all(isinstance(text, str) for text in texts.values()) or not is_commit(value["commit"]):
            raise InputError(f"{where}: names no commit; fetch again into another folder")
        if not isinstance(value["files"], list):
            raise InputError(f"{where}: lists no files; fetch again into another folder")
        names = Names(where)
        return cls(**texts, files=[_file(each, names, where) for each in value["files"]])


def _as_json(file: TreeFile) -> dict[str, Any]:
    sha256 = {} if file.sha256 is None else {"sha256": file.sha256.hex()}
    return {"path": file.path, "size": file.size, "oid": file.oid.hex(), **sha256}


def _file(value: Any, names: Names, where: str) -> TreeFile:
    if not isinstance(value, dict) or not {"path", "size", "oid"} <= set(value) <= {
        "path",
        "size",
        "oid",
        "sha256",
    }:
        raise InputError(f"{where}: a file is malformed; fetch again into another folder")
    path, size = value["path"], value["size"]
    whole = isinstance(path, str) and type(size) is int and 0 <= size < MAX_SIZE
    for name, form in _HEX.items():
        digest = value.get(name, "")
        whole = (
            whole and isinstance(digest, str) and (name not in value or form.fullmatch(digest) is not None)
        )
    if not whole or names.file(path) != path:
        raise InputError(f"{where}: a file is malformed; fetch again into another folder")
    sha256 = value.get("sha256")
    return TreeFile(
        path, size, bytes.fromhex(value["oid"]), None if sha256 is None else bytes.fromhex(sha256)
    )
