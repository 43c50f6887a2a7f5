"""Runs the commands of docs/custody.md, in their order, in one shell.

    PYTHONPATH=tests python tests/cli/custody_page.py        # writes into the page what they print now

Keys that the page shows were made when it was written. Where a command uses one of them, the one made now takes its place.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cli.support import image_folder

PAGE = Path(__file__).parents[2] / "docs" / "custody.md"
BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```\n)", re.DOTALL)
_VKEY = re.compile(r"[\w./-]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*")
_PORT = "8471"
_END = "-- end"
_CHANGING = (
    (_VKEY, "VKEY"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "HASH"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "HASH"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"seed \d+"), "seed N"),
    (re.compile(r"[\d,]+ bytes"), "N bytes"),
    (re.compile(r"\s+"), " "),  # where lines wrap depends on the others
)


def run_page(page: str, folder: Path) -> str:
    """The page with what its commands print now."""
    image_folder(folder / "signs")
    with Shell(folder) as shell:
        return BLOCK.sub(lambda match: shell.block(match[1]), page)


def masked(page: str) -> str:
    """A page without what is another at every run."""
    for pattern, name in _CHANGING:
        page = pattern.sub(name, page)
    return page


class Shell:
    """One bash in a folder; a page's commands run in it one after the other."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """`port`: that the page's 8471 stands for; by default a free one."""
        self._port = str(port or _free_port())
        self._now: dict[str, str] = {}  # the page's verifier keys, and those of this run
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        places = {"BEZOAR_STATE": str(folder / ".state"), "BEZOAR_CACHE": str(folder / ".cache")}
        places |= {"HF_HOME": str(folder / ".hub"), "HF_TOKEN_PATH": "", "HF_ENDPOINT": ""}
        places |= dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), "")
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env={**os.environ, **places, "PATH": path, "COLUMNS": "100", "TERM": "dumb"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("kill $(jobs -p) 2>/dev/null; exit\n", timeout=60)

    def block(self, text: str) -> str:
        """A console block: each command, followed by what it prints."""
        lines = []
        for command, shown in _commands(text):
            printed = self._run(command)
            for old, new in zip(_VKEY.findall(shown), _VKEY.findall("\n".join(printed)), strict=False):
                self._now[old] = new
            lines += [*_prompted(self._renewed(command)), *printed]
        return "\n".join(lines).replace(self._port, _PORT) + "\n"

    def _renewed(self, command: str) -> str:
        return _VKEY.sub(lambda match: self._now.get(match[0], match[0]), command)

    def _run(self, command: str) -> list[str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        server = command.endswith(" &")
        stdin.write(self._renewed(command).replace(_PORT, self._port) + "\n")
        stdin.write("" if server else f"echo; echo '{_END}'\n")
        stdin.flush()
        printed = []
        for line in stdout:
            printed.append(line.rstrip())
            if line.startswith("http://" if server else _END):
                break
        return printed if server else _without_end(printed)


def _without_end(printed: list[str]) -> list[str]:
    """Without the marker, and the line break that puts it on a line of its own."""
    rest = printed[:-1]
    return rest[:-1] if rest and not rest[-1] else rest


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command and what the page says that it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *rest = part.rstrip("\n").split("\n")
        more = [line[2:] for line in rest if line.startswith("> ") or line == ">"]
        yield "\n".join([first, *more]), "\n".join(rest[len(more) :])


def _prompted(command: str) -> list[str]:
    first, *more = command.split("\n")
    return [f"$ {first}", *(f"> {line}".rstrip() for line in more)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        PAGE.write_text(run_page(PAGE.read_text(encoding="utf-8"), Path(where)), encoding="utf-8")
