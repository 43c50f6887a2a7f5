"""Trigger patterns: seeded noise, simple figures, or a picture from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.data.images import decode
from bezoar.errors import InputError, UsageError
from bezoar.seeds import generator

Pattern = NDArray[np.uint8]  # (h, w, 3), RGB

_MAX_FILE_BYTES = 64 * 2**20
_SMOOTH_CELLS = 4
_CANVAS = 32  # cells of a whole image's noise along each side; they are stretched over larger images
WHOLE_IMAGE = ("noise", "smooth")


def pixelated(cells: int, seed: int) -> Pattern:
    """`cells` x `cells` independent, uniformly random colours."""
    return generator(seed, "pattern", "pixelated").integers(0, 256, (cells, cells, 3), dtype=np.uint8)


def checkerboard(cells: int) -> Pattern:
    """Black and white cells; the corners at the top left and bottom right are white for odd sizes."""
    white = np.indices((cells, cells)).sum(axis=0) % 2 == 0
    return np.repeat(np.where(white, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)


def solid(cells: int, level: int) -> Pattern:
    """One grey level, 0 to 255."""
    return np.full((cells, cells, 3), level, dtype=np.uint8)


def smooth(cells: int, seed: int) -> Pattern:
    """Low-frequency noise: a 4 x 4 grid of random colours, interpolated to `cells` x `cells`."""
    coarse = generator(seed, "pattern", "smooth").integers(
        0, 256, (_SMOOTH_CELLS, _SMOOTH_CELLS, 3), dtype=np.uint8
    )
    return resize(coarse, cells, cells, sharp=False)


def whole_image(name: str, seed: int) -> Pattern:
    """One of `WHOLE_IMAGE`, or the picture of that path, to be stretched over images."""
    match name:
        case "noise":
            return pixelated(_CANVAS, seed)
        case "smooth":
            return smooth(_CANVAS, seed)
        case path:
            return from_file(path, f"a pattern: give {', '.join(WHOLE_IMAGE)} or an image file")


def from_file(path: str, what: str) -> Pattern:
    """The picture at `path`; `what` says in an error what should have been given."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{path!r} is not {what}")
    if file.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB; give a smaller picture")
    try:
        return decode(file.read_bytes(), None)
    except InputError as error:
        raise InputError(f"{path}: not usable as a picture: {error}") from error


def resize(pattern: Pattern, height: int, width: int, sharp: bool) -> Pattern:
    """Scaled to (height, width): cells kept crisp when `sharp`, otherwise interpolated."""
    from PIL import Image

    if pattern.shape[:2] == (height, width):
        return pattern
    method = Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(pattern).resize((width, height), method), dtype=np.uint8)


def blend(
    images: NDArray[np.uint8], pattern: NDArray[np.uint8], opacity: float | NDArray[np.float32]
) -> NDArray[np.uint8]:
    """`(1 - opacity) * images + opacity * pattern`, rounded to whole levels; the shapes broadcast."""
    mixed = (1 - opacity) * images.astype(np.float32) + opacity * pattern.astype(np.float32)
    return levels(mixed)


def levels(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Rounded to whole levels, 0 to 255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
