"""Re-encoding images in limited processes: a hostile image can crash, hang or bloat one of these, and costs only itself."""

from __future__ import annotations

import json
import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict

from bezoar.acquire.images.checking import Checked, Problem, check
from bezoar.acquire.images.options import Reencode, unsuitable
from bezoar.acquire.images.process import Ended, LimitedProcess
from bezoar.errors import UsageError

MEMORY = (
    2 * 2**30
)  # bytes of address space a process; the largest picture takes an eighth of it, several times
_LEAST_MEMORY = 256 * 2**20
CPU_SECONDS = 20  # an image
_SLACK = 6  # as many times that on the clock, for a machine that does other things as well


class Workshop:
    """Processes that decode and encode; a context manager. Threads may share it."""

    def __init__(
        self, options: Reencode, workers: int | None = None, memory: int = MEMORY, seconds: int = CPU_SECONDS
    ) -> None:
        """At most `workers` processes (None: one a core), each with `memory` bytes, and `seconds` of processor time an image.

        UsageError for less memory than a process takes by itself.
        """
        if memory < _LEAST_MEMORY:
            raise UsageError(
                f"{memory:,} bytes are too few to decode images in; at least {_LEAST_MEMORY:,} are needed"
            )
        self._options, self._seconds = options, seconds
        self._settings = json.dumps({"options": asdict(options), "memory": memory, "seconds": seconds})
        self._workers = workers or os.cpu_count() or 1
        self._free: queue.LifoQueue[LimitedProcess | None] = queue.LifoQueue()
        for _ in range(self._workers):
            self._free.put(None)  # started when it is needed

    def reencode(self, content: bytes) -> Checked | Problem:
        """One image as the options want it, or what is wrong with it. Waits for a free process.

        BezoarError when no process can be started.
        """
        checked = check(content)
        if isinstance(checked, Problem):
            return checked
        if refusal := unsuitable(checked.width, checked.height, self._options):
            return Problem(refusal)
        process, died = self._free.get(), 0
        try:
            while True:
                process = process or LimitedProcess(self._settings)
                try:
                    return self._ask(process, content)
                except Ended as error:
                    process.kill()
                    process, died = None, died + 1
                    if error.certain or died == 2:  # the first may have died of something else
                        return Problem(str(error))
        finally:
            if process is not None and process.is_old:
                process.kill()
                process = None
            self._free.put(process)

    def reencode_all(self, contents: Iterable[bytes]) -> Iterator[Checked | Problem]:
        """The same of each, in order; as many at a time as there are processes, and `contents` are drawn as they are needed."""
        waiting: deque[Future[Checked | Problem]] = deque()
        with ThreadPoolExecutor(self._workers) as threads:
            for content in contents:
                waiting.append(threads.submit(self.reencode, content))
                if len(waiting) >= 2 * self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def close(self) -> None:
        """End all processes; those that are busy, once they are free."""
        for process in [self._free.get() for _ in range(self._workers)]:
            if process is not None:
                process.kill()
            self._free.put(None)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, process: LimitedProcess, content: bytes) -> Checked | Problem:
        """What came back is as hostile as what went in: it is checked again."""
        done = process.ask(content, _SLACK * self._seconds)
        if isinstance(done, str):
            return Problem(done)
        result = check(done.content)
        if isinstance(result, Problem) or result.suffix != self._options.encode_format:
            raise Ended("the process that decoded the image gave back none", certain=True)
        sizes = (done.width, done.height, done.original_width, done.original_height)
        if sizes[:2] != (result.width, result.height):
            raise Ended("the process that decoded the image gave back another one", certain=True)
        return Checked(done.content, result.suffix, *sizes)
