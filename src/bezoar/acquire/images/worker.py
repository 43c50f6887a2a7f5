"""The process in which images are decoded: it takes images from its standard input, gives them back on its standard output,
and can do nothing else. Once its libraries are loaded it may open no file and no socket, write to no file, start no process
and take no more memory and time than it was given (setrlimit(2)); it was started with an empty environment, inherits no open
file, and holds no key.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
from typing import BinaryIO

from PIL import Image, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin

from bezoar.acquire.images.options import ENCODE_FORMATS, Reencode
from bezoar.acquire.images.protocol import KEPT, LENGTH, LIFE_S, PROBLEM, READY, REQUEST, SIZES, Encoded
from bezoar.acquire.images.transform import READABLE, transform
from bezoar.data.image_files import MAX_BYTES

_NOBODY = 65_534
_LOADED_ON_DEMAND = (
    MpoImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)  # later there would be no file to load them from


def main(settings: str) -> None:
    """Serve requests until the standard input ends; `settings` is JSON: `options`, `memory` (bytes), `seconds` (per image)."""
    wanted = json.loads(settings)
    options, seconds = Reencode(**wanted["options"]), int(wanted["seconds"])
    with os.fdopen(0, "rb") as source, os.fdopen(1, "wb") as sink:
        _warm_up()
        _give_up_everything(int(wanted["memory"]), LIFE_S + 2 * seconds)
        sink.write(READY)
        sink.flush()
        while head := source.read(REQUEST.size):
            (size,) = REQUEST.unpack(head)
            _allow(seconds)
            sink.write(_answer(source, size, options))
            sink.flush()


def _answer(source: BinaryIO, size: int, options: Reencode) -> bytes:
    done = transform(source.read(min(size, MAX_BYTES)), options)
    if isinstance(done, Encoded):
        sizes = (done.width, done.height, done.original_width, done.original_height)
        return KEPT + SIZES.pack(*sizes, len(done.content)) + done.content
    line = done.encode("utf-8", "replace")
    return PROBLEM + LENGTH.pack(len(line)) + line


def _warm_up() -> None:
    """Load all that decoding and encoding load on first use."""
    Image.preinit()
    Image.MAX_IMAGE_PIXELS = None  # `transform` has a limit of its own
    for kind in READABLE:
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, format=kind)
        for name in ENCODE_FORMATS:
            transform(out.getvalue(), Reencode(8, "no", encode_format=name, quality=9))


def _give_up_everything(memory: int, seconds: int) -> None:
    """From here on: no new file descriptor, no byte written to a file, no process, no core dump, this much memory and time."""
    if os.getuid() == 0:  # root could take any limit back
        with contextlib.suppress(OSError):  # of a container that knows no other user
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    if sys.platform != "darwin":  # which does not limit it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _allow(seconds: int) -> None:
    """Processor time for one more image; the kernel ends the process when it is spent."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (min(spent + seconds, hard), hard))
