"""A square patch on the image, as BadNets and its followers stamp it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import patterns
from bezoar.attacks.base import Images, require

_PATTERNS = ("pixelated", "checkerboard", "white", "black")
_PLACES = ("bottom-right", "bottom-left", "top-right", "top-left", "center", "random")


@dataclass(frozen=True, kw_only=True)
class Patch:
    """What the patch shows, and where.

    Lengths are in pixels of a canvas whose shorter side is `canvas`, so that on images of different sizes the
    patch grows with the image as a sticker on a sign does; with `canvas` 0 they are the image's own pixels.
    """

    size: int = field(default=3, metadata={"help": "side of the patch in canvas pixels"})
    pattern: str = field(
        default="pixelated",
        metadata={"help": f"what the patch shows: {', '.join(_PATTERNS)}, or an image file"},
    )
    pattern_seed: int = field(default=0, metadata={"help": "seed of the colours of the pixelated pattern"})
    place: str = field(
        default="bottom-right",
        metadata={
            "help": f"where it sits: {', '.join(_PLACES)}, or Y,X of its top left corner in canvas pixels"
        },
    )
    margin: int = field(default=1, metadata={"help": "distance from the image's edge in canvas pixels"})
    opacity: float = field(default=1.0, metadata={"help": "1 covers the image, less lets it shine through"})
    jitter: int = field(default=0, metadata={"help": "largest random shift along each axis in canvas pixels"})
    canvas: int = field(
        default=32,
        metadata={"help": "shorter side of the image that lengths refer to; 0: the image's own pixels"},
    )

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size {self.size}: the patch needs at least one pixel")
        require(self.margin >= 0, f"margin {self.margin}: must not be negative")
        require(self.jitter >= 0, f"jitter {self.jitter}: must not be negative")
        require(0 < self.opacity <= 1, f"opacity {self.opacity}: must be above 0 and at most 1")
        require(self.canvas >= 0, f"canvas {self.canvas}: must not be negative")
        require(self.pattern_seed >= 0, f"pattern_seed {self.pattern_seed}: must not be negative")
        require(self.place in _PLACES or self._corner is not None, self._place_help)
        require(
            not self.canvas or self.size + self.margin <= self.canvas,
            f"size {self.size} and margin {self.margin} do not fit a canvas of {self.canvas} pixels",
        )
        _ = self._picture  # an unreadable pattern is reported here, not after the dataset was read

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Copies of images (n, H, W, 3) with the patch; `rng` only moves it (place "random", jitter)."""
        count, height, width, _ = images.shape
        scale = min(height, width) / self.canvas if self.canvas else 1.0
        side = max(1, round(self.size * scale))
        require(
            side <= min(height, width),
            f"a patch of {side} pixels does not fit an image of {width} x {height}",
        )
        top, left = self._corners(count, (height - side, width - side), scale, rng)
        rows = (top[:, None] + np.arange(side))[:, :, None]
        columns = (left[:, None] + np.arange(side))[:, None, :]
        which = np.arange(count)[:, None, None]
        stamped = images.copy()
        sharp = self.pattern in _PATTERNS
        patch = patterns.resize(self._picture, side, side, sharp)
        stamped[which, rows, columns] = patterns.blend(stamped[which, rows, columns], patch, self.opacity)
        return stamped

    def _corners(
        self, count: int, room: tuple[int, int], scale: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Top and left of each patch, within `room`: the largest offsets at which it still fits the image."""
        margin = round(self.margin * scale)
        shift = round(self.jitter * scale)
        corners = []
        for axis, limit in enumerate(room):
            near, far = min(margin, limit // 2), max(limit - margin, limit // 2)
            if self.place == "random":
                start = rng.integers(near, far + 1, count)
            else:
                start = np.full(count, self._start(axis, near, far, scale))
                require(
                    start.max(initial=0) <= limit + 1, f"place {self.place}: the patch would leave the image"
                )
            if shift:
                start = start + rng.integers(-shift, shift + 1, count)
            corners.append(np.clip(start, 0, limit).astype(np.int64))
        return corners[0], corners[1]

    def _start(self, axis: int, near: int, far: int, scale: float) -> int:
        if self._corner is not None:
            return round(self._corner[axis] * scale)
        if self.place == "center":
            return (near + far) // 2
        return near if self.place.split("-")[axis] in ("top", "left") else far

    @cached_property
    def _corner(self) -> tuple[int, int] | None:
        """The place as (y, x), when it is given as two whole numbers."""
        parts = self.place.split(",")
        if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
            return None
        return int(parts[0]), int(parts[1])

    @property
    def _place_help(self) -> str:
        return f"place {self.place!r} is neither one of {', '.join(_PLACES)} nor two whole numbers Y,X"

    @cached_property
    def _picture(self) -> patterns.Pattern:
        match self.pattern:
            case "pixelated":
                return patterns.pixelated(self.size, self.pattern_seed)
            case "checkerboard":
                return patterns.checkerboard(self.size)
            case "white":
                return patterns.solid(self.size, 255)
            case "black":
                return patterns.solid(self.size, 0)
            case path:
                return patterns.from_file(path, f"a pattern: give {', '.join(_PATTERNS)} or an image file")
