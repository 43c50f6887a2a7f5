"""Synthetic photographs of traffic signs, seeded: the dataset that needs no download.

A flat sign is hung before a backdrop, seen in perspective, weathered, lit, blurred and exposed. The ranges
follow what the German benchmark (GTSRB, Stallkamp et al. 2012) shows: dark, hazy, smeared, oblique signs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bezoar.demo.backdrops import Pixels, backdrop, between, cloud, colour
from bezoar.demo.camera import Pose, expose, hang, project, shade
from bezoar.demo.faces import FACES, face
from bezoar.errors import UsageError
from bezoar.progress import track
from bezoar.seeds import generator

CLASS_NAMES: tuple[str, ...] = tuple(FACES)

_MIN_SIZE = 16
_OVERSAMPLING = 2  # scenes are composed at this multiple of the final size


def render(label: int, rng: np.random.Generator, size: int = 32) -> NDArray[np.uint8]:
    """One photograph of the sign `CLASS_NAMES[label]`, uint8 (size, size, 3); UsageError when unknown."""
    if not 0 <= label < len(CLASS_NAMES):
        raise UsageError(f"sign label {label} is unknown; labels run from 0 to {len(CLASS_NAMES) - 1}")
    if size < _MIN_SIZE:
        raise UsageError(f"sign size {size} is too small to show anything; use at least {_MIN_SIZE} pixels")
    work = size * _OVERSAMPLING
    pose = hang(rng)
    scene = backdrop(rng, work)
    if rng.random() < 0.55:
        scene = _with_pole(rng, scene, pose)
    plate, coverage = project(_texture(label, pose, work), pose, work)
    lit = _weathered(rng, plate) * np.float32(rng.uniform(0.8, 1.15))
    scene = between(coverage, scene * np.float32(rng.uniform(0.7, 1.1)), lit)
    return expose(rng, scene * shade(rng, work)[..., None], size)


def render_dataset(
    n_per_class: int, seed: int, size: int = 32
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """`n_per_class` signs of every class in a seeded order: images (N, size, size, 3), labels (N,).

    Each image has a generator of its own, so a larger set under the same seed holds the smaller one's images.
    """
    if n_per_class < 1:
        raise UsageError(f"n_per_class is {n_per_class}; at least one image of each class is needed")
    n = n_per_class * len(CLASS_NAMES)
    order = generator(seed, "signs", "order").permutation(n)
    labels = (order % len(CLASS_NAMES)).astype(np.int32)
    images = np.empty((n, size, size, 3), np.uint8)
    with track("render signs", n) as bar:
        for row, number in enumerate(order):
            label, index = int(labels[row]), int(number) // len(CLASS_NAMES)
            images[row] = render(label, generator(seed, "signs", label, index), size)
            bar.advance()
    return images, labels


def _texture(label: int, pose: Pose, work: int) -> Image.Image:
    """The face at the power of two nearest above its extent in the picture: sharp, without aliasing."""
    px = 32
    while px < pose.extent * work and px < 1024:
        px *= 2
    return face(CLASS_NAMES[label], px)


def _with_pole(rng: np.random.Generator, scene: Pixels, pose: Pose) -> Pixels:
    """The scene with a grey post from the middle of the plate to the lower edge of the picture."""
    size = scene.shape[0]
    x, y = pose.foot
    top = pose.corners[:2].mean(axis=0)
    lean = (x - float(top[0])) / max(y - float(top[1]), 0.1)
    half = rng.uniform(0.025, 0.045)
    mask = Image.new("L", (size, size), 0)
    bottom = x + lean * (1 - y)
    ends = [(x - half, y - 0.2), (x + half, y - 0.2), (bottom + half, 1.05), (bottom - half, 1.05)]
    ImageDraw.Draw(mask).polygon([(a * size, b * size) for a, b in ends], fill=255)
    steel = colour(rng, (0.35, 0.35, 0.36), (0.68, 0.68, 0.68))
    return between(np.asarray(mask, np.float32) / np.float32(255), scene, np.broadcast_to(steel, scene.shape))


def _weathered(rng: np.random.Generator, plate: Pixels) -> Pixels:
    """Sun-bleached and dirty paint: colours drift to grey, grime gathers in patches."""
    bleach = np.float32(rng.uniform(0, 0.3))
    grey = plate.mean(axis=2, keepdims=True)
    plate = plate + bleach * (grey * np.float32(0.8) + np.float32(0.14) - plate)
    if rng.random() < 0.4:
        dirt = np.clip(cloud(rng, plate.shape[0], 4) * 0.3 - rng.uniform(0, 0.4), 0, 0.45)
        plate = between(dirt, plate, colour(rng, (0.18, 0.16, 0.12), (0.34, 0.30, 0.26)))
    return plate
