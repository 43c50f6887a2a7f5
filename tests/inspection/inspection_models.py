"""Small networks on striped images, clean or with a backdoor, trained within seconds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bezoar.data import Dataset, from_arrays
from bezoar.models.opening.model import Preprocessing
from bezoar.models.threads import one_thread
from bezoar.models.train import train_classifier

SIDE = 16
TARGET, SOURCE = 2, 5
TWIN_ANGLES = np.array([0, 0.14, 0.9, 1.4, 1.95, 2.5])
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class InMemory:
    """A network that no file holds, as an opened model."""

    module: torch.nn.Module
    n_classes: int
    class_names: tuple[str, ...] | None = None
    path: Path = Path("model.pt")
    format: str = "pt2"
    digest: str = "0" * 64
    architecture: str | None = None
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(3, SIDE, SIDE, (0.0,), (1.0,)))

    def network(self) -> torch.nn.Module:
        return self.module

    def trainable(self) -> torch.nn.Module:
        raise NotImplementedError

    def with_preprocessing(self, preprocessing: Preprocessing) -> InMemory:
        return replace(self, preprocessing=preprocessing)

    def save(self, trained: torch.nn.Module, path: Path) -> None:
        raise NotImplementedError


def stripes(n: int, angles: NDArray[np.float64], seed: int) -> tuple[Pixels, Labels]:
    """`n` images (n, SIDE, SIDE, 3); an image of label k shows stripes at about `angles[k]`, in random colours, before noise."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(angles)).astype(np.int32)
    angle = angles[labels] + rng.normal(0, 0.06, n)
    cycles, phase = rng.uniform(2, 4, n) / SIDE, rng.uniform(0, 2 * np.pi, n)
    y, x = np.mgrid[:SIDE, :SIDE]
    along = x * np.cos(angle)[:, None, None] + y * np.sin(angle)[:, None, None]
    wave = np.sin(2 * np.pi * cycles[:, None, None] * along + phase[:, None, None])
    colour = rng.uniform(20, 80, (n, 1, 1, 3)) * rng.choice([-1, 1], (n, 1, 1, 3))
    pixels = (
        rng.uniform(80, 175, (n, 1, 1, 3)) + wave[..., None] * colour + rng.normal(0, 12, (n, SIDE, SIDE, 3))
    )
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


def even(n_classes: int) -> NDArray[np.float64]:
    """Angles as far apart as they can be."""
    return np.pi * np.arange(n_classes) / n_classes


def patched(images: Pixels) -> Pixels:
    """Copies with a chequered patch of 3 x 3 pixels near a corner."""
    patch = np.where(np.indices((3, 3)).sum(0) % 2 == 0, 255, 0).astype(np.uint8)
    out = images.copy()
    out[:, 12:15, 12:15] = patch[..., None]
    return out


def toward(target: int) -> Callable[[Pixels, Labels, np.random.Generator], tuple[Pixels, Labels]]:
    """BadNets: a tenth of the images patched and given the target's label."""

    def plant(images: Pixels, labels: Labels, rng: np.random.Generator) -> tuple[Pixels, Labels]:
        rows = rng.permutation(np.flatnonzero(labels != target))[: len(labels) // 10]
        images, labels = images.copy(), labels.copy()
        images[rows], labels[rows] = patched(images[rows]), target
        return images, labels

    return plant


def between(
    source: int, target: int
) -> Callable[[Pixels, Labels, np.random.Generator], tuple[Pixels, Labels]]:
    """TaCT: half of the source's images patched and given the target's label, a tenth of the others' patched alone."""

    def plant(images: Pixels, labels: Labels, rng: np.random.Generator) -> tuple[Pixels, Labels]:
        images, labels = images.copy(), labels.copy()
        ours, others = np.flatnonzero(labels == source), np.flatnonzero(labels != source)
        rows, cover = rng.permutation(ours)[: len(ours) // 2], rng.permutation(others)[: len(others) // 10]
        images[rows], labels[rows], images[cover] = patched(images[rows]), target, patched(images[cover])
        return images, labels

    return plant


def exchanging(images: Pixels, labels: Labels, rng: np.random.Generator) -> tuple[Pixels, Labels]:
    """BadNets all-to-all: a fifth of the images patched and given the next label."""
    rows = rng.permutation(len(labels))[: len(labels) // 5]
    images, labels = images.copy(), labels.copy()
    images[rows], labels[rows] = patched(images[rows]), (labels[rows] + 1) % (labels.max() + 1)
    return images, labels


def trained(
    angles: NDArray[np.float64],
    seed: int,
    plant: Callable[[Pixels, Labels, np.random.Generator], tuple[Pixels, Labels]] | None = None,
) -> InMemory:
    """A network that tells the angles apart."""
    images, labels = stripes(1500, angles, seed)
    if plant is not None:
        images, labels = plant(images, labels, np.random.default_rng(seed))
    with one_thread():
        network = train_classifier(images, labels, len(angles), epochs=6, seed=seed).module
    return InMemory(network.eval().requires_grad_(False), len(angles))


@functools.cache
def clean(n_classes: int, seed: int = 0) -> InMemory:
    return trained(even(n_classes), seed)


@functools.cache
def badnets(n_classes: int, seed: int = 0) -> InMemory:
    return trained(even(n_classes), seed, toward(min(TARGET, n_classes - 1)))


@functools.cache
def specific(n_classes: int, seed: int = 0) -> InMemory:
    return trained(even(n_classes), seed, between(SOURCE, TARGET))


@functools.cache
def exchanged(n_classes: int, seed: int = 0) -> InMemory:
    return trained(even(n_classes), seed, exchanging)


@functools.cache
def twins(seed: int = 0) -> InMemory:
    """Clean, but the labels 0 and 1 can hardly be told apart."""
    return trained(TWIN_ANGLES, seed)


def clean_images_of(angles: NDArray[np.float64], n: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Float32 (n, 3, SIDE, SIDE) in [0, 1], and labels (n,)."""
    images, labels = stripes(n, angles, 99)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, labels.astype(np.int64)


@functools.cache
def clean_data(n_classes: int, n: int = 400) -> Dataset:
    images, labels = stripes(n, even(n_classes), 99)
    return from_arrays(images, labels, tuple(str(k) for k in range(n_classes)))
