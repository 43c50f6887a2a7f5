"""What becomes of memory that a network's activations no longer need."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of malloc.h
_LARGEST, _MOST_FREE = 2**30, 2**31 - 1  # bytes


def keep_freed_memory() -> None:
    """Have this process keep freed blocks for the next use, where the C library is glibc.

    By default it gives blocks of megabytes back to the system at once, which hands them out again page by page, each filled with
    zeros: activations of 224 x 224 images took twice the CPU time.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _MOST_FREE)
