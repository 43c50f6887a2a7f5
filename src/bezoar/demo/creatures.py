"""Frogs and planes, drawn: the two classes of the clean-label story (Shafahi et al. 2018, "Poison Frogs!").

Not photographs, but varied like them: pose, build, colour, surroundings, light, blur and noise all change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bezoar.demo.backdrops import Pixels, between, cloud, colour, fields, leaves, sky
from bezoar.demo.camera import expose, shade
from bezoar.errors import UsageError

Kind = Literal["frog", "plane"]
Point = tuple[float, float]
Paint = tuple[int, int, int]

CREATURES: tuple[Kind, ...] = ("frog", "plane")

_MIN_SIZE = 16
_OVERSAMPLING = 4  # edges are drawn hard and averaged down


def render_creature(kind: Kind, rng: np.random.Generator, size: int = 32) -> NDArray[np.uint8]:
    """One picture of a frog or a plane, uint8 (size, size, 3); UsageError for another kind or a tiny size."""
    if kind not in CREATURES:
        raise UsageError(f"creature {kind!r} is unknown; known: {', '.join(CREATURES)}")
    if size < _MIN_SIZE:
        raise UsageError(
            f"picture size {size} is too small to show anything; use at least {_MIN_SIZE} pixels"
        )
    work = size * _OVERSAMPLING
    scene = _swamp(rng, work) if kind == "frog" else _air(rng, work)
    canvas = Image.fromarray(np.asarray(scene * 255).astype(np.uint8))
    brush = _Brush(rng, canvas, turn=0.25 if kind == "frog" else math.pi)
    (_frog if kind == "frog" else _plane)(rng, brush)
    drawn = np.asarray(canvas, np.float32) / np.float32(255)
    relief = np.float32(1.2) + np.float32(0.06) * cloud(rng, work, 12, 2)
    return expose(rng, drawn * (relief * shade(rng, work))[..., None], size)


class _Brush:
    """Draws in the creature's own frame, -1 to 1 both ways, which lies turned and mirrored on the canvas."""

    def __init__(self, rng: np.random.Generator, canvas: Image.Image, turn: float) -> None:
        self._draw = ImageDraw.Draw(canvas)
        size = canvas.width
        scale = size * rng.uniform(0.34, 0.47)
        angle = rng.uniform(-turn, turn)
        mirror = rng.choice((-1.0, 1.0))
        c, s = math.cos(angle) * scale, math.sin(angle) * scale
        self._matrix = np.array([(c * mirror, -s), (s * mirror, c)])
        self._middle = size * (0.5 + rng.normal(0, 0.03, 2))
        self.scale = scale

    def _px(self, points: Sequence[Point]) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in np.asarray(points) @ self._matrix.T + self._middle]

    def polygon(self, points: Sequence[Point], fill: Paint) -> None:
        self._draw.polygon(self._px(points), fill=fill)

    def oval(self, at: Point, rx: float, ry: float, fill: Paint) -> None:
        angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        self.polygon([(at[0] + rx * math.cos(a), at[1] + ry * math.sin(a)) for a in angles], fill)

    def limb(self, points: Sequence[Point], width: float, fill: Paint) -> None:
        self._draw.line(self._px(points), fill=fill, width=max(1, round(width * self.scale)), joint="curve")
        for joint in points:
            self.oval(joint, width / 2, width / 2, fill)


def _paint(value: Pixels, factor: float = 1.0) -> Paint:
    red, green, blue = (int(v) for v in np.clip(value * factor, 0, 1) * 255)
    return red, green, blue


# --- frogs ---------------------------------------------------------------------------------------


def _swamp(rng: np.random.Generator, size: int) -> Pixels:
    """Leaves, mud or water with lily pads."""
    dice = rng.random()
    if dice < 0.35:
        return leaves(rng, size)
    low, high = (
        ((0.16, 0.12, 0.07), (0.48, 0.38, 0.26)) if dice < 0.65 else ((0.08, 0.16, 0.16), (0.32, 0.44, 0.42))
    )
    ground = between(cloud(rng, size, 5) * 0.25 + 0.5, colour(rng, low, high), colour(rng, low, high))
    image = Image.fromarray(np.asarray(ground * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0, size, 2)
        r = size * rng.uniform(0.12, 0.35)
        pad = _paint(colour(rng, (0.12, 0.26, 0.08), (0.34, 0.50, 0.20)))
        draw.ellipse((x - r, y - r * 0.6, x + r, y + r * 0.6), fill=pad)
    return np.asarray(image, np.float32) / np.float32(255)


def _frog(rng: np.random.Generator, brush: _Brush) -> None:
    """A sitting frog from the front: folded hind legs, a wide body, a head with eyes on top."""
    low, high = ((0.28, 0.50, 0.08), (0.58, 0.84, 0.26))
    if rng.random() < 0.3:
        low, high = ((0.42, 0.31, 0.14), (0.68, 0.54, 0.32))
    skin = colour(rng, low, high)
    base, dark, pale = _paint(skin), _paint(skin, 0.68), _paint(skin * 0.5 + np.float32(0.42))
    wide, tall = rng.uniform(0.46, 0.62), rng.uniform(0.42, 0.54)
    for side in (-1, 1):
        knee = (side * rng.uniform(0.72, 0.92), rng.uniform(0.00, 0.20))
        foot = (side * rng.uniform(0.62, 0.86), rng.uniform(0.66, 0.76))
        brush.limb([(side * 0.36, 0.48), knee, foot], 0.24, dark)
        _toes(brush, foot, side, dark)
    brush.oval((0, 0.24), wide, tall, base)
    brush.oval((0, 0.36), wide * rng.uniform(0.5, 0.75), tall * rng.uniform(0.5, 0.75), pale)
    for side in (-1, 1):
        hand = (side * rng.uniform(0.26, 0.44), 0.80)
        brush.limb([(side * 0.38, 0.18), (side * 0.46, 0.48), hand], 0.15, base)
        _toes(brush, hand, side, base)
    head = rng.uniform(-0.36, -0.24)
    brush.oval((0, head), wide * rng.uniform(0.95, 1.1), 0.33, base)
    _spots(rng, brush, wide, dark)
    brush.limb([(-0.36, head + 0.10), (0.0, head + 0.19), (0.36, head + 0.10)], 0.035, _paint(skin, 0.35))
    for side in (-1, 1):
        _eye(rng, brush, (side * 0.31, head - 0.27), base)


def _toes(brush: _Brush, foot: Point, side: int, fill: Paint) -> None:
    for x, y in ((-0.12, 0.12), (0.04, 0.15), (0.20, 0.10)):
        brush.limb([foot, (foot[0] + side * x, foot[1] + y)], 0.065, fill)


def _spots(rng: np.random.Generator, brush: _Brush, wide: float, fill: Paint) -> None:
    for _ in range(int(rng.integers(0, 9))):
        x, y = rng.uniform(-wide * 0.8, wide * 0.8), rng.uniform(-0.5, 0.1)
        brush.oval((x, y), rng.uniform(0.03, 0.09), rng.uniform(0.03, 0.07), fill)


def _eye(rng: np.random.Generator, brush: _Brush, at: Point, lid: Paint) -> None:
    brush.oval(at, 0.20, 0.20, lid)
    brush.oval(at, 0.14, 0.14, _paint(colour(rng, (0.70, 0.56, 0.10), (0.95, 0.90, 0.60))))
    brush.oval(at, 0.10, rng.uniform(0.05, 0.09), (14, 14, 12))


# --- planes --------------------------------------------------------------------------------------


def _air(rng: np.random.Generator, size: int) -> Pixels:
    """Mostly sky; at times a runway or fields from above."""
    dice = rng.random()
    if dice < 0.7:
        return sky(rng, size) * np.float32(0.82)  # a white plane must not drown in a white sky
    if dice < 0.85:
        return fields(rng, size)
    grey = colour(rng, (0.34, 0.34, 0.35), (0.56, 0.55, 0.54))
    asphalt = grey * (1 + 0.06 * cloud(rng, size, 16, 2))[..., None]
    image = Image.fromarray(np.asarray(np.clip(asphalt, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x, lean, width = size * rng.uniform(0.1, 0.9), size * rng.uniform(-0.2, 0.2), max(1, size // 24)
    draw.line((x, 0, x + lean, size), fill=(214, 206, 150), width=width)
    return np.asarray(image, np.float32) / np.float32(255)


def _plane(rng: np.random.Generator, brush: _Brush) -> None:
    """An airliner or a light aircraft from above or below: nose at (0, -1), wings, tailplane, engines."""
    backlit = rng.random() < 0.25
    low, high = (0.12, 0.28) if backlit else (0.74, 0.98)
    body = colour(rng, (low, low, low), (high, high, high))
    accent = _paint(rng.uniform(0.05, 0.85, 3).astype(np.float32))
    base, dark = _paint(body), _paint(body, 0.82)
    sweep, span = rng.uniform(0.0, 0.55), rng.uniform(0.78, 1.0)
    chord, girth = rng.uniform(0.34, 0.50), rng.uniform(0.11, 0.17)
    root = rng.uniform(-0.28, -0.08)
    for side in (-1, 1):
        tip = root + sweep
        wing = [(0, root), (side * span, tip), (side * span, tip + chord * 0.45), (0, root + chord)]
        brush.polygon(wing, dark)
        tail = [(0, 0.56), (side * 0.40, 0.58 + sweep * 0.5), (side * 0.40, 0.76 + sweep * 0.5), (0, 0.90)]
        brush.polygon(tail, dark)
        for place in (0.34, 0.62)[: int(rng.integers(1, 3))]:
            engine = (side * span * place, root + sweep * place)
            brush.limb(
                [(engine[0], engine[1] - 0.08), (engine[0], engine[1] + 0.08)], 0.10, _paint(body, 0.5)
            )
    brush.limb([(0, -0.84), (0, 0.55)], 2 * girth, base)
    brush.polygon([(-girth, 0.5), (girth, 0.5), (0.02, 0.98), (-0.02, 0.98)], base)
    brush.oval((0, -0.86), girth * 0.95, 0.14, base)
    brush.oval((0, -0.82), girth * 0.6, 0.05, (40, 48, 60))
    brush.polygon([(-0.03, 0.55), (0.03, 0.55), (0.05, 0.96), (-0.05, 0.96)], accent)
    if rng.random() < 0.5:
        brush.limb([(0, -0.6), (0, 0.4)], girth * 0.5, accent)
