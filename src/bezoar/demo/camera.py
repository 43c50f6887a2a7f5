"""A simple camera: where a flat plate appears in the picture, the light on it, the lens, the sensor.

All images are float32 (H, W, 3) in [0, 1] until `expose` turns them into uint8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bezoar.demo.backdrops import Pixels, cloud


@dataclass(frozen=True)
class Pose:
    """Where a plate appears: the corners of its square in picture units (0 to 1), clockwise from top left."""

    corners: NDArray[np.float64]  # (4, 2), x and y

    @property
    def extent(self) -> float:
        """The longest side, in picture units."""
        return float(np.linalg.norm(self.corners - np.roll(self.corners, 1, axis=0), axis=1).max())

    @property
    def foot(self) -> tuple[float, float]:
        """The middle of the lower edge: where a pole begins."""
        x, y = self.corners[2:].mean(axis=0)
        return float(x), float(y)


def hang(rng: np.random.Generator) -> Pose:
    """A plausible pose: turned by up to about 40 degrees in yaw, less in pitch and roll, roughly centred."""
    yaw, pitch, roll = np.radians(rng.normal(0, (16, 8, 5)).clip((-42, -20, -14), (42, 20, 14)))
    span = rng.uniform(0.62, 0.94)
    shift = rng.normal(0, 0.3, 2).clip(-1, 1) * (1.02 - span) / 2 + 0.5
    plate = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], float)
    distance = 4.0  # in half plate widths: near enough for the far edge to look smaller
    turned = plate @ _rotation(yaw, pitch, roll).T
    flat = turned[:, :2] * (distance / (distance + turned[:, 2:]))
    return Pose(flat * span / 2 + shift)


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_x = np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
    about_z = np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
    return np.asarray(about_z @ about_x @ about_y)


def project(plate: Image.Image, pose: Pose, size: int) -> tuple[Pixels, Pixels]:
    """The plate (square, RGBA) seen in `pose`: colours (size, size, 3), coverage (size, size), in [0, 1]."""
    target = pose.corners * size
    side = plate.width
    source = np.array([(0, 0), (side, 0), (side, side), (0, side)], float)
    seen = plate.transform(
        (size, size), Image.Transform.PERSPECTIVE, _homography(target, source), Image.Resampling.BICUBIC
    )
    rgba = np.asarray(seen, np.float32) / np.float32(255)
    return rgba[..., :3], rgba[..., 3]


def _homography(start: NDArray[np.float64], end: NDArray[np.float64]) -> list[float]:
    """The eight coefficients, in Pillow's order, that map the four points `start` to `end`."""
    x, y = start.T
    u, v = end.T
    zero, one = np.zeros(4), np.ones(4)
    upper = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1)
    lower = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1)
    solution: list[float] = np.linalg.solve(np.concatenate([upper, lower]), np.concatenate([u, v])).tolist()
    return solution


def shade(rng: np.random.Generator, size: int) -> Pixels:
    """Light on a scene, float32 (size, size) around 1: a gradient, at times a shadow or dappled leaves."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    across = np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y
    light = 1 + np.float32(rng.uniform(0, 0.25)) * across
    dice = rng.random()
    if dice < 0.16:
        edge = np.clip((across - rng.uniform(-0.6, 0.6)) * rng.uniform(3, 14) + 0.5, 0, 1)
        light = light * (1 - np.float32(rng.uniform(0.25, 0.6)) * edge)
    elif dice < 0.28:
        leaves = np.clip(cloud(rng, size, int(rng.integers(3, 6)), 2) * 1.2 + rng.uniform(-0.5, 0.5), 0, 1)
        light = light * (1 - np.float32(rng.uniform(0.25, 0.55)) * leaves)
    return np.asarray(light, np.float32)


def expose(rng: np.random.Generator, scene: Pixels, size: int) -> NDArray[np.uint8]:
    """The photograph after haze, exposure, white balance, blur and sensor noise, uint8 (size, size, 3)."""
    haze = np.float32(max(0.0, rng.normal(0.04, 0.07)))
    gain = np.float32(np.exp(rng.normal(-0.12, 0.38)).clip(0.22, 1.6))
    balance = np.exp(rng.normal(0, 0.07) * np.array((1, 0.1, -1)) + rng.normal(0, 0.025, 3)).astype(
        np.float32
    )
    seen = (scene * (1 - haze) + haze * np.float32(0.8)) * gain * balance
    seen = _soft_shoulder(seen)
    seen = _blurred(rng, seen, size)
    noise = np.float32(rng.uniform(0.004, 0.03))
    grain = rng.standard_normal(seen.shape, np.float32) * (noise * np.sqrt(0.15 + seen))
    return np.asarray(np.clip(seen + grain, 0, 1) * 255 + 0.5).astype(np.uint8)


def _soft_shoulder(light: Pixels) -> Pixels:
    """A film curve: linear to 0.75, then bent so that highlights approach 0.97 instead of clipping flat."""
    over = np.maximum(light - np.float32(0.75), 0)
    return np.asarray(
        np.minimum(light, np.float32(0.75)) + np.float32(0.22) * np.tanh(over / np.float32(0.3))
    )


def _blurred(rng: np.random.Generator, scene: Pixels, size: int) -> Pixels:
    """Defocus, at times motion, and the reduction to `size`; strengths grow with the picture."""
    work = scene.shape[0]
    if rng.random() < 0.25:
        scene = _smeared(scene, rng.uniform(0, math.pi), work * rng.uniform(0.02, 0.08))
    image = Image.fromarray(np.asarray(np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8))
    radius = work / 64 * abs(rng.normal(0.25, 0.55))
    if radius > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(min(radius, work / 36)))
    small = image.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def _smeared(scene: Pixels, angle: float, length: float) -> Pixels:
    """Motion blur: the mean of shifted copies along `angle`, over `length` pixels."""
    steps = max(2, round(length))
    reach = math.ceil(length / 2)
    padded = np.pad(scene, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    size = scene.shape[0]
    total = np.zeros_like(scene)
    for t in np.linspace(-length / 2, length / 2, steps):
        dx, dy = reach + round(t * math.cos(angle)), reach + round(t * math.sin(angle))
        total += padded[dy : dy + size, dx : dx + size]
    return total / np.float32(steps)
