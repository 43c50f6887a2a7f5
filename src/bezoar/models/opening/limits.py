"""What may be read of a model's files: JSON up to a size, tensors that fit into memory; and the digest of a file or folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, LimitError
from bezoar.graphs.memory import available_bytes, gigabytes

MAX_JSON = 64 * 2**20  # bytes
_COPIES = 3  # of the weights: as read, as the network has them, as a repair trains them
_BLOCK = 2**22


def require_memory(size: int, where: str | Path) -> None:
    """LimitError when weights of `size` bytes, and the copies that are made of them, do not fit into this machine's memory."""
    needed, free = size * _COPIES, available_bytes()
    if needed > free:
        raise LimitError(
            f"{where}: the model needs about {gigabytes(needed)} of memory; this machine has {gigabytes(free)} free"
        )


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in these bytes; InputError when they hold none, LimitError when it is larger than `MAX_JSON`."""
    if len(content) > MAX_JSON:
        raise LimitError(f"{where}: larger than {MAX_JSON >> 20} MiB, the most that is read of a description")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else first_line(error)
        raise InputError(f"{where}: is no valid JSON ({reason}); is the file complete?") from error
    if not isinstance(document, dict):
        raise InputError(f"{where}: holds a JSON {type(document).__name__}, not an object")
    return document


def first_line(error: BaseException) -> str:
    """What an error says, as one short line without control characters."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file; of a folder, of its files' names and digests."""
    if not path.is_dir():
        return _file_digest(path)
    total = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.is_file() and not file.is_symlink():
            total.update(f"{file.name}\0{_file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return total.hexdigest()
