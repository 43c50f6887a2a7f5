"""What the container of an image says of it, and the limits that hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.data.image_files import MAX_PIXELS

MAX_FRAMES = 1000
MAX_ANIMATION = 8 * MAX_PIXELS  # of all frames together
MAX_PARTS = 100_000  # segments, chunks or blocks that are walked


class Broken(Exception):  # noqa: N818 - it says what an image is
    """These bytes are no whole image that is allowed; the message says why."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Width and height in pixels as stored (before any EXIF orientation), and the number of frames."""

    width: int
    height: int
    frames: int = 1


def truncated(what: str) -> Broken:
    """The error for a container that ends too early."""
    return Broken(f"{what} is truncated")
