"""Anomalies that honest data has too: byte-identical duplicates and blank images. Reported apart, never as poison."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from bezoar.data import Dataset
from bezoar.scan.evidence import Gallery
from bezoar.scan.result import Example, Finding, Severity

BLANK_SPREAD = 2.0  # grey levels (standard deviation) below which an image shows nothing
_SHOWN = 8


def exact_duplicates(dataset: Dataset, digests: list[bytes], gallery: Gallery) -> list[Finding]:
    """Records with the very same bytes; those that differ in label are a finding for a person to settle."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        groups[digest].append(index)
    repeated = [group for group in groups.values() if len(group) > 1]
    torn = [group for group in repeated if len({int(dataset.labels[i]) for i in group}) > 1]
    whole = [group for group in repeated if len({int(dataset.labels[i]) for i in group}) == 1]
    found = []
    if torn:
        found.append(
            Finding(
                kind="conflicting-duplicates",
                severity=Severity.REVIEW,
                title=f"{len(torn)} {'image occurs' if len(torn) == 1 else 'images occur'} under more than one label",
                explanation="Byte for byte the same image carries different labels. At least one of each group is wrong; "
                "honest label noise does this too, so nothing is removed by itself.",
                records=np.array([i for group in torn for i in group], dtype=np.int64),
                examples=tuple(_pair(group, gallery) for group in torn[:_SHOWN]),
                details={"groups": len(torn)},
            )
        )
    if whole:
        found.append(
            Finding(
                kind="exact-duplicates",
                severity=Severity.NATURAL,
                title=f"{len(whole)} {'image occurs' if len(whole) == 1 else 'images occur'} more than once",
                explanation="Byte for byte the same image under the same label, as scraped and merged datasets often have. "
                "Harmless by itself; it leaks between training and test splits.",
                records=np.array([i for group in whole for i in group], dtype=np.int64),
                examples=tuple(_pair(group, gallery) for group in whole[:_SHOWN]),
                details={"groups": len(whole)},
            )
        )
    return found


def _pair(group: list[int], gallery: Gallery) -> Example:
    return Example(gallery.record(group[0]), same_label=tuple(gallery.record(i) for i in group[1:4]))


def blanks(images: NDArray[np.uint8], records: NDArray[np.int64], gallery: Gallery) -> list[Finding]:
    """Images (M, H, W, 3) of `records` that show nothing: placeholders, failed downloads."""
    step = max(1, 2**20 // max(1, images[0].size))
    spread = np.concatenate([_spread(images[i : i + step]) for i in range(0, len(images), step)])
    empty = records[spread < BLANK_SPREAD]
    if not len(empty):
        return []
    return [
        Finding(
            kind="blank",
            severity=Severity.NATURAL,
            title=f"{len(empty)} {'image is' if len(empty) == 1 else 'images are'} blank",
            explanation="One colour all over: placeholders or failed downloads. They teach a model nothing but their label.",
            records=empty,
            examples=tuple(Example(gallery.record(int(i))) for i in empty[:_SHOWN]),
        )
    ]


def _spread(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Standard deviation (n,) of the colour channel of each image that varies most."""
    flat = images.reshape(len(images), -1, images.shape[-1])
    pixels = flat.astype(np.float64)  # in which all sums are exact
    each = np.ones((1, pixels.shape[1]))
    total, squares = each @ pixels, each @ np.square(pixels)
    variance = (pixels.shape[1] * squares - np.square(total)) / pixels.shape[1] ** 2
    return np.asarray(np.sqrt(variance).max(axis=(1, 2)))


def content_digests(dataset: Dataset) -> list[bytes]:
    """SHA-256 of every record's content, in order."""
    return [hashlib.sha256(content).digest() for content in dataset.contents()]
