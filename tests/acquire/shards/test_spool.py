"""A spool gives back what was put, in whatever order, and holds no more of it in memory than it may."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.acquire.shards import Spool


@given(puts=st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=40))), memory=st.integers(0, 100))
def test_the_last_content_of_each_key_comes_back(puts: list[tuple[int, bytes]], memory: int) -> None:
    with Spool(memory=memory) as spool:
        for key, content in puts:
            spool.put(key, content)
        for key, content in dict(puts).items():
            assert spool.get(key) == content
        with pytest.raises(KeyError):
            spool.get(6)


def test_what_does_not_fit_into_memory_lies_in_a_file_without_a_name(tmp_path: Path) -> None:
    tracemalloc.start()
    with Spool(tmp_path, memory=2 << 20) as spool:
        for key in range(64):
            spool.put(key, bytes([key]) * (1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        assert [spool.get(key)[:1] for key in (63, 0, 31)] == [b"\x3f", b"\0", b"\x1f"]
        assert list(tmp_path.iterdir()) == []
    tracemalloc.stop()
