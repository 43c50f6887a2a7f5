"""The folder `OUT.fetch` beside an output: what the run is pinned to, the lock, and what a crash left behind.

`run.json` holds the digest of the list and the options that decide the result. An output is only ever added to under the same
ones, so that it does not matter how often a fetch was killed on its way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.acquire.options import FetchOptions, Retry, difference
from bezoar.acquire.shards.durable import refuse_link
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER
from bezoar.errors import InputError, OutputError, UsageError
from bezoar.files import read_file, sync_folder

VERSION = 1
_RUN, _LOCK, _QUARANTINE, _STAGED = "run.json", "lock", "quarantine", "staged"
_MAX_RUN = 1 << 20
_PARTIAL = re.compile(r"\..+\.partial\Z")


@dataclass(frozen=True)
class RunState:
    """Where an output and its state lie, and the id of the fetch."""

    out: Path
    run_id: str

    def remove_remnants(self) -> None:
        """Remove what processes that ended left half-written; the lock must be held, and no process at work."""
        for folder in (self.out, self.out / PROVENANCE_FOLDER, *_folders(self.folder)):
            _clean(folder)

    @property
    def folder(self) -> Path:
        """Beside the output, so that the output holds data only."""
        return state_folder(self.out)

    @property
    def quarantine(self) -> Path:
        """Of what came and was not what was promised."""
        return self.folder / _QUARANTINE

    @property
    def staged(self) -> Path:
        """Of shards that are complete and about to take the place of older ones."""
        return self.folder / _STAGED


def state_folder(out: Path) -> Path:
    """`OUT.fetch`, also where OUT is `.` or `..`; UsageError for the root, beside which nothing can lie."""
    path = Path(os.path.normpath(out))
    if path.name in ("", ".."):
        path = Path(os.path.abspath(path))
    if not path.name:
        raise UsageError(f"{out}: is the root of all files; choose another output path")
    return path.with_name(f"{path.name}.fetch")


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Hold the output alone; the descriptor that holds the lock, for workers to inherit.

    A worker that outlives a killed parent keeps the lock until it, too, is gone. OutputError when somebody else has it.
    """
    folder = state_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another output path"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{out}: another fetch is writing here; wait for it, or stop it and start again"
            ) from None
        yield handle
    finally:
        os.close(handle)


def pinned(out: Path) -> dict[str, Any]:
    """What an output was begun with, as `run.json` has it; InputError when no fetch of a list began it."""
    path = state_folder(out) / _RUN
    if not path.is_file() and any(path.parent.glob("*.json")):
        raise InputError(
            f"{out}: was not fetched from a list; only rows of a list can be put back from quarantine"
        )
    if not path.is_file():
        raise InputError(f"{out}: no fetch of bezoar began this output; {path} is not there")
    return _read(path)


def open_run(out: Path, shape: dict[str, Any], options: FetchOptions) -> RunState:
    """The run of this output, new or one to be resumed; the lock must be held. Remnants of a crash are removed.

    OutputError when `out` holds something else or a link, InputError when the list or an option is another than at the beginning.
    """
    path = state_folder(out) / _RUN
    if path.exists() and not _is_unused(out):
        run_id = _resumed(path, out, shape, options)
    else:
        _refuse_foreign(out)
        run_id = secrets.token_hex(8)
        _write(path, shape, options, run_id)
    state = RunState(out, run_id)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _refuse_links(out)
        state.remove_remnants()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); check the path") from error
    return state


def _is_unused(out: Path) -> bool:
    """Whether nothing came into an output or its quarantine: it may be begun with whatever one likes."""
    empty = not out.is_symlink() and (not out.exists() or (out.is_dir() and not any(out.iterdir())))
    state = RunState(out, "")
    return empty and not state.quarantine.exists() and not state.staged.exists()


def _resumed(path: Path, out: Path, shape: dict[str, Any], options: FetchOptions) -> str:
    kept = _read(path)
    changed = difference(kept["shape"], shape)
    if changed is not None:
        raise InputError(
            f"{out}: was begun otherwise ({changed}); fetch with what it was begun with, or into another folder"
        )
    changed = difference(kept["admission"], options.admission())
    if changed is not None:
        if options.retry is Retry.NOTHING:
            raise InputError(
                f"{out}: was begun otherwise ({changed}); go on with the same, or add --retry-failed all to apply it "
                "to the rows that are not kept"
            )
        _write(path, shape, options, kept["run_id"])
    run_id: str = kept["run_id"]
    return run_id


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(read_file(path, _MAX_RUN))
        whole = kept["version"] == VERSION and isinstance(kept["run_id"], str)
        whole = whole and isinstance(kept["shape"], dict) and isinstance(kept["admission"], dict)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: is malformed ({error}); fetch into another folder") from error
    if not whole:
        raise InputError(f"{path}: is not of this version of bezoar; fetch into another folder")
    found: dict[str, Any] = kept
    return found


def _write(path: Path, shape: dict[str, Any], options: FetchOptions, run_id: str) -> None:
    pinned = {"version": VERSION, "run_id": run_id, "shape": shape, "admission": options.admission()}
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        with temporary.open("x") as file:
            file.write(json.dumps(pinned, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was fetched"
        ) from error


def _refuse_foreign(out: Path) -> None:
    """Only a folder that is empty or not there yet is taken for a new output."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError(f"{out}: exists already and is not a folder; choose another output path")
    if out.is_dir() and next(out.iterdir(), None) is not None:
        raise OutputError(
            f"{out}: holds files that no fetch of bezoar began; choose another output path or empty it"
        )


def _refuse_links(out: Path) -> None:
    """No folder of an output may lead elsewhere: files would be written and removed there."""
    with os.scandir(out) as entries:
        links = sorted(
            entry.name for entry in entries if entry.is_symlink() and not _PARTIAL.match(entry.name)
        )
    if links:
        refuse_link(out / links[0])


def _folders(root: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(root)]


def _clean(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        remnants = [entry for entry in entries if _PARTIAL.match(entry.name)]
    for entry in remnants:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
