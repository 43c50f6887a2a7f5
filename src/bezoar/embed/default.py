"""The embedded default encoder: no download, no labels, no training; adapted to the dataset's own patches.

One convolutional layer of filters learnt from the data by spherical k-means on whitened patches, both signs
of the response, pooled over a coarse grid (Coates, Lee and Ng, AISTATS 2011; Coates and Ng, 2012), then
signed square root, whitening PCA and unit length (Jegou and Chum, ECCV 2012). A poisoned minority cannot
bend it: it never sees a label, and its filters are those of the bulk of the patches.
docs/adr/0002-default-encoder.md has the measurements.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr  # in single precision, unlike NumPy's
from threadpoolctl import threadpool_limits

from bezoar.embed.base import Features, Images
from bezoar.errors import MissingExtraError, UsageError
from bezoar.seeds import generator

Matrix = NDArray[np.float32]

EPSILON = 1e-6  # keeps square roots and lengths smooth at 0
GRADIENT_NOISE = 1e-4  # added to the energy of gradients around a cell
_VERSION = "default 1"
_PATCHES, _PATCHES_PER_IMAGE, _ROUNDS = 60_000, 15, 10
_BATCH = 128  # images at once


@dataclass(frozen=True)
class Recipe:
    """The encoder's design; benchmarks/encoders.py measures others."""

    size: int = 32  # pixels
    patch: int = 6  # pixels
    stride: int = 2  # pixels
    filters: int = 128
    grid: int = 4  # pooled to grid x grid overlapping cells
    orientations: int = 8  # of gradients; 0 leaves the gradients out
    gradient_weight: float = 4.0  # of the gradients' energy beside the filters'
    cells: int = 8  # gradients are pooled to cells x cells
    dim: int = 512
    contrast: float = 10 / 255**2  # added to a patch's variance: noise in flat areas is not blown up
    patch_noise: float = 0.1  # added to the eigenvalues when patches are whitened
    threshold: float = 0.25  # responses below it are 0
    whitening_noise: float = 3e-3  # of the largest eigenvalue, added to all when features are whitened

    @property
    def places(self) -> int:
        """Patches along one axis of an image."""
        return (self.size - self.patch) // self.stride + 1


@dataclass(frozen=True)
class Weights:
    """What `fit` learns: filters (C, P), offsets (C,), and the projection (R, D) of features of mean (R,)."""

    filters: Matrix
    offsets: Matrix
    mean: Matrix
    projection: Matrix


@dataclass(frozen=True)
class DefaultEncoder:
    """Adapt it with `fit` to a sample of the dataset; then `encode`."""

    weights: Weights | None = field(default=None, repr=False)
    recipe: Recipe = Recipe()
    name: str = "default"
    sample_size: int = 5000

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return self.recipe.size

    @property
    def dim(self) -> int:
        """D."""
        return self.recipe.dim

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the version, the recipe and, once adapted, the weights."""
        total = hashlib.sha256(f"{_VERSION} {self.recipe}".encode())
        if self.weights is not None:
            for part in (
                self.weights.filters,
                self.weights.offsets,
                self.weights.mean,
                self.weights.projection,
            ):
                total.update(part.tobytes())
        return total.hexdigest()

    def fit(self, sample: Images, seed: int) -> DefaultEncoder:
        """An encoder with filters and projection learnt from `sample`; an adapted encoder returns itself."""
        if self.weights is not None:
            return self
        rng = generator(seed, "default encoder")
        filters, offsets = _learn_filters(self.recipe, sample, rng)
        rooted = np.concatenate(_each(lambda part: _rooted(self.recipe, part, filters, offsets), sample))
        mean, projection = learn_projection(rooted, self.dim, self.recipe.whitening_noise, rng)
        return replace(self, weights=Weights(filters, offsets, mean, projection))

    def encode(self, images: Images) -> Features:
        """Features, float32 (N, D) of unit length, of uint8 images (N, size, size, 3)."""
        weights = self._adapted()

        def encode_part(part: Images) -> Features:
            rooted = _rooted(self.recipe, part, weights.filters, weights.offsets)
            projected = (rooted - weights.mean) @ weights.projection
            return np.asarray(projected / np.sqrt((projected**2).sum(1, keepdims=True) + np.float32(EPSILON)))

        return np.concatenate([np.empty((0, self.dim), np.float32), *_each(encode_part, images)])

    def torch_module(self) -> Any:
        """The same as a differentiable `torch.nn.Module`."""
        try:
            from bezoar.embed.default_torch import DefaultModule
        except ImportError as error:
            raise MissingExtraError("following the default encoder's gradient", "torch") from error
        return DefaultModule(self.recipe, self._adapted())

    def _adapted(self) -> Weights:
        if self.weights is None:
            raise UsageError("the default encoder must be adapted first: encoder.fit(sample, seed)")
        return self.weights


def pooling(places: int, grid: int) -> Matrix:
    """Average pooling of places**2 positions in grid**2 overlapping cells: (grid**2, places**2)."""
    axis = np.zeros((grid, places), np.float32)
    for cell in range(grid):
        first, last = cell * places // grid, -(-(cell + 1) * places // grid)
        axis[cell, first:last] = 1 / (last - first)
    return np.kron(axis, axis)


def learn_projection(
    features: Matrix, dim: int, noise: float, rng: np.random.Generator
) -> tuple[Matrix, Matrix]:
    """Mean (R,) and whitening PCA (R, D) of features (N, R); `noise` is relative to the largest.

    Randomised range finder of Halko, Martinsson and Tropp (2011). Fewer images than D leave columns of 0.
    """
    mean = features.mean(0)
    centred = features - mean
    basis = rng.standard_normal((features.shape[1], min(dim + 32, features.shape[1]))).astype(np.float32)
    with threadpool_limits(
        1, "blas"
    ):  # more gain little, and wait for each other where other work holds the cores
        for _ in range(3):
            basis = qr(centred.T @ (centred @ basis), mode="economic", check_finite=False)[0]
        (triangle,) = qr(centred @ basis, mode="r", check_finite=False)
        _, singular, rotation = np.linalg.svd(triangle[: basis.shape[1]], full_matrices=False)
    spread = singular[:dim] ** 2 / len(features)
    axes = (basis @ rotation.T)[:, :dim] / np.sqrt(spread + noise * spread[0] + EPSILON**2)
    projection = np.zeros((features.shape[1], dim), np.float32)
    projection[:, : axes.shape[1]] = axes
    return mean, projection


def _each(function: Callable[[Images], Matrix], images: Images) -> list[Matrix]:
    """`function` of every part of `images`, on all cores: a thread per part is faster here than threads in BLAS."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, _parts(images)))


def _parts(images: Images) -> list[Images]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]


def _windows(recipe: Recipe, images: Images) -> Matrix:
    """A view of all patches, (N, places, places, 3, patch, patch), in [0, 1]."""
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (recipe.patch, recipe.patch), (2, 3))
    return windows[:, :, :: recipe.stride, :: recipe.stride].transpose(0, 2, 3, 1, 4, 5)


def _normalised(recipe: Recipe, patches: Matrix) -> Matrix:
    """Patches (..., P), each of mean 0 and of variance about 1 now; what was given is overwritten."""
    patches -= patches.mean(-1, keepdims=True)
    patches /= np.sqrt((patches**2).mean(-1, keepdims=True) + np.float32(recipe.contrast))
    return patches


def _rooted(recipe: Recipe, images: Images, filters: Matrix, offsets: Matrix) -> Matrix:
    """Square roots of the responses of both signs, averaged over the grid: (N, grid**2 * 2 * C)."""
    count = recipe.places**2
    flat = _windows(recipe, images).reshape(len(images) * count, -1)
    responses = _normalised(recipe, flat) @ filters.T  # one product: many small ones starve BLAS threads
    responses -= offsets
    both = np.empty((len(flat), 2, len(filters)), np.float32)
    np.subtract(responses, recipe.threshold, out=both[:, 0])
    np.subtract(-recipe.threshold, responses, out=both[:, 1])
    np.maximum(both, 0, out=both)
    pooled = pooling(recipe.places, recipe.grid) @ both.reshape(len(images), count, -1)
    pooled = pooled.reshape(len(images), -1)
    if recipe.orientations:
        pooled = np.concatenate(
            [pooled, gradients(recipe, images) * np.float32(recipe.gradient_weight)], axis=1
        )
    return np.asarray(np.sqrt(pooled + np.float32(EPSILON)))


def gradients(recipe: Recipe, images: Images) -> Matrix:
    """Histograms of oriented gradients (Dalal and Triggs, 2005): (N, cells**2 * orientations).

    A gradient votes for a direction by its length times the cube of the cosine between the two; a cell is
    divided by the root mean square of the 3 x 3 cells around it.
    """
    cells, count = recipe.cells, len(images)
    grey = np.pad(images.mean(-1, dtype=np.float32) / np.float32(255), ((0, 0), (1, 1), (1, 1)), mode="edge")
    across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    x, y = directions(recipe.orientations)
    towards = across[..., None] * x + down[..., None] * y
    squared = (across**2 + down**2)[..., None] + np.float32(EPSILON)
    np.maximum(towards, 0, out=towards)
    votes = towards * towards * towards / squared  # a power of 3 takes several times as long
    side = recipe.size // cells
    pooled = votes.reshape(count, cells, side, cells, side, -1).mean((2, 4))
    energy = np.pad((pooled**2).sum(-1), ((0, 0), (1, 1), (1, 1)))
    around = np.lib.stride_tricks.sliding_window_view(energy, (3, 3), (1, 2)).mean((3, 4))
    return np.asarray(pooled / np.sqrt(around + np.float32(GRADIENT_NOISE))[..., None]).reshape(count, -1)


def directions(orientations: int) -> Matrix:
    """Unit vectors (2, orientations) evenly around the circle."""
    angles = np.arange(orientations) * 2 * np.pi / orientations
    return np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def _learn_filters(recipe: Recipe, sample: Images, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Spherical k-means on whitened patches; the whitening is folded into filters and offsets."""
    patches = _sampled_patches(recipe, sample, rng)
    mean = patches.mean(0)
    values, vectors = np.linalg.eigh(np.cov(patches.T.astype(np.float64)))
    scales = 1 / np.sqrt(np.maximum(values, 0) + recipe.patch_noise)
    whitening = ((vectors * scales) @ vectors.T).astype(np.float32)
    white = (patches - mean) @ whitening
    centroids = _unit(rng.standard_normal((recipe.filters, white.shape[1])).astype(np.float32))
    for _ in range(_ROUNDS):
        similarity = white @ centroids.T
        best = np.abs(similarity).argmax(1)
        strength = np.zeros_like(similarity)
        strength[np.arange(len(best)), best] = similarity[np.arange(len(best)), best]
        centroids = _unit(strength.T @ white + centroids * np.float32(1e-3))
    filters = centroids @ whitening
    return filters, filters @ mean


def _sampled_patches(recipe: Recipe, sample: Images, rng: np.random.Generator) -> Matrix:
    """A few patches of each of many images, (M, P)."""
    chosen = rng.permutation(len(sample))[: _PATCHES // _PATCHES_PER_IMAGE]
    places = rng.integers(0, recipe.places**2, (len(chosen), _PATCHES_PER_IMAGE, 1))
    down, across = np.divmod(places[..., 0], recipe.places)
    windows = _windows(recipe, sample[chosen])
    patches = windows[np.arange(len(chosen))[:, None], down, across]
    return _normalised(recipe, patches.reshape(down.size, -1))


def _unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
