"""Whitened pixels: what stands out against how this dataset's images vary within their classes.

A faint signal over the whole image (a blend, Chen et al. 2017, arXiv 1712.05526; a sinusoid, Barni et al. 2019, arXiv
1902.11237) hides where natural images vary most and is loud where they hardly vary: in high frequencies and in colour.
Multiplying by the inverse root of the pooled within-class covariance weighs every direction by how rare it is, which is the
matched filter's first half (Kay, Detection Theory, section 4.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, dctn, idctn
from scipy.linalg import cholesky, solve_triangular

from bezoar.scan.functional.areas import area_means

SIDE = 32  # images are averaged down to at most this side: it bounds the covariance
_SHRINKAGE = 0.1  # towards the covariance that is diagonal in cosine space (natural images' nearly is)
FOLDS = 16  # of labels, at most
_FLOOR = 4.0  # squared grey levels that every direction varies by at least: rounding and compression
_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3.0], [2.0], [6.0]])

Planes = NDArray[np.float32]  # (N, 3, D): brightness and two colour differences, D pixels each


def planes(images: NDArray[np.uint8]) -> Planes:
    """Images (N, H, W, 3) averaged down to at most SIDE a side, as opponent colours (N, 3, h * w), grey levels."""
    n, height, width, _ = images.shape
    h, w = min(SIDE, height), min(SIDE, width)
    out = np.empty((n, 3, h * w), dtype=np.float32)
    for start in range(0, n, 1024):  # a whole copy in floats would be four times the images
        block = images[start : start + 1024]
        small = block.astype(np.float32) if (h, w) == (height, width) else area_means(block, h, w)
        colours = small.reshape(len(block), h * w, 3) @ _OPPONENT.T.astype(np.float32)
        out[start : start + 1024] = colours.transpose(0, 2, 1)
    return out


def to_image(template: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """A template (3, h * w) of opponent colours as an image (h, w, 3) of red, green and blue."""
    return np.asarray((template.T @ _OPPONENT.astype(np.float32)).reshape(*shape, 3))


@dataclass(frozen=True, slots=True)
class Whitening:
    """Turns planes into coordinates of about unit variance within classes.

    Attributes:
        roots: float32 (3, D, D), lower triangular Cholesky factors of each plane's pooled within-class covariance.
        sinusoids: float32 (m, 2, D), whitened sine and cosine of every whole frequency in brightness, unit length; the other
            planes are zero.
        frequencies: int64 (m, 2), these frequencies: waves down the image, and across.

    """

    roots: NDArray[np.float32]
    sinusoids: NDArray[np.float32]
    frequencies: NDArray[np.int64]

    def whitened(self, rows: Planes) -> NDArray[np.float32]:
        """Coordinates (n, 3 * D) of planes (n, 3, D)."""
        return np.concatenate(
            [_solved(root, rows[:, plane]) for plane, root in enumerate(self.roots)],
            axis=1,
        )


class Whitenings:
    """The whitening for each label, fitted to the other labels: a signal must not hide itself in what is held to be usual.

    Were the carriers among the records that it is fitted to, the variance along their signal would be mostly theirs. Labels
    are put into at most `FOLDS` folds, and each is whitened by the records outside its fold.
    """

    def __init__(self, rows: Planes, labels: NDArray[np.int32], shape: tuple[int, int]) -> None:
        """`rows` (N, 3, h * w) with `labels` (N,), `shape` (h, w); the planes are whitened one by one."""
        self._centred = rows - class_means(rows, labels)[labels]
        present = np.unique(labels)
        self._folds = dict(zip(present.tolist(), (np.arange(len(present)) % FOLDS).tolist(), strict=True))
        self._fold = np.array([self._folds[label] for label in labels.tolist()])
        h, w = shape
        cosines = np.kron(dct(np.eye(h), norm="ortho", axis=0), dct(np.eye(w), norm="ortho", axis=0))
        self._frequencies = _frequencies(shape)
        self._waves = _sinusoids(shape, self._frequencies)
        self._scatter = self._scattered(np.ones(len(rows), dtype=bool))
        self._stationary = []
        for scatter in self._scatter:
            transformed = dctn(scatter.reshape(h, w, -1), norm="ortho", axes=(0, 1)).reshape(scatter.shape)
            spectrum = np.einsum("ij,ij->i", transformed, cosines) / len(rows)
            weighed = (_SHRINKAGE * spectrum + _FLOOR)[:, None] * cosines
            self._stationary.append(
                idctn(weighed.reshape(h, w, -1), norm="ortho", axes=(0, 1)).reshape(scatter.shape)
            )
        self._made: dict[int, Whitening] = {}

    def of(self, label: int) -> Whitening:
        """The whitening for records under `label`."""
        fold = self._folds.get(label, -1)
        if fold not in self._made:
            self._made[fold] = self._without(fold)
        return self._made[fold]

    def _without(self, fold: int) -> Whitening:
        inside = self._fold == fold
        if inside.all():
            inside[:] = False
        own = self._scattered(inside)
        count = int((~inside).sum())
        roots = np.array(
            [
                cholesky(
                    (1 - _SHRINKAGE) / count * (total - part) + stationary, lower=True, check_finite=False
                )
                for total, part, stationary in zip(self._scatter, own, self._stationary, strict=True)
            ],
            dtype=np.float32,
        )
        waves = _solved(roots[0], self._waves)
        waves /= np.linalg.norm(waves, axis=1, keepdims=True)
        return Whitening(roots, waves.reshape(-1, 2, waves.shape[1]), self._frequencies)

    def _scattered(self, chosen: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
        parts = (np.ascontiguousarray(self._centred[chosen, plane]) for plane in range(3))
        return [(part.T @ part).astype(np.float64) for part in parts]


def class_means(
    rows: NDArray[np.float32] | NDArray[np.uint8], labels: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Mean row of each label, (K, ...); zero for a label without rows."""
    means = np.zeros((int(labels.max()) + 1, *rows.shape[1:]), dtype=np.float32)
    for label in np.unique(labels):
        means[label] = rows[labels == label].mean(axis=0)
    return means


def near_frequency(images: NDArray[np.float64], frequency: NDArray[np.int64]) -> NDArray[np.float64]:
    """What images (..., H, W, 3) show at a `frequency` (2,) and up to one wave beside it: a sinusoid may lie between."""
    height, width = images.shape[-3:-1]
    kept = np.zeros((height, width), dtype=bool)
    for v, u in np.ndindex(3, 3):
        down, across = frequency[0] + v - 1, frequency[1] + u - 1
        kept[down % height, across % width] = kept[-down % height, -across % width] = True
    spectrum = np.fft.fft2(images, axes=(-3, -2)) * kept[..., None]
    return np.asarray(np.fft.ifft2(spectrum, axes=(-3, -2)).real)


def _frequencies(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Every whole frequency (m, 2) of images of this shape, but for the highest and the mean."""
    h, w = shape
    return np.array(
        [(v, u) for v in range(-(h // 2) + 1, h // 2) for u in range(w // 2) if u > 0 or v > 0],
        dtype=np.int64,
    ).reshape(-1, 2)


def _sinusoids(shape: tuple[int, int], frequencies: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sine and cosine (2 m, h * w) of each frequency, one after the other."""
    h, w = shape
    y, x = np.indices(shape) / np.array([h, w])[:, None, None]
    angle = (
        2 * np.pi * (frequencies[:, 0, None] * y.reshape(1, -1) + frequencies[:, 1, None] * x.reshape(1, -1))
    )
    rows = np.empty((2 * len(angle), h * w), dtype=np.float32)
    rows[0::2], rows[1::2] = np.sin(angle), np.cos(angle)
    return rows


def _solved(root: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coordinates (n, D) of `rows` (n, D) of one plane whose covariance has this root."""
    return np.asarray(solve_triangular(root, rows.T, lower=True, check_finite=False).T)
