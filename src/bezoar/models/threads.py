"""How many threads torch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from bezoar.errors import MissingExtraError

_SMALL = 64 * 64  # pixels: up to this, more threads than one gain nothing


def threads_for(height: int, width: int) -> AbstractContextManager[None]:
    """`one_thread` for small images; for others a block in which nothing changes."""
    return one_thread() if height * width <= _SMALL else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Within this block torch computes on one thread; before and after, on as many as it was told.

    Small networks gain little from more threads, lose much when other programs hold the cores (waiting threads spin), and
    only with a fixed number of threads train to the same weights everywhere.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("training a network", "torch") from error
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
