"""Seeded randomness: one integer per run, one independent generator per purpose.

Generators are derived by name, so adding a consumer never changes the stream of another
(NumPy `SeedSequence` spawn keys).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """An independent generator for `purpose` under `seed` (the same call gives the same stream)."""
    import numpy as np

    key = tuple(zlib.crc32(str(part).encode()) for part in purpose)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
