"""Images and texts, as bytes of a dataset and as the samples that attacks work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks.base import Images, Texts
from bezoar.data.dataset import Dataset
from bezoar.data.images import RawShape, decode, encode
from bezoar.errors import InputError


class Medium(Protocol):
    """Between the content of a record and a sample."""

    def decode(self, content: bytes) -> Any:
        """The sample; InputError when the content is unreadable."""
        ...

    def encode(self, sample: Any, like: bytes) -> bytes:
        """The content of a sample, in the container of the content `like`."""
        ...

    def fits(self, count: int, first: Any, sample: Any) -> bool:
        """Whether `sample` can be joined with `count` others, of which `first` is one, and held with them."""
        ...

    def join(self, samples: Sequence[Any]) -> Any:
        """Several samples as attacks take them."""
        ...

    def change(self, before: Any, after: Any) -> dict[str, NDArray[np.float64]]:
        """Named figures (n,) of what changed."""
        ...


def medium_of(dataset: Dataset) -> Medium:
    """That of its modality."""
    return _ImageMedium(dataset.raw_shape) if dataset.modality == "image" else _TextMedium()


@dataclass(frozen=True)
class _ImageMedium:
    """Pixels (H, W, 3); joined, (n, H, W, 3)."""

    raw_shape: RawShape | None

    _BATCH_BYTES = 64 * 2**20
    _BATCH_RECORDS = 256

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        return decode(content, self.raw_shape)

    def encode(self, sample: NDArray[np.uint8], like: bytes) -> bytes:
        return encode(sample, like, self.raw_shape)

    def fits(self, count: int, first: NDArray[np.uint8], sample: NDArray[np.uint8]) -> bool:
        few = count < min(self._BATCH_RECORDS, max(1, self._BATCH_BYTES // first.nbytes))
        return few and first.shape == sample.shape

    def join(self, samples: Sequence[NDArray[np.uint8]]) -> Images:
        return np.stack(samples)

    def change(self, before: Images, after: Images) -> dict[str, NDArray[np.float64]]:
        """The largest and the Euclidean change of the pixels, in levels of 255."""
        change = (after.astype(np.float64) - before).reshape(len(before), -1)
        return {"linf": np.abs(change).max(axis=1), "l2": np.linalg.norm(change, axis=1)}


class _TextMedium:
    """UTF-8 texts; joined, a list of them."""

    _BATCH_RECORDS = 4096

    def decode(self, content: bytes) -> str:
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise InputError("not UTF-8 text") from error
        if not text:
            raise InputError("empty (zero bytes)")
        return text

    def encode(self, sample: str, like: bytes) -> bytes:
        return sample.encode()

    def fits(self, count: int, first: str, sample: str) -> bool:
        return count < self._BATCH_RECORDS

    def join(self, samples: Sequence[str]) -> Texts:
        return list(samples)

    def change(self, before: Texts, after: Texts) -> dict[str, NDArray[np.float64]]:
        """How many characters lie between the first and the last that changed."""
        spans = [_changed_span(a, b) for a, b in zip(before, after, strict=True)]
        return {"changed_characters": np.asarray(spans, np.float64)}


def _changed_span(before: str, after: str) -> int:
    """Length of the longer text without the beginning and the end that both share."""
    shorter, longer = sorted((before, after), key=len)
    head = next((i for i, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    rest = zip(shorter[head:][::-1], longer[head:][::-1], strict=False)
    tail = next((i for i, (a, b) in enumerate(rest) if a != b), len(shorter) - head)
    return len(longer) - head - tail
