"""One limited process: started with nothing, asked with a deadline, killed when it does not answer as it should."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time

from bezoar.acquire.images.protocol import KEPT, LENGTH, LIFE_S, PROBLEM, READY, REQUEST, SIZES, Encoded
from bezoar.data.image_files import MAX_BYTES
from bezoar.errors import BezoarError

_STARTING_S = 60
_MAX_LINE = 2_000
_PIECE = 2**18
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; from bezoar.acquire.images.worker import main; main(sys.argv[1])"
)


class Ended(Exception):  # noqa: N818 - it says what became of a process
    """The process is of no use any more; the message says why. `certain`: because of the image that it had, for sure."""

    def __init__(self, why: str, *, certain: bool) -> None:
        super().__init__(why)
        self.certain = certain


class LimitedProcess:
    """A running `worker`. It shares no file, no environment and no process group (Ctrl-C) with this one."""

    def __init__(self, settings: str) -> None:
        """Start it and wait until it has taken its limits upon itself; BezoarError when it does not."""
        self._born = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-I", "-c", _START, settings, *filter(os.path.isabs, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - pipes
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        try:
            if self._exchange(b"", _STARTING_S) != READY:
                raise Ended("it says something else", certain=False)
        except Ended as error:
            self.kill()
            raise BezoarError(
                f"the process that decodes images does not start ({error}); more memory may help"
            ) from error

    def ask(self, content: bytes, seconds: float) -> Encoded | str:
        """The image as it was encoded again, or one line on why not. Ended when the process dies or says what it may not."""
        answer = self._exchange(REQUEST.pack(len(content)) + content, seconds)
        if answer[:1] == PROBLEM:
            return " ".join(answer[1 + LENGTH.size :].decode("utf-8", "replace").split())[:200]
        *sizes, _ = SIZES.unpack_from(answer, 1)
        return Encoded(answer[1 + SIZES.size :], *sizes)

    @property
    def is_old(self) -> bool:
        """Whether it is to be replaced."""
        return time.monotonic() - self._born > LIFE_S

    def kill(self) -> None:
        """End it, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _exchange(self, request: bytes, seconds: float) -> bytes:
        """Write all of `request` and read one whole answer."""
        rest, answer, deadline = memoryview(request), bytearray(), time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if rest:
                selector.register(self._in, selectors.EVENT_WRITE)
            while not (wanted := _length(answer)) or len(answer) < wanted:
                ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
                if not ready:
                    raise Ended(f"the image takes more than {seconds:.0f} s to decode", certain=True)
                if self._in in ready:
                    with contextlib.suppress(BrokenPipeError):  # its end is noticed where answers are read
                        rest = rest[os.write(self._in, rest[:_PIECE]) :]
                    if not rest:
                        selector.unregister(self._in)
                if self._out in ready:
                    piece = os.read(self._out, _PIECE)
                    if not piece:
                        raise self._ended()
                    answer += piece
        if len(answer) != wanted or rest:
            raise Ended("the process that decoded the image said too much", certain=True)
        return bytes(answer)

    def _ended(self) -> Ended:
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return Ended("the image takes too long to decode", certain=True)
        return Ended(f"the process that decoded the image ended with {code}", certain=False)


def _length(answer: bytearray) -> int:
    """Bytes of the whole answer that begins like this; 0 while that cannot be told."""
    kind = bytes(answer[:1])
    if kind == READY:
        return 1
    head, limit = {KEPT: (SIZES, MAX_BYTES), PROBLEM: (LENGTH, _MAX_LINE)}.get(kind, (LENGTH, -1))
    if kind and limit < 0:
        raise Ended("the process that decoded the image said nonsense", certain=True)
    if len(answer) < 1 + head.size:
        return 0
    size = int(head.unpack_from(answer, 1)[-1])
    if size > limit:
        raise Ended("the process that decoded the image said too much", certain=True)
    return 1 + head.size + size
