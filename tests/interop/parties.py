"""The two parties: Bezoar's command line, and the reference tool in a process of its own. Each says valid, invalid or error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments import Environment
from table import note

HERE = Path(__file__).parent
VALID, INVALID, ERROR, SIGNED, REFUSED = "valid", "invalid", "error", "signed", "refused"
_BEZOAR = {0: VALID, 1: INVALID}


def bezoar(*argv: object, python: Path | str = sys.executable) -> subprocess.CompletedProcess[str]:
    """One command of Bezoar's."""
    command = [str(python), "-m", "bezoar", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def seal(tree: Path, *how: object, python: Path | str = sys.executable) -> str:
    """`bezoar seal`: SIGNED or REFUSED. The bundle is `bundle_of(tree)`."""
    done = bezoar("seal", tree, "--by-file", "--full", *how, python=python)
    return SIGNED if done.returncode == 0 else _noted(REFUSED, done)


def bundle_of(tree: Path) -> Path:
    """The bundle in a dataset's seal."""
    return tree.with_name(f"{tree.name}.seal") / "bundle.sig"


def verify(tree: Path, signature: Path, *how: object) -> str:
    """`bezoar verify --signature`: VALID, INVALID or ERROR."""
    done = bezoar("verify", tree, "--signature", signature, *how)
    return _BEZOAR.get(done.returncode) or _noted(ERROR, done)


def _noted(outcome: str, done: subprocess.CompletedProcess[str]) -> str:
    note(f"      bezoar: {done.stderr.strip()}")
    return outcome


class Reference:
    """`model_signing` behind a pipe: the library finds out by itself how a bundle was hashed, which its command does not."""

    def __init__(self, process: subprocess.Popen[str], environment: Environment) -> None:
        self._process = process
        self._program = environment.program("model_signing")

    def sign(self, tree: Path, signature: Path, how: dict[str, Any], **more: Any) -> str:
        """SIGNED or REFUSED."""
        return SIGNED if self._ask("sign", tree, signature, how, more) else REFUSED

    def verify(self, tree: Path, signature: Path, how: dict[str, Any], **more: Any) -> str:
        """VALID or INVALID; the library knows one exception for both."""
        return VALID if self._ask("verify", tree, signature, how, more) else INVALID

    def command(self, *argv: object) -> str:
        """The command line's verdict: VALID or INVALID."""
        done = subprocess.run([self._program, *map(str, argv)], capture_output=True, text=True, check=False)
        return VALID if done.returncode == 0 else INVALID

    def _ask(self, do: str, tree: Path, signature: Path, how: dict[str, Any], more: dict[str, Any]) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"do": do, "tree": str(tree), "signature": str(signature), "how": how, **more}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if not answer["ok"]:
            note(f"      model_signing: {answer['why']}")
        return bool(answer["ok"])


@contextmanager
def reference(environment: Environment) -> Iterator[Reference]:
    """The reference tool, running."""
    with subprocess.Popen(
        [environment.python, HERE / "reference.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Reference(process, environment)
        assert process.stdin is not None
        process.stdin.close()
