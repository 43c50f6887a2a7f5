"""Writing a key pair: the private file is readable by its owner only from its first byte, and nothing is overwritten."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bezoar.errors import OutputError, UsageError
from bezoar.files import atomic_file, refuse_existing


def paths(name: Path) -> tuple[Path, Path]:
    """NAME.key and NAME.pub; UsageError for a name that is no file's, OutputError when either exists."""
    if name.name in ("", ".", ".."):
        raise UsageError(f"{name}: not a name for key files; give one such as release, for release.key")
    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    refuse_existing(private)
    refuse_existing(public)
    return private, public


def write(name: Path, private: bytes, public: bytes) -> None:
    """Write NAME.key (mode 0600) and NAME.pub, or neither; OutputError when either exists or cannot be written."""
    private_path, public_path = paths(name)
    temporary = private_path.with_name(f".{private_path.name}.{secrets.token_hex(4)}.partial")
    try:
        _write_private(temporary, private)
        _link(temporary, private_path)
        try:
            with atomic_file(public_path) as file:
                file.write(public)
        except BaseException:
            private_path.unlink()
            raise
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    """Give the file its name; unlike a rename, never over another that came up meanwhile."""
    try:
        os.link(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose another name or folder"
        ) from error


def _write_private(path: Path, content: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
    except OSError as error:
        raise OutputError(f"{path.parent}: a key cannot be written there ({error.strerror})") from error
