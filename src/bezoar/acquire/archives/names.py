"""Names that a stranger chose for files which we shall create: what is refused, and which two cannot both be there.

A name is a relative POSIX path in UTF-8. Refused are absolute names, `..`, backslashes, drive letters, control characters and
bidirectional overrides (CVE-2021-42574), names longer than a file system takes, and `.git` (whose hooks and settings would run).
Of two names those are refused that some machine takes for one: they differ by letter case only, by Unicode normalisation only,
or by characters that HFS+ ignores (CVE-2014-9390).
"""

from __future__ import annotations

import re
import unicodedata

from bezoar.errors import InputError

MAX_PART = 255  # bytes, of most file systems
MAX_NAME = 3000  # bytes; Linux takes 4096 with the folder in front
MAX_PARTS = 100

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogate, line and paragraph separator
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_GIT = frozenset({".git", "git~1"})  # git~1: what Windows may call it


class Names:
    """The names given out so far. `where` goes in front of every message, such as the archive's path."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._spelled: dict[str, str] = {"": ""}  # folded path -> path, of folders and files
        self._files: set[str] = set()
        self._folders: set[str] = {""}

    def file(self, name: str) -> str:
        """The clean path of a file; InputError when the name is unsafe, taken, or cannot be beside those before it."""
        path = self._clean(name)
        folded = self._claim(path)
        if path in self._files:
            raise self._error(name, "is there twice; which of the two is meant cannot be known")
        if path in self._folders:
            raise self._error(name, "is a file, and a folder too")
        self._spelled[folded] = path
        self._files.add(path)
        return path

    def folder(self, name: str) -> str:
        """The clean path of a folder ("" for the top); it may be named many times. InputError as for a file."""
        if name.strip("/") in ("", ".") and not name.startswith("/"):
            return ""
        path = self._clean(name.removesuffix("/"))
        self._spelled[self._claim(path)] = path
        if path in self._files:
            raise self._error(name, "is a folder, and a file too")
        self._folders.add(path)
        return path

    def _clean(self, name: str) -> str:
        path = name.removeprefix("./")
        why = unsafe(path)
        if why is not None:
            raise self._error(name, why)
        return path

    def _claim(self, path: str) -> str:
        """The folded path, once every folder above it is known to be a folder and spelled the same way."""
        start = path.rfind("/")
        parent = path[: max(start, 0)]
        if parent not in self._folders:  # seldom: most files lie in a folder that others named before
            folded_parent = self._claim(parent)
            if parent in self._files:
                raise self._error(path, f"lies in {parent[:200]!r}, which is a file")
            self._spelled[folded_parent] = parent
            self._folders.add(parent)
        folded = fold(path)
        other = self._spelled.get(folded, path)
        if other != path:
            raise self._error(
                path,
                f"and {other[:200]!r} are one name to other systems (letter case, Unicode normalisation or "
                "invisible characters)",
            )
        return folded

    def _error(self, name: str, why: str) -> InputError:
        return InputError(f"{self._where}: {name[:200]!r} {why}; nothing of it is used")


def unsafe(path: str) -> str | None:
    """Why a path may not become a file's name; None when it may."""
    if not path:
        return "is an empty name"
    if path.startswith("/"):
        return "is an absolute path"
    if _DRIVE.match(path):
        return "begins with a drive letter"
    if "\\" in path:
        return "has a backslash, which is a separator on Windows"
    if not (path.isascii() and path.isprintable()):
        try:
            path.encode()
        except UnicodeEncodeError:
            return "is not UTF-8"
        if any(unicodedata.category(c) in _CONTROL or c in _BIDI for c in path):
            return "has control characters"
    parts = path.split("/")
    if len(parts) > MAX_PARTS or len(path) > MAX_NAME or len(path.encode()) > MAX_NAME:
        return "is too long a path"
    for part in parts:
        if part in ("", ".", ".."):
            return "has an empty part, '.' or '..'"
        if len(part) > MAX_PART or len(part.encode()) > MAX_PART:
            return f"has a part of more than {MAX_PART} bytes"
        if (part[0] in ".gG" or not part.isascii()) and fold(part).rstrip(". ") in _GIT:
            return "lies in .git, whose hooks and settings would run"
    return None


def fold(path: str) -> str:
    """One spelling for all that a file system may take for the same name."""
    if path.isascii():
        return path.lower()
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Cf")
