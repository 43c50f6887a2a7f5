"""The embedded default encoder: no download, no labels, no training; adapted to the dataset's own patches.

One convolutional layer of filters learnt from the data by spherical k-means on whitened patches, both signs
of the response, pooled over a coarse grid (Coates, Lee and Ng, AISTATS 2011; Coates and Ng, 2012), then
signed square root, whitening PCA and unit length (Jegou and Chum, ECCV 2012). A poisoned minority cannot
bend it: it never sees a label, and its filters are those of the bulk of the patches.
docs/adr/0002-default-encoder.md has the measurements.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.embed.base import Features, Images
from bezoar.errors import MissingExtraError, UsageError
from bezoar.seeds import generator

Matrix = NDArray[np.float32]

_VERSION = "default 1"
_SIZE = 32  # pixels
PATCH, STRIDE = 6, 2  # pixels
_PLACES = (_SIZE - PATCH) // STRIDE + 1  # per axis
_FILTERS = 128
_GRID = 3
_DIM = 512
CONTRAST = 10 / 255**2  # added to a patch's variance, so that noise in flat areas is not blown up
_PATCH_NOISE = 0.1  # added to the eigenvalues when patches are whitened
THRESHOLD = 0.25  # responses below it are 0
EPSILON = 1e-6
_WHITENING_NOISE = 1e-3  # of the largest eigenvalue, added to all when features are whitened
_PATCHES, _PATCHES_PER_IMAGE, _ROUNDS = 60_000, 15, 10
_BATCH = 128  # images at once


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
    name: str = "default"
    size: int = _SIZE
    dim: int = _DIM
    sample_size: int = 5000

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the version and, once adapted, of the weights."""
        total = hashlib.sha256(_VERSION.encode())
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
        filters, offsets = _learn_filters(sample, rng)
        raw = np.concatenate([_pooled(part, filters, offsets) for part in _parts(sample)])
        mean, projection = _learn_projection(_root(raw), rng)
        return DefaultEncoder(Weights(filters, offsets, mean, projection))

    def encode(self, images: Images) -> Features:
        """Features, float32 (N, D) of unit length, of uint8 images (N, 32, 32, 3)."""
        weights = self._adapted()
        features = np.empty((len(images), _DIM), np.float32)
        for place, part in enumerate(_parts(images)):
            rooted = _root(_pooled(part, weights.filters, weights.offsets))
            projected = (rooted - weights.mean) @ weights.projection
            length = np.sqrt((projected**2).sum(1, keepdims=True) + np.float32(EPSILON))
            features[place * _BATCH : place * _BATCH + len(part)] = projected / length
        return features

    def torch_module(self) -> Any:
        """The same as a differentiable `torch.nn.Module`."""
        try:
            from bezoar.embed.default_torch import DefaultModule
        except ImportError as error:
            raise MissingExtraError("following the default encoder's gradient", "torch") from error
        return DefaultModule(self._adapted())

    def _adapted(self) -> Weights:
        if self.weights is None:
            raise UsageError("the default encoder must be adapted first: encoder.fit(sample, seed)")
        return self.weights


def pooling(places: int = _PLACES, grid: int = _GRID) -> Matrix:
    """Average pooling of places**2 positions in grid**2 overlapping cells: (grid**2, places**2)."""
    axis = np.zeros((grid, places), np.float32)
    for cell in range(grid):
        first, last = cell * places // grid, -(-(cell + 1) * places // grid)
        axis[cell, first:last] = 1 / (last - first)
    return np.kron(axis, axis)


def _parts(images: Images) -> list[Images]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]


def _patches(images: Images) -> Matrix:
    """All patches, (N, places**2, P), each of mean 0 and of variance about 1."""
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (PATCH, PATCH), (2, 3))
    windows = windows[:, :, ::STRIDE, ::STRIDE].transpose(0, 2, 3, 1, 4, 5)
    return _normalise(windows.reshape(len(images), _PLACES**2, -1))


def _normalise(patches: Matrix) -> Matrix:
    centred = patches - patches.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(CONTRAST)))


def _pooled(images: Images, filters: Matrix, offsets: Matrix) -> Matrix:
    """Thresholded responses of both signs, averaged over the grid: (N, 2 * C * grid**2)."""
    responses = _patches(images) @ filters.T - offsets
    both = np.concatenate([responses - THRESHOLD, -responses - THRESHOLD], axis=-1)
    return np.asarray(pooling() @ np.maximum(both, 0, out=both)).reshape(len(images), -1)


def _root(features: Matrix) -> Matrix:
    """Square root of non-negative features, smooth at 0."""
    return np.asarray(np.sqrt(features + np.float32(EPSILON)))


def _learn_filters(sample: Images, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Spherical k-means on whitened patches; the whitening is folded into filters and offsets."""
    chosen = rng.permutation(len(sample))[: _PATCHES // _PATCHES_PER_IMAGE]
    places = rng.integers(0, _PLACES**2, (len(chosen), _PATCHES_PER_IMAGE))
    found = []
    for start, part in zip(range(0, len(chosen), _BATCH), _parts(sample[chosen]), strict=True):
        found.append(np.take_along_axis(_patches(part), places[start : start + len(part), :, None], 1))
    patches = np.concatenate(found).reshape(-1, found[0].shape[-1])
    mean = patches.mean(0)
    values, vectors = np.linalg.eigh(np.cov(patches.T.astype(np.float64)))
    whitening = ((vectors / np.sqrt(np.maximum(values, 0) + _PATCH_NOISE)) @ vectors.T).astype(np.float32)
    white = (patches - mean) @ whitening
    centroids = _unit(rng.standard_normal((_FILTERS, white.shape[1])).astype(np.float32))
    for _ in range(_ROUNDS):
        similarity = white @ centroids.T
        best = np.abs(similarity).argmax(1)
        strength = np.zeros_like(similarity)
        strength[np.arange(len(best)), best] = similarity[np.arange(len(best)), best]
        centroids = _unit(strength.T @ white + centroids * np.float32(1e-3))
    filters = centroids @ whitening
    return filters, filters @ mean


def _learn_projection(features: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Mean and whitening PCA to D components (randomised range finder: Halko, Martinsson and Tropp, 2011)."""
    mean = features.mean(0)
    centred = features - mean
    basis = rng.standard_normal((features.shape[1], min(_DIM + 32, features.shape[1]))).astype(np.float32)
    for _ in range(3):
        basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
    _, singular, rotation = np.linalg.svd(np.linalg.qr(centred @ basis)[1], full_matrices=False)
    spread = singular[:_DIM] ** 2 / len(features)
    axes = (basis @ rotation.T)[:, :_DIM] / np.sqrt(spread + _WHITENING_NOISE * spread[0])
    projection = np.zeros((features.shape[1], _DIM), np.float32)  # fewer images than D leave columns of 0
    projection[:, : axes.shape[1]] = axes
    return mean, projection


def _unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
