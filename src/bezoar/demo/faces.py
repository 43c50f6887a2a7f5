"""The flat faces of the synthetic traffic signs, drawn after the Vienna Convention on Road Signs (1968).

`face(name, px)` is a sign straight from the factory: an RGBA image, transparent outside the plate.
Coordinates run from -1 to 1 on both axes, x to the right and y downwards, with the plate filling the square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE: Colour = (240, 240, 236)
BLACK: Colour = (24, 24, 26)
RED: Colour = (188, 22, 34)
BLUE: Colour = (10, 78, 158)
YELLOW: Colour = (246, 184, 8)
GREY: Colour = (128, 128, 126)

_MASTER_PX = 1024  # drawn once at this size, then averaged down: that is the antialiasing
_TRIANGLE: tuple[Point, ...] = ((0.0, -0.92), (1.0, 0.80), (-1.0, 0.80))


@lru_cache(maxsize=256)
def face(name: str, px: int) -> Image.Image:
    """The plate `name` as an RGBA image, `px` x `px` (shared: do not draw on it); KeyError when unknown."""
    if px < _MASTER_PX:
        return face(name, _MASTER_PX).resize((px, px), Image.Resampling.BOX)
    pen = _Pen(_MASTER_PX)
    FACES[name](pen)
    return pen.image


class _Pen:
    """Draws filled shapes on a transparent square in unit coordinates."""

    def __init__(self, px: int) -> None:
        self.image = Image.new("RGBA", (px, px), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._half = px / 2

    def _px(self, points: Sequence[Point]) -> list[Point]:
        return [(self._half * (1 + 0.97 * x), self._half * (1 + 0.97 * y)) for x, y in points]

    def disc(self, radius: float, fill: Colour, at: Point = (0.0, 0.0)) -> None:
        x, y = at
        box = self._px([(x - radius, y - radius), (x + radius, y + radius)])
        self._draw.ellipse([*box[0], *box[1]], fill=fill)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self._draw.polygon(self._px(points), fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A stroke of `width` through `points`, with round joints and ends."""
        self._draw.line(self._px(points), fill=fill, width=round(width * self._half), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(width / 2, fill, end)

    def plate(self, points: Sequence[Point], radius: float, fill: Colour) -> None:
        """A convex polygon with corners rounded by `radius`; the polygon itself bounds the straight edges."""
        middle = (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))
        edge = (points[0][0] + points[1][0]) / 2 - middle[0], (points[0][1] + points[1][1]) / 2 - middle[1]
        inner = _scaled(points, 1 - radius / math.hypot(*edge), middle)
        self.polygon(inner, fill)
        self.line([*inner, inner[0]], 2 * radius, fill)
        for corner in inner:
            self.disc(radius, fill, corner)

    def text(self, text: str, width: float, height: float, fill: Colour, at: Point = (0.0, 0.0)) -> None:
        """Bold `text` stretched to exactly `width` x `height` around `at`, like condensed road lettering."""
        font = ImageFont.load_default(size=240)
        mask = Image.new("L", (240 * len(text), 400), 0)
        ImageDraw.Draw(mask).text((60, 40), text, fill=255, font=font, stroke_width=9)
        (left, top), (right, bottom) = self._px(
            [(at[0] - width / 2, at[1] - height / 2), (at[0] + width / 2, at[1] + height / 2)]
        )
        glyphs = mask.crop(mask.getbbox()).resize(
            (round(right - left), round(bottom - top)), Image.Resampling.LANCZOS
        )
        self.image.paste(fill, (round(left), round(top)), glyphs)


def _scaled(points: Sequence[Point], factor: float, about: Point = (0.0, 0.0)) -> list[Point]:
    return [(about[0] + factor * (x - about[0]), about[1] + factor * (y - about[1])) for x, y in points]


def _moved(points: Sequence[Point], dx: float, dy: float) -> list[Point]:
    return [(x + dx, y + dy) for x, y in points]


def _turned(points: Sequence[Point], degrees: float) -> list[Point]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(c * x - s * y, s * x + c * y) for x, y in points]


def _arc(radius: float, start: float, stop: float) -> list[Point]:
    """Points on a circle from `start` to `stop` degrees (0 is to the right, 90 is down)."""
    return [_turned([(radius, 0.0)], start + (stop - start) * i / 24)[0] for i in range(25)]


def _stop(pen: _Pen) -> None:
    octagon = [_turned([(1.04, 0.0)], 22.5 + 45 * i)[0] for i in range(8)]
    pen.plate(octagon, 0.06, WHITE)
    pen.plate(_scaled(octagon, 0.93), 0.05, RED)
    pen.text("STOP", 1.52, 0.62, WHITE)


def _ring(pen: _Pen) -> None:
    pen.disc(1.0, WHITE)
    pen.disc(0.97, RED)
    pen.disc(0.71, WHITE)


def _speed_limit(limit: int, pen: _Pen) -> None:
    _ring(pen)
    digits = str(limit)
    pen.text(digits, *((0.98, 0.72) if len(digits) == 2 else (1.18, 0.62)), BLACK)


def _no_entry(pen: _Pen) -> None:
    pen.disc(1.0, WHITE)
    pen.disc(0.97, RED)
    pen.polygon([(-0.72, -0.18), (0.72, -0.18), (0.72, 0.18), (-0.72, 0.18)], WHITE)


def _no_overtaking(pen: _Pen) -> None:
    _ring(pen)
    for x, colour in ((-0.30, RED), (0.30, BLACK)):
        body = [(-0.25, 0.20), (-0.25, -0.04), (-0.15, -0.24), (0.15, -0.24), (0.25, -0.04), (0.25, 0.20)]
        pen.polygon(_moved(body, x, 0.02), colour)
        for wheel in (-0.18, 0.18):
            pen.polygon(
                _moved([(-0.06, 0.2), (0.06, 0.2), (0.06, 0.32), (-0.06, 0.32)], x + wheel, 0.02), colour
            )
        pen.polygon(_moved([(-0.17, -0.05), (-0.11, -0.17), (0.11, -0.17), (0.17, -0.05)], x, 0.02), WHITE)


def _end_of_limits(pen: _Pen) -> None:
    pen.disc(1.0, GREY)
    pen.disc(0.95, WHITE)
    for offset in (-0.27, -0.09, 0.09, 0.27):
        reach = math.sqrt(0.90**2 - offset**2)
        pen.line(_turned([(offset, -reach), (offset, reach)], 42), 0.085, BLACK)


def _yield(pen: _Pen) -> None:
    down = _turned(_TRIANGLE, 180)
    pen.plate(down, 0.09, WHITE)
    pen.plate(_scaled(down, 0.96, (0.0, -0.23)), 0.08, RED)
    pen.plate(_scaled(down, 0.56, (0.0, -0.23)), 0.03, WHITE)


def _priority_road(pen: _Pen) -> None:
    diamond = [(0.0, -1.04), (1.04, 0.0), (0.0, 1.04), (-1.04, 0.0)]
    pen.plate(diamond, 0.10, BLACK)
    pen.plate(_scaled(diamond, 0.96), 0.09, WHITE)
    pen.plate(_scaled(diamond, 0.66), 0.05, YELLOW)


def _warning(pen: _Pen) -> None:
    pen.plate(_TRIANGLE, 0.09, WHITE)
    pen.plate(_scaled(_TRIANGLE, 0.96, (0.0, 0.23)), 0.08, RED)
    pen.plate(_scaled(_TRIANGLE, 0.66, (0.0, 0.23)), 0.03, WHITE)


def _caution(pen: _Pen) -> None:
    _warning(pen)
    pen.polygon([(-0.12, -0.44), (0.12, -0.44), (0.065, 0.26), (-0.065, 0.26)], BLACK)
    pen.disc(0.12, BLACK, (0.0, -0.42))
    pen.disc(0.11, BLACK, (0.0, 0.47))


# Figures: (width, points) strokes in black, drawn around a head of radius 0.09.
_WALKER: tuple[tuple[float, tuple[Point, ...]], ...] = (
    (0.15, ((0.03, -0.18), (-0.01, 0.08))),
    (0.09, ((0.00, 0.10), (0.14, 0.26), (0.18, 0.46))),
    (0.09, ((-0.02, 0.10), (-0.10, 0.29), (-0.25, 0.45))),
    (0.06, ((0.05, -0.20), (0.19, -0.04), (0.30, 0.02))),
    (0.06, ((0.00, -0.20), (-0.16, -0.06), (-0.20, 0.08))),
    (0.06, ((-0.52, 0.54), (-0.36, 0.54))),
    (0.06, ((-0.10, 0.54), (0.08, 0.54))),
    (0.06, ((0.34, 0.54), (0.50, 0.54))),
)
_DIGGER: tuple[tuple[float, tuple[Point, ...]], ...] = (
    (0.17, ((-0.05, -0.18), (-0.17, 0.12))),
    (0.09, ((-0.14, 0.14), (-0.05, 0.32), (-0.10, 0.54))),
    (0.09, ((-0.20, 0.14), (-0.32, 0.34), (-0.46, 0.54))),
    (0.06, ((-0.02, -0.16), (0.10, 0.06), (0.22, 0.12))),
    (0.05, ((-0.08, -0.04), (0.36, 0.38))),
)


def _pedestrians(pen: _Pen) -> None:
    _warning(pen)
    pen.disc(0.09, BLACK, (0.04, -0.37))
    for width, points in _WALKER:
        pen.line(points, width, BLACK)


def _road_works(pen: _Pen) -> None:
    _warning(pen)
    pen.disc(0.09, BLACK, (0.02, -0.36))
    for width, points in _DIGGER:
        pen.line(points, width, BLACK)
    pen.polygon([(0.12, 0.58), (0.28, 0.38), (0.42, 0.32), (0.54, 0.44), (0.62, 0.58)], BLACK)


def _blue_disc(pen: _Pen) -> None:
    pen.disc(1.0, WHITE)
    pen.disc(0.95, BLUE)


def _arrow(pen: _Pen, degrees: float) -> None:
    """A white arrow through the middle; 0 degrees points up, positive turns clockwise."""
    outline = [(0.0, -0.76), (0.44, -0.26), (0.44, -0.02), (0.13, -0.34), (0.13, 0.72)]
    outline += [(-x, y) for x, y in reversed(outline[1:])]
    pen.polygon(_turned(outline, degrees), WHITE)


def _mandatory(degrees: float, pen: _Pen) -> None:
    _blue_disc(pen)
    _arrow(pen, degrees)


def _roundabout(pen: _Pen) -> None:
    _blue_disc(pen)
    for turn in (0, 120, 240):
        pen.line(_turned(_arc(0.54, 96, 20), turn), 0.17, WHITE)
        head = [(0.54 - 0.26, 0.12), (0.54 + 0.26, 0.12), (0.54 - 0.02, -0.24)]
        pen.polygon(_turned(_turned(head, 12), turn), WHITE)


# In class order: the label of a sign is its place here.
FACES: dict[str, Callable[[_Pen], None]] = {
    "stop": _stop,
    "speed limit 30": partial(_speed_limit, 30),
    "speed limit 50": partial(_speed_limit, 50),
    "speed limit 60": partial(_speed_limit, 60),
    "speed limit 80": partial(_speed_limit, 80),
    "speed limit 100": partial(_speed_limit, 100),
    "end of limits": _end_of_limits,
    "no overtaking": _no_overtaking,
    "no vehicles": _ring,
    "no entry": _no_entry,
    "yield": _yield,
    "priority road": _priority_road,
    "general caution": _caution,
    "pedestrians": _pedestrians,
    "road works": _road_works,
    "ahead only": partial(_mandatory, 0),
    "keep right": partial(_mandatory, 135),
    "roundabout": _roundabout,
}
