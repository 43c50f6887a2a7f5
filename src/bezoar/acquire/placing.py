"""The folder that a fetch of files fills: each appears complete and right; what is there already is hashed, not trusted."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable
from pathlib import Path

from bezoar.acquire.foreign import paths as paths_in
from bezoar.acquire.quarantine.held import Held, Settled
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.run_state import state_folder
from bezoar.acquire.transfers import Arrived, Wanted, commit, hash_file, set_aside
from bezoar.errors import OutputError

_PARTS, _QUARANTINE = "parts", "quarantine"


class Place:
    """The output `out`, the parts of files on their way, and the quarantine of what was wrong."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.parts = state_folder(out) / _PARTS
        self.quarantine = Quarantine.at(state_folder(out) / _QUARANTINE)
        self._folders = {""}
        self._held: dict[str, list[Held]] = {}
        for held in self.quarantine.entries():
            self._held.setdefault(held.key, []).append(held)

    def target(self, path: str) -> Path:
        """Where a file belongs; its folder is made. No folder on the way may be a link that somebody put there."""
        parent = path.rpartition("/")[0]
        if parent not in self._folders:
            place = self.out
            for part in parent.split("/"):
                place = place / part
                try:
                    place.mkdir(exist_ok=True)
                except OSError as error:
                    raise OutputError(
                        f"{place}: cannot be made ({error.strerror or error}); remove what is there"
                    ) from error
                if place.is_symlink():
                    raise OutputError(f"{place}: is a link; files would land elsewhere, remove it")
            self._folders.add(parent)
        return self.out / path

    def present(
        self, path: str, size: int, sha256: bytes | None, git_oid: bytes | None = None
    ) -> tuple[bytes | None, bool]:
        """The SHA-256 of the file that is in its place already, when it is right, and whether a wrong one was set aside."""
        target = self.target(path)
        try:
            status = target.lstat()
        except FileNotFoundError:
            return None, False
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(
                f"{target}: is no ordinary file, and a file that is fetched belongs there; remove it"
            )
        found, oid = hash_file(target, size)
        if status.st_size == size and _is_right(found, oid, sha256, git_oid):
            return found, False
        was = Wanted(path, f"file in {self.out}", target, status.st_size, sha256=sha256, git_oid=git_oid)
        detail = "was in the output already and is not what it must be"
        self.reject(Arrived(was, Verdict.REJECTED, found, status.st_size, Reason.HASH_MISMATCH, detail))
        return None, True

    def is_right(self, path: str, size: int, sha256: bytes | None, git_oid: bytes | None) -> bool:
        """Whether an ordinary file of the output is what it must be; nothing is set aside."""
        target = self.out / path
        status = target.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        return _is_right(*hash_file(target, size), sha256, git_oid)

    def keep(self, arrived: Arrived) -> None:
        """Move a file that arrived right to its place; what was held of it before is settled."""
        path = arrived.wanted.name
        commit(arrived.wanted.part, self.target(path))
        for held in self._held.pop(path, ()):
            self.quarantine.settle(
                Settled(held.key, held.sha256, "refetched", "came right later", time.time())
            )

    def reject(self, arrived: Arrived) -> None:
        """Set a wrong file aside."""
        set_aside(self.quarantine, arrived)

    def foreign(self, paths: Iterable[str]) -> list[str]:
        """The files of the output that are none of `paths`."""
        known = set(paths)
        return [path for path in paths_in(self.out) if path not in known]


def _is_right(found: bytes, oid: bytes, sha256: bytes | None, git_oid: bytes | None) -> bool:
    return found == sha256 if sha256 is not None else oid == git_oid
