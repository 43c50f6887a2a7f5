"""What lies behind a synthetic sign: skies, foliage, walls, roads and blurred clutter.

Every backdrop is a float32 image (S, S, 3) in [0, 1], drawn from the generator alone, so no two are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.float32]


def backdrop(rng: np.random.Generator, size: int) -> Pixels:
    """A random outdoor scene of `size` x `size` pixels, float32 (size, size, 3) in [0, 1]."""
    kind = rng.choice(len(_KINDS), p=_WEIGHTS)
    return _KINDS[kind](rng, size)


def cloud(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> Pixels:
    """Fractal noise about zero with unit spread, float32 (size, size): `cells` blobs across, then finer."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        side = min(cells * 2**octave + 1, size)
        coarse = Image.fromarray(rng.standard_normal((side, side), np.float32))
        total += np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) * np.float32(0.6**octave)
    return total


def colour(rng: np.random.Generator, low: tuple[float, ...], high: tuple[float, ...]) -> Pixels:
    """A colour between `low` and `high`, float32 (3,); channels vary together, like shades of a material."""
    at = rng.uniform() + rng.normal(0, 0.12, 3)
    start, end = np.asarray(low), np.asarray(high)
    return np.asarray(np.clip(start + at * (end - start), 0, 1), np.float32)


def between(weight: Pixels, first: Pixels, second: Pixels) -> Pixels:
    """`first` where `weight` (H, W) is 0, `second` where it is 1, mixed in between."""
    return (first + np.clip(weight, 0, 1)[..., None] * (second - first)).astype(np.float32)


def _down(size: int) -> Pixels:
    return np.linspace(0, 1, size, dtype=np.float32)[:, None] * np.ones((1, size), np.float32)


def sky(rng: np.random.Generator, size: int) -> Pixels:
    """Blue or grey air with clouds."""
    high = colour(rng, (0.22, 0.42, 0.66), (0.45, 0.62, 0.92))
    low = colour(rng, (0.62, 0.72, 0.82), (0.86, 0.88, 0.92))
    air = between(_down(size) + rng.uniform(-0.3, 0.3), high, low)
    cover = cloud(rng, size, int(rng.integers(1, 4))) * 0.35 + rng.uniform(-0.5, 0.7)
    return between(cover, air, colour(rng, (0.66, 0.68, 0.70), (0.95, 0.95, 0.95)))


def leaves(rng: np.random.Generator, size: int) -> Pixels:
    """Foliage in light and shade, with gaps of sky."""
    depth = cloud(rng, size, int(rng.integers(3, 9))) * 0.28 + 0.4
    green = between(
        depth,
        colour(rng, (0.04, 0.07, 0.02), (0.12, 0.16, 0.08)),
        colour(rng, (0.24, 0.32, 0.08), (0.58, 0.64, 0.30)),
    )
    gaps = cloud(rng, size, int(rng.integers(3, 7))) - rng.uniform(0.8, 2.6)
    return between(gaps * 1.5, green, colour(rng, (0.55, 0.65, 0.75), (0.90, 0.92, 0.95)))


def fields(rng: np.random.Generator, size: int) -> Pixels:
    """Farmland from above: a warped grid of green and brown."""
    bend = cloud(rng, size, 2, 1) * 0.06
    side = int(rng.integers(2, 5))
    across, down = _down(size).T + bend, _down(size) + bend.T
    palette = np.stack([colour(rng, (0.24, 0.28, 0.14), (0.60, 0.54, 0.32)) for _ in range(side * side)])
    cell = np.clip(across * side, 0, side - 1).astype(int) * side + np.clip(down * side, 0, side - 1).astype(
        int
    )
    return np.asarray(np.clip(palette[cell] * (1 + 0.06 * cloud(rng, size, 8))[..., None], 0, 1), np.float32)


def _bricks(rng: np.random.Generator, size: int) -> Pixels:
    rows = int(rng.integers(5, 12))
    height, width = size / rows, size / rows * rng.uniform(1.8, 2.6)
    brick = colour(rng, (0.36, 0.18, 0.12), (0.66, 0.50, 0.42))
    joint = colour(rng, (0.45, 0.42, 0.40), (0.72, 0.70, 0.66))
    y = np.arange(size, dtype=np.float32)[:, None] + np.float32(rng.uniform(0, height))
    x = np.arange(size, dtype=np.float32)[None, :] + np.float32(rng.uniform(0, width))
    row = (y // height).astype(int)
    column = ((x + (row % 2) * width / 2) // width).astype(int)
    tint = rng.uniform(0.75, 1.2, (rows + 2, rows + 3)).astype(np.float32)[row, column % (rows + 3)]
    gap = max(1.0, height * 0.14)
    in_joint = ((y % height) < gap) | (((x + (row % 2) * width / 2) % width) < gap)
    wall = np.where(in_joint[..., None], joint, brick * tint[..., None])
    return np.asarray(np.clip(wall * (1 + 0.06 * cloud(rng, size, 8, 2))[..., None], 0, 1), np.float32)


def _plaster(rng: np.random.Generator, size: int) -> Pixels:
    base = colour(rng, (0.35, 0.34, 0.30), (0.85, 0.80, 0.72))
    shade = (
        1 + 0.07 * cloud(rng, size, int(rng.integers(1, 6)), 4) + rng.uniform(-0.3, 0.3) * (_down(size) - 0.5)
    )
    return np.asarray(np.clip(base * shade[..., None], 0, 1), np.float32)


def _road(rng: np.random.Generator, size: int) -> Pixels:
    """Sky over houses or trees over asphalt, as seen from a car."""
    scene = sky(rng, size)
    horizon = np.float32(rng.uniform(0.45, 0.8))
    edge = np.float32(horizon - rng.uniform(0.05, 0.35)) + np.float32(0.05) * cloud(rng, size, 4)[:1]
    behind = leaves(rng, size) if rng.random() < 0.6 else _houses(rng, size)
    down = _down(size)
    scene = between((down - edge) * np.float32(size / 2), scene, behind)
    grey = colour(rng, (0.25, 0.25, 0.26), (0.48, 0.47, 0.46))
    asphalt = grey * (1 + 0.08 * cloud(rng, size, 16, 2))[..., None]
    return between((down - horizon) * np.float32(size / 2), scene, asphalt)


def _houses(rng: np.random.Generator, size: int) -> Pixels:
    image = Image.new("RGB", (size, size), _rgb(colour(rng, (0.3, 0.3, 0.3), (0.7, 0.7, 0.7))))
    draw = ImageDraw.Draw(image)
    for left in np.arange(0, 1, rng.uniform(0.25, 0.5)):
        x = size * float(left)
        wall = colour(rng, (0.35, 0.28, 0.22), (0.88, 0.80, 0.70))
        draw.rectangle((x, 0, size, size), fill=_rgb(wall))
        step = size * rng.uniform(0.10, 0.18)
        for i in range(4):
            for j in range(5):
                at = (x + (i + 0.3) * step, (j + 0.3) * step * 1.3)
                draw.rectangle((*at, at[0] + step * 0.5, at[1] + step * 0.8), fill=_rgb(wall * 0.35))
    return _unit(image.filter(ImageFilter.GaussianBlur(size / 90)))


def _clutter(rng: np.random.Generator, size: int) -> Pixels:
    """Out-of-focus shapes in muted colours: parked cars, shop fronts, whatever a street has."""
    image = Image.new("RGB", (size, size), _rgb(colour(rng, (0.2, 0.2, 0.2), (0.7, 0.7, 0.7))))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 16))):
        x, y, w, h = rng.uniform((-0.2, -0.2, 0.1, 0.1), (0.9, 0.9, 0.7, 0.7)) * size
        fill = _rgb(np.clip(rng.uniform(0.1, 0.8) + rng.normal(0, 0.05, 3), 0, 1).astype(np.float32))
        if rng.random() < 0.6:
            draw.rectangle((x, y, x + w, y + h), fill=fill)
        else:
            draw.ellipse((x, y, x + w, y + h), fill=fill)
    return _unit(image.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.01, 0.06))))


def _rgb(value: Pixels) -> tuple[int, int, int]:
    red, green, blue = (int(255 * v) for v in value)
    return red, green, blue


def _unit(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32) / np.float32(255)


_KINDS: tuple[Callable[[np.random.Generator, int], Pixels], ...] = (
    sky,
    leaves,
    _bricks,
    _plaster,
    _road,
    _houses,
    _clutter,
)
_WEIGHTS = (0.20, 0.24, 0.08, 0.10, 0.18, 0.06, 0.14)
